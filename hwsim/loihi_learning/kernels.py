"""Learning within the compiled loop of `neurodeploy.hwsim.function.loop`: what arrives through synapses that learn,
when they learn, and what the targets of three-factor rules tell them. One sample at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from neurodeploy.network.arrays import Array

from ..function.neuron_kernels import FIRED, compiled, decay
from .products import learn
from .tables import (  # fmt: skip
    DELAY,
    EPOCH,
    EXPONENT,
    FACTORS,
    FROM,
    GRADED,
    INPUTS,
    KEPT,
    LEAD,
    OUTPUTS,
    SLOT,
    SLOTS,
    SYNAPSES,
    TEACHER,
    TO,
    TX,
    TY,
    WORK,
    X_IMPULSES,
    Y_IMPULSES,
    Plastic,
    X,
    Y,
)
from .traces import clear, copy, note

# What integers and floats do differently.


def _shifted(value: Any, exponent: int) -> Any: ...
def _taught(told: Array, before: int, after: int, i: int, spike: Any, reward: Any, keep: Array) -> Any: ...


def _shifted_integer(value: Any, exponent: int) -> Any:
    return value << exponent if exponent > 0 else value >> -exponent


def _shifted_float(value: Any, exponent: int) -> Any:
    return value


def _taught_integer(told: Array, before: int, after: int, i: int, spike: Any, reward: Any, keep: Array) -> None:
    """``y1``, ``y2``, ``y3`` that a target of a three-factor rule sends; steps ``before``, ``after`` of ``told``."""
    given = min(max(np.int64(reward), -128), 127)
    left1, left3 = np.int64(np.rint(4096 * keep[0])), np.int64(np.rint(4096 * keep[1]))
    y1 = ((left1 * np.int64(told[before, 0, i])) >> 12) + np.int64(keep[2]) * np.int64(spike)
    told[after, 2, i] = min(max(decay(np.int64(told[before, 2, i]), left3) + given, -128), 127)
    told[after, 0, i] = min(y1, 127)
    told[after, 1, i] = given


def _taught_float(told: Array, before: int, after: int, i: int, spike: Any, reward: Any, keep: Array) -> None:
    told[after, 0, i] = keep[0] * told[before, 0, i] + keep[2] * spike
    told[after, 1, i] = reward
    told[after, 2, i] = keep[1] * told[before, 2, i] + reward


@overload(_shifted, strict=False)
def _shifted_of(value: Any, exponent: Any) -> Any:
    return _shifted_integer if isinstance(value, types.Integer) else _shifted_float


@overload(_taught, strict=False)
def _taught_of(told: Any, before: Any, after: Any, i: Any, spike: Any, reward: Any, keep: Any) -> Any:
    return _taught_integer if isinstance(told.dtype, types.Integer) else _taught_float


def begin(s: Plastic) -> None:
    """Bring everything to where it is before a sample."""
    clear(s.step)
    clear(s.epochs)
    copy(s.initial, s.synapses)
    clear(s.x)
    clear(s.y)
    clear(s.tx)
    clear(s.ty)
    for t in range(s.told.shape[0]):
        for c in range(3):
            for i in range(s.told.shape[2]):
                s.told[t, c, i] = 0


def arrive(
    s: Plastic, row: int, t: int, b: int, steps: int, events: Array, values: Array, bounds: Array, base: int,
    current: Array, offset: int,
) -> None:  # fmt: skip
    """Add to ``current`` what reaches population ``row`` in step t from synapses that learn, which learn up to it.

    Row -1 ends a sample: all projections learn from the last steps, too, and what they have learned is kept.
    """
    begin, end = (s.first[row], s.first[row + 1]) if row >= 0 else (0, len(s.table))
    for n in range(begin, end):
        p = s.table[n]
        last = t - p[DELAY] if row >= 0 else steps - 1
        inputs, outputs = p[INPUTS], p[OUTPUTS]
        while s.step[n] <= last:
            k = s.step[n]
            tau = k % p[EPOCH] + 1
            work = s.work[k, b]
            low, high = bounds[k, p[FROM], 0] - base, bounds[k, p[FROM], 1] - base
            if row >= 0 and high > low:
                _deliver(s, p, events, values, low, high, current, offset)
            count = 0
            for e in range(low, high):
                count += note(s.x, p[X], s.tx, p[TX], inputs, 2, events[e], tau, s.settings[n], 0, 0)
            for c in range(p[SLOTS]):
                work[p[WORK] + X_IMPULSES * p[SLOTS] + c] += count
            heard = k - p[LEAD]
            inside = 0 <= heard < steps
            if inside:
                low, high = bounds[heard, p[TO], 0] - base, bounds[heard, p[TO], 1] - base
                kick = s.kicks[n, 1, 2 * k + 1]
                for e in range(low, high):
                    count = note(s.y, p[Y], s.ty, p[TY], outputs, 3, events[e], tau, s.settings[n], 2, kick)
                    work[p[WORK] + Y_IMPULSES * p[SLOTS] + s.slot[p[SLOT] + events[e]]] += count
            if p[FACTORS] == 3:
                at, ring = s.teachers[p[TEACHER], 1], heard % s.told.shape[0]
                for c in range(3):
                    for j in range(outputs):
                        s.y[p[Y] + c * outputs + j] = s.told[ring, c, at + j] if inside else 0
            s.step[n] += 1
            if tau == p[EPOCH]:
                learn(n, s, work)
            if s.kept.shape[0] > 1:
                _keep(s, p, s.kept[k, b])
        if row < 0 and s.kept.shape[0] == 1:
            _keep(s, p, s.kept[0, b])


@compiled
def _keep(s: Plastic, p: Array, row: Array) -> None:
    """Write down the synapses and traces of a projection."""
    at, synapses = p[KEPT], 3 * p[INPUTS] * p[OUTPUTS]
    copy(s.synapses[p[SYNAPSES] :], row[at : at + synapses])
    at += synapses
    copy(s.x[p[X] :], row[at : at + 2 * p[INPUTS]])
    at += 2 * p[INPUTS]
    copy(s.y[p[Y] :], row[at : at + 3 * p[OUTPUTS]])


@compiled
def _deliver(
    s: Plastic, p: Array, events: Array, values: Array, low: int, high: int, current: Array, offset: int
) -> None:
    """Add what a step's events cause with the weights as they are."""
    outputs, sums = p[OUTPUTS], s.sums[: p[OUTPUTS]]
    clear(sums)
    for e in range(low, high):
        at = p[SYNAPSES] + np.int64(events[e]) * outputs
        row = s.synapses[at : at + outputs]
        if p[GRADED] == 1:
            for j in range(len(sums)):
                sums[j] += row[j] * values[e]
        else:
            for j in range(len(sums)):
                sums[j] += row[j]
    into = current[offset : offset + outputs]
    for j in range(len(sums)):
        into[j] += into.dtype.type(_shifted(sums[j], p[EXPONENT]))


def teach(s: Plastic, row: int, t: int, fast: bool, sent: Array, flags: Array, second: Array, offset: int) -> None:
    """What the targets of a three-factor rule send after step t; the reward in ``second`` is cleared.

    Args:
        fast: whether ``flags`` say who spiked, else ``sent``.
    """
    m = s.taught[row]
    if m < 0:
        return
    at, ring = s.teachers[m, 1], len(s.told)
    for i in range(s.teachers[m, 2]):
        spike = np.int64((flags[offset + i] & FIRED) >> 1)
        if not fast:
            spike = np.int64(sent[offset + i])
        _taught(s.told, (t - 1) % ring, t % ring, at + i, spike, second[offset + i], s.teaching[m])
        second[offset + i] = 0
