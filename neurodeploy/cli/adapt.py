"""``neurodeploy adapt``: a deployed network goes on learning on the chip."""

from __future__ import annotations

import argparse
from pathlib import Path

from neurodeploy.errors import InvalidInputError

from .console import Console
from .learn import add_learning, add_thresholds, say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "program", type=Path, nargs="?", help="a Program (.ndp) to teach; without one, scenarios on the digits"
    )
    parser.add_argument(
        "--data", type=Path, metavar="FILE",
        help="what it learns from: an .npz with train_x, test_x [time, samples, ...], train_y, test_y",
    )  # fmt: skip
    parser.add_argument("--rule", choices=("mpd-ed", "std-ed"), help="default: the Program's own, or mpd-ed")
    parser.add_argument(
        "--layers",
        nargs="+",
        default=[],
        metavar="NAME",
        help="what learns: layers, modules or projections by name (default: all that can)",
    )
    add_learning(parser, epochs=1, rate=0.002)
    add_thresholds(parser, "fixed")
    parser.add_argument(
        "--scenario", nargs="+", choices=("new-class", "shifted-sensor"), metavar="NAME",
        help="without a Program: new-class: a digit that it has never seen; shifted-sensor: images moved by a pixel "
        "(default: both), learned by a network that is trained before (--epochs 20), with --weight-bits 8, --skip 0.1",
    )  # fmt: skip
    parser.add_argument("--chip", help="whose prices are taken (default: the Program's own, or anp-i)")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("adapt-output"), help="folder (default: adapt-output)"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the folder's checkpoint")
    parser.add_argument("--json", action="store_true", help="machine-readable")


def run(args: argparse.Namespace, console: Console) -> int:
    if args.program is None:
        return _scenarios(args, console)
    from dataclasses import fields

    from neurodeploy.api.learning import LearnOptions, adapt

    if args.scenario:
        raise InvalidInputError("--scenario is for the digits, without a Program", hint="leave one of them out")
    if args.data is None:
        raise InvalidInputError(
            f"nothing is said that {args.program} should learn from",
            hint="--data samples.npz with train_x, train_y, test_x, test_y",
        )
    given = {f.name: getattr(args, f.name, None) for f in fields(LearnOptions)}
    console.note("learning on the chip, simulated event by event (the first time, compiling takes half a minute) ...")
    found = adapt(
        args.program, args.data, args.rule, LearnOptions(**given), layers=args.layers, chip=args.chip,
        folder=args.output, resume=args.resume,
    )  # fmt: skip
    rule = found.document.rules[0]
    assert found.before is not None
    console.say(
        f"test accuracy: {100 * found.before[rule.rule]:.2f} % when deployed, {100 * found.accuracy:.2f} % after "
        f"{rule.samples:,} samples ({100 * rule.skipped:.0f} % of them taught nothing)"
    )
    console.warn(*found.warnings)
    say(found, console)
    return 0


def _scenarios(args: argparse.Namespace, console: Console) -> int:
    from neurodeploy.api.learning import adapt_digits
    from neurodeploy.report.html import quantity

    wrong = [name for name in ("data", "layers", "learning_rate", "batch", "thresholds", "resume")
             if getattr(args, name)]  # fmt: skip
    if wrong:
        raise InvalidInputError(
            f"--{wrong[0].replace('_', '-')} is for a Program", found="no Program",
            hint="neurodeploy adapt net.ndp --data samples.npz",
        )  # fmt: skip
    usual = {"weight_bits": args.weight_bits, "skip": args.skip, "epochs": args.epochs, "seed": args.seed,
             "chip": args.chip}  # fmt: skip
    given = {name: value for name, value in usual.items() if value is not None}
    found = adapt_digits(args.scenario, args.rule or "mpd-ed", folder=args.output, **given)
    for item in found.document.adaptations:
        first, last = item.points[0], item.points[-1]
        console.table(
            ("test accuracy", "samples", "when deployed", "undecided", "after learning on the chip", "undecided"),
            [
                (name, item.tested[name], f"{100 * first.accuracy[name]:.2f} %", first.undecided[name],
                 f"{100 * value:.2f} %", last.undecided[name])
                for name, value in last.accuracy.items()
            ],
            title=f"{item.title}: {item.rule}, weights of {item.weight_bits} bits",
        )  # fmt: skip
        console.say(
            f"{last.learned:,} of {last.samples:,} samples taught it something; a sample takes "
            f"{quantity(item.learning_pj, 'pJ')} of learning beside {quantity(item.inference_pj, 'pJ')} of the forward "
            f"pass, at {item.chip}'s prices"
        )
        if item.missing:
            console.say(f"not in the energy, since no price was published: {', '.join(item.lacking)}")
    console.say(f"report: {found.report.resolve()}")
    console.result(found.as_json())
    return 0
