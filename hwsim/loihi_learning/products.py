"""Products of learning rules: what changes at the end of an epoch, and nothing else is looked at.

Only synapses are visited for which some product is due: the rows of sources that have spiked in the epoch (where the
rule has an ``x0``), the columns of targets that have (``y0``), or all of them (a ``uK`` whose turn it is). Products are
computed along the targets of a source, factor by factor, which compiles to vector instructions. The arithmetic is that
of `neurodeploy.backends.reference.learning`.

A slice costs as much as ten synapses, and a loop over what is not a slice does not become vector instructions: so what
runs along a row takes slices, and all else is addressed by its place in flat arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from neurodeploy.network.arrays import Array

from ..function.neuron_kernels import compiled
from .tables import (  # fmt: skip
    CHANGED,
    EPOCH,
    FIRST_TERM,
    INPUTS,
    LAST_TERM,
    OUTPUTS,
    PAST_X,
    PAST_Y,
    PRODUCTS,
    SLOT,
    SLOTS,
    SYNAPSES,
    TX,
    TY,
    VISITED,
    WORK,
    X0,
    Y0,
    Plastic,
    U,
)
from .traces import clear, end_traces

LOW, HIGH = -(1 << 15) - 1, (1 << 15) - 1
"""Of the accumulator."""


def learn(n: int, s: Plastic, work: Array) -> Any: ...


@overload(learn, strict=False)
def _learn_of(n: Any, s: Any, work: Any) -> Any:
    number = s.types[s.fields.index("synapses")].dtype
    return _learn_integer if isinstance(number, types.Integer) else _learn_float


@compiled
def _due(n: int, s: Plastic, work: Array) -> Any:
    """Which synapses are visited: (all, rows of sources that spiked, columns of targets that did), and their number.

    Lists targets that spiked and their spike times, and counts the visits and products.
    """
    p, epoch, active, times = s.table[n], s.epochs[n], s.active, s.times
    by_x, by_y, timed = 0, 0, 0
    for k in range(p[FIRST_TERM], p[LAST_TERM]):
        dependency = s.terms[k, 1]
        by_x += 1 if dependency == X0 else 0
        by_y += 1 if dependency == Y0 else 0
        timed += 1 if dependency == U and epoch % (1 << s.terms[k, 7]) == 0 else 0
    rows, columns, moments = 0, 0, 0
    for i in range(p[INPUTS]):
        s.fired[i] = np.int32(s.tx[p[TX] + i] > 0)
        rows += s.fired[i]
    visited, products = p[WORK] + VISITED * p[SLOTS], p[WORK] + PRODUCTS * p[SLOTS]
    for j in range(p[OUTPUTS]):
        time = s.ty[p[TY] + j]
        s.spiked[j] = np.int32(time > 0)
        s.changed[j] = 0
        columned = time > 0 and by_y > 0
        if columned:
            known = 0
            while known < moments and times[known] != time:
                known += 1
            if known == moments:
                times[known] = time
                moments += 1
            active[columns] = j
            s.moment[columns] = known
            columns += 1
        slot = s.slot[p[SLOT] + j]
        work[visited + slot] += p[INPUTS] if timed > 0 or columned else rows if by_x > 0 else 0
        work[products + slot] += timed * p[INPUTS] + by_x * rows + (by_y * p[INPUTS] if columned else 0)
    return timed > 0, by_x > 0, columns, moments


@compiled
def _ended(n: int, s: Plastic, work: Array) -> None:
    """Forget the spikes of the epoch, and count the synapses that changed at their cores."""
    p = s.table[n]
    for i in range(p[INPUTS]):
        s.tx[p[TX] + i] = 0
    for j in range(p[OUTPUTS]):
        s.ty[p[TY] + j] = 0
        work[p[WORK] + CHANGED * p[SLOTS] + s.slot[p[SLOT] + j]] += s.changed[j]


@compiled
def _held(value: Any, constant: int, sign: int, width: int) -> Any:
    """A factor plus its constant within its width, or the sign of that."""
    shifted = np.int64(value) + constant
    if sign == 1:
        shifted = np.int64(np.sign(shifted))
    reach = np.int64(1) << width
    return min(max(shifted, -reach), reach - 1)


@compiled
def _times(product: Array, row: Array, constant: int, sign: int, width: int) -> None:
    """Multiply by a factor that differs along the row; 32 bits, which wrap."""
    reach = 1 << width
    shift, low, high = np.int32(constant), np.int32(-reach), np.int32(reach - 1)
    if sign == 1:
        low, high = np.int32(-1), np.int32(1)
    for j in range(len(product)):
        value = min(max(np.int32(row[j] + shift), low), high)
        product[j] = np.int32(product[j] * value)


@compiled
def _summed(total: Any, product: Any, right: Any, left: Any) -> Any:
    """Add a product of factors and mantissa, scaled, to the accumulator."""
    value = np.int32(np.int32(product) >> right)
    value = min(max(np.int32(value * left), np.int32(LOW)), np.int32(HIGH))
    return min(max(np.int32(total + value), np.int32(LOW)), np.int32(HIGH))


@compiled
def _prepare(n: int, s: Plastic, columns: int, moments: int) -> None:
    """Fill `Plastic.given`, `Plastic.lent` and `Plastic.some`, from which products with y0 are made."""
    p = s.table[n]
    inputs = p[INPUTS]
    clear(s.some)
    for k in range(p[FIRST_TERM], p[LAST_TERM]):
        if s.terms[k, 1] == Y0:
            q = k - p[FIRST_TERM]
            _give(n, k, s, columns, s.given[q])
            for c in range(moments):
                _lend(n, k, s, s.times[c], s.lent[q, c, :inputs], s.some[:inputs])


@compiled
def _give(n: int, k: int, s: Plastic, columns: int, given: Array) -> None:
    """What the targets that spiked give to product k."""
    p, factors, past_y, active, moment, times = s.table[n], s.factors, s.past_y, s.active, s.moment, s.times
    for a in range(columns):
        given[a] = s.terms[k, 2]
    for f in range(s.terms[k, 5], s.terms[k, 5] + s.terms[k, 6]):
        code, constant, sign, width = factors[f, 0], factors[f, 1], factors[f, 2], factors[f, 3]
        if 2 <= code < 5:
            for a in range(columns):
                at = p[PAST_Y] + (3 * times[moment[a]] + code - 2) * p[OUTPUTS] + active[a]
                given[a] = np.int32(given[a] * _held(past_y[at], constant, sign, width))
        elif code == 9:
            for a in range(columns):
                given[a] = np.int32(given[a] * _held(1, constant, sign, width))


@compiled
def _lend(n: int, k: int, s: Plastic, time: int, lent: Array, some: Array) -> None:
    """What the sources lend to product k at a time of the epoch."""
    inputs, factors = len(lent), s.factors
    for i in range(inputs):
        lent[i] = 1
    for f in range(s.terms[k, 5], s.terms[k, 5] + s.terms[k, 6]):
        code = factors[f, 0]
        if code < 2:
            at = s.table[n, PAST_X] + (2 * time + code) * inputs
            _times(lent, s.past_x[at : at + inputs], factors[f, 1], factors[f, 2], factors[f, 3])
        elif code == 8:
            _times(lent, s.fired[:inputs], factors[f, 1], factors[f, 2], factors[f, 3])
    # A product of 0 changes no weight, but a tag of -257, the one value beyond the accumulator.
    tag = np.int32(s.terms[k, 0] == 2)
    for i in range(inputs):
        some[i] |= np.int32(lent[i] != 0) | tag


@compiled
def _add_row(
    terms: Array, k: int, factors: Array, inputs: int, i: int, at_x: int, at_y: int, at_synapse: int, past_x: Array,
    past_y: Array, synapses: Array, fired: Array, spiked: Array, total: Array, product: Array,
) -> None:  # fmt: skip
    """Add product k to all synapses of source i.

    Args:
        at_x, at_y: where the traces of the time at which it is taken begin.
        at_synapse: where the synapses of this source begin.
    """
    alike, various, outputs = np.int32(terms[k, 2]), False, len(total)
    for f in range(terms[k, 5], terms[k, 5] + terms[k, 6]):
        code, constant, sign, width = factors[f, 0], factors[f, 1], factors[f, 2], factors[f, 3]
        if code < 2:
            alike = np.int32(alike * _held(past_x[at_x + code * inputs + i], constant, sign, width))
            continue
        if code == 8:
            alike = np.int32(alike * _held(fired[i], constant, sign, width))
            continue
        if not various:
            for j in range(outputs):
                product[j] = 1
            various = True
        if code < 5:
            low = at_y + (code - 2) * outputs
            _times(product, past_y[low : low + outputs], constant, sign, width)
        elif code < 8:
            low = at_synapse + (code - 5) * inputs * outputs
            _times(product, synapses[low : low + outputs], constant, sign, width)
        else:
            _times(product, spiked[:outputs], constant, sign, width)
    right, left = terms[k, 3] & 31, np.int32(1 << (terms[k, 4] & 31))
    if various:
        for j in range(outputs):
            total[j] = _summed(total[j], np.int32(product[j] * alike), right, left)
    else:
        for j in range(outputs):
            total[j] = _summed(total[j], alike, right, left)


@compiled
def _raise_row(row: Array, total: Array) -> None:
    """From variables to the accumulator."""
    for j in range(len(row)):
        total[j] = np.int32(row[j] << 7)


@compiled
def _round_row(row: Array, total: Array, lowest: int, highest: int, kept: int, above: int, differs: Array) -> None:
    """From the accumulator back to variables, stochastically: up where the fraction reaches ``above``.

    Args:
        kept: sign that is kept, 0 for none.
        differs: marked where a variable changes.
    """
    low, high, up = np.int32(lowest), np.int32(highest), np.int32(above)
    # A sign is a limit of the accumulator.
    least = np.int32(0) if kept > 0 else np.int32(-(1 << 30))
    most = np.int32(0) if kept < 0 else np.int32(1 << 30)
    for j in range(len(row)):
        value = min(max(total[j], least), most)
        value = np.int32(np.int32(value >> 7) + np.int32((value & np.int32(127)) >= up))
        value = min(max(value, low), high)
        differs[j] |= np.int32(value != row[j])
        row[j] = value


@compiled
def _change_rows(n: int, s: Plastic, everywhere: bool, columns: int, above: Any) -> None:
    """Change all synapses of sources that spiked, or of all sources."""
    p, epoch, ranges, terms, factors = s.table[n], s.epochs[n], s.ranges[n], s.terms, s.factors
    tx, synapses, total, past_x, past_y, fired, spiked = (
        s.tx, s.synapses, s.total, s.past_x, s.past_y, s.fired, s.spiked
    )  # fmt: skip
    active, moment, given, lent = s.active, s.moment, s.given, s.lent
    inputs, outputs, first, last = p[INPUTS], p[OUTPUTS], p[FIRST_TERM], p[LAST_TERM]
    at_tx, at_synapses, at_x, at_y, end = p[TX], p[SYNAPSES], p[PAST_X], p[PAST_Y], p[EPOCH]
    differs, changed, product = s.differs[:outputs], s.changed[:outputs], s.product[:outputs]
    for i in range(inputs):
        time = tx[at_tx + i]
        if not everywhere and time == 0:
            continue
        own = at_synapses + i * outputs
        for v in range(3):
            if ranges[v, 0] == 1:
                at = own + v * inputs * outputs
                _raise_row(synapses[at : at + outputs], total[v, :outputs])
        for k in range(first, last):
            dependency, into = terms[k, 1], total[terms[k, 0], :outputs]
            if dependency == Y0:
                _add_columns(
                    terms, k, factors, i, own, inputs * outputs, given[k - first], lent[k - first], active[:columns],
                    active, moment, synapses, into,
                )  # fmt: skip
            elif (dependency == X0 and time > 0) or (dependency == U and epoch % (1 << terms[k, 7]) == 0):
                then = time if dependency == X0 else end
                _add_row(
                    terms, k, factors, inputs, i, at_x + 2 * then * inputs, at_y + 3 * then * outputs, own, past_x,
                    past_y, synapses, fired, spiked, into, product,
                )  # fmt: skip
        clear(differs)
        for v in range(3):
            if ranges[v, 0] == 1:
                at = own + v * inputs * outputs
                _round_row(
                    synapses[at : at + outputs], total[v, :outputs], ranges[v, 1], ranges[v, 2], ranges[v, 3], above,
                    differs,
                )  # fmt: skip
        for j in range(len(changed)):
            changed[j] += differs[j]


@compiled
def _add_columns(
    terms: Array, k: int, factors: Array, i: int, at_synapse: int, size: int, given: Array, lent: Array, active: Array,
    places: Array, moment: Array, synapses: Array, total: Array,
) -> None:  # fmt: skip
    """Add product k, one with y0, to the synapses of source i with the targets that spiked.

    Args:
        at_synapse, size: where the synapses of this source begin, and of how many w, d and t each consist.
        active: these targets.
        places: of each, where its accumulator stands.
    """
    right, left, first = terms[k, 3] & 31, np.int32(1 << (terms[k, 4] & 31)), terms[k, 5]
    last, own = first + terms[k, 6], False
    for f in range(first, last):
        own |= 5 <= factors[f, 0] < 8
    for a in range(len(active)):
        product = np.int32(given[a] * lent[moment[a], i])
        if own:
            for f in range(first, last):
                code = factors[f, 0]
                if 5 <= code < 8:
                    value = synapses[at_synapse + (code - 5) * size + active[a]]
                    product = np.int32(product * _held(value, factors[f, 1], factors[f, 2], factors[f, 3]))
        total[places[a]] = _summed(total[places[a]], product, right, left)


@compiled
def _change_columns(n: int, s: Plastic, by_x: bool, columns: int, above: Any) -> None:
    """Change the synapses of sources for which no other product is due with the targets that spiked."""
    p, ranges, terms, factors, tx, some = s.table[n], s.ranges[n], s.terms, s.factors, s.tx, s.some
    synapses, active, changed, total, places = s.synapses, s.active[:columns], s.changed, s.total, s.places
    moment, given, lent = s.moment, s.given, s.lent
    inputs, outputs, first, last = p[INPUTS], p[OUTPUTS], p[FIRST_TERM], p[LAST_TERM]
    at_tx, at_synapses = p[TX], p[SYNAPSES]
    differs, row = s.differs[:columns], s.own[:columns]
    for i in range(inputs):
        if some[i] == 0 or (by_x and tx[at_tx + i] > 0):
            continue
        own = at_synapses + i * outputs
        for v in range(3):
            if ranges[v, 0] == 1:
                at = own + v * inputs * outputs
                for a in range(len(active)):
                    total[v, a] = np.int32(synapses[at + active[a]] << 7)
        for k in range(first, last):
            if terms[k, 1] == Y0:
                _add_columns(
                    terms, k, factors, i, own, inputs * outputs, given[k - first], lent[k - first], active, places,
                    moment, synapses, total[terms[k, 0]],
                )  # fmt: skip
        clear(differs)
        for v in range(3):
            if ranges[v, 0] == 1:
                at = own + v * inputs * outputs
                for a in range(len(active)):
                    row[a] = synapses[at + active[a]]
                _round_row(row, total[v], ranges[v, 1], ranges[v, 2], ranges[v, 3], above, differs)
                for a in range(len(active)):
                    synapses[at + active[a]] = row[a]
        for a in range(len(active)):
            changed[active[a]] += differs[a]


def _learn_integer(n: int, s: Plastic, work: Array) -> None:
    """End an epoch of projection n in Loihi's integers."""
    end_traces(n, s, work)
    s.epochs[n] += 1
    everywhere, by_x, columns, moments = _due(n, s, work)
    if columns > 0:
        _prepare(n, s, columns, moments)
    # random < fraction / 128 as a comparison of whole numbers
    above = np.int64(np.floor(s.rounding[n, 2, s.epochs[n]] * 128)) + 1
    if everywhere or by_x:
        _change_rows(n, s, everywhere, columns, above)
    if columns > 0 and not everywhere:
        _change_columns(n, s, by_x, columns, above)
    _ended(n, s, work)


