"""One cell of the table: a module, exported, read back, and compared with torch neuron by neuron.

Three comparisons, so that the exporter is not its own judge:

    the NIR reference on the file  =  torch, every layer as `run_torch` records it, in float64 and in float32
    `run_torch`'s last layer       =  the module run as its framework's documentation runs it, in float32
    the lowered network            =  the NIR reference

Batch normalisation is folded into the layer in front, which rounds otherwise than torch does; the inputs are seeded and
were not picked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from neurodeploy.backends.reference.run import run_network
from neurodeploy.errors import UnsupportedError
from neurodeploy.exporters.export import export
from neurodeploy.exporters.trace import run_torch
from neurodeploy.lowering.lower import lower
from neurodeploy.nir_graph import interpreter as nir_reference
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.conventions import resolve
from neurodeploy.program.recording import Record

STEPS, BATCH = 100, 4

KINDS = (
    "MLP",
    "conv, BatchNorm, pooling",
    "residual",
    "recurrent",
    "per-neuron parameters",
    "soft reset",
    "delayed reset",
    "scalar parameters",
)

Play = Callable[[nn.Module, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, eq=False)
class Case:
    """A network of a framework.

    Args:
        build: makes the module; called after the seed is set.
        shape: of a sample of one step.
        play: runs the module over ``[time, batch, *shape]`` as its framework's users do; what the last layer sends.
    """

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    play: Play


@dataclass(frozen=True)
class Outcome:
    """What became of a cell.

    Args:
        verdict: ``exact``, ``differs``, ``refused`` or ``not applicable``.
        reason: of a refusal, or why it does not apply, or what differs.
        compared, spikes: neuron-steps of spiking layers, and spikes in them, in float64.
    """

    verdict: str
    reason: str = ""
    compared: int = 0
    spikes: int = 0


def sample(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Random spikes ``[time, batch, *shape]``, 0.3 a step."""
    return (np.random.default_rng(seed).random((STEPS, BATCH, *shape)) < 0.3).astype(np.float32)


def evaluate(case: Case | str, folder: Path) -> Outcome:
    """Export a network and compare what the file does with what torch does."""
    if isinstance(case, str):
        return Outcome("not applicable", case)
    torch.manual_seed(0)
    module = case.build().eval()
    inputs = sample(case.shape)
    try:
        export(module, case.shape, None, folder / "net.nir")
    except UnsupportedError as error:
        return Outcome("refused", str(error).split("\n")[0])
    file = nir_file.read(folder / "net.nir")
    conventions = resolve(file)
    network = lower(file, conventions)
    wrong: list[str] = []
    compared = spikes = 0
    for dtype in (torch.float64, torch.float32):
        theirs = run_torch(module, inputs, dtype)
        ours = nir_reference.run(file, {"": inputs}, conventions, dtype=getattr(np, str(dtype).split(".")[1]))
        for layer, output in theirs.outputs.items():
            if layer not in ours.spikes:
                wrong += _states(f"{layer}, {dtype}", ours.states["v"][layer], output)
                continue
            mean = float((output > 0).mean())
            if not 0.005 < mean < 0.95:
                wrong.append(f"{layer} spikes in {mean:.1%} of all neuron-steps, which proves little")
            off = int((ours.spikes[layer].dense().reshape(output.shape) != output).sum())
            if off:
                wrong.append(f"{layer}, {dtype}: {off} of {output.size} neuron-steps differ")
            if dtype == torch.float64:
                compared, spikes = compared + output.size, spikes + int(output.sum())
        if dtype == torch.float64:
            lowered = run_network(network, {network.inputs[0].name: inputs}, record=Record(("v",)))
            for layer, events in ours.spikes.items():
                if layer in network.by_name and (events.dense() != lowered.spikes[layer].dense()).any():
                    wrong.append(f"{layer}: the lowered network differs")
    wrong += _as_its_user_runs_it(case, module, inputs, theirs.outputs)
    return Outcome("differs" if wrong else "exact", "; ".join(wrong), compared, spikes)


def _states(what: str, ours: np.ndarray, theirs: np.ndarray) -> list[str]:
    tolerance = 1e-9 if "64" in what else 1e-4
    off = float(np.abs(ours.reshape(theirs.shape) - theirs).max())
    return [] if off <= tolerance * max(1.0, float(np.abs(theirs).max())) else [f"{what}: potentials {off:.2g} apart"]


def _as_its_user_runs_it(case: Case, module: nn.Module, inputs: np.ndarray, outputs: Any) -> list[str]:
    with torch.no_grad():
        played = case.play(module, torch.from_numpy(inputs)).detach().reshape(STEPS, BATCH, -1).numpy()
    last = list(outputs.values())[-1]
    if played.shape != last.shape:
        return [f"run by its user it sends {played.shape}, recorded were {last.shape}"]
    off = int((np.abs(played - last) > 1e-4).sum())
    return [f"run by its user, {off} of {last.size} neuron-steps of the last layer differ"] if off else []


def gained(layer: nn.Module, gain: float) -> Any:
    """The layer with its weights (not its biases) multiplied: fresh ones hardly make a neuron spike."""
    with torch.no_grad():
        layer.weight.mul_(gain)
    return layer


def dense(inputs: int, outputs: int, gain: float = 4.0, bias: bool = True) -> Any:
    """A linear layer that makes the neurons behind it spike."""
    return gained(nn.Linear(inputs, outputs, bias=bias), gain)


def conv(channels: int, filters: int, gain: float = 4.0, **more: Any) -> Any:
    """A 3 x 3 convolution that keeps the size."""
    return gained(nn.Conv2d(channels, filters, 3, padding=1, **more), gain)


def trained(norm: Any) -> Any:
    """Batch normalisation with statistics and weights as after a training."""
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(0, 0.5)
        norm.running_mean.uniform_(-0.3, 0.3)
        norm.running_var.uniform_(0.3, 2)
    return norm


def between(low: float, high: float, *shape: int) -> torch.Tensor:
    """Another value for each neuron."""
    return torch.empty(*shape).uniform_(low, high)
