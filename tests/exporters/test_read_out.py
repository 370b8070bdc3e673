"""A last layer that can never spike is a read-out of its potential; anywhere else it is refused in words."""

from __future__ import annotations

import nir
import norse.torch as norse
import numpy as np
import pytest
import sinabs.layers as sl
import snntorch
import torch
from spikingjelly.activation_based import neuron as sj
from torch import nn

from neurodeploy.cli import main
from neurodeploy.compiler import compile
from neurodeploy.errors import UnsupportedError
from neurodeploy.exporters.export import to_graph
from neurodeploy.lowering.lower import lower
from neurodeploy.network.unreachable import never_spiking
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.conventions import resolve
from neurodeploy.verify.export_proof import export_proven
from neurodeploy.verify.stages import torch_runner

INF = float("inf")


def leaky(threshold, **more):
    return snntorch.Leaky(beta=0.9, threshold=threshold, init_hidden=True, reset_mechanism="zero", **more)


def synaptic(threshold):
    return snntorch.Synaptic(alpha=0.7, beta=0.8, threshold=threshold, init_hidden=True, reset_mechanism="zero")


def box(threshold):
    return norse.LIFBoxCell(norse.LIFBoxParameters(tau_mem_inv=torch.tensor(200.0), v_th=torch.tensor(threshold)))


def dense(inputs, outputs):
    layer = nn.Linear(inputs, outputs)
    nn.init.uniform_(layer.weight, -0.4, 0.8)
    return layer


NEURONS = {
    "snnTorch": (leaky, nn.Sequential),
    "snnTorch, with a current": (synaptic, nn.Sequential),
    "SpikingJelly": (lambda th: sj.LIFNode(tau=2.0, v_threshold=th), nn.Sequential),
    "SpikingJelly, other reset": (lambda th: sj.LIFNode(tau=2.0, v_threshold=th, v_reset=-0.1), nn.Sequential),
    "norse": (box, norse.SequentialState),
    "sinabs": (lambda th: sl.LIF(tau_mem=5.0, spike_threshold=th), nn.Sequential),
}


def spikes(inputs, steps=15):
    return (np.random.default_rng(0).random((steps, 2, inputs)) < 0.5).astype(np.uint8)


@pytest.mark.parametrize("name", NEURONS)
@pytest.mark.parametrize("threshold", [1e9, INF])
def test_the_last_layer(name, threshold, tmp_path):
    make, container = NEURONS[name]
    torch.manual_seed(0)
    module = container(dense(6, 5), make(0.3), dense(5, 3), make(threshold))
    if name == "sinabs" and threshold == INF:
        pytest.skip("sinabs itself computes 0 * inf there")
    for pair in export_proven(module, spikes(6), 1e-3, tmp_path / "a.nir").pairs:
        assert pair.verdict == "equal"
    file = nir_file.read(tmp_path / "a.nir")
    assert type(file.graph.nodes["3"]).__name__ in ("LI", "CubaLI")
    assert file.metadata["read_out"].startswith("3 (its threshold of ")
    network = lower(file, resolve(file))
    assert not network.by_name["3"].spiking
    run = torch_runner(module, network)
    v = run({network.inputs[0].name: spikes(6)}).states["v"]["3"]
    assert np.abs(v).max() > 0.1
    compile(tmp_path / "a.nir", None)


def test_a_threshold_within_reach_stays(tmp_path):
    torch.manual_seed(0)
    module = nn.Sequential(dense(6, 5), leaky(0.3), nn.Linear(5, 3, bias=False), leaky(1.0))
    module[2].weight.data.fill_(0.5)
    for threshold, reads in ((24.9, False), (25.1, True)):  # 5 * 0.5 in each step, a tenth leaks: 25 at most
        module[3].threshold = torch.tensor(threshold)
        export_proven(module, spikes(6), None, tmp_path / "a.nir")
        assert ("read_out" in nir_file.read(tmp_path / "a.nir").metadata) == reads


def test_without_leak_or_behind_an_input_nothing_is_out_of_reach(tmp_path):
    torch.manual_seed(0)
    whole = sj.IFNode(v_threshold=1e9)
    for module in (
        nn.Sequential(dense(6, 5), sj.LIFNode(tau=2.0, v_threshold=0.3), dense(5, 3), whole),
        nn.Sequential(dense(6, 5), sj.LIFNode(tau=2.0, v_threshold=1e9)),
    ):
        path = tmp_path / "a.nir"
        nir.write(path, to_graph(module, (6,)))
        file = nir_file.read(path)
        assert never_spiking(lower(file, resolve(file))) == []


