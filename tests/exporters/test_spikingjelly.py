"""SpikingJelly modules as NIR files: the same spikes in every layer and step, what the file says, and refusals."""

from __future__ import annotations

import itertools

import nir
import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import nn

from neurodeploy.errors import InvalidInputError, UnsupportedError
from neurodeploy.exporters.export import export, to_graph
from neurodeploy.exporters.spikingjelly import FRAMEWORK
from tests.exporters.euler import agrees_with_torch
from tests.exporters.matrix import cells
from tests.exporters.matrix.cells import BATCH, STEPS, sample


def dense(inputs, outputs, gain=6.0):
    return cells.dense(inputs, outputs, gain)


def spikes(*shape):
    return sample(shape)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


NODES = {
    "IF": lambda **more: neuron.IFNode(**more),
    "LIF": lambda **more: neuron.LIFNode(tau=3.3, **more),
    "LIF, input not decayed": lambda **more: neuron.LIFNode(tau=3.3, decay_input=False, **more),
    "PLIF": lambda **more: neuron.ParametricLIFNode(init_tau=2.7, **more),
    "PLIF, input not decayed": lambda **more: neuron.ParametricLIFNode(init_tau=2.7, decay_input=False, **more),
    "CUBALIF": lambda **more: neuron.CUBALIFNode(0.6, 0.8, **more),
    "SimpleLIF": lambda **more: neuron.SimpleLIFNode(tau=4.0, decay_input=True, **more),
    "SimpleIF": lambda **more: neuron.SimpleIFNode(**more),
}


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("v_reset", [0.0, -0.3, 0.2, None])
def test_every_node_and_reset(name, v_reset, tmp_path):
    if v_reset is None and name == "SimpleLIF":
        with pytest.raises(TypeError):  # SpikingJelly's own: its equation uses v_reset
            NODES[name](v_reset=None)(torch.ones(1))
        return
    node = NODES[name](v_threshold=0.9, v_reset=v_reset)
    module = nn.Sequential(dense(30, 20), node, dense(20, 10, 12), NODES["LIF"]())
    agrees_with_torch(module, tmp_path / "m.nir", spikes(30))
    about = nir.read(tmp_path / "m.nir").nodes["1"].metadata["neurodeploy"]
    whole = to_graph(module, (30,)).metadata["neurodeploy"]
    assert whole["comparison"] == ">=" and "no time step" in whole["dt_origin"]
    assert about.get("reset", whole["reset"]) == ("subtract" if v_reset is None else "hard")
    assert about.get("v_initial", 0.0) == (0.0 if "Simple" in name else v_reset or 0.0)


def test_equality_spikes(tmp_path):
    module = nn.Sequential(nn.Linear(1, 1, bias=False), neuron.IFNode(v_threshold=1.0))
    with torch.no_grad():
        module[0].weight.fill_(0.25)
    trace = agrees_with_torch(module, tmp_path / "m.nir", np.ones((12, 1, 1), np.uint8))
    assert trace.outputs["1"][:, 0, 0].tolist() == [0, 0, 0, 1] * 3


def test_the_time_constants_are_in_steps_of_dt():
    module = nn.Sequential(dense(3, 3), neuron.LIFNode(tau=4.0))
    for dt in (1e-3, 0.25):
        np.testing.assert_allclose(to_graph(module, (3,), dt).nodes["1"].tau, 4 * dt, rtol=1e-15)


class Blocks(nn.Module):
    """Multi-step mode, with the containers that only take sequences, shared code and a residual add."""

    def __init__(self):
        super().__init__()
        self.stem = layer.SeqToANNContainer(nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4))
        self.lif1 = neuron.LIFNode(step_mode="m")
        self.body = nn.Sequential(layer.Conv2d(4, 4, 3, padding=1, step_mode="m"), neuron.IFNode(step_mode="m"))
        self.pool, self.flat = layer.AvgPool2d(2, step_mode="m"), layer.Flatten(step_mode="m")
        self.head = layer.MultiStepContainer(dense(36, 8), neuron.LIFNode())

    def forward(self, x):
        y = self.lif1(self.stem(x))
        return self.head(self.flat(self.pool(y + self.body(y))))


def test_multi_step_modules_are_one_step(tmp_path):
    module = Blocks()
    with torch.no_grad():
        for part in (module.stem[0], module.body[0]):
            part.weight.mul_(6)
        module.stem[1].running_mean.uniform_(-0.2, 0.2)
        module.stem[1].running_var.uniform_(0.4, 1.5)
    module.eval()
    x = spikes(2, 6, 6)
    trace = agrees_with_torch(module, tmp_path / "m.nir", x)
    functional.reset_net(module)
    played = module(torch.from_numpy(x).float()).detach().reshape(STEPS, BATCH, -1).numpy()
    np.testing.assert_array_equal(trace.outputs["head.1"], played)
    assert module.lif1.step_mode == "m"  # left as it was


