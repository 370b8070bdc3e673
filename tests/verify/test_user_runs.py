"""The torch stage of a verification is the user's own network: its loops, its states, where time lies in its input."""

from __future__ import annotations

import norse.torch as norse
import numpy as np
import pytest
import snntorch as snn
import torch
from snntorch import utils
from spikingjelly.activation_based import functional, neuron
from torch import nn

from neurodeploy.compiler import compile
from neurodeploy.errors import InvalidInputError, NeurodeployError
from neurodeploy.exporters.export import export
from neurodeploy.exporters.usage import Usage
from neurodeploy.nir_graph import interpreter, nir_file
from neurodeploy.nir_graph.conventions import resolve
from neurodeploy.verify.export_proof import export_proven
from neurodeploy.verify.stages import torch_runner, verify_program

STEPS, BATCH = 12, 3


def spikes(seed=1):
    return (np.random.default_rng(seed).random((STEPS, BATCH, 8)) < 0.4).astype(np.float32)


class Step(nn.Module):
    """A layer whose state does not simply go on from step to step; ``make`` builds the neuron, ``step`` calls it."""

    def __init__(self, make, step):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.lif, self.step = nn.Linear(8, 8), make(), step
        self.state = None

    def forward(self, x):
        return self.step(self, self.fc(x))


def clamped(net, x):
    z, mem = net.lif(x, net.lif.init_leaky() if net.state is None else net.state)
    net.state = mem.clamp(min=0)
    return z


def reset(net, x):
    utils.reset(net)
    return net.lif(x)


def reset_net(net, x):
    functional.reset_net(net.lif)
    return net.lif(x)


def zeroed(net, x):
    z = net.lif(x)
    net.lif.v = 0.5 * net.lif.v
    return z


DROPPED = {
    "clamped": (lambda: snn.Leaky(0.9, threshold=0.3), clamped),
    "initialised": (lambda: snn.Leaky(0.9, threshold=0.3), lambda net, x: net.lif(x, net.lif.init_leaky())[0]),
    "reset by snnTorch": (lambda: snn.Leaky(0.9, threshold=0.3, init_hidden=True), reset),
    "no state": (
        lambda: norse.LIFBoxCell(norse.LIFBoxParameters(v_th=torch.tensor(0.05))), lambda net, x: net.lif(x)[0],
    ),
    "reset by SpikingJelly": (lambda: neuron.LIFNode(v_threshold=0.3), reset_net),
    "halved": (lambda: neuron.LIFNode(v_threshold=0.3), zeroed),
}  # fmt: skip


@pytest.mark.parametrize("name", DROPPED)
def test_states_that_do_not_go_on_are_exact_or_refused(name, tmp_path):
    try:
        export_proven(Step(*DROPPED[name]), spikes(), 1e-3, tmp_path / "net.nir")
    except NeurodeployError:
        assert list(tmp_path.iterdir()) == []
        return
    file = nir_file.read(tmp_path / "net.nir")
    net = Step(*DROPPED[name]).double()
    with torch.no_grad():
        theirs = np.stack([net(step).numpy() for step in torch.from_numpy(spikes()).double()])
    ours = interpreter.run(file, {"": spikes()}, resolve(file)).spikes["lif"].dense()
    np.testing.assert_array_equal(ours, theirs)


class Loop(nn.Module):
    """The same network over a whole sequence, with time where ``axis`` says."""

    def __init__(self, axis):
        super().__init__()
        torch.manual_seed(0)
        self.axis, self.fc, self.lif = axis, nn.Linear(8, 8), snn.Leaky(0.9, threshold=0.3)

    def forward(self, x):
        memory, counts = self.lif.init_leaky(), 0
        if self.axis == "step":
            return self.lif(self.fc(x))[0]
        steps = x.unflatten(0, (BATCH, STEPS)).unbind(1) if self.axis == "flat" else None
        for step in steps or ([x] * STEPS if self.axis == "none" else x.unbind(self.axis)):
            z, memory = self.lif(self.fc(step), memory)
            counts = counts + z
        return counts


class Single(Loop):
    def forward(self, x):
        return self.lif(self.fc(x))[0]


@pytest.mark.parametrize("axis", [0, 1, -1, "flat", "none"])
def test_verify_runs_a_module_where_its_time_lies(axis, tmp_path):
    export(Single("step"), (8,), None, tmp_path / "net.nir")
    compiled = compile(tmp_path / "net.nir", None)
    x = np.repeat(spikes()[:1], STEPS, 0) if axis == "none" else spikes()
    (source,) = compiled.float_network.inputs
    runner = torch_runner(Loop(axis), compiled.floats, Usage(axis, STEPS, 1))
    found = verify_program(compiled, {source.name: x}, model=runner, names=())
    assert [pair.verdict for pair in found.pairs] == ["equal", "equal"]
    assert found.pairs[0].spikes[0] > 20
    if axis == "none":
        with pytest.raises(InvalidInputError, match="the input changes from step to step"):
            runner({source.name: spikes()})
    else:
        wrong = torch_runner(Loop(axis), compiled.floats, Usage("step", STEPS, 1))
        with pytest.raises(NeurodeployError):
            wrong({source.name: spikes()})


def test_a_module_of_another_network(tmp_path):
    export(Single("step"), (8,), None, tmp_path / "net.nir")
    network = compile(tmp_path / "net.nir", None).float_network
    with pytest.raises(InvalidInputError, match=r"no layer of the network\n.*found:   1\n.*allowed: lif"):
        torch_runner(nn.Sequential(nn.Linear(8, 8), neuron.IFNode()), network)({network.inputs[0].name: spikes()})
