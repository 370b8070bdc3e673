"""The compiled loop: a whole run of a block of samples in one call, over the flat tables of `neurodeploy.hwsim.flat`.

One call walks samples, steps and populations; nothing returns to Python in between, so a small network costs little
more than its arithmetic. Events are appended to one buffer; before a step that might overflow it, the loop returns and
is called again with the buffer emptied. Everything releases the GIL: blocks of samples run in threads.

Speed comes from six things. Rows of synapses are contiguous in memory, also those of a convolution, whose populations
are numbered channels-last and whose kernel is kept by stride phase with its columns reversed, so that one event adds
one contiguous span for each of its rows. Common neurons advance in blocks without branches, which compile to vector
instructions; Loihi's rounding decay is a truncated product of doubles there, exact below 2^53, all else of 32 bits. A
block in which nothing is stored and nothing arrives is left alone. All numbers are as narrow as the network's own
bounds allow. A step is one function without calls, over arrays that count no references (`intrinsics`): else these cost
350 ns a step, as much as a small network's arithmetic. And listed rows are asked for ahead, and where they begin
earlier still.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from neurodeploy.connectivity import Array

from . import kernels, learning_kernels
from .intrinsics import borrowed, inlined, prefetch, trailing_zeros
from .kernels import AHEAD, compiled

# Columns of the table of populations.
KIND, OFFSET, SIZE, FAST, RULE, TIME, EQUAL, SPIKING, MOST, GRADED, HEARD, SHIFT = range(12)
START, BLOCKS, FIRST, LAST, RECORD_V, RECORD_U, BIASED, SLOW_R, SLOW_A, INNER, PORTS = range(12, 23)
POPULATION_FIELDS = 23

# Columns of the table of projections.
FORM, FROM, TO, DELAY, PORT, EXPONENT, WEIGHTS, ROWS, TARGETS, OUTPUTS, BIAS, BIAS_START, SCRATCH = range(13)
C_IN, C_OUT, GROUPS, H_IN, W_IN, H_OUT, W_OUT, K_H, K_W = range(13, 22)
S_Y, S_X, P_Y, P_X, D_Y, D_X, LAST_CHANNELS, PHASES = range(22, 30)
PROJECTION_FIELDS = 30

INPUT, ALWAYS, LIF, SIGMA_DELTA, RELU, PRODUCT = range(6)
DENSE, SPARSE, PACKED, CONV, DILATED, PLASTIC = range(6)
TARGET_BITS = 24
"""Of a packed synapse: above them stands its weight, counted from -128."""
BLOCK = 128
"""Neurons that are advanced, or found at rest, together; so few that their counts fit in a byte."""
NEAR = 1 << 17
"""Synapses that stay in a core's own cache, so that asking for them would only cost."""
_ONE, _TOP = np.uint64(1), np.uint64(56)
_EACH, _GATHER = np.uint64(0x0101010101010101), np.uint64(0x0102040810204080)


@inlined
def _accumulate(row: Array, into: Array) -> None:
    for k in range(len(row)):
        into[k] += into.dtype.type(row[k])


@inlined
def _add(row: Array, value: Any, into: Array) -> None:
    for k in range(len(row)):
        into[k] += into.dtype.type(row[k]) * value


@inlined
def _add_listed(targets: Array, row: Array, value: Any, into: Array) -> None:
    if value == 1:
        for k in range(len(row)):
            into[targets[k]] += into.dtype.type(row[k])
    else:
        for k in range(len(row)):
            into[targets[k]] += into.dtype.type(row[k]) * value


@inlined
def _add_packed(row: Array, value: Any, into: Array) -> None:
    for k in range(len(row)):
        synapse = np.uint32(row[k])
        weight = np.int32(synapse >> np.uint32(TARGET_BITS)) - 128
        into[synapse & np.uint32((1 << TARGET_BITS) - 1)] += into.dtype.type(weight) * value


@compiled
def _place(source: int, p: Array) -> Any:
    """Channel, row and column of a source neuron."""
    channels, height, width = np.int32(p[C_IN] * p[GROUPS]), np.int32(p[H_IN]), np.int32(p[W_IN])
    number = np.int32(source)
    if p[LAST_CHANNELS] == 1:
        place = number // channels
        channel = number - place * channels
    else:
        channel = number // (height * width)
        place = number - channel * (height * width)
    y = place // width
    return np.int64(channel), np.int64(y), np.int64(place - y * width)


