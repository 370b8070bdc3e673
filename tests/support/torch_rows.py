"""What stands between the neurons of torch networks, row by row: modules, functions, joins."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

from .torch_networks import Row

ROW, IMAGE = (3, 8), (2, 6, 6)


def one(part: nn.Module, shape: tuple[int, ...] = IMAGE) -> Row:
    """A module behind spikes."""
    return Row(lambda m, a: m.part(a), shape, {"part": part})


def conv(inside: int = 2, outside: int = 3, **more) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, 3, **more)


def ahead(code, part: nn.Module | None = None, shape: tuple[int, ...] = IMAGE) -> Row:
    """A function of spikes in front of a convolution."""
    return Row(lambda m, a: m.part(code(a)), shape, {"part": part or conv(padding=1)})


def currents(code, shape: tuple[int, ...] = IMAGE) -> Row:
    """A function of currents in front of the neuron."""
    return Row(lambda m, a: code(m.part(a)), shape, {"part": nn.Linear(6, 6) if len(shape) == 1 else conv(padding=1)})


def flat(code) -> Row:
    """A function of six spikes in front of the neuron."""
    return Row(lambda m, a: code(a), (6,))


class Masked(nn.Linear):
    """Weights without some, as pruning leaves them."""

    def reset_parameters(self) -> None:
        super().reset_parameters()
        self.register_buffer("mask", torch.rand(self.weight.shape) > 0.4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)


class Attention(nn.Module):
    """Each of four tokens heeds all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x, x, x, need_weights=False)[0]


INDEX = torch.tensor([5, 0, 3, 3, 1, 2])
MIX = torch.tensor([[0.5, -1.0, 0.0, 2.0, 0.3, 1.0], [1.0, 0.2, -0.7, 0.0, 1.5, -0.1]] * 3)
GRID = torch.tensor([[[[-0.5, -0.5], [0.5, -0.5]], [[-0.3, 0.5], [0.8, 0.6]]]])

LINEAR: Mapping[str, Row] = {
    "`Linear`": one(nn.Linear(6, 5), (6,)),
    "`Bilinear` of two layers": Row(lambda m, a, b: m.part(a, b), (6,), {"part": nn.Bilinear(6, 6, 5)}),
    "`Conv1d`, `groups`, `dilation`, `stride`": one(
        nn.Conv1d(3, 6, 3, groups=3, dilation=2, stride=2, padding=1), ROW
    ),
    "`Conv2d`, `groups`, `dilation`, `stride`": one(conv(2, 4, groups=2, dilation=2, stride=2, padding=1)),
    "`Conv2d`, `padding=\"same\"`, even kernel": one(nn.Conv2d(2, 3, 2, padding="same")),
    "`Conv2d`, `padding_mode` \"reflect\" and \"circular\"": one(
        nn.Sequential(conv(2, 2, padding=1, padding_mode="reflect"), conv(padding=1, padding_mode="circular"))
    ),
    "`Conv3d`": Row(lambda m, a: m.part(a.unflatten(1, (1, 2))).flatten(1, 2), IMAGE, {"part": nn.Conv3d(1, 2, 2)}),
    "`ConvTranspose2d`": one(nn.ConvTranspose2d(2, 2, 2, stride=2)),
    "`BatchNorm2d` in front of `Conv2d`, and behind it": one(
        nn.Sequential(nn.BatchNorm2d(2), conv(padding=1), nn.BatchNorm2d(3))
    ),
    "`InstanceNorm2d`": one(nn.Sequential(conv(), nn.InstanceNorm2d(3))),
    "`LayerNorm`": one(nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6)), (6,)),
    "`GroupNorm`": one(nn.Sequential(conv(2, 4), nn.GroupNorm(2, 4))),
    "`AvgPool1d`": ahead(nn.AvgPool1d(2), nn.Conv1d(3, 3, 3), ROW),
    "`AvgPool2d`, `AdaptiveAvgPool2d`, windows of one size": ahead(
        nn.Sequential(nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1))
    ),
    "`AvgPool2d`, `ceil_mode`, `count_include_pad=False`": ahead(
        nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False)
    ),
    "`AvgPool2d`, `divisor_override`": ahead(nn.AvgPool2d(2, divisor_override=3)),
    "`AdaptiveAvgPool2d`, windows of several sizes": ahead(nn.AdaptiveAvgPool2d(4)),
    "`LPPool2d`, `norm_type=2`": ahead(nn.LPPool2d(2, 2)),
    "`Upsample`, bilinear": ahead(nn.Upsample(scale_factor=2, mode="bilinear")),
    "`PixelUnshuffle`, `PixelShuffle`": ahead(
        nn.Sequential(nn.PixelUnshuffle(2), nn.PixelUnshuffle(3), nn.PixelShuffle(3)), conv(8, 2, padding=1)
    ),
    "`ZeroPad2d`, `ConstantPad2d` with 0.5, `ReflectionPad2d`": ahead(
        nn.Sequential(nn.ZeroPad2d((1, 0, 2, 1)), nn.ConstantPad2d(1, 0.5), nn.ReflectionPad2d(1)), conv()
    ),
    "`unfold`, `fold`": ahead(lambda a: F.fold(F.unfold(a, 2), (6, 6), 2)),
    "`grid_sample`, fixed grid": ahead(lambda a: F.grid_sample(a, GRID.expand(len(a), 2, 2, 2), align_corners=False)),
    "`Dropout`, `Dropout2d`, `Identity`": one(nn.Sequential(nn.Dropout(), nn.Identity(), conv(), nn.Dropout2d())),
    "`permute`, `transpose`": ahead(lambda a: a.permute(0, 1, 3, 2)),
    "`roll`, `flip`, slices, `index_select`, `cumsum`": flat(
        lambda a: (a.roll(2, 1) - 0.5 * a.flip(1)).cumsum(1)[:, 1:5] + a[:, INDEX[:4]]
    ),
    "`einsum` with a parameter": flat(lambda a: torch.einsum("bi,oi->bo", a, MIX)),
    "`matmul` of two layers": Row(lambda m, a, b: (a[:, :, None] @ b[:, None, :]).flatten(1)),
    "`where` with a fixed mask": flat(lambda a: torch.where(INDEX > 2, a, 0.5)),
    "`fft.rfft`": flat(lambda a: torch.view_as_real(torch.fft.rfft(a)).flatten(1)),
    "`weight_norm`, `spectral_norm`": one(
        nn.Sequential(
            parametrizations.weight_norm(nn.Linear(6, 6)), parametrizations.spectral_norm(nn.Linear(6, 5))
        ),
        (6,),
    ),
    "weights times a mask": one(Masked(6, 5), (6,)),
    "`sum`, `mean` over features": ahead(lambda a: a - a.mean((2, 3), keepdim=True)),
    "a mean over the samples": flat(lambda a: a - a.mean(0)),
}  # fmt: skip
"""What is to be linear."""

