"""The compiled loop: a whole run of a block of samples in one call, over the flat tables of
`neurodeploy.hwsim.function.tables`.

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

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from neurodeploy.network.arrays import Array

from ..compiling.intrinsics import borrowed, inlined, trailing_zeros
from ..loihi_learning import kernels as learning_kernels
from . import neuron_kernels
from .advance import advance_common, advance_other, count_marks, resting
from .delivery import deliver
from .layout import (
    ALWAYS,
    BIAS,
    BIAS_START,
    BIASED,
    BLOCK,
    BLOCKS,
    COMPARTMENTS,
    DELAY,
    EXPONENT,
    FAST,
    FIRST,
    FORM,
    FROM,
    GRADED,
    HEARD,
    INPUT,
    JOIN,
    JOINED,
    KIND,
    LAST,
    OFFSET,
    OUTPUTS,
    OWN,
    PLASTIC,
    PORT,
    RECORD_U,
    RECORD_V,
    SCRATCH,
    SHIFT,
    SIZE,
    SPIKING,
    START,
    TARGET_BITS,
    UNBOUNDED,
    WRAP,
)
from .neuron_kernels import compiled

REACHED = len(neuron_kernels.KINDS)
"""Row of `simulate`'s marks, behind `neuron_kernels.KINDS`: of compartments at which something arrived."""

_ONE, _TOP = np.uint64(1), np.uint64(56)
_EACH, _GATHER = np.uint64(0x0101010101010101), np.uint64(0x0102040810204080)


@inlined
def _shifted(scratch: Array, exponent: int, into: Array) -> None:
    """Add ``floor(scratch / 2^-exponent)`` and clear it."""
    for k in range(len(scratch)):
        into[k] += np.int64(scratch[k]) >> -exponent
        scratch[k] = 0


@inlined
def _arrivals(
    t: int, p: Array, projections: Array, network: Any, events: Array, values: Array, bounds: Array, base: int,
    populations: Array, current: Array, second: Array, joined: Array, scratch: Array,
) -> bool:  # fmt: skip
    """Add everything that reaches a population in step ``t``; return whether anything did."""
    weights, rows, targets, phases, biases = network
    a, b = p[OFFSET], p[OFFSET] + p[SIZE]
    came = False
    for j in range(p[FIRST], p[LAST]):
        q = projections[j]
        if p[JOIN] >= 0 and q[PORT] == 1:
            into = joined[p[JOINED] : p[JOINED] + p[COMPARTMENTS]]
        else:
            into = second[a:b] if q[PORT] == 1 else current[a:b]
        if t >= q[DELAY] and q[FORM] != PLASTIC:
            low, high = bounds[t - q[DELAY], q[FROM], 0] - base, bounds[t - q[DELAY], q[FROM], 1] - base
            if high > low:
                came = True
                graded = populations[q[FROM], GRADED] == 1
                carried = values[low:high] if graded else values[:0]
                if q[EXPONENT] < 0:
                    sums = scratch[q[SCRATCH] : q[SCRATCH] + q[OUTPUTS]]
                    deliver(q, events[low:high], carried, graded, weights, rows, targets, phases, sums)
                    _shifted(sums, q[EXPONENT], into)
                else:
                    deliver(q, events[low:high], carried, graded, weights, rows, targets, phases, into)
        if q[BIAS] >= 0 and t >= q[BIAS_START]:
            came = True
            for k in range(q[OUTPUTS]):
                into[k] += biases[q[BIAS] + k]
    return came


@inlined
def _largest(p: Array, joins: Any, joined: Array, current: Array, nothing: Any, slot: Array, marks: Array,
             left: Array) -> None:  # fmt: skip
    """Add the largest current of its compartments to that of each neuron, and clear them.

    Also count compartments beside the somas at which something arrived, in the last row of ``marks``, and currents that
    wrapped; see `neurodeploy.network.join`.
    """
    starts, members = joins
    limit = p[WRAP]
    for j in range(p[SIZE]):
        low, high = starts[p[JOIN] + j], starts[p[JOIN] + j + 1]
        if high == low:
            continue
        i = p[OFFSET] + j
        largest = joined[members[low]]
        for k in range(low, high):
            value = joined[members[k]]
            joined[members[k]] = nothing
            if k >= low + p[OWN] and (value != 0 or (limit == 0 and neuron_kernels.something(value))):
                marks[REACHED, slot[i]] += 1
            if limit > 0 and (value > limit or value <= -limit):
                value += 2 * limit if value < 0 else -2 * limit
                left[neuron_kernels.WRAPS] += 1
            if k == low or value > largest:
                largest = value
        current[i] += largest


