"""``neurodeploy demo``: two networks, all the way from training to a verified report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from . import options
from .console import Console

if TYPE_CHECKING:
    from neurodeploy.api.demo import Demo


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", type=Path, default=Path("demo-output"), help="folder (default: demo-output)")
    parser.add_argument("--model", action="append", choices=("digits-mlp", "digits-conv"), help="default: both")
    parser.add_argument("--samples", type=options.positive, default=64, help="how many go through every stage")
    parser.add_argument("--no-lava", action="store_true", help="leave Lava out of the comparison")
    parser.add_argument("--json", action="store_true", help="machine-readable")
    options.chip(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from neurodeploy.api.demo import demo

    console.listen("neurodeploy.demo")
    found = demo(
        args.output, args.model, chip=args.chip, samples=args.samples, lava=not args.no_lava,
        max_neurons_per_core=args.max_neurons_per_core,
    )  # fmt: skip
    _say(found, console)
    console.say("Every stage that must be equal is equal." if found.passed else "SOME STAGES DIFFER: see the report.")
    console.say(f"report: {found.report.resolve()}")
    console.result(found.as_json())
    return 0 if found.passed else 1


def _say(found: Demo, console: Console) -> None:
    from neurodeploy.api.demo import COLUMNS
    from neurodeploy.report.accuracies import table

    results = found.document.networks
    console.table(
        *table([((r.name, s.name), s) for r in results for s in (*r.stages, *r.stages_on_all)], ("network", "stage")),
        title="accuracy on what ran through every stage, and on the whole test set",
    )
    console.table(COLUMNS, found.rows(), title="spikes, synaptic operations and energy per inference")
    for result in results:
        if result.energy is not None and result.energy.missing:
            lacking = ", ".join(line.label for line in result.energy.missing)
            console.say(f"{result.name}: the energy lacks what has no published price: {lacking}")
