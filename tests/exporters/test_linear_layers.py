"""Pools of every kind, and linear layers in a row that NIR has no node for: exact, read back and deployed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import snntorch as snn
import torch
from torch import nn

from neurodeploy.compiler import compile
from neurodeploy.errors import UnsupportedError
from neurodeploy.exporters.export import to_graph
from neurodeploy.exporters.torch_step import matrices
from neurodeploy.verify.export_proof import export_proven


def lif():
    return snn.Leaky(beta=0.9, threshold=0.1, init_hidden=True)


class Joined(nn.Module):
    """The flattened outputs of many layers of one input, side by side in front of a neuron."""

    def __init__(self, layers):
        super().__init__()
        self.layers, self.lif = nn.ModuleList(layers), lif()

    def forward(self, x):
        return self.lif(torch.cat([layer(x).flatten(1) for layer in self.layers], 1))


def proven(module, shape, path, steps=12):
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.Linear, nn.ConvTranspose2d)):
            part.reset_parameters()
            part.weight.data.abs_().mul_(2)
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.uniform_(-0.2, 0.2)
            part.running_var.uniform_(0.5, 2)
    sample = (np.random.default_rng(0).random((steps, 2, *shape)) < 0.5).astype(np.uint8)
    for pair in export_proven(module.eval(), sample, None, path, time_axis="step").pairs:
        assert pair.verdict == "equal"
    return to_graph(module.eval(), shape)


def pools(make, sizes, overrides):
    settings = itertools.product(*sizes, (False, True), (False, True), overrides)
    for kernel, stride, padding, ceil, include, divisor in settings:
        if np.all(2 * np.asarray(padding) <= np.asarray(kernel)):
            more = {} if divisor is None else {"divisor_override": divisor}
            yield make(kernel, stride, padding, ceil_mode=ceil, count_include_pad=include, **more)


def some(layers, number):
    """A random choice; each was run once (216 and 48 of them), which takes a minute."""
    return [layers[i] for i in np.random.default_rng(3).permutation(len(layers))[:number]]


def test_every_average_pool_of_images(tmp_path):
    sizes = ((2, 3, (3, 2)), (None, 1, (3, 2)), (0, 1))
    layers = list(pools(nn.AvgPool2d, sizes, (None, 1, 5)))
    assert len(layers) == 216
    proven(Joined(some(layers, 9)), (2, 7, 5), tmp_path / "a.nir", steps=3)


def test_every_average_pool_of_sequences(tmp_path):
    layers = list(pools(nn.AvgPool1d, ((2, 3, 5), (None, 1, 2, 4), (0, 1)), (None,)))
    layers = some(layers, 5) + [nn.AdaptiveAvgPool1d(n) for n in (1, 3, 7)]
    proven(Joined(layers), (2, 9), tmp_path / "a.nir", steps=4)


def test_every_adaptive_pool(tmp_path):
    layers = [nn.AdaptiveAvgPool2d((a, b)) for a, b in ((1, 1), (7, 5), (2, 3), (5, 1), (3, 2))]
    proven(Joined(layers), (2, 7, 5), tmp_path / "a.nir", steps=4)


def test_a_pool_of_many_channels_is_no_matrix(tmp_path):
    layer = nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False)
    graph = proven(nn.Sequential(layer, lif()), (64, 16, 16), tmp_path / "a.nir", steps=2)
    kinds = sorted(type(node).__name__ for node in graph.nodes.values())
    assert kinds == ["Conv2d", "Input", "LIF", "Output", "Scale"]
    assert graph.nodes["0.avg_pool2d.sums"].weight.shape == (64, 1, 4, 4)


ROWS = {
    "upsampling, convolution": (nn.Upsample(scale_factor=2), nn.Conv2d(1, 3, 3, padding=1)),
    "upsampling, convolution, norm": (nn.Upsample(scale_factor=2), nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3)),
    "upsampling, pool": (nn.Upsample(scale_factor=3), nn.AvgPool2d(2)),
    "transposed, convolution, norm, pool": (
        nn.ConvTranspose2d(1, 2, 3, 2), nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.AvgPool2d(2),
    ),
    "transposed twice": (nn.ConvTranspose2d(1, 2, 3, 2), nn.ConvTranspose2d(2, 2, 3)),
    "convolution, transposed, norm": (nn.Conv2d(1, 2, 3), nn.ConvTranspose2d(2, 2, 3, 2), nn.BatchNorm2d(2)),
    "adaptive, convolution": (nn.AdaptiveAvgPool2d(4), nn.Conv2d(1, 3, 3)),
    "adaptive twice": (nn.AdaptiveAvgPool2d(5), nn.AdaptiveAvgPool2d(3)),
    "pool without its padding, convolution": (
        nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), nn.Conv2d(1, 3, 3),
    ),
    "convolution, such a pool, convolution": (
        nn.Conv2d(1, 2, 3), nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), nn.Conv2d(2, 3, 3),
    ),
    "such pools twice": (nn.AvgPool2d(2, ceil_mode=True), nn.AvgPool2d(2, ceil_mode=True, divisor_override=3)),
    "bilinear, convolution": (nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(1, 3, 3)),
    "padding, convolution": (nn.ZeroPad2d((1, 2, 0, 1)), nn.Conv2d(1, 3, 3)),
    "reflection, convolution": (nn.ReflectionPad2d(1), nn.Conv2d(1, 3, 3)),
    "convolution, shuffle, convolution": (nn.Conv2d(1, 4, 3), nn.PixelShuffle(2), nn.Conv2d(1, 2, 3)),
    "upsampling, convolution, dense": (
        nn.Upsample(scale_factor=2), nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(432, 5),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_linear_layers_in_a_row(name, tmp_path):
    torch.manual_seed(0)
    proven(nn.Sequential(*ROWS[name], lif()), (1, 7, 7), tmp_path / "a.nir")


class Branches(nn.Module):
    def __init__(self, code):
        super().__init__()
        torch.manual_seed(0)
        self.code, self.lif = code, lif()
        self.up = nn.Sequential(nn.AdaptiveAvgPool2d(3), nn.Upsample(size=(7, 7)))
        self.one, self.two, self.three = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3)

    def forward(self, x):
        return self.lif(self.code(self, x))


BRANCHES = {
    "sum": lambda m, x: m.up(x) + m.one(x),
    "sum, convolution": lambda m, x: m.two(m.up(x) + 2 * m.one(x)),
    "cat": lambda m, x: torch.cat([m.up(x), m.one(x)], 1),
    "cat, convolution": lambda m, x: m.three(torch.cat([m.one(x), 3 * m.up(x)], 1)),
    "sum, flatten": lambda m, x: (m.up(x) + m.one(x)).flatten(1),
    "used twice": lambda m, x: m.one(m.up(x)) + m.up(x),
    "gain of a pixel": lambda m, x: m.up(x) * torch.arange(49.0).reshape(7, 7) / 49,
    "mean": lambda m, x: m.two(x).mean((2, 3)),
    "einsum": lambda m, x: torch.einsum("bchw,oc->bohw", x, m.three.weight[:, :1, 0, 0].abs()),
}


@pytest.mark.parametrize("name", BRANCHES)
def test_branches_and_matrices(name, tmp_path):
    proven(Branches(BRANCHES[name]), (1, 7, 7), tmp_path / "a.nir")


def test_a_neck_deploys_on_a_chip(tmp_path):
    torch.manual_seed(0)
    neck = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(2, 2, 3, padding=1), nn.AvgPool2d(3, 2, ceil_mode=True))
    layers = [nn.Conv2d(1, 2, 3, padding=1), lif(), *neck, lif(), nn.Flatten(), nn.Linear(32, 4), lif()]
    proven(nn.Sequential(*layers), (1, 4, 4), tmp_path / "a.nir")
    program = compile(tmp_path / "a.nir", None).program
    assert [p.size for p in program.network.populations if not p.external][-1] == 4


def test_matrices_are_found_in_parts(monkeypatch):
    monkeypatch.setattr(matrices, "_AT_ONCE", 20)
    found, offset = matrices.affine_of(lambda x: x.cumsum(1) + 3, (7,), (7,), "cumsum")
    np.testing.assert_allclose(found, np.tril(np.ones((7, 7))), atol=1e-12)
    np.testing.assert_array_equal(offset, np.full(7, 3.0))


def test_what_is_not_linear_or_too_large_is_refused(monkeypatch):
    with pytest.raises(UnsupportedError, match="square is not linear in each sample by itself"):
        matrices.affine_of(lambda x: x * x, (3,), (3,), "square")
    with pytest.raises(UnsupportedError, match="mixing is not linear in each sample"):
        matrices.affine_of(lambda x: x + x.mean(0), (3,), (3,), "mixing")
    monkeypatch.setattr(matrices, "LARGEST", 8)
    with pytest.raises(UnsupportedError, match=r"sum is too large(?s:.)*3 x 3 entries"):
        matrices.affine_of(lambda x: x, (3,), (3,), "sum")


def test_a_pool_of_images_without_channels(tmp_path):
    proven(nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 3), lif()), (8, 8), tmp_path / "a.nir")
