"""T-RevSNN: `.network`."""
