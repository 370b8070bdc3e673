"""Pass ``fine-tune``: training on through the integers."""
