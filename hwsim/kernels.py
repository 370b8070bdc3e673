"""The functional kernels: spikes to currents, currents to states, compiled by numba.

Events of one step are lists: the source neurons of sample ``b`` are ``index[first[b] : first[b + 1]]`` and carry the
values ``payload`` (1 for a spike). Only what receives an event is touched by the scatter kernels; `update_*` walk all
neurons once. Everything is typed by its arguments, releases the GIL and is cached on disk.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from neurodeploy.connectivity import Array

HARD, SUBTRACT, NONE, HARD_ALL = 0, 1, 2, 3
"""Reset rules; the last also resets the current."""
NOW, NEXT, GATE, ONCE = 0, 1, 2, 3
ACTIVE, FIRED, TOUCHED, CHANGED = 1, 2, 4, 8
KINDS = (ACTIVE, TOUCHED, CHANGED)
"""Marks that are counted, in this order."""
AHEAD = 2
"""Events whose synapses are asked for before they are needed."""

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    return cast(Function, numba.njit(cache=True, nogil=True, error_model="numpy")(function))


@intrinsic
def prefetch(typing: Any, array: Any, index: Any) -> Any:  # pragma: no cover (runs in the compiler)
    """Ask for the cache line of ``array[index]`` (of the flat array); changes nothing."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        place = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [place.type, number, number, number])
        function = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            builder.module, kind, "llvm.prefetch.p0i8"
        )
        builder.call(function, [place, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@compiled
def scatter_dense(first: Array, index: Array, payload: Array, rows: Array, current: Array) -> None:
    """Add ``rows[i]`` (``[inputs, outputs]``) for each event of neuron i."""
    for b in range(len(first) - 1):
        for e in range(first[b], first[b + 1]):
            row, value = rows[index[e]], payload[e]
            for j in range(len(row)):
                current[b, j] += row[j] * value


@compiled
def scatter_sparse(
    first: Array, index: Array, payload: Array, indptr: Array, targets: Array, weights: Array, current: Array
) -> None:
    """Add the CSR row of each event's neuron."""
    for b in range(len(first) - 1):
        for e in range(first[b], first[b + 1]):
            value = payload[e]
            for k in range(indptr[index[e]], indptr[index[e] + 1]):
                current[b, targets[k]] += weights[k] * value


@compiled
def scatter_conv(
    first: Array,
    index: Array,
    payload: Array,
    kernel: Array,
    geometry: tuple[int, ...],
    image: Array,
) -> None:
    """Add a convolution's contribution of each event, without ever listing its synapses.

    Args:
        kernel: ``[groups, c_in / groups, k_h, k_w, c_out / groups]``.
        geometry: ``(height, width, stride_y, stride_x, pad_y, pad_x, dilation_y, dilation_x)`` of the input.
        image: result, channels last: ``[batch, h_out, w_out, c_out]``.
    """
    height, width, s_y, s_x, p_y, p_x, d_y, d_x = geometry
    per_group, k_h, k_w, c_out = kernel.shape[1], kernel.shape[2], kernel.shape[3], kernel.shape[4]
    h_out, w_out = image.shape[1], image.shape[2]
    for b in range(len(first) - 1):
        for e in range(first[b], first[b + 1]):
            value = payload[e]
            channel, place = divmod(index[e], height * width)
            y, x = divmod(place, width)
            group, within = divmod(channel, per_group)
            offset = group * c_out
            for i in range(k_h):
                row = y + p_y - i * d_y
                if row < 0 or row % s_y != 0 or row // s_y >= h_out:
                    continue
                for j in range(k_w):
                    column = x + p_x - j * d_x
                    if column < 0 or column % s_x != 0 or column // s_x >= w_out:
                        continue
                    taps = kernel[group, within, i, j]
                    for c in range(c_out):
                        image[b, row // s_y, column // s_x, offset + c] += taps[c] * value


@compiled
def add_image(image: Array, exponent: int, current: Array) -> None:
    """Add a channels-last image to channel-first currents, shifted by ``exponent``, and clear it."""
    batch, height, width, channels = image.shape
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                for c in range(channels):
                    current[b, (c * height + y) * width + x] += image[b, y, x, c] >> -exponent
                    image[b, y, x, c] = 0


@compiled
def add_image_unshifted(image: Array, current: Array) -> None:
    """Add a channels-last image to channel-first currents and clear it."""
    batch, height, width, channels = image.shape
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                for c in range(channels):
                    current[b, (c * height + y) * width + x] += image[b, y, x, c]
                    image[b, y, x, c] = 0


@compiled
def add_shifted(partial: Array, exponent: int, current: Array) -> None:
    """Add ``floor(partial / 2^-exponent)`` for a negative exponent and clear ``partial``."""
    for b in range(partial.shape[0]):
        for j in range(partial.shape[1]):
            current[b, j] += partial[b, j] >> -exponent
            partial[b, j] = 0


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
def _flag(active: bool, sent: Any, touched: bool, changed: bool) -> int:
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
) -> None:
    """One step of `neurodeploy.neurons.Lif` in Loihi's integers, in place; ``current`` is cleared.

    Args:
        options: (reset rule, reset time, whether ``v == threshold`` spikes, whether the population spikes, most
            spikes a step, whether ``current`` is -0.0 where nothing arrived: floats only).
        spikes: ``[batch, neurons]``, written.
        flags: ``[batch, neurons]``, written: `ACTIVE` for a neuron that was not at rest, plus `FIRED`, plus `TOUCHED`
            where something arrived, plus `CHANGED` where u or v is another than before.
        refractory, threshold_decay, threshold_jump: ``[neurons]``, or empty for neurons that have none.
        wait: steps for which a neuron stays refractory, ``[batch, neurons]``.
        raised: what its threshold is raised by, ``[batch, neurons]``.
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
            elif now <= -m:
                now += 2 * m
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
            if refractory.size > 0:
                if wait[b, i] > 0:
                    wait[b, i] -= 1
                    level, count = np.int64(v[b, i]), 0
                elif count != 0:
                    wait[b, i] = refractory[i]
            if threshold_decay.size > 0:
                higher = decay(np.int64(raised[b, i]), 4096 - threshold_decay[i]) + threshold_jump[i] * abs(count)
                raised[b, i] = min(max(higher, 1 - m), m - 1)
            if rule == HARD_ALL and count != 0:
                u[b, i] = 0
                changed = old != 0
            changed = changed or level != v[b, i]
            v[b, i] = level
            spikes[b, i] = count
            flags[b, i] = _flag(active, count, touched, changed)


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
    """One step of `neurodeploy.neurons.Lif` in floats; arguments as in `update_integer`."""
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
                        count = min(int(level / limit), most)
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
            flags[b, i] = _flag(active, count, touched, changed)


@compiled
def update_sigma_delta(
    bias: Array,
    threshold: Array,
    relu: int,
    current: Array,
    u: Array,
    v: Array,
    sent: Array,
    spikes: Array,
    flags: Array,
) -> None:
    """One step of `neurodeploy.neurons.SigmaDelta` in floats, in place; ``current`` is cleared.

    Args:
        relu: 1 for the rectifier, 0 for the identity.
        sent: ``[batch, neurons]``, sum of all that was sent.
        spikes: written: the difference that is sent, 0 for none.
        flags: as in `update_integer`; a neuron is active where input arrives or something is sent.
    """
    for b in range(u.shape[0]):
        for i in range(u.shape[1]):
            arrived = current[b, i]
            current[b, i] = 0
            u[b, i] += arrived
            level = u[b, i] + bias[i]
            if relu == 1 and level < 0:
                level = 0.0
            v[b, i] = level
            difference = level - sent[b, i]
            if abs(difference) < threshold[i]:
                difference = 0.0
            sent[b, i] += difference
            spikes[b, i] = difference
            touched = arrived != 0
            flags[b, i] = _flag(touched or difference != 0, difference, touched, touched or difference != 0)


@compiled
def _held(value: Any) -> Any:
    """Saturated to Loihi's 24 bits."""
    return min(max(value, 1 - (1 << 23)), (1 << 23) - 1)


@compiled
def update_sigma_delta_integer(
    bias: Array,
    threshold: Array,
    relu: int,
    shift: int,
    current: Array,
    u: Array,
    v: Array,
    sent: Array,
    spikes: Array,
    flags: Array,
) -> None:
    """One step of `neurodeploy.neurons.SigmaDelta` in integers; ``shift`` is its ``send_shift``."""
    for b in range(u.shape[0]):
        for i in range(u.shape[1]):
            arrived = current[b, i]
            current[b, i] = 0
            u[b, i] = _held(u[b, i] + arrived)
            level = _held(np.int64(u[b, i]) + bias[i])
            if relu == 1 and level < 0:
                level = 0
            v[b, i] = level
            difference = level - sent[b, i]
            message = difference >> shift if abs(difference) >= threshold[i] else 0
            sent[b, i] += message << shift
            spikes[b, i] = message
            touched = arrived != 0
            flags[b, i] = _flag(touched or message != 0, message, touched, touched or message != 0)


@compiled
def update_relu(bias: Array, threshold: Array, held: int, current: Array, spikes: Array, flags: Array) -> None:
    """One step of `neurodeploy.neurons.Relu`; ``held`` is 1 where sums saturate to 24 bits."""
    for b in range(current.shape[0]):
        for i in range(current.shape[1]):
            level = current[b, i] + bias[i]
            if held == 1:
                level = _held(level)
            sent = level if level > threshold[i] else 0
            spikes[b, i] = sent
            flags[b, i] = _flag(level != 0, sent, current[b, i] != 0, False)
            current[b, i] = 0


@compiled
def update_product(threshold: Array, shift: int, first: Array, second: Array, spikes: Array, flags: Array) -> None:
    """One step of `neurodeploy.neurons.Product` in integers."""
    for b in range(first.shape[0]):
        for i in range(first.shape[1]):
            level = _held((first[b, i] * second[b, i]) >> shift)
            sent = level if abs(level) > threshold[i] else 0
            touched = first[b, i] != 0 or second[b, i] != 0
            flags[b, i] = _flag(touched, sent, touched, False)
            first[b, i] = 0
            second[b, i] = 0
            spikes[b, i] = sent


@compiled
def update_product_float(threshold: Array, first: Array, second: Array, spikes: Array, flags: Array) -> None:
    """One step of `neurodeploy.neurons.Product` in floats."""
    for b in range(first.shape[0]):
        for i in range(first.shape[1]):
            level = first[b, i] * second[b, i]
            sent = level if abs(level) > threshold[i] else 0.0
            touched = first[b, i] != 0 or second[b, i] != 0
            flags[b, i] = _flag(touched, sent, touched, False)
            first[b, i] = 0
            second[b, i] = 0
            spikes[b, i] = sent


@compiled
def count_marks(flags: Array, slot: Array, marks: Array) -> None:
    """Add the marked neurons of ``[batch, neurons]`` to ``[batch, kinds of mark, core slots]``."""
    for b in range(flags.shape[0]):
        for i in range(flags.shape[1]):
            for kind in range(len(KINDS)):
                marks[b, kind, slot[i]] += (flags[b, i] & KINDS[kind]) != 0


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
