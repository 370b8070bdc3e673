"""Accuracies in words: beside each how many samples are undecided, and none beside one on other samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar


class Measured(Protocol):
    """An accuracy (0 to 1) on so many samples, of them undecided, and of these without an output spike."""

    @property
    def accuracy(self) -> float | None: ...
    @property
    def samples(self) -> int: ...
    @property
    def undecided(self) -> int | None: ...
    @property
    def silent(self) -> int | None: ...


Item = TypeVar("Item", bound=Measured)


def by_samples(found: Iterable[Item]) -> dict[int, list[Item]]:
    """The accuracies that compare: those on the same number of samples, the fewest first."""
    groups: dict[int, list[Item]] = {}
    for item in found:
        groups.setdefault(item.samples, []).append(item)
    return dict(sorted(groups.items()))


def undecided(found: Measured) -> str:
    """How many samples are undecided, and which: ``5 of 64 (3 tied, 2 without an output spike)``."""
    if found.undecided is None:
        return "not counted"
    silent = found.silent or 0
    parts = [(found.undecided - silent, "tied"), (silent, "without an output spike")]
    which = ", ".join(f"{number:,} {what}" for number, what in parts if number)
    return f"{found.undecided:,} of {found.samples:,}" + (f" ({which})" if which else "")


def percent(found: Measured | None) -> str:
    """An accuracy for a table."""
    return "-" if found is None or found.accuracy is None else f"{100 * found.accuracy:.2f} %"


def said(found: Measured) -> str:
    """An accuracy in one line."""
    return f"{percent(found)}, undecided: {undecided(found)}"


def table(found: Iterable[tuple[Sequence[str], Item]], names: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of a table with two columns for each number of samples.

    Args:
        found: what an accuracy is of (a stage, or a network and a stage), and the accuracy.
        names: of the columns for what it is of.
    """
    rows: dict[tuple[str, ...], dict[int, Measured]] = {}
    for of, item in found:
        rows.setdefault(tuple(of), {})[item.samples] = item
    counts = sorted({samples for row in rows.values() for samples in row})
    columns = [*names, *(text for n in counts for text in (f"accuracy on {n:,} samples", f"undecided of {n:,}"))]
    return columns, [
        [*of, *(text for n in counts for text in (percent(row.get(n)), _cell(row.get(n))))] for of, row in rows.items()
    ]


def _cell(found: Measured | None) -> str:
    return "-" if found is None or found.accuracy is None else undecided(found)
