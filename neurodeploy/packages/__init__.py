"""Packages that neurodeploy needs or can use: what it asks of them, and the command that installs one that is missing.

Nothing outside Python's own library is imported here: it must work where anything else is missing.
"""
