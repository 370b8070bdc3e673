"""Norse modules as NIR files: structure, parameters, equal spikes in another interpreter, and refusals."""

from __future__ import annotations

from itertools import pairwise

import h5py
import nir
import norse.torch as snn
import numpy as np
import pytest
import torch
from norse.torch.functional.reset import reset_subtract
from torch import nn

from neurodeploy.errors import InvalidInputError, StorageError, UnsupportedError
from neurodeploy.exporters import framework, write_nir
from neurodeploy.exporters.export import export, to_graph
from neurodeploy.exporters.norse import export as export_norse
from neurodeploy.exporters.trace import run_torch
from neurodeploy.models import registry
from tests.exporters import euler


def lif(**parameters):
    given = {key: torch.as_tensor(value) if isinstance(value, float) else value for key, value in parameters.items()}
    return snn.LIFBoxCell(snn.LIFBoxParameters(**given))


def spikes(*shape, p=0.3, seed=0):
    return (np.random.default_rng(seed).random(shape) < p).astype(np.uint8)


def big(layer, factor=8.0):
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(factor)
    return layer


def assert_equal_to_torch(module, path, inputs, at_least=0.005):
    """Every neuron layer of the file does what torch does, and none is silent (or always on)."""
    export(module, inputs.shape[2:], None, path)
    ours, theirs = euler.interpret(path, inputs), run_torch(module, inputs)
    assert ours.keys() == theirs.outputs.keys()
    for name, output in theirs.outputs.items():
        if set(np.unique(output)) <= {0.0, 1.0}:
            assert at_least < output.mean() < 0.9, name
            np.testing.assert_array_equal(ours[name], output, err_msg=name)
        else:
            assert np.abs(output).max() > 0.01
            np.testing.assert_allclose(ours[name], output, rtol=0, atol=1e-12, err_msg=name)
    return theirs


def kinds(graph):
    return {name: type(node).__name__ for name, node in graph.nodes.items()}


class Residual(nn.Module):
    """A skip connection around a layer, added as functional code; flattened by view; the state is passed on by hand."""

    def __init__(self, twice=False):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.lif1 = big(nn.Linear(12, 20), 12), lif()
        self.block = snn.SequentialState(big(nn.Linear(20, 20, bias=False), 30), lif(), nn.Dropout(0.5), nn.Identity())
        self.lif2, self.twice = lif(tau_mem_inv=200.0), twice

    def forward(self, x, state=None):
        s = state or [None] * 3
        z, s[0] = self.lif1(self.first(x.view(x.shape[0], -1)), s[0])
        y, s[1] = self.block(z, s[1])
        out, s[2] = self.lif2((y + z + z) * 2 if self.twice else y * 4 + z * 3, s[2])
        return out, s


def test_mlp_nodes_parameters_and_edges(tmp_path):
    module = registry.load("digits-mlp").build()
    export(module, (1, 8, 8), 1e-3, tmp_path / "mlp.nir")
    graph = nir.read(tmp_path / "mlp.nir")  # nir's own type check included
    assert kinds(graph) == {
        "input": "Input", "flatten": "Flatten", "dense1": "Affine", "lif1": "LIF", "dense2": "Affine", "lif2": "LIF",
        "output": "Output",
    }  # fmt: skip
    order = ["input", "flatten", "dense1", "lif1", "dense2", "lif2", "output"]
    assert sorted(graph.edges) == sorted(pairwise(order))
    np.testing.assert_array_equal(graph.nodes["dense1"].weight, module.dense1.weight.detach().numpy())
    np.testing.assert_array_equal(graph.nodes["dense2"].bias, module.dense2.bias.detach().numpy())
    assert graph.nodes["flatten"].start_dim == 0  # NIR counts without the batch
    neuron = graph.nodes["lif1"]
    for name, value in {"tau": 5e-3, "r": 1, "v_leak": 0, "v_threshold": 1, "v_reset": 0}.items():
        assert getattr(neuron, name).shape == (128,)
        np.testing.assert_allclose(getattr(neuron, name), value, rtol=1e-15)
    about = graph.metadata["neurodeploy"]
    assert (about["dt"], about["reset"], about["comparison"], about["framework"]) == (1e-3, "hard", ">", "norse")
    assert about["torch_version"] == torch.__version__
    assert neuron.metadata["neurodeploy"] == {"module": "lif1"}


