"""``neurodeploy adapt``: a deployed network goes on learning on the chip when its world changes."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import options
from .console import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scenario", nargs="+", choices=("new-class", "shifted-sensor"), metavar="NAME",
        help="new-class: a digit that it has never seen; shifted-sensor: images moved by a pixel (default: both)",
    )  # fmt: skip
    parser.add_argument("--rule", choices=("mpd-ed", "std-ed"), default="mpd-ed", help="default: mpd-ed")
    parser.add_argument(
        "--weight-bits", type=options.positive, default=8, metavar="B", help="of the chip's weights (default: 8)"
    )
    parser.add_argument(
        "--skip", type=float, default=0.1, metavar="P",
        help="learn nothing from a sample that is right with probability 1 - P (default: 0.1)",
    )  # fmt: skip
    parser.add_argument("--epochs", type=options.positive, default=20, metavar="N", help="of the training before")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    parser.add_argument("--chip", default="anp-i", help="whose prices are taken (default: anp-i)")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("adapt-output"), help="folder (default: adapt-output)"
    )
    parser.add_argument("--json", action="store_true", help="machine-readable")


def run(args: argparse.Namespace, console: Console) -> int:
    from neurodeploy import __version__
    from neurodeploy.files.atomic import make_folder
    from neurodeploy.hwsim.chips.arch import load_architecture
    from neurodeploy.learning.digits.scenarios import SCENARIOS, adapt
    from neurodeploy.learning.setup import Setup
    from neurodeploy.report.html import quantity
    from neurodeploy.report.learning.collect import adaptation_of
    from neurodeploy.report.learning.document import LearningReport
    from neurodeploy.report.learning.html import write_html

    arch = load_architecture(args.chip)
    setup = Setup(args.rule, epochs=args.epochs, seed=args.seed, skip=args.skip, weight_bits=args.weight_bits)
    make_folder(args.output)
    names = list(dict.fromkeys(args.scenario or SCENARIOS))
    found = tuple(adaptation_of(adapt(name, setup), name, setup, arch) for name in names)
    report = LearningReport(
        title="Deployed networks that go on learning", neurodeploy=__version__, chip=arch.name, rules=(),
        adaptations=found,
    )  # fmt: skip
    report.save(args.output / "results.json")
    write_html(report, args.output / "report.html")
    for item in found:
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
    console.say(f"report: {(args.output / 'report.html').resolve()}")
    console.result(
        {
            "report": str(args.output / "report.html"),
            "results": str(args.output / "results.json"),
            "scenarios": [
                {
                    "scenario": item.scenario,
                    "before": item.points[0].accuracy,
                    "after": item.points[-1].accuracy,
                    "tested": item.tested,
                    "undecided_before": item.points[0].undecided,
                    "undecided_after": item.points[-1].undecided,
                    "samples": item.points[-1].samples,
                    "learned": item.points[-1].learned,
                    "learning_pj": item.learning_pj,
                    "inference_pj": item.inference_pj,
                }
                for item in found
            ],
        }
    )
    return 0
