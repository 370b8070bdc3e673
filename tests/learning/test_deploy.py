"""A network that learned on the chip runs as a Program like any other, and says the same of every sample."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from neurodeploy import backends
from neurodeploy.compiler import place
from neurodeploy.errors import UnsupportedError
from neurodeploy.hwsim.event_learning.engine import KINDS
from neurodeploy.learning.learners import EventLearner
from neurodeploy.learning.run import Run
from neurodeploy.learning.setup import Setup
from neurodeploy.models import digits
from neurodeploy.network.event_rules import RULES, Shape, build, chain
from neurodeploy.network.neurons import Lif
from neurodeploy.passes import PassData
from neurodeploy.passes.quantise.quantise import Quantise
from neurodeploy.program.recording import Recording

TAUGHT = 1347
"""Samples, one epoch: enough for both rules to be far from chance."""


def trained(rule: str, hidden: tuple[int | tuple[int, int, int], ...], code: str) -> Run:
    run = Run(Setup(rule, code=code, hidden=hidden, epochs=1), portion=TAUGHT)
    run.advance()
    return run


def encoded(run: Run) -> dict[str, np.ndarray]:
    return {"input": digits.encode(run.setup.code, digits.load().test_images, run.setup.steps)}


def potentials(recording: Recording) -> np.ndarray:
    """Of the read-out after the last step, ``[samples, classes]``."""
    return np.asarray(recording.states["v"]["readout"][-1])


@pytest.mark.parametrize("code", ["latency", "rate"])
@pytest.mark.parametrize("hidden", [(30,), ((4, 3, 2), 20)], ids=["mlp", "conv"])
@pytest.mark.parametrize("rule", ["mpd-ed", "std-ed"])
def test_a_learned_network_deploys(rule: str, hidden: tuple[int | tuple[int, int, int], ...], code: str) -> None:
    run = trained(rule, hidden, code)
    assert isinstance(run.learner, EventLearner)
    chip, test = run.learner.chip, run.learner.test
    outcome = chip.infer(test)
    assert (outcome.predicted == test.labels).mean() > 0.4  # 10 classes
    program = place(run.learner.program().network, None, {})
    for name in ("hwsim", "reference"):
        found = backends.get(name)(program, encoded(run))
        for number, layer in enumerate(chip.chain.layers):
            spikes = found.spikes[layer.target.name].dense().sum(axis=(0, 2))
            assert spikes.sum() > len(test)
            np.testing.assert_array_equal(spikes, outcome.counts[:, number, KINDS.index("events_out")], err_msg=name)
        output = potentials(found) / run.setup.steps
        np.testing.assert_array_equal(output.argmax(axis=1), outcome.predicted, err_msg=name)
        likely = np.exp(output - output.max(axis=1, keepdims=True))
        right = likely[np.arange(len(test)), test.labels] / likely.sum(axis=1)
        np.testing.assert_allclose(right, outcome.right, rtol=1e-9, err_msg=name)


def test_without_the_reset_of_the_current_it_is_another_network() -> None:
    run = trained("std-ed", (30,), "rate")
    assert isinstance(run.learner, EventLearner)
    network = run.learner.program().network
    forgetful = [p.name for p in network.populations if isinstance(p.neuron, Lif) and p.neuron.reset_current]
    assert forgetful == ["hidden1"]
    kept = tuple(
        replace(p, neuron=replace(p.neuron, reset_current=False)) if isinstance(p.neuron, Lif) else p
        for p in network.populations
    )
    found = backends.get("hwsim")(place(replace(network, populations=kept), None, {}), encoded(run))
    outcome = run.learner.chip.infer(run.learner.test)
    spikes = len(found.spikes["hidden1"])
    assert spikes > 1.2 * outcome.counts[:, 0, KINDS.index("events_out")].sum()


@pytest.mark.parametrize("rule", ["mpd-ed", "std-ed"])
def test_a_learned_network_in_integers(rule: str) -> None:
    run = trained(rule, (30,), "latency")
    assert isinstance(run.learner, EventLearner)
    calibration = digits.encode("latency", digits.load().train_images[:100], run.setup.steps)
    whole = Quantise().apply(run.learner.program().network, PassData({"input": calibration}))
    program = place(whole, None, {})
    a, b = (backends.get(name)(program, encoded(run)) for name in ("hwsim", "reference"))
    np.testing.assert_array_equal(potentials(a), potentials(b))
    outcome = run.learner.chip.infer(run.learner.test)
    assert (potentials(a).argmax(axis=1) == outcome.predicted).mean() > 0.9


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_takes_only_its_own_neurons(rule) -> None:
    network = build(Shape(digits.SHAPE, (5,), 10), rule)
    hidden = network.by_name["hidden1"].neuron
    assert isinstance(hidden, Lif)
    assert hidden.reset_current == (rule == "std-ed")
    assert chain(network, rule).layers[0].target.neuron is hidden
    other = tuple(
        replace(p, neuron=replace(hidden, reset_current=not hidden.reset_current)) if p.name == "hidden1" else p
        for p in network.populations
    )
    with pytest.raises(UnsupportedError, match=f"population 'hidden1': reset_current does not suit {rule}"):
        chain(replace(network, populations=other), rule)
