"""Bytes of synaptic memory, by hand, and rules that hold for any connectivity."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from neurodeploy.network.connectivity import Connectivity, Conv2d, Dense, Sparse
from neurodeploy.network.network import Projection
from neurodeploy.program.limits import Limits
from neurodeploy.program.memory import KERNEL, LIST, MATRIX, Stored, encoding, neuron_bytes, stored, synapse_bytes
from neurodeploy.program.routing import fan_in, sources_of
from tests.program.test_routing import convolutions


def projection(kind: Connectivity) -> Projection:
    return Projection("p", "a", "b", kind)


def test_a_matrix_by_hand() -> None:
    """Five sources, three of the four targets: 15 weights, zeros included."""
    kind = projection(Dense(np.eye(4, 5, dtype=np.int16)))
    assert stored(kind, np.array([0, 2, 3])) == Stored(MATRIX, 15)
    assert stored(kind, np.array([], int)) == Stored(MATRIX, 0)


def test_a_list_by_hand() -> None:
    """Sources 0 and 1 onto target 0, source 1 onto target 1: together no full matrix, 3 x 18 bits in 7 bytes."""
    kind = projection(Sparse(np.ones(3, np.int16), np.array([0, 0, 1], np.int32), np.array([0, 1, 3]), 2))
    assert stored(kind, np.array([0, 1])) == Stored(LIST, 7)
    assert stored(kind, np.array([0, 1]), index_bits=13) == Stored(LIST, 8)
    assert stored(kind, np.array([0])) == Stored(MATRIX, 2), "every source that is heard has a synapse on every target"
    assert neuron_bytes(kind).tolist() == [2, 1]


def test_two_synapses_of_one_pair_are_no_matrix() -> None:
    """Four synapses of two sources onto two targets, but one pair has two of them and another none."""
    kind = projection(Sparse(np.ones(4, np.int16), np.array([0, 1, 0, 0], np.int32), np.array([0, 2, 4]), 2))
    assert stored(kind, np.array([0, 1])) == Stored(LIST, 9)
    assert neuron_bytes(kind).tolist() == [7, 1]


def test_a_kernel_by_hand() -> None:
    """Three channels of 2 x 3 x 3: what is shared counts once a channel, unless single synapses take less."""
    kind = projection(Conv2d(np.ones((3, 2, 3, 3), np.int16), (2, 4, 4), padding=(1, 1)))
    assert stored(kind, np.array([0, 1, 2, 16 + 3])) == Stored(KERNEL, 2 * 2 * 9)
    assert stored(kind, np.arange(48)) == Stored(KERNEL, 3 * 2 * 9)
    # The corner hears 2 x 2 positions of both channels; its neighbour in the next channel hears the same.
    assert stored(kind, np.array([0])) == Stored(MATRIX, 8)
    assert stored(kind, np.array([0, 16])) == Stored(MATRIX, 16)
    # A list at 18 bits takes more than the two kernels for corners that hear different sources.
    assert stored(kind, np.array([0, 16 + 15])) == Stored(KERNEL, 36)
    # With an index of one bit it takes 16 x 9 bits.
    assert stored(kind, np.array([0, 16 + 15]), index_bits=1) == Stored(LIST, 18)
    assert encoding(kind) == KERNEL


def test_the_index_is_as_long_as_a_core_has_neurons() -> None:
    assert [Limits("x", 1, n).index_bits for n in (1, 2, 1024, 1025, 8192)] == [0, 1, 10, 11, 13]


@st.composite
def connectivities(draw) -> Connectivity:
    if draw(st.booleans()):
        return draw(convolutions())
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    w = rng.integers(1, 9, (draw(st.integers(1, 8)), draw(st.integers(1, 8))))
    w *= rng.random(w.shape) < draw(st.sampled_from([0.1, 0.5, 1.0]))
    return Dense(w) if draw(st.booleans()) else Sparse.from_csr(csr_array(w.T))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(connectivities(), st.integers(0, 10_000), st.sampled_from([1, 10, 13]))
def test_rules_of_any_connectivity(kind: Connectivity, seed: int, bits: int) -> None:
    p = projection(kind)
    csr = kind.to_csr()
    rng = np.random.default_rng(seed)
    chosen = np.flatnonzero(rng.random(kind.outputs) < rng.random())
    synapses = csr[:, chosen].nnz
    np.testing.assert_array_equal(
        fan_in(p, np.arange(kind.outputs)), np.bincount(csr.indices, minlength=kind.outputs), "fan-in"
    )
    found = stored(p, chosen, bits)
    listed = -(-synapses * (8 + bits) // 8)
    assert found.bytes <= listed
    if found.encoding == LIST:
        assert found.bytes == listed
    if found.encoding == MATRIX:
        assert found.bytes == synapses == sources_of(p, chosen) * len(chosen), "every pair has a synapse"
    fewer = chosen[: len(chosen) // 2]
    assert synapse_bytes(p, fewer, bits) <= found.bytes, "fewer neurons never take more"
    each = neuron_bytes(p, bits)
    for neuron in chosen[:3]:
        assert synapse_bytes(p, np.array([neuron]), bits) == each[neuron]


@pytest.mark.parametrize("groups", [1, 2])
def test_kernels_of_groups_hold_their_own_inputs_only(groups: int) -> None:
    kind = Conv2d(np.ones((4, 4 // groups, 3, 3), np.int16), (4, 9, 9), groups=groups)
    assert stored(projection(kind), np.arange(kind.outputs)) == Stored(KERNEL, 4 * (4 // groups) * 9)
