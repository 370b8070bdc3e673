"""Where every neuron lives, and whether it fits."""
