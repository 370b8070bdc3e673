"""Progress in notebooks and terminals."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from time import monotonic
from typing import Protocol


class Tell(Protocol):
    """Hears what is done, all there is, and what it is."""

    def __call__(self, done: int, of: int, text: str = "") -> None: ...


PATIENCE = 2.0
"""Seconds after which progress is shown."""


REPORTER: ContextVar[Callable[[str], AbstractContextManager[Tell]] | None] = ContextVar("REPORTER", default=None)
"""What shows progress in place of `_line`; the command line has a bar of its own."""


def progress(what: str) -> AbstractContextManager[Tell]:
    """Call what it gives with what is done and all there is; after some seconds it is shown."""
    return (REPORTER.get() or _line)(what)


@contextmanager
def _line(what: str) -> Iterator[Tell]:
    """A line on standard error, where that is a terminal's or a notebook's."""
    began, wide, shown = monotonic(), 0, 0.0
    visible = sys.stderr.isatty() or "ipykernel" in sys.modules

    def tell(done: int, of: int, text: str = "") -> None:
        nonlocal wide, shown
        now = monotonic()
        if not visible or now - began < PATIENCE or now - shown < 0.2:
            return
        shown = now
        line = f"{what}{' ' + text if text else ''}: {done:,} of {of:,}"
        sys.stderr.write("\r" + line.ljust(wide))
        sys.stderr.flush()
        wide = len(line)

    try:
        yield tell
    finally:
        if wide:
            sys.stderr.write("\r" + " " * wide + "\r")
            sys.stderr.flush()
