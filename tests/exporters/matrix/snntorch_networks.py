"""snnTorch: neurons with states kept inside, which every loop over time resets first."""

from __future__ import annotations

from typing import Any

import snntorch as snn
import torch
from snntorch import utils
from torch import nn

from .cells import Case, between, conv, dense, trained


def leaky(beta: Any = 0.8, **more: Any) -> snn.Leaky:
    return snn.Leaky(beta=beta, init_hidden=True, **more)


def play(module: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    utils.reset(module)
    return torch.stack([module(step) for step in inputs])


def mlp() -> nn.Module:
    return nn.Sequential(
        dense(30, 24), leaky(), dense(24, 16), snn.Lapicque(R=2.0, C=3.0, init_hidden=True),
        dense(16, 10), snn.Synaptic(alpha=0.5, beta=0.7, init_hidden=True),
    )  # fmt: skip


def convolutional() -> nn.Module:
    return nn.Sequential(
        conv(2, 6, bias=False), trained(nn.BatchNorm2d(6)), leaky(), nn.AvgPool2d(2),
        conv(6, 8), trained(nn.BatchNorm2d(8)), leaky(), nn.Flatten(), dense(128, 10), leaky(0.5),
    )  # fmt: skip


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1 = dense(30, 20), leaky()
        self.fc2, self.lif2 = dense(20, 20), leaky()
        self.fc3, self.lif3 = dense(20, 8), leaky()

    def forward(self, x: torch.Tensor) -> Any:
        a = self.lif1(self.fc1(x))
        return self.lif3(self.fc3(a + self.lif2(self.fc2(a))))


def recurrent() -> nn.Module:
    return nn.Sequential(
        dense(30, 20), snn.RLeaky(beta=0.8, linear_features=20, init_hidden=True),
        dense(20, 12), snn.RSynaptic(alpha=0.5, beta=0.7, all_to_all=False, V=0.4, init_hidden=True),
        dense(12, 8), leaky(),
    )  # fmt: skip


def per_neuron() -> nn.Module:
    return nn.Sequential(
        dense(30, 24), leaky(between(0.3, 0.95, 24), threshold=between(0.5, 1.5, 24), learn_beta=True),
        dense(24, 10), snn.Synaptic(between(0.2, 0.8, 10), between(0.2, 0.9, 10), threshold=between(0.5, 2, 10),
                                    learn_alpha=True, learn_threshold=True, init_hidden=True),
    )  # fmt: skip


def soft() -> nn.Module:
    return nn.Sequential(
        dense(30, 24), leaky(reset_mechanism="subtract", reset_delay=False),
        dense(24, 10), leaky(0.5, reset_mechanism="subtract", reset_delay=False),
    )  # fmt: skip


def delayed() -> nn.Module:
    return nn.Sequential(
        dense(30, 24), leaky(reset_mechanism="subtract"), dense(24, 16), leaky(reset_mechanism="zero"),
        dense(16, 10), snn.Synaptic(0.4, 0.8, reset_mechanism="zero", init_hidden=True),
    )  # fmt: skip


def scalar() -> nn.Module:
    return nn.Sequential(dense(30, 24), leaky(0.9, threshold=1.3), dense(24, 10), leaky(0.55, threshold=0.6))


CASES: dict[str, Case | str] = {
    "MLP": Case(mlp, (30,), play),
    "conv, BatchNorm, pooling": Case(convolutional, (2, 8, 8), play),
    "residual": Case(Residual, (30,), play),
    "recurrent": Case(recurrent, (30,), play),
    "per-neuron parameters": Case(per_neuron, (30,), play),
    "soft reset": Case(soft, (30,), play),
    "delayed reset": Case(delayed, (30,), play),
    "scalar parameters": Case(scalar, (30,), play),
}
