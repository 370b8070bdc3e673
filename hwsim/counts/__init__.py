"""Exact counts of what a run did."""
