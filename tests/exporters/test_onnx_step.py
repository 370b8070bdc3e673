"""A network as ONNX: onnxruntime computes the reference's spikes, step by step and as one Scan."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import nir
import numpy as np
import pytest

from neurodeploy.backends.reference import run as reference
from neurodeploy.errors import StorageError, UnsupportedError
from neurodeploy.lowering.lower import lower
from neurodeploy.network.connectivity import Conv2d, Dense
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.conventions import resolve
from neurodeploy.program.recording import Record, Recording
from neurodeploy.verify.export_proof import export_onnx
from tests import nirgraphs
from tests.conformance.cases import build
from tests.networks import placed, random_network, random_spikes

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from neurodeploy.backends.onnx import run as backend  # noqa: E402
from neurodeploy.backends.onnx import step as onnx_step  # noqa: E402
from neurodeploy.backends.onnx import synapses as onnx_synapses  # noqa: E402
from neurodeploy.backends.onnx.step import METADATA, to_onnx, write  # noqa: E402

STATES = Record(("u", "v"))


def residual(seed: int = 0) -> nir.NIRGraph:
    """1x6x6 -> conv 4 -> LIF -> conv 4 -> LIF, the first LIF added in front of the second (identity skip) -> 3 LIF."""
    rng = np.random.default_rng(seed)
    lif = nirgraphs.lif
    nodes = {
        "input": nir.Input(np.array([1, 6, 6])),
        "conv1": nir.Conv2d((6, 6), rng.normal(size=(4, 1, 3, 3)), 1, 1, 1, 1, np.zeros(4)),
        "lif1": lif((4, 6, 6)),
        "conv2": nir.Conv2d((6, 6), rng.normal(size=(4, 2, 3, 3)), 1, 1, 1, 2, rng.normal(size=4) * 0.1),
        "lif2": lif((4, 6, 6), threshold=0.6),
        "flat": nir.Flatten({"input": np.array([4, 6, 6])}, 0, -1),
        "fc": nir.Affine(rng.normal(size=(3, 144)) * 0.2, np.zeros(3)),
        "out": lif(3),
        "output": nir.Output(np.array([3])),
    }
    edges = [("input", "conv1"), ("conv1", "lif1"), ("lif1", "conv2"), ("conv2", "lif2"), ("lif1", "lif2"),
             ("lif2", "flat"), ("flat", "fc"), ("fc", "out"), ("out", "output")]  # fmt: skip
    return nir.NIRGraph(nodes, edges, type_check=False)


def readout(seed: int = 0) -> nir.NIRGraph:
    """7 -> 9 IF, read by CubaLI."""
    rng = np.random.default_rng(seed)
    full = np.full
    return nirgraphs.sequence(
        (7,),
        {
            "fc1": nir.Affine(rng.normal(size=(9, 7)), rng.normal(size=9) * 0.1),
            "if1": nir.IF(full(9, 1e3), full(9, 1.1), full(9, 0.0)),
            "fc2": nir.Linear(rng.normal(size=(4, 9))),
            "read": nir.CubaLI(full(4, 3e-3), full(4, 9e-3), full(4, 1.0), full(4, 0.1), full(4, 1.0)),
        },
    )


GRAPHS = {
    "mlp": nirgraphs.mlp,
    "conv": nirgraphs.conv,
    "recurrent": nirgraphs.recurrent,
    "residual": residual,
    "readout": readout,
}


@pytest.fixture(params=GRAPHS)
def network(request, tmp_path) -> Network:
    file = nir_file.read(nirgraphs.write(GRAPHS[request.param](), tmp_path / f"{request.param}.nir"))
    return lower(file, resolve(file, dt=1e-3))


def spikes_of(network: Network, steps: int, samples: int = 3, rate: float = 0.3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    return {p.name: (rng.random((steps, samples, *p.shape)) < rate).astype(np.uint8) for p in network.inputs}


def differing(a: Recording, b: Recording) -> tuple[int, int]:
    """Spikes that differ, and spikes of the first."""
    assert a.spikes.keys() == b.spikes.keys()
    pairs = [(a.spikes[n].dense(), b.spikes[n].dense()) for n in a.spikes]
    return sum(int((x != y).sum()) for x, y in pairs), sum(int((x != 0).sum()) for x, _ in pairs)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_hundred_steps_equal_the_reference(network, dtype):
    inputs = spikes_of(network, 100)
    expected = reference.run_network(network, inputs, record=STATES, dtype=dtype)
    found = backend.run_network(network, inputs, record=STATES, dtype=dtype)
    different, spikes = differing(expected, found)
    assert different == 0
    assert spikes > 100 * len(network.populations)
    tolerance = 1e-9 if dtype == np.float64 else 1e-4
    for variable in ("u", "v"):
        assert expected.states[variable].keys() == found.states[variable].keys()
        for name, values in expected.states[variable].items():
            np.testing.assert_allclose(found.states[variable][name], values, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_scan_equals_step(network, dtype):
    inputs = spikes_of(network, 100)
    step = backend.run_network(network, inputs, record=STATES, dtype=dtype)
    scan = backend.run_network(network, inputs, dtype=dtype, scan=True)
    assert differing(step, scan)[0] == 0
    for name, values in scan.states.get("v", {}).items():
        np.testing.assert_allclose(values, step.states["v"][name], rtol=1e-5, atol=1e-6)
    assert set(scan.states.get("v", {})) == {p.name for p in network.populations if not p.spiking}


@pytest.mark.parametrize("scan", [False, True])
def test_a_written_file_runs_in_its_own_form_and_numbers(network, scan, tmp_path):
    """What is proven is the file: float32, on 100 steps no spike but the reference's in float32."""
    write(network, tmp_path / "net.onnx", scan=scan)
    inputs = spikes_of(network, 100)
    expected = reference.run_network(network, inputs, dtype=np.float32)
    found = backend.run_model((tmp_path / "net.onnx").read_bytes(), network, inputs)
    assert differing(expected, found) == (0, differing(expected, expected)[1])
    assert all(values.dtype == np.float32 for values in found.states.get("v", {}).values())