def test_an_infinite_threshold_anywhere_else_is_refused():
    torch.manual_seed(0)
    some = torch.tensor([1.0, INF, 1.0])
    for module, found in (
        (nn.Sequential(dense(6, 5), leaky(INF), dense(5, 3), leaky(1.0)), "layers behind it"),
        (nn.Sequential(dense(6, 5), leaky(1.0), dense(5, 3), leaky(some)), "1 of 3"),
    ):
        with pytest.raises(UnsupportedError, match=f"infinite threshold and never spikes\n.*{found}(?s:.)*read-out"):
            to_graph(module, (6,))


def test_compile_proposes_a_read_out(tmp_path):
    one = np.ones(2)
    nodes = {
        "input": nir.Input(np.array([3])),
        "fc": nir.Linear(np.full((2, 3), 0.2)),
        "last": nir.LIF(2e-3 * one, 2 * one, 0 * one, 1e9 * one, 0 * one),
        "output": nir.Output(np.array([2])),
    }
    edges = [("input", "fc"), ("fc", "last"), ("last", "output")]
    nir.write(tmp_path / "a.nir", nir.NIRGraph(nodes, edges, metadata={"neurodeploy": {"dt": 1e-3}}, type_check=False))
    with pytest.raises(UnsupportedError, match=r"'last' can never spike(?s:.)*make it a read-out") as raised:
        compile(tmp_path / "a.nir", None)
    assert "closer together" not in str(raised.value)


@pytest.mark.parametrize(
    ("make", "good"),
    [
        (lambda: snntorch.Leaky(beta=0.9, threshold=INF, init_hidden=True), "reset_mechanism='none'"),
        (lambda: snntorch.Leaky(0.9, threshold=INF, init_hidden=True, reset_delay=False), "reset_mechanism='none'"),
        (lambda: snntorch.Synaptic(0.7, 0.8, threshold=INF, init_hidden=True), "reset_mechanism='none'"),
        (lambda: sj.LIFNode(tau=2.0, v_threshold=INF, v_reset=None), "v_reset=0.0"),
    ],
)
def test_an_infinite_threshold_that_is_subtracted_is_refused_by_name(make, good):
    first = snntorch.Leaky if "snntorch" in type(make()).__module__ else None
    hidden = first(beta=0.9, threshold=0.5, init_hidden=True) if first else sj.LIFNode(tau=2.0)
    with pytest.raises(UnsupportedError, match=r"infinite (v_)?threshold from every potential") as raised:
        to_graph(nn.Sequential(dense(6, 5), hidden, dense(5, 3), make()), (6,), None)
    assert good in str(raised.value)


def test_a_network_of_read_outs_alone(tmp_path):
    """No layer spikes: it is proven, and verified, on its potentials."""
    torch.manual_seed(0)
    net, path, x = nn.Sequential(dense(6, 3), leaky(INF)), tmp_path / "n.nir", spikes(6)
    assert [pair.verdict for pair in export_proven(net, x, 1e-3, path).pairs] == ["equal"] * 3
    np.save(tmp_path / "x.npy", x)
    given = ["-i", str(tmp_path / "x.npy"), "--chip", "none", "--backends", "reference,hwsim"]
    assert main(["verify", str(path), *given]) == 0
    file = nir.read(path)
    file.nodes["0"].weight = file.nodes["0"].weight * 1.5
    nir.write(path, file)
    assert main(["verify", str(path), *given]) == 2, "it is no longer the network that was proven"


class Returning(nn.Module):
    """A last layer that never spikes; ``returns`` what of its spikes and its potential."""

    def __init__(self, returns, threshold):
        super().__init__()
        torch.manual_seed(0)
        self.fc1, self.lif1, self.fc2, self.returns = dense(6, 5), leaky(0.3), dense(5, 3), returns
        self.last = snntorch.Leaky(beta=0.9, threshold=threshold, reset_mechanism="zero")

    def forward(self, x, mem=None):
        mem = self.last.init_leaky() if mem is None else mem
        spk, mem = self.last(self.fc2(self.lif1(self.fc1(x))), mem)
        return self.returns(spk, mem), mem


@pytest.mark.parametrize("threshold", [1e9, INF])
def test_what_forward_returns_of_a_layer_that_never_spikes(threshold, tmp_path):
    path, x = tmp_path / "a.nir", spikes(6)
    made = export_proven(Returning(lambda spk, mem: (spk, mem), threshold), x, 1e-3, path)
    assert [pair.verdict for pair in made.pairs] == ["equal"] * 3
    assert made.captured.answer.described() == "the potentials of last"
    assert made.captured.left_out == {
        0: "it is the same for every sample, as 'last' never spikes; the file gives its potential"
    }
    assert made.pairs[0].compared == 2 * x.shape[0] * x.shape[1] * 3, "the spikes are compared all the same"
    made = export_proven(Returning(lambda spk, mem: mem + 2 * spk, threshold), x, 1e-3, path)
    assert [pair.verdict for pair in made.pairs] == ["equal"] * 3 and not made.captured.left_out
    file = nir_file.read(path)
    assert lower(file, resolve(file)).answer.potentials == ("last",)
    compile(path, None)