def test_conv_nodes(tmp_path):
    module = registry.load("digits-conv").build()
    export(module, (1, 8, 8), None, tmp_path / "conv.nir")
    graph = nir.read(tmp_path / "conv.nir")
    assert [kinds(graph)[name] for name in ("conv1", "lif1", "pool1", "conv2", "lif2", "pool2", "flatten", "dense",
                                            "readout")] == [
        "Conv2d", "LIF", "AvgPool2d", "Conv2d", "LIF", "AvgPool2d", "Flatten", "Affine", "LI",
    ]  # fmt: skip
    assert graph.nodes["conv2"].input_shape.tolist() == [4, 4]
    assert graph.nodes["lif1"].tau.shape == (8, 8, 8)  # scalars become the layer's full shape
    assert graph.nodes["readout"].tau.tolist() == pytest.approx([10e-3] * 10)


@pytest.mark.parametrize("name", list(registry.MODELS))
def test_ready_models_spike_the_same(name, tmp_path):
    model = registry.load(name)
    module = model.build()
    big(module.get_submodule({"digits-mlp": "dense2", "digits-conv": "conv2"}[name]), 5)  # untrained, it hardly spikes
    trace = assert_equal_to_torch(module, tmp_path / "m.nir", model.data(20).inputs)
    assert len(trace.outputs) == 2 + (name == "digits-conv")


def test_residual_add_is_fan_in(tmp_path):
    module = Residual()
    assert_equal_to_torch(module, tmp_path / "r.nir", spikes(30, 4, 3, 4))
    graph = to_graph(module, (3, 4))
    assert kinds(graph)["view"] == "Flatten"
    assert kinds(graph)["block.0"] == "Linear"
    assert sorted(a for a, b in graph.edges if b == "lif2") == ["block.1.scale", "lif1.scale"]
    np.testing.assert_array_equal(graph.nodes["block.1.scale"].scale, np.full(20, 4.0))
    assert graph.nodes["block.1"].metadata["neurodeploy"]["module"] == "block.1"


def test_the_same_layer_added_twice_counts_twice(tmp_path):
    assert_equal_to_torch(Residual(twice=True), tmp_path / "r.nir", spikes(30, 4, 3, 4))
    graph = to_graph(Residual(twice=True), (3, 4))
    assert graph.nodes["lif1.scale"].scale[0] == 4  # (y + z + z) * 2


def test_other_cells_and_parameters(tmp_path):
    torch.manual_seed(3)
    p = snn.LIFParameters(torch.tensor(150.0), torch.tensor(80.0), torch.tensor(0.1), torch.linspace(0.4, 0.9, 30))
    module = snn.SequentialState(
        big(nn.Linear(20, 30), 4), snn.LIFCell(p._replace(v_reset=torch.tensor(-0.2))),
        big(nn.Linear(30, 25), 6), lif(v_leak=0.2, v_reset=-0.3, v_th=0.8),
        big(nn.Linear(25, 15), 3), snn.IAFCell(snn.IAFParameters(v_th=torch.tensor(2.0))),
        big(nn.Linear(15, 4)), snn.LICell(snn.LIParameters(v_leak=torch.tensor(0.3))),
    )  # fmt: skip
    assert_equal_to_torch(module, tmp_path / "m.nir", spikes(60, 5, 20))
    graph = nir.read(tmp_path / "m.nir")
    assert [kinds(graph)[str(i)] for i in (1, 3, 5, 7)] == ["CubaLIF", "LIF", "IF", "CubaLI"]
    assert graph.nodes["1"].w_in[0] == pytest.approx(1 / 150 / 1e-3)  # tau_syn / dt
    np.testing.assert_array_equal(graph.nodes["1"].v_threshold, torch.linspace(0.4, 0.9, 30).double().numpy())
    assert graph.nodes["5"].r[0] == 1000
    assert graph.nodes["3"].metadata["neurodeploy"]["v_initial"] == pytest.approx(0.2)


