"""``neurodeploy compile``: from a .nir or .net file to a placed Program."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from neurodeploy.cli import options
from neurodeploy.cli.console import Console

if TYPE_CHECKING:
    from neurodeploy.connectivity import Array
    from neurodeploy.hwsim.arch import Architecture
    from neurodeploy.program import Program


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="a .nir file, or a lava-dl .net file")
    parser.add_argument("-o", "--output", type=Path, help="where to write the Program (default: beside it, .ndp)")
    parser.add_argument(
        "--calibration", action="append", default=[], metavar="[NAME=]X.npy",
        help="spikes of a few samples, [time, batch, *shape]: keeps potentials from saturating",
    )  # fmt: skip
    parser.add_argument("--float", action="store_true", help="do not quantise")
    parser.add_argument("--dump-after", choices=("lower", "quantise"), help="print the network after this pass")
    parser.add_argument("--json", action="store_true", help="machine-readable")
    options.chip(parser, or_none=True)
    options.conventions(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from neurodeploy.compiler import NO_CHIP, compile_file, compile_net
    from neurodeploy.hwsim.arch import load_architecture
    from neurodeploy.network import Network

    arch = None if args.chip == NO_CHIP else load_architecture(args.chip)

    def dump(name: str, network: Network) -> None:
        if name == args.dump_after:
            console.say(f"after {name}:")
            console.table(
                ("population", "neurons", "scale"), [(p.name, p.size, _span(p.scales)) for p in network.populations]
            )
            console.table(
                ("projection", "kind", "exponent", "smallest weight", "largest weight"),
                [
                    (p.name, type(p.connectivity).__name__, p.connectivity.exponent,
                     f"{p.connectivity.weights.min():.6g}", f"{p.connectivity.weights.max():.6g}")
                    for p in network.projections
                ],
            )  # fmt: skip

    if args.file.suffix == ".net":
        program = compile_net(
            args.file, arch, options=_given_for_net(args), max_neurons_per_core=args.max_neurons_per_core
        )
    else:
        program = compile_file(
            args.file,
            arch,
            options=options.given_conventions(args),
            calibration=options.load_inputs(args.calibration) or None,
            integer=not args.float,
            max_neurons_per_core=args.max_neurons_per_core,
            after=dump,
        ).program
    output = args.output or args.file.with_suffix(".ndp")
    program.save(output)
    if arch is None:
        neurons = sum(len(cores) for cores in program.core_of.values())
        console.say(f"{program.network.name}: {neurons:,} neurons on no chip; runs, but has no cores, counts or energy")
    else:
        _say_use(program, arch, console)
    for topic, text in program.network.notes.items():
        console.say(f"{topic}: {text}")
    console.say(f"wrote {output}")
    console.result(
        {
            "program": str(output),
            "chip": program.chip,
            "cores": len(program.cores),
            "use": [vars(u) for u in program.use],
            "notes": dict(program.network.notes),
        }
    )
    return 0


def _given_for_net(args: argparse.Namespace) -> dict[str, object]:
    """Options that mean nothing for a .net file, where they were given."""
    found: dict[str, object] = {**options.given_conventions(args)}
    found |= {"calibration": args.calibration or None, "float": args.float or None, "dump_after": args.dump_after}
    return found


def _say_use(program: Program, arch: Architecture, console: Console) -> None:
    from neurodeploy.compiler import limits_of

    limits = limits_of(arch)
    console.table(
        ("core", "neurons", f"of {limits.neurons:,}", "synapse memory", f"of {(limits.synapse_bytes or 0):,} B",
         "axons in", f"of {limits.axons_in or 0:,}", "axons out", f"of {limits.axons_out or 0:,}"),
        [
            (u.core, u.neurons, _share(u.neurons, limits.neurons), u.synapse_bytes,
             _share(u.synapse_bytes, limits.synapse_bytes), u.axons_in, _share(u.axons_in, limits.axons_in),
             u.axons_out, _share(u.axons_out, limits.axons_out))
            for u in program.use
        ],
        title=f"{program.network.name} on {arch.title}: {len(program.cores)} of {arch.cores} cores",
    )  # fmt: skip


def _span(values: Array) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"


def _share(need: int, have: int | None) -> str:
    return f"{100 * need / have:.1f} %" if have else "-"