JOINS: Mapping[str, Row] = {
    "`cat` along the channels": Row(lambda m, a, b: torch.cat([a, b], 1), IMAGE),
    "`cat` along the height, of spikes": Row(lambda m, a, b: torch.cat([a, b], 2), IMAGE),
    "`cat` along the width, in front of weights": Row(
        lambda m, a, b: m.part(torch.cat([a, b], 3)), IMAGE, {"part": conv()}
    ),
    "`stack` of two layers": Row(lambda m, a, b: torch.stack([a, b], 1), (6,)),
    "`cat` along the samples": Row(lambda m, a, b: torch.cat([a, b], 0)[1 : len(a) + 1], (6,)),
    "sum, difference, `2 * a`": Row(lambda m, a, b: 2 * a - b, (6,)),
    "a constant for each value": Row(lambda m, a: a * INDEX + 0.1 * INDEX, (6,)),
    "product of spikes, in front of weights": Row(lambda m, a, b: m.part(a * b), (6,), {"part": nn.Linear(6, 5)}),
    "product of spikes and currents": Row(lambda m, a, b: a * m.part(b), (6,), {"part": nn.Linear(6, 6)}),
    "product of currents": Row(lambda m, a, b: m.part(a) * m.part(b), (6,), {"part": nn.Linear(6, 6)}),
    "`logical_or`, `logical_and`, `>`": Row(
        lambda m, a, b: (torch.logical_or(a > 0, b > 0) & (a >= b)).to(a.dtype), (6,)
    ),
    "`maximum` of spikes": Row(lambda m, a, b: torch.maximum(a, b), (6,)),
    "`maximum` of currents": Row(lambda m, a, b: torch.maximum(m.part(a), m.part(b)), (6,), {"part": nn.Linear(6, 6)}),
    "`max_pool2d` of spikes": ahead(nn.MaxPool2d(2)),
    "`max_pool2d` of currents, in front of a neuron": currents(nn.MaxPool2d(2)),
    "`max_pool2d` of currents, in front of weights": Row(
        lambda m, a: m.more(F.max_pool2d(m.part(a), 2)), IMAGE, {"part": conv(padding=1), "more": conv(3, 2)}
    ),
    "`relu` of sums of spikes": Row(lambda m, a, b: m.part(torch.relu(a + b)), (6,), {"part": nn.Linear(6, 5)}),
    "`relu` of currents, in front of a neuron": currents(torch.relu, (6,)),
    "`relu` of currents, in front of weights": Row(
        lambda m, a: m.more(torch.relu(m.part(a))), (6,), {"part": nn.Linear(6, 6), "more": nn.Linear(6, 4)}
    ),
    "`clamp` of sums of spikes": Row(lambda m, a, b: (a + b).clamp(0, 1), (6,)),
    "`abs` of a difference of spikes": Row(lambda m, a, b: (a - b).abs(), (6,)),
    "`sign` of currents": currents(torch.sign, (6,)),
    "`sigmoid`, `tanh`, `gelu` of currents": currents(lambda x: x.sigmoid() + x.tanh() + F.gelu(x), (6,)),
    "`softmax` in the middle": currents(lambda x: x.softmax(1), (6,)),
    "`MultiheadAttention`": one(Attention(), (4, 6)),
    "`if` on values": Row(lambda m, a, b: a if bool(a.sum() > 3) else b, (6,)),
    "writing into a part of a copy of a layer": Row(lambda m, a, b: written(a, b.clone()), (6,)),
    "writing into a part of what a neuron sent": Row(lambda m, a, b: written(a, b), (6,)),
    "noise": Row(lambda m, a, b: a + torch.randn_like(b), (6,)),
    "a neuron called twice in a step": Row(lambda m, a, b: m.n1(b), (6,)),
}  # fmt: skip
"""How layers meet, and what is not linear."""


def written(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The first values of one layer, written into the other."""
    b[:, :2] = a[:, :2]
    return b
