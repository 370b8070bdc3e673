"""Torch networks, exported, and the tables that say which are understood."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from .checks import check_frame, check_row, rows_of, tables_of
from .exporting import ROWS, TABLES, row
from .tables import Table


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", ROWS)
def test_a_network_is_exact_or_refused(name: str) -> None:
    said = row(name)
    assert said.verdict == "exact" or said.verdict.startswith("refused: "), said.verdict
    assert said.spikes or said.verdict != "exact"


@rows_of(TABLES)
def test_the_page_says_what_the_export_gives(table: Table, row: str) -> None:
    check_row(table, row)


@tables_of(TABLES)
def test_the_page_has_these_rows(table: Table) -> None:
    check_frame(table)
