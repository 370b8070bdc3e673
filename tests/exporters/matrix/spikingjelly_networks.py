"""SpikingJelly: single-step modules in a loop, or multi-step modules given the whole sequence; reset before each."""

from __future__ import annotations

from typing import Any

import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from .cells import Case, between, dense, gained, trained


def play(module: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    functional.reset_net(module)
    sent = torch.stack([module(step) for step in inputs])
    functional.reset_net(module)
    return sent


def play_sequence(module: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    functional.reset_net(module)
    sent: torch.Tensor = module(inputs)
    functional.reset_net(module)
    return sent


def mlp() -> nn.Module:
    return nn.Sequential(dense(30, 24, 8), neuron.LIFNode(tau=2.0), dense(24, 10, 8), neuron.IFNode())


def convolutional() -> nn.Module:
    """In multi-step mode, as its documentation recommends for training."""
    net = nn.Sequential(
        gained(layer.Conv2d(2, 6, 3, padding=1, bias=False), 6), trained(layer.BatchNorm2d(6)), neuron.LIFNode(tau=2.0),
        layer.AvgPool2d(2), gained(layer.Conv2d(6, 8, 3, padding=1), 6), trained(layer.BatchNorm2d(8)),
        neuron.ParametricLIFNode(), layer.Flatten(), gained(layer.Linear(128, 10), 8), neuron.LIFNode(tau=3.0),
    )  # fmt: skip
    functional.set_step_mode(net, "m")
    return net


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1 = dense(30, 20, 8), neuron.LIFNode()
        self.fc2, self.lif2 = dense(20, 20, 8), neuron.LIFNode()
        self.fc3, self.lif3 = dense(20, 8, 8), neuron.LIFNode()

    def forward(self, x: torch.Tensor) -> Any:
        a = self.lif1(self.fc1(x))
        return self.lif3(self.fc3(a + self.lif2(self.fc2(a))))


def recurrent() -> nn.Module:
    inner = nn.Sequential(dense(30, 20), neuron.LIFNode())
    container = layer.LinearRecurrentContainer(inner, 30, 20)
    gained(container.rc, 4)
    again = layer.ElementWiseRecurrentContainer(neuron.LIFNode(), torch.add)
    return nn.Sequential(container, dense(20, 12, 8), again, dense(12, 10, 8), neuron.LIFNode())


def per_neuron() -> nn.Module:
    """PLIF's parameter is one number as it is made; given a vector it is learned for each neuron."""
    first, second = neuron.ParametricLIFNode(), neuron.ParametricLIFNode(decay_input=False, v_reset=None)
    first.w, second.w = nn.Parameter(between(-1, 1, 24)), nn.Parameter(between(-1, 1, 10))
    return nn.Sequential(dense(30, 24, 8), first, dense(24, 10), second)


def soft() -> nn.Module:
    return nn.Sequential(
        dense(30, 24, 8), neuron.LIFNode(v_reset=None), dense(24, 10), neuron.IFNode(v_threshold=1.5, v_reset=None)
    )  # fmt: skip


def scalar() -> nn.Module:
    return nn.Sequential(
        dense(30, 24, 8), neuron.LIFNode(tau=3.5, v_threshold=0.7, v_reset=-0.2, decay_input=False),
        dense(24, 10), neuron.LIFNode(tau=1.5, v_threshold=0.9, v_reset=0.1),
    )  # fmt: skip


CASES: dict[str, Case | str] = {
    "MLP": Case(mlp, (30,), play),
    "conv, BatchNorm, pooling": Case(convolutional, (2, 8, 8), play_sequence),
    "residual": Case(Residual, (30,), play),
    "recurrent": Case(recurrent, (30,), play),
    "per-neuron parameters": Case(per_neuron, (30,), play),
    "soft reset": Case(soft, (30,), play),
    "delayed reset": "SpikingJelly resets in the step of the spike",
    "scalar parameters": Case(scalar, (30,), play),
}
