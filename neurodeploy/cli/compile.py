"""``neurodeploy compile``: from a .nir or .net file, or a Program in floats, to a placed Program."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from . import options
from .console import Console
from .explain import show

if TYPE_CHECKING:
    from neurodeploy.api.model import Model
    from neurodeploy.api.program import Program
    from neurodeploy.hwsim.chips.arch import Architecture
    from neurodeploy.network.arrays import Array
    from neurodeploy.network.network import Network
    from neurodeploy.program.program import Program as Placed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="a .nir file, a lava-dl .net file, or a Program in floats (.ndp)")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        help="where to write the Program (default: beside it, .ndp)",
    )
    parser.add_argument(
        "--calibration", action="append", default=[], metavar="[NAME=]X.npy",
        help="spikes of a few samples, [time, batch, *shape]: keeps potentials from saturating, and lets roundings of "
        "weights cancel",
    )  # fmt: skip
    parser.add_argument(
        "--labels", metavar="Y.npy", help="classes of these samples: passes that train use them, and the accuracy "
        "after each pass is printed",
    )  # fmt: skip
    parser.add_argument(
        "--passes", metavar="PIPELINE", help="passes to run instead of quantise, comma-separated, options in braces, "
        "as in quantise{thresholds=1} (neurodeploy passes lists them)",
    )  # fmt: skip
    parser.add_argument("--float", action="store_true", help="do not quantise")
    parser.add_argument("--dump-after", metavar="PASS", help="print the network after this pass (or lower, or all)")
    parser.add_argument(
        "--explain", action="store_true", help="show what fits and what does not, layer by layer, and why; also when "
        "the network does not fit",
    )  # fmt: skip
    options.input_axis(parser)
    parser.add_argument("--json", action="store_true", help="machine-readable")
    options.chip(parser, or_none=True)
    options.placement(parser)
    options.conventions(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from neurodeploy.api.explanation import explain
    from neurodeploy.api.model import Model
    from neurodeploy.compiler import NO_CHIP, CompileOptions
    from neurodeploy.errors import NeurodeployError
    from neurodeploy.hwsim.chips.arch import load_architecture

    _check(args)
    arch = None if args.chip == NO_CHIP else load_architecture(args.chip)
    output = args.output or args.file.with_suffix(".ndp")
    if output.resolve() == args.file.resolve():
        output = args.file.with_name(f"{args.file.stem}-{arch.name if arch else NO_CHIP}.ndp")
    model = Model(args.file)
    seen: list[Network] = []

    def after(name: str, network: Network) -> None:
        seen.append(network)
        if args.dump_after in (name, "all"):
            _dump(name, network, console)

    samples, labels = _samples(args, model, console)
    settled = CompileOptions(
        conventions=options.given_conventions(args), passes=args.passes, integer=not args.float, after=after,
        **options.given_placement(args),
    )  # fmt: skip
    try:
        program = model.compile(args.chip, settled, calibration=samples, labels=labels, input_axis=0, path=output)
    except NeurodeployError:
        if args.explain and seen:
            show(explain(seen[-1], arch, args.max_neurons_per_core, args.chips), console)
        raise
    result = program.as_json(explained=args.explain)
    _say_passes(program, console)
    if args.explain:
        show(program.explain(), console)
    if arch is None:
        neurons = sum(len(cores) for cores in program.of.core_of.values())
        console.say(f"{program.network.name}: {neurons:,} neurons on no chip; runs, but has no cores, counts or energy")
    else:
        _say_use(program.of, arch, console)
    console.say(f"arithmetic: {program.arithmetic}")
    for topic, text in program.network.notes.items() if not args.explain else ():
        console.say(f"{topic}: {text}")
    console.warn(*program.warnings, *program.calibration_warnings)
    console.say(f"wrote {output}")
    console.result(result)
    return 0


def _samples(
    args: argparse.Namespace, model: Model, console: Console
) -> tuple[Mapping[str, Array] | None, Array | None]:
    """The samples for calibration, ``[time, batch, *shape]``, and their classes."""
    if not args.calibration:
        return None, None
    source = model.source()
    if source is None:  # a .net file takes none, so that they are not even read
        return {}, None
    found = options.over_time(options.load_inputs(args.calibration), source, args.input_axis, console)
    return found, options.load_labels(args.labels, next((x.shape[1] for x in found.values() if x.ndim > 1), 0))


def _check(args: argparse.Namespace) -> None:
    """Refuse options that contradict each other, or that name no pass."""
    from neurodeploy import passes
    from neurodeploy.errors import InvalidInputError

    if args.float and args.passes is not None:
        raise InvalidInputError(
            "--float and --passes contradict each other", hint="leave quantise out of --passes to stay in floats"
        )
    if args.labels and not args.calibration:
        raise InvalidInputError(
            "--labels are the classes of the samples in --calibration", found="no --calibration", hint="give both"
        )
    default = passes.FLOAT if args.float else passes.INTEGER
    ran = (
        ["read"]
        if args.file.suffix == ".net"
        else ["lower", *(step.name for step in passes.parse(default if args.passes is None else args.passes))]
    )
    if args.dump_after not in (None, "all", *ran):
        raise InvalidInputError(
            "--dump-after names a pass that does not run", found=args.dump_after, allowed=", ".join([*ran, "all"])
        )


def _dump(name: str, network: Network, console: Console) -> None:
    console.say(f"after {name}:")
    console.table(("population", "neurons", "scale"), [(p.name, p.size, _span(p.scales)) for p in network.populations])
    console.table(
        ("projection", "kind", "delay", "exponent", "smallest weight", "largest weight"),
        [
            (p.name, type(p.connectivity).__name__, p.delay, p.connectivity.exponent,
             f"{p.connectivity.weights.min(initial=0):.6g}", f"{p.connectivity.weights.max(initial=0):.6g}")
            for p in network.projections
        ],
    )  # fmt: skip


def _say_passes(program: Program, console: Console) -> None:
    """Accuracy after each pass, and spikes that differ from the float network's, on the samples for calibration."""
    from neurodeploy.report.accuracies import percent, undecided

    if not program.after_passes:
        return
    console.table(
        ("after pass", "spikes", "neuron-steps that differ", "of the float network's spikes", "accuracy", "undecided"),
        [
            (s.name, s.spikes, s.different, f"{100 * s.share:.2f} %", percent(s),
             "-" if s.accuracy is None else undecided(s))
            for s in program.after_passes
        ],
        title=f"on the {program.after_passes[0].samples:,} samples of --calibration",
    )  # fmt: skip


def _say_use(program: Placed, arch: Architecture, console: Console) -> None:
    from neurodeploy.compiler import limits_of

    limits, chips = limits_of(arch), int(program.provenance.get("chips", "1"))
    on = arch.title if chips == 1 else f"{chips} x {arch.title}"
    held: list[tuple[str, str, str, int | None]] = [
        ("neurons", "neurons", "", limits.neurons),
        ("synapse memory", "synapse_bytes", " B", limits.synapse_bytes),
        ("axons in", "axons_in", "", limits.axons_in),
        ("axons out", "axons_out", "", limits.axons_out),
    ]
    columns, rows = ["core"], [[str(u.core)] for u in program.use]
    for title, name, unit, most in held:
        columns += [title, f"of {most:,}{unit}"] if most else [title]
        for use, row in zip(program.use, rows, strict=True):
            need = getattr(use, name)
            row += [f"{need:,}", f"{100 * need / most:.1f} %"] if most else [f"{need:,}"]
    title = f"{program.network.name} on {on}: {len(program.cores)} of {arch.cores * chips} cores"
    console.table(columns, rows, title=title)


def _span(values: Array) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"