def test_what_a_run_has_left_behind_does_not_count(tmp_path):
    module = nn.Sequential(dense(6, 5), neuron.LIFNode())
    module(torch.ones(3, 6)).sum().backward()
    left = module[1].v
    agrees_with_torch(module, tmp_path / "m.nir", spikes(6))
    assert module[1].v is left


@pytest.mark.parametrize("linears", [0, 1, 2])
def test_recurrent_containers(linears, tmp_path):
    sizes = [12, 9, 7][: linears + 1]
    front = [dense(a, b, 3) for a, b in itertools.pairwise(sizes)]
    container = layer.LinearRecurrentContainer(nn.Sequential(*front, neuron.LIFNode(v_threshold=0.5)), 12, sizes[-1])
    same = [dense(sizes[-1], sizes[-1], 3) for _ in range(linears)]
    again = layer.ElementWiseRecurrentContainer(nn.Sequential(*same, neuron.IFNode()), lambda a, b: a + b)
    with torch.no_grad():
        container.rc.weight.mul_(4)
    module = nn.Sequential(container, again)
    trace = agrees_with_torch(module, tmp_path / "m.nir", spikes(12), at_least=0.001, most=1.1)
    functional.reset_net(module)
    played = torch.stack([module(step) for step in torch.from_numpy(spikes(12)).float()]).detach().numpy()
    np.testing.assert_array_equal(trace.outputs["1"], played)


class Louder(neuron.LIFNode):
    def single_step_functional_forward(self, inputs, states, **more):
        return super().single_step_functional_forward((inputs[0] * 2,), states, **more)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.first = dense(6, 6), neuron.LIFNode()
        self.second = self.first

    def forward(self, x):
        return self.second(self.fc(self.first(x)))


def behind(node):
    return nn.Sequential(dense(6, 6), node)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: behind(neuron.KLIFNode()), "a scaled rectifier on its potential"),
        (lambda: behind(neuron.QIFNode()), "a quadratic membrane"),
        (lambda: behind(neuron.IzhikevichNode()), "an Izhikevich membrane"),
        (lambda: behind(neuron.PSN(T=4)), "sees a whole sequence at once"),
        (lambda: behind(neuron.NonSpikingLIFNode()), "decodes a whole sequence"),
        (lambda: behind(neuron.LIAFNode(torch.relu, True)), "not spikes"),
        (lambda: behind(Louder()), "overrides single_step_functional_forward of LIFNode"),
        (lambda: behind(neuron.LIFNode(surrogate_function=surrogate.ATan(spiking=False))), "does not spike exactly"),
        (lambda: behind(neuron.LIFNode(surrogate_function=None)), "its surrogate_function fails: TypeError"),
        (lambda: layer.ElementWiseRecurrentContainer(neuron.LIFNode(), None), "element_wise_function fails: TypeErr"),
        (lambda: Twice(), "'first' and 'second' are one object, which keeps one state for both"),
        (lambda: behind(neuron.IFNode(v_threshold=-1.0)), "v_threshold of module '1' is not above v_reset"),
        (lambda: behind(neuron.CUBALIFNode(1.5, 0.5)), "c_decay of module '1' gives no leak between 0 and 1"),
        (lambda: layer.LinearRecurrentContainer(nn.Sequential(neuron.LIFNode(), nn.Linear(6, 6)), 6, 6),
         "is not one neuron layer"),
        (lambda: layer.LinearRecurrentContainer(neuron.KLIFNode(), 6, 6), "LinearRecurrentContainer: a scaled"),
        (lambda: layer.ElementWiseRecurrentContainer(neuron.LIFNode(), torch.mul), "function is not a sum"),
    ],
)  # fmt: skip
def test_refusals(make, message, tmp_path):
    with pytest.raises((UnsupportedError, InvalidInputError), match=message):
        export(make(), (6,), None, tmp_path / "no.nir")
    assert list(tmp_path.iterdir()) == []


def test_every_node_of_the_package_is_exported_or_refused_with_a_reason():
    exported, refused = set(), set()
    for name in dir(neuron):
        kind = getattr(neuron, name)
        if not (isinstance(kind, type) and issubclass(kind, nn.Module)) or "Base" in name:
            continue
        node = kind.__new__(kind)
        nn.Module.__init__(node)
        assert FRAMEWORK.claims(node), name
        if name in {"IFNode", "LIFNode", "ParametricLIFNode", "CUBALIFNode", "SimpleIFNode", "SimpleLIFNode"}:
            exported.add(name)
            continue
        assert len(FRAMEWORK.refusal(node)) > 20, name
        refused.add(name)
    assert len(exported) == 6 and len(refused) > 10
