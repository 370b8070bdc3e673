"""From a framework's module to NIR; one file a framework."""
