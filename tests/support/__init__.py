"""The tables of the pages on support, as runs give them.

``python -m tests.support`` runs every case and writes the tables between their marks; ``test_*.py`` here run the same
cases and compare each row with its page.
"""
