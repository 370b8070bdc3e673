"""Is an exported file the same network as the torch module? Every framework, network by network, class by class.

Prints two tables. Eight kinds of network: a cell is *exact* when none of all neuron-steps differs over 100 steps and a
batch of 4, in float64 and float32 (see tests/exporters/matrix/cells.py). And every neuron class that a framework has,
found by introspection, with several sets of parameters, as one step and as whole sequences: *exact* when all of them
are (tests/exporters/matrix/classes.py), *refused* with the reason; the classes are counted. ``export_matrix.py norse``
tries the classes of one framework alone. ``--record`` also writes what is printed to docs/recorded/export_matrix.txt,
from which docs/reference-support.md takes its figures (``python -m tests.support``). Exits with 1 when anything
differs, or when a class was not tried.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.console import Console
from rich.table import Table

from tests.exporters.matrix import cells, classes

FRAMEWORKS = ("norse", "snntorch", "spikingjelly", "sinabs")
ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "docs" / "recorded" / "export_matrix.txt"


def main() -> int:
    parser = argparse.ArgumentParser(description="Is an exported file the same network as the torch module?")
    parser.add_argument("framework", nargs="*", choices=[*FRAMEWORKS, []], help="the classes of these alone")
    parser.add_argument("--record", action="store_true", help=f"also write it to {RECORD.relative_to(ROOT)}")
    given = parser.parse_args()
    if given.record and given.framework:
        parser.error("--record is for all frameworks")
    console = Console(width=140, record=given.record)
    bad = 0 if given.framework else networks(console)
    for name in given.framework or FRAMEWORKS:
        bad += every_class(console, name)
    if given.record:
        lines = [line.rstrip() for line in console.export_text().splitlines()]
        RECORD.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 1 if bad else 0


def every_class(console: Console, name: str) -> int:
    """Print what became of each neuron class of a framework; how many differ or were not tried."""
    module = import_module(f"tests.exporters.matrix.{name}_classes")
    untried = sorted(set(module.ALL) - set(module.SETS) - module.NOT_NEURONS)
    table = Table("class", "sets", "networks", "result", title=f"{name}: every neuron class", title_justify="left")
    found = Counter({"not tried": len(untried)})
    for kind in sorted(module.SETS):
        with tempfile.TemporaryDirectory() as folder:
            one = classes.tried(module.SETS[kind], module.ways, Path(folder))
        found[one.verdict] += 1
        said = f"exact ({one.compared:,}, {one.spikes:,})" if one.verdict == "exact" else f"{one.verdict}: {one.reason}"
        table.add_row(kind, str(one.sets), str(one.networks), said)
    for kind in untried:
        table.add_row(kind, "0", "0", "not tried")
    console.print(table)
    console.print(f"{name}: " + ", ".join(f"{count} {verdict}" for verdict, count in sorted(found.items()) if count))
    return found["differs"] + found["not tried"]


def networks(console: Console) -> int:
    """Print the eight kinds of network of each framework; how many differ."""
    table = Table("network", *FRAMEWORKS, title="0 of all neuron-steps differ: exact (neuron-steps, spikes)")
    notes, bad = [], 0
    outcomes: dict[tuple[str, str], cells.Outcome] = {}
    for name in FRAMEWORKS:
        cases = import_module(f"tests.exporters.matrix.{name}_networks").CASES
        for kind in cells.KINDS:
            with tempfile.TemporaryDirectory() as folder:
                outcomes[name, kind] = cells.evaluate(cases[kind], Path(folder))
    for kind in cells.KINDS:
        row = []
        for name in FRAMEWORKS:
            found = outcomes[name, kind]
            bad += found.verdict == "differs"
            row.append(f"exact ({found.compared:,}, {found.spikes:,})" if found.verdict == "exact" else found.verdict)
            if found.reason:
                notes.append(f"{name}, {kind}: {found.verdict}: {found.reason}")
        table.add_row(kind, *row)
    console.print(table)
    for note in notes:
        console.print(note)
    return bad


if __name__ == "__main__":
    sys.exit(main())
