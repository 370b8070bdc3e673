"""``neurodeploy convert``: from an ordinary network (ANN) to a spiking one, or to sigma-delta neurons."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import options
from .console import Console

if TYPE_CHECKING:
    from neurodeploy.exporters.ann.ann_graph import Ann
    from neurodeploy.network.network import Network

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
    from neurodeploy.errors import InvalidInputError

    wanted = ".nir" if args.to == "spiking" else ".ndp"
    if args.output.suffix != wanted:
        raise InvalidInputError(f"--output of a {args.to} network", found=args.output.name, allowed=f"a {wanted} file")
    if args.to == "spiking" and args.input_unit != 1:
        raise InvalidInputError("--input-unit of a spiking network", found=args.input_unit, allowed="--to sigma-delta")
    if args.to == "spiking" and args.relative_threshold is not None:
        raise InvalidInputError("--relative-threshold of a spiking network", allowed="--to sigma-delta")
    if args.to == "sigma-delta" and args.coding != "direct":
        raise InvalidInputError("--coding of a sigma-delta network", found=args.coding, allowed="--to spiking")
    if args.labels is not None and args.test is None:
        raise InvalidInputError("--labels without samples", hint="give them with --test")
    calibration = options.load_array(args.calibration, "inputs of the ANN, [samples, *shape]")
    ann = _ann(args, calibration, console)
    test = None if args.test is None else _test_data(args, ann)
    network = _spiking(args, ann, calibration) if args.to == "spiking" else _sigma_delta(args, ann, calibration)
    console.table(
        ("population", "shape", "neurons"),
        [(p.name, " x ".join(map(str, p.shape)), p.size) for p in network.populations],
        title=f"{args.model} as a {args.to} network",
    )
    for topic, text in {**ann.notes, **network.notes}.items():
        console.say(f"{topic}: {text}")
    console.say(f"wrote {args.output}")
    result: dict[str, Any] = {"file": str(args.output), "notes": {**ann.notes, **network.notes}}
    if test is not None:
        result |= _compared(args, ann, network, test, console)
    console.result(result)
    return 0


def _ann(args: argparse.Namespace, calibration: Any, console: Console) -> Ann:
    shape = options.shape(args.shape) if args.shape else None
    if args.model.endswith(".onnx"):
        from neurodeploy.exporters.ann import onnx_import

        return onnx_import.load(args.model, shape)
    from neurodeploy.exporters.ann import torch_ann
    from neurodeploy.exporters.load_module import load_module

    module = load_module(args.model, args.checkpoint, console.note)
    return torch_ann.from_torch(module, shape or calibration.shape[1:], calibration)


def _spiking(args: argparse.Namespace, ann: Ann, calibration: Any) -> Network:
    from dataclasses import replace

    from neurodeploy.exporters.ann import ann as spiking
    from neurodeploy.exporters.write_nir import write
    from neurodeploy.files.atomic import atomic_path
    from neurodeploy.lowering.lower import lower
    from neurodeploy.nir_graph import nir_file
    from neurodeploy.nir_graph.conventions import resolve

    percentile = spiking.PERCENTILE if args.percentile is None else args.percentile
    graph = spiking.convert(ann, calibration, percentile=percentile, coding=args.coding, dt=args.dt)
    with atomic_path(args.output) as temporary:  # put in place only if it can be lowered
        file = replace(nir_file.read(write(graph, temporary)), path=args.output)
        return lower(file, resolve(file))


def _sigma_delta(args: argparse.Namespace, ann: Ann, calibration: Any) -> Network:
    from neurodeploy import conversion
    from neurodeploy.compiler import place

    given = {"percentile": args.percentile, "relative_threshold": args.relative_threshold}
    network = conversion.convert(
        ann, calibration, dt=args.dt, name=args.output.stem, input_unit=args.input_unit,
        **{k: v for k, v in given.items() if v is not None},
    )  # fmt: skip
    place(network, None, {"source": Path(args.model).name, "framework": ann.origin}).save(args.output)
    return network


def _test_data(args: argparse.Namespace, ann: Ann) -> tuple[Any, Any]:
    """Inputs to compare the networks on, and their classes or None."""
    from neurodeploy.exporters.ann.ann import checked_calibration

    x = checked_calibration(ann, options.load_array(args.test, "inputs of the ANN, [samples, *shape]"))
    return x, options.load_labels(args.labels, len(x))


def _compared(
    args: argparse.Namespace, ann: Ann, network: Network, test: tuple[Any, Any], console: Console
) -> dict[str, Any]:
    import numpy as np

    from neurodeploy import conversion
    from neurodeploy.backends.reference.run import run_network
    from neurodeploy.exporters.ann import ann as spiking
    from neurodeploy.exporters.ann.ann_graph import predict
    from neurodeploy.program.recording import decided, decisions
    from neurodeploy.report.accuracies import undecided
    from neurodeploy.verify.stages import judged

    x, labels = test
    if args.to == "spiking":
        scale = float(options.load_array(args.calibration, "inputs").max()) or 1.0
        inputs = spiking.encode(np.clip(x, None, scale) if args.coding == "rate" else x, args.steps, args.coding, scale)
    else:
        inputs = conversion.encode(x, args.steps, args.input_unit)
    with console.progress("reference") as progress:
        recording = run_network(network, {"": inputs}, progress=progress)
    before, after = decided(predict(ann, x)), decisions(network, recording)
    sources = {population.name for population in network.inputs}
    messages = sum(len(events) for name, events in recording.spikes.items() if name not in sources) / len(x)
    result: dict[str, Any] = {"steps": args.steps, "samples": len(x), "agreement": before.accuracy(after.predicted)}
    result["messages_per_sample"] = messages
    result["ann_undecided"] = before.undecided
    result |= {"undecided": after.undecided, "silent": int(after.silent.sum())}
    console.say(f"{100 * result['agreement']:.2f} % of {len(x)} samples get the ANN's class after {args.steps} steps")
    console.say(f"{messages:,.0f} {'spikes' if args.to == 'spiking' else 'messages'} per sample")
    if labels is not None:
        of_ann, of_spiking = (judged(name, found, labels) for name, found in (("ANN", before), (args.to, after)))
        result["ann_accuracy"], result["accuracy"] = of_ann.accuracy, of_spiking.accuracy
        console.say(f"accuracy: ANN {100 * result['ann_accuracy']:.2f} %, {args.to} {100 * result['accuracy']:.2f} %")
        console.say(f"undecided: ANN {undecided(of_ann)}, {args.to} {undecided(of_spiking)}")
    return result
