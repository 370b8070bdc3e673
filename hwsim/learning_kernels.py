"""The kernels of learning: weights that are added and changed, traces, and what neurons send to learning synapses."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodeploy.connectivity import Array

from .kernels import compiled, decay

X0, Y0, U = 0, 1, 2


@compiled
def scatter_learned(first: Array, index: Array, variables: Array, current: Array) -> None:
    """Add the weights of each event's neuron; ``variables`` is ``[batch, 3, sources, targets]``, weights first."""
    for b in range(len(first) - 1):
        for e in range(first[b], first[b + 1]):
            row = variables[b, 0, index[e]]
            for j in range(len(row)):
                current[b, j] += row[j]


@compiled
def note_spikes(
    first: Array, index: Array, tau: int, traces: Array, times: Array, settings: Array, random: int, most: int
) -> None:
    """Note spike times within the epoch; an earlier spike of the same epoch counts for the traces at once.

    Args:
        traces: ``[batch, traces, neurons]``.
        times: ``[batch, neurons]``, 0 for none.
        settings: ``[traces, 4]``, see `neurodeploy.hwsim.learning`.
        random: of the stochastic rounding.
        most: largest trace in integers, 0 for floats.
    """
    for b in range(len(first) - 1):
        for e in range(first[b], first[b + 1]):
            i = index[e]
            if times[b, i] > 0:
                for n in range(traces.shape[1]):
                    traces[b, n, i] = _raised(traces[b, n, i], settings, n, random, most)
            times[b, i] = tau


@compiled
def _raised(value: Any, settings: Array, n: int, random: int, most: int) -> Any:
    """A trace after an impulse."""
    if most == 0:
        return value + settings[n, 2]
    grown = value + settings[n, 0] + (1 if random < settings[n, 1] else 0)
    return min(max(grown, 0), most)


@compiled
def trace_history(
    start: Array, times: Array, epoch: int, settings: Array, random: tuple[float, int], integer: int
) -> Array:
    """Traces after each step of an epoch, ``[1 + epoch, batch, traces, neurons]``; entry 0 is before it."""
    history = np.zeros((epoch + 1, start.shape[0], start.shape[1], start.shape[2]), start.dtype)
    history[0] = start
    for b in range(start.shape[0]):
        for n in range(start.shape[1]):
            left = settings[n, 3]
            for i in range(start.shape[2]):
                value = start[b, n, i]
                for t in range(1, epoch + 1):
                    kept = left * value
                    if integer == 1:
                        whole = np.floor(kept)
                        kept = whole + (1.0 if random[0] < kept - whole else 0.0)
                    if times[b, i] == t:
                        kept = _raised(kept, settings, n, random[1], 127 if integer == 1 else 0)
                    history[t, b, n, i] = kept
                    value = history[t, b, n, i]
    return history


