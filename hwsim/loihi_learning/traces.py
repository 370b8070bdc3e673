"""Traces of learning synapses: impulses, decay with stochastic rounding, and their history over an epoch.

The arithmetic is that of `neurodeploy.backends.reference.learning`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from neurodeploy.network.arrays import Array

from ..function.neuron_kernels import compiled
from .tables import (  # fmt: skip
    EPOCH,
    FACTORS,
    INPUTS,
    OUTPUTS,
    PAST_X,
    PAST_Y,
    SLOT,
    SLOTS,
    TX,
    TY,
    WORK,
    X_DECAYS,
    Y_DECAYS,
    Plastic,
    X,
    Y,
)

# What integers and floats do differently.


def _step_trace(
    before: Array, after: Array, t: int, times: Array, setting: Array, random: float, kick: int, decays: Array
) -> Any: ...
def _raised(value: Any, setting: Array, random: Any) -> Any: ...


def _step_trace_integer(
    before: Array, after: Array, t: int, times: Array, setting: Array, random: float, kick: int, decays: Array
) -> None:
    """Advance one trace of all neurons by step t of an epoch."""
    left, rise, now = setting[3], np.int32(setting[0]) + np.int32(kick < setting[1]), np.int32(t)
    for i in range(len(before)):
        kept = left * before[i]
        whole = np.floor(kept)
        value = np.int32(np.int32(whole) + np.int32(random < kept - whole))
        raised = min(max(np.int32(value + rise), np.int32(0)), np.int32(127))
        decays[i] += np.int32(before[i] != 0)
        after[i] = raised if times[i] == now else value


def _step_trace_float(
    before: Array, after: Array, t: int, times: Array, setting: Array, random: float, kick: int, decays: Array
) -> None:
    left, impulse = setting[3], setting[2]
    for i in range(len(before)):
        value = left * before[i]
        decays[i] += np.int32(before[i] != 0)
        after[i] = value + impulse if times[i] == t else value


def _raised_integer(value: Any, setting: Array, random: int) -> Any:
    grown: Any = np.int64(value + setting[0]) + np.int64(random < setting[1])
    return np.int32(min(max(grown, 0), 127))


def _raised_float(value: Any, setting: Array, random: int) -> Any:
    return value + setting[2]


@overload(_step_trace, strict=False)
def _step_trace_of(
    before: Any, after: Any, t: Any, times: Any, setting: Any, random: Any, kick: Any, decays: Any
) -> Any:
    return _step_trace_integer if isinstance(before.dtype, types.Integer) else _step_trace_float


@overload(_raised, strict=False)
def _raised_of(value: Any, setting: Any, random: Any) -> Any:
    return _raised_integer if isinstance(value, types.Integer) else _raised_float


@compiled
def clear(values: Array) -> None:
    for i in range(len(values)):
        values[i] = 0


@compiled
def copy(source: Array, into: Array) -> None:
    for i in range(len(into)):
        into[i] = source[i]


@compiled
def end_traces(n: int, s: Plastic, work: Array) -> None:
    """Advance the traces of projection n to the end of an epoch, with their history in ``past_x`` and ``past_y``."""
    p, settings = s.table[n], s.settings[n]
    inputs, outputs, slots, draw = p[INPUTS], p[OUTPUTS], p[SLOTS], 2 * s.step[n]
    _trace_side(
        s.x[p[X] : p[X] + 2 * inputs], s.past_x[p[PAST_X] :], s.tx[p[TX] : p[TX] + inputs], p[EPOCH], settings[:2],
        s.rounding[n, 0, draw], s.kicks[n, 0, draw], s.decays[:inputs], True,
    )  # fmt: skip
    count = 0
    for i in range(inputs):
        count += s.decays[i]
    for c in range(slots):
        work[p[WORK] + X_DECAYS * slots + c] += count
    _trace_side(
        s.y[p[Y] : p[Y] + 3 * outputs], s.past_y[p[PAST_Y] :], s.ty[p[TY] : p[TY] + outputs], p[EPOCH], settings[2:],
        s.rounding[n, 1, draw], s.kicks[n, 1, draw], s.decays[:outputs], p[FACTORS] == 2,
    )  # fmt: skip
    if p[FACTORS] == 2:
        for j in range(outputs):
            work[p[WORK] + Y_DECAYS * slots + s.slot[p[SLOT] + j]] += s.decays[j]


@compiled
def _trace_side(
    traces: Array, past: Array, times: Array, epoch: int, settings: Array, random: float, kick: int, decays: Array,
    back: bool,
) -> None:  # fmt: skip
    """Advance the traces of one side by an epoch; ``past`` is ``[1 + epoch, traces, neurons]``.

    Args:
        back: whether the traces are written back.
        decays: written: how often a trace of each neuron decayed.
    """
    size, neurons = len(traces), len(times)
    clear(decays)
    copy(traces, past[:size])
    for c in range(len(settings)):
        setting = settings[c]
        for t in range(1, epoch + 1):
            at = t * size + c * neurons
            _step_trace(
                past[at - size : at - size + neurons], past[at : at + neurons], t, times, setting, random, kick, decays
            )
    if back:
        copy(past[epoch * size :], traces)


@compiled
def note(
    traces: Array, at: int, times: Array, at_times: int, neurons: int, count: int, i: int, tau: int, settings: Array,
    first: int, random: int,
) -> int:  # fmt: skip
    """Note a neuron's spike time within the epoch; an earlier spike of this epoch counts for its traces at once.

    Returns:
        How many traces get an impulse for this spike, now or at the end of the epoch.
    """
    found = 0
    for c in range(count):
        found += 1 if settings[first + c, 2] > 0 else 0
        if times[at_times + i] > 0:
            place = at + c * neurons + i
            traces[place] = _raised(traces[place], settings[first + c], random)
    times[at_times + i] = tau
    return found