@pytest.mark.parametrize("scan", [False, True])
def test_the_proof_runs_the_file_that_is_written(scan, tmp_path, monkeypatch):
    """A file that is not the proven network shows up as differing spikes."""
    source = nirgraphs.write(nirgraphs.mlp(), tmp_path / "net.nir")
    sample = (np.random.default_rng(1).random((50, 4, 12)) < 0.3).astype(np.uint8)
    pairs = export_onnx(source, sample, tmp_path / "net.onnx", dt=1e-3, scan=scan)
    assert [(p.second, p.verdict) for p in pairs] == [("onnxruntime", "equal"), ("net.onnx in float32", "equal")]
    assert pairs[1].spikes[0] > 100
    real = onnx_step.write

    def other(network, path, **options):
        """Writes a network whose thresholds are all doubled."""
        changed = [
            replace(p, neuron=replace(p.neuron, threshold=p.neuron.threshold * 2)) if hasattr(p.neuron, "reset") else p
            for p in network.populations
        ]
        return real(replace(network, populations=tuple(changed)), path, **options)

    monkeypatch.setattr(onnx_step, "write", other)
    pairs = export_onnx(source, sample, tmp_path / "net.onnx", dt=1e-3, scan=scan)
    assert pairs[0].verdict == "equal" and pairs[1].verdict == "measured" and pairs[1].spikes_different > 100


@pytest.mark.parametrize("seed", range(40))
def test_random_networks_equal_the_reference(seed):
    """Every reset rule and time, several spikes, floors, delays, skips, always-on sources, every connectivity."""
    network = random_network(seed, "float", slow=False)
    inputs = {"input": random_spikes(network, seed, steps=20)}
    expected = reference.run_network(network, inputs, record=STATES)
    found = backend.run(placed(network), inputs, record=STATES)
    assert differing(expected, found)[0] == 0
    for name, values in expected.states["v"].items():
        np.testing.assert_allclose(found.states["v"][name], values, rtol=1e-9, atol=1e-9)
    assert differing(found, backend.run_network(network, inputs, scan=True))[0] == 0


