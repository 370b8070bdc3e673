"""Modules run as their users run them: what is returned is what the module called by hand returns."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import sinabs.layers as sl
import torch
from snntorch import utils
from spikingjelly.activation_based import functional, neuron
from torch import nn

from neurodeploy.errors import InvalidInputError, UnsupportedError, VerificationError
from neurodeploy.exporters import framework, user_run
from neurodeploy.exporters.usage import AXES, Usage
from neurodeploy.exporters.user_run import run_user
from tests.exporters.user_parts import BATCH, INPUTS, NEURONS, STEPS, Own, box, dense, leaky, sequence


def snn_clamped(net, x, memory):
    spikes, v = net.lif(x, net.lif.init_leaky() if memory is None else memory)
    return spikes, v, v.clamp(min=0)


def snn_again(net, x, memory):
    spikes, v = net.lif(x, net.lif.init_leaky())
    return spikes, v, None


def snn_reset(net, x, memory):
    utils.reset(net)
    return (*net.lif(x), None)


def norse_clamped(net, x, memory):
    spikes, state = net.lif(x, memory)
    return spikes, state.v, state._replace(v=state.v.clamp(min=0))


def norse_explicit(net, x, memory):
    spikes, state = net.lif(x, memory)
    return spikes, state.v, state


def norse_dropped(net, x, memory):
    spikes, state = net.lif(x)
    return spikes, state.v, None


def sj_clamped(net, x, memory):
    spikes = net.lif(x)
    v = net.lif.v
    net.lif.v = v.clamp(min=0)
    return spikes, v, None


def sj_reset(net, x, memory):
    functional.reset_net(net.lif)
    return net.lif(x), net.lif.v, None


def sinabs_hidden(net, x, memory):
    spikes = net.lif(x[:, None])[:, 0]
    return spikes, net.lif.v_mem.clone(), None  # a reset writes into it


def sinabs_clamped(net, x, memory):
    spikes = net.lif(x[:, None])[:, 0]
    v = net.lif.v_mem
    net.lif.v_mem = v.clamp(min=0)
    return spikes, v, None


def sinabs_reset(net, x, memory):
    net.lif.reset_states()
    return sinabs_hidden(net, x, memory)


def own_clamped(net, x, memory):
    spikes = net.lif(x)
    v = net.lif.v
    net.lif.v = v.clamp(min=0)
    return spikes, v, None


def own_reset(net, x, memory):
    net.lif.neurodeploy_reset()
    return net.lif(x), net.lif.v, None


KINDS = {
    "snntorch hidden": (
        functools.partial(leaky, init_hidden=True, output=True), lambda net, x, _: (*net.lif(x), None),
    ),
    "snntorch explicit": (leaky, lambda net, x, m: (lambda z, v: (z, v, v))(*net.lif(x, m))),
    "snntorch clamped": (leaky, snn_clamped),
    "snntorch init": (leaky, snn_again),
    "snntorch utils.reset": (functools.partial(leaky, init_hidden=True, output=True), snn_reset),
    "snntorch none": (leaky, lambda net, x, _: (*net.lif(x), None)),
    "norse explicit": (box, norse_explicit),
    "norse clamped": (box, norse_clamped),
    "norse none": (box, norse_dropped),
    "spikingjelly hidden": (
        lambda: neuron.LIFNode(v_threshold=0.3), lambda net, x, _: (net.lif(x), net.lif.v, None),
    ),
    "spikingjelly clamped": (lambda: neuron.LIFNode(v_threshold=0.3, v_reset=None), sj_clamped),
    "spikingjelly reset": (lambda: neuron.LIFNode(v_threshold=0.3), sj_reset),
    "sinabs hidden": (lambda: sl.LIF(tau_mem=5.0, spike_threshold=torch.tensor(0.1)), sinabs_hidden),
    "sinabs clamped": (lambda: sl.LIF(tau_mem=5.0, spike_threshold=torch.tensor(0.1)), sinabs_clamped),
    "sinabs reset": (lambda: sl.LIF(tau_mem=5.0, spike_threshold=torch.tensor(0.1)), sinabs_reset),
    "torch hidden": (Own, lambda net, x, _: (net.lif(x), net.lif.v, None)),
    "torch clamped": (Own, own_clamped),
    "torch reset": (Own, own_reset),
}  # fmt: skip


class Net(nn.Module):
    """A linear layer and a neuron, called step by step: by the user, or in forward. Returns spikes and membranes."""

    def __init__(self, kind, axis):
        super().__init__()
        torch.manual_seed(0)
        make, self.neuron = KINDS[kind]
        self.axis, self.fc, self.lif, self.memory = axis, nn.Linear(INPUTS, NEURONS), make(), None

    def reset(self):
        self.memory = None

    def forward(self, x):
        if self.axis == "step":
            spikes, v, self.memory = self.neuron(self, self.fc(x), self.memory)
            return {"spikes": spikes, "membrane": v}
        memory, found = None, []
        for step in self.steps(x):
            spikes, v, memory = self.neuron(self, self.fc(step), memory)
            found.append((spikes, v))
        return tuple(torch.stack(each) for each in zip(*found, strict=True))

    def steps(self, x):
        if self.axis == "none":
            return [x] * STEPS
        return (x.unflatten(0, (BATCH, STEPS)).unbind(1)) if self.axis == "flat" else x.unbind(self.axis)


def spikes(axis, seed=1):
    """Spikes as the axis takes them, with some negative values that a clamp meets."""
    generator = np.random.default_rng(seed)
    drawn = (generator.random((STEPS, BATCH, INPUTS)) < 0.5) * generator.choice([-2.0, 1.0, 2.0], (INPUTS,))
    usage = Usage(axis, STEPS, BATCH)
    return usage.as_given(np.repeat(drawn[:1], STEPS, 0) if axis == "none" else drawn).astype(np.float32), usage


def by_hand(net, x, axis, dtype):
    """The user's own few lines."""
    with torch.no_grad():
        x = torch.from_numpy(x).to(dtype)
        if axis != "step":
            return list(net(x))
        return [torch.stack(each) for each in zip(*(net(step).values() for step in x), strict=True)]


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_returned_is_what_the_module_returns(kind, axis):
    x, usage = spikes(axis)
    runs = {}
    for dtype in (torch.float32, torch.bfloat16) if axis in ("step", 1) else (torch.float32,):
        found = runs[dtype] = run_user(Net(kind, axis).to(dtype), x, usage)
        theirs = by_hand(Net(kind, axis).to(dtype), x, axis, dtype)
        assert len(found.returned) == len(theirs) == 2
        for ours, value in zip(found.returned, theirs, strict=True):
            np.testing.assert_array_equal(ours, value.float().numpy())
        assert 0.02 < found.returned[0].mean() < 0.98
        # And the layer told what the loop saw of it.
        np.testing.assert_array_equal(found.outputs["lif"], found.returned[0])
        np.testing.assert_array_equal(found.potentials["lif"], found.returned[1])
    single, double = runs[torch.float32], run_user(Net(kind, axis), x, usage, torch.float64)
    assert double.returned[1].dtype == np.float64
    np.testing.assert_array_equal(double.outputs["lif"], single.outputs["lif"])
    np.testing.assert_allclose(double.returned[1], single.returned[1], rtol=0, atol=1e-5)
    assert (double.returned[1] != single.returned[1]).any()  # it was not computed in float32
    np.testing.assert_array_equal(double.potentials["lif"], double.returned[1])


