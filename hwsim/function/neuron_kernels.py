"""The kernels of neurons: what arrived to states and spikes, compiled by numba.

`update_*` walk all neurons once. Everything is typed by its arguments, releases the GIL and is cached on disk.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

from neurodeploy.network.arrays import Array

from ..compiling.stale import Kept

HARD, SUBTRACT, NONE, HARD_ALL = 0, 1, 2, 3
"""Reset rules; the last also resets the current."""
NOW, NEXT, GATE, ONCE = 0, 1, 2, 3
ACTIVE, FIRED, TOUCHED, CHANGED = 1, 2, 4, 8
KINDS = (ACTIVE, TOUCHED, CHANGED)
"""Marks that are counted, in this order."""
WRAPS, SATURATES, RAISED = 0, 1, 2
"""Columns of what leaves its range: `neurodeploy.program.overflow.KINDS`."""
AHEAD = 3
"""Events whose synapses are asked for before they are needed."""

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compiled when first called, and kept on disk (`stale`); decorating reads and writes nothing."""
    kernel: Any = numba.njit(nogil=True, error_model="numpy")(function)
    kernel._cache = Kept(function)
    return cast(Function, kernel)


@compiled
def decay(value: Any, keep: Any) -> Any:
    """Loihi's decay with ``keep = 4096 - fraction``: rounded toward zero."""
    return (value * keep) >> 12 if value >= 0 else -((-value * keep) >> 12)


@compiled
def _crosses(level: Any, threshold: Any, equal: int) -> bool:
    return level > threshold or (equal == 1 and level == threshold)


@compiled
def something(arrived: float) -> bool:
    """Whether anything was added to a current that began as -0.0, also if it added up to 0."""
    return arrived != 0 or math.copysign(1.0, arrived) > 0


@compiled
def mark(active: bool, sent: Any, touched: bool, changed: bool) -> int:
    """Marks of one neuron: it was not at rest, sent something, was reached, stores another value than before."""
    marks = (ACTIVE if active else 0) + (FIRED if sent != 0 else 0)
    return marks + (TOUCHED if touched else 0) + (CHANGED if changed else 0)