@compiled
def _dilated(p: Array, events: Array, values: Array, graded: bool, weights: Array, into: Array) -> None:
    """Add what events give through a dilated convolution, tap by tap."""
    value = into.dtype.type(1)
    all_out = p[C_OUT] * p[GROUPS]
    for e in range(len(events)):
        if graded:
            value = into.dtype.type(values[e])
        channel, y, x = _place(events[e], p)
        group = channel // p[C_IN]
        for i in range(p[K_H]):
            row = y + p[P_Y] - i * p[D_Y]
            if row < 0 or row % p[S_Y] != 0 or row // p[S_Y] >= p[H_OUT]:
                continue
            for j in range(p[K_W]):
                column = x + p[P_X] - j * p[D_X]
                if column < 0 or column % p[S_X] != 0 or column // p[S_X] >= p[W_OUT]:
                    continue
                at = p[WEIGHTS] + ((channel * p[K_H] + i) * p[K_W] + j) * p[C_OUT]
                to = ((row // p[S_Y]) * p[W_OUT] + column // p[S_X]) * all_out + group * p[C_OUT]
                _add(weights[at : at + p[C_OUT]], value, into[to : to + p[C_OUT]])


@compiled
def _convolved(
    p: Array, events: Array, values: Array, graded: bool, weights: Array, phases: Array, into: Array
) -> None:  # fmt: skip
    """Add what events give through a convolution to ``into``, channels last.

    A tap (i, j) of an event's phase is (phase_y + stride a, phase_x + stride b), and reaches (bottom - a, right - b).
    Columns are reversed: entry r of a row is b = wide - 1 - r, so that neighbours in a row are neighbours in ``into``.
    """
    value = into.dtype.type(1)
    c_in, c_out, groups, h_out, w_out = p[C_IN], p[C_OUT], p[GROUPS], p[H_OUT], p[W_OUT]
    s_y, s_x, p_y, p_x, first = p[S_Y], p[S_X], p[P_Y], p[P_X], p[PHASES]
    all_out = c_out * groups
    plain, high, wide, kernel = s_y == 1 and s_x == 1, phases[first, 1], phases[first, 2], phases[first, 0]
    # A whole division by multiplying: (n + 1/2) / d is never so near to a whole number that a double could miss it.
    last, channels, width = p[LAST_CHANNELS] == 1, c_in * groups, p[W_IN]
    inner = channels if last else p[H_IN] * width
    by_inner, by_width = 1.0 / inner, 1.0 / width
    for e in range(len(events)):
        if graded:
            value = into.dtype.type(values[e])
        number = np.int64(events[e])
        outer = np.int64((number + 0.5) * by_inner)
        within = number - outer * inner
        channel, place = (within, outer) if last else (outer, within)
        y = np.int64((place + 0.5) * by_width)
        x = place - y * width
        bottom, right = y + p_y, x + p_x
        if not plain:
            down, across = bottom, right
            bottom, right = down // s_y, across // s_x
            phase = first + (down - bottom * s_y) * s_x + across - right * s_x
            kernel, high, wide = phases[phase, 0], phases[phase, 1], phases[phase, 2]
        at = kernel + channel * high * wide * c_out
        group = channel // c_in if groups > 1 else 0
        a_from, a_to = max(bottom - h_out + 1, 0), min(bottom + 1, high)
        left = right - wide + 1
        r_from, r_to = max(-left, 0), min(w_out - left, wide)
        row = at + (a_from * wide + r_from) * c_out
        to = ((bottom - a_from) * w_out + left + r_from) * all_out + group * c_out
        if groups == 1:
            span = max(r_to - r_from, 0) * c_out
            for _ in range(a_from, a_to):
                if graded:
                    _add(weights[row : row + span], value, into[to : to + span])
                else:
                    _accumulate(weights[row : row + span], into[to : to + span])
                row += wide * c_out
                to -= w_out * all_out
        else:
            for a in range(a_from, a_to):
                row = at + (a * wide + r_from) * c_out
                to = ((bottom - a) * w_out + left + r_from) * all_out + group * c_out
                for _ in range(r_from, r_to):
                    _add(weights[row : row + c_out], value, into[to : to + c_out])
                    row += c_out
                    to += all_out


@inlined
def _fetch(p: Array, i: Any, weights: Array, rows: Array, targets: Array) -> None:
    """Ask for the listed synapses of a neuron."""
    low, high = rows[p[ROWS] + i], rows[p[ROWS] + i + 1]
    for k in range(p[TARGETS] + low, p[TARGETS] + high, 64 // targets.itemsize):
        prefetch(targets, k)
    if p[FORM] == PACKED:
        return
    for k in range(p[WEIGHTS] + low, p[WEIGHTS] + high, 64 // weights.itemsize):
        prefetch(weights, k)


@inlined
def _deliver(
    p: Array, events: Array, values: Array, graded: bool, weights: Array, rows: Array, targets: Array, phases: Array,
    into: Array,
) -> None:  # fmt: skip
    """Add what the events of one step give through one projection to ``into``, ``[targets]``."""
    value = into.dtype.type(1)
    form, outputs, w, t, r = p[FORM], p[OUTPUTS], p[WEIGHTS], p[TARGETS], p[ROWS]
    if form == CONV:
        _convolved(p, events, values, graded, weights, phases, into)
    elif form == DILATED:
        _dilated(p, events, values, graded, weights, into)
    elif form == DENSE:
        for e in range(len(events)):
            if graded:
                value = into.dtype.type(values[e])
            at = w + np.int64(events[e]) * outputs
            if graded:
                _add(weights[at : at + outputs], value, into)
            else:
                _accumulate(weights[at : at + outputs], into)
    else:
        far = len(events) if len(targets) > NEAR else 0
        for e in range(len(events)):
            if graded:
                value = into.dtype.type(values[e])
            if e + 2 * AHEAD < far:
                prefetch(rows, r + np.int64(events[e + 2 * AHEAD]))
            if e + AHEAD < far:
                _fetch(p, np.int64(events[e + AHEAD]), weights, rows, targets)
            i = r + np.int64(events[e])
            low, high = rows[i], rows[i + 1]
            if form == PACKED:
                _add_packed(targets[t + low : t + high], value, into)
            else:
                _add_listed(targets[t + low : t + high], weights[w + low : w + high], value, into)


@inlined
def _marks(active: Any, spike: Any, touched: Any, changed: Any) -> Any:
    """`kernels._flag` without branches."""
    low = np.uint8(active) | (np.uint8(spike) << np.uint8(1))
    return low | (np.uint8(touched) << np.uint8(2)) | (np.uint8(changed) << np.uint8(3))


@inlined
def _tally(active: Any, spike: Any, touched: Any, changed: Any) -> Any:
    """The marks of one neuron as a number of which a sum over a `BLOCK` still keeps each in its byte."""
    low = np.uint32(active) | (np.uint32(spike) << np.uint32(8))
    return np.uint32(low | (np.uint32(touched) << np.uint32(16)) | (np.uint32(changed) << np.uint32(24)))


@inlined
def _count(flags: Array, slot: Array, marks: Array) -> None:
    """Add the marks of neurons to ``[kinds of mark, core slots]``."""
    for i in range(len(flags)):
        marks[0, slot[i]] += flags[i] & kernels.ACTIVE
        marks[1, slot[i]] += (flags[i] & kernels.TOUCHED) >> 2
        marks[2, slot[i]] += flags[i] >> 3


@inlined
def _lif_integer(
    decay: tuple[float, float], levels: tuple[float, float, float, float], remembers: bool, bias: Array,
    current: Array, u: Array, v: Array, flags: Array,
) -> int:  # fmt: skip
    """Advance a block of common neurons (see `flat._lif`) in integers; return the sum of their `_tally`.

    All but the decays is done in 32 bits, which the bounds of common neurons allow; each sum is cut to them at once,
    since numba's sums are of 64.

    Args:
        decay: what is kept of u and v, as fractions (whole 4096ths).
        levels: (spikes above this, value after a hard reset, 1 for a hard reset, threshold).
        remembers: whether u outlives the step, or is recorded; else it is not touched.
        flags: written; see `kernels.update_integer`.
    """
    m, none = np.int32(1 << 23), np.int32(0)
    lowest, highest, twice = np.int32(1 - m), np.int32(m - 1), np.int32(2 * m)
    above, to, hard, threshold = np.int32(levels[0]), np.int32(levels[1]), levels[2] == 1, np.int32(levels[3])
    tally = np.uint32(0)
    for i in range(len(u)):
        arrived, old_u, old_v, own = np.int32(current[i]), np.int32(u[i]) if remembers else none, v[i], bias[i]
        current[i] = 0
        kept = np.int32(np.float64(old_u) * decay[0])
        active = (arrived | kept | old_v | own) != 0
        now = np.int32(kept + arrived * np.int32(64))
        now = np.int32(now - twice) if now > m else now
        now = np.int32(now + twice) if now <= -m else now
        level = np.int32(np.int32(np.float64(old_v) * decay[1]) + now + own)
        level = min(max(level, lowest), highest)
        spike = level > above
        after = to if hard else np.int32(level - threshold)
        new = after if spike else level
        touched, changed = arrived != 0, (new != old_v) | (remembers & (now != old_u))
        if remembers:
            u[i] = now
        v[i] = new
        flags[i] = _marks(active, spike, touched, changed)
        tally = np.uint32(tally + _tally(active, spike, touched, changed))
    return int(tally)


@inlined
def _lif_float(
    decay: tuple[float, float], levels: tuple[float, float, float, float], remembers: bool, bias: Array,
    current: Array, u: Array, v: Array, flags: Array,
) -> int:  # fmt: skip
    """As `_lif_integer`, in floats; the first of ``levels`` is 1 where equality spikes."""
    tally = np.uint32(0)
    nothing = v.dtype.type(-0.0)
    equal, to, hard = levels[0] == 1, v.dtype.type(levels[1]), levels[2] == 1
    threshold, keep_u, keep_v = v.dtype.type(levels[3]), v.dtype.type(decay[0]), v.dtype.type(decay[1])
    for i in range(len(u)):
        arrived = current[i]
        current[i] = nothing
        kept = keep_u * u[i] if remembers else nothing
        came = (arrived != 0) | (math.copysign(1.0, arrived) > 0)
        active = came | (kept != 0) | (v[i] != 0) | (bias[i] != 0)
        now = kept + arrived
        level = keep_v * v[i] + now + bias[i]
        spike = (level > threshold) | (equal & (level == threshold))
        after = to if hard else level - threshold
        after = after if spike else level
        changed = (after != v[i]) | (remembers & (now != u[i]))
        if remembers:
            u[i] = now
        v[i] = after
        flags[i] = _marks(active, spike, came, changed)
        tally = np.uint32(tally + _tally(active, spike, came, changed))
    return int(tally)


@inlined
def _resting_integer(current: Array, u: Array, v: Array) -> bool:
    """Whether nothing is stored and nothing arrives."""
    busy = current[0] | u[0] | v[0]
    for i in range(1, len(u)):
        busy |= current[i] | u[i] | v[i]
    return bool(busy == 0)


@inlined
def _resting_float(current: Array, u: Array, v: Array) -> bool:
    busy = False
    for i in range(len(u)):
        busy |= (current[i] != 0) | (math.copysign(1.0, current[i]) > 0) | (u[i] != 0) | (v[i] != 0)
    return not busy


@compiled
def _row(values: Array, a: int, b: int) -> Array:
    """A slice as a batch of one."""
    return values[a:b].reshape(1, b - a)


@compiled
def _other_integer(p: Array, neurons: Any, slow: Any, state: Any) -> None:
    """Advance a whole population of any other model by one step."""
    a, b = p[OFFSET], p[OFFSET] + p[SIZE]
    du, dv, bias, threshold, reset_to, floor, lower = neurons
    current, second, u, v, sent, total, wait, raised, flags = state
    now, out, marks = _row(current, a, b), _row(sent, a, b), _row(flags, a, b)
    if p[KIND] == LIF:
        r, d = p[SLOW_R], p[SLOW_A]
        n, k = (b - a if r >= 0 else 0), (b - a if d >= 0 else 0)
        r, d = max(r, 0), max(d, 0)
        options = (p[RULE], p[TIME], p[EQUAL], p[SPIKING], p[MOST], 1)
        kernels.update_integer(
            du[a:b], dv[a:b], bias[a:b], threshold[a:b], reset_to[a:b], floor[a:b], lower[a:b], options,
            now, _row(u, a, b), _row(v, a, b), out, marks,
            slow[0][r : r + n], slow[1][d : d + k], slow[2][d : d + k], _row(wait, r, r + n), _row(raised, d, d + k),
        )  # fmt: skip
    elif p[KIND] == SIGMA_DELTA:
        kernels.update_sigma_delta_integer(
            bias[a:b], threshold[a:b], p[INNER], p[SHIFT], now, _row(u, a, b), _row(v, a, b), _row(total, a, b), out,
            marks,
        )  # fmt: skip
    elif p[KIND] == RELU:
        kernels.update_relu(bias[a:b], threshold[a:b], 1, now, out, marks)
    else:
        kernels.update_product(threshold[a:b], p[SHIFT], now, _row(second, a, b), out, marks)


@compiled
def _other_float(p: Array, neurons: Any, slow: Any, state: Any) -> None:
    a, b = p[OFFSET], p[OFFSET] + p[SIZE]
    du, dv, bias, threshold, reset_to, floor, lower = neurons
    current, second, u, v, sent, total, wait, raised, flags = state
    now, out, marks = _row(current, a, b), _row(sent, a, b), _row(flags, a, b)
    if p[KIND] == LIF:
        r, d = p[SLOW_R], p[SLOW_A]
        n, k = (b - a if r >= 0 else 0), (b - a if d >= 0 else 0)
        r, d = max(r, 0), max(d, 0)
        options = (p[RULE], p[TIME], p[EQUAL], p[SPIKING], p[MOST], 1)
        kernels.update_float(
            du[a:b], dv[a:b], bias[a:b], threshold[a:b], reset_to[a:b], floor[a:b], lower[a:b], options,
            now, _row(u, a, b), _row(v, a, b), out, marks,
            slow[0][r : r + n], slow[1][d : d + k], slow[2][d : d + k], _row(wait, r, r + n), _row(raised, d, d + k),
        )  # fmt: skip
    elif p[KIND] == SIGMA_DELTA:
        kernels.update_sigma_delta(
            bias[a:b], threshold[a:b], p[INNER], now, _row(u, a, b), _row(v, a, b), _row(total, a, b), out, marks
        )
    elif p[KIND] == RELU:
        kernels.update_relu(bias[a:b], threshold[a:b], 0, now, out, marks)
    else:
        kernels.update_product_float(threshold[a:b], now, _row(second, a, b), out, marks)


def _resting(current: Array, u: Array, v: Array) -> Any: ...
def _common(
    decay: Any, levels: Any, remembers: bool, bias: Array, current: Array, u: Array, v: Array, flags: Array
) -> Any: ...
def _other(p: Array, neurons: Any, slow: Any, state: Any) -> None: ...


@overload(_resting, strict=False)
def _resting_of(current: Any, u: Any, v: Any) -> Any:
    if isinstance(v.dtype, types.Integer):
        return lambda current, u, v: _resting_integer(current, u, v)
    return lambda current, u, v: _resting_float(current, u, v)


@overload(_common, strict=False)
def _common_of(decay: Any, levels: Any, remembers: Any, bias: Any, current: Any, u: Any, v: Any, flags: Any) -> Any:
    if isinstance(v.dtype, types.Integer):
        return lambda decay, levels, remembers, bias, current, u, v, flags: _lif_integer(
            decay, levels, remembers, bias, current, u, v, flags
        )
    return lambda decay, levels, remembers, bias, current, u, v, flags: _lif_float(
        decay, levels, remembers, bias, current, u, v, flags
    )


@overload(_other, strict=False)
def _other_of(p: Any, neurons: Any, slow: Any, state: Any) -> Any:
    if isinstance(neurons[0].dtype, types.Integer):
        return lambda p, neurons, slow, state: _other_integer(p, neurons, slow, state)
    return lambda p, neurons, slow, state: _other_float(p, neurons, slow, state)


@inlined
def _shifted(scratch: Array, exponent: int, into: Array) -> None:
    """Add ``floor(scratch / 2^-exponent)`` and clear it."""
    for k in range(len(scratch)):
        into[k] += np.int64(scratch[k]) >> -exponent
        scratch[k] = 0


@inlined
def _arrivals(
    t: int, p: Array, projections: Array, network: Any, events: Array, values: Array, bounds: Array, base: int,
    populations: Array, current: Array, second: Array, scratch: Array,
) -> None:  # fmt: skip
    """Add everything that reaches a population in step ``t``."""
    weights, rows, targets, phases, biases = network
    a, b = p[OFFSET], p[OFFSET] + p[SIZE]
    for j in range(p[FIRST], p[LAST]):
        q = projections[j]
        into = second[a:b] if q[PORT] == 1 else current[a:b]
        if t >= q[DELAY] and q[FORM] != PLASTIC:
            low, high = bounds[t - q[DELAY], q[FROM], 0] - base, bounds[t - q[DELAY], q[FROM], 1] - base
            if high > low:
                graded = populations[q[FROM], GRADED] == 1
                carried = values[low:high] if graded else values[:0]
                if q[EXPONENT] < 0:
                    sums = scratch[q[SCRATCH] : q[SCRATCH] + q[OUTPUTS]]
                    _deliver(q, events[low:high], carried, graded, weights, rows, targets, phases, sums)
                    _shifted(sums, q[EXPONENT], into)
                else:
                    _deliver(q, events[low:high], carried, graded, weights, rows, targets, phases, into)
        if q[BIAS] >= 0 and t >= q[BIAS_START]:
            for k in range(q[OUTPUTS]):
                into[k] += biases[q[BIAS] + k]


@inlined
def _advance(
    p: Array, scalars: Array, neurons: Any, slow: Any, state: Any, slot: Array, slots: Array, marks: Array
) -> int:
    """Advance a population by one step, count its marks; return how many sent something."""
    current, u, v, flags = state[0], state[2], state[3], state[8]
    a, b = p[OFFSET], p[OFFSET] + p[SIZE]
    fired = 0
    if p[FAST] == 0:
        _other(p, neurons, slow, state)
        _count(flags[a:b], slot[a:b], marks)
        for i in range(a, b):
            fired += (flags[i] & kernels.FIRED) >> 1
        return int(fired)
    bias = neurons[2]
    decay = (scalars[0], scalars[1])
    levels = (scalars[2], scalars[3], scalars[4], scalars[5])
    remembers = scalars[0] != 0 or p[RECORD_U] >= 0
    block = p[BLOCKS]
    for low in range(a, b, BLOCK):
        high = min(low + BLOCK, b)
        if p[BIASED] == 0 and _resting(current[low:high], u[low:high], v[low:high]):
            flags[low:high] = 0
        else:
            tally = _common(
                decay, levels, remembers, bias[low:high], current[low:high], u[low:high], v[low:high], flags[low:high]
            )
            fired += (tally >> 8) & 255
            if slots[block] >= 0:
                marks[0, slots[block]] += tally & 255
                marks[1, slots[block]] += (tally >> 16) & 255
                marks[2, slots[block]] += tally >> 24
            else:
                _count(flags[low:high], slot[low:high], marks)
        block += 1
    return int(fired)


@inlined
def _list_sent(p: Array, fired: int, state: Any, events: Array, values: Array, count: int) -> int:
    """Append what a population sends in this step; return the new number of events."""
    v, sent, flags = state[3], state[4], state[8]
    a, b = p[OFFSET], p[OFFSET] + p[SIZE]
    if p[SPIKING] == 0:  # a read-out that feeds on
        for i in range(a, b):
            message = _message(v[i], p[SHIFT])
            if message != 0:
                events[count] = i - a
                values[count] = message
                count += 1
        return count
    if fired == 0:
        return count
    first = count
    for low in range(a, b, 64):
        count = _listed(flags[low : min(low + 64, b)], low - a, events, count)
    if p[GRADED] == 1:
        for e in range(first, count):
            values[e] = sent[a + events[e]]
    return count


@inlined
def _listed(marks: Array, number: int, events: Array, count: int) -> int:
    """Append which of at most 64 neurons fired, the first of them ``number``; return the new number of events.

    Eight marks are one load; multiplying gathers the lowest bits of eight bytes into the highest byte.
    """
    whole = len(marks) & ~7
    fired = np.uint64(0)
    for k in range(0, whole, 8):
        fired |= (((_eight(marks, k) >> _ONE) & _EACH) * _GATHER >> _TOP) << np.uint64(k)
    for k in range(whole, len(marks)):
        fired |= np.uint64((marks[k] & kernels.FIRED) >> 1) << np.uint64(k)
    while fired != 0:
        events[count] = number + np.int64(trailing_zeros(fired))
        fired &= np.uint64(fired - _ONE)
        count += 1
    return count


@inlined
def _eight(marks: Array, k: int) -> Any:
    """Eight bytes as one number, the first lowest."""
    low = np.uint64(marks[k]) | np.uint64(marks[k + 1]) << np.uint64(8) | np.uint64(marks[k + 2]) << np.uint64(16)
    low |= np.uint64(marks[k + 3]) << np.uint64(24) | np.uint64(marks[k + 4]) << np.uint64(32)
    low |= np.uint64(marks[k + 5]) << np.uint64(40) | np.uint64(marks[k + 6]) << np.uint64(48)
    return low | np.uint64(marks[k + 7]) << np.uint64(56)


def _message(v: Any, shift: int) -> Any: ...


@overload(_message, strict=False)
def _message_of(v: Any, shift: Any) -> Any:
    if isinstance(v, types.Integer):
        return lambda v, shift: v >> shift
    return lambda v, shift: v


@inlined
def _list_input(given: Array, p: Array, events: Array, values: Array, count: int) -> int:
    """Append the events of an input in one step."""
    a = p[OFFSET]
    for i in range(p[SIZE]):
        if given[a + i] != 0:
            events[count] = i
            if p[GRADED] == 1:
                values[count] = given[a + i]
            count += 1
    return count


# What networks with learning rules do besides; nothing at all, and nothing that is compiled, where there are none.


def _begin(s: Any) -> Any: ...
def _arrive(
    s: Any, row: int, t: int, b: int, steps: int, events: Array, values: Array, bounds: Array, base: int,
    current: Array, offset: int,
) -> Any: ...  # fmt: skip
def _teach(
    s: Any, row: int, t: int, fast: bool, sent: Array, flags: Array, second: Array, offset: int
) -> Any: ...  # fmt: skip


@overload(_begin, strict=False)
def _begin_of(s: Any) -> Any:
    return learning_kernels.begin if s.count else lambda s: None


@overload(_arrive, strict=False)
def _arrive_of(
    s: Any, row: Any, t: Any, b: Any, steps: Any, events: Any, values: Any, bounds: Any, base: Any, current: Any,
    offset: Any,
) -> Any:  # fmt: skip
    if s.count:
        return learning_kernels.arrive
    return lambda s, row, t, b, steps, events, values, bounds, base, current, offset: None


@overload(_teach, strict=False)
def _teach_of(s: Any, row: Any, t: Any, fast: Any, sent: Any, flags: Any, second: Any, offset: Any) -> Any:
    if s.count:
        return learning_kernels.teach
    return lambda s, row, t, fast, sent, flags, second, offset: None


@compiled
def simulate(
    populations: Array, projections: Array, scalars: Array, network: Any, neurons: Any, slow: Any, initial: Array,
    slot: Array, slots: Array, given: Array, state: Any, scratch: Array, cursor: Array, halt: Array, events: Array,
    values: Array, bounds: Array, marks: Array, kept_u: Array, kept_v: Array, kept_flags: Array, plastic: Any,
) -> bool:  # fmt: skip
    """Run a block of samples from where ``cursor`` stands; return whether it is done, or else the buffer is full.

    Args:
        populations, projections: tables ``[., fields]``; the order of a step, and projections by target.
        scalars: of common neurons, ``[populations, 6]``.
        network: (weights, row starts, targets, phases, biases), pools that `projections` points into.
        neurons: the parameters of `neurodeploy.neurons.Lif`, ``[neurons]`` each.
        slow: refractory times and threshold decays and jumps, of the neurons that have them.
        initial: potentials before the first step.
        slot, slots: core slot of each neuron, and of each block of `BLOCK` neurons (-1 for several).
        given: inputs, ``[steps, samples, input neurons]``.
        state: (current, second, u, v, sent, total, wait, raised, flags), changed in place.
        cursor: (sample, step, events so far, events before the buffer), changed in place.
        halt: set by another thread to stop.
        events, values: the buffer.
        bounds: where the events of each (sample, step, population) begin and end, counted from the run's first.
        active: ``[steps, samples, core slots]``.
        kept_u, kept_v, kept_flags: ``[steps, samples, recorded neurons]``.
        plastic: `neurodeploy.hwsim.plastic.Plastic`, or an empty tuple where nothing learns.
    """
    populations, projections, scalars, network, neurons, slow, initial = borrowed(
        (populations, projections, scalars, network, neurons, slow, initial)
    )
    slot, slots, given, state, scratch, cursor, halt = borrowed((slot, slots, given, state, scratch, cursor, halt))
    events, values, bounds, marks = borrowed((events, values, bounds, marks))
    kept_u, kept_v, kept_flags = borrowed((kept_u, kept_v, kept_flags))
    current, second, u, v, sent, total, wait, raised, flags = state
    steps, samples = given.shape[0], given.shape[1]
    nothing = -v.dtype.type(0)  # -0.0 in floats: what arrives shows even where it adds up to 0
    most = 0
    for n in range(len(populations)):
        most += populations[n, SIZE]
    b, t, count, base = cursor[0], cursor[1], cursor[2], cursor[3]
    while b < samples:
        if t == 0:
            current[:] = nothing
            second[:] = 0
            u[:] = 0
            v[:] = initial
            sent[:] = 0
            total[:] = 0
            wait[:] = 0
            raised[:] = 0
            _begin(plastic)
        while t < steps:
            cursor[0], cursor[1], cursor[2] = b, t, count
            if count - base + most >= len(events) or halt[0] != 0:
                return False
            for n in range(len(populations)):
                p = populations[n]
                at = count - base
                if p[KIND] == INPUT:
                    at = _list_input(given[t, b], p, events, values, at)
                elif p[KIND] == ALWAYS:
                    if t >= p[START]:
                        for i in range(p[SIZE]):
                            events[at] = i
                            at += 1
                else:
                    _arrivals(
                        t, p, projections, network, events, values, bounds[b], base, populations, current, second,
                        scratch,
                    )  # fmt: skip
                    _arrive(plastic, n, t, b, steps, events, values, bounds[b], base, current, p[OFFSET])
                    fired = _advance(p, scalars[n], neurons, slow, state, slot, slots, marks[t, b])
                    if p[HEARD] == 1:
                        at = _list_sent(p, fired, state, events, values, at)
                    low, size = p[OFFSET], p[SIZE]
                    _teach(plastic, n, t, p[FAST] == 1, sent, flags, second, low)
                    if p[RECORD_U] >= 0:
                        kept_u[t, b, p[RECORD_U] : p[RECORD_U] + size] = u[low : low + size]
                    if p[RECORD_V] >= 0:
                        kept_v[t, b, p[RECORD_V] : p[RECORD_V] + size] = v[low : low + size]
                bounds[b, t, n, 0] = count
                count = at + base
                bounds[b, t, n, 1] = count
            if kept_flags.shape[2] > 0:
                kept_flags[t, b] = flags
            t += 1
        _arrive(plastic, -1, steps, b, steps, events, values, bounds[b], base, current, 0)
        t = 0
        b += 1
    cursor[0], cursor[1], cursor[2] = b, t, count
    return True


@compiled
def gather(
    bounds: Array, events: Array, values: Array, order: Array, graded: bool, first: Array, start: int,
    time: Array, sample: Array, neuron: Array, payload: Array,
) -> None:  # fmt: skip
    """Copy a population's events to where they belong in order of time and sample, in the network's numbering.

    Args:
        bounds: ``[samples, steps, 2]``.
        order: the network's index of each neuron, empty where it is the same.
        first: where the events of each step and sample go, ``[steps, samples]``.
        start: number of the first of these samples.
        time, sample, neuron, payload: written.
    """
    for t in range(first.shape[0]):
        for b in range(first.shape[1]):
            low, high, to = bounds[b, t, 0], bounds[b, t, 1], first[t, b]
            size = high - low
            if size == 0:
                continue
            time[to : to + size] = t
            sample[to : to + size] = start + b
            if len(order) == 0:
                neuron[to : to + size] = events[low:high]
                if graded:
                    payload[to : to + size] = values[low:high]
            else:
                named = order[events[low:high]]
                by = np.argsort(named)
                neuron[to : to + size] = named[by]
                if graded:
                    payload[to : to + size] = values[low:high][by]


@compiled
def pack(targets: Array, weights: Array, packed: Array) -> None:
    """Write packed synapses: target and weight of each in 32 bits."""
    for k in range(len(targets)):
        packed[k] = np.uint32(targets[k]) | (np.uint32(np.int32(weights[k]) + 128) << np.uint32(TARGET_BITS))
