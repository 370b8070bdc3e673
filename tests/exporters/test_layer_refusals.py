"""What the layers around the neurons cannot be, whatever the framework: each refusal by its text."""

from __future__ import annotations

import norse.torch as snn
import numpy as np
import pytest
import torch
from torch import nn

from neurodeploy.errors import InvalidInputError, UnsupportedError
from neurodeploy.exporters import framework
from neurodeploy.exporters.ann import torch_ann
from neurodeploy.exporters.export import to_graph
from neurodeploy.exporters.trace import run_torch
from neurodeploy.nir_graph.metadata import section_of

IMAGE = (2, 6, 6)


def lif(**parameters):
    given = {key: torch.tensor(value) for key, value in parameters.items()}
    return snn.LIFBoxCell(snn.LIFBoxParameters(**given))


class Net(nn.Module):
    """``code`` in front of a neuron."""

    def __init__(self, code, neuron=None, **parts):
        super().__init__()
        self.code, self.lif = code, neuron or lif()
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x, state=None):
        return self.lif(self.code(self, x), state)


def spoilt(layer):
    with torch.no_grad():
        layer.weight[0, 0] = float("nan")
    return layer


def recurrent():
    cell = snn.LIFRecurrentCell(6, 6)
    with torch.no_grad():
        cell.recurrent_weights[0, 1] = float("inf")
    return cell


class Uncopyable(nn.Module):
    def __init__(self):
        super().__init__()
        self.lif, self.lock = lif(), __import__("threading").Lock()

    def forward(self, x, state=None):
        return self.lif(x, state)


CASES = {
    "nan": (lambda m, x: m.bad(x), (6,), "weights that are not finite\n.*check the training"),
    "batch lost": (lambda m, x: m.a(x.sum(0)).expand(2, 6), (6,), "aten.sum cannot be expressed in NIR"),
    "samples mixed": (lambda m, x: x.flip(0), (6,), "aten.flip cannot be .*\n.*takes the samples of a batch together"),
    "samples averaged": (lambda m, x: x - x.mean(0), (6,), "aten.mean cannot be .*\n.*samples of a batch together"),
    "one sample doubled": (
        lambda m, x: x * torch.tensor([[1.0], [2.0]]), (6,), "not one finite factor for each value",
    ),
    "two layers": (lambda m, x: torch.einsum("bi,bi->bi", x, m.a(x)), (6,), "aten.einsum .*\n.*it is not linear in"),
    "square": (lambda m, x: (x.roll(1, 1) ** 2).flip(1), (6,), "aten.roll .*\n.*it is not linear in what arrives"),
    "half a square": (lambda m, x: m.a(x) + x.flip(1) * x.flip(1), (6,), "aten.flip .*\n.*it is not linear in what"),
    "absolute": (lambda m, x: m.a(x).abs().roll(1, 1), (6,), "aten.abs .*\n.*it is not linear in what arrives"),
    "reshape of a batch": (lambda m, x: x.view(-1, 12), IMAGE, "a reshape that is not a flattening of a sample"),
    "power of a spectrum": (lambda m, x: torch.fft.fft(x).abs(), (6,), "aten.fft_fft cannot .*\n.*it is not linear"),
    "concatenation": (lambda m, x: torch.cat((x, x), 0), (6,), "a concatenation that is not along the channels"),
    "stack": (lambda m, x: torch.stack((x, x), 0)[0:1, 0], (6,), "aten.stack cannot be expressed in NIR"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_layers(name):
    code, shape, message = CASES[name]
    torch.manual_seed(0)
    module = Net(
        code, a=nn.Linear(6, 6), b=nn.Linear(6, 1), bad=spoilt(nn.Linear(6, 6)), norm1=nn.BatchNorm1d(6)
    ).eval()
    with pytest.raises((UnsupportedError, InvalidInputError), match=message):
        to_graph(module, shape)


def test_a_step_that_no_neuron_knows_is_chosen_and_said():
    graph = to_graph(Net(lambda m, x: x, snn.IAFCell()), (4,))
    assert section_of(graph)["dt"] == 1e-3
    assert "chosen by neurodeploy" in section_of(graph)["dt_origin"]


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Net(lambda m, x: x, snn.LIFCell(snn.LIFParameters(tau_mem_inv=torch.tensor(-1.0)))), "is not positive"),
        (
            Net(lambda m, x: x, snn.LIFBoxCell(snn.LIFBoxParameters(reset_method=lambda *a: a[0]))),
            "reset method of its",
        ),
        (Net(lambda m, x: x, recurrent()), "recurrent_weights of a recurrent cell are not finite"),
        (Uncopyable(), "the module cannot be copied"),
    ],
)
def test_neurons(module, message):
    with pytest.raises((UnsupportedError, InvalidInputError), match=message):
        to_graph(module, (6,))


def test_another_step_function():
    cell = snn.LIFCell()
    cell.activation = lambda *a: a
    with pytest.raises(UnsupportedError, match="another step function than LIFCell's own"):
        to_graph(Net(lambda m, x: x, cell), (6,))


def test_running_torch_on_another_shape():
    with pytest.raises(InvalidInputError, match=r"the module does not take this sample\n.*a step of shape \[3, 5\]"):
        run_torch(Net(lambda m, x: m.a(x), a=nn.Linear(6, 6)), np.zeros((4, 3, 5)))


def test_an_entry_point_that_is_no_framework(monkeypatch):
    class Point:
        name, load = "strange", staticmethod(lambda: object())

    monkeypatch.setattr(framework, "entry_points", lambda group: [Point])
    with pytest.raises(InvalidInputError, match="the exporter 'strange' is not a Framework"):
        framework.get("strange")


def test_anns_that_torch_cannot_hand_over():
    with pytest.raises(InvalidInputError, match=r"the module does not take such a sample\n.*\[1, 5\]"):
        torch_ann.from_torch(nn.Sequential(nn.Linear(6, 2)), (5,))

    class Loop(nn.Module):
        def forward(self, x):
            return torch.linalg.eigvals(x @ x.T).real

    with pytest.raises(UnsupportedError, match="torch cannot export the module to ONNX"):
        torch_ann.from_torch(Loop(), (6,))
