"""The tables of `neurodeploy.hwsim.event_learning.kernels`: their columns, and the arrays that do and do not change.

Every projection is a list of *taps*: a source leads to runs of ``WIDTH`` targets that lie side by side, by as many
weights that do. Neurons are numbered by position and then channel where a convolution reaches or leaves their
population, else in their own order, as one position. With the source at position p and channel c, of C, tap q in
``first[p] : first[p + 1]`` leads to the targets ``at[q] + group`` and what follows, by the weights ``(c K + kernel[q])
WIDTH`` and what follows, K the taps' number of different kernel elements, and group the first channel of the targets'
group of channels.
"""

from __future__ import annotations

from typing import NamedTuple

from neurodeploy.network.arrays import Array

C_IN, WIDTH, GROUP, KERNEL, WEIGHTS, TAPS, SOURCE, TARGET, DELAY, LEARNS, SENDS_BACK = range(11)
"""Columns of a projection's row: channels of the source (one for listed synapses); targets of a tap; channels of the
source in a group; kernel elements; where its weights and its taps begin; rows of its populations; steps of delay;
whether it learns; whether errors go on to its source."""
PROJECTION = 11

AT, SIZE, CHANNELS, PLACES, FIRST, LAST, KIND, KEEPS, GATED, READ, LATE, FILTERED, TIMES = range(13)
"""Columns of a population's row: its first neuron; how many; channels; where its positions begin; its first projection
and behind its last; its kind; whether a spike leaves the errors of later ones to what came before it (1), or cuts them
off (0); whether what arrives in the step behind a spike is lost; where the errors of its potential stand, -1 for none;
whether a potential is read before its reset; whether its currents decay beside its potentials, or
it is told so; whether its sources want the errors of the times of spikes."""
POPULATION = 13

LEAKY, TIMED, SHARED, SILENT = range(4)
"""Kinds: the neurons of MPD-ED, those of STD-ED, thresholds that any one spike crosses (the maximum of spikes: an error
goes to the spikes that arrived by their shares of the potential), and read-outs."""


class Net(NamedTuple):
    """What does not change.

    Args:
        projections, populations: ``[rows, columns]``; in the order in which a step is computed, projections in that of
            their targets.
        keep: of each neuron what a step leaves of v and of u, ``[neurons, 2]``.
        tap_first, tap_at, tap_place, tap_kernel: see the module's docstring; the place is the target's position.
        kappa: ``kappa(T - t) / T`` of a chain's read-out, ``[steps]``; of other networks its length alone matters.
        above: what an error of that read-out is multiplied with for a spike in step t, ``[steps]``.
        gain: what the slope of a spike is multiplied with, ``[neurons]``: units of potentials in a threshold.
        core: of each neuron; -1 for the host.
        distance: hops east-west and north-south between cores, and 1 within a tile, ``[cores, cores, 3]``; empty where
            nothing is placed.
        readers: the cores that hold a chain's read-out.
    """

    projections: Array
    populations: Array
    keep: Array
    tap_first: Array
    tap_at: Array
    tap_place: Array
    tap_kernel: Array
    kappa: Array
    above: Array
    gain: Array
    core: Array
    distance: Array
    readers: Array


class Spikes(NamedTuple):
    """The events of one sample, all populations in one pool.

    Args:
        base: where each population's begin in the pool, ``[populations + 1]``.
        first: of each step from there, ``[populations, steps + 1]``.
        neuron, value, carried, error: of each event; the value is u (leaky) or c (timed) when it fired, what it carries
            (1 for a plain spike), and the error ``dL/ds`` or ``dL/dt``.
    """

    base: Array
    first: Array
    neuron: Array
    value: Array
    carried: Array
    error: Array


class Work(NamedTuple):
    """Scratch, for all neurons, all positions, the last layer's neurons, and the cores.

    Args:
        u, c, error, inward, v: ``[neurons]``; going back, `c` is the error handed down, `inward` that of weights, `v`
            that of the potential where it differs, and `u` that of weights in the step behind.
        last, woken: ``[positions]``.
        fired, trace, projected: ``[neurons of the last layer]``.
        seen: ``[cores]``.
    """

    u: Array
    c: Array
    error: Array
    inward: Array
    v: Array
    last: Array
    woken: Array
    fired: Array
    trace: Array
    projected: Array
    seen: Array


class State(NamedTuple):
    """All that a run changes, and so all that a checkpoint keeps.

    Args:
        weights: of all projections, one after the other.
        readout: ``[neurons, classes]`` of a chain.
        threshold: ``[neurons]``, sources included.
        gradient, readout_gradient: summed since the last change of weights.
        listed, rows: weight rows with a gradient; see `neurodeploy.hwsim.event_learning.kernels.backward`.
        events: each neuron's spikes since the last look at its threshold, ``[neurons]``.
        counter: rows listed, samples since the last change, samples since the last look, changes.
    """

    weights: Array
    readout: Array
    threshold: Array
    gradient: Array
    readout_gradient: Array
    listed: Array
    rows: Array
    events: Array
    counter: Array


ROWS, PENDING, WATCHED, CHANGES = range(4)


class Constants(NamedTuple):
    """The rules, as the kernels take them; see `neurodeploy.network.event_rule.EventRule`.

    Args:
        clocked: 1 for the surrogate gradient.
        rate, width, slope: of each projection, and of a chain's read-out at the end, ``[projections + 1]``.
        grid: step of each weight, and of the read-out's at the end, ``[weights + 1]``, 0 for none; or of none,
            ``[0]``.
        limits: lowest and highest weight of each projection in steps of the grid, ``[projections + 1, 2]``.
        window: samples between two looks at the thresholds; 0 for fixed ones.
        each: 1 where every neuron has a threshold of its own.
        start: the thresholds' start, ``[neurons]``.
        moves: whether a population's thresholds adapt, ``[populations]``.
    """

    clocked: int
    rate: Array
    width: Array
    slope: Array
    batch: int
    skip: float
    grid: Array
    limits: Array
    seed: int
    window: int
    target: float
    lowest: float
    down: float
    up: float
    each: int
    start: Array
    moves: Array
