"""Pass ``quantise``: from floats to the integers of the chip."""
