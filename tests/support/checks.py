"""What a test of a page's tables is."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from .tables import Table

AGAIN = "run: python -m tests.support"


def rows_of(tables: Sequence[Table]) -> pytest.MarkDecorator:
    """A test of each row of some tables, ``(table, row)``."""
    pairs = [pytest.param(table, row, id=f"{table.mark}: {row}") for table in tables for row in table.rows]
    return pytest.mark.parametrize(("table", "row"), pairs)


def tables_of(tables: Sequence[Table]) -> pytest.MarkDecorator:
    """A test of each table as a whole."""
    return pytest.mark.parametrize("table", [pytest.param(table, id=table.mark) for table in tables])


def check_row(table: Table, row: str) -> None:
    """The page has this row as the run gives it."""
    assert table.line(row) in table.printed(), AGAIN


def check_frame(table: Table) -> None:
    """The page has these rows and no others, in this order, under this header."""
    head, printed = table.head(), table.printed()
    assert printed[: len(head)] == head, AGAIN
    assert [text.removeprefix("| ").partition(" | ")[0] for text in printed[len(head) :]] == list(table.rows), AGAIN
