"""The kernels of counting: sums over events and messages, compiled by numba; see `neurodeploy.hwsim.counts.counts`."""

from __future__ import annotations

import numpy as np

from neurodeploy.network.arrays import Array

from ..compiling.intrinsics import prefetch
from ..function.neuron_kernels import AHEAD, compiled


@compiled
def sum_hops(first: Array, slot: Array, row: Array, apart: Array, hops: Array) -> None:
    """Fill `Routes.hops`."""
    for i in range(len(hops)):
        for k in range(first[i], first[i + 1]):
            for c in range(4):
                hops[i, c] += apart[row[i], slot[k], c]


@compiled
def sum_links(
    first: Array, slot: Array, row: Array, slots: int, path_first: Array, path: Array, links: int
) -> tuple[Array, Array, Array]:
    """How many messages of each neuron's spike take which link: (first, link, messages)."""
    neurons = len(row)
    starts = np.zeros(neurons + 1, np.int64)
    taken = np.zeros(links, np.int32)
    found, times = np.zeros(0, np.int32), np.zeros(0, np.int32)
    for writing in range(2):
        at = 0
        for i in range(neurons):
            begin = at
            for k in range(first[i], first[i + 1]):
                pair = np.int64(row[i]) * slots + slot[k]
                for p in range(path_first[pair], path_first[pair + 1]):
                    if taken[path[p]] == 0:
                        if writing == 1:
                            found[at] = path[p]
                        at += 1
                    taken[path[p]] += 1
            if writing == 1:
                for e in range(begin, at):
                    times[e] = taken[found[e]]
            for k in range(first[i], first[i + 1]):
                pair = np.int64(row[i]) * slots + slot[k]
                for p in range(path_first[pair], path_first[pair + 1]):
                    taken[path[p]] = 0
            starts[i + 1] = at
        if writing == 0:
            found, times = np.zeros(at, np.int32), np.zeros(at, np.int32)
    return starts, found, times


@compiled
def count_sent(time: Array, sample: Array, neuron: Array, lag: int, row: Array, outgoing: Array, column: int) -> None:
    """Count events at the cores that send them."""
    for e in range(len(time)):
        outgoing[time[e] + lag, sample[e], row[neuron[e]], column] += 1


@compiled
def count_routes(
    time: Array, sample: Array, neuron: Array, first: Array, slot: Array, synapses: Array, nonzero: Array, words: Array,
    hops: Array, row: Array, lag: int, here: Array, sums: Array, outgoing: Array, column: int,
) -> None:  # fmt: skip
    """Count what a projection's events cause.

    Args:
        here: two counts in each number, the first shifted by 32 bits: synapses and words, messages and non-zero
            synapses, ``[steps, samples, core slots, 2]``.
        sums: `Routes.hops` of all events, ``[steps, samples, 4]``.
        outgoing: messages sent, in ``column``; ``row`` is empty for an input of the host.
    """
    some_zero = len(nonzero) > 0
    for e in range(len(time)):
        t, b, i = time[e], sample[e], neuron[e]
        cell = here[t, b]
        if e + AHEAD < len(time):
            ahead = neuron[e + AHEAD]
            prefetch(slot, first[ahead])
            prefetch(synapses, first[ahead])
            prefetch(words, first[ahead])
            prefetch(hops, 4 * ahead)
        if len(row) > 0:
            outgoing[t + lag, b, row[i], column] += first[i + 1] - first[i]
            for c in range(4):
                sums[t, b, c] += hops[i, c]
        for k in range(first[i], first[i + 1]):
            to, n = slot[k], np.int64(synapses[k])
            cell[to, 0] += (n << 32) + np.int64(words[k])
            cell[to, 1] += (1 << 32) + (np.int64(nonzero[k]) if some_zero else n)


@compiled
def count_links(
    time: Array, sample: Array, neuron: Array, lag: int, first: Array, link: Array, times: Array, links: Array
) -> None:
    """Count messages over links, ``[chip steps, samples, links]``."""
    for e in range(len(time)):
        at = links[time[e] + lag, sample[e]]
        for k in range(first[neuron[e]], first[neuron[e] + 1]):
            at[link[k]] += times[k]
