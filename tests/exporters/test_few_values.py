"""Functions of spikes that are a factor, and comparisons and masks of what forward returns."""

from __future__ import annotations

import numpy as np
import pytest
import snntorch as snn
import torch
import torch.nn.functional as F
from torch import nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.exporters.torch_step.few_values import Range
from neurodeploy.verify.export_proof import export_proven

X = (np.random.default_rng(1).random((7, 3, 8)) < 0.5).astype(np.float32)


def dense(inputs, outputs):
    made = nn.Linear(inputs, outputs)
    with torch.no_grad():
        made.weight.mul_(4)
    return made


class Between(nn.Module):
    """A function between two layers, of one step."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.lif = dense(8, 10), snn.Leaky(0.8, threshold=0.4, init_hidden=True)
        self.second, self.last = dense(10, 5), snn.Leaky(0.9, init_hidden=True)
        self.function = function

    def forward(self, x):
        return self.last(self.second(self.function(self.lif(self.first(x)))))


class Behind(Between):
    """A function of all spikes and potentials of the last layer."""

    def __init__(self, function):
        super().__init__(function)
        self.lif, self.last = snn.Leaky(0.8, threshold=0.4), snn.Leaky(0.9)

    def forward(self, x):
        a, b, sent, held = self.lif.reset_mem(), self.last.reset_mem(), [], []
        for step in x:
            spikes, a = self.lif(self.first(step), a)
            spikes, b = self.last(self.second(spikes), b)
            sent.append(spikes)
            held.append(b)
        return self.function(torch.stack(sent), torch.stack(held))


FACTORS = {
    "relu": F.relu, "clamp": lambda z: z.clamp(0, 1), "bool": lambda z: z.bool().float(), "square": lambda z: z * z,
    "greater": lambda z: (z > 0.5).float() * 2, "of a sum": lambda z: F.hardtanh(z + z.roll(1, 1), 0, 2),
    "where": lambda z: torch.where(z > 0, z, torch.zeros_like(z)), "of a negative": lambda z: (-z).abs(),
}  # fmt: skip


@pytest.mark.parametrize("name", FACTORS)
def test_a_function_of_spikes_is_a_factor(name, tmp_path):
    made = export_proven(Between(FACTORS[name]).eval(), X, None, tmp_path / "net.nir")
    assert all(pair.verdict == "equal" for pair in made.pairs)


NOT_FACTORS = {
    "a sum": lambda z: (z + z.roll(1, 1)).clamp(0, 1),
    "exp": torch.exp, "less": lambda z: z.lt(0.5).float(),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_FACTORS)
def test_other_functions_of_spikes_are_populations(name, tmp_path):
    made = export_proven(Between(NOT_FACTORS[name]).eval(), X, None, tmp_path / "net.nir")
    assert all(pair.verdict == "equal" for pair in made.pairs)


MIXED = torch.linspace(-1, 1, 100).reshape(10, 10).roll(3, 0)


@pytest.mark.parametrize("function", [F.relu, lambda z: z.clamp(0, 1), torch.exp, lambda z: z.lt(0.5).float()])
def test_functions_of_currents_are_the_hosts(function, tmp_path):
    net = Between(lambda z: function(z @ MIXED)).eval()
    with pytest.raises(UnsupportedError, match="cannot be expressed in NIR"):
        export_proven(net, X, None, tmp_path / "net.nir", host="none")
    made = export_proven(net, X, None, tmp_path / "net.nir")
    assert all(pair.verdict == "equal" for pair in made.pairs)
    assert len(made.captured.hosted) == 1


RULES = {
    "compared": lambda s, v: v > 0.5,
    "two": lambda s, v: v.mean(0) >= s.sum(0),
    "where": lambda s, v: torch.where(s > 0.5, v, torch.zeros_like(v)),
    "masked": lambda s, v: v.masked_fill(s < 0.5, -3.0),
    "and": lambda s, v: (v > 0) & ~(s > 0),
    "count": lambda s, v: (v > 0).sum(0),
    "whole": lambda s, v: s.sum(0).int(),
}


@pytest.mark.parametrize("name", RULES)
def test_comparisons_and_masks_are_rules(name, tmp_path):
    made = export_proven(Behind(RULES[name]).eval(), X, None, tmp_path / "net.nir", time_axis=0)
    assert all(pair.verdict == "equal" for pair in made.pairs)
    assert not made.captured.left_out


def test_an_infinite_mask_is_the_hosts(tmp_path):
    net = Behind(lambda s, v: v.sum(0).masked_fill(s.sum(0) < 1, float("-inf"))).eval()
    made = export_proven(net, X, None, tmp_path / "net.nir", time_axis=0)
    assert made.pairs[0].equal
    assert "behind the last step" in made.captured.hosted[0]
    with pytest.raises(UnsupportedError, match="kept as a rule") as refused:
        export_proven(net, X, None, tmp_path / "net.nir", time_axis=0, host="none")
    assert "infinite number" in str(refused.value)


def test_ranges():
    assert Range(0, 1, True).times(-2) == Range(-2, 0, True)
    assert Range(0, 1, True).times(0.5) == Range(0, 0.5, False)
    assert Range(0, float("inf"), True).times(0) == Range(0, 0, True)
    assert Range(1, 2, True) + Range(0, 1) == Range(1, 3)
    assert Range(1, 2, True).or_nothing() == Range(0, 2, True)
