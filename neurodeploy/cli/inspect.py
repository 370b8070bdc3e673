"""``neurodeploy inspect``: what a file holds, and what was assumed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from neurodeploy.errors import InvalidInputError

from . import options
from .console import Console

if TYPE_CHECKING:
    from neurodeploy.api.inspection import Inspection, Nodes
    from neurodeploy.verify.candidates import Candidate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="a .nir file, a lava-dl .net file or a Program (.ndp)")
    parser.add_argument(
        "-i", "--input", action="append", default=[], metavar="[NAME=]X.npy",
        help="spikes, [time, batch, *shape], on which the conventions of the tools are tried (default: random ones)",
    )  # fmt: skip
    parser.add_argument(
        "--svg", type=Path, metavar="OUT.svg", help="draw chip, host, phases and what crosses, as a picture"
    )
    parser.add_argument("--json", action="store_true", help="machine-readable")
    options.conventions(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from neurodeploy.api.inspection import Nodes, inspect
    from neurodeploy.files.atomic import write_text

    if args.svg and args.svg.suffix.lower() != ".svg":
        raise InvalidInputError("--svg names another kind of file", found=str(args.svg), allowed="OUT.svg")
    inputs = options.load_inputs(args.input)
    found = inspect(args.file, inputs or None, options.given_conventions(args))
    if args.svg:
        write_text(args.svg, found.svg())
    console.say(found.title)
    console.table(found.COLUMNS, found.rows())
    if isinstance(found, Nodes):
        _say_nodes(found, console)
    else:
        _say_network(found, console)
    _say_tried(found.tried, bool(args.input), console)
    if args.svg:
        console.say(f"wrote {args.svg}")
    console.result(found.as_json() | ({"svg": str(args.svg)} if args.svg else {}))
    return 0


def _say_network(found: Inspection, console: Console) -> None:
    """What is connected, what forward returns, what was assumed, and what the file says of itself."""
    network = found.network
    console.table(found.PROJECTIONS, found.projections())
    if network.stages:
        console.table(found.STAGES, found.stages())
        console.say(found.drawing())
    if network.answer:
        console.say(f"answer: {network.answer.described()}")
    for topic, text in {**network.notes, **{k: v for k, v in found.facts.items() if k not in network.notes}}.items():
        console.say(f"{topic}: {text}")
    for text in found.not_held:
        console.say(f"not held: {text}")
    _say_repairs(found.repairs, console)
    if found.left_open:
        console.table(
            ("the file does not say", "assumed", "others", "who", "what would differ"),
            [
                (f"--{a.convention.replace('_', '-')}", a.assumed, a.alternative, a.whose, a.effect)
                for a in found.left_open
            ],
            title="ambiguous: settle it with the option, or export the network again with neurodeploy",
        )


def _say_nodes(found: Nodes, console: Console) -> None:
    """What can be said of a file that does not tell its time step."""
    from neurodeploy.nir_graph.tools import TOOLS

    if found.delayed:
        console.say(f"loops: one step of delay on {', '.join(found.delayed)}")
    if found.written_by:
        console.say(f"written by: {found.written_by.text}; --as {found.written_by.tool} takes its conventions")
    steps = ", ".join(f"{tool.values['dt']:g} {name}" for name, tool in TOOLS.items() if tool.values["dt"])
    console.say(
        "dt: not in the file. Give it with --dt, or --as with the tool that wrote it, to see populations, weights, "
        f"conventions and what others would change. The tools' own steps, in seconds: {steps}."
    )
    _say_repairs(found.repairs, console)


def _say_repairs(repairs: tuple[str, ...], console: Console) -> None:
    for repair in repairs:
        console.say(f"repaired: {repair}")


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
