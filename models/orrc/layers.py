"""The layers of ORRC + SynA; see `.network` for the whole. Sequences are ``[time, batch, channels, height, width]``.

Neurons are LIF with tau = 2, threshold 1, a decaying input and a hard reset that has no part in gradients.

The OR residual of a backbone's spikes a and a shortcut's b is ``a + b - a b``, 0 or 1 where a sum is 0, 1 or 2.

Synergistic attention (SynA) weighs currents x by one dimension, with logits

    temporal    A_t  = f(mean_{C,H,W} x) + f(max_{C,H,W} x)    f: T -> T / r -> T, linear, ReLU between, no bias
    channel     A_c  = f(mean_{T,H,W} x) + f(max_{T,H,W} x)    f: C -> 8 -> C
    spatial     A_xy = g(mean_{T,C} x, max_{T,C} x)            g: one k x k convolution of both

as multi-dimensional attention on the backbone, ``MA(x) = ReLU(sigmoid(A) x)``, and as inhibitory attention on the
shortcut, ``IA(x) = ReLU(LIF(A) x)``: a gate of spikes, and a shortcut whose gate never opens is dead (natural pruning).
The LIF runs over time for the temporal gate; a gate of channels or pixels is one for all steps, and its LIF takes one.
All need every step before the first one can be weighed.

Shan, Qiu, Zhu, Li, Qu: "OR residual connection achieving comparable accuracy to ADD residual connection in deep
residual spiking neural networks", arXiv 2311.06570 (v1; v3 is called after SynA-ResNet).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..neurons import Lif, Threshold

Kind = Literal["none", "temporal", "channel", "spatial"]
HIDDEN = 8
"""Hidden units of channel attention."""


class Or(nn.Module):
    """``a + b - a b`` of spikes a and b: one where either is, which a neuron without memory computes of their sum."""

    def __init__(self) -> None:
        super().__init__()
        self.neuron = Threshold(0.5, timed=True)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        if self.training:
            return a + b - a * b
        found: Tensor = self.neuron(a + b)
        return found


class Logits(nn.Module):
    """A, such that it broadcasts over ``[time, batch, channels, height, width]``.

    Args:
        kind: the dimension.
        steps, channels: of the sequences.
        reduction: r of temporal attention.
        kernel: k of spatial attention.
    """

    def __init__(self, kind: Kind, steps: int, channels: int, reduction: int = 4, kernel: int = 3) -> None:
        super().__init__()
        self.kind = kind
        if kind == "spatial":
            self.f: nn.Module = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)
        else:
            size = steps if kind == "temporal" else channels
            hidden = max(steps // reduction, 1) if kind == "temporal" else min(HIDDEN, channels)
            self.f = nn.Sequential(nn.Linear(size, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, size, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        steps, batch, channels, height, width = x.shape
        if self.kind == "spatial":
            y = x.transpose(0, 1).flatten(1, 2)
            both = torch.stack([y.mean(1), y.max(1).values], dim=1)
            spatial: Tensor = self.f(both)
            return spatial.view(1, batch, 1, height, width)
        if self.kind == "temporal":
            y = x.transpose(0, 1).reshape(batch, steps, -1)
        else:
            y = x.permute(1, 2, 0, 3, 4).reshape(batch, channels, -1)
        found: Tensor = self.f(y.mean(2)) + self.f(_largest(y, self.training))
        if self.kind == "temporal":
            return found.t().reshape(steps, batch, 1, 1, 1)
        return found.view(1, batch, channels, 1, 1)


def _largest(y: Tensor, training: bool) -> Tensor:
    """Over the last dimension; of several that are equal, the first alone gets the gradient."""
    return F.adaptive_max_pool1d(y, 1).squeeze(2) if training else y.amax(2)


class Multidimensional(nn.Module):
    """MA, on a backbone."""

    def __init__(self, logits: Logits) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(torch.sigmoid(self.logits(x)) * x)


class Inhibitory(nn.Module):
    """IA, on a shortcut.

    Args:
        logits: A.
        bias: added to A, so that gates are open before training; not trained.
        along_batch: as the authors' code, whose LIF steps from sample to sample of the batch.
    """

    def __init__(self, logits: Logits, bias: float = 0.0, along_batch: bool = False) -> None:
        super().__init__()
        self.logits, self.bias, self.along_batch = logits, bias, along_batch
        self.lif = Lif(keeps=along_batch)
        self.gate = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        logits = self.logits(x)
        logits = logits + self.bias if self.bias else logits
        return F.relu(self.gate(self._opened(logits)) * x)

    def _opened(self, logits: Tensor) -> Tensor:
        if self.along_batch:
            found: Tensor = self.lif(logits.transpose(0, 1)).transpose(0, 1)
        elif self.training or len(logits) > 1:
            found = self.lif(logits)
        else:  # the one step of a neuron at rest, which a host computes beside the logits
            found = (logits >= self.lif.tau * self.lif.threshold).to(logits.dtype)
        return found


class Unit(nn.Module):
    """A convolution, its normalisation, attention, and neurons."""

    def __init__(self, convolution: nn.Conv2d, attention: nn.Module | None = None, keeps: bool = False) -> None:
        super().__init__()
        self.convolution = convolution
        self.norm = nn.BatchNorm2d(convolution.out_channels)
        self.attention = attention
        self.lif = Lif(keeps=keeps)

    def forward(self, x: Tensor) -> Tensor:
        current = self.norm(self.convolution(x.flatten(0, 1))).unflatten(0, x.shape[:2])
        if self.attention is not None:
            current = self.attention(current)
        spikes: Tensor = self.lif(current)
        return spikes
