"""Neurons whose states users hand from call to call, and such that are called more than once in a step."""

from __future__ import annotations

import norse.torch as norse
import numpy as np
import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.exporters.usage import Usage
from neurodeploy.exporters.user_run import run_user
from tests.exporters.user_parts import BATCH, INPUTS, NEURONS, STEPS, Own, box, dense, leaky, sequence


class Explicit(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.lif, self.li = dense(), box(), norse.LICell()

    def forward(self, x, first, second=None):
        spikes, first = self.lif(self.fc(x), first)
        v, second = self.li(spikes, second)
        return {"v": v, "more": [spikes]}, first, second


def test_states_are_handed_to_the_next_call():
    x, usage = sequence(), Usage("step", STEPS, BATCH)
    found, state, theirs = run_user(Explicit(), x, usage), (None, None), []
    net = Explicit()
    with torch.no_grad():
        for step in torch.from_numpy(x):
            out, *state = net(step, *state)
            theirs.append((out["v"].numpy(), out["more"][0].numpy()))
    assert len(found.returned) == 2
    for ours, hand in zip(found.returned, zip(*theirs, strict=True), strict=True):
        np.testing.assert_array_equal(ours, np.stack(hand))
    assert list(found.outputs) == ["lif", "li"]
    assert (found.outputs["lif"] == found.returned[1]).all()


def test_a_tuple_of_states_behind_the_output():
    class Packed(Explicit):
        def forward(self, x, first=None, second=None):
            out, *states = super().forward(x, first, second)
            return out, tuple(states)

    x, usage = sequence(), Usage("step", STEPS, BATCH)
    for ours, theirs in zip(
        run_user(Packed(), x, usage).returned, run_user(Explicit(), x, usage).returned, strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


# Neurons that are called more than once.


class Chains(nn.Module):
    """One neuron object with two states by hand, in two layers."""

    def __init__(self, order, clamp=False):
        super().__init__()
        torch.manual_seed(0)
        self.order, self.clamp = order, clamp
        self.fc, self.back, self.lif = nn.Linear(INPUTS, NEURONS), nn.Linear(NEURONS, NEURONS), leaky()

    def forward(self, x):
        first, second = self.lif.init_leaky(), self.lif.init_leaky()
        a, b = [], []
        for step in x:
            z, first = self.lif(self.fc(step), first)
            a.append(z)
            if self.order == "steps":
                z, second = self.lif(self.back(z), second)
                b.append(z)
            if self.clamp:
                first = first.clamp(min=0)
        if self.order == "layers":
            for z in a:
                z, second = self.lif(self.back(z), second)
                b.append(z)
        return torch.stack(a), torch.stack(b)


@pytest.mark.parametrize("order", ["steps", "layers"])
def test_two_states_of_one_module_are_two_chains(order):
    found = run_user(Chains(order), sequence(), Usage(0, STEPS, BATCH))
    assert list(found.outputs) == ["lif", "lif_2"]
    np.testing.assert_array_equal(found.outputs["lif"], found.returned[0])
    np.testing.assert_array_equal(found.outputs["lif_2"], found.returned[1])


def test_states_that_cannot_be_told_apart_are_refused():
    with pytest.raises(UnsupportedError, match=r"the neuron 'lif' is not called exactly once.*\n.*14 times in 7"):
        run_user(Chains("steps", clamp=True), sequence(), Usage(0, STEPS, BATCH))


class Twice(nn.Module):
    def __init__(self, lif):
        super().__init__()
        self.fc, self.lif = nn.Linear(INPUTS, INPUTS), lif

    def forward(self, x):
        return self.lif(self.fc(self.lif(self.fc(x))))


@pytest.mark.parametrize("make", [lambda: neuron.IFNode(), lambda: leaky(init_hidden=True), Own])
def test_a_neuron_that_keeps_its_state_called_twice_is_refused(make):
    with pytest.raises(UnsupportedError, match=r"the neuron 'lif' is not called exactly once.*\n.*14 times in 7"):
        run_user(Twice(make()), sequence(), Usage("step", STEPS, BATCH))
    assert run_user(Twice(make()), sequence(), Usage("step", STEPS, BATCH), observe=False).outputs == {}


def test_clamped_states_of_one_step_are_told_apart_by_their_order():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.lif = nn.Linear(INPUTS, INPUTS), box()

        def forward(self, x, a=None, b=None):
            z, a = self.lif(self.fc(x), a)
            y, b = self.lif(self.fc(z), b)
            return (z, y), a._replace(v=a.v.clamp(min=0)), b._replace(v=b.v.clamp(min=0))

    found = run_user(Net(), sequence(), Usage("step", STEPS, BATCH))
    np.testing.assert_array_equal(found.outputs["lif"], found.returned[0])
    np.testing.assert_array_equal(found.outputs["lif_2"], found.returned[1])


def test_a_neuron_that_is_not_called_tells_nothing():
    net = Explicit()
    net.spare = box()
    assert list(run_user(net, sequence(), Usage("step", STEPS, BATCH)).outputs) == ["lif", "li"]
