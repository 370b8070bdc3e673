"""Modules run as their users run them: what is returned is what the module called by hand returns."""

from __future__ import annotations

import functools

import norse.torch as norse
import numpy as np
import pytest
import sinabs.layers as sl
import snntorch as snn
import torch
from snntorch import spikegen, utils
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn
from torch.nn import functional as F

from neurodeploy.errors import InvalidInputError, UnsupportedError, VerificationError
from neurodeploy.exporters import framework, user_run
from neurodeploy.exporters.usage import AXES, Usage
from neurodeploy.exporters.user_run import run_user

STEPS, BATCH, INPUTS, NEURONS = 7, 3, 6, 5


class Own(nn.Module):
    """A neuron by the protocol of plain torch."""

    def __init__(self):
        super().__init__()
        self.v = None

    def forward(self, x):
        v = x if self.v is None else 0.9 * self.v + x
        spikes = (v > 0.3).to(x.dtype)
        self.v = v - 0.3 * spikes
        return spikes

    def neurodeploy_neuron(self, shape, dt):
        raise NotImplementedError  # nothing is exported here

    def neurodeploy_potential(self):
        return self.v

    def neurodeploy_reset(self):
        self.v = None


def leaky(**how):
    return snn.Leaky(beta=0.9, threshold=0.3, **how)


def box():
    return norse.LIFBoxCell(norse.LIFBoxParameters(v_th=torch.tensor(0.05)))


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


# Whole sequences, in the frameworks' own layers.


def sequence(seed=0, inputs=INPUTS):
    return (np.random.default_rng(seed).random((STEPS, BATCH, inputs)) < 0.5).astype(np.float32) * 2


def dense():
    torch.manual_seed(0)
    return nn.Linear(INPUTS, NEURONS)


def norse_parameters():
    return norse.LIFParameters(v_th=torch.tensor(0.03))


def multi(made):
    functional.set_step_mode(made, "m")
    return made


def recurrent(kind, **how):
    torch.manual_seed(1)
    return kind(5.0, rec_connect=nn.Linear(NEURONS, NEURONS), **how)


