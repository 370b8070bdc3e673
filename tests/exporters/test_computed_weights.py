"""Weights and biases that forward computes from parameters are constants: exported as what they are, and proven."""

from __future__ import annotations

import numpy as np
import pytest
import snntorch as snn
import torch
import torch.nn.functional as F
from torch import nn
from torch.ao.quantization import FakeQuantize, MovingAverageMinMaxObserver
from torch.nn.utils import parametrizations, parametrize, prune

from neurodeploy.errors import UnsupportedError
from neurodeploy.exporters.export import to_graph
from neurodeploy.verify.export_proof import export_proven


def lif():
    return snn.Leaky(beta=0.9, threshold=0.3, init_hidden=True)


class Net(nn.Module):
    """``code(parameters, mask, input)`` in front of a neuron."""

    def __init__(self, code, *shapes):
        super().__init__()
        torch.manual_seed(1)
        self.p = nn.ParameterList([nn.Parameter(torch.randn(*shape)) for shape in shapes])
        self.register_buffer("mask", (torch.rand(*shapes[0]) < 0.6).float())
        self.code, self.lif = code, lif()

    def forward(self, x):
        return self.lif(self.code(self.p, self.mask, x))


class Symmetric(nn.Module):
    def forward(self, w):
        return w.triu() + w.triu(1).mT


class Standardised(nn.Conv2d):
    def forward(self, x):
        w = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return self._conv_forward(x, w / (w.std((1, 2, 3), keepdim=True) + 1e-5), self.bias)


def written_into(p, mask, x):
    weight = p[0].clone()
    weight[0].zero_()
    weight[:, 1] = 2
    return F.linear(x, weight)


def without_gradient(p, mask, x):
    with torch.no_grad():
        weight = p[0] * 2
    return F.linear(x, weight + mask)


def rounded(p, mask, x):
    step = p[0].abs().max() / 7
    return F.linear(x, torch.fake_quantize_per_tensor_affine(p[0], 0.1, 0, -8, 7) + (p[0] / step).round() * step)


def pruned(linear):
    prune.random_unstructured(linear, "weight", 0.5)
    prune.random_unstructured(linear, "bias", 0.5)
    return linear


def parametrized(linear):
    parametrize.register_parametrization(linear, "weight", Symmetric())
    parametrize.register_parametrization(linear, "bias", nn.Softplus())
    return linear


MODULES = {
    "weight_norm": (lambda: parametrizations.weight_norm(nn.Linear(6, 5)), (6,)),
    "weight_norm of a convolution": (lambda: parametrizations.weight_norm(nn.Conv2d(1, 4, 3)), (1, 6, 6)),
    "weight_norm, old": (lambda: nn.utils.weight_norm(nn.Linear(6, 5)), (6,)),
    "weight_norm of a transposed one": (lambda: parametrizations.weight_norm(nn.ConvTranspose2d(1, 2, 3)), (1, 4, 4)),
    "spectral_norm": (lambda: parametrizations.spectral_norm(nn.Linear(6, 5)), (6,)),
    "spectral_norm, old": (lambda: nn.utils.spectral_norm(nn.Linear(6, 5)), (6,)),
    "orthogonal": (lambda: parametrizations.orthogonal(nn.Linear(6, 5)), (6,)),
    "prune": (lambda: pruned(nn.Linear(6, 5)), (6,)),
    "own parametrizations": (lambda: parametrized(nn.Linear(6, 6)), (6,)),
    "weight standardisation": (lambda: Standardised(1, 4, 3, padding=1), (1, 6, 6)),
}
CODE = {
    "mask": (lambda p, m, x: F.linear(x, p[0] * m), (6,), (5, 6)),
    "binary mask": (lambda p, m, x: F.linear(x, (p[0] > 0).float()), (6,), (5, 6)),
    "binary weights": (lambda p, m, x: F.linear(x, p[0].sign() * p[0].abs().mean(1, keepdim=True)), (6,), (5, 6)),
    "matmul": (lambda p, m, x: x @ (p[0] * m).T + p[1].abs(), (6,), (5, 6), (5,)),
    "addmm": (lambda p, m, x: torch.addmm(p[1], x, p[0], beta=0.5, alpha=2), (6,), (6, 5), (5,)),
    "cat, flip, stack": (
        lambda p, m, x: F.linear(x, torch.cat([p[0], p[1].flip(0)]), torch.stack([p[2]] * 5).reshape(-1)),
        (6,), (3, 6), (2, 6), (1,),
    ),
    "zeros beside": (lambda p, m, x: F.linear(x, torch.cat([torch.zeros(1, 6), p[0]])), (6,), (4, 6)),
    "in place": (lambda p, m, x: F.linear(x, p[0].clone().clamp_(-0.5, 0.5).mul_(3)), (6,), (5, 6)),
    "through a view": (written_into, (6,), (5, 6)),
    "no_grad": (without_gradient, (6,), (5, 6)),
    "fake-quantised": (rounded, (6,), (5, 6)),
    "gain of the input": (lambda p, m, x: F.linear(x * p[1], p[0]), (6,), (5, 6), (6,)),
    "gain of the output": (lambda p, m, x: p[1] * F.linear(x, p[0]) / p[1].abs(), (6,), (5, 6), (5,)),
    "gain of a channel": (lambda p, m, x: F.conv2d(x, p[0]) * p[1], (1, 6, 6), (2, 1, 3, 3), (2, 1, 1)),
    "gain of a pixel": (lambda p, m, x: F.conv2d(x, p[0]) * p[1], (1, 6, 6), (2, 1, 3, 3), (1, 2, 4, 4)),
    "branches of other sizes": (
        lambda p, m, x: torch.cat([2 * F.linear(x, p[0]), 3 * F.linear(x, p[1])], 1), (6,), (2, 6), (3, 6),
    ),
}  # fmt: skip