def _learn_float(n: int, s: Plastic, work: Array) -> None:
    """End an epoch of projection n in floats."""
    p, ranges = s.table[n], s.ranges[n]
    inputs, outputs = p[INPUTS], p[OUTPUTS]
    end_traces(n, s, work)
    s.epochs[n] += 1
    everywhere, by_x, columns, _ = _due(n, s, work)
    for i in range(inputs):
        whole = everywhere or (by_x and s.tx[p[TX] + i] > 0)
        for a in range(outputs if whole else columns):
            j = a if whole else s.active[a]
            at, differs = p[SYNAPSES] + i * outputs + j, 0
            w, d, t = _change_float(n, s, i, j)
            for v in range(3):
                change = w if v == 0 else d if v == 1 else t
                if ranges[v, 0] == 1:
                    place = at + v * inputs * outputs
                    value = s.synapses[place] + change
                    value = max(value, 0.0) if ranges[v, 3] > 0 else min(value, 0.0) if ranges[v, 3] < 0 else value
                    s.product[v] = value
                    differs |= 1 if value != s.synapses[place] else 0
            for v in range(3):
                if ranges[v, 0] == 1:
                    s.synapses[at + v * inputs * outputs] = s.product[v]
            s.changed[j] += differs
    _ended(n, s, work)


