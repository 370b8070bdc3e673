"""The tables about frameworks: classes that are exported; counts that `benchmarks/export_matrix.py` recorded."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import cache, partial
from importlib import import_module
from typing import Any

from neurodeploy.exporters import framework
from tests.exporters.matrix.cells import KINDS

from .tables import DOCS, Table

PAGE = "reference-support.md"
TITLES = {"norse": "norse", "snntorch": "snnTorch", "spikingjelly": "SpikingJelly", "sinabs": "sinabs"}
RECORD = DOCS / "recorded" / "export_matrix.txt"


def classes_of(name: str) -> Any:
    """The classes of a framework, and sets of parameters of each."""
    return import_module(f"tests.exporters.matrix.{name}_classes")


@cache
def refusals(name: str) -> Mapping[str, str | None]:
    """Class -> why it is refused, None where it is exported; the same whatever its parameters."""
    kind, found = framework.get(name), {}
    for one, sets in classes_of(name).SETS.items():
        reasons = {kind.refusal(make()) for make in sets}
        assert len(reasons) == 1, (one, reasons)
        found[one] = reasons.pop()
    return found


def classes(name: str) -> list[str]:
    """The classes that are exported, and those that are refused, by reason."""
    said, reasons = refusals(name), {}
    for one, why in said.items():
        if why is not None:
            reasons.setdefault(why.partition(";")[0], []).append(f"`{one}`")
    exported = ", ".join(f"`{one}`" for one, why in said.items() if why is None)
    return [exported, "; ".join(f"{', '.join(names)} ({why})" for why, names in reasons.items()) or "none"]


@cache
def record() -> Mapping[str, list[list[str]]]:
    """The tables of the record: title of one, its rows of cells. Rows that go on in a second line are joined."""
    tables: dict[str, list[list[str]]] = {}
    title = ""
    for text in RECORD.read_text(encoding="utf-8").splitlines():
        if text.startswith("│"):
            cells = [cell.strip() for cell in text.strip("│").split("│")]
            if cells[0]:
                tables[title].append(cells)
            else:
                tables[title][-1] = [" ".join(pair).strip() for pair in zip(tables[title][-1], cells, strict=True)]
        elif not text.startswith(("┏", "┃", "┡", "└")):
            title = text.strip()
            tables[title] = []
    return tables


def of_classes(name: str) -> list[list[str]]:
    """What the record says of the classes of a framework: class, sets, networks, result."""
    return record()[f"{name}: every neuron class"]


def counts(name: str) -> list[str]:
    """How many classes of a framework are exact, and refused, and how many networks of them are exact."""
    rows = of_classes(name)
    verdicts = Counter(row[3].partition(" ")[0].strip(":") for row in rows)
    assert set(verdicts) <= {"exact", "refused"}, verdicts
    networks = sum(int(row[2]) for row in rows if row[3].startswith("exact"))
    return [str(n) for n in (len(rows), verdicts["exact"], verdicts["refused"], networks)]


def networks(kind: str) -> list[str]:
    """What the record says of a kind of network, for each framework."""
    (rows,) = (rows for title, rows in record().items() if title.startswith("0 of all neuron-steps"))
    (found,) = (row[1:] for row in rows if row[0] == kind)
    assert all(re.fullmatch(r"exact \([\d,]+, [\d,]+\)|not applicable", cell) for cell in found), found
    return found


def linked(name: str) -> str:
    """A framework's name, with its how-to page."""
    return f"[{TITLES[name]}](howto-export-{name}.md)"


TABLES = (
    Table(PAGE, "classes", ("framework", "exported", "refused"),
          {linked(name): partial(classes, name) for name in TITLES}),
    Table(PAGE, "class counts", ("", "classes", "exact", "refused", "networks that are exact"),
          {name: partial(counts, name) for name in TITLES}),
    Table(PAGE, "networks", ("network", *TITLES), {kind: partial(networks, kind) for kind in KINDS}),
)  # fmt: skip
