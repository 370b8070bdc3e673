"""Lowering against the NIR reference, which interprets node by node and shares no arithmetic with it."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import nir
import numpy as np
import pytest

from neurodeploy.backends.reference.run import run_network
from neurodeploy.errors import InvalidInputError, UnsupportedError
from neurodeploy.lowering.lower import lower
from neurodeploy.network import compose
from neurodeploy.network.connectivity import Conv2d, Dense, Sparse
from neurodeploy.network.network import Network, Population
from neurodeploy.network.neurons import Source
from neurodeploy.nir_graph import interpreter as nir_reference
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.conventions import resolve
from neurodeploy.nir_graph.nir_file import NirFile
from neurodeploy.program.recording import Record
from neurodeploy.verify.compare import compare
from tests import nirgraphs


def read(graph: nir.NIRGraph, tmp_path: Path) -> NirFile:
    return nir_file.read(nirgraphs.write(graph, tmp_path / "net.nir"))


def assert_equal_to_nir(file: NirFile, x: np.ndarray, **options) -> Network:
    conventions = resolve(file, **({"dt": 1e-3} | options))
    network = lower(file, conventions)
    pair = compare(
        nir_reference.run(file, {"": x}, conventions),
        run_network(network, {"": x}, record=Record(("v",))),
        network,
        tolerance=1e-9,
    )
    assert pair.verdict == "equal", pair
    return network


def spikes(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random((25, 3, *shape)) < 0.4).astype(np.uint8)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("reset", ["hard", "subtract", "none"])
def test_mlp(tmp_path: Path, seed: int, reset: str) -> None:
    network = assert_equal_to_nir(read(nirgraphs.mlp(seed), tmp_path), spikes((12,)), reset=reset)
    assert [type(p.connectivity) for p in network.projections] == [Dense, Dense]
    assert all(p.bias is None for p in network.projections), "the biases are in the neurons"


def test_conv_and_pooling_become_one_convolution(tmp_path: Path) -> None:
    network = assert_equal_to_nir(read(nirgraphs.conv(), tmp_path), spikes((1, 8, 8)))
    first, second, third = (p.connectivity for p in network.projections)
    assert isinstance(first, Conv2d)
    assert isinstance(second, Conv2d)
    assert (second.weights.shape, second.stride, second.padding) == ((6, 4, 6, 6), (2, 2), (2, 2))
    assert isinstance(third, Dense)
    assert third.weights.shape == (10, 96)
    assert not network.by_name["readout"].spiking


@pytest.mark.parametrize("recurrent_bias", ["from-start", "after-delay"])
def test_recurrence_skip_leak_and_reset(tmp_path: Path, recurrent_bias: str) -> None:
    network = assert_equal_to_nir(read(nirgraphs.recurrent(), tmp_path), spikes((6,)), recurrent_bias=recurrent_bias)
    delays = {(p.source, p.target): p.delay for p in network.projections}
    assert delays == {("input", "hidden"): 0, ("hidden", "hidden"): 1, ("hidden", "out"): 0, ("input", "out"): 0}


def test_the_recurrent_bias_convention_matters(tmp_path: Path) -> None:
    file = read(nirgraphs.recurrent(), tmp_path)
    runs = [
        run_network(lower(file, resolve(file, dt=1e-3, recurrent_bias=c)), {"": spikes((6,))}, record=Record(("v",)))
        for c in ("from-start", "after-delay")
    ]
    assert not np.array_equal(runs[0].states["v"]["hidden"], runs[1].states["v"]["hidden"])


@pytest.mark.parametrize("seed", range(6))
def test_chains_of_linear_nodes(tmp_path: Path, seed: int) -> None:
    """Grouped, strided and dilated convolutions, pooling that does not divide, scales: all equal."""
    rng = np.random.default_rng(seed)
    groups = [1, 2, 4][seed % 3]
    stride, dilation = 1 + seed % 2, 1 + seed // 3
    graph = nirgraphs.sequence(
        (4, 9, 8),
        {
            "scale": nir.Scale(rng.normal(size=(4, 9, 8))),
            "pool": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([seed % 2, 0])),
            "conv": nir.Conv2d(
                None, rng.normal(size=(8, 4 // groups, 3, 2)), stride, 2, dilation, groups, rng.normal(size=8)
            ),
            "lif": nirgraphs.lif(nir_shape(4, 9, 8, seed, stride, dilation)),
        },
    )
    graph.nodes["conv"].input_shape = (5 if seed % 2 else 4, 4)
    assert_equal_to_nir(read(graph, tmp_path), spikes((4, 9, 8)))


def nir_shape(channels: int, height: int, width: int, seed: int, stride: int, dilation: int) -> tuple[int, int, int]:
    h, w = (height + 2 * (seed % 2) - 2) // 2 + 1, (width - 2) // 2 + 1
    return 8, (h + 4 - dilation * 2 - 1) // stride + 1, (w + 4 - dilation - 1) // stride + 1


@pytest.mark.parametrize("dilation", [1, 2])
def test_pool_then_conv_is_the_product_of_both(dilation: int) -> None:
    rng = np.random.default_rng(0)
    pool = Conv2d(np.full((3, 1, 2, 3), 0.5), (3, 8, 9), (2, 3), groups=3)
    conv = Conv2d(rng.normal(size=(5, 3, 3, 2)), (3, 4, 3), (2, 1), (1, 1), (dilation, dilation))
    both = compose.then(pool, conv)
    assert isinstance(both, Conv2d if dilation == 1 else Sparse)
    x = rng.normal(size=(2, pool.inputs))
    np.testing.assert_allclose(both.apply(x), conv.apply(pool.apply(x)), atol=1e-12)


@pytest.mark.parametrize("first", ["mixing", "pool"])
@pytest.mark.parametrize("padding", [0, 1, 2])
def test_an_image_made_into_rows_before_a_conv1d(tmp_path: Path, first: str, padding: int) -> None:
    """With padding 1 a fold that forgets the Flatten has as many outputs, so only their values tell."""
    rng = np.random.default_rng(0)
    pool = nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    mixing = nir.Conv2d((6, 6), rng.normal(size=(2, 2, 1, 1)), 1, 0, 1, 1, rng.normal(size=2) * 0.1)
    length = 36 if first == "mixing" else 9
    nodes = {
        "first": mixing if first == "mixing" else pool,
        "rows": nir.Flatten({"input": np.array((2, 6, 6) if first == "mixing" else (2, 3, 3))}, 1, 2),
        "conv": nir.Conv1d(length, rng.normal(size=(3, 2, 3)), 1, padding, 1, 1, np.zeros(3)),
        "lif": nirgraphs.lif((3, length + 2 * padding - 2)),
    }
    assert_equal_to_nir(read(nirgraphs.sequence((2, 6, 6), nodes), tmp_path), spikes((2, 6, 6)))


def test_handles_lead_back(tmp_path: Path) -> None:
    graph = nirgraphs.mlp()
    graph.nodes["fc1"].metadata = {"neurodeploy": {"module": "net.0"}}
    graph.nodes["lif1"].metadata = {"neurodeploy": {"module": "net.1"}}
    file = read(graph, tmp_path)
    network = lower(file, resolve(file, dt=1e-3))
    assert str(network.by_name["lif1"].handle) == "net.1"
    assert str(network.projections[0].handle) == "net.0"
    assert str(network.by_name["lif2"].handle) == "lif2"


def refusal(graph: nir.NIRGraph, tmp_path: Path, kind: type[Exception], **options) -> str:
    file = read(graph, tmp_path)
    with pytest.raises(kind) as caught:
        lower(file, resolve(file, **({"dt": 1e-3} | options)))
    return str(caught.value)


def test_a_time_constant_shorter_than_the_step_is_refused(tmp_path: Path) -> None:
    text = refusal(nirgraphs.mlp(), tmp_path, InvalidInputError, dt=1.0)
    assert text.startswith("node 'lif1': tau is shorter than the time step\n  found:   tau = 0.005 s, dt = 1 s")


def test_an_output_without_a_neuron_is_refused(tmp_path: Path) -> None:
    graph = nirgraphs.sequence((4,), {"fc": nir.Linear(np.ones((2, 4)))})
    assert "put an LI (leaky integrator) read-out" in refusal(graph, tmp_path, UnsupportedError)


def test_shapes_that_do_not_fit_name_the_node(tmp_path: Path) -> None:
    graph = nirgraphs.sequence((5,), {"fc": nir.Linear(np.ones((2, 4))), "lif": nirgraphs.lif(2)})
    text = refusal(graph, tmp_path, InvalidInputError)
    assert text.startswith("node 'fc' does not fit its input\n  found:   [5]\n  allowed: [4]")


def test_a_loop_without_a_neuron_is_refused(tmp_path: Path) -> None:
    nodes = {
        "input": nir.Input(np.array([2])), "a": nir.Linear(np.eye(2)), "b": nir.Linear(np.eye(2)),
        "lif": nirgraphs.lif(2), "output": nir.Output(np.array([2])),
    }  # fmt: skip
    edges = [("input", "a"), ("a", "b"), ("b", "a"), ("b", "lif"), ("lif", "output")]
    text = refusal(nir.NIRGraph(nodes, edges, type_check=False), tmp_path, InvalidInputError)
    assert text.startswith("the graph has a loop without a neuron")


@pytest.mark.parametrize("steps", [1, 3])
def test_biases_in_front_of_and_behind_a_delay_are_refused_with_what_to_do(steps: int, tmp_path: Path) -> None:
    one = np.ones(2)
    nodes = {
        "input": nir.Input(np.array([2])),
        "a": nir.Affine(np.eye(2), one),
        "wait": nir.Delay(steps * 1e-3 * one),
        "b": nir.Affine(np.eye(2), one),
        "reads": nir.CubaLI(2e-3 * one, 2e-3 * one, one, 0 * one, one),
        "output": nir.Output(np.array([2])),
    }
    names = list(nodes)
    graph = nir.NIRGraph(nodes, list(pairwise(names)), metadata={"neurodeploy": {"dt": 1e-3}}, type_check=False)
    nir.write(tmp_path / "a.nir", graph)
    file = nir_file.read(tmp_path / "a.nir")
    with pytest.raises(UnsupportedError, match="node 'reads' receives biases that start in more") as raised:
        lower(file, resolve(file))
    assert f"from steps 0, {steps} on, 1 projection(s)" in str(raised.value.found)
    assert "in front of the Delay" in str(raised.value.hint)


def test_delay_nodes(tmp_path: Path) -> None:
    graph = nirgraphs.mlp()
    nodes = dict(graph.nodes) | {"delay": nir.Delay(np.full(20, 3e-3))}
    edges = [e for e in graph.edges if e != ("lif1", "fc2")] + [("lif1", "delay"), ("delay", "fc2")]
    file = read(nir.NIRGraph(nodes, edges, type_check=False), tmp_path)
    network = lower(file, resolve(file, dt=1e-3))
    assert [p.delay for p in network.projections] == [0, 3]
    run = run_network(network, {"": spikes((12,))}, record=Record(("v",)))
    hidden = run.spikes["lif1"].dense()
    assert hidden[:-3].any()
    # The second layer alone, fed with the first one's spikes three steps late.
    late = np.concatenate([np.zeros_like(hidden[:3]), hidden[:-3]])
    tail = Network(
        "tail",
        (Population("lif1", (20,), Source()), network.by_name["lif2"]),
        (replace(network.projections[1], delay=0),),
        ("lif2",),
        1e-3,
    )
    expected = run_network(tail, {"": late}, record=Record(("v",)))
    np.testing.assert_array_equal(run.states["v"]["lif2"], expected.states["v"]["lif2"])
