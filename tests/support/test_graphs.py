"""Nodes, rules of neurons and Lava's Processes, run on every back-end, and the tables that say what came of them."""

from __future__ import annotations

import pytest

from neurodeploy.nir_graph.nodes import KNOWN_NODES

from .checks import check_frame, check_row, rows_of, tables_of
from .graph_tables import SECOND, TABLES, forms, found
from .graphs import MODELS, NODES, RULES
from .pages import prepare
from .tables import Table


@pytest.fixture(scope="module", autouse=True)
def sidecar() -> None:
    prepare()


@pytest.mark.parametrize("row", [*NODES, *RULES, *MODELS])
def test_nothing_differs_and_something_spikes(row: str) -> None:
    said = found(row)
    assert said.wrong == []
    assert "differs" not in said.cells.values()
    assert set(said.reasons) == {column for column, cell in said.cells.items() if cell == "refused"}


@rows_of(TABLES)
def test_the_page_says_what_the_run_gives(table: Table, row: str) -> None:
    check_row(table, row)


@tables_of(TABLES)
def test_the_page_has_these_rows(table: Table) -> None:
    check_frame(table)


def test_every_node_has_a_row() -> None:
    assert [node for node in KNOWN_NODES if node not in SECOND and not forms(node)] == []
