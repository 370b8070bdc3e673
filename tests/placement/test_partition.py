"""Partitions hold every limit, whatever the network, the order and the limits; small cases by hand."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.errors import DoesNotFitError, NeurodeployError
from neurodeploy.network.connectivity import Conv2d, Dense
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Source
from neurodeploy.placement.arrange import anneal, arrange, cost, distances
from neurodeploy.placement.orders import chunks
from neurodeploy.placement.partition import Partition, in_pieces
from neurodeploy.placement.place import Place
from neurodeploy.program.limits import Limits, Mesh
from tests.networks import random_network
from tests.placement.test_place import chain, lif


def used(network: Network, core_of: dict[str, np.ndarray], core: int) -> tuple[int, int, int, set[tuple[str, int]]]:
    """Neurons, input axons, output axons and thresholds of a core, synapse by synapse."""
    neurons = axons_in = axons_out = 0
    thresholds = set()
    for population in network.populations:
        if not isinstance(population.neuron, Source):
            here = core_of[population.name] == core
            neurons += int(here.sum())
            thresholds |= set(population.neuron.threshold[here].tolist())
    for projection in network.projections:
        synapses = projection.connectivity.to_csr().tocoo()
        sent = np.unique(np.stack([synapses.row, core_of[projection.target][synapses.col]]), axis=1)
        axons_in += int((sent[1] == core).sum())
        if projection.source in core_of:
            axons_out += int((core_of[projection.source][sent[0]] == core).sum())
    return neurons, axons_in, axons_out, thresholds


@st.composite
def limits(draw) -> Limits:
    return Limits(
        "drawn",
        draw(st.sampled_from([16, 64, 600])),
        draw(st.integers(2, 40)),
        draw(st.sampled_from([None, 100, 400, 3000])),
        draw(st.sampled_from([None, 50, 100, 200])),
        draw(st.sampled_from([None, 5, 20, 100])),
        thresholds=draw(st.sampled_from([None, 1, 3])),
        mesh=draw(st.sampled_from([None, Mesh(8, 4)])),
    )


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    st.integers(0, 300),
    limits(),
    st.sampled_from(["spatial", "sequential", "random"]),
    st.booleans(),
    st.integers(1, 2),
)
def test_every_limit_holds_or_the_user_is_told(seed: int, limit: Limits, order: str, share: bool, chips: int) -> None:
    network = random_network(seed, arithmetic="loihi")
    place = Place(limit, order=order, share=share, seed=seed, chips=chips)
    told = ""
    try:
        program = place.apply(network)
    except DoesNotFitError as error:
        told = str(error)
    if told:
        assert "to do:" in told
        return
    assert program.cores[-1] < limit.cores * chips
    assert program.cores[-1] < -(-len(program.cores) // limit.cores) * limit.cores, "no more chips than needed"
    by_core = {u.core: u for u in program.use}
    assert set(program.cores) == set(by_core)
    for population in network.populations:
        if not isinstance(population.neuron, Source):
            assert program.core_of[population.name].shape == (population.size,)
    for core in program.cores[:: max(len(program.cores) // 5, 1)]:
        neurons, axons_in, axons_out, thresholds = used(network, dict(program.core_of), core)
        use = by_core[core]
        assert (use.neurons, use.axons_in, use.axons_out) == (neurons, axons_in, axons_out)
        assert neurons <= limit.neurons
        assert limit.synapse_bytes is None or use.synapse_bytes <= limit.synapse_bytes
        assert limit.axons_in is None or axons_in <= limit.axons_in
        assert limit.axons_out is None or axons_out <= limit.axons_out
        assert limit.thresholds is None or len(thresholds) <= limit.thresholds
    again = place.apply(network)
    for name, cores in program.core_of.items():
        np.testing.assert_array_equal(cores, again.core_of[name], "the same seed, the same cores")


def test_tiles_are_compact() -> None:
    """12 x 12 positions of two channels, 72 neurons a core: four squares of 6 x 6, not strips of 3 rows."""
    image = Population("a", (2, 12, 12), lif(288))
    found = chunks(image, "spatial", 72)
    assert len(found) == 4
    first = np.zeros((12, 12), bool)
    first[:6, :6] = True
    np.testing.assert_array_equal(np.isin(np.arange(288), found[0]).reshape(2, 12, 12), [first, first])


def test_input_axons_bound_a_tile() -> None:
    """A 3 x 3 kernel over 8 x 8: a tile of h x w hears (h + 2)(w + 2) positions, so 36 axons are 4 x 4 of them."""
    kind = Conv2d(np.ones((1, 1, 3, 3), np.int16), (1, 10, 10))
    network = Network(
        "net",
        (Population("in", (1, 10, 10), Source()), Population("c", (1, 8, 8), lif(64))),
        (Projection("p", "in", "c", kind),),
        ("c",),
        1e-3,
        "loihi",
    )
    program = Place(Limits("ears", 99, 64, axons_in=36)).apply(network)
    assert [u.neurons for u in program.use] == [16, 16, 16, 16]
    assert [u.axons_in for u in program.use] == [36, 36, 36, 36]


def test_pieces_keep_populations_apart_and_in_order() -> None:
    part = {"a": np.array([4, 5, 6]), "b": np.array([0, 1])}
    first, second = in_pieces(part, 2)
    assert {n: v.tolist() for n, v in first.items()} == {"a": [4, 5, 6]}
    assert {n: v.tolist() for n, v in second.items()} == {"b": [0, 1]}


def test_a_loop_whose_cores_are_cut_is_counted_again() -> None:
    """Twelve neurons that all hear each other: on cores of k each neuron sends to 12 / k cores, so that a core needs
    12 axons whatever k is, and cutting does not help where there are nine."""
    network = chain(3, 12)
    loop = Projection("loop", "l0", "l0", Dense(np.full((12, 12), 2, np.int16)), delay=1)
    looped = Network("loop", network.populations, (*network.projections, loop), ("l0",), 1e-3, "loihi")
    assert [u.axons_out for u in Place(Limits("x", 99, 12, axons_out=12)).apply(looped).use] == [12]
    with pytest.raises(DoesNotFitError, match="sends to too many destinations"):
        Place(Limits("x", 99, 6, axons_out=9)).apply(looped)


def test_without_the_partitioner_the_order_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mtkahypar", None)
    with pytest.raises(NeurodeployError) as caught:
        Partition(Limits("x", 9, 9), 9, "hypergraph").parts(chain(3, 12))
    assert "pip install " in str(caught.value) and "mtkahypar>=1.5" in str(caught.value)
    assert "or take --order spatial" in str(caught.value)


def test_the_hypergraph_finds_the_cut_of_two_clusters() -> None:
    """Two layers of two blocks that do not hear each other: each block's neurons on one core, no message between."""
    pytest.importorskip("mtkahypar")
    block = np.zeros((20, 20), np.int16)
    block[::2, ::2] = block[1::2, 1::2] = 2
    network = chain(4, 20, 20)
    from scipy.sparse import csr_array

    from neurodeploy.network.connectivity import Sparse

    kinds = network.projections[0].connectivity, Sparse.from_csr(csr_array(block.T))
    projections = tuple(
        Projection(p.name, p.source, p.target, kind) for p, kind in zip(network.projections, kinds, strict=True)
    )
    network = Network("blocks", network.populations, projections, network.outputs, 1e-3, "loihi")
    program = Place(Limits("two", 2, 21), order="hypergraph", seed=1).apply(network)
    a, b = program.core_of["l0"], program.core_of["l1"]
    assert len(set(a[::2])) == len(set(a[1::2])) == 1
    assert a[0] != a[1]
    np.testing.assert_array_equal(a, b)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(1, 40), st.integers(0, 1000), st.integers(1, 2))
