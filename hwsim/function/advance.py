"""Neurons, inlined into the compiled loop: common ones in blocks without branches, all others by `kernels`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from neurodeploy.network.arrays import Array

from ..compiling.intrinsics import inlined
from . import neuron_kernels
from .called import call
from .layout import (
    EQUAL,
    EXTRA,
    INNER,
    KERNEL,
    KIND,
    LIF,
    MEMORY,
    MOST,
    OFFSET,
    OPTION_COUNT,
    OPTIONS,
    PORTS,
    PRODUCT,
    RELU,
    RULE,
    SHIFT,
    SIGMA_DELTA,
    SIZE,
    SLOW_A,
    SLOW_R,
    SPIKING,
    TIME,
)
from .neuron_kernels import compiled


@inlined
def _marks(active: Any, spike: Any, touched: Any, changed: Any) -> Any:
    """`neuron_kernels.mark` without branches."""
    low = np.uint8(active) | (np.uint8(spike) << np.uint8(1))
    return low | (np.uint8(touched) << np.uint8(2)) | (np.uint8(changed) << np.uint8(3))


@inlined
def _tally(active: Any, spike: Any, touched: Any, changed: Any) -> Any:
    """The marks of one neuron as a number of which a sum over a `BLOCK` still keeps each in its byte."""
    low = np.uint32(active) | (np.uint32(spike) << np.uint32(8))
    return np.uint32(low | (np.uint32(touched) << np.uint32(16)) | (np.uint32(changed) << np.uint32(24)))


@inlined
def count_marks(flags: Array, slot: Array, marks: Array) -> None:
    """Add the marks of neurons to ``[kinds of mark, core slots]``."""
    for i in range(len(flags)):
        marks[0, slot[i]] += flags[i] & neuron_kernels.ACTIVE
        marks[1, slot[i]] += (flags[i] & neuron_kernels.TOUCHED) >> 2
        marks[2, slot[i]] += flags[i] >> 3


@inlined
def _lif_integer(
    decay: tuple[float, float], levels: tuple[float, float, float, float], remembers: bool, unbounded: bool,
    bias: Array, current: Array, u: Array, v: Array, flags: Array,
) -> int:  # fmt: skip
    """Advance a block of common neurons (see `models._lif`) in integers; return the sum of their `_tally`.

    Above its 32 bits stands how many currents wrapped, and above that, how many potentials saturated (8 bits each).

    All but the decays is done in 32 bits, which the bounds of common neurons allow; each sum is cut to them at once,
    since numba's sums are of 64.

    Args:
        decay: what is kept of u and v, as fractions (whole 4096ths).
        levels: (spikes above this, value after a hard reset, 1 for a hard reset, threshold).
        remembers: whether u outlives the step, or is recorded; else it is not touched.
        unbounded: whether a value can leave its range, so that this is counted.
        flags: written; see `kernels.update_integer`.
    """
    m, none = np.int32(1 << 23), np.int32(0)
    lowest, highest, twice = np.int32(1 - m), np.int32(m - 1), np.int32(2 * m)
    above, to, hard, threshold = np.int32(levels[0]), np.int32(levels[1]), levels[2] == 1, np.int32(levels[3])
    tally, left = np.uint32(0), np.uint32(0)
    for i in range(len(u)):
        arrived, old_u, old_v, own = np.int32(current[i]), np.int32(u[i]) if remembers else none, v[i], bias[i]
        current[i] = 0
        kept = np.int32(np.float64(old_u) * decay[0])
        active = (arrived | kept | old_v | own) != 0
        now = np.int32(kept + arrived * np.int32(64))
        wraps = (now > m) | (now <= -m)
        now = np.int32(now - twice) if now > m else now
        now = np.int32(now + twice) if now <= -m else now
        level = np.int32(np.int32(np.float64(old_v) * decay[1]) + now + own)
        whole = level
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
        if unbounded:
            lost = (whole != level) & ~(hard & spike)
            left = np.uint32(left + (np.uint32(wraps) | (np.uint32(lost) << np.uint32(8))))
    return int(np.int64(tally) | (np.int64(left) << np.int64(32)))


@inlined
def _lif_float(
    decay: tuple[float, float], levels: tuple[float, float, float, float], remembers: bool, unbounded: bool,
    bias: Array, current: Array, u: Array, v: Array, flags: Array,
) -> int:  # fmt: skip
    """As `_lif_integer`, in floats; the first of ``levels`` is 1 where equality spikes. Nothing leaves its range."""
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
def _called(p: Array, extra: Array, options: Array, state: Any) -> None:
    """Advance a population whose step is a function of its own."""
    a, b = p[OFFSET], p[OFFSET] + p[SIZE]
    current, second, u, v, sent, memory, _, _, flags, _ = state
    first = second[a:b] if p[PORTS] == 2 else second[:0]
    call(
        p[KERNEL], p[SIZE],
        (
            extra[p[EXTRA] :], options[p[OPTIONS] : p[OPTIONS] + p[OPTION_COUNT]], current[a:b], first, u[a:b], v[a:b],
            memory[p[MEMORY] :], sent[a:b], flags[a:b],
        ),
    )  # fmt: skip
    current[a:b] = 0
    first[:] = 0


@compiled
def _other_integer(p: Array, neurons: Any, slow: Any, state: Any, left: Array) -> None:
    """Advance a whole population of any other model by one step."""
    a, b = p[OFFSET], p[OFFSET] + p[SIZE]
    du, dv, bias, threshold, reset_to, floor, lower, extra, options = neurons
    current, second, u, v, sent, memory, wait, raised, flags, _ = state
    now, out, marks = _row(current, a, b), _row(sent, a, b), _row(flags, a, b)
    total = _row(memory, p[MEMORY], p[MEMORY] + (b - a if p[KIND] == SIGMA_DELTA else 0))
    if p[KIND] == LIF:
        r, d = p[SLOW_R], p[SLOW_A]
        n, k = (b - a if r >= 0 else 0), (b - a if d >= 0 else 0)
        r, d = max(r, 0), max(d, 0)
        rules = (p[RULE], p[TIME], p[EQUAL], p[SPIKING], p[MOST], 1)
        neuron_kernels.update_integer(
            du[a:b], dv[a:b], bias[a:b], threshold[a:b], reset_to[a:b], floor[a:b], lower[a:b], rules,
            now, _row(u, a, b), _row(v, a, b), out, marks,
            slow[0][r : r + n], slow[1][d : d + k], slow[2][d : d + k], _row(wait, r, r + n), _row(raised, d, d + k),
            left,
        )  # fmt: skip
    elif p[KIND] == SIGMA_DELTA:
        neuron_kernels.update_sigma_delta_integer(
            bias[a:b], threshold[a:b], p[INNER], p[SHIFT], now, _row(u, a, b), _row(v, a, b), total, out,
            marks, left,
        )  # fmt: skip
    elif p[KIND] == RELU:
        neuron_kernels.update_relu(bias[a:b], threshold[a:b], 1, now, out, marks, left)
    elif p[KIND] == PRODUCT:
        neuron_kernels.update_product(threshold[a:b], p[SHIFT], now, _row(second, a, b), out, marks, left)
    else:
        _called(p, extra, options, state)


@compiled
def _other_float(p: Array, neurons: Any, slow: Any, state: Any, left: Array) -> None:
    a, b = p[OFFSET], p[OFFSET] + p[SIZE]
    du, dv, bias, threshold, reset_to, floor, lower, extra, options = neurons
    current, second, u, v, sent, memory, wait, raised, flags, _ = state
    now, out, marks = _row(current, a, b), _row(sent, a, b), _row(flags, a, b)
    total = _row(memory, p[MEMORY], p[MEMORY] + (b - a if p[KIND] == SIGMA_DELTA else 0))
    if p[KIND] == LIF:
        r, d = p[SLOW_R], p[SLOW_A]
        n, k = (b - a if r >= 0 else 0), (b - a if d >= 0 else 0)
        r, d = max(r, 0), max(d, 0)
        rules = (p[RULE], p[TIME], p[EQUAL], p[SPIKING], p[MOST], 1)
        neuron_kernels.update_float(
            du[a:b], dv[a:b], bias[a:b], threshold[a:b], reset_to[a:b], floor[a:b], lower[a:b], rules,
            now, _row(u, a, b), _row(v, a, b), out, marks,
            slow[0][r : r + n], slow[1][d : d + k], slow[2][d : d + k], _row(wait, r, r + n), _row(raised, d, d + k),
        )  # fmt: skip
    elif p[KIND] == SIGMA_DELTA:
        neuron_kernels.update_sigma_delta(
            bias[a:b],
            threshold[a:b],
            p[INNER],
            now,
            _row(u, a, b),
            _row(v, a, b),
            total,
            out,
            marks,
        )
    elif p[KIND] == RELU:
        neuron_kernels.update_relu(bias[a:b], threshold[a:b], 0, now, out, marks, left)
    elif p[KIND] == PRODUCT:
        neuron_kernels.update_product_float(threshold[a:b], now, _row(second, a, b), out, marks)
    else:
        _called(p, extra, options, state)


def resting(current: Array, u: Array, v: Array) -> Any: ...


def advance_common(
    decay: Any, levels: Any, remembers: bool, unbounded: bool, bias: Array, current: Array, u: Array, v: Array,
    flags: Array,
) -> Any: ...  # fmt: skip


def advance_other(p: Array, neurons: Any, slow: Any, state: Any, left: Array) -> None: ...


@overload(resting, strict=False)
def _resting_of(current: Any, u: Any, v: Any) -> Any:
    if isinstance(v.dtype, types.Integer):
        return lambda current, u, v: _resting_integer(current, u, v)
    return lambda current, u, v: _resting_float(current, u, v)


@overload(advance_common, strict=False)
def _common_of(
    decay: Any, levels: Any, remembers: Any, unbounded: Any, bias: Any, current: Any, u: Any, v: Any, flags: Any
) -> Any:
    if isinstance(v.dtype, types.Integer):
        return lambda decay, levels, remembers, unbounded, bias, current, u, v, flags: _lif_integer(
            decay, levels, remembers, unbounded, bias, current, u, v, flags
        )
    return lambda decay, levels, remembers, unbounded, bias, current, u, v, flags: _lif_float(
        decay, levels, remembers, unbounded, bias, current, u, v, flags
    )


@overload(advance_other, strict=False)
def _other_of(p: Any, neurons: Any, slow: Any, state: Any, left: Any) -> Any:
    if isinstance(neurons[0].dtype, types.Integer):
        return lambda p, neurons, slow, state, left: _other_integer(p, neurons, slow, state, left)
    return lambda p, neurons, slow, state, left: _other_float(p, neurons, slow, state, left)
