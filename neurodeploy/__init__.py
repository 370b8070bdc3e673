"""neurodeploy: from a trained spiking network to a verified program for a neuromorphic chip, and what it costs."""

__version__ = "0.1.0"
