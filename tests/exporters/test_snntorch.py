"""snnTorch modules as NIR files: the same spikes in every layer and step, what the file says, and refusals."""

from __future__ import annotations

import itertools

import nir
import numpy as np
import pytest
import snntorch as snn
import torch
from snntorch import surrogate, utils
from torch import nn

from neurodeploy.errors import InvalidInputError, UnsupportedError
from neurodeploy.exporters.export import export, to_graph
from neurodeploy.exporters.trace import run_torch
from tests.exporters.euler import agrees_with_torch

STEPS, BATCH = 100, 4


def spikes(*shape, p=0.3, seed=0):
    return (np.random.default_rng(seed).random((STEPS, BATCH, *shape)) < p).astype(np.uint8)


def dense(inputs, outputs, gain=4.0, bias=True):
    layer = nn.Linear(inputs, outputs, bias=bias)
    with torch.no_grad():
        layer.weight.mul_(gain)
    return layer


def conv(*arguments, gain=4.0, **named):
    layer = nn.Conv2d(*arguments, **named)
    with torch.no_grad():
        layer.weight.mul_(gain)
    return layer


def trained(norm):
    """Batch normalisation with statistics and weights that are not its initial ones."""
    with torch.no_grad():
        for name, low, high in (("weight", 0.5, 2), ("bias", 0, 0.5), ("running_mean", -0.3, 0.3),
                                ("running_var", 0.3, 2)):  # fmt: skip
            getattr(norm, name).uniform_(low, high)
    return norm


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


RESETS = list(itertools.product(("subtract", "zero", "none"), (True, False)))
EXPECTED = {  # reset_mechanism, reset_delay -> reset, reset_time of Leaky (of the others)
    ("subtract", True): ("subtract", "next", "next"),
    ("zero", True): ("hard", "next", "gate"),
    ("none", True): ("none", "now", "now"),
    ("subtract", False): ("subtract", "once", "once"),
    ("zero", False): ("hard", "now", "now"),
    ("none", False): ("none", "now", "now"),
}


def neuron(kind, **more):
    """A layer of 20 neurons of each class, leaking, without and with states kept inside."""
    if kind == "Leaky":
        return snn.Leaky(beta=0.8, **more)
    if kind == "Synaptic":
        return snn.Synaptic(alpha=0.5, beta=0.7, **more)
    if kind == "RLeaky":
        return snn.RLeaky(beta=0.8, linear_features=20, **more)
    if kind == "RSynaptic":
        return snn.RSynaptic(alpha=0.5, beta=0.7, linear_features=20, **more)
    return snn.Lapicque(R=2.0, C=3.0, **more)


@pytest.mark.parametrize("kind", ["Leaky", "Synaptic", "RLeaky", "RSynaptic", "Lapicque"])
@pytest.mark.parametrize(("mechanism", "delay"), RESETS)
def test_every_class_and_reset(kind, mechanism, delay, tmp_path):
    if not delay and kind in ("RSynaptic", "Lapicque"):
        pytest.skip("there is none")
    more = {} if kind == "Lapicque" else {"reset_delay": delay}
    layer = neuron(kind, reset_mechanism=mechanism, init_hidden=True, **more)
    module = nn.Sequential(dense(30, 20), layer, dense(20, 10), snn.Leaky(0.5, init_hidden=True))
    trace = agrees_with_torch(module, tmp_path / "m.nir", spikes(30))
    reset, time, other = EXPECTED[mechanism, delay]
    graph = nir.read(tmp_path / "m.nir", type_check=False)
    about = graph.nodes["1"].metadata["neurodeploy"]
    assert about.get("reset", graph.metadata["neurodeploy"]["reset"]) == reset
    assert about.get("reset_time", "now") == (time if kind == "Leaky" else other)
    assert trace.outputs.keys() == {"1", "3"}


class Explicit(nn.Module):
    """States handed in and out, or begun in forward, with a residual add; the last layer returns its state too."""

    def __init__(self):
        super().__init__()
        self.fc1, self.lif1 = dense(12, 20), snn.Leaky(0.9)
        self.fc2, self.lif2 = dense(20, 20), snn.Synaptic(0.4, 0.8)
        self.fc3, self.lif3 = dense(20, 8), snn.RLeaky(0.7, linear_features=8)

    def forward(self, x, mem1, syn2=None, mem2=None):
        spk1, mem1 = self.lif1(self.fc1(torch.flatten(x, 1)), mem1)
        spk2, syn2, mem2 = self.lif2(self.fc2(spk1) + spk1, syn2, mem=mem2)
        spk3, _ = self.lif3(self.fc3(spk2 + spk1))
        return spk3, mem1, syn2, mem2


