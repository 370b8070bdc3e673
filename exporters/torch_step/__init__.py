"""One step of a torch module, captured as a graph."""
