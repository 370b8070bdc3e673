"""What a sample leaves unproven, and a livelier one.

Two networks that agree where nothing happens agree on nothing. A threshold, its reset and the weights behind it have
mattered where the neuron has spiked; the weights in front of a neuron and its decay where its potential has moved. A
sample on which a whole layer stays out is followed by one that is drawn here, as lively as it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Network
from neurodeploy.nir_graph.proof import Unproven
from neurodeploy.program.recording import Recording

STEPS, SAMPLES = 32, 4
"""Extent of a sample that is drawn."""

RATES = (0.5, 0.9)
GAINS = (1.0, 4.0, 16.0, 64.0)
"""Shares of inputs that spike, and the largest input, of the samples that are tried."""

NEVER_SPIKE = "never spike: their thresholds, resets and the weights behind them"
NEVER_MOVE = "receive nothing: the weights in front of them and all parameters"
NEVER_GIVEN = "are 0 in every step: the weights behind them"


def idle(recording: Recording, network: Network) -> dict[str, tuple[Array, str]]:
    """For each population, the neurons that took no part (bool ``[neurons]``), and what that leaves unproven.

    Args:
        recording: spikes, and the potentials ``v`` of the layers; those that it does not hold are left out.
    """
    found: dict[str, tuple[Array, str]] = {}
    potentials = recording.states.get("v", {})
    for population in network.populations:
        name = population.name
        events = recording.spikes.get(name)
        busy = np.zeros(population.size, bool)
        if events is not None:
            busy[np.unique(events.neuron)] = True
        if population.external:
            if events is not None:
                found[name] = (~busy, NEVER_GIVEN)
        elif name in potentials:
            v = potentials[name]
            moved = busy | (v != v[:1, :1]).any((0, 1))
            still = not (busy if population.spiking else moved).any() and not moved.any()
            found[name] = (~busy, NEVER_SPIKE) if population.spiking and not still else (~moved, NEVER_MOVE)
    return found


def left_unproven(takes: list[dict[str, tuple[Array, str]]]) -> tuple[Unproven, ...]:
    """What is idle in every one of several runs, in the order of the network."""
    result = []
    for name, (_, why) in takes[-1].items():
        each = [take[name][0] for take in takes if name in take]
        count = int(np.logical_and.reduce(each).sum())
        if count:
            result.append(Unproven(name, count, len(each[0]), why))
    return tuple(result)


def asleep(take: Mapping[str, tuple[Array, str]]) -> list[str]:
    """Populations of which no neuron took part."""
    return [name for name, (none, _) in take.items() if none.all()]


def drawn(shape: tuple[int, ...], steps: int) -> Iterator[Array]:
    """Samples ``[time, batch, *shape]``, each livelier: spikes, then numbers of both signs, larger and larger."""
    rng = np.random.default_rng(0)
    for rate in RATES:
        yield (rng.random((steps, SAMPLES, *shape)) < rate).astype(np.float64)
    for gain in GAINS:
        yield gain * rng.normal(size=(steps, SAMPLES, *shape)).round(3)


def livelier(
    run: Callable[[Array], Recording],
    network: Network,
    shape: tuple[int, ...],
    take: Mapping[str, tuple[Array, str]],
    steps: int = STEPS,
) -> Array | None:
    """A sample on which more layers take part than in ``take``; None where none of those that are tried has more.

    Args:
        run: the original model.
        shape: of one sample.
        steps: of the samples.
    """
    best, least = None, len(asleep(take))
    for sample in drawn(shape, steps):
        if least == 0:
            break
        out = len(asleep(idle(run(sample), network)))
        if out < least:
            best, least = sample, out
    return best