def test_states_by_hand_and_residual_adds(tmp_path):
    agrees_with_torch(Explicit(), tmp_path / "m.nir", spikes(3, 4))
    graph = nir.read(tmp_path / "m.nir")
    assert sorted(a for a, b in graph.edges if b == "lif2") == ["fc2", "lif1"]
    assert [name for name in graph.nodes if name.startswith("output")] == ["output"]


def test_the_recorded_run_is_what_snntorch_does_with_its_states():
    module = Explicit()
    inputs = spikes(3, 4)
    body = Explicit().double()
    body.load_state_dict(module.state_dict())
    for part in body.modules():
        if isinstance(part, snn.SpikingNeuron):
            part.spike_grad = lambda x: (x > 0).double()
    state, found = (torch.zeros(BATCH, 20),) * 3, []
    with torch.no_grad():
        for step in torch.from_numpy(inputs).double():
            spk3, *state = body(step, *state)
            found.append(spk3.numpy())
    np.testing.assert_array_equal(run_torch(module, inputs).outputs["lif3"], np.stack(found))


def test_convolutions_batch_norm_and_pools(tmp_path):
    module = nn.Sequential(
        conv(2, 4, 3, padding=1, bias=False), trained(nn.BatchNorm2d(4)), snn.Leaky(0.8, init_hidden=True),
        nn.AvgPool2d(2), trained(nn.BatchNorm2d(4)), conv(4, 6, 3, padding=1), nn.Dropout2d(),
        trained(nn.BatchNorm2d(6)), snn.Leaky(0.6, reset_mechanism="zero", init_hidden=True), nn.Identity(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), dense(24, 12), trained(nn.BatchNorm1d(12)),
        snn.Synaptic(0.3, 0.6, init_hidden=True, output=True),
    ).eval()  # fmt: skip
    agrees_with_torch(module, tmp_path / "m.nir", spikes(2, 8, 8))
    graph = nir.read(tmp_path / "m.nir", type_check=False)
    kinds = {name: type(node).__name__ for name, node in graph.nodes.items()}
    assert "1" not in kinds and "7" not in kinds and "13" not in kinds  # folded
    assert kinds["4"] == "Conv2d" and graph.nodes["4"].groups == 4  # behind a pool: a layer of its own
    scale = module[1].weight.double() / torch.sqrt(module[1].running_var.double() + module[1].eps)
    np.testing.assert_allclose(
        graph.nodes["0"].weight, (module[0].weight.double() * scale[:, None, None, None]).detach(), rtol=1e-14
    )


