"""The tables about frameworks and chips; and that a cell that is not so is found."""

from __future__ import annotations

import pytest

from neurodeploy.hwsim.chips.arch import available

from . import chip_tables, class_tables, host_operators
from .checks import check_frame, check_row, rows_of, tables_of
from .pages import TABLES as ALL
from .tables import DOCS, Table, with_table

TABLES = (*class_tables.TABLES, *chip_tables.TABLES, *host_operators.TABLES)


@rows_of(TABLES)
def test_the_page_says_what_is_so(table: Table, row: str) -> None:
    check_row(table, row)


@tables_of(TABLES)
def test_the_page_has_these_rows(table: Table) -> None:
    check_frame(table)


def test_the_page_on_chips_is_as_its_tables_make_it() -> None:
    page = made = (DOCS / chip_tables.PAGE).read_text(encoding="utf-8")
    for table in chip_tables.TABLES:
        made = with_table(made, table.mark, table.rendered())
    assert page == made
    assert all(f"\n| `{name}` | " in page for name in available())


def test_the_record_is_of_all_classes() -> None:
    for name in class_tables.TITLES:
        said = class_tables.refusals(name)
        verdicts = {row[0]: row[3] for row in class_tables.of_classes(name)}
        assert {one: verdict.startswith("refused") for one, verdict in verdicts.items()} == {
            one: why is not None for one, why in said.items()
        }, "run: python benchmarks/export_matrix.py --record"


def test_every_table_stands_in_its_page() -> None:
    for table in ALL:
        page = (DOCS / table.page).read_text(encoding="utf-8")
        assert page.count(f"<!-- {table.mark} -->\n") == page.count(f"\n<!-- /{table.mark} -->") == 1, table.mark
        assert len(table.printed()) == len(table.rows) + 2


@pytest.mark.parametrize("change", [("exact", "refused"), ("| 8 | 24 |", "| 8 | 23 |")])
def test_a_falsified_cell_is_found(change: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    (table,) = (t for t in TABLES if t.mark == ("networks" if change[0] == "exact" else "arithmetic"))
    printed = [text.replace(*change) for text in table.printed()]
    assert printed != table.printed()
    monkeypatch.setattr(Table, "printed", lambda self: printed)
    with pytest.raises(AssertionError, match=r"tests\.support"):
        for row in table.rows:
            check_row(table, row)


def test_a_row_that_is_missing_or_strange_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    table = chip_tables.TABLES[0]
    printed = table.printed()
    for other in (printed[:-1], [*printed, "| `more` | a chip |"], [printed[1], printed[0], *printed[2:]]):
        monkeypatch.setattr(Table, "printed", lambda self, other=other: other)
        with pytest.raises(AssertionError, match=r"tests\.support"):
            check_frame(table)
