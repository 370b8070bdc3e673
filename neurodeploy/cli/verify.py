"""``neurodeploy verify``: one input through every stage, each compared with the one before."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import options
from .console import Console

if TYPE_CHECKING:
    from neurodeploy.compiler import Compiled
    from neurodeploy.hwsim.chips.arch import Architecture
    from neurodeploy.nir_graph.nir_file import NirFile
    from neurodeploy.report.accuracies import Measured
    from neurodeploy.report.document import NetworkResult, Stage
    from neurodeploy.verify.stages import Runner, Verified


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
    options.placement(parser)
    options.conventions(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from neurodeploy import __version__
    from neurodeploy.api.verification import BACKENDS, as_json, chosen
    from neurodeploy.compiler import NO_CHIP
    from neurodeploy.errors import InvalidInputError
    from neurodeploy.hwsim import narrow_states
    from neurodeploy.hwsim.chips.arch import load_architecture
    from neurodeploy.hwsim.chips.computed import named
    from neurodeploy.program import likeness
    from neurodeploy.program.recording import check_inputs
    from neurodeploy.report.assess import assess
    from neurodeploy.verify.stages import verify_program

    options.use_lava_python(args)
    arch = None if args.chip == NO_CHIP else load_architecture(args.chip)
    if arch is None and args.results:
        raise InvalidInputError(
            "results say what a chip would take", found=f"--chip {NO_CHIP} with --results", hint="leave one of them out"
        )
    inputs = _inputs(args, console)
    compiled = _compiled(args, arch, inputs)
    unlike = likeness.unlike(compiled.program.provenance, inputs)
    steps, samples, inputs = check_inputs(compiled.program.network, inputs)
    if answer := compiled.program.network.answer:
        answer.check_steps(steps)
    labels = options.load_labels(args.labels, samples, compiled.program.network.classes)
    model = _model(args, compiled, console)
    asked = [name for name in (args.backends or "").split(",") if name]
    names, left_out = chosen(asked or BACKENDS, asked or None)
    result: NetworkResult | None = None
    with console.progress("verify") as progress:
        common: dict[str, Any] = {
            "model": model,
            "names": names,
            "tell": lambda stage, done, total: progress(done, total, stage),
        }
        if args.results and arch is not None:
            from neurodeploy.report.document import Report

            result, verified = assess(
                compiled, arch, inputs, labels, name=args.file.stem, verified_samples=args.samples, **common
            )
            Report(
                title=f"{args.file.stem} on {arch.title}", neurodeploy=__version__, chip=arch.name, networks=(result,)
            ).save(args.results)
        else:
            cut = {key: value[:, : args.samples] for key, value in inputs.items()}
            verified = verify_program(compiled, cut, None if labels is None else labels[: args.samples], **common)
    arithmetic = named(compiled.program.network.arithmetic, arch)
    console.say(f"arithmetic: {arithmetic}")
    if answer:
        console.say(f"answer: {answer.described()}")
    show(verified, console, result.stages_on_all if result else ())
    warnings = [*compiled.warnings, *unlike, *verified.warnings(compiled.program.network)]
    ran = {key: value[:, : args.samples] for key, value in inputs.items()}
    warnings += narrow_states.said(narrow_states.found(compiled.program, arch, ran), compiled.program, arch, ran)
    console.warn(*warnings)
    for name, why in left_out.items():
        console.say(f"{name} was left out: {why}")
    if args.results:
        console.say(f"wrote {args.results}")
    on_all = [stage.model_dump() for stage in result.stages_on_all] if result else []
    console.result(
        {
            **as_json(verified),
            "arithmetic": arithmetic,
            "answer": answer.described() if answer else None,
            "accuracies_on_all": on_all,
            "warnings": warnings,
            "left_out": left_out,
        }
    )
    return 0 if verified.passed else 1


def _compiled(args: argparse.Namespace, arch: Architecture | None, inputs: Mapping[str, Any]) -> Compiled:
    """The network, calibrated on the samples that go through every stage."""
    from neurodeploy.compiler import compile_file

    few = {key: value[:, : args.samples] for key, value in inputs.items() if value.ndim > 1}
    return compile_file(
        args.file,
        arch,
        options=options.given_conventions(args),
        calibration=few if len(few) == len(inputs) else inputs,
        pipeline=args.passes,
        integer=not args.float,
        placement=options.given_placement(args),
    )


def _model(args: argparse.Namespace, compiled: Compiled, console: Console) -> Runner | None:
    """What runs the torch model that was given, if any."""
    if not args.model:
        return None
    from neurodeploy.exporters.load_module import load_module
    from neurodeploy.verify.stages import torch_runner

    module = load_module(args.model, args.checkpoint, console.note)
    assert compiled.file is not None
    return torch_runner(module, compiled.floats, _axis(args, compiled.file))


def _inputs(args: argparse.Namespace, console: Console) -> Mapping[str, Any]:
    """The inputs, ``[time, batch, *shape]``."""
    from neurodeploy.nir_graph import nir_file

    return options.over_time(options.load_inputs(args.input), nir_file.read(args.file), args.input_axis, console)


def _axis(args: argparse.Namespace, file: NirFile) -> Any:
    """Where time lies in what the torch model takes: as the user says, or as it was exported."""
    from neurodeploy.errors import UnsupportedError

    if args.time_axis is not None:
        return args.time_axis
    if "encoder" in file.metadata:
        raise UnsupportedError(
            f"{args.file} begins behind an encoder of its model, so that both cannot take the same input",
            found=f"encoder: {file.metadata['encoder']}",
            hint="leave --model out: the file was proven against it when it was exported",
        )
    said = file.metadata.get("time_axis")
    return None if said is None else options.time_axis(str(said))


def show(verified: Verified, console: Console, on_all: Sequence[Stage] = ()) -> None:
    """Print the comparisons and accuracies, those ``on_all`` samples in columns of their own."""
    from neurodeploy.api.verification import COLUMNS, row
    from neurodeploy.report.accuracies import table

    console.table(COLUMNS, [row(pair) for pair in verified.pairs], title="= must be equal, ~ is measured")
    for pair in verified.pairs:
        if pair.not_finite:
            console.say(f"{pair.first}, {pair.second}: {pair.not_finite:,} potentials or messages are not finite")
    if any(entry.accuracy is not None for entry in verified.accuracies):
        found: list[tuple[Sequence[str], Measured]] = [((a.stage,), a) for a in verified.accuracies]
        console.table(*table([*found, *(((a.name,), a) for a in on_all)], ("stage",)))
