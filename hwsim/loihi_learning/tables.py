"""The tables and the state of plastic projections as the compiled loop takes them; all parts of flat arrays.

`neurodeploy.hwsim.loihi_learning.rules` fills them, `learning_kernels`, `learning_traces` and `learning_products` work
on them.
"""

from __future__ import annotations

from typing import NamedTuple

from neurodeploy.network.arrays import Array
from neurodeploy.program.recording import LEARNING_WORK

X0, Y0, U = 0, 1, 2

# Columns of the table of plastic projections; the last ones say where its part of a pool begins.
FROM, TO, DELAY, LEAD, EPOCH, FACTORS, EXPONENT, INPUTS, OUTPUTS, FIRST_TERM, LAST_TERM, GRADED, TEACHER = range(13)
SYNAPSES, X, Y, TX, TY, PAST_X, PAST_Y, SLOT, SLOTS, WORK, KEPT = range(13, 24)
FIELDS = 24

VISITED, CHANGED, PRODUCTS, X_IMPULSES, X_DECAYS, Y_IMPULSES, Y_DECAYS = range(7)
"""Kinds of work, as `neurodeploy.program.recording.LEARNING_WORK` names them."""
WORK_KINDS = len(LEARNING_WORK)


class Plastic(NamedTuple):
    """Tables and state of all plastic projections for a block of samples; see
    `neurodeploy.hwsim.loihi_learning.rules.Rules`.

    Args:
        table: ``[projections, FIELDS]``.
        first: plastic projections into population n are ``first[n] : first[n + 1]``.
        terms, factors: of all rules: ``[terms, 8]`` (target, dependency, mantissa, exponent or right shift, left shift,
            first factor, factors, decimation) and ``[factors, 4]`` (code, constant, whether its sign is meant, width).
        settings: of x1, x2, y1, y2, y3, ``[projections, 5, 4]``: whole and 256ths of the impulse, the impulse itself,
            what a step leaves.
        ranges: of w, d and t, ``[projections, 3, 4]``: whether the rule changes it, low, high, sign that it keeps.
        rounding: random numbers of the decay of x and y (two in each step) and of the synapse (one an epoch),
            ``[projections, 3, draws]``.
        kicks: random numbers of the impulses of x and y, ``[projections, 2, draws]``.
        initial, synapses: w, d, t of each projection before the first step, and now.
        slot: core slot of each target.
        step, epochs: reached by each projection.
        x, y, tx, ty: traces, and last spike times in the epoch, 0 for none.
        past_x, past_y: traces after each step of an epoch; entry 0 is before it.
        sums, product, differs, own: scratch, by target; total: the accumulators of w, d and t, ``[3, targets]``.
        spiked, fired, changed, decays: scratch, by target or source: whether it spiked; synapses that changed, and
            traces that decayed.
        places: 0, 1, 2 and so on.
        active, moment, times: scratch: targets that spiked, which of the different spike times is theirs, and those.
        given, lent, some: scratch: what active targets give to each product with y0, ``[terms, targets]``, what sources
            lend to it at each of the times, ``[terms, times, sources]``, and the sources for which it matters.
        teachers: population, first neuron in `told`, neurons, ``[teachers, 3]``.
        teaching: what a step leaves of y1 and y3, and the impulse, ``[teachers, 3]``.
        taught: teacher of each population, -1 for none.
        told: what the targets sent in the last steps, a ring ``[steps, y1/y2/y3, neurons]``.
        work: ``[steps, samples, work columns]``; a projection's are ``[kinds, cores]``.
        kept: what is recorded, ``[1 or steps, samples, columns]``.
    """

    table: Array
    first: Array
    terms: Array
    factors: Array
    settings: Array
    ranges: Array
    rounding: Array
    kicks: Array
    initial: Array
    synapses: Array
    slot: Array
    step: Array
    epochs: Array
    x: Array
    y: Array
    tx: Array
    ty: Array
    past_x: Array
    past_y: Array
    sums: Array
    product: Array
    differs: Array
    own: Array
    total: Array
    spiked: Array
    fired: Array
    changed: Array
    decays: Array
    active: Array
    places: Array
    moment: Array
    times: Array
    given: Array
    lent: Array
    some: Array
    teachers: Array
    teaching: Array
    taught: Array
    told: Array
    work: Array
    kept: Array
