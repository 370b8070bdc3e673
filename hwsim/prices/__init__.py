"""What counts cost."""