def test_a_module_is_left_as_it_was():
    for kind in ("snntorch explicit", "norse clamped", "spikingjelly hidden", "sinabs hidden", "torch hidden"):
        net = Net(kind, "step").train()
        x, usage = spikes("step")
        by_hand(net, x, "step", torch.float32)
        before = {name: value.clone() for name, value in net.state_dict().items()}
        memory, drawn = net.memory, torch.get_rng_state()
        for dtype in (None, torch.float64):
            run_user(net, x, usage, dtype)
        assert net.training
        assert net.memory is memory
        assert "forward" not in vars(net.lif)
        assert all(value.dtype == before[name].dtype for name, value in net.state_dict().items())
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
        assert torch.equal(torch.get_rng_state(), drawn)


def test_a_sequence_starts_as_after_the_frameworks_reset():
    """Whatever was run before: snnTorch's and SpikingJelly's states, also of layers that their resets pass over."""
    for kind in ("snntorch hidden", "spikingjelly hidden", "sinabs hidden", "torch hidden"):
        x, usage = spikes("step")
        fresh, used = nn.Sequential(Net(kind, "step")), nn.Sequential(Net(kind, "step"))
        by_hand(used[0], 3 * x, "step", torch.float32)
        for ours, theirs in zip(run_user(used, x, usage).returned, run_user(fresh, x, usage).returned, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_what_else_a_module_kept_is_kept():
    net = Net("norse explicit", "step")
    x, usage = spikes("step")
    del Net.reset
    try:
        by_hand(net, 3 * x, "step", torch.float32)
        left = run_user(net, x, usage).returned[1]
        net.memory = None
        assert (run_user(net, x, usage).returned[1] != left).any()
    finally:
        Net.reset = lambda self: setattr(self, "memory", None)


# What may go wrong.


class Breaks(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(INPUTS, NEURONS), leaky(init_hidden=True)

    def forward(self, x):
        return self.lif(self.fc(x))  # the line that fails


def test_an_error_of_user_code_names_the_users_line():
    import inspect

    lines, first = inspect.getsourcelines(Breaks)
    line = first + next(n for n, text in enumerate(lines) if "the line that fails" in text)
    with pytest.raises(InvalidInputError) as caught:
        run_user(Breaks(), np.zeros((STEPS, BATCH, 9), np.float32), Usage("step", STEPS, BATCH))
    said = str(caught.value)
    assert f"{__file__}:{line}, in forward" in said
    assert "a step of shape [3, 9] gave RuntimeError: mat1 and mat2" in said
    assert "--time-axis step: forward takes one step [batch, ...]" in said
    with pytest.raises(InvalidInputError, match=r"an input of shape \[7, 3, 9\] gave RuntimeError"):
        run_user(nn.Sequential(Breaks()), np.zeros((STEPS, BATCH, 9), np.float32), Usage(0, STEPS, BATCH))


def test_a_reset_that_fails_and_one_that_needs_more():
    net = Breaks()
    x, usage = sequence(), Usage("step", STEPS, BATCH)
    net.reset = lambda batch: 1 / 0
    assert run_user(net, x, usage).returned[0].shape == (STEPS, BATCH, NEURONS)
    net.reset = lambda batch=1: 1 / 0
    with pytest.raises(InvalidInputError, match=r"states cannot be reset\n.*ZeroDivisionError.*test_user_run.py"):
        run_user(net, x, usage)


def test_a_module_that_gives_something_else_each_time():
    calls = []

    class Net(Breaks):
        def forward(self, x):
            calls.append(1)
            return super().forward(x * len(calls))

    with pytest.raises(UnsupportedError, match="forward gives something else each time it is called"):
        run_user(Net(), sequence(), Usage("step", STEPS, BATCH))


def test_an_observer_that_changes_what_is_returned_is_an_internal_error(monkeypatch):
    snntorch = framework.get("snntorch")

    def meddling(module, note):
        module.threshold = module.threshold * 2

    from dataclasses import replace

    monkeypatch.setattr(user_run.framework, "of", lambda _module: replace(snntorch, observe=meddling))
    with pytest.raises(VerificationError, match=r"internal error: looking on changed .*\n.*'lif'"):
        run_user(Breaks(), sequence(), Usage("step", STEPS, BATCH))


def test_what_is_returned_changes_its_shape():
    class Net(Breaks):
        def forward(self, x):
            self.seen = getattr(self, "seen", 0) + 1
            return super().forward(x)[: 1 + self.seen % 2]

    with pytest.raises(InvalidInputError, match=r"same from step to step\n.*\[2, 5\] in step 0, \[1, 5\] in step 1"):
        run_user(Net(), sequence(), Usage("step", STEPS, BATCH))


def test_plain_modules_return_what_they_return():
    found = run_user(nn.Sequential(nn.Flatten(), dense()), sequence(), Usage("step", STEPS, BATCH), torch.float64)
    assert found.returned[0].shape == (STEPS, BATCH, NEURONS)
    assert found.outputs == {}