@compiled
def _change_float(n: int, s: Plastic, i: int, j: int) -> Any:
    """Changes of w, d and t of the synapse from i to j."""
    p, epoch = s.table[n], s.epochs[n]
    inputs, outputs = p[INPUTS], p[OUTPUTS]
    w, d, t = 0.0, 0.0, 0.0
    for k in range(p[FIRST_TERM], p[LAST_TERM]):
        term = s.terms[k]
        at = s.tx[p[TX] + i] if term[1] == X0 else s.ty[p[TY] + j] if term[1] == Y0 else p[EPOCH]
        if at == 0 or (term[1] == U and epoch % (1 << term[7]) != 0):
            continue
        product = 1.0
        for f in range(term[5], term[5] + term[6]):
            code = s.factors[f, 0]
            if code < 2:
                value = s.past_x[p[PAST_X] + (2 * at + code) * inputs + i]
            elif code < 5:
                value = s.past_y[p[PAST_Y] + (3 * at + code - 2) * outputs + j]
            elif code < 8:
                value = s.synapses[p[SYNAPSES] + ((code - 5) * inputs + i) * outputs + j]
            else:
                value = np.float64(s.fired[i] if code == 8 else s.spiked[j])
            value += s.factors[f, 1]
            product *= np.sign(value) if s.factors[f, 2] == 1 else value
        change = term[2] * 2.0 ** term[3] * product
        if term[0] == 0:
            w += change
        elif term[0] == 1:
            d += change
        else:
            t += change
    return w, d, t
