"""Markdown tables whose rows are made by running something, and their places in the pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
Cells = Sequence[str]


@dataclass(frozen=True, eq=False)
class Table:
    """A table of a page.

    Args:
        page: in docs/.
        mark: it stands between ``<!-- mark -->`` and ``<!-- /mark -->``.
        header: of its columns.
        rows: first cell -> makes the others, by running.
    """

    page: str
    mark: str
    header: Cells
    rows: Mapping[str, Callable[[], Cells]]

    def line(self, row: str) -> str:
        """A row, run."""
        return line((row, *self.rows[row]()))

    def head(self) -> list[str]:
        """The two lines above the rows."""
        return [line(self.header), "|" + "---|" * len(self.header)]

    def rendered(self) -> str:
        """All of it."""
        return "\n".join([*self.head(), *map(self.line, self.rows)])

    def printed(self, text: str | None = None) -> list[str]:
        """The lines between the marks of the page, or of a text of it."""
        text = (DOCS / self.page).read_text(encoding="utf-8") if text is None else text
        found = text.partition(f"<!-- {self.mark} -->\n")[2].partition(f"\n<!-- /{self.mark} -->")[0]
        return found.splitlines()


def line(cells: Cells) -> str:
    """A row of a table."""
    return f"| {' | '.join(cells)} |"


def with_table(page: str, name: str, table: str) -> str:
    """A page with another table between its marks."""
    before, _, rest = page.partition(f"<!-- {name} -->\n")
    return f"{before}<!-- {name} -->\n{table}\n<!-- /{name} -->{rest.partition(f'<!-- /{name} -->')[2]}"
