"""Neurons of the models in this folder, which `neurodeploy.exporters.model_neurons` says as NIR.

    Lif         v <- v + (x - v) / tau, or (1 - 1 / tau) v + x ;  s = v >= threshold (or >) ;  v <- (1 - s) v
    Threshold   s = x > threshold, without memory
    Membrane    x itself: a potential that other neurons hear, without memory

In training the spike of a Lif has a smooth derivative, that of a Threshold one of 1 on [0, 1] and 0 elsewhere; a reset
has no part in gradients unless it is asked for. Sequences have time first, ``[time, batch, *shape]``.

The derivative of a Lif's spike is, with x = v - threshold, ``alpha / (2 (1 + (pi alpha x / 2)^2))`` (Fang et al.,
"Incorporating learnable membrane time constant to enhance learning of spiking neural networks", ICCV 2021).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn


class _Atan(torch.autograd.Function):
    """1 where x >= 0 (or x > 0); the derivative of an arc tangent."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: float, strict: bool) -> Tensor:
        ctx.save_for_backward(x)
        ctx.alpha = alpha
        return (x > 0 if strict else x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        return gradients[0] * (ctx.alpha / 2) / (1 + (math.pi / 2 * ctx.alpha * x) ** 2), None, None


class _Step(torch.autograd.Function):
    """1 where x >= threshold; a derivative of 1 on [0, 1]. Keeps a byte an element for it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: float) -> Tensor:
        ctx.save_for_backward((x >= 0) & (x <= 1))
        return (x >= threshold).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (inside,) = ctx.saved_tensors
        return gradients[0] * inside, None


class Neuron(nn.Module):
    """A layer of neurons; each keeps its state to itself.

    Args:
        timed: whether ``forward`` takes a sequence ``[time, batch, *shape]``; else a step, ``[batch, *shape]``.
    """

    def __init__(self, timed: bool) -> None:
        super().__init__()
        self.timed = timed

    def reset(self) -> None:
        """Back to rest."""

    def potentials(self, x: Tensor) -> Tensor:
        """Membrane potentials after each step of ``x``, from the state as it is, which stays."""
        return x


class Lif(Neuron):
    """Currents to spikes, along time; see above.

    Args:
        tau: time constant, in steps.
        threshold: of the potential.
        strict: whether a potential equal to the threshold does not spike.
        decay_input: whether the input is divided by tau.
        alpha: of the derivative.
        detach_reset: whether the reset has no part in gradients.
        keeps: whether a call goes on from where the one before ended, until `reset`.
    """

    def __init__(
        self,
        tau: float = 2.0,
        threshold: float = 1.0,
        *,
        strict: bool = False,
        decay_input: bool = True,
        alpha: float = 2.0,
        detach_reset: bool = True,
        keeps: bool = False,
    ) -> None:
        super().__init__(timed=True)
        self.tau, self.threshold, self.strict, self.decay_input = tau, threshold, strict, decay_input
        self.alpha, self.detach_reset, self.keeps = alpha, detach_reset, keeps
        self.v: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        spikes, potentials = self._run(x)
        if self.keeps:
            self.v = potentials[-1]
        return torch.stack(spikes)

    def reset(self) -> None:
        self.v = None

    def potentials(self, x: Tensor) -> Tensor:
        return torch.stack(self._run(x)[1])

    def _run(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        v = torch.zeros_like(x[0]) if self.v is None else self.v
        spikes, potentials = [], []
        for current in x:
            v = v + (current - v) / self.tau if self.decay_input else v * (1 - 1 / self.tau) + current
            s = self._spike(v - self.threshold)
            v = (1 - (s.detach() if self.detach_reset else s)) * v
            spikes.append(s)
            potentials.append(v)
        return spikes, potentials

    def _spike(self, x: Tensor) -> Tensor:
        if self.training:
            return _Atan.apply(x, self.alpha, self.strict)  # type: ignore[no-any-return, no-untyped-call]
        return (x > 0 if self.strict else x >= 0).to(x.dtype)


class Threshold(Neuron):
    """A spike where the input exceeds the threshold; in training, where it reaches it."""

    def __init__(self, threshold: float = 0.5, timed: bool = False) -> None:
        super().__init__(timed)
        self.threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return _Step.apply(x, self.threshold)  # type: ignore[no-any-return, no-untyped-call]
        return (x > self.threshold).to(x.dtype)


class Membrane(Neuron):
    """A potential that others hear: what arrives, in every step."""

    def forward(self, x: Tensor) -> Tensor:
        return x
