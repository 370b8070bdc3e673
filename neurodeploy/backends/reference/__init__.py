"""The reference back-end: NumPy, written to be read."""
