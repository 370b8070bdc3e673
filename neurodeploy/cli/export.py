"""``neurodeploy export``: from a trained torch network to a .nir file, with proof."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from neurodeploy.cli import options
from neurodeploy.cli.console import Console

STEPS, SAMPLES, RATE = 32, 4, 0.3
"""Of a generated sample: Bernoulli spikes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="FILE.py:NAME", help="a torch module, its class, or a function that makes it")
    parser.add_argument("--checkpoint", type=Path, help="trained parameters (.safetensors, or .pt with weights only)")
    parser.add_argument("--sample", type=Path, metavar="X.npy", help="input spikes, [time, batch, *shape]")
    parser.add_argument("--shape", metavar="C,H,W", help="shape of one sample, to generate random spikes instead")
    parser.add_argument("--dt", type=float, metavar="SECONDS", help="length of a time step (default: the neurons')")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the .nir file")
    parser.add_argument("--allow-divergence", action="store_true", help="write the file even if it differs from torch")
    parser.add_argument("--json", action="store_true", help="machine-readable")


def run(args: argparse.Namespace, console: Console) -> int:
    from neurodeploy.exporters.load_module import load_module
    from neurodeploy.proof import export_proven

    sample = _sample(args)
    module = load_module(args.model, args.checkpoint)
    pairs = export_proven(module, sample, args.dt, args.output, allow_divergence=args.allow_divergence)
    console.table(
        ("compared", "verdict", "spikes", "differ"),
        [(f"{p.first} = {p.second}", p.verdict, p.spikes[1], p.spikes_different) for p in pairs],
        title=f"{sample.shape[1]} sample(s), {sample.shape[0]} steps, every neuron of every layer",
    )
    for name, (spikes, _, _) in pairs[0].per_layer.items():
        console.say(f"{name}: {spikes:,} spikes")
    console.say(f"wrote {args.output}")
    console.result(
        {
            "file": str(args.output),
            "pairs": [
                {"first": p.first, "second": p.second, "verdict": p.verdict, "spikes_different": p.spikes_different}
                for p in pairs
            ],
        }
    )
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
    try:
        shape = [int(part) for part in args.shape.split(",")]
        if min(shape) < 1:
            raise ValueError
    except ValueError:
        raise InvalidInputError("--shape is not a shape", found=args.shape, allowed="numbers, as in 1,28,28") from None
    return (np.random.default_rng(0).random((STEPS, SAMPLES, *shape)) < RATE).astype(np.uint8)
