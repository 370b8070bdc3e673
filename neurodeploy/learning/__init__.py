"""Learning on the chip: rules for whole networks, runs that can be stopped and resumed, scenarios."""