WHOLE = {
    "norse LIF": (lambda: norse.SequentialState(dense(), norse.LIF(norse_parameters())), 0),
    "norse LI": (lambda: norse.SequentialState(dense(), norse.LI()), 0),
    "norse LIFRecurrent": (
        lambda: norse.SequentialState(dense(), norse.LIFRecurrent(NEURONS, NEURONS, norse_parameters())), 0,
    ),
    "norse Lift": (lambda: nn.Sequential(norse.Lift(dense()), norse.Lift(norse.LIFCell(norse_parameters()))), 0),
    "spikingjelly IF": (lambda: nn.Sequential(dense(), neuron.IFNode(step_mode="m")), 0),
    "spikingjelly LIF": (lambda: nn.Sequential(dense(), neuron.LIFNode(v_threshold=0.4, step_mode="m")), 0),
    "spikingjelly CUBA": (
        lambda: nn.Sequential(dense(), multi(neuron.CUBALIFNode(c_decay=0.5, v_decay=0.7))), 0,
    ),
    "spikingjelly container": (
        lambda: nn.Sequential(
            layer.SeqToANNContainer(dense()),
            layer.LinearRecurrentContainer(neuron.LIFNode(v_threshold=0.2), NEURONS, NEURONS, step_mode="m"),
        ), 0,
    ),
    "sinabs LIF": (lambda: nn.Sequential(dense(), sl.LIF(5.0, spike_threshold=torch.tensor(0.1))), 1),
    "sinabs LIF with a synapse": (
        lambda: nn.Sequential(dense(), sl.LIF(5.0, tau_syn=3.0, min_v_mem=-0.1, spike_threshold=torch.tensor(0.1))), 1,
    ),
    "sinabs IAF": (lambda: nn.Sequential(dense(), sl.IAF(min_v_mem=-1.0)), 1),
    "sinabs ALIF": (lambda: nn.Sequential(dense(), sl.ALIF(5.0, 4.0, spike_threshold=torch.tensor(0.1))), 1),
    "sinabs LIFRecurrent": (
        lambda: nn.Sequential(dense(), recurrent(sl.LIFRecurrent, spike_threshold=torch.tensor(0.1))), 1,
    ),
    "sinabs ExpLeak": (lambda: nn.Sequential(dense(), sl.ExpLeak(5.0)), 1),
    "sinabs IAFSqueeze": (lambda: nn.Sequential(dense(), sl.IAFSqueeze(batch_size=BATCH)), "flat"),
    "sinabs LIFSqueeze": (
        lambda: nn.Sequential(
            dense(), sl.LIFSqueeze(tau_mem=2.0, spike_threshold=torch.tensor(0.1), num_timesteps=STEPS)
        ), "flat",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_layers_that_compute_sequences(name):
    make, axis = WHOLE[name]
    x, usage = sequence(), Usage(axis, STEPS, BATCH)
    found = run_user(make().eval(), usage.as_given(x), usage)
    with torch.no_grad():
        theirs = make().eval()(torch.from_numpy(usage.as_given(x)))
    theirs = theirs[0] if isinstance(theirs, tuple) else theirs
    np.testing.assert_array_equal(found.returned[0], theirs.numpy())
    (path,) = found.outputs
    np.testing.assert_array_equal(found.outputs[path], usage.time_first(theirs.numpy()))
    # The same layers step by step, by our own loop, are the same potentials.
    steps = run_user(make().eval(), usage.as_given(x), usage, torch.float64)
    np.testing.assert_allclose(found.potentials[path], steps.potentials[path], rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.potentials[path], stepped(make(), x, name), rtol=0, atol=1e-5)
    assert found.outputs[path].any()


def stepped(module, x, name):
    """Membranes after each step of the same layers, called by hand with one step at a time."""
    front, last = module[0], module[1]
    if "Recurrent" in name and name.startswith("sinabs"):
        back, v, found = 0.0, None, []
        decay = float(torch.exp(torch.tensor(-1 / 5.0)))
        v = torch.zeros(BATCH, NEURONS)
        for step in torch.from_numpy(x):  # the equations of the module's documentation
            v = decay * v + (1 - decay) * (front(step) + back)
            z = torch.where(v > 0, torch.floor(v / 0.1), torch.zeros(()))
            v = v - 0.1 * z
            back = last.rec_connect(z)
            found.append(v.detach().numpy())
        return np.stack(found)
    found, state = [], None
    for step in torch.from_numpy(x):
        with torch.no_grad():
            if name.startswith("norse"):
                _, state = last(front(step[None]), *([] if "Lift" in name else [state])) if "Lift" not in name else (
                    last.lifted_module(front(step[None])[0], state)
                )  # fmt: skip
                found.append(state.v.numpy().copy())
            elif name.startswith("spikingjelly"):
                last(front(step[None]))
                found.append((last.sub_module if "container" in name else last).v.numpy().copy())
            else:
                if "Squeeze" in name:
                    last.batch_size, last.num_timesteps = BATCH, 1
                    last(front(step))
                else:
                    last(front(step[:, None]))
                found.append(last.v_mem.numpy().copy())
    return np.stack(found)


# States handed from call to call.


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


# Random numbers.


def spread(x):
    """Draws of several kinds, some that depend on values."""
    made = [torch.rand(x.shape), torch.rand_like(x), torch.empty_like(x).uniform_(), torch.randn(3, 4)]
    made += [torch.empty(x.shape).bernoulli_(0.3), torch.poisson(x), torch.normal(x, 1.0)]
    made += [torch.randint(0, 9, (4,)), torch.randperm(6), torch.multinomial(x.flatten() + 0.1, 4)]
    made += [torch.rand(4, generator=torch.Generator().manual_seed(3))]
    return torch.cat([one.flatten().to(x.dtype) for one in made])


RANDOM = {
    "torch.bernoulli": lambda x: torch.bernoulli(x),
    "torch.rand": lambda x: (torch.rand(STEPS, *x.shape) < x).float(),
    "torch.rand_like": lambda x: (torch.rand_like(x) < x).to(x.dtype),
    "spikegen.rate": lambda x: spikegen.rate(x, num_steps=STEPS),
    "norse": norse.PoissonEncoder(seq_length=STEPS, f_max=500),
    "dropout": lambda x: F.dropout(x, 0.5, training=True),
    "generator": lambda x: torch.bernoulli(x, generator=torch.Generator().manual_seed(7)),
    "numpy": lambda x: x * torch.from_numpy(np.random.random(x.shape)).to(x.dtype),
    "many": spread,
}


class Encoded(nn.Module):
    def __init__(self, encode):
        super().__init__()
        self.encode, self.fc, self.lif = encode, dense(), box()

    def forward(self, x):
        drawn, memory, spikes = self.encode(x), None, []
        for _ in range(STEPS):
            z, memory = self.lif(self.fc((torch.rand_like(x) < x).to(x.dtype)), memory)
            spikes.append(z)
        return drawn, torch.stack(spikes)


@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_random_numbers_are_those_of_the_module_in_both_types(name, dtype):
    x = torch.rand(BATCH, INPUTS, generator=torch.Generator().manual_seed(2)).to(dtype)
    usage = Usage("none", STEPS, BATCH)
    net = Encoded(RANDOM[name]).to(dtype).eval()
    own = run_user(net, x.float().numpy(), usage, seed=5)
    torch.manual_seed(5)
    np.random.seed(5)
    with torch.no_grad():
        theirs = net(x)
    wide = run_user(net, x.float().numpy(), usage, torch.float64, seed=5)
    for ours, value, double in zip(own.returned, theirs, wide.returned, strict=True):
        np.testing.assert_array_equal(ours, value.float().numpy())
        assert double.dtype == np.float64 or not np.issubdtype(double.dtype, np.floating)
        if name in ("many", "numpy"):  # which round what they draw to the module's type
            np.testing.assert_allclose(double, ours, rtol=torch.finfo(dtype).eps)
        else:
            np.testing.assert_array_equal(double, ours)
    assert (run_user(net, x.float().numpy(), usage, seed=6).returned[1] != own.returned[1]).any()


def test_random_numbers_that_depend_on_the_precision_are_refused():
    class Net(Encoded):
        def forward(self, x):
            if x.dtype == torch.float64:
                torch.rand(3)
            return super().forward(x)

    usage = Usage("none", STEPS, BATCH)
    with pytest.raises(UnsupportedError, match="forward draws other random numbers in float64"):
        run_user(Net(torch.bernoulli), np.full((BATCH, INPUTS), 0.5, np.float32), usage, torch.float64)


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
