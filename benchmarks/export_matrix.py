"""Is an exported file the same network as the torch module? Every framework, eight kinds of network, neuron by neuron.

Prints a table; a cell is *exact* when none of all neuron-steps differs over 100 steps and a batch of 4, in float64 and
float32 (see tests/exporters/matrix/cells.py). Exits with 1 when a cell differs.
"""

from __future__ import annotations

import sys
import tempfile
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.console import Console
from rich.table import Table

from tests.exporters.matrix import cells

FRAMEWORKS = ("norse", "snntorch", "spikingjelly", "sinabs")


def main() -> int:
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
    console = Console(width=140)
    console.print(table)
    for note in notes:
        console.print(note)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