class Shared(nn.Module):
    """A convolution whose output is used twice, once through batch normalisation; constants; sums normalised."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = conv(1, 3, 3, padding=1), trained(nn.BatchNorm2d(3))
        self.lif1, self.lif2 = snn.Leaky(0.7, init_hidden=True), snn.Leaky(0.7, init_hidden=True)
        self.fc, self.bn = dense(75, 10, bias=False), trained(nn.BatchNorm1d(10))
        self.shift = nn.Parameter(torch.rand(10))
        self.lif3 = snn.Leaky(0.7, init_hidden=True)

    def forward(self, x):
        y = self.conv(x)
        a, b = self.lif1(y), self.lif2(self.norm(y - 0.25 * x.expand(-1, 3, -1, -1)) if False else self.norm(y))
        return self.lif3(self.bn(0.1 + 2 * self.fc((a + b).flatten(1)) - self.shift))


def test_a_layer_that_others_use_too_is_not_changed(tmp_path):
    module = Shared().eval()
    agrees_with_torch(module, tmp_path / "m.nir", spikes(1, 5, 5))
    graph = nir.read(tmp_path / "m.nir", type_check=False)
    assert graph.nodes["norm"].groups == 3
    np.testing.assert_array_equal(graph.nodes["conv"].weight, module.conv.weight.detach())
    assert type(graph.nodes["fc"]).__name__ == "Affine" and "bn" not in graph.nodes


def test_parameters_of_each_neuron(tmp_path):
    module = nn.Sequential(
        dense(30, 20),
        snn.Leaky(torch.linspace(-0.2, 1.1, 20), threshold=torch.linspace(0.5, 2, 20), learn_beta=True,
                  learn_threshold=True, init_hidden=True),
        dense(20, 15), snn.Synaptic(torch.linspace(0, 1, 15), torch.rand(15), learn_alpha=True, init_hidden=True),
        dense(15, 10), snn.RLeaky(torch.rand(10), V=torch.linspace(-1, 1, 10), all_to_all=False, init_hidden=True),
        dense(10, 10, 2), snn.RSynaptic(0.2, torch.rand(10), V=0.5, all_to_all=False, learn_recurrent=False,
                                        init_hidden=True),
    )  # fmt: skip
    agrees_with_torch(module, tmp_path / "m.nir", spikes(30))
    graph = nir.read(tmp_path / "m.nir", type_check=False)
    assert graph.nodes["1"].tau[0] == 1e-3  # clamped to beta = 0
    np.testing.assert_array_equal(graph.nodes["5.recurrent"].scale, torch.linspace(-1, 1, 10).double())
    assert set(graph.edges) >= {("5", "5.recurrent"), ("5.recurrent", "5")}


def test_channel_parameters_and_recurrent_convolution(tmp_path):
    module = nn.Sequential(
        conv(2, 4, 3), snn.Leaky(torch.rand(4, 1, 1), threshold=torch.tensor([[[0.5]], [[1]], [[1.5]], [[2]]]),
                                 init_hidden=True),
        conv(4, 3, 1), snn.RLeaky(0.6, conv2d_channels=3, kernel_size=3, init_hidden=True),
        conv(3, 3, 1), snn.RSynaptic(0.4, 0.6, conv2d_channels=3, kernel_size=(3, 1), init_hidden=True),
    )  # fmt: skip
    agrees_with_torch(module, tmp_path / "m.nir", spikes(2, 7, 7))
    assert to_graph(module, (2, 7, 7)).metadata["neurodeploy"]["recurrent_bias"] == "from-start"


@pytest.mark.parametrize("mechanism", ["subtract", "zero"])
def test_no_leak(mechanism, tmp_path):
    more = {"reset_mechanism": mechanism, "init_hidden": True, "threshold": 2.0}
    module = nn.Sequential(
        dense(30, 20), snn.Leaky(1.0, **more), dense(20, 20), snn.Synaptic(0.5, 1.0, **more), dense(20, 20),
        snn.Leaky(torch.tensor([1.0, 0.5] * 10), **more), dense(20, 20), snn.Synaptic(1.0, 0.5, **more),
    )  # fmt: skip
    agrees_with_torch(module, tmp_path / "m.nir", spikes(30), at_least=0.001)
    graph = to_graph(module, (30,))
    assert type(graph.nodes["1"]).__name__ == "IF"
    assert graph.nodes["1"].r[0] * 1e-3 == 1


@pytest.mark.parametrize("beta", [0.9, 0.3, 0.85, 1 / 3, 0.0, 1.0])
@pytest.mark.parametrize("dt", [1e-3, 1e-4, 0.7])
def test_an_input_that_equals_the_threshold_does_not_spike(beta, dt, tmp_path):
    # The first mem is 0 * beta + 1 = threshold in both; a gain of 1 + 2^-52 would spike.
    module = nn.Sequential(nn.Linear(1, 1, bias=False), snn.Leaky(beta, init_hidden=True))
    with torch.no_grad():
        module[0].weight.fill_(1.0)
    inputs = np.zeros((20, 1, 1), np.uint8)
    inputs[0] = 1
    trace = agrees_with_torch(module, tmp_path / "m.nir", inputs, dt, at_least=-1)
    assert trace.potentials["1"][0, 0, 0] == 1.0


def test_dt_is_chosen_and_said():
    module = nn.Sequential(dense(3, 3), snn.Leaky(0.9, init_hidden=True))
    about = to_graph(module, (3,)).metadata["neurodeploy"]
    assert about["dt"] == 1e-3 and "snntorch has no time step" in about["dt_origin"]
    about = to_graph(module, (3,), 1e-4).metadata["neurodeploy"]
    assert about["dt"] == 1e-4 and "dt_origin" not in about


def test_after_training_and_left_as_it_was(tmp_path):
    module = nn.Sequential(dense(6, 5), snn.Leaky(0.9, init_hidden=True, learn_beta=True))
    module(torch.ones(2, 6)).sum().backward()  # leaves results of autograd in the layer
    before = module[1].mem
    agrees_with_torch(module, tmp_path / "m.nir", spikes(6))
    assert module[1].mem is before and module[1].beta.dtype == torch.float32
    assert module[1].spike_grad(torch.ones(1, dtype=torch.float64)).dtype == torch.float32


def test_all_surrogates_spike_alike(tmp_path):
    for spike_grad in (surrogate.fast_sigmoid(), surrogate.sigmoid(), surrogate.atan(), surrogate.triangular(),
                       surrogate.straight_through_estimator(), surrogate.SSO()):  # fmt: skip
        module = nn.Sequential(dense(6, 5), snn.Leaky(0.9, spike_grad=spike_grad, init_hidden=True))
        assert len(to_graph(module, (6,)).nodes) == 4
    module = nn.Sequential(dense(6, 5), snn.Leaky(0.9, surrogate_disable=True, init_hidden=True))
    agrees_with_torch(module, tmp_path / "m.nir", spikes(6))


class Steps(nn.Module):
    """The tutorials' form: a loop over time in forward, which must be moved out of it."""

    def __init__(self, steps=None):
        super().__init__()
        self.fc, self.lif, self.steps = dense(6, 5), snn.Leaky(0.9), steps

    def forward(self, x):
        mem, out = self.lif.init_leaky(), []
        for step in range(self.steps or x.size(0)):
            spk, mem = self.lif(self.fc(x[step] if self.steps is None else x), mem)
            out.append(spk)
        return torch.stack(out)


