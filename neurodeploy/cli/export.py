"""``neurodeploy export``: from a trained torch network to a .nir or .onnx file, with proof."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import options
from .console import Console

if TYPE_CHECKING:
    from torch import nn

    from neurodeploy.api.exporting import Sample
    from neurodeploy.api.model import Model
    from neurodeploy.network.arrays import Array
    from neurodeploy.verify.compare import Pair
    from neurodeploy.verify.export_proof import Exported


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL",
        help="FILE.py:NAME of a torch module, its class, or a function that makes it, or the weights.safetensors of "
        "neurodeploy train; for --to onnx also a .nir file; for --to lava a Program (.ndp)",
    )  # fmt: skip
    parser.add_argument("--to", choices=("nir", "onnx", "lava"), default="nir", help="format (default: nir)")
    parser.add_argument("--scan", action="store_true", help="onnx: the whole sequence instead of one step")
    parser.add_argument(
        "--checkpoint", type=Path,
        help="trained parameters (.safetensors, or .pt with weights only; FILE:KEY where it holds several)",
    )  # fmt: skip
    parser.add_argument(
        "--sample", type=Path, metavar="X.npy",
        help="what forward takes; [time, batch, *shape] where it computes one step, and for .nir files",
    )  # fmt: skip
    parser.add_argument(
        "--time-axis", type=options.time_axis, metavar="AXIS",
        help="where time lies in the sample: 0, 1, -1, flat (batch*time), none (forward repeats it) or step (forward "
        "computes one step); default: what the module does with it",
    )  # fmt: skip
    parser.add_argument(
        "--write-input", type=Path, metavar="IN.npy",
        help="also write what the network receives of the sample, [time, batch, *shape], as compile and run take it",
    )  # fmt: skip
    parser.add_argument("--shape", metavar="C,H,W", help="shape of one sample, to generate random spikes instead")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the file to write")
    parser.add_argument("--allow-divergence", action="store_true", help="write the file even if it differs from torch")
    parser.add_argument(
        "--host", choices=("bits", "work", "none"), default="bits",
        help="what no chip computes (softmax, attention over time, gates of sigmoids) is left to the host: cut so that "
        "the fewest bits cross (default), or so that the host has the least work; none refuses it",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="machine-readable")
    options.conventions(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from neurodeploy.api.exporting import export, export_onnx

    _check(args)
    if args.to == "lava":
        return _lava(args, console)
    if args.to == "nir":
        model = export(
            _module(args, console), _sample(args), args.output, time_axis=args.time_axis, dt=args.dt,
            allow_divergence=args.allow_divergence, host=args.host,
        )  # fmt: skip
        made = model.exported
        assert made is not None
        _say_pairs(made.pairs, made.samples, made.steps, console)
        _say(made, console)
        _say_layers(made.pairs, console)
        _say_proof(model, any(pair.verdict == "silent" for pair in made.pairs), console)
        _wrote(args, made.x, console)
        console.result(model.as_json())
        return 0
    found = export_onnx(
        args.model if args.model.endswith(".nir") else _module(args, console), _sample(args), args.output,
        time_axis=args.time_axis, dt=args.dt, scan=args.scan, allow_divergence=args.allow_divergence,
        conventions=options.given_conventions(args),
    )  # fmt: skip
    _say_pairs(found.pairs, found.pairs[-1].samples, len(found.sample), console)
    _say_layers(found.pairs, console)
    _wrote(args, found.sample, console)
    console.result(found.as_json())
    return 0


def _module(args: argparse.Namespace, console: Console) -> nn.Module:
    from neurodeploy.api.exporting import load_module

    return load_module(args.model, args.checkpoint, console.note)


def _say_pairs(pairs: Sequence[Pair], samples: int, steps: int, console: Console) -> None:
    from neurodeploy.api.model import PAIR_COLUMNS, pair_row

    title = f"{samples} sample(s), {steps} steps, every neuron of every layer"
    console.table(PAIR_COLUMNS, [pair_row(pair) for pair in pairs], title=title)


def _say_layers(pairs: Sequence[Pair], console: Console) -> None:
    for name, (spikes, _, _) in next((p.per_layer for p in pairs if p.per_layer), {}).items():
        console.say(f"{name}: {spikes:,} spikes")


def _say(made: Exported, console: Console) -> None:
    """How the sample was read, and what of the module the file holds."""
    from neurodeploy.exporters.user_calls import MEANING

    captured = made.captured
    console.say(MEANING[captured.usage.axis])
    if captured.answer is not None:
        console.say(f"answer: {captured.answer.described()}")
    for line in captured.hosted:
        console.say(f"host stage {line}")
    for index, why in captured.left_out.items():
        console.say(f"returned[{index}] is not kept: {why}")
    if captured.encoded:
        console.say(f"encoder, which stays on the host: {'; '.join(captured.encoded)}; give its spikes to the file")
    console.warn(*made.notes)


def _wrote(args: argparse.Namespace, x: Array, console: Console) -> None:
    """Write the network's input where that was asked for, and say what was written."""
    import numpy as np

    from neurodeploy.files.atomic import atomic_path

    console.say(f"wrote {args.output}")
    if args.write_input is not None:
        with atomic_path(args.write_input) as temporary, temporary.open("wb") as handle:
            np.save(handle, x)
        console.say(f"wrote {args.write_input}")


