"""What the inputs of a recorded network are: the sample, step by step, or what an encoder makes of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, fx, nn

from neurodeploy.network.arrays import Array

from ..usage import Usage
from .encoders import draws, encoders_of
from .record import Recorded
from .terms import INPUT, Terms


def tensor_of(module: nn.Module, sample: Array) -> Tensor:
    """The sample as the tensor that forward takes, of the type of the module's parameters where it holds fractions."""
    made = torch.from_numpy(np.ascontiguousarray(sample))
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    return made.to(dtype)


def labels_of(recorded: Recorded, usage: Usage) -> tuple[dict[fx.Node, Callable[[Terms], Tensor]], tuple[str, ...]]:
    """What the network's inputs are: the sample, or what an encoder makes of it."""
    encoders = encoders_of(recorded)
    if not encoders or not _encodes(recorded, encoders, usage):
        return {recorded.sample: lambda terms: _sample_ids(terms, recorded.sample, usage)}, ()
    lines = tuple(dict.fromkeys(said for _, said in encoders))
    nodes = [node for node, _ in encoders]
    if len(nodes) == 1:
        axis = time_of(nodes[0], usage)
        return {nodes[0]: lambda terms: _axis_ids(terms, nodes[0], nodes[0].meta["val"].shape, axis)}, lines
    return {n: _step_ids(n, t) for t, n in enumerate(nodes)}, lines


def time_of(node: fx.Node, usage: Usage) -> int:
    """Where time lies in what an encoder gives: first, or behind the batch."""
    shape = node.meta["val"].shape
    return 1 if len(shape) > 2 and shape[0] == usage.samples and shape[1] != usage.samples else 0


def _encodes(recorded: Recorded, encoders: list[tuple[fx.Node, str]], usage: Usage) -> bool:
    """Whether what stands in front of the network turns the sample into spikes over time, or draws them at random.

    Anything else that no chip computes is refused where it stands: a user may feed the file with the sample itself.
    """
    if draws(recorded):
        return True
    (node, _), *more = encoders
    return usage.axis == "none" and not more and node.meta["val"].dim() == recorded.sample.meta["val"].dim() + 1


def _step_ids(node: fx.Node, step: int) -> Callable[[Terms], Tensor]:
    shape = tuple(node.meta["val"].shape)
    return lambda terms: terms.ids(terms.make(INPUT, (), shape[1:], shape[0], node, time=step))


def _sample_ids(terms: Terms, node: fx.Node, usage: Usage) -> Tensor:
    shape = tuple(node.meta["val"].shape)
    if usage.axis == "none":
        return terms.ids(terms.make(INPUT, (), shape[1:], shape[0], node))
    if usage.axis == "flat":
        steps = (usage.samples, usage.steps) if usage.batch_outside else (usage.steps, usage.samples)
        ids = _axis_ids(terms, node, (*steps, *shape[1:]), 1 if usage.batch_outside else 0)
        return ids.flatten(0, 1)
    return _axis_ids(terms, node, shape, 0 if usage.axis == "step" else usage.axis % len(shape))


def _axis_ids(terms: Terms, node: fx.Node, shape: tuple[int, ...], axis: int) -> Tensor:
    rest = [n for d, n in enumerate(shape) if d != axis]
    steps = [terms.ids(terms.make(INPUT, (), rest[1:], rest[0], node, time=t)) for t in range(shape[axis])]
    return torch.stack(steps, axis)
