"""One neuron, few spikes: gradients, counts and thresholds worked out beside the code."""

from __future__ import annotations

from dataclasses import replace
from math import exp

import numpy as np
import pytest

from neurodeploy.hwsim.event_learning.engine import OnChip, Samples
from neurodeploy.network.connectivity import Dense
from neurodeploy.network.event_rules import AdaptiveThreshold, EventRule, RuleName, Shape, build
from neurodeploy.network.network import Network

STEPS = 4
B = 0.5
KAPPA = [(1 - B ** (STEPS - t)) / (1 - B) / STEPS for t in range(STEPS)]


def network(name: RuleName, weights: list[float], keep: float) -> Network:
    """Inputs to one neuron to two classes with weights 1 and -1; threshold 1."""
    made = build(Shape((len(weights),), (1,), 2), name, keep=keep, readout_keep=B)
    first, last = made.projections
    return replace(
        made,
        projections=(
            replace(first, connectivity=Dense(np.array([weights]))),
            replace(last, connectivity=Dense(np.array([[1.0], [-1.0]]))),
        ),
    )


def spikes(*events: tuple[int, int], inputs: int) -> Samples:
    """One sample of class 0 with spikes (step, neuron)."""
    dense = np.zeros((STEPS, 1, inputs), np.uint8)
    for t, i in events:
        dense[t, 0, i] = 1
    return Samples.of(dense, np.array([0]))


def rule(name: RuleName, **more: object) -> EventRule:
    """Gradients are summed and not applied: the batch is longer than the sample."""
    return EventRule(name, 0.1, **{"batch": 2, "adapt": None, **more})  # type: ignore[arg-type]


def test_mpd_ed() -> None:
    """Inputs at steps 0 (0.8), 1 (0.5, fires) and 2 (0.9, does not): only the first two learn."""
    chip = OnChip(network("mpd-ed", [0.8, 0.5, 0.9], keep=0.5), rule("mpd-ed"), STEPS)
    outcome = chip.learn(spikes((0, 0), (1, 1), (1, 0), (2, 2), inputs=3))
    # u = 0.8 at step 0; at step 1 0.4 + 0.5 + 0.8 = 1.7 > 1, a spike; at step 2 0.9 < 1.
    o = KAPPA[1]
    p = exp(o) / (exp(o) + exp(-o))
    delta = np.array([p - 1, 1 - p])
    error = KAPPA[1] * (delta[0] - delta[1]) * max(0, 1 - abs(1.7 - 1))
    hidden, readout = chip.gradients()
    assert hidden[0] == pytest.approx(
        [error * (0.5 + 1), error, 0]
    )  # input 0 spiked one step before, and at, the spike
    assert readout[:, 0] == pytest.approx(delta * KAPPA[1])
    found = {kind: n.tolist() for kind, n in outcome.total().items()}
    assert found["events_in"] == [4, 1]
    assert found["events_out"] == [1, 0]
    assert found["sops"] == [4, 2]
    assert found["neuron_updates"] == [3, 2 * STEPS]
    assert found["surrogates"] == [1, 0]
    assert found["gradient_macs"] == [3, 2]  # three input spikes before the spike; one neuron and two classes
    assert found["error_macs"] == [0, 2]
    assert found["trace_updates"] == [0, 1]
    assert found["stored_words"] == [4, 2]
    assert outcome.right[0] == pytest.approx(p)


def test_std_ed() -> None:
    """The current of step 0 fires the neuron at step 2; a later input belongs to no spike."""
    chip = OnChip(network("std-ed", [0.5, 0.3], keep=0.5), rule("std-ed"), STEPS)
    outcome = chip.learn(spikes((0, 0), (1, 1), (3, 1), inputs=2))
    # c = 0.5, then 0.25 + 0.3 = 0.55, then 0.275; u = 0.5, 1.05 > 1: a spike at step 1 with c = 0.55; then 0, 0.3.
    o = KAPPA[1]
    p = exp(o) / (exp(o) + exp(-o))
    delta = np.array([p - 1, 1 - p])
    later = -(B ** (STEPS - 1 - 1)) / STEPS  # what the output loses if the spike of step 1 comes a step later
    error = (delta[0] - delta[1]) * later * (-1 / 0.55)
    hidden, _ = chip.gradients()
    assert hidden[0] == pytest.approx([error * (1 + 0.5), error * 1])  # K(1) = 1 + a, K(0) = 1
    assert outcome.total()["gradient_macs"].tolist() == [2, 2]
    assert outcome.total()["neuron_updates"].tolist() == [4, 2 * STEPS]


def test_std_ed_divides_by_no_small_current() -> None:
    """A spike whose current is below a tenth of the threshold is divided by that tenth."""
    weights = [1.0, 0.06]
    chip = OnChip(network("std-ed", weights, keep=0.5), rule("std-ed", slope=2.0), STEPS)
    chip.learn(spikes((0, 0), (1, 1), inputs=2))  # u = 1, 1.56: a spike at step 1 with c = 0.56 < 2
    p = exp(KAPPA[1]) / (exp(KAPPA[1]) + exp(-KAPPA[1]))
    error = 2 * (p - 1) * -(B**2) / STEPS * (-1 / 2.0)
    assert chip.gradients()[0][0] == pytest.approx([error * 1.5, error])