def test_subtractive_reset(tmp_path):
    torch.manual_seed(1)
    module = snn.SequentialState(big(nn.Linear(10, 8), 10), lif(reset_method=reset_subtract))
    assert_equal_to_torch(module, tmp_path / "m.nir", spikes(40, 3, 10))
    assert to_graph(module, (10,)).metadata["neurodeploy"]["reset"] == "subtract"


def test_convolutions_and_pools(tmp_path):
    torch.manual_seed(0)
    module = snn.SequentialState(
        big(nn.Conv2d(4, 6, (3, 5), stride=(1, 2), padding="valid", groups=2, bias=False), 10), lif(),
        nn.AvgPool2d(2, divisor_override=1), big(nn.Conv2d(6, 3, 3, padding="same", dilation=2), 20), lif(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), big(nn.Linear(12, 5), 20), lif(),
    )  # fmt: skip
    assert_equal_to_torch(module, tmp_path / "c.nir", spikes(30, 3, 4, 10, 11))
    graph = to_graph(module, (4, 10, 11))
    assert kinds(graph)["2"] == "SumPool2d"
    assert graph.nodes["3"].padding == (2, 2)
    np.testing.assert_array_equal(graph.nodes["0"].bias, np.zeros(6))


def test_strict_threshold():
    # 0.5 of 1 every step with dt / tau = 1/2 and input 2: v is 1 = v_th after the first step, which is no spike.
    module = snn.SequentialState(nn.Linear(1, 1, bias=False), lif(tau_mem_inv=500.0))
    with torch.no_grad():
        module[0].weight.fill_(2.0)
    trace = run_torch(module, np.ones((2, 1, 1), np.uint8))
    assert trace.potentials["1"][:, 0, 0].tolist() == [1.0, 0.0]
    assert trace.outputs["1"][:, 0, 0].tolist() == [0.0, 1.0]


def test_export_leaves_the_module_as_it_was():
    module = registry.load("digits-mlp").build().train()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    export_norse(module, (1, 8, 8))
    run_torch(module, spikes(2, 2, 1, 8, 8))
    assert module.training
    assert type(module.lif1) is snn.LIFBoxCell
    assert all(
        value.dtype == torch.float32 and torch.equal(value, before[k]) for k, value in module.state_dict().items()
    )


class Calls(nn.Module):
    """Linear, whatever ``code`` does, and a neuron."""

    def __init__(self, code, neuron=None):
        super().__init__()
        self.dense, self.lif, self.code = nn.Linear(6, 6), neuron or lif(), code
        self.offset = nn.Parameter(torch.ones(6))

    def forward(self, x, state=None):
        return self.lif(self.code(self, self.dense(x)), state)


def run_lif_twice(m, x):
    return m.lif(x)[0]


@pytest.mark.parametrize(
    "code", [lambda m, x: x + 1.0, lambda m, x: 0.5 - x, lambda m, x: x + m.offset, lambda m, x: 3 * x - m.offset]
)
def test_a_constant_becomes_part_of_the_bias(code, tmp_path):
    torch.manual_seed(0)
    module = Calls(code)
    big(module.dense, 10)
    with torch.no_grad():
        module.offset.uniform_(-1, 2)
    assert_equal_to_torch(module, tmp_path / "m.nir", spikes(40, 3, 6))
    assert kinds(to_graph(module, (6,))) == {"input": "Input", "dense": "Affine", "lif": "LIF", "output": "Output"}


def test_layers_may_have_different_resets(tmp_path):
    torch.manual_seed(1)
    module = snn.SequentialState(
        big(nn.Linear(10, 8), 12), lif(reset_method=reset_subtract), big(nn.Linear(8, 8), 25), lif(),
        big(nn.Linear(8, 8), 25), lif(),
    )  # fmt: skip
    euler.agrees_with_torch(module, tmp_path / "m.nir", spikes(40, 3, 10))
    graph = to_graph(module, (10,))
    assert graph.metadata["neurodeploy"]["reset"] == "hard"  # of most layers
    assert graph.nodes["1"].metadata["neurodeploy"]["reset"] == "subtract"


