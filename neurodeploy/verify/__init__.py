"""Is it still the same network? Stages run and compared."""
