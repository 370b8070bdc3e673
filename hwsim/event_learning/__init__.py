"""Learning event by event."""
