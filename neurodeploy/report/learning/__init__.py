"""The report of learning on the chip."""
