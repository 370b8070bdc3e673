"""``neurodeploy learn``: networks that learn on the chip, event by event, and what that costs."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurodeploy.errors import InvalidInputError

from . import options
from .console import Console, Progress

if TYPE_CHECKING:
    from neurodeploy.learning.run import Run
    from neurodeploy.learning.setup import Setup
    from neurodeploy.report.learning.document import LearningReport, Memory

CHIPS = ("anp-i", "loihi1", "reckon", "odin", "paper-45nm")
"""By whose files every report prices."""
LENGTHS = (8, 16, 32, 64, 128)
"""Steps of a sample at which memory is measured."""
LENGTH_EPOCHS = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rule", nargs="+", choices=("mpd-ed", "std-ed", "bptt", "stdp", "r-stdp"), metavar="RULE",
        help="mpd-ed, std-ed, bptt (surrogate gradient), stdp, r-stdp; several are compared (default: mpd-ed)",
    )  # fmt: skip
    parser.add_argument(
        "--data",
        metavar="DATA",
        help="digits (default), or your own spikes: an .npz with train_x, train_y, test_x, test_y",
    )
    parser.add_argument("--code", choices=("latency", "rate"), help="how pixels become spikes (default: latency)")
    parser.add_argument("--steps", type=options.positive, metavar="T", help="of a sample (default: 16)")
    parser.add_argument(
        "--hidden", type=hidden, metavar="LAYERS",
        help="neurons, or c8k3s2 for a convolution of 8 channels, kernel 3, stride 2: 100 (default), c8k3s2,48",
    )  # fmt: skip
    parser.add_argument("--epochs", type=options.positive, metavar="N", help="default: 30")
    parser.add_argument("--seed", type=int, metavar="N", help="of weights, order and rounding (default: 0)")
    parser.add_argument("--learning-rate", type=float, metavar="R", help="default: 0.05")
    parser.add_argument("--batch", type=options.positive, metavar="N", help="samples between changes (default: 1)")
    parser.add_argument(
        "--skip", type=float, metavar="P", help="learn nothing from a sample that is right with probability 1 - P"
    )
    parser.add_argument("--weight-bits", type=options.positive, metavar="B", help="keep weights on a grid of B bits")
    parser.add_argument("--initial", type=float, metavar="X", help="factor of the initial weights (default: 1)")
    parser.add_argument("--fixed-thresholds", action="store_true", help="switch the adaptive thresholds off")
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
    from neurodeploy.hwsim.chips.arch import load_architecture
    from neurodeploy.report.learning.collect import report_of
    from neurodeploy.report.learning.html import write_html

    chips = list(dict.fromkeys([args.chip, *CHIPS]))
    archs = [load_architecture(chip) for chip in chips]
    console.note("learning on the chip, simulated event by event (the first time, compiling takes half a minute) ...")
    runs = [_begun(args, rule) for rule in dict.fromkeys(args.rule or ["mpd-ed"])]
    for item in runs:
        with console.progress(item.setup.rule) as progress, _kept(item):
            _finish(item, progress)
        _save(item)
    memory = [] if args.no_memory else _memory(runs, archs[0], console)
    title = f"Learning on the chip: {runs[0].setup.data}"
    report = report_of(runs, archs, title, memory)
    report.save(args.output / "results.json")
    write_html(report, args.output / "report.html")
    _summary(report, console)
    console.say(f"report: {(args.output / 'report.html').resolve()}")
    console.result(
        {
            "report": str(args.output / "report.html"),
            "results": str(args.output / "results.json"),
            "rules": [_short(rule) for rule in report.rules],
        }
    )
    return 0


def _begun(args: argparse.Namespace, rule: str) -> Run:
    """A run from the beginning, or from its checkpoint."""
    from neurodeploy.files.atomic import make_folder
    from neurodeploy.learning.run import CHECKPOINT, Run
    from neurodeploy.learning.setup import Setup

    folder = args.output / rule
    given = {f.name: getattr(args, f.name) for f in fields(Setup) if f.name not in ("rule", "adapt", "digest")}
    given = {name: value for name, value in given.items() if value is not None}
    if args.fixed_thresholds:
        given["adapt"] = False
    asked = Setup.given(rule, **given)
    there = (folder / CHECKPOINT).is_file()
    if there and not args.resume:
        raise InvalidInputError(
            f"{folder} holds a run already", hint="--resume to go on with it, or another folder with -o"
        )
    if not there:
        make_folder(folder)
        return Run(asked, folder, args.checkpoint_every)
    found = Run.resume(folder, args.checkpoint_every)
    _check_same(found.setup, asked, given, folder)
    return found


def _check_same(found: Setup, asked: Setup, given: dict[str, Any], folder: Path) -> None:
    for name in ("rule", *given):
        if getattr(found, name) != getattr(asked, name):
            raise InvalidInputError(
                f"the run in {folder} has another {name.replace('_', ' ')}", found=getattr(found, name),
                allowed=getattr(asked, name), hint="leave the option out to go on, or give another folder with -o",
            )  # fmt: skip


@contextmanager
def _kept(item: Run) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise InvalidInputError(
            f"{item.setup.rule} was stopped after {item.taken:,} of {item.samples:,} samples",
            hint="the same command with --resume goes on from there",
        ) from None


def _finish(item: Run, progress: Progress) -> None:
    size = item.learner.size
    while not item.done:
        item.advance()
        progress(item.taken, item.samples, f"epoch {-(-item.taken // size)}, {100 * item.accuracies[-1]:.2f} %")


def _save(item: Run) -> None:
    """The learned network as a Program."""
    from neurodeploy.compiler import place

    network = item.learner.network()
    if network is not None and item.folder is not None:
        place(network, None, {"learned": item.setup.to_json()}).save(item.folder / "learned.ndp")


def _memory(runs: list[Run], arch: Any, console: Console) -> list[Memory]:
    """Short runs at other lengths of a sample."""
    from dataclasses import replace

    from neurodeploy.learning.digits.data import DIGITS
    from neurodeploy.learning.run import Run
    from neurodeploy.report.learning.collect import memory_of

    found = []
    chosen = [i.setup for i in runs if i.setup.rule in ("mpd-ed", "std-ed") and i.setup.data == DIGITS]
    with console.progress("memory") as progress:
        for setup in chosen:
            for steps in LENGTHS:
                short = Run(replace(setup, steps=steps, epochs=LENGTH_EPOCHS))
                _finish(short, progress)
                found.append(memory_of(short, arch))
    return found


def _short(rule: Any) -> dict[str, Any]:
    own = rule.priced[0]
    return {
        "rule": rule.rule,
        "accuracy": rule.accuracy,
        "tested": rule.tested,
        "undecided": rule.undecided,
        "silent": rule.silent,
        "learning_pj": own.learning_pj,
        "inference_pj": own.inference_pj,
        "ratios": {other.name: other.ratio for other in own.baselines},
        "words": rule.words,
        "missing": list(own.lacking),
    }


def _summary(report: LearningReport, console: Console) -> None:
    from neurodeploy.report.accuracies import undecided
    from neurodeploy.report.html import quantity

    baselines = dict.fromkeys(other.name for rule in report.rules for other in rule.priced[0].baselines)
    rows = []
    for rule in report.rules:
        own = rule.priced[0]
        ratios = {other.name: f"{other.ratio:.1f}x" if other.ratio else "-" for other in own.baselines}
        rows.append(
            (
                rule.title,
                f"{100 * rule.accuracy:.2f} %",
                undecided(rule),
                quantity(own.learning_pj, "pJ") if own.learning_pj else "-",
                quantity(own.inference_pj, "pJ") if own.inference_pj else "-",
                *(ratios.get(name, "-") for name in baselines),
                f"{rule.spikes:,.0f}",
                f"{rule.words:,.0f}",
            )
        )
    console.table(
        ("rule", "test", "undecided", "learning", "forward", *(f"{name} takes" for name in baselines), "spikes",
         "words"), rows,
        title=f"energy of a sample at {report.chip}'s prices; what clocked engines take for the same samples",
    )  # fmt: skip
    lacking = dict.fromkeys(name for rule in report.rules for name in rule.priced[0].lacking)
    if lacking:
        console.say(f"not in the energy, since no price was published: {', '.join(lacking)}")
    assumed = {line.component for rule in report.rules for line in rule.priced[0].lines if line.confidence == "assumed"}
    if assumed:
        console.say(f"assumed prices: {', '.join(sorted(assumed))}")
