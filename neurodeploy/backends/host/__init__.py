"""Networks that the chip and its host run together: the same way round every back-end."""
