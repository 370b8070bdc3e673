"""sinabs: sequences ``[batch, time, ...]``, or batch and time in one dimension for the squeezed layers."""

from __future__ import annotations

from typing import Any

import sinabs
import sinabs.activation as act
import sinabs.layers as sl
import torch
from torch import nn

from .cells import BATCH, Case, between, conv, dense, trained


def play(module: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    sinabs.reset_states(module)
    sent = module(inputs.transpose(0, 1)).transpose(0, 1)
    sinabs.reset_states(module)
    return sent


def play_squeezed(module: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    sinabs.reset_states(module)
    sent = module(inputs.transpose(0, 1).flatten(0, 1)).unflatten(0, (BATCH, -1)).transpose(0, 1)
    sinabs.reset_states(module)
    return sent


def mlp() -> nn.Module:
    return nn.Sequential(dense(30, 24, 8), sl.LIF(tau_mem=5.0), dense(24, 10), sl.IAF())


def convolutional() -> nn.Module:
    """As sinabs makes them from trained networks: several spikes a step, a lowest potential."""
    return nn.Sequential(
        conv(2, 6, bias=False), trained(nn.BatchNorm2d(6)), sl.IAFSqueeze(batch_size=BATCH, min_v_mem=-1.0),
        nn.AvgPool2d(2), conv(6, 8), trained(nn.BatchNorm2d(8)), sl.LIFSqueeze(tau_mem=8.0, batch_size=BATCH),
        sl.SumPool2d(2), nn.Flatten(), dense(32, 10), sl.IAFSqueeze(batch_size=BATCH, spike_threshold=2.0),
    )  # fmt: skip


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1 = dense(30, 20, 12), sl.LIF(tau_mem=5.0)
        self.fc2, self.lif2 = dense(20, 20, 12), sl.LIF(tau_mem=5.0)
        self.fc3, self.lif3 = dense(20, 8, 12), sl.LIF(tau_mem=5.0)

    def forward(self, x: torch.Tensor) -> Any:
        a = self.lif1(self.fc1(x))
        return self.lif3(self.fc3(a + self.lif2(self.fc2(a))))


def recurrent() -> nn.Module:
    return nn.Sequential(
        dense(30, 20, 8), sl.LIFRecurrent(tau_mem=5.0, rec_connect=nn.Linear(20, 20)), dense(20, 8), sl.IAF()
    )  # fmt: skip


def per_neuron() -> nn.Module:
    return nn.Sequential(
        dense(30, 24), sl.LIF(tau_mem=between(3, 20, 24), spike_threshold=between(0.3, 1.2, 24)),
        dense(24, 10), sl.LIF(tau_mem=between(3, 20, 10), tau_syn=between(2, 9, 10), spike_threshold=between(1, 3, 10),
                              norm_input=False),
    )  # fmt: skip


def soft() -> nn.Module:
    return nn.Sequential(
        dense(30, 24, 12), sl.LIF(tau_mem=5.0, spike_fn=act.SingleSpike), dense(24, 10, 12), sl.LIF(tau_mem=4.0)
    )  # fmt: skip


def scalar() -> nn.Module:
    return nn.Sequential(
        dense(30, 24), sl.LIF(tau_mem=7.0, spike_threshold=0.4, spike_fn=act.SingleSpike, reset_fn=act.MembraneReset()),
        dense(24, 10), sl.LIF(tau_mem=7.0, tau_syn=3.0, norm_input=False, min_v_mem=-2.0, spike_threshold=2.5),
    )  # fmt: skip


CASES: dict[str, Case | str] = {
    "MLP": Case(mlp, (30,), play),
    "conv, BatchNorm, pooling": Case(convolutional, (2, 8, 8), play_squeezed),
    "residual": Case(Residual, (30,), play),
    "recurrent": Case(recurrent, (30,), play),
    "per-neuron parameters": Case(per_neuron, (30,), play),
    "soft reset": Case(soft, (30,), play),
    "delayed reset": "sinabs resets in the step of the spike",
    "scalar parameters": Case(scalar, (30,), play),
}
