"""Chip and host in one drawing: what runs where and when, and what crosses the boundary; as text and as SVG."""
