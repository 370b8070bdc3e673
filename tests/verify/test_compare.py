"""Comparisons: equality, the first divergence, silence, measured differences."""

import numpy as np
import pytest

from neurodeploy.program.recording import Events, Recording
from neurodeploy.verify.compare import FLOAT_TOLERANCE, Stage, compare, verify
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


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("sides", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("tolerance", [0.0, FLOAT_TOLERANCE])
def test_what_is_not_finite_equals_nothing(run, value: float, sides: tuple[int, ...], exact: bool, tolerance) -> None:
    """Not even itself, at any tolerance; and the numbers beside it are compared as before."""
    potentials = [run[1].astype(float), run[1].astype(float)]
    for side in sides:
        potentials[side][3, 1, 2] = value
    first, second = (recording(run[0], v) for v in potentials)
    pair = compare(first, second, NETWORK, exact=exact, tolerance=tolerance)
    assert (pair.not_finite, pair.states_different, pair.spikes_different) == (1, 1, 0)
    assert not pair.equal
    assert pair.verdict == "failed"
    d = pair.divergence
    assert (d.step, d.sample, d.neuron) == (3, 1, 2)
    potentials[1][0, 0, 0] += 1
    assert compare(first, recording(run[0], potentials[1]), NETWORK, tolerance=tolerance).states_different == 2


def test_a_float_stage_that_diverges_fails_beside_integers_too(run) -> None:
    v = run[1].astype(float)
    v[5, 0, 0] = np.nan
    pair = compare(recording(run[0], v), recording(run[0], run[1]), NETWORK, exact=False, integer=(False, True))
    assert (pair.not_finite, pair.states_different, pair.verdict) == (1, None, "failed")


def test_graded_messages_are_compared_as_they_are(run) -> None:
    """0.25 and 0.75 are no longer cut to 0; rounding is not a difference; NaN is."""
    graded = run[0] * 0.25
    other = graded.copy()
    at = tuple(np.argwhere(run[0])[0])
    other[at] = 0.75
    pair = compare(recording(graded, run[1]), recording(other, run[1]), NETWORK, tolerance=FLOAT_TOLERANCE)
    assert (pair.spikes_different, pair.verdict, pair.spikes) == (1, "failed", (run[0].sum(),) * 2)
    other[at] = 0.25 * (1 + 1e-15)
    assert compare(recording(graded, run[1]), recording(other, run[1]), NETWORK, tolerance=FLOAT_TOLERANCE).equal
    other[at] = graded[at] = np.nan
    pair = compare(recording(graded, run[1]), recording(other, run[1]), NETWORK, tolerance=FLOAT_TOLERANCE)
    assert (pair.not_finite, pair.verdict) == (1, "failed")
