"""Learning on the digits."""