@inlined
def _advance(
    p: Array, scalars: Array, neurons: Any, slow: Any, state: Any, slot: Array, slots: Array, marks: Array, left: Array
) -> int:
    """Advance a population by one step, count its marks and what left its range; return how many sent something."""
    current, u, v, flags = state[0], state[2], state[3], state[8]
    a, b = p[OFFSET], p[OFFSET] + p[SIZE]
    fired = 0
    if p[FAST] == 0:
        advance_other(p, neurons, slow, state, left)
        count_marks(flags[a:b], slot[a:b], marks)
        for i in range(a, b):
            fired += (flags[i] & neuron_kernels.FIRED) >> 1
        return int(fired)
    bias = neurons[2]
    decay = (scalars[0], scalars[1])
    levels = (scalars[2], scalars[3], scalars[4], scalars[5])
    remembers = scalars[0] != 0 or p[RECORD_U] >= 0
    unbounded = p[UNBOUNDED] == 1
    block = p[BLOCKS]
    for low in range(a, b, BLOCK):
        high = min(low + BLOCK, b)
        if p[BIASED] == 0 and resting(current[low:high], u[low:high], v[low:high]):
            flags[low:high] = 0
        else:
            tally = advance_common(
                decay, levels, remembers, unbounded, bias[low:high], current[low:high], u[low:high], v[low:high],
                flags[low:high],
            )  # fmt: skip
            fired += (tally >> 8) & 255
            if unbounded:
                left[neuron_kernels.WRAPS] += (tally >> 32) & 255
                left[neuron_kernels.SATURATES] += tally >> 40
            if slots[block] >= 0:
                marks[0, slots[block]] += tally & 255
                marks[1, slots[block]] += (tally >> 16) & 255
                marks[2, slots[block]] += (tally >> 24) & 255
            else:
                count_marks(flags[low:high], slot[low:high], marks)
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
        fired |= np.uint64((marks[k] & neuron_kernels.FIRED) >> 1) << np.uint64(k)
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
    values: Array, bounds: Array, marks: Array, left: Array, kept_u: Array, kept_v: Array, kept_flags: Array,
    joins: Any, plastic: Any,
) -> bool:  # fmt: skip
    """Run a block of samples from where ``cursor`` stands; return whether it is done, or else the buffer is full.

    Args:
        populations, projections: tables ``[., fields]``; the order of a step, and projections by target.
        scalars: of common neurons, ``[populations, 6]``.
        network: (weights, row starts, targets, phases, biases), pools that `projections` points into.
        neurons: `models.PARAMETERS`, ``[neurons]`` each, and parameters and options of called models, one after the
            other.
        slow: refractory times and threshold decays and jumps, of the neurons that have them.
        initial: potentials before the first step.
        slot, slots: core slot of each neuron, and of each block of `BLOCK` neurons (-1 for several).
        given: inputs, ``[steps, samples, input neurons]``.
        state: (current, second, u, v, sent, memory, wait, raised, flags, currents of compartments), changed in place.
        cursor: (sample, step, events so far, events before the buffer), changed in place.
        halt: set by another thread to stop.
        events, values: the buffer.
        bounds: where the events of each (sample, step, population) begin and end, counted from the run's first.
        marks: ``[steps, samples, kinds of mark, core slots]``, added to.
        left: how often values left their range, ``[populations, 3]``, added to; see `neurodeploy.program.overflow`.
        kept_u, kept_v, kept_flags: ``[steps, samples, recorded neurons]``.
        joins: `Flat.joins`.
        plastic: `neurodeploy.hwsim.loihi_learning.tables.Plastic`, or an empty tuple where nothing learns.
    """
    populations, projections, scalars, network, neurons, slow, initial = borrowed(
        (populations, projections, scalars, network, neurons, slow, initial)
    )
    slot, slots, given, state, scratch, cursor, halt = borrowed((slot, slots, given, state, scratch, cursor, halt))
    joins = borrowed(joins)
    events, values, bounds, marks, left = borrowed((events, values, bounds, marks, left))
    kept_u, kept_v, kept_flags = borrowed((kept_u, kept_v, kept_flags))
    current, second, u, v, sent, memory, wait, raised, flags, joined = state
    steps, samples = given.shape[0], given.shape[1]
    nothing = -v.dtype.type(0)  # -0.0 in floats: what arrives shows even where it adds up to 0
    most = 0
    for n in range(len(populations)):
        most += populations[n, SIZE]
    b, t, count, base = cursor[0], cursor[1], cursor[2], cursor[3]
    while b < samples:
        if t == 0:
            current[:] = nothing
            joined[:] = nothing
            second[:] = 0
            u[:] = 0
            v[:] = initial
            sent[:] = 0
            memory[:] = 0
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
                    came = _arrivals(
                        t, p, projections, network, events, values, bounds[b], base, populations, current, second,
                        joined, scratch,
                    )  # fmt: skip
                    if came and p[JOIN] >= 0:
                        _largest(p, joins, joined, current, nothing, slot, marks[t, b], left[n])
                    _arrive(plastic, n, t, b, steps, events, values, bounds[b], base, current, p[OFFSET])
                    fired = _advance(p, scalars[n], neurons, slow, state, slot, slots, marks[t, b], left[n])
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
