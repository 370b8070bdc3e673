"""Every framework's networks of eight kinds, exported and compared with torch; a benchmark prints them as a table."""
