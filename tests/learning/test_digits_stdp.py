"""Digits learned with Loihi's rules: that they are learned at all, the same again, and on from where they were."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from neurodeploy import backends
from neurodeploy.errors import InvalidInputError
from neurodeploy.learning.digits.stdp import PIXELS, SETTINGS, DigitsStdp
from neurodeploy.program.recording import Record

RULES = tuple(SETTINGS)


@pytest.mark.parametrize(("rule", "least"), [("stdp", 0.8), ("r-stdp", 0.5)])
def test_a_pass_over_the_training_set_tells_digits(rule: str, least: float) -> None:
    """Far better than the same passes with a rule that changes nothing (homeostasis alone, random weights)."""
    still = replace(SETTINGS[rule], dw="0*u0", dt="")
    found = {}
    for name, settings in (("learning", None), ("still", still)):
        task = DigitsStdp(rule, seed=5, settings=settings)
        before = task.weights.copy()
        for _ in range(task.chunks_per_epoch):
            task.train_chunk()
        found[name] = task.accuracy()
        assert np.array_equal(task.weights, before) == (name == "still")
    assert found["learning"] > least
    assert found["learning"] > found["still"] + 0.15


@pytest.mark.parametrize("rule", RULES)
def test_a_restored_state_goes_on_as_if_nothing_had_happened(rule: str) -> None:
    straight, first, second = (DigitsStdp(rule, seed=3) for _ in range(3))
    for _ in range(4):
        straight.train_chunk()
    for _ in range(2):
        first.train_chunk()
    state = {name: np.array(value) for name, value in first.state().items()}
    first.train_chunk()  # must not change what was kept
    second.restore(state)
    for _ in range(2):
        second.train_chunk()
    for name, value in straight.state().items():
        np.testing.assert_array_equal(second.state()[name], value, name)
    assert not np.array_equal(DigitsStdp(rule, seed=4).weights, DigitsStdp(rule, seed=3).weights)


def test_the_work_of_a_chunk_is_that_of_its_spikes() -> None:
    """Pairwise: all products wait for a target's spike, which visits its 64 synapses for three products each."""
    done = DigitsStdp("stdp", seed=1).train_chunk()
    assert done.samples == 50 and done.steps == 50 * 48 and done.spikes > 50
    # The synapses hear of a spike one step later: none is lost, since the last steps are silent.
    assert done.work["visited"] == PIXELS * done.spikes
    assert done.work["products"] == 3 * PIXELS * done.spikes
    assert 0 < done.work["changed"] <= done.work["visited"]


@pytest.mark.parametrize("rule", RULES)
def test_it_is_the_program_that_the_reference_runs(rule: str) -> None:
    """The same chunk, in NumPy."""
    settings = replace(SETTINGS[rule], chunk=2, neurons=10)
    task = DigitsStdp(rule, seed=2, settings=settings)
    program, samples = task.program(learning=True), np.array([0, 1])
    found = backends.get("reference")(program, task.inputs(samples), record=Record())
    task.train(samples)
    np.testing.assert_array_equal(found.learned["learns"]["weights"][-1, 0], task.weights)


def test_what_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="unknown learning rule"):
        DigitsStdp("hebb")
    with pytest.raises(InvalidInputError, match="whole epochs"):
        DigitsStdp("stdp", settings=replace(SETTINGS["stdp"], epoch=5))
    with pytest.raises(InvalidInputError, match="raised does not fit"):
        task = DigitsStdp("stdp")
        task.restore({**task.state(), "raised": np.zeros(3)})
