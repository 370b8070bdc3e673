"""``neurodeploy train``: train a preset of a published system."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import options
from .console import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a preset that neurodeploy models lists, e.g. orrc-digits")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for what is trained")
    parser.add_argument(
        "--data", metavar="NAME|DIR",
        help="another data set than that of the preset, by name; the folder of its files; or both, as NAME:DIR",
    )  # fmt: skip
    parser.add_argument("--epochs", type=options.positive, help="default: the preset's")
    parser.add_argument("--batch", type=options.positive, help="samples a step (default: the preset's)")
    parser.add_argument("--learning-rate", type=float, metavar="RATE", help="highest one (default: the preset's)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and the order of samples (default: 0)")
    parser.add_argument("--device", default="cpu", help="as torch names it: cpu (default), cuda, cuda:1, ...")
    parser.add_argument("--mixed", action="store_true", help="on a GPU: 16 bits where that is safe")
    parser.add_argument("--threads", type=options.positive, help="of the processor (default: torch's own choice)")
    parser.add_argument("--json", action="store_true", help="machine-readable")


def run(args: argparse.Namespace, console: Console) -> int:
    from neurodeploy.api.training import train
    from neurodeploy.models.training.loop import Machine

    data, folder = _data(args.data)
    found = train(
        args.model, args.output, data=data, data_folder=folder, seed=args.seed,
        recipe={"epochs": args.epochs, "batch": args.batch, "learning_rate": args.learning_rate},
        machine=Machine(args.device, args.mixed, args.threads),
    )  # fmt: skip
    rows = [(e.number, f"{e.loss:.4f}", f"{e.accuracy:.2%}", f"{e.seconds:.1f}") for e in _some(found.history)]
    console.table(("epoch", "loss", "accuracy while training", "seconds"), rows)
    console.say(f"{args.model}: {found.parameters:,} parameters, {found.accuracy:.2%} of the test set")
    console.say(f"wrote {found.weights} (sha256 {found.sha256[:12]}), sample.npy, labels.npy and calibration.npy")
    console.result(found.as_json())
    return 0


def _data(given: str | None) -> tuple[str | None, Path | None]:
    """Name and folder: ``NAME``, ``DIR``, ``NAME:DIR`` or ``tonic:CLASS:DIR``."""
    if given is None:
        return None, None
    if Path(given).is_dir():
        return None, Path(given)
    head, colon, tail = given.rpartition(":")
    if colon and head != "tonic":
        return head, Path(tail)
    return given, None


def _some(history: tuple) -> list:  # type: ignore[type-arg]
    """About ten epochs, the last one among them."""
    every = max(len(history) // 10, 1)
    return [e for e in history if e.number % every == 0 or e is history[-1]]
