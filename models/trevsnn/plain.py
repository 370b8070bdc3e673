"""An ordinary spiking network of T-RevSNN's blocks, to compare with: one column, run for T steps with the same weights.

The image is repeated in every step; neurons are LIF (tau = 2, threshold 1, hard reset) instead of thresholds without
memory; nothing goes from a level to the one below it, nor from step to step but what a neuron keeps. So each step
passes over all weights, where T columns of T-RevSNN pass over theirs once.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from ..neurons import Lif, Threshold
from .layers import Level, ScaledConv2d, Tail
from .network import Shape, stem


class _EachStep(nn.Module):
    """A layer without memory over a sequence ``[time, batch, ...]``."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x.flatten(0, 1))
        return y.reshape(*x.shape[:2], *y.shape[1:])


class PlainSNN(nn.Module):
    """Images ``[batch, inputs, height, width]`` to scores ``[batch, classes]``, the mean over T steps.

    Args:
        shape: T is `Shape.columns`; the rest as for one column.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        one = replace(shape, columns=1)
        self.stem = stem(one)
        levels = [
            Level(number, one.channels, one.kernel, Tail(c, one.kernel), first=True)
            for number, c in enumerate(one.channels)
        ]
        self.levels = nn.ModuleList(_timed(level) for level in levels)
        self.spike = Lif()
        self.head = ScaledConv2d(one.channels[-1], one.classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.shape.largest == 1 else x / self.shape.largest
        c: Tensor = self.stem(x)
        c = c.unsqueeze(0).expand(self.shape.columns, *c.shape)
        for level in self.levels:
            c = level(c, None)
        spikes = self.spike(c).mean((3, 4), keepdim=True)
        scores: Tensor = self.head(spikes.flatten(0, 1))
        return scores.view(*spikes.shape[:2], -1).mean(0)


def _timed(level: nn.Module) -> nn.Module:
    """The same with LIF neurons, over sequences."""
    for name, part in list(level.named_children()):
        if isinstance(part, Threshold):
            setattr(level, name, Lif())
        elif isinstance(part, nn.Conv2d | nn.BatchNorm2d):
            setattr(level, name, _EachStep(part))
        else:
            _timed(part)
    return level


def like(shape: Shape, count: int) -> Shape:
    """The widths, as multiples of those of ``shape``, at which a plain network has nearest to ``count`` parameters."""

    def off(factor: float) -> int:
        with torch.device("meta"):
            made = PlainSNN(_wider(shape, factor))
        return abs(sum(p.numel() for p in made.parameters()) - count)

    return _wider(shape, min((f / 16 for f in range(8, 64)), key=off))


def _wider(shape: Shape, factor: float) -> Shape:
    a, b, c, d = (max(round(n * factor), 1) for n in shape.channels)
    return replace(shape, channels=(a, b, c, d), heads=1)
