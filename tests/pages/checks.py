"""Which pages are run in which test module, so that they run side by side, and how."""

from __future__ import annotations

from pathlib import Path

from . import blocks, running
from .__main__ import pages


def some(prefix: str) -> list[Path]:
    """Pages by how their names begin; of "" those that no other module runs."""
    mine = [path for path in pages() if path.name.startswith(prefix or "")]
    return mine if prefix else [path for path in mine if not path.name.startswith("howto-")]


def named(path: Path) -> str:
    """A page's path below docs/."""
    return path.relative_to(blocks.ROOT).as_posix().removeprefix("docs/")


def check(path: Path, folder: Path) -> None:
    """Run a page, and compare what it shows with what is printed."""
    assert running.wrong(blocks.read(path), folder) == []
