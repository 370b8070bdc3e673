"""``neurodeploy run``: run a Program on a back-end."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from . import options
from .console import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("program", type=Path, help="a Program (.ndp)")
    parser.add_argument(
        "-i", "--input", action="append", required=True, metavar="[NAME=]X.npy", help="spikes, [time, batch, *shape]"
    )
    parser.add_argument(
        "-b",
        "--backend",
        default="hwsim",
        help="reference, hwsim, lava, lava-stock (Lava's own runtime) or onnxruntime (default: hwsim)",
    )
    parser.add_argument("-o", "--output", type=Path, help="write spikes, states and what forward returns as .npz")
    parser.add_argument(
        "--record", default="", metavar="u,v,learning", help="record state variables, and what learns after every step"
    )
    parser.add_argument("--labels", type=Path, metavar="Y.npy", help="classes, [batch]: print the accuracy")
    options.lava_python(parser)
    options.input_axis(parser)
    parser.add_argument("--json", action="store_true", help="machine-readable")


def run(args: argparse.Namespace, console: Console) -> int:
    from neurodeploy.api.model import placed
    from neurodeploy.api.recording import COLUMNS
    from neurodeploy.program.recording import check_inputs
    from neurodeploy.report.accuracies import said

    options.use_lava_python(args)
    program = placed(args.program)
    record: Any = tuple(s for s in args.record.split(",") if s)
    inputs = options.over_time(options.load_inputs(args.input), program.network, args.input_axis, console)
    _, samples, _ = check_inputs(program.network, inputs)
    labels = options.load_labels(args.labels, samples, program.network.classes)
    found = program.run(inputs, args.backend, record=record, input_axis=0)
    if found.stopped:
        console.error(f"run was stopped; what follows are the {found.stopped} that were complete")
    if args.output:
        found.save(args.output)
    console.table(COLUMNS, found.rows(), title=f"{args.backend}: {found.samples} sample(s), {found.steps} steps")
    console.say(f"arithmetic: {found.arithmetic}")
    if program.network.answer:
        console.say(f"answer: {program.network.answer.described()}")
    console.warn(*found.warnings)
    if found.stopped:
        labels = None
    if labels is not None:
        console.say(f"accuracy: {said(found.accuracy(labels))}")
    if args.output:
        console.say(f"wrote {args.output}")
    console.result(found.as_json(labels))
    return 2 if found.stopped else 0
