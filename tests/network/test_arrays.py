"""Nothing that a network, Program or recording holds can be changed, and nobody's view of it can change it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.backends.reference.run import run
from neurodeploy.hwsim import engine
from neurodeploy.network.arrays import frozen, sole
from neurodeploy.network.connectivity import Connectivity, Conv2d, Dense, Sparse
from neurodeploy.program.recording import Events, Record
from tests.networks import placed, random_network, random_spikes


def arrays(value: Any) -> Iterator[np.ndarray]:
    """Every array below an object."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from arrays(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from arrays(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for item in fields(value):
            yield from arrays(getattr(value, item.name))


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.sampled_from(["float", "loihi"]))
def test_networks_programs_and_recordings_are_read_only(seed: int, arithmetic: str) -> None:
    network = random_network(seed, arithmetic)
    program = placed(network)
    inputs = {"": random_spikes(network, seed)}
    found = [program, *(run_(program, inputs, record=Record(("u", "v"))) for run_ in (run, engine.run))]
    for owner in found:
        assert sum(1 for _ in arrays(owner)) > 3
        for array in arrays(owner):
            link: Any = array
            while isinstance(link, np.ndarray):
                assert not link.flags.writeable
                link = link.base


def test_what_the_caller_goes_on_writing_is_not_what_was_built() -> None:
    weights = np.arange(6.0).reshape(2, 3)
    view = weights[:]
    kind = Dense(weights)
    view[0, 0] = 99
    assert kind.weights[0, 0] == 0
    with pytest.raises(ValueError, match="read-only"):
        kind.weights[0, 0] = 1


def test_a_view_of_something_that_can_change_is_copied_and_what_cannot_is_not() -> None:
    base = np.arange(10)
    part = base[2:4]
    part.flags.writeable = False
    assert frozen(part).base is None
    fresh = sole(np.arange(10)[2:4])
    assert frozen(fresh) is fresh
    assert frozen(np.frombuffer(b"12345678", np.uint8)).base is not None
    changeable = np.frombuffer(bytearray(b"12345678"), np.uint8)
    assert not np.shares_memory(frozen(changeable), changeable)


def kinds() -> dict[str, Connectivity]:
    rng = np.random.default_rng(0)
    unsorted = Sparse(rng.normal(size=5), np.array([2, 0, 1, 1, 0], np.int32), np.array([0, 2, 5]), 3)
    return {
        "dense": Dense(rng.normal(size=(3, 4))),
        "one row": Dense(rng.normal(size=(4, 1))),
        "unsorted, one pair twice": unsorted,
        "conv": Conv2d(rng.normal(size=(4, 1, 3, 2)), (2, 5, 6), (2, 1), (1, 0), (1, 2), groups=2),
    }


@pytest.mark.parametrize("name", kinds())
def test_a_csr_array_is_the_callers_own(name: str) -> None:
    kind = kinds()[name]
    dense = kind.to_csr().toarray()
    matrix = kind.to_csr()
    matrix.sum_duplicates()
    matrix.sort_indices()
    matrix.data[:] = 7
    matrix.eliminate_zeros()
    abs(kind.to_csr()).max(axis=0)
    np.testing.assert_array_equal(kind.to_csr().toarray(), dense)


@pytest.mark.parametrize("name", kinds())
def test_connectivity_answers_as_its_list_of_synapses_does(name: str) -> None:
    kind = kinds()[name]
    listed = kind.listed()
    source = np.repeat(np.arange(listed.inputs), np.diff(listed.indptr))
    assert kind.synapses() == len(listed.targets) == kind.to_csr().nnz
    x, gain = np.random.default_rng(1).normal(size=(2, kind.inputs)), np.arange(1.0, kind.outputs + 1)
    expected = np.zeros((2, kind.outputs))
    for s, t, w in zip(source, listed.targets, listed.weights, strict=True):
        expected[:, t] += x[:, s] * w
    np.testing.assert_allclose(kind.apply(x), expected)
    np.testing.assert_allclose(kind.scaled(gain).apply(x), expected * gain)
    # A kernel that leaves the image counts all its taps, so it is an upper bound there.
    for combine, at in ((np.add, np.add.at), (np.maximum, np.maximum.at)):
        each = np.zeros(kind.outputs)
        at(each, listed.targets, np.abs(listed.weights))
        found = kind.onto_targets(np.abs(kind.weights), combine)
        assert (found >= each - 1e-12).all()
        if not isinstance(kind, Conv2d):
            np.testing.assert_allclose(found, each)


def test_events_and_what_is_replaced_are_read_only_too() -> None:
    events = Events.from_dense(np.eye(3)[None])
    for array in (events.time, events.sample, events.neuron):
        assert not array.flags.writeable
    kind = replace(kinds()["dense"], weights=np.ones((3, 4)))  # type: ignore[type-var]
    assert not kind.weights.flags.writeable
