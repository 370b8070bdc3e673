"""The layers of T-RevSNN; see `.network` for the whole.

The spike of every neuron is that of a `Threshold`, without memory of its own:

    Q(x) = floor(clip(x, 0, 1) + 1/2)    in training, 1 at x >= 1/2; its derivative is 1 on [0, 1] and 0 elsewhere
    Q(x) = round(clip(x, 0, 1))          in evaluation, half to even: 1 at x > 1/2, as on a chip (a strict threshold)

A block of width C, with k x k depth-wise convolutions DW, 1 x 1 convolutions PW to and from 4 C and gamma for each
channel, adds to the membrane potential x:

    x + gamma DW_2(PW_2(Q(PW_1(DW_1(Q(x))))))

Weights of PW are standardised for each output, ``(w - mean) / sqrt(var + 1e-6) gain fan_in^(-1/2)`` (Brock, De, Smith,
"Characterizing signal propagation to close the performance gap in unnormalized ResNets", ICLR 2021).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..neurons import Threshold

HALF = 0.5
"""The threshold."""
EXPANSION = 4
"""Channels in the middle of a block, in widths."""


class ScaledConv2d(nn.Conv2d):
    """A convolution with standardised weights, a gain for each output channel, and a bias."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding=kernel // 2)
        self.gain = nn.Parameter(torch.ones(outputs, 1, 1, 1))

    def standardised(self) -> Tensor:
        """The weights that it convolves with, ``[outputs, inputs, kernel, kernel]``."""
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), correction=0, keepdim=True)
        fan_in = self.weight[0].numel()
        scale: Tensor = torch.rsqrt(variance + 1e-6) * self.gain * float(fan_in) ** -0.5
        return (self.weight - mean) * scale

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.standardised(), self.bias, self.stride, self.padding)


def depthwise(channels: int, kernel: int) -> nn.Conv2d:
    """``[batch, channels, height, width]`` to the same, each channel by itself."""
    return nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)


class Tail(nn.Sequential):
    """PW_2 and DW_2: what the columns of a network share in the second block of a level."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__(ScaledConv2d(EXPANSION * channels, channels, 1), depthwise(channels, kernel))


class Block(nn.Module):
    """Adds to a membrane potential ``[batch, channels, height, width]``.

    Args:
        channels: C.
        kernel: k of the depth-wise convolutions.
        tail: that it shares with others, and then it has no gamma; None for one of its own.
    """

    def __init__(self, channels: int, kernel: int, tail: Tail | None = None) -> None:
        super().__init__()
        self.spike = Threshold(HALF)
        self.spread = depthwise(channels, kernel)
        self.expand = ScaledConv2d(channels, EXPANSION * channels, 1)
        self.hidden = Threshold(HALF)
        self.tail = Tail(channels, kernel) if tail is None else tail
        self.gamma = nn.Parameter(torch.ones(1, channels, 1, 1)) if tail is None else None

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.tail(self.hidden(self.expand(self.spread(self.spike(x)))))
        return x + (added if self.gamma is None else self.gamma * added)


class Way(nn.Module):
    """What a level hears of another: spikes, a convolution and its normalisation, then larger again if need be."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, larger: int = 1) -> None:
        super().__init__()
        self.spike = Threshold(HALF)
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.larger = nn.Upsample(scale_factor=larger, mode="nearest") if larger > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.larger(self.norm(self.convolution(self.spike(x))))
        return found


class Level(nn.Module):
    """F_l of a column: ``(below, above) -> [batch, C_l, height_l, width_l]``.

    Args:
        number: l, 0 to 3.
        channels: of the four levels.
        kernel: k.
        tail: of its second block, shared with the other columns.
        first: in the first column, which hears nothing of the level above.
    """

    def __init__(self, number: int, channels: Sequence[int], kernel: int, tail: Tail, first: bool) -> None:
        super().__init__()
        here, last = channels[number], number == len(channels) - 1
        self.down: Way | None = None
        self.up: Way | None = None
        if number:
            self.down = Way(channels[number - 1], here) if last else Way(channels[number - 1], here, 3, 2)
        if not (first or last):
            # The two upper levels are of one size.
            self.up = Way(channels[number + 1], here, larger=1 if number == len(channels) - 2 else 2)
        self.blocks = nn.Sequential(Block(here, kernel), Block(here, kernel, tail))

    def forward(self, below: Tensor, above: Tensor | None) -> Tensor:
        """``below``: c of the level below in this column, or x; ``above``: of that above in the column before."""
        x = below if self.down is None else self.down(below)
        if self.up is not None:
            assert above is not None
            x = x + self.up(above)
        found: Tensor = self.blocks(x)
        return found
