"""A whole sequence gives the graph of one step, bit for bit: the same nodes, edges, arrays and types."""

from __future__ import annotations

from importlib import import_module

import nir
import norse.torch as norse
import numpy as np
import pytest
import sinabs.layers as sl
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from neurodeploy.exporters.export import to_graph, ways
from neurodeploy.exporters.usage import Usage
from tests.exporters.matrix.cells import KINDS, conv, dense, trained

STEPS, BATCH = 3, 2


def arrays(node):
    """Every number and array of a node by name, but for its metadata and for shapes that NIR derives."""
    return {name: value for name, value in vars(node).items() if name not in ("metadata", "input_type", "output_type")}


def assert_same(found: nir.NIRGraph, expected: nir.NIRGraph) -> None:
    """Nodes, edges, arrays, types and the rules of the neurons, all of them and nothing else."""
    assert list(found.nodes) == list(expected.nodes)
    assert sorted(found.edges) == sorted(expected.edges)
    for name, node in expected.nodes.items():
        other = found.nodes[name]
        assert type(other) is type(node), name
        assert other.metadata == node.metadata or repr(other.metadata) == repr(node.metadata), name
        assert arrays(other).keys() == arrays(node).keys()
        for key, value in arrays(node).items():
            a, b = np.asarray(arrays(other)[key]), np.asarray(value)
            assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes()), f"{name}.{key}"
        for key in ("input_type", "output_type"):
            assert repr(getattr(other, key)) == repr(getattr(node, key)), f"{name}.{key}"
    assert found.metadata == expected.metadata


def first_way(module, shape, axis, steps=3, samples=2):
    """The graph of the likeliest way to say a module that takes such a sample."""
    drawn = (np.random.default_rng(0).random((steps, samples, *shape)) < 0.4).astype(np.float32)
    return next(ways(module, Usage(axis, steps, samples).as_given(drawn), axis)).graph


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["norse", "snntorch", "spikingjelly", "sinabs"])
def test_of_every_framework(name, kind):
    case = import_module(f"tests.exporters.matrix.{name}_networks").CASES[kind]
    if isinstance(case, str):
        pytest.skip(case)
    torch.manual_seed(0)
    module = case.build().eval()
    axis = AXES.get((name, case.play.__name__), "step")
    assert_same(first_way(module, case.shape, axis, samples=4), to_graph(module, case.shape))


AXES = {("spikingjelly", "play_sequence"): 0, ("sinabs", "play"): 1, ("sinabs", "play_squeezed"): "flat"}
"""Framework and how its user runs a module -> where time lies in what the module takes."""


class Residual(nn.Module):
    """A skip connection, in any step mode."""

    def __init__(self):
        super().__init__()
        self.conv1, self.lif1 = layer.Conv2d(2, 4, 3, padding=1), neuron.LIFNode(tau=2.0)
        self.conv2, self.lif2 = layer.Conv2d(4, 4, 3, padding=1, bias=False), neuron.ParametricLIFNode()
        self.norm, self.fc, self.lif3 = trained(layer.BatchNorm2d(4)), layer.Linear(64, 3), neuron.IFNode()
        self.flatten = layer.Flatten()

    def forward(self, x):
        a = self.lif1(self.conv1(x))
        return self.lif3(self.fc(self.flatten(a + self.lif2(self.norm(self.conv2(a))))))


def deep():
    return nn.Sequential(
        layer.Conv2d(2, 3, 3, stride=2, padding=1), trained(layer.BatchNorm2d(3)), neuron.IFNode(v_reset=None),
        layer.Dropout(0.3), layer.AvgPool2d(2), layer.Flatten(), layer.Linear(3, 6, bias=False), neuron.LIFNode(3.0),
        layer.Linear(6, 4), neuron.LIFNode(tau=2.0, decay_input=False),
    )  # fmt: skip


def upsampled():
    return nn.Sequential(
        layer.Upsample(scale_factor=2), layer.Conv2d(2, 3, 3, groups=1), neuron.LIFNode(),
        layer.ConvTranspose2d(3, 2, 2, stride=2), neuron.IFNode(),
    )  # fmt: skip


@pytest.mark.parametrize("make", [Residual, deep, upsampled])
def test_step_modes(make):
    """SpikingJelly: a multi-step module has the graph of the same module in single-step mode."""
    torch.manual_seed(0)
    module = make().eval()
    one = to_graph(module, (2, 4, 4))
    assert_same(first_way(module, (2, 4, 4), "step"), one)
    functional.set_step_mode(module, "m")
    assert_same(first_way(module, (2, 4, 4), 0), to_graph(module, (2, 4, 4)))
    assert_same(first_way(module, (2, 4, 4), 0), one)


def test_containers():
    torch.manual_seed(0)
    inner = layer.SeqToANNContainer(conv(2, 3), trained(nn.BatchNorm2d(3)))
    module = nn.Sequential(inner, neuron.LIFNode(), layer.Flatten(), layer.Linear(48, 3), neuron.IFNode()).eval()
    functional.set_step_mode(module, "m")
    assert_same(first_way(module, (2, 4, 4), 0), to_graph(module, (2, 4, 4)))


def test_batch_and_time_in_one_dimension():
    """sinabs: a squeezed module has the same nodes as the module of whole sequences."""
    torch.manual_seed(0)
    squeezed = nn.Sequential(
        conv(2, 3, bias=False), trained(nn.BatchNorm2d(3)), sl.IAFSqueeze(batch_size=2, min_v_mem=-1.0),
        sl.SumPool2d(2), nn.Flatten(), dense(12, 3), sl.LIFSqueeze(tau_mem=5.0, batch_size=2),
    ).eval()  # fmt: skip
    assert_same(first_way(squeezed, (2, 4, 4), "flat"), to_graph(squeezed, (2, 4, 4)))
    dense1, dense2 = dense(6, 5), dense(5, 3)
    whole = nn.Sequential(dense1, sl.LIF(tau_mem=5.0), dense2, sl.IAF())
    flat = nn.Sequential(dense1, sl.LIFSqueeze(tau_mem=5.0, num_timesteps=3), dense2, sl.IAFSqueeze(num_timesteps=3))
    assert_same(first_way(whole, (6,), 1), to_graph(whole, (6,)))
    assert_same(first_way(flat, (6,), "flat"), to_graph(whole, (6,)))


def test_norse_over_time():
    torch.manual_seed(0)
    module = norse.SequentialState(
        norse.Lift(nn.Conv2d(1, 3, 3)), norse.LIF(norse.LIFParameters(v_th=torch.tensor(0.5))),
        norse.Lift(nn.Flatten()), nn.Linear(12, 9), norse.IAF(), norse.LIFRecurrent(9, 7), nn.Linear(7, 4), norse.LI(),
    ).eval()  # fmt: skip
    assert_same(first_way(module, (1, 4, 4), 0), to_graph(module, (1, 4, 4)))


def test_norse_cells_and_modules_over_time_are_the_same():
    torch.manual_seed(0)
    dense1, dense2 = dense(6, 5), dense(5, 3)
    p = norse.LIFParameters(tau_mem_inv=torch.tensor(150.0), v_th=torch.linspace(0.3, 0.9, 5))
    cells = norse.SequentialState(dense1, norse.LIFCell(p), dense2, norse.LICell())
    over_time = norse.SequentialState(dense1, norse.LIF(p), dense2, norse.LI())
    assert_same(first_way(cells, (6,), "step"), to_graph(cells, (6,)))
    assert_same(first_way(over_time, (6,), 0), to_graph(cells, (6,)))
