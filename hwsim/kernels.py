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

HARD, SUBTRACT, NONE = 0, 1, 2
NOW, NEXT, GATE, ONCE = 0, 1, 2, 3
ACTIVE, FIRED = 1, 2
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
def _decay(value: Any, keep: Any) -> Any:
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
def _flag(active: bool, sent: Any) -> int:
    return (ACTIVE if active else 0) + (FIRED if sent != 0 else 0)


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
        flags: ``[batch, neurons]``, written: `ACTIVE` for a neuron that was not at rest, plus `FIRED`.
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
            kept = _decay(np.int64(u[b, i]), 4095 - du[i])
            active = arrived != 0 or kept != 0 or v[b, i] != 0 or bias[i] != 0
            # At rest nothing changes and, the thresholds and the floor being on either side of 0, nothing fires.
            if not active and threshold[i] > 0 and floor[i] <= 0 and lower[i] < 0 and not slow:
                u[b, i] = 0
                spikes[b, i] = 0
                flags[b, i] = 0
                continue
            now = kept + (np.int64(arrived) << 6)
            if now > m:
                now -= 2 * m
            elif now <= -m:
                now += 2 * m
            u[b, i] = now
            before = np.int64(v[b, i])
            limit = np.int64(threshold[i])
            if threshold_decay.size > 0:
                limit += raised[b, i]
            crossed = time != NOW and _crosses(before, limit, equal)
            if crossed and rule == HARD and time == NEXT:
                before = np.int64(reset_to[i])
            level = _decay(before, 4096 - dv[i]) + now + bias[i]
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
                elif rule == HARD and count != 0:
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
                higher = _decay(np.int64(raised[b, i]), 4096 - threshold_decay[i]) + threshold_jump[i] * abs(count)
                raised[b, i] = min(max(higher, 1 - m), m - 1)
            v[b, i] = level
            spikes[b, i] = count
            flags[b, i] = _flag(active, count)


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
            active = arrived != 0 or (marked == 1 and something(arrived)) or kept != 0 or v[b, i] != 0 or bias[i] != 0
            now = kept + arrived
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
                elif rule == HARD and count != 0:
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
            v[b, i] = level
            spikes[b, i] = count
            flags[b, i] = _flag(active, count)


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
            flags[b, i] = _flag(arrived != 0 or difference != 0, difference)


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
            flags[b, i] = _flag(arrived != 0 or message != 0, message)


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
            flags[b, i] = _flag(level != 0, sent)
            current[b, i] = 0


@compiled
def update_product(threshold: Array, shift: int, first: Array, second: Array, spikes: Array, flags: Array) -> None:
    """One step of `neurodeploy.neurons.Product` in integers."""
    for b in range(first.shape[0]):
        for i in range(first.shape[1]):
            level = _held((first[b, i] * second[b, i]) >> shift)
            sent = level if abs(level) > threshold[i] else 0
            flags[b, i] = _flag(first[b, i] != 0 or second[b, i] != 0, sent)
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
            flags[b, i] = _flag(first[b, i] != 0 or second[b, i] != 0, sent)
            first[b, i] = 0
            second[b, i] = 0
            spikes[b, i] = sent


@compiled
def count_active(flags: Array, slot: Array, active: Array) -> None:
    """Add the active neurons of ``[batch, neurons]`` to ``[batch, core slots]``."""
    for b in range(flags.shape[0]):
        for i in range(flags.shape[1]):
            active[b, slot[i]] += flags[b, i] & ACTIVE


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
            after[2, b, i] = min(max(_decay(before[2, b, i], left3) + given, -128), 127)
