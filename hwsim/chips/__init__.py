"""Architecture files."""