class Quantised(nn.Linear):
    """As torch's quantisation-aware training does it: whether it rounds is the value of a buffer."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.rounds = FakeQuantize(observer=MovingAverageMinMaxObserver, quant_min=-8, quant_max=7, dtype=torch.qint8)
        self.rounds(self.weight)
        self.rounds.disable_observer()

    def forward(self, x):
        return F.linear(x, self.rounds(self.weight), self.bias)


class Bounded(nn.Module):
    def forward(self, w):
        return w / w.abs().max() if w.abs().max() > 0.1 else w


def bounded(linear):
    parametrize.register_parametrization(linear, "weight", Bounded())
    return linear


@pytest.mark.parametrize("make", [lambda: Quantised(6, 5), lambda: bounded(nn.Linear(6, 5))])
def test_weights_by_code_that_looks_at_values(make, tmp_path):
    torch.manual_seed(0)
    module = nn.Sequential(make(), lif(), nn.Linear(5, 3), lif())
    proven(module, (6,), tmp_path)
    weight = to_graph(module, (6,)).nodes["0"].weight
    assert weight.shape == (5, 6)
    assert len(np.unique(weight)) <= 16 or np.abs(weight).max() == 1


def test_code_that_looks_at_the_input_is_still_refused():
    class Looks(nn.Module):
        def forward(self, x):
            return x if x.sum() > 3 else -x

    with pytest.raises(UnsupportedError, match="not one static graph"):
        to_graph(nn.Sequential(bounded(nn.Linear(6, 5)), Looks(), lif()), (6,))


def spikes(shape):
    return (np.random.default_rng(0).random((20, 3, *shape)) < 0.5).astype(np.uint8)


def proven(module, shape, tmp_path):
    for pair in export_proven(module, spikes(shape), None, tmp_path / "a.nir", time_axis="step").pairs:
        assert pair.verdict == "equal"


@pytest.mark.parametrize("name", MODULES)
def test_modules(name, tmp_path):
    make, shape = MODULES[name]
    torch.manual_seed(0)
    layer = make()
    proven(nn.Sequential(layer, lif()), shape, tmp_path)


@pytest.mark.parametrize("name", CODE)
def test_code(name, tmp_path):
    code, shape, *parameters = CODE[name]
    proven(Net(code, *parameters), shape, tmp_path)


def test_the_effective_weight_is_what_the_file_holds():
    torch.manual_seed(0)
    layer = parametrizations.weight_norm(nn.Linear(6, 5))
    graph = to_graph(nn.Sequential(layer, lif()), (6,))
    g, v = layer.parametrizations.weight.original0.double(), layer.parametrizations.weight.original1.double()
    np.testing.assert_allclose(graph.nodes["0"].weight, (g * v / v.norm(dim=1, keepdim=True)).detach(), rtol=1e-14)


def test_what_is_used_as_it_is_keeps_its_type():
    graph = to_graph(nn.Sequential(nn.Linear(6, 5), lif()), (6,))
    assert graph.nodes["0"].weight.dtype == np.float32


REFUSED = {
    "random weights": (lambda p, m, x: F.linear(x, p[0] * torch.rand(5, 6)), "random numbers in forward"),
    "noise": (lambda p, m, x: F.linear(x, p[0]) + torch.randn(5), "random numbers in forward"),
    "dropout of weights": (lambda p, m, x: F.linear(x, F.dropout(p[0])), "dropout that is active in evaluation mode"),
    "dropout": (lambda p, m, x: F.linear(F.dropout(x), p[0]), "dropout that is active in evaluation mode"),
    "weights by the input": (lambda p, m, x: F.linear(x, p[0] * x.sum()), "aten.sum cannot be expressed"),
    "two layers": (lambda p, m, x: F.linear(x, p[0]) * F.linear(x, p[0]), "a product of two layers"),
    "a factor for each sample": (
        lambda p, m, x: F.linear(x, p[0]) * torch.tensor([[1.0], [2.0]]), "not one finite factor for each value",
    ),
    "division by 0": (lambda p, m, x: F.linear(x, p[0]) / torch.zeros(5), "not one finite factor for each value"),
    "logarithm of what is negative": (lambda p, m, x: F.linear(x, p[0].log()), "weights that are not finite"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    code, message = REFUSED[name]
    with pytest.raises((UnsupportedError, ValueError), match=message):
        to_graph(Net(code, (5, 6)), (6,))
