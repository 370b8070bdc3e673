"""From a file to a float or integer `Network`."""