def test_modules_that_run_over_time_are_exported_as_one_step(tmp_path):
    torch.manual_seed(4)
    conv, dense = big(nn.Conv2d(1, 3, 3), 20), big(nn.Linear(12, 9), 10)
    module = snn.SequentialState(
        snn.Lift(conv), snn.LIF(snn.LIFParameters(v_th=torch.tensor(0.5))), snn.Lift(nn.Flatten()), dense,
        snn.IAF(), big(snn.LIFRecurrent(9, 7, record_states=True), 2), big(nn.Linear(7, 4), 5), snn.LI(),
    )  # fmt: skip
    x = spikes(60, 3, 1, 4, 4)
    trace = euler.agrees_with_torch(module, tmp_path / "m.nir", x, at_least=0.001)
    with torch.no_grad():
        played = module(torch.from_numpy(x).float())[0].numpy()
    assert np.abs(played).max() > 0.05
    np.testing.assert_allclose(trace.outputs["7"].reshape(played.shape), played, atol=1e-4)
    graph = to_graph(module, (1, 4, 4))
    assert kinds(graph)["1"] == "CubaLIF" and ("5", "5.recurrent") in graph.edges
    assert module[5].record_states


def test_refractory_cells(tmp_path):
    torch.manual_seed(2)
    each = snn.LIFRefracParameters(snn.LIFParameters(v_th=torch.tensor(0.3)), rho_reset=torch.arange(8.0) / 2)
    plain = snn.LIFRefracParameters(snn.LIFParameters(v_th=torch.tensor(0.2), v_reset=torch.tensor(0.05)))
    module = snn.SequentialState(
        big(nn.Linear(10, 8), 10), snn.LIFRefracCell(each), big(nn.Linear(8, 6), 20), snn.LIFRefracCell(plain)
    )
    trace = euler.agrees_with_torch(module, tmp_path / "m.nir", spikes(100, 3, 10))
    graph = to_graph(module, (10,))
    # rho counts down by one a step and holds the neuron while it is above 0
    assert graph.nodes["1"].metadata["neurodeploy"]["refractory"].tolist() == [0, 1, 1, 2, 2, 3, 3, 4]
    assert graph.nodes["3"].metadata["neurodeploy"]["refractory"] == 5
    times = np.flatnonzero(trace.outputs["3"][:, 0, int(trace.outputs["3"].sum((0, 1)).argmax())])
    assert len(times) > 3 and np.diff(times).min() > 5


@pytest.mark.parametrize(
    ("module", "shape", "error", "message"),
    [
        (Calls(lambda m, x: x.relu()), (6,), UnsupportedError, "aten.relu cannot be expressed in NIR"),
        (Calls(lambda m, x: x if x.sum() > 0 else -x), (6,), UnsupportedError, "not one static graph"),
        (Calls(lambda m, x: nn.functional.linear(x, x)), (6,), UnsupportedError, "weights that depend"),
        (Calls(run_lif_twice), (6,), UnsupportedError, "'lif' is called more than once"),
        (Calls(lambda m, x: x), (5,), InvalidInputError, "does not compute one time step"),
        (Calls(lambda m, x: x), (), InvalidInputError, "shape of a sample"),
        (Calls(lambda m, x: x, snn.LSNNCell()), (6,), UnsupportedError, "'lif' of class LSNNCell.*\n.*one step late"),
        (Calls(lambda m, x: x, snn.LIFAdEx()), (6,), UnsupportedError, "an adaptive exponential neuron"),
        (Calls(lambda m, x: x, snn.LIFExRecurrentCell(6, 6)), (6,), UnsupportedError, "an exponential neuron"),
        (Calls(lambda m, x: x, snn.Izhikevich(snn.tonic_spiking)), (6,), UnsupportedError, "an Izhikevich neuron"),
        (snn.RecurrentSequential(nn.Linear(6, 6), lif()), (6,), UnsupportedError, "recurrent connection around"),
        (Calls(lambda m, x: x, lif(v_th=torch.ones(5))), (6,), InvalidInputError, "v_th of module 'lif' does not fit"),
        (Calls(lambda m, x: x, snn.LIFBoxCell(dt=1e-4)), (6,), InvalidInputError, "'lif' was built for another time"),
        (snn.SequentialState(nn.Linear(6, 6)), (6,), UnsupportedError, "has no neuron of norse"),
        (nn.Linear(6, 6), (6,), UnsupportedError, "no neurons of a framework"),
        (snn.SequentialState(nn.Conv2d(1, 1, 3), nn.MaxPool2d(2), nn.Conv2d(1, 1, 3), lif()), (1, 8, 8),
         UnsupportedError, "the largest of several currents is not directly in front of a neuron"),
        (snn.SequentialState(nn.Flatten(0), nn.Linear(12, 4), lif()), (6,), UnsupportedError, "not a flattening of a"),
    ],
)  # fmt: skip
def test_refusals_name_what_and_leave_no_file(module, shape, error, message, tmp_path):
    with pytest.raises(error, match=message):
        export(module, shape, 1e-3, tmp_path / "no.nir")
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_names_the_module():
    module = snn.SequentialState(nn.Linear(6, 6), lif(), nn.Sequential(nn.Softmax(1)), nn.Linear(6, 6), lif())
    with pytest.raises(UnsupportedError, match=r"module '2\.0' \(Softmax softmax\): aten\.softmax"):
        to_graph(module, (6,))


