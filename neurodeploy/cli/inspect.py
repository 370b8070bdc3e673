"""``neurodeploy inspect``: what a file holds, and what was assumed."""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Mapping
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
    from neurodeploy.verify.candidates import Candidate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="a .nir file, a lava-dl .net file or a Program (.ndp)")
    parser.add_argument(
        "-i", "--input", action="append", default=[], metavar="[NAME=]X.npy",
        help="spikes, [time, batch, *shape], on which the conventions of the tools are tried (default: random ones)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="machine-readable")
    options.conventions(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    repairs: tuple[str, ...] = ()
    not_held: list[str] = []
    left_open: tuple[Ambiguity, ...] = ()
    tried: tuple[Candidate, ...] = ()
    _check(args)
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
        from neurodeploy.verify.candidates import candidates

        file, given = nir_file.read(args.file), options.given_conventions(args)
        inputs = options.load_inputs(args.input) or None
        if not _has_time_step(file, given):
            return _without_time_step(file, args.file, candidates(file, None, given, inputs), bool(inputs), console)
        conventions = resolve(file, **given)
        network, left_open = lower(file, conventions), ambiguities(file, conventions)
        if inputs or not file.metadata:
            tried = candidates(file, conventions, given, inputs)
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
    _say_facts(network, facts, not_held, console)
    _say_repairs(repairs, console)
    if left_open:
        console.table(
            ("the file does not say", "assumed", "others", "who", "what would differ"),
            [(f"--{a.convention.replace('_', '-')}", a.assumed, a.alternative, a.whose, a.effect) for a in left_open],
            title="ambiguous: settle it with the option, or export the network again with neurodeploy",
        )
    _say_tried(tried, bool(args.input), console)
    console.result(
        {
            "file": str(args.file),
            "arithmetic": network.arithmetic,
            "dt": network.dt,
            "populations": populations,
            "projections": projections,
            "outputs": list(network.outputs),
            "answer": network.answer.described() if network.answer else None,
            "notes": dict(network.notes),
            "repairs": list(repairs),
            "not_held": not_held,
            "ambiguous": [vars(a) for a in left_open],
            "candidates": [_candidate(c) for c in tried],
            "facts": {k: v if isinstance(v, (str, int, float, bool)) else str(v) for k, v in facts.items()},
        }
    )
    return 0


def _say_facts(network: Network, facts: Mapping[str, Any], not_held: list[str], console: Console) -> None:
    """What forward returns, what was assumed, what the file says of itself, and what registers do not hold."""
    if network.answer:
        console.say(f"answer: {network.answer.described()}")
    for topic, text in {**network.notes, **{k: v for k, v in facts.items() if k not in network.notes}}.items():
        console.say(f"{topic}: {text}")
    for text in not_held:
        console.say(f"not held: {text}")


def _check(args: argparse.Namespace) -> None:
    """Refuse what means nothing for a file that is no NIR graph."""
    from neurodeploy.errors import InvalidInputError
    from neurodeploy.nir_graph.conventions import named

    given = named(options.given_conventions(args))
    if args.file.suffix in (".ndp", ".net") and (given or args.input):
        raise InvalidInputError(
            f"{args.file} leaves no convention to settle or to try",
            found=", ".join([*given, *(["input"] if args.input else [])]),
            allowed="these options for .nir files",
            hint="leave them out",
        )


def _has_time_step(file: NirFile, given: Mapping[str, Any]) -> bool:
    """Whether someone says how long a step is: an option, the file, or the tool that certainly wrote it."""
    from neurodeploy.nir_graph.recognise import recognise
    from neurodeploy.nir_graph.shapes import of_kind

    if given["dt"] is not None or given["tool"] is not None or "dt" in file.metadata:
        return True
    found = recognise(file)
    timeless = not of_kind(file.graph, "LIF", "LI", "CubaLIF", "CubaLI", "IF", "I", "Delay")
    return timeless or (found is not None and found.certain)


def _without_time_step(file: NirFile, path: Path, tried: tuple[Candidate, ...], given: bool, console: Console) -> int:
    """What can be said of a file that does not tell its time step: its nodes, and what each tool would make of it."""
    from neurodeploy.nir_graph.recognise import recognise
    from neurodeploy.nir_graph.shapes import delayed_edges, kind, shapes
    from neurodeploy.nir_graph.tools import TOOLS

    nodes: list[dict[str, Any]] = [
        {"name": name, "type": kind(file.graph.nodes[name]), "shape": list(shape)}
        for name, shape in shapes(file.graph).items()
    ]
    loops = [f"{source} -> {target}" for source, target in sorted(delayed_edges(file.graph))]
    found = recognise(file)
    console.say(f"{path}: NIR graph of {len(nodes)} nodes, written by nir {file.nir_version or '?'}")
    console.table(("node", "type", "output shape"), [(n["name"], n["type"], _shape(n["shape"])) for n in nodes])
    if loops:
        console.say(f"loops: one step of delay on {', '.join(loops)}")
    if found:
        console.say(f"written by: {found.text}; --as {found.tool} takes its conventions")
    steps = ", ".join(f"{tool.values['dt']:g} {name}" for name, tool in TOOLS.items() if tool.values["dt"])
    console.say(
        "dt: not in the file. Give it with --dt, or --as with the tool that wrote it, to see populations, weights, "
        f"conventions and what others would change. The tools' own steps, in seconds: {steps}."
    )
    _say_repairs(file.repairs, console)
    _say_tried(tried, given, console)
    console.result(
        {
            "file": str(path),
            "nodes": nodes,
            "delayed": loops,
            "dt": None,
            "written_by": vars(found) if found else None,
            "repairs": list(file.repairs),
            "candidates": [_candidate(c) for c in tried],
        }
    )
    return 0


def _say_tried(tried: tuple[Candidate, ...], given: bool, console: Console) -> None:
    if not tried:
        return
    console.table(
        ("--as", "dt", "spikes of each layer", "neuron-steps that differ", "did not write it, since"),
        [(c.tool, "-" if c.dt is None else f"{c.dt:g}", _spikes(c), _differing(c), c.against) for c in tried],
        title=f"each tool's conventions, run on {'the given' if given else 'a random'} input",
    )


def _spikes(candidate: Candidate) -> str:
    if candidate.why_not:
        return f"not run: {candidate.why_not}"
    listed = [f"{name}: {number:,}" for name, number in candidate.spikes.items()]
    return ", ".join(listed[:6]) + (f" and {len(listed) - 6} more" if len(listed) > 6 else "")


def _differing(candidate: Candidate) -> str:
    return "-" if candidate.differing is None else f"{candidate.differing:,} of {candidate.compared:,}"


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return {**vars(candidate), "spikes": dict(candidate.spikes)}


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
    count = population.join.compartments if population.join else 0
    return {
        "name": name,
        "handle": str(population.handle),
        "model": population.neuron.label + (f", behind a MAX of {count:,} compartments" if count else ""),
        "shape": list(population.shape),
        "neurons": population.size,
        **({"compartments": count} if count else {}),
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