def _check(args: argparse.Namespace) -> None:
    """Refuse options that do not go together; conventions are of NIR files, but a torch module takes ``--dt``."""
    from neurodeploy.errors import InvalidInputError
    from neurodeploy.nir_graph.conventions import named

    settled = [n for n in named(options.given_conventions(args)) if n != "dt" or args.to == "lava"]
    if settled and not args.model.endswith(".nir"):
        raise InvalidInputError(
            f"{args.model} leaves no convention to settle",
            found=", ".join(settled),
            allowed="--dt, and these options for .nir files alone",
            hint="leave them out: the module's own neurons say what they do",
        )
    if args.to == "lava":
        return
    if args.scan and args.to != "onnx":
        raise InvalidInputError("--scan is for ONNX", found=f"--to {args.to}", allowed="--to onnx --scan")
    if args.model.endswith(".onnx"):
        raise InvalidInputError(
            f"{args.model} is an ONNX file, which holds an ordinary network", allowed="a spiking network in torch",
            hint=f"neurodeploy convert {args.model} --calibration x.npy -o {args.output.with_suffix('.nir').name} "
            "makes its neurons spike",
        )  # fmt: skip
    if args.model.endswith(".nir") and args.to != "onnx":
        raise InvalidInputError(
            f"{args.model} is a .nir file already", allowed="a torch module", hint="--to onnx writes it as ONNX"
        )


def _say_proof(model: Model, silent: bool, console: Console) -> None:
    """Say what the proof in a file leaves open."""
    from neurodeploy.nir_graph import nir_file
    from neurodeploy.verify.export_proof import said

    file = nir_file.read(model.path)
    if "read_out" in file.metadata:
        console.say(f"exported as a read-out (LI): {file.metadata['read_out']}")
    if silent:
        console.say("no neuron spikes on the sample itself; the livelier one is what the file is proven on")
    for item in model.unproven:
        console.say(f"unproven: {said(item)}")


def _lava(args: argparse.Namespace, console: Console) -> int:
    """Write a Program as a script for Lava."""
    from neurodeploy.api.lava import checked
    from neurodeploy.api.model import placed
    from neurodeploy.errors import InvalidInputError

    if not args.model.endswith(".ndp"):
        raise InvalidInputError(
            f"{args.model} is not a Program", allowed="a .ndp file",
            hint="compile the network first: neurodeploy compile net.nir -o net.ndp",
        )  # fmt: skip
    path = checked(args.output)
    found = placed(args.model).export_lava(path)
    console.say(f"wrote {found.script} and {found.numbers}; with lava-nc 0.10.0 installed: python {found.script} x.npy")
    console.result(found.as_json())
    return 0


def _sample(args: argparse.Namespace) -> Sample:
    """What forward takes, or a shape to draw it for."""
    from neurodeploy.errors import InvalidInputError

    if args.sample is not None:
        return options.load_array(args.sample, "what forward takes")
    if not args.shape:
        raise InvalidInputError(
            "export needs to know the input",
            hint="give spikes with --sample x.npy, or a shape with --shape 1,28,28 to generate random ones",
        )
    return options.shape(args.shape)
