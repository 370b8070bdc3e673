"""Neurons in plain torch that declare themselves: exported exactly, and a false declaration does not pass the proof."""

from __future__ import annotations

import nir
import numpy as np
import pytest
import torch
from torch import nn

from neurodeploy.errors import UnsupportedError, VerificationError
from neurodeploy.exporters.export import export
from neurodeploy.exporters.framework import Neuron
from neurodeploy.verify.export_proof import export_proven
from tests.exporters.euler import agrees_with_torch


def spikes(*shape, steps=100, p=0.3, seed=0):
    return (np.random.default_rng(seed).random((steps, 4, *shape)) < p).astype(np.uint8)


class Own(nn.Module):
    """v <- leak v + x, a spike at v >= threshold subtracts it; refractory for two steps."""

    def __init__(self, neurons, leak=0.75):
        super().__init__()
        self.leak = nn.Parameter(torch.full((neurons,), leak))
        self.threshold = torch.linspace(0.5, 1.5, neurons)
        self.neurodeploy_reset()

    def forward(self, x):
        v = (0.0 if self.v is None else self.v) * self.leak + x
        spikes = (v >= self.threshold).to(x.dtype)
        if self.wait is not None:
            held = self.wait > 0
            v, spikes = torch.where(held, self.v, v), torch.where(held, 0.0, spikes)
        else:
            held = torch.zeros_like(spikes, dtype=torch.bool)
        self.wait = torch.where(spikes > 0, 2.0, (0.0 if self.wait is None else self.wait) - held.to(x.dtype))
        self.v = v - spikes * self.threshold
        return spikes

    def neurodeploy_neuron(self, shape, dt):
        leak = self.leak.detach().double().numpy()
        zero = np.zeros(shape)
        tau = dt / (1 - leak)
        node = nir.LIF(tau, tau / dt, zero, self.threshold.double().numpy(), zero)
        return Neuron(node, "subtract", comparison=">=", refractory=np.full(shape, 2))

    def neurodeploy_potential(self):
        return self.v

    def neurodeploy_reset(self):
        self.v = self.wait = None


class Wrong(Own):
    def neurodeploy_neuron(self, shape, dt):
        made = super().neurodeploy_neuron(shape, dt)
        return Neuron(made.node, "hard", comparison=">=", refractory=made.refractory)


class Forgetful(Own):
    """c <- leak c + x, v <- v / 2 + c; a spike sets v and c to 0."""

    def forward(self, x):
        self.c = (0.0 if self.c is None else self.c) * self.leak + x
        v = (0.0 if self.v is None else self.v) * 0.5 + self.c
        fired = v > self.threshold
        self.v, self.c = torch.where(fired, 0.0, v), torch.where(fired, 0.0, self.c)
        return fired.to(x.dtype)

    def neurodeploy_neuron(self, shape, dt):
        leak = self.leak.detach().double().numpy()
        zero, two = np.zeros(shape), np.full(shape, 2.0)
        tau = dt / (1 - leak)
        node = nir.CubaLIF(tau, two * dt, two, zero, self.threshold.double().numpy(), zero, tau / dt)
        return Neuron(node, "hard", comparison=">", reset_current=self.declares)

    def neurodeploy_reset(self):
        self.v = self.c = None

    declares = True


class Remembering(Forgetful):
    declares = False


class Silent(Own):
    neurodeploy_potential = None


class Strange(Own):
    def neurodeploy_neuron(self, shape, dt):
        return "a neuron"


class Refusing(Own):
    def neurodeploy_neuron(self, shape, dt):
        raise UnsupportedError("a neuron of the fourth kind", hint="use another")


def net(kind):
    torch.manual_seed(0)
    first, second = nn.Linear(12, 16), nn.Linear(16, 8)
    with torch.no_grad():
        first.weight.mul_(4)
        second.weight.mul_(6)
    return nn.Sequential(first, kind(16), second, kind(8, 0.5))


def test_own_neurons_are_exported_exactly(tmp_path):
    module = net(Own)
    x = spikes(12)
    trace = agrees_with_torch(module, tmp_path / "m.nir", x)
    module.train()
    played = torch.stack([module(step) for step in torch.from_numpy(x).float()]).detach().numpy()
    np.testing.assert_array_equal(trace.outputs["3"], played)
    about = nir.read(tmp_path / "m.nir").metadata["neurodeploy"]
    assert (about["framework"], about["reset"]) == ("torch", "subtract")


def test_a_spike_that_resets_the_current(tmp_path):
    x = spikes(12)
    pairs = export_proven(net(Forgetful), x, None, tmp_path / "m.nir").pairs
    assert [pair.verdict for pair in pairs] == ["equal"] * 3
    about = nir.read(tmp_path / "m.nir").nodes["1"].metadata["neurodeploy"]
    assert bool(about["reset_current"]) is True
    with pytest.raises(VerificationError, match=r"other.nir is not written: NIR differs from torch"):
        export_proven(net(Remembering), x, None, tmp_path / "other.nir")


def test_a_false_declaration_does_not_pass(tmp_path):
    with pytest.raises(VerificationError, match=r"m.nir is not written: NIR differs from torch\n.*first at 1 \(1"):
        export_proven(net(Wrong), spikes(12), None, tmp_path / "m.nir")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Silent, "declares neurodeploy_neuron but lacks neurodeploy_potential"),
        (Strange, "neurodeploy_neuron of module '1' gives something else than a Neuron"),
        (Refusing, "a neuron of the fourth kind"),
    ],
)
def test_refusals(kind, message, tmp_path):
    with pytest.raises(UnsupportedError, match=message):
        export(net(kind), (12,), None, tmp_path / "m.nir")


def test_methods_may_be_set_from_outside(tmp_path):
    class Theirs(nn.Module):
        def __init__(self):
            super().__init__()
            self.v = torch.zeros(())

        def forward(self, x):
            self.v = self.v + x
            spikes = (self.v > 1).to(x.dtype)
            self.v = self.v * (1 - spikes)
            return spikes

    def neuron(self, shape, dt):
        return Neuron(nir.IF(np.full(shape, 1 / dt), np.ones(shape), np.zeros(shape)), "hard")

    Theirs.neurodeploy_neuron, Theirs.neurodeploy_potential = neuron, lambda self: self.v
    Theirs.neurodeploy_reset = lambda self: setattr(self, "v", torch.zeros(()))
    agrees_with_torch(nn.Sequential(nn.Linear(12, 8), Theirs()), tmp_path / "m.nir", spikes(12))
