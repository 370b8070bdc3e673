"""The pages of the documentation, run as their reader would; `python -m tests.pages` writes what came of it."""
