"""norse: cells in SequentialState, states passed on by the caller."""

from __future__ import annotations

from typing import Any

import norse.torch as snn
import torch
from norse.torch.functional.reset import reset_subtract
from torch import nn

from .cells import Case, between, conv, dense, trained


def lif(**parameters: Any) -> snn.LIFBoxCell:
    given = {key: torch.tensor(value) if isinstance(value, float) else value for key, value in parameters.items()}
    return snn.LIFBoxCell(snn.LIFBoxParameters(**given))


def play(module: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    state, sent = None, []
    for step in inputs:
        output, state = module(step, state)
        sent.append(output)
    return torch.stack(sent)


def mlp() -> nn.Module:
    return snn.SequentialState(dense(30, 24, 12), lif(), dense(24, 10, 8), snn.LIFCell(snn.LIFParameters(v_th=0.3)))


def convolutional() -> nn.Module:
    return snn.SequentialState(
        conv(2, 6, 20, bias=False), trained(nn.BatchNorm2d(6)), lif(), nn.AvgPool2d(2),
        conv(6, 8, 40), trained(nn.BatchNorm2d(8)), lif(), nn.Flatten(), dense(128, 10), snn.LICell(),
    )  # fmt: skip


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1 = dense(30, 20, 12), lif()
        self.fc2, self.lif2 = dense(20, 20, 30), lif()
        self.fc3, self.lif3 = dense(20, 8, 20), lif()

    def forward(self, x: torch.Tensor, state: Any = None) -> Any:
        s1, s2, s3 = state or (None, None, None)
        a, s1 = self.lif1(self.fc1(x), s1)
        b, s2 = self.lif2(self.fc2(a), s2)
        c, s3 = self.lif3(self.fc3(a + b), s3)
        return c, (s1, s2, s3)


def recurrent() -> nn.Module:
    cell = snn.LIFRecurrentCell(30, 20)
    with torch.no_grad():
        cell.input_weights.mul_(8)
        cell.recurrent_weights.mul_(4)
    return snn.SequentialState(cell, dense(20, 10, 20), lif())


def per_neuron() -> nn.Module:
    return snn.SequentialState(
        dense(30, 24), lif(tau_mem_inv=between(80, 300, 24), v_th=between(0.4, 1.5, 24),
                           v_reset=between(-0.3, 0.2, 24)),
        dense(24, 10, 8), snn.LIFCell(snn.LIFParameters(tau_syn_inv=between(100, 400, 10), v_th=between(0.1, 0.4, 10))),
    )  # fmt: skip


def soft() -> nn.Module:
    return snn.SequentialState(
        dense(30, 24, 12), lif(reset_method=reset_subtract), dense(24, 10, 25), lif(reset_method=reset_subtract)
    )


def scalar() -> nn.Module:
    return snn.SequentialState(
        dense(30, 24, 10), lif(tau_mem_inv=150.0, v_th=0.7, v_leak=0.1, v_reset=-0.1), dense(24, 10, 20), lif(v_th=0.5)
    )


CASES: dict[str, Case | str] = {
    "MLP": Case(mlp, (30,), play),
    "conv, BatchNorm, pooling": Case(convolutional, (2, 8, 8), play),
    "residual": Case(Residual, (30,), play),
    "recurrent": Case(recurrent, (30,), play),
    "per-neuron parameters": Case(per_neuron, (30,), play),
    "soft reset": Case(soft, (30,), play),
    "delayed reset": "norse resets in the step of the spike",
    "scalar parameters": Case(scalar, (30,), play),
}