@compiled
def _wrapped(value: int) -> int:
    """As 32-bit integers multiply."""
    return ((value + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


@compiled
def _factor(
    code: int, b: int, i: int, j: int, at: int, past_x: Array, past_y: Array, variables: Array, tx: Array, ty: Array
) -> Any:
    """Value of one factor for the synapse from i to j; traces as they were after step ``at`` of the epoch."""
    if code < 2:
        return past_x[at, b, code, i]
    if code < 5:
        return past_y[at, b, code - 2, j]
    if code < 8:
        return variables[b, code - 5, i, j]
    spiked = tx[b, i] > 0 if code == 8 else ty[b, j] > 0
    return variables.dtype.type(1 if spiked else 0)


@compiled
def _taken_at(dependency: int, b: int, i: int, j: int, tx: Array, ty: Array, due: bool, end: int) -> int:
    """Step of the epoch at which a product is taken, or -1 where its dependency does not hold."""
    if dependency == X0:
        return tx[b, i] if tx[b, i] > 0 else -1
    if dependency == Y0:
        return ty[b, j] if ty[b, j] > 0 else -1
    return end if due else -1


@compiled
def learn_integer(
    terms: Array,
    factors: Array,
    epoch: int,
    tx: Array,
    ty: Array,
    past_x: Array,
    past_y: Array,
    variables: Array,
    changes: Array,
    limits: Array,
    signs: Array,
    random: float,
) -> None:
    """Apply a rule at the end of an epoch in Loihi's integers, to all synapses that it can change.

    Args:
        terms, factors: as `neurodeploy.hwsim.learning.Plasticity` has them.
        epoch: its number, from 1.
        tx, ty: last spike times in it, ``[batch, neurons]``.
        past_x, past_y: traces over it, ``[1 + steps, batch, traces, neurons]``.
        variables: w, d and t, ``[batch, 3, sources, targets]``, changed in place.
        changes: whether the rule changes each of them.
        limits, signs: range of each, and the sign that it keeps (0 for any).
        random: of the stochastic rounding.
    """
    end, low, high = past_x.shape[0] - 1, -(1 << 15) - 1, (1 << 15) - 1
    timed = False
    for k in range(len(terms)):
        if terms[k, 1] == U and epoch % (1 << terms[k, 7]) == 0:
            timed = True
    total = np.zeros(3, np.int64)
    for b in range(variables.shape[0]):
        for i in range(variables.shape[2]):
            for j in range(variables.shape[3]):
                if not timed and tx[b, i] == 0 and ty[b, j] == 0:
                    continue
                for n in range(3):
                    total[n] = variables[b, n, i, j] << 7
                for k in range(len(terms)):
                    at = _taken_at(terms[k, 1], b, i, j, tx, ty, epoch % (1 << terms[k, 7]) == 0, end)
                    if at < 0:
                        continue
                    product = 1
                    for f in range(terms[k, 5], terms[k, 5] + terms[k, 6]):
                        value = _factor(factors[f, 0], b, i, j, at, past_x, past_y, variables, tx, ty) + factors[f, 1]
                        if factors[f, 2] == 1:
                            value = np.sign(value)
                        reach = 1 << factors[f, 3]
                        product = _wrapped(product * min(max(value, -reach), reach - 1))
                    product = _wrapped(product * terms[k, 2]) >> terms[k, 3]
                    product = min(max(_wrapped(product << terms[k, 4]), low), high)
                    n = terms[k, 0]
                    total[n] = min(max(total[n] + product, low), high)
                for n in range(3):
                    if changes[n]:
                        value = total[n]
                        if signs[n] > 0:
                            value = max(value, 0)
                        elif signs[n] < 0:
                            value = min(value, 0)
                        value = (value >> 7) + (1 if random < (value & 127) / 128 else 0)
                        variables[b, n, i, j] = min(max(value, limits[n, 0]), limits[n, 1])


@compiled
def learn_float(
    terms: Array,
    factors: Array,
    epoch: int,
    tx: Array,
    ty: Array,
    past_x: Array,
    past_y: Array,
    variables: Array,
    changes: Array,
    signs: Array,
) -> None:
    """Apply a rule in floats; arguments as in `learn_integer`."""
    end = past_x.shape[0] - 1
    timed = False
    for k in range(len(terms)):
        if terms[k, 1] == U and epoch % (1 << terms[k, 7]) == 0:
            timed = True
    change = np.zeros(3)
    for b in range(variables.shape[0]):
        for i in range(variables.shape[2]):
            for j in range(variables.shape[3]):
                if not timed and tx[b, i] == 0 and ty[b, j] == 0:
                    continue
                change[:] = 0.0
                for k in range(len(terms)):
                    at = _taken_at(terms[k, 1], b, i, j, tx, ty, epoch % (1 << terms[k, 7]) == 0, end)
                    if at < 0:
                        continue
                    product = 1.0
                    for f in range(terms[k, 5], terms[k, 5] + terms[k, 6]):
                        value = _factor(factors[f, 0], b, i, j, at, past_x, past_y, variables, tx, ty) + factors[f, 1]
                        product *= np.sign(value) if factors[f, 2] == 1 else value
                    change[terms[k, 0]] += terms[k, 2] * 2.0 ** terms[k, 3] * product
                for n in range(3):
                    if changes[n]:
                        value = variables[b, n, i, j] + change[n]
                        if signs[n] > 0:
                            value = max(value, 0.0)
                        elif signs[n] < 0:
                            value = min(value, 0.0)
                        variables[b, n, i, j] = value


@compiled
def teach_integer(
    before: Array, spikes: Array, reward: Array, left1: int, left3: int, impulse: int, after: Array
) -> None:
    """Traces that the targets of a three-factor rule send, ``[3, batch, neurons]``."""
    for b in range(spikes.shape[0]):
        for i in range(spikes.shape[1]):
            given = min(max(reward[b, i], -128), 127)
            after[0, b, i] = min(((left1 * before[0, b, i]) >> 12) + impulse * np.int64(spikes[b, i]), 127)
            after[1, b, i] = given
            after[2, b, i] = min(max(decay(before[2, b, i], left3) + given, -128), 127)
