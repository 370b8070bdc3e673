"""``neurodeploy verify``: one input through every stage, each compared with the one before."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import options
from .console import Console

if TYPE_CHECKING:
    from neurodeploy.api.verification import Verification
    from neurodeploy.report.accuracies import Measured

_FROM_PYTHON = {".ndp": 'load("{}")', ".net": 'Model("{}").compile()'}
"""How to begin with other files that can be verified, by their endings."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="a .nir file")
    parser.add_argument(
        "-i", "--input", action="append", required=True, metavar="[NAME=]X.npy", help="spikes, [time, batch, *shape]"
    )
    parser.add_argument("--labels", type=Path, metavar="Y.npy", help="classes, [batch]: print accuracies")
    parser.add_argument("--model", metavar="FILE.py:NAME", help="the torch model, to start the comparison from it")
    parser.add_argument(
        "--time-axis", type=options.time_axis, metavar="AXIS",
        help="where time lies in what it takes (see export; default: as it was exported)",
    )  # fmt: skip
    parser.add_argument("--checkpoint", type=Path, help="its trained parameters (.safetensors, .pt)")
    parser.add_argument(
        "--backends", help="in this order (default: reference,hwsim,lava; Lava is left out where it is not set up)"
    )
    parser.add_argument("--samples", type=options.positive, default=64, help="how many go through every stage")
    parser.add_argument("--float", action="store_true", help="do not quantise")
    parser.add_argument("--passes", metavar="PIPELINE", help="passes to run, as compile takes them")
    parser.add_argument("--results", type=Path, metavar="OUT.json", help="also measure and write a results file")
    options.input_axis(parser)
    parser.add_argument("--json", action="store_true", help="machine-readable")
    options.lava_python(parser)
    options.chip(parser, or_none=True)
    options.host(parser)
    options.placement(parser)
    options.conventions(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from neurodeploy.api.model import Model
    from neurodeploy.compiler import NO_CHIP, CompileOptions
    from neurodeploy.errors import InvalidInputError
    from neurodeploy.program.recording import check_inputs

    options.use_lava_python(args)
    if call := _FROM_PYTHON.get(args.file.suffix):
        raise InvalidInputError(
            "verify begins with a .nir file, which it compiles", found=str(args.file), allowed="a .nir file",
            hint=f"compare back-ends on it from Python: neurodeploy.{call.format(args.file)}.verify(x, input_axis=0)",
        )  # fmt: skip
    if args.chip == NO_CHIP and args.results:
        raise InvalidInputError(
            "results say what a chip would take", found=f"--chip {NO_CHIP} with --results", hint="leave one of them out"
        )
    if args.host and not args.results:
        raise InvalidInputError(
            "prices of a host are taken where results are measured", found=f"--host {args.host} without --results",
            hint="add --results OUT.json, or leave --host out",
        )  # fmt: skip
    inputs = _inputs(args, console)
    settled = CompileOptions(
        conventions=options.given_conventions(args), passes=args.passes, integer=not args.float,
        **options.given_placement(args),
    )  # fmt: skip
    program = Model(args.file).calibrated(inputs, args.chip, settled, samples=args.samples, input_axis=0)
    _, samples, _ = check_inputs(program.network, inputs)
    labels = options.load_labels(args.labels, samples, program.network.classes)
    asked = [name for name in (args.backends or "").split(",") if name] or None
    if args.model:
        from neurodeploy.api.exporting import load_module

        module = load_module(args.model, args.checkpoint, console.note)
        program = program.against(module, time_axis=args.time_axis)
    found = program.verify(
        inputs, labels, backends=asked, samples=args.samples, input_axis=0, measure=args.results is not None,
        host=args.host,
    )  # fmt: skip
    if found.measured is not None:
        found.measured.save(args.results)
    console.say(f"arithmetic: {found.arithmetic}")
    if answer := program.network.answer:
        console.say(f"answer: {answer.described()}")
    show(found, console)
    console.warn(*found.warnings)
    for name, why in found.left_out.items():
        console.say(f"{name} was left out: {why}")
    if args.results:
        console.say(f"wrote {args.results}")
    console.result(found.as_json())
    return 0 if found.passed else 1


def _inputs(args: argparse.Namespace, console: Console) -> Mapping[str, Any]:
    """The inputs, ``[time, batch, *shape]``."""
    from neurodeploy.nir_graph import nir_file

    return options.over_time(options.load_inputs(args.input), nir_file.read(args.file), args.input_axis, console)


def show(found: Verification, console: Console) -> None:
    """Print the comparisons and accuracies, those on all samples in columns of their own."""
    from neurodeploy.api.verification import COLUMNS
    from neurodeploy.report.accuracies import table

    console.table(COLUMNS, found.rows(), title="= must be equal, ~ is measured")
    for pair in found.pairs:
        if pair.not_finite:
            console.say(f"{pair.first}, {pair.second}: {pair.not_finite:,} potentials or messages are not finite")
    if any(entry.accuracy is not None for entry in found.accuracies):
        rows: list[tuple[Sequence[str], Measured]] = [((a.stage,), a) for a in found.accuracies]
        console.table(*table([*rows, *(((a.name,), a) for a in found.on_all)], ("stage",)))
