"""hwsim against the reference: same spikes, same u, same v, on random networks of every kind."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.backends import reference
from neurodeploy.hwsim import engine
from neurodeploy.recording import Record
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
    for name, values in expected.states["v"].items():
        np.testing.assert_allclose(found.states["v"][name], values, rtol=1e-9, atol=1e-9)


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


def test_active_updates_are_neurons_not_at_rest() -> None:
    """A neuron is active where its arriving current, bias, or its u or v before the step is not zero."""
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
            active = (arrived != 0) | (before_u != 0) | (before_v != 0) | (population.neuron.bias != 0)
            np.testing.assert_array_equal(run.active[name].sum(axis=2), active.sum(axis=2))


def _same_spikes(expected, found) -> None:
    assert expected.spikes.keys() == found.spikes.keys()
    for name, events in expected.spikes.items():
        for column in ("time", "sample", "neuron"):
            np.testing.assert_array_equal(
                getattr(found.spikes[name], column), getattr(events, column), err_msg=f"{column} of {name}"
            )
