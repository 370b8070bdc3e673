"""All tables that runs give, and how they come into the pages."""

from __future__ import annotations

import torch

from neurodeploy.backends.lava.setup import setup

from . import chip_tables, class_tables, exporting, graph_tables, host_operators
from .tables import DOCS, with_table

TABLES = (*graph_tables.TABLES, *exporting.TABLES, *class_tables.TABLES, *chip_tables.TABLES, *host_operators.TABLES)


def prepare() -> None:
    """Lava installed; torch with one thread, which is several times faster for networks so small."""
    setup()
    torch.set_num_threads(1)


def write() -> list[str]:
    """Run everything, and write what it gives into the pages; names of the pages that changed."""
    prepare()
    changed = {}
    for table in TABLES:
        path = DOCS / table.page
        before = path.read_text(encoding="utf-8")
        after = with_table(before, table.mark, table.rendered())
        path.write_text(after, encoding="utf-8")
        changed[table.page] = changed.get(table.page, False) or after != before
    return [page for page, other in changed.items() if other]
