"""Comparisons: equality, the first divergence, silence, measured differences."""

import numpy as np
import pytest

from neurodeploy.program.recording import Events, Recording
from neurodeploy.verify.compare import Stage, compare, verify
from tests.networks import random_network

NETWORK = random_network(0)
LAYER = next(p for p in NETWORK.populations if p.name == "layer0")


def recording(spikes: np.ndarray, v: np.ndarray) -> Recording:
    return Recording("x", *spikes.shape[:2], {"layer0": Events.from_dense(spikes)}, {"v": {"layer0": v}})


@pytest.fixture
def run() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    shape = (6, 3, LAYER.size)
    return rng.random(shape) < 0.3, rng.integers(-1000, 1000, shape)


def test_equal(run) -> None:
    pair = compare(recording(*run), recording(*run), NETWORK)
    assert pair.verdict == "equal"
    assert pair.passed
    assert pair.compared == 6 * 3 * LAYER.size
    assert pair.spikes == (run[0].sum(), run[0].sum())


def test_one_potential_differs(run) -> None:
    v = run[1].copy()
    v[4, 1, 2] += 1
    v[5, 0, 0] += 1
    pair = compare(recording(*run), recording(run[0], v), NETWORK)
    assert pair.verdict == "failed"
    assert not pair.passed
    assert (pair.spikes_different, pair.states_different) == (0, 2)
    d = pair.divergence
    assert (d.population, d.step, d.sample, d.neuron) == ("layer0", 4, 1, 2)
    assert (d.first_v, d.second_v) == (run[1][4, 1, 2], run[1][4, 1, 2] + 1)


def test_one_spike_differs(run) -> None:
    spikes = run[0].copy()
    spikes[2, 2, 1] ^= True
    pair = compare(recording(*run), recording(spikes, run[1]), NETWORK)
    assert pair.verdict == "failed"
    assert pair.spikes_different == 1
    assert pair.spike_distance == pytest.approx(1 / (run[0].sum() + spikes.sum()))
    assert pair.divergence.step == 2
    measured = compare(recording(*run), recording(spikes, run[1]), NETWORK, exact=False)
    assert measured.verdict == "measured"
    assert measured.passed


def test_silence_fails(run) -> None:
    silent = recording(np.zeros_like(run[0]), run[1])
    pair = compare(silent, silent, NETWORK)
    assert pair.equal
    assert pair.verdict == "silent"
    assert not pair.passed


def test_potentials_of_different_units_are_not_compared(run) -> None:
    pair = compare(recording(*run), recording(run[0], run[1] * 100), NETWORK, integer=(False, True))
    assert pair.verdict == "equal"
    assert pair.states_different is None


def test_rounding_is_tolerated_only_where_said(run) -> None:
    v = run[1] + 1e-12
    assert compare(recording(*run), recording(run[0], v), NETWORK).verdict == "failed"
    assert compare(recording(*run), recording(run[0], v), NETWORK, tolerance=1e-9).verdict == "equal"


def test_stages_are_compared_with_their_neighbours(run) -> None:
    v = run[1].copy()
    v[0, 0, 0] += 1
    stages = [
        Stage("a", lambda _: recording(*run), True, True),
        Stage("b", lambda _: recording(*run), True, True),
        Stage("c", lambda _: recording(run[0], v), True, True),
    ]
    recordings, pairs = verify(stages, {}, NETWORK)
    assert list(recordings) == ["a", "b", "c"]
    assert [(p.first, p.second, p.verdict) for p in pairs] == [("a", "b", "equal"), ("b", "c", "failed")]