class Changed(snn.Leaky):
    def forward(self, input_, mem=None):
        return super().forward(input_ * 2, mem)


class Signal(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.lif1, self.fc2, self.lif2 = dense(6, 6), snn.Leaky(0.9), dense(6, 6), snn.Leaky(0.9)

    def forward(self, x):
        _, mem = self.lif1(self.fc1(x))
        return self.lif2(self.fc2(mem))[0]


class Potential(Signal):
    def forward(self, x):
        return self.lif1(self.fc1(x))[1]


class Joined(Signal):
    def forward(self, x):
        a, b = self.lif1(self.fc1(x))[0], self.lif2(self.fc2(x))[0]
        return torch.cat((a, b), 1)


def behind(layer):
    return nn.Sequential(dense(6, 6), layer)


def changed_reset():
    layer = snn.Leaky(0.9, init_hidden=True)
    layer.reset_mechanism = "zero"
    return layer


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: behind(snn.Leaky(0.9, init_hidden=True, graded_spikes_factor=2.0)), "graded_spikes_factor is not 1"),
        (lambda: behind(snn.Leaky(0.9, init_hidden=True, inhibition=True)), "only the strongest neuron"),
        (lambda: behind(snn.Leaky(0.9, init_hidden=True, state_quant=torch.round)), "state_quant rounds"),
        (lambda: behind(snn.Alpha(0.9, 0.8, init_hidden=True)), "'1' of class Alpha.*\n.*two synaptic currents"),
        (lambda: behind(snn.SLSTM(6, 6, init_hidden=True)), "an LSTM"),
        (lambda: behind(snn.LeakyParallel(6, 6)), "a whole sequence at once"),
        (lambda: behind(Changed(0.9, init_hidden=True)), "overrides the forward of Leaky"),
        (lambda: behind(changed_reset()), "reset_mechanism was changed after it was built"),
        (lambda: behind(snn.RSynaptic(0.9, 0.8, linear_features=6, reset_delay=False)), "reset_delay=False, which"),
        (lambda: behind(snn.Leaky(0.9, spike_grad=torch.sigmoid)), "does not spike exactly where"),
        (lambda: behind(snn.Leaky(0.9, spike_grad=surrogate.LSO())), "its spike_grad fails: TypeError"),
        (lambda: behind(snn.Lapicque(R=1.0, C=0.5)), r"time_step / \(R C\) of module '1' is not a leak"),
        (lambda: behind(snn.Lapicque(beta=1.0)), "parameter C of module '1' is not finite"),
        (lambda: behind(snn.Leaky(0.9, threshold=-1.0, reset_mechanism="zero")), "below the reset potential"),
        (lambda: behind(snn.Leaky(torch.rand(5))), "beta of module '1' does not fit"),
        (lambda: Signal(), r"^module 'fc2' \(Linear \w+\): a membrane potential is used as a signal"),
        (lambda: Potential(), "returns membrane potentials only"),
        (lambda: Joined(), "the module returns a sum of layers"),
        (lambda: Steps(3), "'lif' is called more than once in a step\n.*\n.*loop over time"),
        (lambda: nn.Sequential(nn.BatchNorm1d(6, track_running_stats=False), snn.Leaky(0.9)), "of each batch"),
    ],
)  # fmt: skip
def test_refusals(make, message, tmp_path):
    with pytest.raises((UnsupportedError, InvalidInputError), match=message):
        export(make(), (6,), None, tmp_path / "no.nir")
    assert list(tmp_path.iterdir()) == []


def test_a_reset_between_sequences_is_no_obstacle():
    module = nn.Sequential(dense(6, 5), snn.Leaky(0.9, init_hidden=True))
    module(torch.ones(3, 6))
    utils.reset(module)
    assert run_torch(module, spikes(6)).outputs["1"].shape == (STEPS, BATCH, 5)
