"""Training that all systems share: `.loop`; its state on disk: `.state`; trained weights: `.weights`."""
