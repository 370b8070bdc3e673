"""Modules that take whole sequences, as one step: recorded, unrolled, and folded along time."""
