"""From events to currents, inlined into the compiled loop: the rows of synapses of each form (`layout`).

Rows are contiguous, also those of a convolution, whose populations are numbered channels-last and whose kernel is kept
by stride phase with its columns reversed, so that one event adds one contiguous span for each of its rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodeploy.network.arrays import Array

from ..compiling.intrinsics import inlined, prefetch
from .layout import (
    C_IN,
    C_OUT,
    CONV,
    D_X,
    D_Y,
    DENSE,
    DILATED,
    FORM,
    GROUPS,
    H_IN,
    H_OUT,
    K_H,
    K_W,
    LAST_CHANNELS,
    NEAR,
    OUTPUTS,
    P_X,
    P_Y,
    PACKED,
    PHASES,
    ROWS,
    S_X,
    S_Y,
    TARGET_BITS,
    TARGETS,
    W_IN,
    W_OUT,
    WEIGHTS,
)
from .neuron_kernels import AHEAD, compiled


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
def deliver(
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
