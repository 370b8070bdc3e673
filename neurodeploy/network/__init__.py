"""The `Network`: populations, projections, neurons, connectivity, learning rules."""
