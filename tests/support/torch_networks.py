"""Small torch networks with one piece of code between their neurons."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import signature

import numpy as np
import torch
from spikingjelly.activation_based.neuron import LIFNode
from torch import Tensor, nn

from neurodeploy.exporters.usage import TimeAxis

STEPS, BATCH, RATE = 3, 2, 0.5
Code = Callable[..., Tensor]


@dataclass(frozen=True, eq=False)
class Row:
    """A row about code between neurons: ``code(net, a)``, of the spikes of a layer, or ``code(net, a, b)`` of two.

    Args:
        code: what stands in front of the last neuron.
        shape: of the spikes.
        parts: modules that the code uses.
    """

    code: Code
    shape: tuple[int, ...] = (6,)
    parts: Mapping[str, nn.Module] = field(default_factory=dict)

    def net(self, seed: int) -> nn.Module:
        """The network with weights of a seed."""
        return Net(self, seed).eval()

    def sample(self, seed: int = 0) -> np.ndarray:
        """``[time, batch, *shape]``, random spikes."""
        return (np.random.default_rng(seed).random((STEPS, BATCH, *self.shape)) < RATE).astype(np.float32)

    axis: TimeAxis = "step"


@dataclass(frozen=True, eq=False)
class Whole:
    """A row about how a network takes time.

    Args:
        build: makes the network.
        shape: of a sample as it takes it.
        axis: where time lies in it.
    """

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    axis: TimeAxis

    def net(self, seed: int) -> nn.Module:
        """The network with weights of a seed."""
        torch.manual_seed(seed)
        return lively(self.build()).eval()

    def sample(self, seed: int = 0) -> np.ndarray:
        """As it takes it."""
        return (np.random.default_rng(seed).random(self.shape) < RATE).astype(np.float32)


def lively(net: nn.Module) -> nn.Module:
    """With weights that make its neurons spike."""
    for module in net.modules():
        if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)) and not hasattr(module, "parametrizations"):
            with torch.no_grad():
                module.weight.mul_(3)
                if module.bias is not None:
                    module.bias.abs_()
    return net


def neuron(threshold: float = 0.6) -> nn.Module:
    """One that keeps its state, one step a call."""
    return LIFNode(tau=1.5, v_threshold=threshold)


class Net(nn.Module):
    """Two layers of spikes, code, and a last layer of neurons; one step a call."""

    def __init__(self, row: Row, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.code, channels = row.code, row.shape[0]
        make = {1: lambda: nn.Linear(channels, channels), 2: lambda: nn.Conv1d(channels, channels, 3, padding=1),
                3: lambda: nn.Conv2d(channels, channels, 3, padding=1)}[len(row.shape)]  # fmt: skip
        self.in1, self.n1, self.out = make(), neuron(), neuron(0.3)
        self.two = len(signature(row.code).parameters) > 2
        if self.two:
            self.in2, self.n2 = make(), neuron()
        for name, part in row.parts.items():
            setattr(self, name, again(copy.deepcopy(part)))
        lively(self)

    def forward(self, x: Tensor) -> Tensor:
        more = (self.n2(self.in2(x)),) if self.two else ()
        return self.out(self.code(self, self.n1(self.in1(x)), *more))


def again(part: nn.Module) -> nn.Module:
    """The part with new weights, of the seed that is set; normalisation as after a training."""
    for module in part.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase) and module.running_mean is not None:
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 2)
        elif hasattr(module, "parametrizations"):
            with torch.no_grad():
                for values in (*module.parameters(), *module.buffers()):
                    values.normal_(0.5)
        elif hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return part