def test_an_arrangement_is_never_worse_than_the_parts_in_order(parts: int, seed: int, chips: int) -> None:
    rng = np.random.default_rng(seed)
    traffic = rng.integers(0, 50, (parts, parts)) * (rng.random((parts, parts)) < 0.3)
    apart = distances(40, 5, 2, chips)
    at = arrange(traffic.astype(float), apart, seed)
    assert len(set(at.tolist())) == parts
    assert cost(traffic, apart, at) <= cost(traffic, apart, np.arange(parts))


def test_the_best_arrangement_is_kept_even_when_the_search_leaves_it() -> None:
    """A row of eight parts in order is best; a search that stops while it is hot must not return what it tried."""
    row = np.zeros((8, 8))
    row[np.arange(7), np.arange(1, 8)] = row[np.arange(1, 8), np.arange(7)] = 1
    apart = distances(8, 8, 1, 1)
    for seed in range(500):
        at = np.arange(8)
        anneal(row, apart, at, 3, 8, seed)
        assert cost(row, apart, at) == 14


def test_rates_weigh_the_traffic() -> None:
    """Three layers, x to y, x to z and y to z, on three tiles in a row: if y is silent, x belongs in the middle."""

    def wire(source: str, target: str, inputs: int) -> Projection:
        return Projection(f"{source}{target}", source, target, Dense(np.full((4, inputs), 2, np.int16)))

    populations = (Population("in", (2,), Source()), *(Population(name, (4,), lif(4)) for name in "xyz"))
    projections = wire("in", "x", 2), wire("x", "y", 4), wire("x", "z", 4), wire("y", "z", 4)
    network = Network("triangle", populations, projections, ("z",), 1e-3, "loihi")
    row = Limits("row", 3, 4, mesh=Mesh(3, 1))
    in_order = Place(row).apply(network)
    assert [in_order.cores_of(name) for name in "xyz"] == [(0,), (1,), (2,)], "all alike: nothing to gain"
    silent = Place(row, rates={"y": np.zeros(4)}).apply(network)
    assert silent.cores_of("x") == (1,)