def test_surrogate_gradient_needs_no_spike() -> None:
    """BPTT learns in a silent step too: u = 0.8 and 0.4 both have a derivative."""
    chip = OnChip(network("bptt", [0.8], keep=0.5), rule("bptt"), STEPS)
    chip.learn(spikes((0, 0), inputs=1))
    psi = [0.8, 0.4, 0.2, 0.1]  # of u = 0.8, 0.4, 0.2, 0.1: 1 - |u - 1|
    carried = 0.0
    for t in reversed(range(STEPS)):
        carried = KAPPA[t] * (-0.5 - 0.5) * psi[t] + 0.5 * carried  # p = 1/2: the outputs are 0
    assert chip.gradients()[0][0] == pytest.approx([carried])


def test_thresholds_follow_activity() -> None:
    """Silent windows lower the threshold, not below its least; busy ones raise it, not above its start."""
    adapt = AdaptiveThreshold(target=0.2, lowest=0.5, down=0.8, up=2.0, window=2)
    chip = OnChip(network("mpd-ed", [0.7], keep=0.5), rule("mpd-ed", adapt=adapt, batch=100), STEPS)
    silent, busy = spikes(inputs=1), spikes((0, 0), (1, 0), (2, 0), inputs=1)
    levels = []
    for sample in [silent] * 8 + [busy] * 4:
        chip.learn(sample)
        levels.append(chip.thresholds[0][0])
    # busy: u = 0.7 > 0.5 fires thrice in 4 steps, 0.75 > 0.2
    assert levels == pytest.approx([1, 0.8, 0.8, 0.64, 0.64, 0.512, 0.512, 0.5, 0.5, 1.0, 1.0, 1.0])


def test_a_loud_neuron_does_not_hide_a_silent_one() -> None:
    """One of two neurons fires in every step: their mean is 0.5, far above the target; the silent one is lowered."""
    made = build(Shape((1,), (2,), 2), "mpd-ed", keep=0.5, readout_keep=B)
    first, last = made.projections
    network = replace(made, projections=(replace(first, connectivity=Dense(np.array([[1.5], [0.1]]))), last))
    busy = spikes((0, 0), (1, 0), (2, 0), (3, 0), inputs=1)
    levels = {}
    for each in ("layer", "neuron"):
        adapt = AdaptiveThreshold(target=0.2, lowest=0.5, down=0.8, up=2.0, window=1, each=each)  # type: ignore[arg-type]
        chip = OnChip(network, rule("mpd-ed", adapt=adapt, batch=100), STEPS)
        chip.learn(busy)
        levels[each] = chip.thresholds[0].tolist()
    assert levels == {"layer": [1.0, 1.0], "neuron": [1.0, 0.8]}


def test_a_certain_sample_is_skipped() -> None:
    """p = e^o / (e^o + e^-o) with o = kappa of step 1 is above 1/2; with skip 0.5 nothing is learned from it."""
    chip = OnChip(network("mpd-ed", [1.1], keep=0.5), rule("mpd-ed", skip=0.5, batch=1), STEPS)
    before = chip.weights()
    outcome = chip.learn(spikes((1, 0), inputs=1))
    assert outcome.right[0] > 0.5
    assert all((a == b).all() for a, b in zip(before, chip.weights(), strict=True))
    total = outcome.total()
    assert total["skipped"].sum() == 1 and total["learned"].sum() == 0
    assert sum(total[kind].sum() for kind in ("gradient_macs", "weight_writes", "error_macs", "stored_words")) == 0


def test_weights_on_a_grid() -> None:
    """With 4 bits over 2 thresholds a step is 2/7; a change of a quarter of it moves about every fourth weight."""
    inputs, tries = 1, 400
    moved = 0
    for seed in range(tries):
        chip = OnChip(network("mpd-ed", [8 / 7], keep=0.5), rule("mpd-ed", weight_bits=4, batch=1, seed=seed), STEPS)
        start = chip.weights()[1][0, 0]
        assert start * 7 / 2 == pytest.approx(round(start * 7 / 2))
        o = start * KAPPA[0]
        p = exp(o) / (exp(o) + exp(-o))  # the other weight is the same with a minus
        change = 0.1 * (1 - p) * KAPPA[0]
        chip.learn(spikes((0, 0), inputs=inputs))
        after = chip.weights()[1][0, 0]
        assert after == pytest.approx(start) or after == pytest.approx(start + 2 / 7)
        moved += after != pytest.approx(start)
    expected = change / (2 / 7)
    assert 0 < expected < 0.2
    deviation = (expected * (1 - expected) / tries) ** 0.5
    assert abs(moved / tries - expected) < 4 * deviation
