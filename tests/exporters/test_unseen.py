"""Writes in place, calls whose result is not used, and weights that are no parameters."""

import numpy as np
import pytest
import torch
from torch import nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.exporters.export import to_graph
from neurodeploy.verify.export_proof import export_proven

snn = pytest.importorskip("snntorch")


class InPlace(nn.Module):
    def __init__(self, write):
        super().__init__()
        self.fc, self.lif, self.write = nn.Linear(6, 4), snn.Leaky(0.9, threshold=0.3, init_hidden=True), write
        self.w = torch.ones(4, 6)
        self.fc.weight.data *= 3

    def forward(self, x):
        return self.lif(self.write(self, self.fc(x), x))


def part_scaled(net, y, x):
    y[:, :2] *= 2
    return y


def one_set(net, y, x):
    y[:, 1] = 0
    return y


def through_a_view(net, y, x):
    y.view(-1).mul_(2)
    return y


def seen_by_an_older_view(net, y, x):
    older = y.view(-1, 4)
    y.mul_(2)
    return older


def filled(net, y, x):
    joined = torch.zeros(len(x), 6)
    joined[:, :4] = y
    return joined


@pytest.mark.parametrize("write", [part_scaled, one_set, through_a_view, seen_by_an_older_view, filled])
def test_writes_into_parts_are_refused_where_they_stand(write):
    torch.manual_seed(0)
    with pytest.raises(UnsupportedError, match=r"writes into a part of a layer's output in place"):
        to_graph(InPlace(write), (6,), 1e-3)


def whole(net, y, x):
    y.add_(0.1)
    y *= 2
    return nn.functional.dropout(y, 0.3, False, inplace=True)


def weights(net, y, x):
    weight = net.fc.weight.clone()
    weight[:2] = 0
    weight[:, 3].mul_(2)
    return nn.functional.linear(x, weight)


def no_parameter(net, y, x):
    return nn.functional.linear(x, net.w) - y


@pytest.mark.parametrize("write", [whole, weights, no_parameter])
def test_writes_into_a_whole_layer_and_weights_that_are_no_parameters(write, tmp_path):
    torch.manual_seed(0)
    x = (np.random.default_rng(0).random((12, 3, 6)) < 0.4).astype(float)
    pairs = export_proven(InPlace(write), x, 1e-3, tmp_path / "net.nir").pairs
    assert [pair.verdict for pair in pairs] == ["equal"] * 3


def test_a_neuron_called_twice_is_refused_where_one_call_is_not_used():
    def twice(net, y, x):
        net.lif(y)
        return y / 2

    with pytest.raises(UnsupportedError, match="'lif' is called more than once in a step"):
        to_graph(InPlace(twice), (6,), 1e-3)
