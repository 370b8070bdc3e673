"""Layers that NIR has no node for, and one that few have: exact from torch through NIR and the network to hwsim."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from neurodeploy.backends.reference.run import run_network
from neurodeploy.compiler import CompileOptions, compile
from neurodeploy.errors import UnsupportedError
from neurodeploy.exporters.export import to_graph
from neurodeploy.hwsim import engine
from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.network.connectivity import Conv2d, Sparse
from neurodeploy.verify.export_proof import export_proven

snn = pytest.importorskip("snntorch")


def leaky() -> nn.Module:
    return snn.Leaky(beta=0.8, threshold=0.6, reset_mechanism="zero", init_hidden=False)


class Net(nn.Module):
    """Layers, each with a neuron behind it; ``joined`` of the first two along the channels."""

    def __init__(self, *layers: nn.Module, join: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        for layer in layers:
            for module in layer.modules():
                if hasattr(module, "reset_parameters"):
                    module.reset_parameters()
        self.layers = nn.ModuleList(layers)
        self.neurons = nn.ModuleList(leaky() for _ in layers)
        self.join = join

    def forward(self, x, state=None):
        state = state or [None] * len(self.neurons)
        state = [n.reset_mem() if s is None else s for n, s in zip(self.neurons, state, strict=True)]
        rest = list(zip(self.layers, self.neurons, range(len(state)), strict=True))
        if self.join:
            parts = []
            for layer, neuron, index in rest[:2]:
                spikes, state[index] = neuron(layer(x), state[index])
                parts.append(spikes)
            x, rest = torch.cat(parts, dim=1), rest[2:]
        for layer, neuron, index in rest:
            x, state[index] = neuron(layer(x), state[index])
        return x, state


def amplified(layer: nn.Module, gain: float = 3.0) -> nn.Module:
    return nn.Sequential(layer, _Gain(gain))


class _Gain(nn.Module):
    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, x):
        return self.gain * x


def conv1d_net() -> nn.Module:
    return Net(
        nn.Conv1d(2, 4, 3, padding=1), nn.Conv1d(4, 8, 3, stride=2, groups=4, dilation=2),
        nn.Sequential(nn.Conv1d(8, 8, 1, groups=8), nn.BatchNorm1d(8)), nn.Sequential(nn.Flatten(), nn.Linear(40, 5)),
    ).eval()  # fmt: skip


def joined_images() -> nn.Module:
    return Net(
        nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(2, 2, 5, padding=2), nn.Conv2d(5, 4, 3, stride=2), join=True
    ).eval()


def joined_features() -> nn.Module:
    return Net(nn.Linear(6, 4), nn.Linear(6, 7), nn.Linear(11, 3), join=True).eval()


def transposed() -> nn.Module:
    return Net(
        nn.Conv2d(2, 3, 3, stride=2),
        nn.Sequential(nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1), nn.BatchNorm2d(4)),
        nn.Conv2d(4, 2, 3),
    ).eval()


def transposed1d() -> nn.Module:
    return Net(nn.ConvTranspose1d(2, 3, 4, stride=2, groups=1), nn.Conv1d(3, 2, 3)).eval()


def upsampled() -> nn.Module:
    return Net(nn.Conv2d(2, 3, 3), nn.Sequential(nn.Upsample(scale_factor=2), _Gain(0.7)), nn.Conv2d(3, 2, 3)).eval()


CASES = {
    conv1d_net: (2, 14), joined_images: (2, 9, 9), joined_features: (6,), transposed: (2, 9, 9),
    transposed1d: (2, 7), upsampled: (2, 6, 6),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_from_torch_to_the_chip(case, tmp_path: Path) -> None:
    module, shape = case(), CASES[case]
    for parameter in module.parameters():
        parameter.data *= 2.0
    for norm in module.modules():
        if isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)):
            norm.running_mean.uniform_(-0.2, 0.2)
            norm.running_var.uniform_(0.5, 1.5)
    x = (np.random.default_rng(1).random((40, 3, *shape)) < 0.4).astype(np.uint8)
    path = tmp_path / "net.nir"
    returned, pair, *_ = export_proven(module, x, 1e-3, path).pairs
    assert returned.equal
    assert pair.equal
    assert pair.spikes[0] > 100, "torch and the NIR graph spike, and alike"
    floats = compile(path, None, CompileOptions(integer=False))
    integers = compile(path, load_architecture("loihi1"), CompileOptions(calibration={"": x}))
    for program in (floats.program, integers.program):
        a, b = run_network(program.network, {"": x}), engine.run(program, {"": x})
        for population in program.network.populations:
            if population.spiking:
                np.testing.assert_array_equal(
                    a.spikes[population.name].dense(), b.spikes[population.name].dense(), err_msg=population.name
                )
    a, b = run_network(floats.float_network, {"": x}), run_network(floats.program.network, {"": x})
    for name in floats.float_network.outputs:
        np.testing.assert_array_equal(a.spikes[name].dense(), b.spikes[name].dense())


def test_a_transposed_convolution_is_stored_as_a_list(tmp_path: Path) -> None:
    module = transposed()
    x = (np.random.default_rng(1).random((4, 1, 2, 9, 9)) < 0.4).astype(np.uint8)
    export_proven(module, x, 1e-3, tmp_path / "net.nir")
    compiled = compile(tmp_path / "net.nir", None, CompileOptions(integer=False))
    kinds = [type(p.connectivity) for p in compiled.program.network.projections]
    assert kinds == [Conv2d, Sparse, Conv2d]
    shapes = [p.shape for p in compiled.program.network.populations]
    assert shapes == [(2, 9, 9), (3, 4, 4), (4, 8, 8), (2, 6, 6)], "the image is there again behind the matrix"


def test_a_join_stays_a_convolution_and_says_so(tmp_path: Path) -> None:
    x = (np.random.default_rng(1).random((4, 1, 2, 9, 9)) < 0.4).astype(np.uint8)
    export_proven(joined_images(), x, 1e-3, tmp_path / "net.nir")
    network = compile(tmp_path / "net.nir", None, CompileOptions(integer=False)).float_network
    assert all(isinstance(p.connectivity, Conv2d) for p in network.projections)
    reasons = [text for topic, text in network.notes.items() if topic.startswith("fold")]
    assert len(reasons) == 2
    assert all("became a convolution" in text for text in reasons)


class AlongHeight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.neuron = nn.Conv2d(2, 3, 3), leaky()
        self.conv.weight.data *= 3

    def forward(self, x, state=None):
        spikes, state = self.neuron(self.conv(torch.cat([x, x], dim=2)), state)
        return spikes, state


def test_a_join_along_the_height_is_a_matrix(tmp_path: Path) -> None:
    x = (np.random.default_rng(1).random((6, 2, 2, 9, 9)) < 0.4).astype(np.uint8)
    assert to_graph(AlongHeight(), (2, 9, 9)).nodes["neuron"].v_threshold.shape == (3, 16, 7)
    made = export_proven(AlongHeight(), x, 1e-3, tmp_path / "net.nir")
    assert [pair.verdict for pair in made.pairs] == ["equal"] * 3
    assert made.pairs[1].spikes[0] > 100
    assert made.captured.graph.nodes["neuron"].v_threshold.shape == (3, 16, 7)


def test_a_matrix_that_is_too_large_is_refused(tmp_path: Path) -> None:
    big = np.zeros((2, 1, 2, 60, 60), np.uint8)
    with pytest.raises(UnsupportedError, match="is too large: NIR can only say it as a matrix"):
        export_proven(Net(nn.ConvTranspose2d(2, 8, 3, 2)), big, 1e-3, tmp_path / "net.nir", host="none")
    assert list(tmp_path.iterdir()) == []