@compiled
def update_integer(
    du: Array,
    dv: Array,
    bias: Array,
    threshold: Array,
    reset_to: Array,
    floor: Array,
    lower: Array,
    options: tuple[int, int, int, int, int, int],
    current: Array,
    u: Array,
    v: Array,
    spikes: Array,
    flags: Array,
    refractory: Array,
    threshold_decay: Array,
    threshold_jump: Array,
    wait: Array,
    raised: Array,
    left: Array,
) -> None:
    """One step of `neurodeploy.network.neurons.Lif` in Loihi's integers, in place; ``current`` is cleared.

    Args:
        options: (reset rule, reset time, whether ``v == threshold`` spikes, whether the population spikes, most
            spikes a step, whether ``current`` is -0.0 where nothing arrived: floats only).
        spikes: ``[batch, neurons]``, written.
        flags: ``[batch, neurons]``, written: `ACTIVE` for a neuron that was not at rest, plus `FIRED`, plus `TOUCHED`
            where something arrived, plus `CHANGED` where u or v is another than before.
        refractory, threshold_decay, threshold_jump: ``[neurons]``, or empty for neurons that have none.
        wait: steps for which a neuron stays refractory, ``[batch, neurons]``.
        raised: what its threshold is raised by, ``[batch, neurons]``.
        left: how often a value left its range, ``[3]``, added to; see `neurodeploy.program.overflow`.
    """
    m = 1 << 23
    rule, time, equal, spiking, most, _ = options
    slow = refractory.size > 0 or threshold_decay.size > 0
    for b in range(u.shape[0]):
        for i in range(u.shape[1]):
            arrived = current[b, i]
            current[b, i] = 0
            kept = decay(np.int64(u[b, i]), 4095 - du[i])
            touched = arrived != 0
            active = touched or kept != 0 or v[b, i] != 0 or bias[i] != 0
            # At rest nothing changes and, the thresholds and the floor being on either side of 0, nothing fires.
            if not active and threshold[i] > 0 and floor[i] <= 0 and lower[i] < 0 and not slow:
                flags[b, i] = CHANGED if u[b, i] != 0 else 0
                u[b, i] = 0
                spikes[b, i] = 0
                continue
            now = kept + (np.int64(arrived) << 6)
            if now > m:
                now -= 2 * m
                left[WRAPS] += 1
            elif now <= -m:
                now += 2 * m
                left[WRAPS] += 1
            changed = now != u[b, i]
            old = u[b, i]
            u[b, i] = now
            before = np.int64(v[b, i])
            limit = np.int64(threshold[i])
            if threshold_decay.size > 0:
                limit += raised[b, i]
            crossed = time != NOW and _crosses(before, limit, equal)
            if crossed and rule == HARD and time == NEXT:
                before = np.int64(reset_to[i])
            level = decay(before, 4096 - dv[i]) + now + bias[i]
            if crossed:
                if rule == SUBTRACT:
                    level -= limit
                elif time == GATE:
                    level = np.int64(reset_to[i])
            low, cut = level < 1 - m, level < 1 - m or level > m - 1
            level = min(max(level, 1 - m), m - 1)
            count = 0
            if spiking == 1:
                if most > 1:
                    if level > 0:
                        count = min(level // limit, most)
                elif _crosses(level, limit, equal):
                    count = 1
                elif level < lower[i] or (equal == 1 and level == lower[i]):
                    count = -1
            if time == NOW:
                if rule == SUBTRACT:
                    level -= lower[i] if count < 0 else count * limit
                elif rule in (HARD, HARD_ALL) and count != 0:
                    level = np.int64(reset_to[i])
            elif time == ONCE:
                level -= (count - int(crossed)) * limit
            level = max(level, np.int64(floor[i]))
            cut = cut and not (rule in (HARD, HARD_ALL) and count != 0 and most == 1) and not (low and floor[i] > -m)
            if refractory.size > 0:
                if wait[b, i] > 0:
                    wait[b, i] -= 1
                    level, count, cut = np.int64(v[b, i]), 0, False
                elif count != 0:
                    wait[b, i] = refractory[i]
            left[SATURATES] += int(cut)
            if threshold_decay.size > 0:
                higher = decay(np.int64(raised[b, i]), 4096 - threshold_decay[i]) + threshold_jump[i] * abs(count)
                raised[b, i] = min(max(higher, 1 - m), m - 1)
                left[RAISED] += int(raised[b, i] != higher)
            if rule == HARD_ALL and count != 0:
                u[b, i] = 0
                changed = old != 0
            changed = changed or level != v[b, i]
            v[b, i] = level
            spikes[b, i] = count
            flags[b, i] = mark(active, count, touched, changed)


@compiled
def update_float(
    du: Array,
    dv: Array,
    bias: Array,
    threshold: Array,
    reset_to: Array,
    floor: Array,
    lower: Array,
    options: tuple[int, int, int, int, int, int],
    current: Array,
    u: Array,
    v: Array,
    spikes: Array,
    flags: Array,
    refractory: Array,
    threshold_decay: Array,
    threshold_jump: Array,
    wait: Array,
    raised: Array,
) -> None:
    """One step of `neurodeploy.network.neurons.Lif` in floats; arguments as in `update_integer`."""
    rule, time, equal, spiking, most, marked = options
    for b in range(u.shape[0]):
        for i in range(u.shape[1]):
            arrived = current[b, i]
            current[b, i] = -0.0 if marked == 1 else 0.0
            kept = (1 - du[i]) * u[b, i]
            touched = arrived != 0 or (marked == 1 and something(arrived))
            active = touched or kept != 0 or v[b, i] != 0 or bias[i] != 0
            now = kept + arrived
            changed = now != u[b, i]
            old = u[b, i]
            u[b, i] = now
            before = v[b, i]
            limit = threshold[i]
            if threshold_decay.size > 0:
                limit += raised[b, i]
            crossed = time != NOW and _crosses(before, limit, equal)
            if crossed and rule == HARD and time == NEXT:
                before = reset_to[i]
            level = (1 - dv[i]) * before + now + bias[i]
            if crossed:
                if rule == SUBTRACT:
                    level -= limit
                elif time == GATE:
                    level = reset_to[i]
            count = 0
            if spiking == 1:
                if most > 1:
                    if level > 0:
                        count = int(min(level / limit, float(most)))
                elif _crosses(level, limit, equal):
                    count = 1
                elif level < lower[i] or (equal == 1 and level == lower[i]):
                    count = -1
            if time == NOW:
                if rule == SUBTRACT:
                    level -= lower[i] if count < 0 else count * limit
                elif rule in (HARD, HARD_ALL) and count != 0:
                    level = reset_to[i]
            elif time == ONCE:
                level -= (count - int(crossed)) * limit
            level = max(level, floor[i])
            if refractory.size > 0:
                if wait[b, i] > 0:
                    wait[b, i] -= 1
                    level, count = v[b, i], 0
                elif count != 0:
                    wait[b, i] = refractory[i]
            if threshold_decay.size > 0:
                raised[b, i] = (1 - threshold_decay[i]) * raised[b, i] + threshold_jump[i] * abs(count)
            if rule == HARD_ALL and count != 0:
                u[b, i] = 0
                changed = old != 0
            changed = changed or level != v[b, i]
            v[b, i] = level
            spikes[b, i] = count
            flags[b, i] = mark(active, count, touched, changed)


RECTIFIES, REPLACES, LOSES = 1, 2, 4
"""Rules of sigma-delta: its activation is the rectifier; what arrives is its new ``u``; its remainder is lost."""


@compiled
def update_sigma_delta(
    bias: Array,
    threshold: Array,
    rules: int,
    current: Array,
    u: Array,
    v: Array,
    sent: Array,
    spikes: Array,
    flags: Array,
) -> None:
    """One step of `neurodeploy.network.neurons.SigmaDelta` in floats, in place; ``current`` is cleared.

    Args:
        rules: the sum of `RECTIFIES`, `REPLACES` and `LOSES`.
        sent: ``[batch, neurons]``, sum of all that was sent.
        spikes: written: the difference that is sent, 0 for none.
        flags: as in `update_integer`; a neuron is active where input arrives or something is sent.
    """
    for b in range(u.shape[0]):
        for i in range(u.shape[1]):
            arrived = current[b, i]
            current[b, i] = 0
            u[b, i] = arrived if rules & REPLACES else u[b, i] + arrived
            level = u[b, i] + bias[i]
            if rules & RECTIFIES and level < 0:
                level = 0.0
            v[b, i] = level
            difference = level - sent[b, i]
            if abs(difference) < threshold[i]:
                difference = 0.0
            sent[b, i] += difference
            spikes[b, i] = difference
            touched = arrived != 0
            flags[b, i] = mark(touched or difference != 0, difference, touched, touched or difference != 0)


@compiled
def _held(value: Any, left: Array) -> Any:
    """Saturated to Loihi's 24 bits, and counted."""
    held = min(max(value, 1 - (1 << 23)), (1 << 23) - 1)
    left[SATURATES] += int(held != value)
    return held


@compiled
def update_sigma_delta_integer(
    bias: Array,
    threshold: Array,
    rules: int,
    shift: int,
    current: Array,
    u: Array,
    v: Array,
    sent: Array,
    spikes: Array,
    flags: Array,
    left: Array,
) -> None:
    """One step of `neurodeploy.network.neurons.SigmaDelta` in integers; ``shift`` is its ``send_shift``."""
    for b in range(u.shape[0]):
        for i in range(u.shape[1]):
            arrived = current[b, i]
            current[b, i] = 0
            u[b, i] = _held(arrived if rules & REPLACES else u[b, i] + arrived, left)
            level = _held(np.int64(u[b, i]) + bias[i], left)
            if rules & RECTIFIES and level < 0:
                level = 0
            v[b, i] = level
            difference = level - sent[b, i]
            if abs(difference) < threshold[i]:
                difference = np.int64(0)
            message = difference >> shift
            sent[b, i] += difference if rules & LOSES else message << shift
            spikes[b, i] = message
            touched = arrived != 0
            flags[b, i] = mark(touched or message != 0, message, touched, touched or message != 0)


@compiled
def update_relu(
    bias: Array, threshold: Array, held: int, current: Array, spikes: Array, flags: Array, left: Array
) -> None:
    """One step of `neurodeploy.network.neurons.Relu`; ``held`` is 1 where sums saturate to 24 bits."""
    for b in range(current.shape[0]):
        for i in range(current.shape[1]):
            level = current[b, i] + bias[i]
            if held == 1:
                level = _held(level, left)
            sent = level if level > threshold[i] else 0
            spikes[b, i] = sent
            flags[b, i] = mark(level != 0, sent, current[b, i] != 0, False)
            current[b, i] = 0


@compiled
def update_product(
    threshold: Array, shift: int, first: Array, second: Array, spikes: Array, flags: Array, left: Array
) -> None:
    """One step of `neurodeploy.network.neurons.Product` in integers."""
    for b in range(first.shape[0]):
        for i in range(first.shape[1]):
            level = _held((first[b, i] * second[b, i]) >> shift, left)
            sent = level if abs(level) > threshold[i] else 0
            touched = first[b, i] != 0 or second[b, i] != 0
            flags[b, i] = mark(touched, sent, touched, False)
            first[b, i] = 0
            second[b, i] = 0
            spikes[b, i] = sent


@compiled
def update_product_float(threshold: Array, first: Array, second: Array, spikes: Array, flags: Array) -> None:
    """One step of `neurodeploy.network.neurons.Product` in floats."""
    for b in range(first.shape[0]):
        for i in range(first.shape[1]):
            level = first[b, i] * second[b, i]
            sent = level if abs(level) > threshold[i] else 0.0
            touched = first[b, i] != 0 or second[b, i] != 0
            flags[b, i] = mark(touched, sent, touched, False)
            first[b, i] = 0
            second[b, i] = 0
            spikes[b, i] = sent


@compiled
def list_events(spikes: Array, first: Array, index: Array) -> int:
    """Write the non-zero entries of ``[batch, neurons]`` as event lists; return how many there are."""
    count = 0
    for b in range(spikes.shape[0]):
        first[b] = count
        for i in range(spikes.shape[1]):
            if spikes[b, i] != 0:
                index[count] = i
                count += 1
    first[spikes.shape[0]] = count
    return count
