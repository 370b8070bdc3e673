"""Ready spiking models to train, export and measure; one file a system."""
