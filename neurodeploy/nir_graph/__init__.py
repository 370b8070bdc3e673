"""NIR files: read, repaired, checked, interpreted, and the conventions that they leave open."""
