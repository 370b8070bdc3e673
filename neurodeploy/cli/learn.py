"""``neurodeploy learn``: networks that learn on the chip, event by event, and what that costs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from . import options
from .console import Console

if TYPE_CHECKING:
    from neurodeploy.api.learning import Learned


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rule", nargs="+", choices=("mpd-ed", "std-ed", "bptt", "stdp", "r-stdp"), metavar="RULE",
        help="mpd-ed, std-ed, bptt (surrogate gradient), stdp, r-stdp; several are compared (default: mpd-ed)",
    )  # fmt: skip
    parser.add_argument(
        "--data", default="digits", metavar="DATA",
        help="digits (default), motion (a simulated event camera; takes --hidden c8k3s1,48, --epochs 15 and "
        "--learning-rate 0.02 when not given), or your own spikes: an .npz with train_x, train_y, test_x, test_y",
    )  # fmt: skip
    parser.add_argument("--code", choices=("latency", "rate"), help="how pixels become spikes (default: latency)")
    parser.add_argument("--steps", type=options.positive, metavar="T", help="of a sample (default: 16)")
    parser.add_argument(
        "--hidden", type=hidden, metavar="LAYERS",
        help="neurons, or c8k3s2 for a convolution of 8 channels, kernel 3, stride 2: 100 (default), c8k3s2,48",
    )  # fmt: skip
    parser.add_argument("--initial", type=float, metavar="X", help="factor of the initial weights (default: 1)")
    add_learning(parser, epochs=30, rate=0.05)
    how = parser.add_mutually_exclusive_group()
    add_thresholds(how, "layer")
    how.add_argument("--fixed-thresholds", action="store_true", help="the same as --thresholds fixed")
    parser.add_argument("--chip", default="anp-i", help="whose prices come first (default: anp-i)")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("learn-output"), help="folder (default: learn-output)"
    )
    parser.add_argument(
        "--checkpoint-every", type=options.positive, default=1000, metavar="SAMPLES", help="default: 1000"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the folder's checkpoints")
    parser.add_argument("--no-memory", action="store_true", help="do not measure memory at other lengths of a sample")
    parser.add_argument("--json", action="store_true", help="machine-readable")


def add_learning(parser: argparse.ArgumentParser, *, epochs: int, rate: float) -> None:
    """Options of everything that learns event by event."""
    parser.add_argument("--epochs", type=options.positive, metavar="N", help=f"default: {epochs}")
    parser.add_argument("--seed", type=int, metavar="N", help="of weights, order and rounding (default: 0)")
    parser.add_argument("--learning-rate", type=float, metavar="R", help=f"default: {rate}")
    parser.add_argument("--batch", type=options.positive, metavar="N", help="samples between changes (default: 1)")
    parser.add_argument(
        "--skip", type=float, metavar="P", help="learn nothing from a sample that is right with probability 1 - P"
    )
    parser.add_argument("--weight-bits", type=options.positive, metavar="B", help="keep weights on a grid of B bits")


def add_thresholds(parser: argparse._ActionsContainer, usual: str) -> None:
    """How thresholds follow activity."""
    parser.add_argument(
        "--thresholds", choices=("fixed", "layer", "neuron"),
        help=f"follow the activity of their layer, or of each neuron, or stay (default: {usual})",
    )  # fmt: skip


def hidden(text: str) -> tuple[int | tuple[int, int, int], ...]:
    """Hidden layers: ``100``, ``c8k3s2,48`` (argparse type)."""
    import re

    found: list[int | tuple[int, int, int]] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)|c(\d+)k(\d+)s(\d+)", part.strip())
        numbers = [int(n) for n in match.groups() if n is not None] if match else [0]
        if min(numbers) < 1:
            raise argparse.ArgumentTypeError(f"{part!r} is no layer; allowed: 100, or c8k3s2")
        found.append(numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1], numbers[2]))
    return tuple(found)


def run(args: argparse.Namespace, console: Console) -> int:
    from dataclasses import fields

    from neurodeploy.api.learning import LearnOptions, learn

    if args.fixed_thresholds:
        args.thresholds = "fixed"
    console.note("learning on the chip, simulated event by event (the first time, compiling takes half a minute) ...")
    given = LearnOptions(**{f.name: getattr(args, f.name) for f in fields(LearnOptions)})
    found = learn(
        args.rule or ["mpd-ed"], args.data, given,
        chip=args.chip, folder=args.output, resume=args.resume, memory=not args.no_memory,
        checkpoint_every=args.checkpoint_every,
    )  # fmt: skip
    say(found, console)
    return 0


def say(found: Learned, console: Console) -> None:
    """Tables of what came of learning runs."""
    document = found.document
    console.table(
        found.columns, found.rows(),
        title=f"energy of a sample at {document.chip}'s prices; what clocked engines take for the same samples",
    )  # fmt: skip
    lacking = dict.fromkeys(name for rule in document.rules for name in rule.priced[0].lacking)
    if lacking:
        console.say(f"not in the energy, since no price was published: {', '.join(lacking)}")
    assumed = {line.component for r in document.rules for line in r.priced[0].lines if line.confidence == "assumed"}
    if assumed:
        console.say(f"assumed prices: {', '.join(sorted(assumed))}")
    for name, program in found.programs.items():
        console.say(f"{name}: {program.path}")
    if found.report is not None:
        console.say(f"report: {found.report.resolve()}")
    console.result(found.as_json())
