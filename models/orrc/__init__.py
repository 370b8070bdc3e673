"""ORRC + SynA: `.network`."""
