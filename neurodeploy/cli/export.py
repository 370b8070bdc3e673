"""``neurodeploy export``: from a trained torch network to a .nir or .onnx file, with proof."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import options
from .console import Console

if TYPE_CHECKING:
    from neurodeploy.verify.compare import Pair
    from neurodeploy.verify.export_proof import Exported

STEPS, SAMPLES, RATE = 32, 4, 0.3
"""Of a generated sample: Bernoulli spikes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL",
        help="FILE.py:NAME of a torch module, its class, or a function that makes it; for --to onnx also a .nir file; "
        "for --to lava a Program (.ndp)",
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
    parser.add_argument("--shape", metavar="C,H,W", help="shape of one sample, to generate random spikes instead")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the file to write")
    parser.add_argument("--allow-divergence", action="store_true", help="write the file even if it differs from torch")
    parser.add_argument("--json", action="store_true", help="machine-readable")
    options.conventions(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from neurodeploy.errors import InvalidInputError
    from neurodeploy.exporters.load_module import load_module
    from neurodeploy.verify.export_proof import export_onnx, export_proven

    made: Exported | None = None
    _check(args)
    if args.to == "lava":
        return _lava(args, console)
    if args.scan and args.to != "onnx":
        raise InvalidInputError("--scan is for ONNX", found=f"--to {args.to}", allowed="--to onnx --scan")
    if args.model.endswith(".onnx"):
        raise InvalidInputError(
            f"{args.model} is an ONNX file, which holds an ordinary network", allowed="a spiking network in torch",
            hint=f"neurodeploy convert {args.model} --calibration x.npy -o {args.output.with_suffix('.nir').name} "
            "makes its neurons spike",
        )  # fmt: skip
    if args.model.endswith(".nir"):
        if args.to != "onnx":
            raise InvalidInputError(
                f"{args.model} is a .nir file already", allowed="a torch module", hint="--to onnx writes it as ONNX"
            )
        sample = _sample(args)
        pairs = export_onnx(args.model, sample, args.output, dt=args.dt, scan=args.scan,
                            allow_divergence=args.allow_divergence,
                            options=options.given_conventions(args))  # fmt: skip
    else:
        module = load_module(args.model, args.checkpoint, console.note)
        sample, axis = _given(args, module)
        if args.to == "nir":
            made = export_proven(module, sample, args.dt, args.output, time_axis=axis,
                                 allow_divergence=args.allow_divergence)  # fmt: skip
            pairs = made.pairs
        else:
            pairs = export_onnx(module, sample, args.output, dt=args.dt, time_axis=axis, scan=args.scan,
                                allow_divergence=args.allow_divergence)  # fmt: skip
    samples, steps = (made.samples, made.steps) if made else (pairs[-1].samples, sample.shape[0])
    console.table(
        ("compared", "verdict", "spikes", "differ"),
        [_row(pair) for pair in pairs],
        title=f"{samples} sample(s), {steps} steps, every neuron of every layer",
    )
    if made:
        _say(made, console)
    for name, (spikes, _, _) in next((p.per_layer for p in pairs if p.per_layer), {}).items():
        console.say(f"{name}: {spikes:,} spikes")
    silent = any(pair.verdict == "silent" for pair in pairs)
    unproven = _unproven(args.output, silent, console) if args.to == "nir" else []
    console.say(f"wrote {args.output}")
    console.result(
        {
            "file": str(args.output),
            "pairs": [
                {"first": p.first, "second": p.second, "verdict": p.verdict, "spikes_different": p.spikes_different}
                for p in pairs
            ],
            **({"unproven": unproven} if args.to == "nir" else {}),
            **(_as_json(made) if made else {}),
        }
    )
    return 0


def _row(pair: Pair) -> tuple[Any, ...]:
    if pair.per_layer or pair.states_different is None:
        return (f"{pair.first} = {pair.second}", pair.verdict, pair.spikes[1], pair.spikes_different)
    return (f"{pair.first} = {pair.second}", pair.verdict, "-", pair.spikes_different or pair.states_different)


def _say(made: Exported, console: Console) -> None:
    """How the sample was read, and what of the module the file holds."""
    from neurodeploy.exporters.user_calls import MEANING

    captured = made.captured
    console.say(MEANING[captured.usage.axis])
    if captured.answer is not None:
        console.say(f"answer: {captured.answer.described()}")
    for index, why in captured.left_out.items():
        console.say(f"returned[{index}] is not kept: {why}")
    if captured.encoded:
        console.say(f"encoder, which stays on the host: {'; '.join(captured.encoded)}; give its spikes to the file")
    console.warn(*made.notes)


def _as_json(made: Exported) -> dict[str, Any]:
    captured = made.captured
    return {
        "time_axis": captured.usage.axis,
        "steps": made.steps,
        "samples": made.samples,
        "answer": captured.answer.described() if captured.answer else None,
        "left_out": {str(index): why for index, why in captured.left_out.items()},
        "encoder": list(captured.encoded),
        "warnings": list(made.notes),
    }


def _given(args: argparse.Namespace, module: Any) -> tuple[Any, Any]:
    """The sample of a module, and where time lies in it."""
    from neurodeploy.exporters.sequence.capture import laid_out

    if args.sample is not None:
        return options.load_array(args.sample, "what forward takes"), args.time_axis
    return laid_out(module, _sample(args), args.time_axis)


def _check(args: argparse.Namespace) -> None:
    """Refuse conventions of NIR files where the model says them itself; a torch module takes ``--dt``."""
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


def _unproven(path: Path, silent: bool, console: Console) -> list[dict[str, Any]]:
    """Say what the proof in a file leaves open, and return it for machines."""
    from dataclasses import asdict

    from neurodeploy.nir_graph import nir_file
    from neurodeploy.nir_graph.proof import Proof
    from neurodeploy.verify.export_proof import said

    file = nir_file.read(path)
    proof = Proof.read(file)
    assert proof is not None
    if "read_out" in file.metadata:
        console.say(f"exported as a read-out (LI): {file.metadata['read_out']}")
    if silent:
        console.say("no neuron spikes on the sample itself; the livelier one is what the file is proven on")
    for item in proof.unproven:
        console.say(f"unproven: {said(item)}")
    return [asdict(item) for item in proof.unproven]


def _lava(args: argparse.Namespace, console: Console) -> int:
    """Write a Program as a script for Lava."""
    from neurodeploy.backends.lava import script
    from neurodeploy.errors import InvalidInputError
    from neurodeploy.program.program import Program

    if not args.model.endswith(".ndp"):
        raise InvalidInputError(
            f"{args.model} is not a Program", allowed="a .ndp file",
            hint="compile the network first: neurodeploy compile net.nir -o net.ndp",
        )  # fmt: skip
    if args.output.suffix != ".py":
        raise InvalidInputError("the script needs the ending .py", found=args.output.name)
    text, numbers = script.export(Program.load(args.model), args.output)
    console.say(f"wrote {text} and {numbers}; with lava-nc 0.10.0 installed: python {text} x.npy")
    console.result({"script": str(text), "numbers": str(numbers)})
    return 0


def _sample(args: argparse.Namespace) -> Any:
    import numpy as np

    from neurodeploy.errors import InvalidInputError

    if args.sample is not None:
        sample = options.load_array(args.sample, "input spikes, [time, batch, *shape]")
        if sample.ndim < 3:
            raise InvalidInputError(
                f"{args.sample} has the wrong shape",
                found=list(sample.shape),
                allowed="[time, batch, *shape]",
                hint="put time first, then the batch (use one sample as a batch of 1)",
            )
        return sample
    if not args.shape:
        raise InvalidInputError(
            "export needs to know the input",
            hint="give spikes with --sample x.npy, or a shape with --shape 1,28,28 to generate random ones",
        )
    return (np.random.default_rng(0).random((STEPS, SAMPLES, *options.shape(args.shape))) < RATE).astype(np.uint8)
