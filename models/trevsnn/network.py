"""T-RevSNN, the temporal reversible spiking network of Hu et al., "High-performance temporal reversible spiking neural
networks with O(L) training memory and O(1) inference cost", ICML 2024 (PMLR 235:19516-19530, arXiv 2405.16466).

An image is encoded once; then T columns run one behind the other, each with weights of its own, and each once. Of four
levels l only the last membrane potential c_l goes from column to column; every other neuron is without memory:

    c_l^t = F_l^t(c_{l-1}^t, c_{l+1}^{t-1}) + alpha_l^t c_l^{t-1},    c_{-1}^t = x,  c_l^0 = 0

It is real and never reset; neurons hear its spikes Q(c_l) alone (`.layers`), so that no convolution behind the stem
multiplies. Memory for training: `.reversible`. Levels hear

    l = 0        x, and up(c_1): a 1 x 1 convolution of spikes, normalised, twice as large
    l = 1, 2     down(c_{l-1}): 3 x 3 with stride 2, normalised; and up(c_{l+1}), of the same size for l = 2
    l = 3        down(c_2): 1 x 1

The stem is linear. The head is linear, too, on the mean over pixels of Q(c_3); with `Shape.heads` > 1, columns before
the last one have heads that read the mean of c_3 itself, for the loss alone. Event streams have a stem a column, each
with its own step, and a head that reads Q(c_3 / T).

In training, batch statistics are noted twice a step, in the forward pass and when the backward pass computes it again,
as the authors' code does: a momentum m counts as ``1 - (1 - m)^2``. alpha keeps ``|alpha| >= 1e-3``; one of 0 counts as
1e-3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..neurons import Membrane, Threshold
from . import reversible
from .layers import HALF, Level, ScaledConv2d, Tail

LEAST_ALPHA = 1e-3


@dataclass(frozen=True)
class Shape:
    """Sizes of a network.

    Args:
        channels: C_l of the four levels.
        columns: T.
        kernel: k of the depth-wise convolutions, odd.
        classes: K.
        stem: (kernel, stride) of each convolution of the stem.
        inputs: channels of the input.
        events: whether each column has its own step ``[batch, columns, inputs, height, width]``.
        heads: how many columns have a head; 1 is the last one alone.
        largest: value of the input that stands for 1.
    """

    channels: tuple[int, int, int, int]
    columns: int
    kernel: int = 5
    classes: int = 1000
    stem: tuple[tuple[int, int], ...] = ((7, 2), (3, 2))
    inputs: int = 3
    events: bool = False
    heads: int = 1
    largest: int = 1

    @property
    def headed(self) -> tuple[int, ...]:
        """The columns that have a head, evenly spread, the last one among them."""
        heads = min(self.heads, self.columns)
        return tuple(-(-(i + 1) * self.columns // heads) - 1 for i in range(heads))


class Column(nn.Module):
    """The four levels of a step, and how much of each state stays."""

    def __init__(self, shape: Shape, tails: Sequence[Tail], first: bool) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            Level(number, shape.channels, shape.kernel, tails[number], first) for number in range(len(shape.channels))
        )
        self.alphas = nn.ParameterList(torch.full((1, c, 1, 1), 0.5) for c in shape.channels)
        self.states = nn.ModuleList(Membrane(timed=False) for _ in shape.channels)

    def step(self, sees: int) -> reversible.Step:
        """This column as `reversible` runs it, with the x numbered ``sees``."""
        kept = [self._kept(alpha) for alpha in self.alphas]
        parameters = [list(level.parameters()) for level in self.levels]
        return reversible.Step(list(self.levels), kept, list(self.states), sees, parameters)

    def _kept(self, alpha: Tensor) -> Tensor:
        sign = torch.where(alpha.detach() < 0, -1.0, 1.0).to(alpha.dtype)
        held = sign * alpha.detach().abs().clamp(min=LEAST_ALPHA)
        return alpha + (held - alpha).detach()


class Head(nn.Module):
    """The scores of the last column: ``[batch, C_3, height, width] -> [batch, classes]``."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.scale = 1 / shape.columns if shape.events else 1.0
        self.spike = Threshold(HALF)
        self.first = ScaledConv2d(shape.channels[-1], shape.classes, 1)
        self.second = ScaledConv2d(shape.classes, shape.classes, 1)

    def forward(self, c: Tensor) -> Tensor:
        spikes: Tensor = self.spike(c if self.scale == 1 else c * self.scale)
        found: Tensor = self.second(self.first(spikes.mean((2, 3), keepdim=True)))
        return found.flatten(1)


class InnerHead(nn.Module):
    """The scores of an earlier column, of the potentials themselves; for the loss alone."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.first = ScaledConv2d(shape.channels[-1], shape.classes, 1)

    def forward(self, c: Tensor) -> Tensor:
        found: Tensor = self.first(c.mean((2, 3), keepdim=True))
        return found.flatten(1)


class TRevSNN(nn.Module):
    """The whole network.

    ``forward`` takes images ``[batch, inputs, height, width]`` (of event streams, ``[batch, columns, inputs, height,
    width]``), height and width such that the levels' sizes halve evenly, and gives scores ``[batch, classes]``;
    `scores` gives those of every head, ``[heads, batch, classes]``.

    Args:
        shape: its sizes.
        saves_memory: whether a training step computes states again instead of keeping them.
    """

    def __init__(self, shape: Shape, saves_memory: bool = True) -> None:
        super().__init__()
        self.shape, self.saves_memory = shape, saves_memory
        self.stems = nn.ModuleList(stem(shape) for _ in range(shape.columns if shape.events else 1))
        tails = [Tail(c, shape.kernel) for c in shape.channels]
        self.columns = nn.ModuleList(Column(shape, tails, first=t == 0) for t in range(shape.columns))
        self.inner_heads = nn.ModuleList(InnerHead(shape) for _ in shape.headed[:-1])
        self.head = Head(shape)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self._tops(x)[-1])
        return found

    def scores(self, x: Tensor) -> Tensor:
        """The scores of every head, the last column's last."""
        *inner, last = self._tops(x)
        return torch.stack([*(h(c) for h, c in zip(self.inner_heads, inner, strict=True)), self.head(last)])

    def states(self, x: Tensor) -> list[tuple[Tensor, ...]]:
        """c_l of every column, ``[batch, C_l, height_l, width_l]``."""
        return reversible.ordinary(*self._steps(x))

    def _steps(self, x: Tensor) -> tuple[list[reversible.Step], list[Tensor]]:
        x = x if self.shape.largest == 1 else x / self.shape.largest
        seen = list(x.unbind(1)) if self.shape.events else [x]
        xs = [stem(image) for stem, image in zip(self.stems, seen, strict=True)]
        return [column.step(t if self.shape.events else 0) for t, column in enumerate(self._columns())], xs

    def _columns(self) -> list[Column]:
        return [column for column in self.columns if isinstance(column, Column)]

    def _tops(self, x: Tensor) -> list[Tensor]:
        steps, xs = self._steps(x)
        shown = self.shape.headed
        if self.training and self.saves_memory and torch.is_grad_enabled():
            return reversible.reversible(steps, xs, shown)
        states = reversible.ordinary(steps, xs)
        return [states[t][-1] for t in shown]


def stem(shape: Shape) -> nn.Sequential:
    """The linear layers that an image goes through once."""
    channels = (shape.inputs, *(shape.channels[0] for _ in shape.stem))
    return nn.Sequential(*(ScaledConv2d(channels[i], channels[i + 1], k, s) for i, (k, s) in enumerate(shape.stem)))
