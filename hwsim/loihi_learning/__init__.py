"""Loihi's learning engine."""
