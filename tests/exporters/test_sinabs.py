"""sinabs modules as NIR files: the same spikes in every layer and step, what the file says, and refusals."""

from __future__ import annotations

import nir
import numpy as np
import pytest
import sinabs
import sinabs.activation as act
import sinabs.layers as sl
import torch
from torch import nn

from neurodeploy.errors import InvalidInputError, UnsupportedError
from neurodeploy.exporters.export import export, to_graph
from neurodeploy.exporters.sinabs import FRAMEWORK
from neurodeploy.network.neurons import UNLIMITED
from tests.exporters.euler import agrees_with_torch
from tests.exporters.matrix import cells
from tests.exporters.matrix.cells import BATCH, STEPS, sample


def dense(inputs, outputs, gain=8.0):
    return cells.dense(inputs, outputs, gain)


def spikes(*shape):
    return sample(shape)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def played(module, x):
    """As its users run it: the whole sequence, batch first."""
    sinabs.reset_states(module)
    sent = module(torch.from_numpy(x).float().transpose(0, 1)).transpose(0, 1).detach().reshape(STEPS, BATCH, -1)
    sinabs.reset_states(module)
    return sent.numpy()


LAYERS = {
    "IAF": lambda **more: sl.IAF(**more),
    "IAF with synapse": lambda **more: sl.IAF(tau_syn=torch.tensor(4.0), **more),
    "LIF": lambda **more: sl.LIF(tau_mem=6.0, **more),
    "LIF not normalised": lambda **more: sl.LIF(tau_mem=6.0, norm_input=False, **more),
    "LIF with synapse": lambda **more: sl.LIF(tau_mem=6.0, tau_syn=3.0, **more),
    "LIF with synapse, not normalised": lambda **more: sl.LIF(tau_mem=6.0, tau_syn=3.0, norm_input=False, **more),
    "LIF, trained alphas": lambda **more: sl.LIF(tau_mem=6.0, tau_syn=3.0, train_alphas=True, **more),
    "ALIF": lambda **more: sl.ALIF(tau_mem=6.0, tau_adapt=9.0, adapt_scale=2.5, **more),
    "ALIF, trained alphas": lambda **more: sl.ALIF(tau_mem=6.0, tau_adapt=9.0, train_alphas=True, **more),
    "recurrent LIF": lambda **more: sl.LIFRecurrent(tau_mem=6.0, rec_connect=nn.Linear(20, 20), **more),
    "recurrent IAF": lambda **more: sl.IAFRecurrent(rec_connect=nn.Identity(), **more),
    "recurrent ALIF": lambda **more: sl.ALIFRecurrent(
        tau_mem=6.0, tau_adapt=9.0, rec_connect=nn.Linear(20, 20, bias=False), **more
    ),
}
RULES = {
    "several": {"spike_fn": act.MultiSpike},
    "several, floor": {"spike_fn": act.MultiSpike, "min_v_mem": -0.5},
    "at most 2": {"spike_fn": act.MaxSpike(2)},
    "any number": {"spike_fn": act.MaxSpike()},
    "one": {"spike_fn": act.SingleSpike},
    "one, hard reset": {"spike_fn": act.SingleSpike, "reset_fn": act.MembraneReset()},
    "several, hard reset": {"spike_fn": act.MultiSpike, "reset_fn": act.MembraneReset(), "min_v_mem": -1.0},
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_and_rule(name, rule, tmp_path):
    if name == "recurrent IAF" and not rule.startswith(("one", "at most")):
        more = {**RULES[rule], "spike_threshold": torch.tensor(40.0)}  # each spike brings back one: it must not explode
    else:
        more = {**RULES[rule], "spike_threshold": torch.tensor(0.7)}
    module = nn.Sequential(dense(30, 20), LAYERS[name](**more))
    x = spikes(30)
    trace = agrees_with_torch(module, tmp_path / "m.nir", x, at_least=0.001, most=1e9)
    np.testing.assert_array_equal(trace.outputs["1"], played(module, x))
    about = nir.read(tmp_path / "m.nir").nodes["1"].metadata["neurodeploy"]
    whole = to_graph(module, (30,)).metadata["neurodeploy"]
    most = {"at most 2": 2, "one": 1, "one, hard reset": 1}.get(rule, UNLIMITED)
    assert about.get("max_spikes", 1) == most
    assert about.get("reset", whole["reset"]) == ("hard" if "hard" in rule else "subtract")
    assert whole["comparison"] == ">="
    assert about.get("v_floor") == RULES[rule].get("min_v_mem")
    assert ("threshold_jump" in about) == ("ALIF" in name)
    if "recurrent" in name:
        assert ("1", "1.recurrent") in nir.read(tmp_path / "m.nir").edges


def test_readout_and_containers(tmp_path):
    """Images ``[batch, time, c, h, w]`` through layers that take batch and time in one dimension."""
    conv = nn.Conv2d(2, 4, 3, padding=1)
    with torch.no_grad():
        conv.weight.mul_(5)
    module = nn.Sequential(
        sl.FlattenTime(), conv, sl.UnflattenTime(BATCH), sl.IAF(), sl.Repeat(sl.SumPool2d(2)), sl.Repeat(nn.Flatten()),
        dense(36, 8, 1.0), sl.ExpLeak(tau_mem=5.0, min_v_mem=-3.0),
    )  # fmt: skip
    x = spikes(2, 6, 6)
    trace = agrees_with_torch(module, tmp_path / "m.nir", x, most=1.1)
    np.testing.assert_allclose(trace.outputs["7"], played(module, x), rtol=1e-4, atol=1e-4)
    graph = nir.read(tmp_path / "m.nir", type_check=False)
    assert {type(node).__name__ for node in graph.nodes.values()} >= {"SumPool2d", "LI", "IF"}
    assert graph.nodes["7"].metadata["neurodeploy"]["v_floor"] == -3.0


def test_the_bias_of_a_recurrent_connection_starts_one_step_late():
    module = nn.Sequential(dense(6, 20), LAYERS["recurrent LIF"]())
    assert to_graph(module, (6,)).metadata["neurodeploy"]["recurrent_bias"] == "after-delay"


def test_recurrent_convolution(tmp_path):
    rec = nn.Conv2d(3, 3, 3, padding=1)
    conv = nn.Conv2d(2, 3, 3)
    with torch.no_grad():
        conv.weight.mul_(5)
    module = nn.Sequential(sl.Repeat(conv), sl.LIFRecurrent(tau_mem=4.0, rec_connect=rec, spike_fn=act.SingleSpike))
    x = spikes(2, 6, 6)
    trace = agrees_with_torch(module, tmp_path / "m.nir", x)
    # In sinabs one dimension of time is left to the convolution inside: run it as it would have been meant.
    assert trace.outputs["1"].shape == (STEPS, BATCH, 48)


class Louder(sl.LIF):
    def forward(self, input_data):
        return super().forward(input_data * 2)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.first = dense(6, 6), sl.IAF()
        self.second = self.first

    def forward(self, x):
        return self.second(self.fc(self.first(x)))


def behind(layer):
    return nn.Sequential(dense(6, 6), layer)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: behind(Louder(tau_mem=3.0)), "overrides forward of LIF"),
        (lambda: behind(sl.LIF(tau_mem=3.0, reset_fn=act.MembraneReset(0.5))), "adds to silent neurons too"),
        (lambda: behind(sl.LIF(tau_mem=3.0, reset_fn=act.MembraneSubtract(0.5))), "another value than the threshold"),
        (lambda: behind(sl.LIF(tau_mem=3.0, reset_fn=lambda *a: a[1])), "a reset_fn of its own"),
        (lambda: behind(sl.LIF(tau_mem=3.0, spike_fn=object())), "a spike_fn of its own"),
        (lambda: behind(sl.ALIF(tau_mem=torch.tensor(3.0), tau_adapt=4.0, tau_syn=2.0)), "forgets between calls"),
        (lambda: behind(sl.LIFRecurrent(tau_mem=3.0, rec_connect=nn.Sequential(nn.Linear(6, 6)))), "is a Sequential"),
        (lambda: behind(sl.LIF(tau_mem=-3.0)), "the decay of mem is not between 0 and 1"),
        (lambda: behind(sl.IAF(spike_threshold=torch.tensor(0.0))), "spike_threshold of module '1' is not positive"),
        (lambda: behind(sl.LIF(tau_mem=torch.ones(5))), "does not fit its layer"),
        (Twice, "'first' and 'second' are one object, which keeps one state for both"),
    ],
)  # fmt: skip
def test_refusals(make, message, tmp_path):
    with pytest.raises((UnsupportedError, InvalidInputError), match=message):
        export(make(), (6,), None, tmp_path / "no.nir")
    assert list(tmp_path.iterdir()) == []


def test_every_stateful_layer_of_the_package_is_exported_or_refused():
    from neurodeploy.exporters.sinabs import _SEQUENCE
    from tests.exporters.matrix.sinabs_classes import ALL

    kinds = {kind for kind in ALL.values() if issubclass(kind, sl.StatefulLayer) and kind is not sl.StatefulLayer}

    assert kinds == set(_SEQUENCE)
    stranger = type("Stranger", (sl.StatefulLayer,), {"__module__": "sinabs.layers.stranger"})([])
    assert FRAMEWORK.claims(stranger)
    assert FRAMEWORK.refusal(stranger) == "sinabs's Stranger is not known to the exporter"
