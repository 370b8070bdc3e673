"""Random spiking networks as people write them, as source code, and a judge of what the exporter makes of them."""
