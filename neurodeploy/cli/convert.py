"""``neurodeploy convert``: from an ordinary network (ANN) to a spiking one, or to sigma-delta neurons."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from . import options
from .console import Console

if TYPE_CHECKING:
    from torch import nn

    from neurodeploy.api.converted import Comparison

GOALS = ("spiking", "sigma-delta")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="ANN", help="an .onnx file, or FILE.py:NAME of a torch module")
    parser.add_argument(
        "--checkpoint", type=Path,
        help="trained parameters (.safetensors, or .pt with weights only; FILE:KEY where it holds several)",
    )  # fmt: skip
    parser.add_argument("--shape", metavar="C,H,W", help="shape of one sample, where an .onnx file leaves it open")
    parser.add_argument(
        "--calibration", type=Path, required=True, metavar="X.npy",
        help="inputs as the ANN takes them, [samples, *shape]: some hundred of the training set",
    )  # fmt: skip
    parser.add_argument(
        "--to", choices=GOALS, default="spiking", help="IF neurons (a .nir file), or sigma-delta (.ndp)"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="the .nir file, or the Program (.ndp)")
    parser.add_argument("--dt", type=float, default=1e-3, metavar="SECONDS", help="length of a step (default: 1 ms)")
    parser.add_argument(
        "--coding", choices=("direct", "rate"), default="direct",
        help="input of the spiking network: the real values in every step, or spikes (default: direct)",
    )  # fmt: skip
    parser.add_argument(
        "--percentile", type=float, metavar="P", help="of a layer's activations that is its threshold (default: 99.9)"
    )
    parser.add_argument(
        "--relative-threshold", type=float, metavar="F",
        help="sigma-delta: changes below this part of a layer's largest activation are not sent (default: 0.02)",
    )  # fmt: skip
    parser.add_argument(
        "--input-unit", type=float, default=1.0, metavar="U",
        help="sigma-delta: the network takes inputs divided by U; with the step between their values (1/255 is "
        "0.00392156863) these are whole numbers, which a chip needs (default: 1)",
    )  # fmt: skip
    parser.add_argument("--test", type=Path, metavar="X.npy", help="inputs to compare both networks on")
    parser.add_argument("--labels", type=Path, metavar="Y.npy", help="their classes: print accuracies")
    parser.add_argument("--steps", type=options.positive, default=32, metavar="T", help="steps of the comparison")
    parser.add_argument("--json", action="store_true", help="machine-readable")


def run(args: argparse.Namespace, console: Console) -> int:
    from neurodeploy.api.converted import COLUMNS, ConvertOptions, convert

    calibration = options.load_array(args.calibration, "inputs of the ANN, [samples, *shape]")
    given = {"percentile": args.percentile, "relative_threshold": args.relative_threshold}
    settled = ConvertOptions(
        dt=args.dt, coding=args.coding, input_unit=args.input_unit, source=Path(args.model).name,
        shape=options.shape(args.shape) if args.shape else None,
        **{name: value for name, value in given.items() if value is not None},
    )  # fmt: skip
    ann = args.model if args.model.endswith(".onnx") else _module(args, console)
    found = convert(
        ann, calibration, args.output, to=args.to, options=settled, steps=args.steps,
        test=None if args.test is None else options.load_array(args.test, "inputs of the ANN, [samples, *shape]"),
        labels=None if args.labels is None else options.load_array(args.labels, "one class for each sample"),
    )  # fmt: skip
    console.table(COLUMNS, found.rows(), title=f"{args.model} as a {args.to} network")
    for topic, text in found.notes.items():
        console.say(f"{topic}: {text}")
    console.say(f"wrote {args.output}")
    if found.compared is not None:
        _say(found.compared, args.to, console)
    console.result(found.as_json())
    return 0


def _module(args: argparse.Namespace, console: Console) -> nn.Module:
    from neurodeploy.api.exporting import load_module

    return load_module(args.model, args.checkpoint, console.note)


def _say(found: Comparison, to: str, console: Console) -> None:
    from neurodeploy.report.accuracies import percent, undecided

    console.say(
        f"{100 * found.agreement:.2f} % of {found.samples} samples get the ANN's class after {found.steps} steps"
    )
    console.say(f"{found.messages_per_sample:,.0f} {'spikes' if to == 'spiking' else 'messages'} per sample")
    if found.ann is not None and found.converted is not None:
        console.say(f"accuracy: ANN {percent(found.ann)}, {to} {percent(found.converted)}")
        console.say(f"undecided: ANN {undecided(found.ann)}, {to} {undecided(found.converted)}")
