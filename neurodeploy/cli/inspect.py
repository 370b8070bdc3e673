"""``neurodeploy inspect``: what a file holds, and what was assumed."""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import options
from .console import Console

if TYPE_CHECKING:
    from neurodeploy.hwsim.chips.arch import Architecture
    from neurodeploy.network.network import Network
    from neurodeploy.nir_graph.nir_file import NirFile
    from neurodeploy.program.program import Program
    from neurodeploy.verify.ambiguity import Ambiguity


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="a .nir file, a lava-dl .net file or a Program (.ndp)")
    parser.add_argument("--json", action="store_true", help="machine-readable")
    options.conventions(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    repairs: tuple[str, ...] = ()
    not_held: list[str] = []
    left_open: tuple[Ambiguity, ...] = ()
    if zipfile.is_zipfile(args.file) or args.file.suffix == ".ndp":
        from neurodeploy.hwsim.chips.embedded import arithmetic_of, known_chip
        from neurodeploy.program.program import Program

        program = Program.load(args.file)
        network, title = program.network, f"{args.file}: Program for {program.chip} on {len(program.cores)} core(s)"
        facts: dict[str, Any] = {"chip": program.chip, **_own_chip(program), "cores": len(program.cores)}
        facts |= {"computed with": arithmetic_of(program), **program.provenance}
        not_held = _not_held(network, known_chip(program))
    elif args.file.suffix == ".net":
        from neurodeploy.lowering.lava_dl import read_net

        network, facts = read_net(args.file), {}
        not_held = _not_held(network, None)
        title = f"{args.file}: lava-dl network of {len(network.populations)} populations"
    else:
        from neurodeploy.lowering.lower import lower
        from neurodeploy.nir_graph import nir_file
        from neurodeploy.nir_graph.conventions import resolve
        from neurodeploy.verify.ambiguity import ambiguities

        file = nir_file.read(args.file)
        if args.dt is None and "dt" not in file.metadata:
            return _without_time_step(file, args.file, console)
        conventions = resolve(file, **options.given_conventions(args))
        network, left_open = lower(file, conventions), ambiguities(file, conventions)
        title = f"{args.file}: NIR graph of {len(file.graph.nodes)} nodes, written by nir {file.nir_version or '?'}"
        repairs = file.repairs
        facts = {"nir": file.nir_version, "sha256": file.sha256, **{str(k): v for k, v in file.metadata.items()}}
    console.say(title)
    populations = [_population(network, p.name) for p in network.populations]
    projections = [_projection(p) for p in network.projections]
    console.table(
        ("population", "from", "model", "shape", "neurons", "output"),
        [(p["name"], p["handle"], p["model"], _shape(p["shape"]), p["neurons"], p["output"]) for p in populations],
    )
    console.table(
        ("projection", "kind", "stored weights", "synapses", "delay", "from"),
        [(p["name"], p["kind"], p["stored_weights"], p["synapses"], p["delay"], p["handle"]) for p in projections],
    )
    for topic, text in {**network.notes, **{k: v for k, v in facts.items() if k not in network.notes}}.items():
        console.say(f"{topic}: {text}")
    for text in not_held:
        console.say(f"not held: {text}")
    _say_repairs(repairs, console)
    if left_open:
        console.table(
            ("the file does not say", "assumed", "others", "who", "what would differ"),
            [(f"--{a.convention.replace('_', '-')}", a.assumed, a.alternative, a.whose, a.effect) for a in left_open],
            title="ambiguous: settle it with the option, or export the network again with neurodeploy",
        )
    console.result(
        {
            "file": str(args.file),
            "arithmetic": network.arithmetic,
            "dt": network.dt,
            "populations": populations,
            "projections": projections,
            "outputs": list(network.outputs),
            "notes": dict(network.notes),
            "repairs": list(repairs),
            "not_held": not_held,
            "ambiguous": [vars(a) for a in left_open],
            "facts": {k: v if isinstance(v, (str, int, float, bool)) else str(v) for k, v in facts.items()},
        }
    )
    return 0


def _without_time_step(file: NirFile, path: Path, console: Console) -> int:
    """What can be said of a file that does not tell its time step: its nodes."""
    from neurodeploy.nir_graph.shapes import delayed_edges, kind, shapes

    nodes: list[dict[str, Any]] = [
        {"name": name, "type": kind(file.graph.nodes[name]), "shape": list(shape)}
        for name, shape in shapes(file.graph).items()
    ]
    loops = [f"{source} -> {target}" for source, target in sorted(delayed_edges(file.graph))]
    console.say(f"{path}: NIR graph of {len(nodes)} nodes, written by nir {file.nir_version or '?'}")
    console.table(("node", "type", "output shape"), [(n["name"], n["type"], _shape(n["shape"])) for n in nodes])
    if loops:
        console.say(f"loops: one step of delay on {', '.join(loops)}")
    console.say(
        "dt: not in the file. Give it with --dt to see populations, weights and the conventions assumed, and what "
        "would differ under others. Some tools' own: 1e-4 snnTorch and SpikingJelly, 1e-3 norse, 1 sinabs and spyx."
    )
    _say_repairs(file.repairs, console)
    console.result({"file": str(path), "nodes": nodes, "delayed": loops, "dt": None, "repairs": list(file.repairs)})
    return 0


def _not_held(network: Network, arch: Architecture | None) -> list[str]:
    """What no registers of Loihi hold, or the Program's chip does not, in words."""
    from neurodeploy.compiler import lacks
    from neurodeploy.errors import UnsupportedError
    from neurodeploy.network.network import check_registers

    found = lacks(network, arch) if arch else []
    try:
        check_registers(network)
    except UnsupportedError as error:
        found.append(f"{error.what}: {error.found}; allowed: {error.allowed}")
    return found


def _own_chip(program: Program) -> dict[str, str]:
    """What a Program says of a chip that does not come with neurodeploy."""
    if not program.chip_file:
        return {}
    from neurodeploy.hwsim.chips.embedded import architecture_of

    arch = architecture_of(program)
    above = f", which extends {' and '.join(arch.extends)}" if arch.extends else ""
    return {"chip_file": f"its own, in the Program: {arch.title}{above}"}


def _say_repairs(repairs: tuple[str, ...], console: Console) -> None:
    for repair in repairs:
        console.say(f"repaired: {repair}")


def _shape(shape: list[int]) -> str:
    return " x ".join(map(str, shape))


def _population(network: Any, name: str) -> dict[str, Any]:
    population = network.by_name[name]
    return {
        "name": name,
        "handle": str(population.handle),
        "model": population.neuron.label,
        "shape": list(population.shape),
        "neurons": population.size,
        "output": "yes" if name in network.outputs else "",
    }


def _projection(projection: Any) -> dict[str, Any]:
    kind = projection.connectivity
    return {
        "name": projection.name,
        "kind": type(kind).__name__.lower(),
        "stored_weights": kind.stored_weights(),
        "synapses": kind.synapses(),
        "delay": projection.delay,
        "handle": str(projection.handle),
    }
