"""The neurons of our own models, and the systems built of them, exported as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import neurodeploy as nd
from neurodeploy.errors import UnsupportedError
from neurodeploy.models.neurons import Lif, Membrane, Neuron, Threshold
from neurodeploy.models.orrc.network import OrrcResNet
from neurodeploy.models.orrc.network import Shape as OrrcShape
from neurodeploy.models.trevsnn.network import Shape
from neurodeploy.nir_graph import nir_file

from ..models.test_orrc import lively as lively_orrc
from ..models.test_trevsnn import lively as lively_trevsnn


class Over(nn.Module):
    """Images, repeated for six steps, through two layers of neurons."""

    def __init__(self, neurons: Neuron) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.neurons = nn.Linear(8, 12), neurons
        self.second, self.last = nn.Linear(12, 5), Lif()
        for layer in (self.first, self.second):
            layer.weight.data *= 4

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.unsqueeze(0).expand(6, *x.shape)
        return self.last(self.second(self.neurons(self.first(x)))).mean(0)


NEURONS = {
    "lif": Lif(),
    "lif, strict, tau 3": Lif(3.0, 0.7, strict=True),
    "lif, input as it is": Lif(decay_input=False, tau=1.5),
    "threshold": Threshold(0.4, timed=True),
    "membrane": Membrane(timed=True),
}


@pytest.mark.parametrize("neurons", NEURONS.values(), ids=NEURONS)
def test_a_neuron_is_exported_exactly(neurons: Neuron) -> None:
    x = np.random.default_rng(0).random((4, 8)).astype(np.float32)
    model = nd.export(Over(neurons).eval(), x)
    assert model.exported is not None
    assert all(pair.verdict == "equal" for pair in model.exported.pairs)
    assert model.exported.pairs[1].spikes[1] > 20
    program = model.compile(None, nd.CompileOptions(passes="prune"))
    with torch.no_grad():
        expected = Over(neurons).eval()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(program.run(x).returned[0], expected, atol=1e-6)


def test_a_neuron_of_another_class_is_refused() -> None:
    class Mine(Lif):
        pass

    with pytest.raises(UnsupportedError, match="Mine is no neuron of neurodeploy"):
        nd.export(Over(Mine()).eval(), np.ones((2, 8), np.float32))
    with pytest.raises(UnsupportedError, match="it goes on from the call before"):
        nd.export(Over(Lif(keeps=True)).eval(), np.ones((2, 8), np.float32))


def test_reversible_columns_are_exported_exactly_and_run_on_the_chip(tmp_path: Path) -> None:
    """States cross from column to column as graded messages, all else as spikes; pixels are whole numbers."""
    net = lively_trevsnn(Shape((3, 4, 5, 6), 2, 3, 7, ((3, 1),), 1, largest=16), dtype=torch.float32).eval()
    x = np.random.default_rng(0).integers(0, 17, (4, 1, 8, 8)).astype(np.float32)
    model = nd.export(net, x, tmp_path / "net.nir")
    assert model.exported is not None and all(pair.verdict == "equal" for pair in model.exported.pairs)
    assert nir_file.read(tmp_path / "net.nir").metadata["framework_version"] == nd.__version__
    program = model.compile("loihi2", calibration=x)
    graded = [p.name for p in program.network.populations if not p.external and p.neuron.graded("loihi")]
    assert [name for name in graded if "states" in name] == [
        f"columns.{t}.states.{level}" for t in (0, 1) for level in range(4)
    ]
    assert len(graded) == 9  # and the read-out
    verified = program.verify(x, backends=["reference", "hwsim"])
    assert verified.passed and verified.pairs[-1].verdict == "equal"


@pytest.mark.parametrize("attention", ["none", "temporal", "spatial"])
def test_or_residuals_are_exported_exactly(attention: str) -> None:
    shape = OrrcShape(widths=(3, 5), steps=3, inputs=1, units=2, largest=16, attention=attention, gate_bias=2.5)
    net: OrrcResNet = lively_orrc(shape)
    x = np.random.default_rng(1).integers(0, 17, (3, 1, 8, 8)).astype(np.float32)
    model = nd.export(net, x, host="work")
    assert model.exported is not None and all(pair.verdict == "equal" for pair in model.exported.pairs)
    stages = len(model.exported.captured.hosted)
    assert stages == 0 if attention == "none" else stages >= 4  # MA of the second unit of each pair, and IA
