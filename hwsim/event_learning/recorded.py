"""From what the simulator recorded of one sample to the events of the tables: who fired, with which potential."""

from __future__ import annotations

from typing import NamedTuple

from neurodeploy.network.arrays import Array

from ..function.neuron_kernels import compiled
from .layout import C_IN, DELAY, FIRST, GROUP, KERNEL, LAST, SOURCE, TAPS, WEIGHTS, WIDTH, Net, Spikes
from .trained import ONCE, PLAIN, REPLACED, SUBTRACTED


class Levels(NamedTuple):
    """What the potentials of a population are told by, all ``[neurons]`` in the tables' order.

    Args:
        how: of `neurodeploy.hwsim.event_learning.trained`.
        column: of each neuron in the recorded states.
        equal: 1 where a potential at the threshold is above it.
        unit: see `neurodeploy.hwsim.event_learning.trained.Neurons`.
    """

    how: int
    column: Array
    initial: Array
    kept_v: Array
    kept_u: Array
    bias: Array
    threshold: Array
    equal: int
    unit: Array


@compiled
def collect(
    k: int, spikes: Spikes, bounds: Array, events: Array, values: Array, graded: int, renumbered: Array
) -> None:
    """Take the events of population k, of which those of step t are ``events[bounds[t, 0] : bounds[t, 1]]``.

    Args:
        values: what they carry, where ``graded``.
        renumbered: the tables' number of each neuron; empty where it is the simulator's.
    """
    count = 0
    for t in range(len(bounds)):
        for e in range(bounds[t, 0], bounds[t, 1]):
            at = spikes.base[k] + count
            spikes.neuron[at] = renumbered[events[e]] if len(renumbered) else events[e]
            spikes.carried[at] = values[e] if graded else 1.0
            spikes.error[at] = 0.0
            count += 1
        spikes.first[k, t + 1] = count


@compiled
def fill_levels(k: int, spikes: Spikes, level: Levels, u: Array, v: Array, arriving: Array) -> None:
    """Set the value of each event of population k: its potential before the reset, or its current, in units.

    Args:
        u, v: recorded states, ``[steps, columns]``, behind the reset of each step.
        arriving: currents in units, ``[steps, neurons]``, for `CURRENT`.
    """
    for t in range(len(v)):
        for e in range(spikes.base[k] + spikes.first[k, t], spikes.base[k] + spikes.first[k, t + 1]):
            j, sent = spikes.neuron[e], spikes.carried[e]
            column, unit, theta = level.column[j], level.unit[j], level.threshold[j]
            before = float(v[t - 1, column]) if t > 0 else level.initial[j]
            if level.how == PLAIN:
                found = float(v[t, column])
            elif level.how == SUBTRACTED:
                found = v[t, column] + sent * theta
            elif level.how == ONCE:
                again = before >= theta if level.equal else before > theta
                found = v[t, column] + (0.0 if again else theta)
            elif level.how == REPLACED:
                found = level.kept_v[j] * before + u[t, column] + level.bias[j]
            else:
                current = level.kept_u[j] * u[t - 1, column] if t > 0 else 0.0
                found = current + arriving[t, j] * unit + level.bias[j]
            spikes.value[e] = (found - (sent - 1.0) * theta) / unit


@compiled
def arrivals(k: int, net: Net, spikes: Spikes, weights: Array, into: Array) -> None:
    """Add up the currents that arrive at population k, in units, ``[steps, neurons]``."""
    own = net.populations[k]
    into[:] = 0.0
    for r in range(own[FIRST], own[LAST]):
        row = net.projections[r]
        base = spikes.base[row[SOURCE]]
        for t in range(row[DELAY], len(into)):
            early = t - row[DELAY]
            for e in range(base + spikes.first[row[SOURCE], early], base + spikes.first[row[SOURCE], early + 1]):
                i, amount = spikes.neuron[e], spikes.carried[e]
                p = i // row[C_IN]
                channel = i - p * row[C_IN]
                weight = row[WEIGHTS] + channel * row[KERNEL] * row[WIDTH]
                for q in range(net.tap_first[row[TAPS] + p], net.tap_first[row[TAPS] + p + 1]):
                    at = net.tap_at[q] + channel // row[GROUP] * row[WIDTH]
                    for o in range(row[WIDTH]):
                        into[t, at + o] += amount * weights[weight + net.tap_kernel[q] * row[WIDTH] + o]


@compiled
def blame(k: int, spikes: Spikes, errors: Array) -> None:
    """Give the events of population k the errors of their spikes, ``[steps, neurons]``."""
    for t in range(len(errors)):
        for e in range(spikes.base[k] + spikes.first[k, t], spikes.base[k] + spikes.first[k, t + 1]):
            spikes.error[e] = errors[t, spikes.neuron[e]]
