"""Run every case, and write the tables into the pages."""

import sys

from tests.support.pages import write

sys.stdout.write("\n".join(f"{page}: other than before" for page in write()) + "\n")