def test_an_overridden_forward_is_not_trusted():
    class Louder(snn.LIFBoxCell):
        def forward(self, input_tensor, state=None):
            return super().forward(input_tensor * 2, state)

    with pytest.raises(UnsupportedError, match="overrides the forward of LIFBoxCell"):
        to_graph(snn.SequentialState(nn.Linear(2, 2), Louder()), (2,))


def test_dt_is_taken_from_the_cells():
    module = snn.SequentialState(nn.Linear(6, 6), snn.LIFBoxCell(dt=1e-4))
    assert to_graph(module, (6,)).metadata["neurodeploy"]["dt"] == 1e-4
    with pytest.raises(InvalidInputError, match="positive number of seconds"):
        to_graph(module, (6,), -1.0)


def test_sum_as_output_is_refused():
    class Sew(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.lif1, self.lif2 = nn.Linear(4, 4), lif(), lif()

        def forward(self, x):
            return self.lif1(self.a(x))[0] + self.lif2(x)[0]

    with pytest.raises(UnsupportedError, match="returns a sum of layers"):
        to_graph(Sew(), (4,))


def test_reserved_names_and_shared_cells(tmp_path):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.input, self.output = big(nn.Linear(5, 5), 10), lif()
            self.again = self.output

        def forward(self, x, first=None, second=None):
            z, first = self.output(self.input(x), first)
            z, second = self.again(self.input(z), second)
            return z, first, second

    # One cell object at two paths is two layers, each with the state that it is handed.
    assert_equal_to_torch(Model(), tmp_path / "m.nir", spikes(30, 3, 5), at_least=0.001)
    names = set(to_graph(Model(), (5,)).nodes)
    assert {"input", "output", "input_", "input__2", "output_", "again"} == names


def test_two_outputs():
    module = snn.SequentialState(nn.Linear(4, 3), lif(), return_hidden=True)
    graph = to_graph(module, (4,))
    assert {name for name in graph.nodes if name.startswith("output")} == {"output_0", "output_1"}


def test_a_damaged_write_is_noticed_and_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m.nir"
    path.write_text("old")
    graph = to_graph(snn.SequentialState(nn.Linear(4, 3), lif()), (4,))
    right = nir.write

    def wrong(file, graph):
        right(file, graph)
        with h5py.File(file, "r+") as written:
            written["node/nodes/0/weight"][0, 0] += 1

    monkeypatch.setattr(nir, "write", wrong)
    with pytest.raises(StorageError, match=r"(?s)m.nir does not hold what was written.*/nodes/0/weight"):
        write_nir.write(graph, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_frameworks_are_known_by_name():
    assert "norse" in framework.names()
    with pytest.raises(InvalidInputError, match="unknown framework"):
        framework.get("nothing")
