"""Whatever lies between two neurons and is a fixed linear map: exact, in the smallest form that NIR has for it."""

from __future__ import annotations

import nir
import numpy as np
import pytest
import snntorch as snn
import torch
import torch.nn.functional as F
from torch import nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.exporters.ann import torch_ann
from neurodeploy.exporters.ann.ann_graph import Conv, Relu, predict
from neurodeploy.exporters.export import to_graph
from neurodeploy.exporters.torch_step import whole
from neurodeploy.lowering.lower import lower
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.conventions import resolve
from neurodeploy.verify.export_proof import export_proven
from tests.linear_checks import check_convert, check_export
from tests.linear_maps import Op, case_of


def lif():
    return snn.Leaky(beta=0.9, threshold=0.3, init_hidden=True)


def between(*layers):
    torch.manual_seed(0)
    return nn.Sequential(lif(), *layers, lif()).eval()


def made(graph):
    """Class and weights' shape of every node between the neurons."""
    kept = (nir.LIF, nir.Input, nir.Output)
    return [
        (type(n).__name__, *(n.weight.shape if hasattr(n, "weight") else ()))
        for n in graph.nodes.values() if not isinstance(n, kept)
    ]  # fmt: skip


@pytest.mark.parametrize("seed", [2, 9, 16, 33, 40, 85, 130])
def test_random_maps_are_exported_exactly(seed):
    assert check_export(case_of(seed), seed) == "equal"


@pytest.mark.parametrize("seed", [6, 15, 24, 115, 130])
def test_random_maps_are_converted_exactly(seed):
    assert check_convert(case_of(seed), seed) == "equal"


COMPACT = {
    "a shuffle of channels": ((8, 6, 6), [nn.ChannelShuffle(4)], [("Conv2d", 8, 8, 1, 1)]),
    "a crop": ((3, 9, 8), [Op(lambda x: x[:, :, 1:-2, 3:])], [("Conv2d", 3, 1, 4, 1), ("Conv2d", 3, 1, 1, 4)]),
    "padding": ((2, 5, 5), [nn.ZeroPad2d((1, 2, 0, 1))], [("Conv2d", 2, 1, 2, 2)]),
    "every third column": ((2, 5, 10), [Op(lambda x: x[..., ::3])], [("Conv2d", 2, 1, 1, 1)]),
    "differences in time of a channel": ((4, 9), [Op(lambda x: x.diff(dim=2))], [("Conv1d", 4, 1, 2)]),
    "a mean of channels": ((6, 4, 4), [Op(lambda x: x.mean(1, keepdim=True))], [("Conv2d", 1, 6, 1, 1)]),
    "a mean of the image": ((6, 4, 4), [Op(lambda x: x.mean((2, 3)))], [("Conv2d", 6, 1, 4, 4), ("Flatten",)]),
    "a transposed convolution of stride 1": ((2, 5, 5), [nn.ConvTranspose2d(2, 3, 3)], [("Conv2d", 3, 2, 3, 3)]),
    "a constant for each channel": (
        (3, 4, 4), [Op(lambda x, b: x + b, np.ones((3, 1, 1)))], [("Conv2d", 3, 1, 1, 1)],
    ),
    "a factor for each value": ((3, 4), [Op(lambda x, g: x.roll(0, 1) * g, np.arange(1.0, 13).reshape(3, 4))],
                                [("Scale",)]),
    "there and back": ((3, 4), [Op(lambda x: x.roll(1, 2).roll(-1, 2))], []),
    "a permutation": ((3, 4), [Op(lambda x: x.mT)], [("Flatten",), ("Linear", 12, 12)]),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPACT)
def test_the_smallest_form(name, tmp_path):
    shape, layers, expected = COMPACT[name]
    module = between(*layers)
    assert made(to_graph(module, shape)) == expected
    sample = (np.random.default_rng(0).random((8, 2, *shape)) < 0.5).astype(np.uint8)
    for pair in export_proven(module, sample, None, tmp_path / "a.nir", time_axis="step").pairs:
        assert pair.verdict == "equal"


@pytest.mark.parametrize("layer", [nn.AdaptiveAvgPool2d(5), nn.Upsample(scale_factor=2), nn.ReflectionPad2d(2)])
def test_large_maps_of_channels_are_no_matrix(layer, tmp_path, monkeypatch):
    monkeypatch.setattr(whole, "SMALL", 100)
    module = between(layer)
    x = (np.random.default_rng(0).random((3, 2, 3, 8, 8)) < 0.4).astype(np.uint8)
    kinds = {kind for kind, *_ in made(to_graph(module, (3, 8, 8)))}
    assert kinds == {"Conv2d", "Flatten"}
    for pair in export_proven(module, x, None, tmp_path / "a.nir", time_axis="step").pairs:
        assert pair.verdict == "equal"
    network = lower(nir_file.read(tmp_path / "a.nir"), resolve(nir_file.read(tmp_path / "a.nir")))
    last = network.projections[-1].connectivity
    with torch.no_grad():
        units = layer(torch.eye(192).reshape(192, 3, 8, 8)).reshape(192, -1)
    assert last.stored_weights() == int((units != 0).sum())


def test_zeros_of_a_matrix_are_no_synapses(tmp_path):
    x = np.ones((6, 2, 4, 5), np.uint8)
    export_proven(between(Op(lambda x: x.mT)), x, None, tmp_path / "a.nir", time_axis="step")
    network = lower(nir_file.read(tmp_path / "a.nir"), resolve(nir_file.read(tmp_path / "a.nir")))
    assert [p.connectivity.stored_weights() for p in network.projections] == [20, 20]


def test_too_large_names_the_line_and_the_sizes():
    with pytest.raises(UnsupportedError, match=r"(?s)too large.*\[16, 32, 32\] to \[32, 32, 16\]: 16,384 x 16,384"):
        to_graph(between(Op(lambda x: x.permute(0, 2, 3, 1))), (16, 32, 32))


class Divided(nn.Module):
    """``divisor_override``, which torch leaves out of ONNX files."""

    def __init__(self):
        super().__init__()
        self.c, self.p = nn.Conv2d(1, 2, 3), nn.AvgPool2d(2, divisor_override=3)

    def forward(self, x):
        return self.p(torch.relu(self.c(x))).flatten(1)


def test_what_torch_leaves_out_of_onnx_is_read_without_it():
    torch.manual_seed(0)
    module = Divided().eval()
    ann = torch_ann.from_torch(module, (1, 6, 6))
    x = torch.randn(3, 1, 6, 6)
    np.testing.assert_allclose(predict(ann, x.numpy()), module(x).detach().numpy(), rtol=1e-4, atol=1e-6)
    assert [type(layer.operation) for layer in ann.layers[:2]] == [Conv, Relu]


def test_parts_of_a_split(tmp_path):
    def code(x):
        a, b = x.chunk(2, 1)
        return torch.cat([b, a - b], 1)

    x = (np.random.default_rng(0).random((8, 2, 4, 5)) < 0.5).astype(np.uint8)
    module = between(Op(code), nn.Conv1d(4, 2, 3))
    for pair in export_proven(module, x, None, tmp_path / "a.nir", time_axis="step").pairs:
        assert pair.verdict == "equal"


def test_what_is_no_map_between_relus_is_refused():
    class Gated(nn.Module):
        def forward(self, x):
            return F.fold(F.unfold(x, 2), (6, 6), 2) * x.sigmoid()

    with pytest.raises(UnsupportedError):
        torch_ann.from_torch(Gated(), (1, 6, 6))
