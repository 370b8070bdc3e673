"""hwsim: the event simulator of a neuromorphic chip - function, counts, timing and architecture files."""
