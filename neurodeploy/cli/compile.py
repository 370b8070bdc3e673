"""``neurodeploy compile``: from a .nir or .net file, or a Program in floats, to a placed Program."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from . import options
from .console import Console

if TYPE_CHECKING:
    from neurodeploy.compiler import Stages
    from neurodeploy.hwsim.chips.arch import Architecture
    from neurodeploy.network.arrays import Array
    from neurodeploy.network.network import Network
    from neurodeploy.nir_graph.nir_file import NirFile
    from neurodeploy.program.program import Program


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
    from neurodeploy.compiler import NO_CHIP
    from neurodeploy.errors import NeurodeployError
    from neurodeploy.hwsim.chips.arch import load_architecture
    from neurodeploy.hwsim.chips.computed import named

    _check(args)
    arch = None if args.chip == NO_CHIP else load_architecture(args.chip)

    seen: list[Network] = []

    def after(name: str, network: Network) -> None:
        seen.append(network)
        if args.dump_after in (name, "all"):
            _dump(name, network, console)

    try:
        program, steps, warnings = _compiled(args, arch, after, console)
    except NeurodeployError:
        if args.explain and seen:
            _explained(seen[-1], arch, args, console)
        raise
    explained = _explained(program.network, arch, args, console) if args.explain else None
    output = args.output or args.file.with_suffix(".ndp")
    if output.resolve() == args.file.resolve():
        output = args.file.with_name(f"{args.file.stem}-{program.chip}.ndp")
    program.save(output)
    if arch is None:
        neurons = sum(len(cores) for cores in program.core_of.values())
        console.say(f"{program.network.name}: {neurons:,} neurons on no chip; runs, but has no cores, counts or energy")
    else:
        _say_use(program, arch, console)
    arithmetic = named(program.network.arithmetic, arch)
    console.say(f"arithmetic: {arithmetic}")
    for topic, text in program.network.notes.items() if explained is None else ():
        console.say(f"{topic}: {text}")
    console.warn(*warnings)
    console.say(f"wrote {output}")
    console.result(
        {
            "program": str(output),
            "chip": program.chip,
            "arithmetic": arithmetic,
            "cores": len(program.cores),
            "use": [vars(u) for u in program.use],
            "passes": steps,
            "warnings": warnings,
            "notes": dict(program.network.notes),
            **({"explained": explained} if explained else {}),
        }
    )
    return 0


def _model(path: Path) -> Network | NirFile:
    """What inputs are for."""
    from neurodeploy.nir_graph import nir_file
    from neurodeploy.program.program import Program

    return Program.load(path).network if path.suffix == ".ndp" else nir_file.read(path)


def _compiled(
    args: argparse.Namespace, arch: Architecture | None, after: Callable[[str, Network], None], console: Console
) -> tuple[Program, list[dict[str, object]], list[str]]:
    """The Program, what each pass changed where samples were given, and warnings."""
    from neurodeploy.compiler import CompileOptions, compile
    from neurodeploy.hwsim import narrow_states
    from neurodeploy.program import likeness

    calibration: Mapping[str, Array] | None = None
    if args.calibration:  # of a .net file, which takes none, they are not even read
        given = options.load_inputs(args.calibration) if args.file.suffix != ".net" else {}
        calibration = options.over_time(given, _model(args.file), args.input_axis, console) if given else {}
    samples = next((x.shape[1] for x in (calibration or {}).values() if x.ndim > 1), 0)
    labels = options.load_labels(args.labels, samples) if calibration else None
    with console.progress("compile") as progress:
        compiled = compile(
            args.file,
            arch,
            CompileOptions(
                conventions=options.given_conventions(args),
                calibration=calibration,
                labels=labels,
                passes=args.passes,
                integer=not args.float,
                after=after,
                tell=progress,
                **options.given_placement(args),
            ),
        )
    program, warnings = compiled.program, list(compiled.warnings)
    if calibration is None:
        return program, [], warnings
    warnings += likeness.unlike(program.provenance, calibration)
    steps, lost = _say_steps(compiled.stages, calibration, labels, console)
    beyond = narrow_states.said(narrow_states.found(program, arch, calibration), program, arch, calibration)
    return program, steps, warnings + lost + beyond


def _explained(
    network: Network, arch: Architecture | None, args: argparse.Namespace, console: Console
) -> dict[str, object]:
    from neurodeploy.compiler import limits_of, needs

    from .explain import explain

    if arch is None:
        return explain(network, (), None, console)
    return explain(network, needs(network, arch, args.max_neurons_per_core, args.chips), limits_of(arch), console)


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


def _say_steps(
    stages: Stages, calibration: Mapping[str, Array], labels: Array | None, console: Console
) -> tuple[list[dict[str, object]], list[str]]:
    """Run the samples on the network after each pass: accuracy, and spikes that differ from the float network's."""
    from neurodeploy.report.accuracies import percent, undecided
    from neurodeploy.verify.after_passes import measure, warnings

    found = measure(stages, calibration, labels)
    console.table(
        ("after pass", "spikes", "neuron-steps that differ", "of the float network's spikes", "accuracy", "undecided"),
        [
            (s.name, s.spikes, s.different, f"{100 * s.share:.2f} %", percent(s),
             "-" if s.accuracy is None else undecided(s))
            for s in found
        ],
        title=f"on the {found[0].samples:,} samples of --calibration",
    )  # fmt: skip
    return [vars(s) for s in found], warnings(found)


def _say_use(program: Program, arch: Architecture, console: Console) -> None:
    from neurodeploy.compiler import limits_of

    limits, chips = limits_of(arch), int(program.provenance.get("chips", "1"))
    on = arch.title if chips == 1 else f"{chips} x {arch.title}"
    console.table(
        ("core", "neurons", f"of {limits.neurons:,}", "synapse memory", f"of {(limits.synapse_bytes or 0):,} B",
         "axons in", f"of {limits.axons_in or 0:,}", "axons out", f"of {limits.axons_out or 0:,}"),
        [
            (u.core, u.neurons, _share(u.neurons, limits.neurons), u.synapse_bytes,
             _share(u.synapse_bytes, limits.synapse_bytes), u.axons_in, _share(u.axons_in, limits.axons_in),
             u.axons_out, _share(u.axons_out, limits.axons_out))
            for u in program.use
        ],
        title=f"{program.network.name} on {on}: {len(program.cores)} of {arch.cores * chips} cores",
    )  # fmt: skip


def _span(values: Array) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"


def _share(need: int, have: int | None) -> str:
    return f"{100 * need / have:.1f} %" if have else "-"