@pytest.mark.parametrize("changed", [{}, {"max_spikes": 3}, {"floor": np.full(6, -0.2)}, {"du": np.ones(6)}])
def test_reset_of_the_current(changed):
    rng, one = np.random.default_rng(3), np.ones(6)
    neuron = Lif(0.4 * one, 0.1 * one, 0 * one, one, 0.1 * one, 0 * one, reset_current=True)
    neuron = replace(neuron, **changed)
    network = Network(
        "forgets",
        (Population("input", (5,), Source()), Population("a", (6,), neuron)),
        (Projection("p", "input", "a", Dense(rng.normal(size=(6, 5)) + 0.3)),),
        ("a",),
        1e-3,
    )
    inputs = {"input": (rng.random((50, 4, 5)) < 0.3).astype(np.uint8)}
    expected = reference.run_network(network, inputs, record=STATES)
    found = backend.run_network(network, inputs, record=STATES)
    different, spikes = differing(expected, found)
    assert (different, spikes > 100) == (0, True)
    for variable in ("u", "v"):
        np.testing.assert_allclose(found.states[variable]["a"], expected.states[variable]["a"], rtol=1e-9, atol=1e-9)
    assert not found.states["u"]["a"][found.spikes["a"].dense() > 0].any()
    assert "_hard_current_" in json.loads(to_onnx(network).metadata_props[0].value)["populations"]["a"]["function"]


def test_late_bias():
    """A bias that starts in step 2 acts from there on: v = 0 0 1 2 3."""
    from tests.lowering.test_lower import np as _  # noqa: F401 (the module must be importable)

    n = 1
    neuron = random_network(0, "float", slow=False).populations[-1].neuron
    zero = np.zeros(n)
    neuron = type(neuron)(np.ones(n), zero, zero, np.full(n, 100.0), zero, zero)
    network = Network(
        "late",
        (Population("input", (1,), Source()), Population("a", (1,), neuron)),
        (Projection("p", "input", "a", Dense(np.zeros((1, 1))), bias=np.ones(1), bias_start=2),),
        ("a",),
        1e-3,
    )
    found = backend.run_network(network, {"input": np.zeros((5, 1, 1))}, record=STATES)
    assert found.states["v"]["a"][:, 0, 0].tolist() == [0, 0, 1, 2, 3]


@pytest.mark.parametrize("limit", ["SMALL", "none"])
def test_convolution_in_float64_as_matrix_and_as_gather(monkeypatch, limit):
    if limit == "SMALL":
        monkeypatch.setattr(onnx_synapses, "SMALL", 0)
    rng = np.random.default_rng(0)
    kind = Conv2d(rng.normal(size=(4, 1, 3, 2)), (2, 5, 6), (2, 1), (1, 2), (1, 2), groups=2)
    source = Population("input", (2, 5, 6), Source())
    neuron = random_network(0, "float", slow=False).populations[-1].neuron
    n = kind.outputs
    one, zero = np.ones(n), np.zeros(n)
    target = Population("a", kind.output_shape, type(neuron)(one, one, zero, one, zero, zero, spiking=False))
    network = Network("conv", (source, target), (Projection("p", "input", "a", kind),), ("a",), 1e-3)
    x = rng.normal(size=(3, 2, 2, 5, 6))
    found = backend.run_network(network, {"input": x})
    expected = kind.apply(x.reshape(6, -1)).reshape(3, 2, n)
    np.testing.assert_allclose(found.states["v"]["a"], expected, rtol=1e-12)
    model = to_onnx(network, dtype=np.float64)
    assert ("Gather" in {node.op_type for node in model.graph.node}) == (limit == "SMALL")
    assert "Conv" in {node.op_type for node in to_onnx(network).graph.node}


def test_names_that_collide(tmp_path):
    """Populations called like each other's states, and like our own values."""
    lif = nirgraphs.lif
    nodes = {
        "input": nir.Input(np.array([2])),
        "a": lif(2), "a.v": lif(2), "a.v.next": lif(2), "step": lif(2), "t0.flatten": lif(2),
        "output": nir.Output(np.array([2])),
    }  # fmt: skip
    names = list(nodes)
    graph = nir.NIRGraph(nodes, list(pairwise(names)), type_check=False)
    file = nir_file.read(nirgraphs.write(graph, tmp_path / "names.nir"))
    network = lower(file, resolve(file, dt=1e-3))
    inputs = spikes_of(network, 20, rate=0.9)
    assert differing(reference.run_network(network, inputs), backend.run_network(network, inputs))[0] == 0


