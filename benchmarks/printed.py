"""For scripts whose tables stand in the documentation: rows as its pages have them, and a record of what was printed.

``--record`` of such a script writes docs/recorded/SCRIPT.txt; tests compare the pages with that.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

RECORDED = Path(__file__).parents[1] / "docs" / "recorded"
TITLES = {"bptt": "BPTT", "mpd-ed": "MPD-ED", "std-ed": "STD-ED"}


class _Both(io.TextIOBase):
    """Standard output, and what went through it."""

    def __init__(self) -> None:
        self._out = sys.stdout
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        self._out.write(text)
        self._out.flush()
        return len(text)


@contextlib.contextmanager
def recorded(script: str, wanted: bool) -> Iterator[None]:
    """Keep what is printed, where that is wanted and nothing fails; ``script`` is its ``__file__``, or a name."""
    both = _Both()
    with contextlib.redirect_stdout(both):
        yield
    if wanted:
        RECORDED.mkdir(exist_ok=True)
        (RECORDED / f"{Path(script).stem}.txt").write_text(both.text, encoding="utf-8")


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
