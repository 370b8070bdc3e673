"""What is said of a forward that is not the same in every step: the operator that differs, where it stands, and how."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.verify.export_proof import export_proven

snn = pytest.importorskip("snntorch")


class Net(nn.Module):
    """A loop over four steps; `kind` says what is not the same in them."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.fc, self.lif, self.out = nn.Linear(6, 5), snn.Leaky(beta=0.9), snn.Leaky(beta=0.8)
        self.fc2 = nn.Linear(5, 3)
        self.norms = nn.ModuleList(nn.BatchNorm1d(5) for _ in range(4))
        for number, norm in enumerate(self.norms):
            norm.weight.data += number

    def current(self, x, t):
        x = self.fc(x)
        if self.kind == "norm":
            return self.norms[t](x)  # a norm of its own for each step
        if self.kind == "scale":
            return x * 0.5 ** (t + 1)  # a factor that decays
        if self.kind == "bias":
            return x + torch.full((5,), 0.1 * t)  # a bias that grows
        return x

    def forward(self, x):
        mem, mem2, sent = self.lif.init_leaky(), self.out.init_leaky(), []
        for t in range(4):
            spikes, mem = self.lif(self.current(x, t), mem)
            spikes = spikes.roll(t, -1) if self.kind == "order" else spikes  # other synapses
            spikes, mem2 = self.out(self.fc2(spikes), mem2)
            sent.append(spikes)
        return torch.stack(sent)


@pytest.mark.parametrize(
    ("kind", "layer", "operator", "line"),
    [
        ("norm", "lif", "aten.batch_norm", "a norm of its own"),
        ("scale", "lif", "aten.mul", "a factor that decays"),
        ("bias", "lif", "aten.add", "a bias that grows"),
    ],
)
def test_weights_that_change_are_named_where_they_are_used(kind, layer, operator, line, tmp_path):
    number = next(i for i, text in enumerate(Path(__file__).read_text().splitlines(), 1) if line in text)
    with pytest.raises(UnsupportedError) as caught:
        export_proven(Net(kind), np.ones((2, 6), np.float32), None, tmp_path / "x.nir", time_axis="none")
    here = f"test_unsteady_messages.py:{number}"
    assert caught.value.what.startswith(f"{here}: time-dependent forward: the neuron {layer!r}")
    assert caught.value.found == f"{operator} ({here}) with other weights or numbers"
    assert not (tmp_path / "x.nir").exists()


def test_a_layer_in_front_is_not_blamed(tmp_path):
    """Spikes that arrive elsewhere in each step: the innermost pair that differs, not the linear layer behind it."""
    with pytest.raises(UnsupportedError, match=re.escape("time-dependent forward: the neuron 'out'")) as caught:
        export_proven(Net("order"), np.ones((2, 6), np.float32), None, tmp_path / "x.nir", time_axis="none")
    assert "aten.linear" not in str(caught.value.found)