def test_the_file_says_what_it_is(network, tmp_path):
    path = tmp_path / "net.onnx"
    write(network, path)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert max(o.version for o in model.opset_import if o.domain == "") <= 20
    said = json.loads({p.key: p.value for p in model.metadata_props}[METADATA])
    assert said["dt"] == 1e-3
    for population in network.populations:
        assert said["populations"][population.name]["nodes"] == list(population.handle.nodes)
    spiking = [p for p in network.populations if p.spiking and p.name not in said["inputs"]]
    for population in spiking:
        assert said["populations"][population.name]["reset"] == population.neuron.reset
        assert said["populations"][population.name]["comparison"] == population.neuron.comparison
    assert {f.domain for f in model.functions} == {"ai.neurodeploy"}
    again = to_onnx(network)
    assert again.SerializeToString(deterministic=True) == path.read_bytes()


def test_onnx_own_evaluator_and_inliner_agree(network):
    """Other tools read the model: functions are inlined, and onnx's own interpreter gives the same spikes."""
    from onnx import inliner
    from onnx.reference import ReferenceEvaluator

    model = to_onnx(network)
    flat = inliner.inline_local_functions(model)
    assert not flat.functions
    said = json.loads({p.key: p.value for p in model.metadata_props}[METADATA])
    evaluator = ReferenceEvaluator(model)
    inputs = spikes_of(network, 6, samples=2)
    expected = backend.run_network(network, inputs, dtype=np.float32)
    feeds = {s["input"]: backend._initial(s, 2, np.dtype(np.float32)) for s in said["states"]}
    for t in range(6):
        step = {said["inputs"][name]: value[t].astype(np.float32) for name, value in inputs.items()}
        values = dict(zip(evaluator.output_names, evaluator.run(None, feeds | step), strict=True))
        for name, events in expected.spikes.items():
            if name in said["outputs"]:
                assert np.array_equal(values[said["outputs"][name]], events.dense()[t]), (name, t)
        feeds = {s["input"]: values[s["output"]] for s in said["states"]}


def test_integer_networks_are_refused():
    network = random_network(0, "loihi")
    with pytest.raises(UnsupportedError, match="onnxruntime runs float networks only"):
        backend.run(placed(network), {"input": random_spikes(network, 0)})
    with pytest.raises(UnsupportedError, match="an integer network cannot be written as ONNX"):
        to_onnx(network)


def test_too_large_says_need_and_have(monkeypatch):
    network = random_network(3, "float", slow=False)
    monkeypatch.setattr(onnx_step, "LARGEST_FILE", 10)
    with pytest.raises(UnsupportedError, match="too large for one ONNX file") as caught:
        to_onnx(network)
    assert caught.value.allowed == "10 bytes of weights" or "10 bytes" in str(caught.value)


def test_a_folder_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        write(random_network(0, "float", slow=False), tmp_path / "file" / "x.onnx")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"refractory": 2}, "has a refractory time or an adaptive threshold, which the ONNX functions lack"),
        ({"lower": -1.0}, "also sends negative spikes, which the ONNX functions lack"),
    ],
)
def test_neurons_that_onnx_cannot_hold(change, message):
    network = random_network(0, "float", slow=False)
    last = network.populations[-1]
    values = {key: value if key == "max_spikes" else np.full(last.size, value) for key, value in change.items()}
    neuron = replace(last.neuron, spiking=True, reset_time="now", **values)
    changed = replace(network, populations=(*network.populations[:-1], replace(last, neuron=neuron)))
    with pytest.raises(UnsupportedError, match=message):
        to_onnx(changed)


def test_synapses_that_learn_are_refused():
    with pytest.raises(UnsupportedError, match="projection 'learns' learns, which an ONNX graph does not"):
        to_onnx(build("STDP", "float").program.network)
