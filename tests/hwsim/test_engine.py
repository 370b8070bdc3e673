"""hwsim against the reference: same spikes, same u, same v, on random networks of every kind."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.backends.reference import run as reference
from neurodeploy.backends.reference import steps
from neurodeploy.hwsim import engine
from neurodeploy.network.connectivity import Dense
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import SigmaDelta, Source
from neurodeploy.program.recording import Record
from tests.networks import placed, random_network, random_spikes

ALL = Record(("u", "v"))
SEEDS = st.integers(0, 2**31)


@settings(max_examples=120, deadline=None)
@given(seed=SEEDS)
def test_integers_are_equal_bit_for_bit(seed: int) -> None:
    program = placed(random_network(seed, "loihi"))
    x = {"input": random_spikes(program.network, seed)}
    expected, found = reference.run(program, x, record=ALL), engine.run(program, x, record=ALL)
    _same_spikes(expected, found)
    for state in ("u", "v"):
        for name, values in expected.states[state].items():
            np.testing.assert_array_equal(found.states[state][name], values, err_msg=f"{state} of {name}")


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS)
def test_floats_are_equal_but_for_rounding(seed: int) -> None:
    program = placed(random_network(seed, "float"))
    x = {"input": random_spikes(program.network, seed)}
    expected, found = reference.run(program, x, record=ALL), engine.run(program, x, record=ALL)
    _same_spikes(expected, found)
    # Sums of graded spikes of millions cancel: rounding is relative to the largest current, not to what is left.
    largest = max(float(np.abs(values).max()) for values in expected.states["u"].values())
    for name, values in expected.states["v"].items():
        np.testing.assert_allclose(found.states["v"][name], values, rtol=1e-9, atol=1e-12 * max(largest, 1e3))


def test_random_networks_are_not_silent() -> None:
    """The property tests above would pass on silence; they are not silent."""
    spikes = 0
    for seed in range(30):
        program = placed(random_network(seed, "loihi"))
        run = engine.run(program, {"input": random_spikes(program.network, seed)})
        spikes += sum(len(events) for name, events in run.spikes.items() if name.startswith("layer"))
    assert spikes > 3000


def test_result_does_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    program = placed(random_network(7, "loihi"))
    x = {"input": random_spikes(program.network, 7, samples=11)}
    whole = engine.run(program, x, record=ALL)
    monkeypatch.setattr(engine, "BLOCK", 4)
    cut = engine.run(program, x, record=ALL)
    _same_spikes(whole, cut)
    for name in whole.active:
        np.testing.assert_array_equal(whole.active[name], cut.active[name])


def test_updates_that_are_active_touched_and_changed() -> None:
    """A neuron is active where its arriving current, bias, v, or what the decay leaves of its u is not zero."""
    totals = np.zeros(3, int)
    for seed in range(20):
        program = placed(random_network(seed, "loihi"))
        network = program.network
        x = {"input": random_spikes(network, seed, rate=0.05)}
        run = engine.run(program, x, record=ALL)
        outputs = {name: events.dense().astype(np.int64) for name, events in run.spikes.items()}
        for population in network.populations:
            name = population.name
            if name not in run.active:
                continue
            u, v = run.states["u"][name], run.states["v"][name]
            initial = np.broadcast_to(population.neuron.initial, v[:1].shape)
            before_u, before_v = np.concatenate([0 * u[:1], u[:-1]]), np.concatenate([initial, v[:-1]])
            arrived = np.zeros(v.shape, np.int64)
            for projection in network.into(name):
                for t in range(projection.delay, run.steps):
                    part = projection.connectivity.apply(outputs[projection.source][t - projection.delay])
                    arrived[t] += reference.shift(part, projection.connectivity.exponent)
            kept = steps.decay(before_u, population.neuron.du + 1)
            active = (arrived != 0) | (kept != 0) | (before_v != 0) | (population.neuron.bias != 0)
            changed = (u != before_u) | (v != before_v)
            for found, expected in ((run.active, active), (run.touched, arrived != 0), (run.changed, changed)):
                np.testing.assert_array_equal(found[name].sum(axis=2), expected.sum(axis=2))
            totals += [active.sum(), (arrived != 0).sum(), changed.sum()]
    assert len(set(totals.tolist())) == 3 and totals.min() > 100, totals


def test_changed_updates_of_floats_are_those_of_the_states() -> None:
    for seed in range(10):
        program = placed(random_network(seed, "float"))
        run = engine.run(program, {"input": random_spikes(program.network, seed, rate=0.05)}, record=ALL)
        for name, changed in run.changed.items():
            if name in run.states["v"]:
                u, v = run.states["u"][name], run.states["v"][name]
                initial = np.broadcast_to(program.network.by_name[name].neuron.initial, v[:1].shape)
                before_u, before_v = np.concatenate([0 * u[:1], u[:-1]]), np.concatenate([initial, v[:-1]])
                expected = ((u != before_u) | (v != before_v)).sum(axis=2)
                np.testing.assert_array_equal(changed.sum(axis=2), expected)
            assert (run.touched[name] <= run.active[name]).all()


def _same_spikes(expected, found) -> None:
    assert expected.spikes.keys() == found.spikes.keys()
    for name, events in expected.spikes.items():
        for column in ("time", "sample", "neuron"):
            np.testing.assert_array_equal(
                getattr(found.spikes[name], column), getattr(events, column), err_msg=f"{column} of {name}"
            )


@pytest.mark.parametrize("threshold", [0.0, 0.05])
def test_sigma_delta_follows_the_conventional_network(threshold: float) -> None:
    """Inputs are differences: at every step the activations are those of the ANN on the summed input, up to the
    thresholds that the layers before withhold."""
    rng = np.random.default_rng(0)
    sizes = (6, 9, 5, 3)
    weights = [rng.normal(size=(b, a)) for a, b in itertools.pairwise(sizes)]
    biases = [rng.normal(size=b) * 0.3 for b in sizes[1:]]
    populations = [Population("input", (6,), Source())]
    projections = []
    for index, (w, b) in enumerate(zip(weights, biases, strict=True)):
        kind = "relu" if index < 2 else "identity"
        populations.append(Population(f"l{index}", (len(b),), SigmaDelta(b, np.full(len(b), threshold), kind)))
        projections.append(Projection(f"p{index}", populations[index].name, f"l{index}", Dense(w)))
    network = Network("ann", tuple(populations), tuple(projections), ("l2",), 1e-3)
    values = rng.normal(size=(7, 4, 6)) * (rng.random((7, 4, 6)) < 0.5)
    x = np.cumsum(values, axis=0)
    for w, b, last in zip(weights, biases, (False, False, True), strict=True):
        x = x @ w.T + b if last else np.maximum(x @ w.T + b, 0)
    runs = [f(placed(network), {"input": values}, record=ALL) for f in (reference.run, engine.run)]
    for run in runs:
        reach = 1e-9 if threshold == 0 else threshold * sum(np.abs(w).sum() for w in weights)
        np.testing.assert_allclose(run.states["v"]["l2"], x, atol=reach)
    for name, events in runs[0].spikes.items():
        np.testing.assert_allclose(runs[1].spikes[name].dense(), events.dense(), atol=1e-9)
    sent = [len(run.spikes["l0"]) for run in runs]
    assert sent[0] == sent[1] > 20
