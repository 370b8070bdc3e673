"""Chip time: the schedule by hand, and that running in chip time gives what network time says."""

import itertools

import numpy as np
import pytest

from neurodeploy.backends.reference import run as reference
from neurodeploy.backends.reference import steps as neuron_steps
from neurodeploy.errors import UnsupportedError
from neurodeploy.network.connectivity import Dense
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.program.recording import Record
from neurodeploy.program.schedule import schedule
from tests.networks import random_network, random_spikes


def lif(size: int = 2) -> Lif:
    zero = np.zeros(size, np.int32)
    return Lif(zero + 4095, zero + 400, zero + 20, zero + 640, zero, zero)


def network(*projections: tuple[str, str, int]) -> Network:
    return Network(
        "n",
        (Population("in", (2,), Source()), *(Population(name, (2,), lif()) for name in "abc")),
        tuple(Projection(f"{s}{t}{d}", s, t, Dense(np.full((2, 2), 8, np.int16)), delay=d) for s, t, d in projections),
        ("c",),
        1e-3,
        "loihi",
    )


def test_lags_and_latencies_by_hand() -> None:
    times = schedule(network(("in", "a", 0), ("a", "b", 0), ("in", "b", 0), ("b", "c", 2), ("b", "b", 1)))
    assert times.lag == {"in": 0, "a": 1, "b": 2, "c": 1}
    # in -> b waits for the longer branch; b -> c: lag 1 + delay 2 - lag 2 = 1; the loop takes its own delay.
    assert times.latency == {"ina0": 1, "ab0": 1, "inb0": 2, "bc2": 1, "bb1": 1}
    assert times.depth == 2


def test_a_loop_that_is_too_fast_for_the_chip_is_refused() -> None:
    with pytest.raises(UnsupportedError) as caught:
        schedule(network(("in", "a", 0), ("a", "b", 0), ("b", "a", 1)))
    assert "feeds back over 2 layers within 1 step(s)" in str(caught.value)
    schedule(network(("in", "a", 0), ("a", "b", 0), ("b", "a", 2)))


@pytest.mark.parametrize("seed", range(40))
def test_running_in_chip_time_gives_the_same(seed: int) -> None:
    """Every population, every chip step: held in its initial state before its network step 0, and every projection
    delivering `latency` steps later. Written out here; equal to the reference, which runs in network time."""
    net = random_network(seed, "loihi")
    try:
        times = schedule(net)
    except UnsupportedError:
        pytest.skip("a loop that is too fast for the chip")
    x = random_spikes(net, seed, steps=8, samples=2)
    expected = reference.run_network(net, {"input": x}, record=Record(("v",)))
    steps, samples, depth = 8, 2, times.depth
    out = {p.name: np.zeros((steps + depth, samples, p.size), np.int64) for p in net.populations}
    state = {}
    for population in net.populations:
        if isinstance(population.neuron, Lif):
            v = np.tile(population.neuron.initial.astype(np.int64), (samples, 1))
            state[population.name] = neuron_steps.State(np.zeros_like(v), v)
    for chip in range(steps + depth):
        for population in net.populations:
            name, step = population.name, chip - times.lag[population.name]
            if not 0 <= step < steps:
                continue
            if name == "input":
                out[name][chip] = x[step].reshape(samples, -1)
            elif isinstance(population.neuron, Source):
                out[name][chip] = step >= population.neuron.start
            else:
                current = np.zeros((samples, population.size), np.int64)
                for p in net.into(name):
                    then = chip - times.latency[p.name]
                    if then >= 0:
                        current += reference.shift(p.connectivity.apply(out[p.source][then]), p.connectivity.exponent)
                now = state[name]
                now.v, out[name][chip] = neuron_steps._step_integer(population.neuron, now, current)
                np.testing.assert_array_equal(now.v, expected.states["v"][name][step])


def test_a_branch_that_is_later_than_its_delay_makes_its_target_wait() -> None:
    """in -> a -> b -> c, and c -> d with a delay of one step only: d lags three hops behind, not none."""
    from neurodeploy.network.connectivity import Dense
    from neurodeploy.network.network import Network, Population, Projection
    from neurodeploy.network.neurons import Lif, Source

    one = np.ones(1)
    names = ["in", "a", "b", "c", "d"]
    lif = Lif(one, one * 0.5, one * 0, one, one * 0, one * 0)
    populations = [Population(n, (1,), Source() if n == "in" else lif) for n in names]
    projections = [
        Projection(f"{s}{t}", s, t, Dense(np.ones((1, 1))), delay=int(t == "d")) for s, t in itertools.pairwise(names)
    ]
    found = schedule(Network("n", tuple(populations), tuple(projections), ("d",), 1e-3))
    assert [found.lag[n] for n in names] == [0, 1, 2, 3, 3]
    assert found.latency["cd"] == 1
