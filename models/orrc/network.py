"""ORRC + SynA, the spiking residual network with OR shortcuts and synergistic attention of Shan et al., arXiv
2311.06570, in the form of a ResNet-18 (`.layers` has the equations).

    first     convolution of the input (events: pooled to 48 x 48 or not, 2 x 2 max-pooled behind)
    stage 1   four units of the first width
    stage 2-4 a backbone of two units, the first with stride 2, joined by OR with a shortcut, a 1 x 1 convolution with
              stride 2; then two more units
    head      mean over pixels, a linear layer, mean over time

Only the three joined places have shortcuts. Every convolution behind the first hears zeros and ones alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ..neurons import Lif
from .layers import Inhibitory, Kind, Logits, Multidimensional, Or, Unit

Join = Literal["or", "add", "released"]
Where = Literal["last", "first", "joined"]


@dataclass(frozen=True)
class Shape:
    """Sizes of a network, and which variant.

    Args:
        widths: channels of the stages, two or more.
        units: in the first stage, even.
        steps: T.
        classes: K.
        inputs: channels of the input.
        first: (kernel, stride) of the first convolution.
        events: whether the input has steps of its own, ``[batch, steps, inputs, height, width]``; an image is repeated.
        pooled_to: height and width to which the input is averaged first.
        max_pool: whether spikes of the first units are max-pooled, 3 x 3 with stride 2.
        attention: the dimension of SynA.
        where: units with MA: the last of each two, the first of each two, or the last of stage 1's and of those joined.
        reduction, kernel: of temporal and of spatial attention.
        largest: value of the input that stands for 1.
        gate_bias: added to the logits of IA's gates.
        join: OR; a sum (SEW-ResNet's ADD); or, for comparison, what the authors' code computes: each branch twice, the
            second time from where the first ended, ``(a1 + b1) - a2 b2``, and gates that step over the batch.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    units: int = 4
    steps: int = 16
    classes: int = 10
    inputs: int = 3
    first: tuple[int, int] = (3, 1)
    events: bool = False
    pooled_to: int | None = None
    max_pool: bool = False
    attention: Kind = "none"
    where: Where = "last"
    reduction: int = 4
    kernel: int = 3
    gate_bias: float = 0.0
    largest: int = 1
    join: Join = "or"

    def attended(self, stage: int, unit: int) -> bool:
        """Whether unit ``unit`` of stage ``stage``, both from 0 on, has MA."""
        if self.attention == "none":
            return False
        if self.where == "first":
            return unit % 2 == 0
        return unit % 2 == 1 and (self.where == "last" or stage == 0 or unit == 1)


class Stage(nn.Module):
    """A backbone and a shortcut, joined, and a chain of two units."""

    def __init__(self, shape: Shape, number: int) -> None:
        super().__init__()
        here = shape.widths[number - 1], shape.widths[number]
        self.join_as = shape.join
        self.backbone = nn.Sequential(
            _unit(shape, number, 0, nn.Conv2d(*here, 3, 2, 1, bias=False)),
            _unit(shape, number, 1, nn.Conv2d(here[1], here[1], 3, 1, 1, bias=False)),
        )
        gate = None
        if shape.attention != "none":
            gate = Inhibitory(_logits(shape, here[1]), shape.gate_bias, along_batch=shape.join == "released")
        self.shortcut = Unit(nn.Conv2d(*here, 1, 2, bias=False), gate, keeps=shape.join == "released")
        self.join = Or()
        self.chain = nn.Sequential(
            *(_unit(shape, number, i, nn.Conv2d(here[1], here[1], 3, 1, 1, bias=False)) for i in (2, 3))
        )

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.chain(self.joined(x))
        return found

    def joined(self, x: Tensor) -> Tensor:
        """What the chain hears."""
        a, b = self.backbone(x), self.shortcut(x)
        if self.join_as == "or":
            found: Tensor = self.join(a, b)
            return found
        if self.join_as == "add":
            return a + b  # type: ignore[no-any-return]
        return a + b - self.backbone(x) * self.shortcut(x)  # type: ignore[no-any-return]


class OrrcResNet(nn.Module):
    """The whole network.

    ``forward`` takes images ``[batch, inputs, height, width]``, of event streams ``[batch, steps, inputs, height,
    width]``, and gives scores ``[batch, classes]``, the mean over time of `steps_of`.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        kernel, stride = shape.first
        first = nn.Conv2d(shape.inputs, shape.widths[0], kernel, stride, kernel // 2, bias=False)
        self.first = Unit(first, keeps=shape.join == "released")
        self.max_pool = nn.MaxPool2d(3, 2, 1) if shape.max_pool else None
        width = shape.widths[0]
        self.stage1 = nn.Sequential(
            *(_unit(shape, 0, i, nn.Conv2d(width, width, 3, 1, 1, bias=False)) for i in range(shape.units))
        )
        self.stages = nn.ModuleList(Stage(shape, number) for number in range(1, len(shape.widths)))
        self.classifier = nn.Linear(shape.widths[-1], shape.classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.steps_of(x).mean(0)

    def steps_of(self, x: Tensor) -> Tensor:
        """Scores in each step, ``[steps, batch, classes]``."""
        for module in self.modules():
            if isinstance(module, Lif):
                module.reset()
        y = self.stage1(self._first(x))
        for stage in self.stages:
            y = stage(y)
        scores: Tensor = self.classifier(y.mean((3, 4)))
        return scores

    def _first(self, x: Tensor) -> Tensor:
        """Spikes behind the first unit, ``[steps, batch, channels, height, width]``."""
        x = x if self.shape.largest == 1 else x / self.shape.largest
        x = x.transpose(0, 1) if self.shape.events else x.unsqueeze(0).expand(self.shape.steps, *x.shape)
        if self.shape.pooled_to:
            pooled = nn.functional.adaptive_avg_pool2d(x.flatten(0, 1), self.shape.pooled_to)
            x = pooled.reshape(*x.shape[:2], *pooled.shape[1:])
        y = self.first(x)
        if self.max_pool is not None:
            pooled = self.max_pool(y.flatten(0, 1))
            y = pooled.reshape(*y.shape[:2], *pooled.shape[1:])
        found: Tensor = y
        return found


def _logits(shape: Shape, channels: int) -> Logits:
    return Logits(shape.attention, shape.steps, channels, shape.reduction, shape.kernel)


def _unit(shape: Shape, stage: int, number: int, convolution: nn.Conv2d) -> Unit:
    attention = None
    if shape.attended(stage, number):
        attention = Multidimensional(_logits(shape, convolution.out_channels))
    return Unit(convolution, attention, keeps=shape.join == "released")


def gate_rates(network: OrrcResNet, x: Tensor) -> list[float]:
    """Share of IA's gates that are open, of each shortcut, for the input of `OrrcResNet`."""
    found: list[float] = []
    hooks = [
        m.gate.register_forward_hook(lambda _m, _i, out: found.append(float(out.mean())))
        for m in network.modules()
        if isinstance(m, Inhibitory)
    ]
    try:
        with torch.no_grad():
            network(x)
    finally:
        for hook in hooks:
            hook.remove()
    return found
