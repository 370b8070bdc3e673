"""Pruning and encoding change nothing that an output does, and remove what they say."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from neurodeploy.backends.reference.run import run_network
from neurodeploy.network.connectivity import Dense, Sparse
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.passes.encode import Encode
from neurodeploy.passes.prune import Prune
from neurodeploy.program.memory import synapse_bytes
from tests.networks import random_network
from tests.placement.test_place import chain


def damaged(seed: int, arithmetic: str) -> Network:
    """A random network with zero projections, thinned lists and matrices, and a dead branch."""
    rng = np.random.default_rng(seed)
    network = random_network(seed, arithmetic)
    projections = []
    for projection in network.projections:
        kind = projection.connectivity
        keep = rng.choice([0.0, 0.1, 0.4, 0.8, 1.0])
        weights = np.where(rng.random(kind.weights.shape) < keep, kind.weights, 0).astype(kind.weights.dtype)
        projections.append(replace(projection, connectivity=replace(kind, weights=weights)))
    last = network.populations[-1]
    dead = replace(last, name="dead")
    size = last.size
    spread = Dense((2 * rng.integers(-9, 9, (size, size))).astype(last_dtype(projections)))
    projections.append(Projection("to dead", network.populations[0].name, "dead", _from(network, spread, size)))
    return replace(network, populations=(*network.populations, dead), projections=tuple(projections))


def last_dtype(projections: list[Projection]) -> np.dtype:
    return projections[-1].connectivity.weights.dtype


def _from(network: Network, kind: Dense, size: int) -> Dense:
    inputs = network.populations[0].size
    return Dense(np.resize(kind.weights, (size, inputs)))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.sampled_from(["loihi", "float"]), st.sampled_from([Prune(), Encode()]))
def test_outputs_stay_what_they_are(seed: int, arithmetic: str, step: Prune | Encode) -> None:
    network = damaged(seed, arithmetic)
    changed = step.apply(network)
    rng = np.random.default_rng(seed)
    x = {p.name: (rng.random((10, 2, p.size)) < 0.4).astype(np.uint8) for p in network.inputs}
    a, b = run_network(network, x), run_network(changed, x)
    for name in network.outputs:
        if network.by_name[name].spiking:
            np.testing.assert_array_equal(a.spikes[name].dense(), b.spikes[name].dense())
        else:
            np.testing.assert_allclose(a.states["v"][name], b.states["v"][name], rtol=1e-9, atol=1e-9)
    if isinstance(step, Prune):
        assert "dead" not in changed.by_name
        assert "no output depends on it" in changed.notes["prune dead"]
        assert all(np.any(p.connectivity.weights) or p.bias is not None for p in changed.projections)
        again = step.apply(changed)
        assert again is changed, "nothing is left to remove"
    else:
        for before, after in zip(network.projections, changed.projections, strict=True):
            whole = np.arange(after.connectivity.outputs)
            assert synapse_bytes(after, whole) <= synapse_bytes(before, whole)


def test_a_branch_that_nothing_drives_goes_back_to_its_source() -> None:
    """in -> l0 -> l1 with zero weights into l0: it never spikes, which removes what it sends, then itself."""
    network = chain(4, 5, 3)
    first = replace(network.projections[0], connectivity=Dense(np.zeros((5, 4), np.int16)))
    pruned = Prune().apply(replace(network, projections=(first, network.projections[1])))
    assert [p.name for p in pruned.populations] == ["in", "l1"], "inputs and outputs stay"
    assert pruned.projections == ()
    assert "never spikes" in pruned.notes["prune p1"]
    assert "no output depends on it" in pruned.notes["prune l0"]


def test_a_neuron_with_a_bias_stays() -> None:
    network = chain(4, 5, 3)
    population = network.populations[1]
    assert isinstance(population.neuron, Lif)
    driven = replace(population, neuron=replace(population.neuron, bias=np.full(5, 9, np.int32)))
    first = replace(network.projections[0], connectivity=Dense(np.zeros((5, 4), np.int16)))
    populations = (network.populations[0], driven, network.populations[2])
    pruned = Prune().apply(replace(network, populations=populations, projections=(first, network.projections[1])))
    assert [p.name for p in pruned.projections] == ["p1"]


@pytest.mark.parametrize(("kept", "kind"), [(44, Sparse), (45, Dense)])
def test_the_break_even_of_matrix_and_list(kept: int, kind: type) -> None:
    """100 pairs: a matrix takes 800 bits, a list 18 bits a synapse; 44 synapses are 792 bits, 45 are 810."""
    w = np.zeros(100, np.int16)
    w[:kept] = 2
    w = w.reshape(10, 10)
    network = chain(10, 10)
    dense = replace(network, projections=(replace(network.projections[0], connectivity=Dense(w, 3)),))
    listed = Sparse.from_csr(csr_array(w.T))
    sparse = replace(network, projections=(replace(network.projections[0], connectivity=replace(listed, exponent=3)),))
    for start in (dense, sparse):
        found = Encode().apply(start).projections[0].connectivity
        assert isinstance(found, kind)
        assert found.exponent == 3
        np.testing.assert_array_equal(found.to_csr().toarray(), w.T)


def test_two_synapses_between_the_same_neurons_stay_two() -> None:
    twice = Sparse(np.array([2, 4], np.int16), np.zeros(2, np.int32), np.array([0, 2]), 1)
    network = chain(1, 1)
    network = replace(network, projections=(replace(network.projections[0], connectivity=twice),))
    assert isinstance(Encode().apply(network).projections[0].connectivity, Sparse)


def test_an_input_that_nobody_hears_stays() -> None:
    from neurodeploy.network.neurons import Source

    network = chain(3, 2)
    network = replace(network, populations=(Population("other", (4,), Source()), *network.populations))
    assert "other" in Prune().apply(network).by_name


def test_a_bias_stays_where_its_source_never_spikes() -> None:
    """The bias of a projection is a current of its own: it arrives whatever the source does."""
    zero, one = np.zeros(2), np.ones(2)
    silent = Lif(one, zero + 0.5, zero, one, zero, zero)
    reads = Lif(zero + 0.5, zero + 0.5, zero, one, zero, zero, reset="none", spiking=False)
    populations = (Population("in", (2,), Source()), Population("silent", (2,), silent), Population("out", (2,), reads))
    bias = np.array([0.3, -0.2])
    network = Network(
        "n", populations, (Projection("p", "silent", "out", Dense(np.eye(2)), bias=bias),), ("out",), 1e-3
    )  # fmt: skip
    after = Prune().apply(network)
    x = {"in": np.ones((4, 1, 2))}
    before, found = (run_network(n, x).states["v"]["out"] for n in (network, after))
    np.testing.assert_array_equal(found, before)
    np.testing.assert_allclose(before[0, 0], bias)
