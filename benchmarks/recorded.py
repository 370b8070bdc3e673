"""Keeps what a benchmark prints in docs/recorded/, where tests look up the figures of the pages that quote it."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "recorded"


class _Both(io.StringIO):
    def write(self, text: str) -> int:
        sys.__stdout__.write(text)
        return super().write(text)


@contextlib.contextmanager
def recorded(name: str | None) -> Iterator[None]:
    """Print, and keep it as NAME.txt once all of it is printed; without a name, only print."""
    if name is None:
        yield
        return
    with contextlib.redirect_stdout(_Both()) as out:
        yield
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.txt").write_text(out.getvalue(), encoding="utf-8")
