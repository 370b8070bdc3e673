"""Tables as notebooks show them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def html_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "", warnings: Sequence[str] = ()
) -> str:
    """A table in HTML; every text is escaped."""

    def line(cells: Iterable[object], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{_shown(cell)}</{tag}>" for cell in cells) + "</tr>"

    caption = f"<caption>{escape(title.strip('<>'))}</caption>" if title else ""
    said = "".join(f"<p>warning: {escape(text)}</p>" for text in warnings)
    body = "".join(line(row, "td") for row in rows)
    return f"<table>{caption}<thead>{line(columns, 'th')}</thead><tbody>{body}</tbody></table>{said}"


def _shown(cell: object) -> str:
    return escape(f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else str(cell))
