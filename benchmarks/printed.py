"""For scripts whose tables stand in the documentation: rows as its pages have them, and a record of what was printed.

``--record`` of such a script writes docs/recorded/SCRIPT.txt; tests compare the pages with that.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from recorded import recorded as kept

TITLES = {"bptt": "BPTT", "mpd-ed": "MPD-ED", "std-ed": "STD-ED"}


def recorded(script: str, wanted: bool) -> AbstractContextManager[None]:
    """Keep what is printed, where that is wanted and nothing fails; ``script`` is its ``__file__``."""
    return kept(Path(script).stem if wanted else None)


def row(*cells: str) -> str:
    """A row of a table."""
    return f"| {' | '.join(cells)} |"


def header(*cells: str) -> str:
    """The head of a table, and the line below it."""
    return f"{row(*cells)}\n{'|---' * len(cells)}|"


def times(ratio: float) -> str:
    """A ratio: whole from 10 on, before that with one decimal."""
    return f"{ratio:.0f}x" if ratio >= 9.95 else f"{ratio:.1f}x"


def percents(accuracies: list[float], digits: int = 1) -> str:
    """The mean of some accuracies, and, in brackets, each of them."""
    found = [100 * a for a in accuracies]
    each = f" ({', '.join(f'{a:.{digits}f}' for a in found)})" if len(found) > 1 else ""
    return f"{np.mean(found):.1f} %{each}"
