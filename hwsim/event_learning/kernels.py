"""The kernels of learning on events: one sample forwards, backwards over its events alone, and the change of weights.

A layer's synapses are those of a convolution; a dense layer is one over an image of one pixel. Neurons are numbered by
position and then channel, so that the targets of one source at one position lie side by side: ``position * channels +
channel``. The weights of source channel c at kernel element k are one row, ``weights[first + (c * kernel + k) *
channels_out :][: channels_out]``. The symbols are those of `neurodeploy.network.event_rules`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neurodeploy.network.arrays import Array
from neurodeploy.program.count_kinds import counted

from ..function.neuron_kernels import compiled

C_IN, C_OUT, POSITIONS, KERNEL, WEIGHTS, IN, OUT, PLACES, TAPS, SOURCES = range(10)
"""Columns of a layer's row: channels in and out, output positions, kernel elements; where its weights, sources,
targets, output positions and taps begin; input positions."""

LEAKY, TIMED = 0, 1
"""The neurons of MPD-ED (and of the surrogate gradient), and of STD-ED."""

KINDS = counted("events")
"""What is counted; see `neurodeploy.hwsim.prices.learning_bill`. The columns are part of compiled kernels and of
checkpoints, so they stay where they are."""
(
    EVENTS_IN, SOPS, NEURON_UPDATES, EVENTS_OUT, MESSAGES, _HOPS_EW, _HOPS_NS, _WITHIN,
    ERROR_MACS, SURROGATES, RECURSIONS, GRADIENT_MACS, GRADIENT_ADDS, TRACE_UPDATES, WEIGHT_READS,
    WEIGHT_WRITES, THRESHOLD_UPDATES, ERROR_MESSAGES, _ERROR_EW, _ERROR_NS,
    _ERROR_WITHIN, STORED_WORDS, LEARNED, SKIPPED,
) = range(len(KINDS))  # fmt: skip


class Net(NamedTuple):
    """What does not change.

    Args:
        table: ``[layers, columns]``; see `C_IN` and what follows it.
        keep: lambda or a of each layer.
        tap_first, tap_out, tap_kernel: synapses of a source at position p lead to the output positions
            ``tap_out[q]`` by the kernel elements ``tap_kernel[q]``, for q in ``tap_first[p] : tap_first[p + 1]``.
        kappa: ``kappa(T - t) / T`` of the read-out, ``[steps]``.
        above: what an error of the read-out is multiplied with for a spike in step t, ``[steps]``.
        core: of each neuron; -1 for the host.
        distance: hops east-west and north-south between cores, and 1 within a tile, ``[cores, cores, 3]``; empty where
            nothing is placed.
        readers: the cores that hold the read-out.
    """

    table: Array
    keep: Array
    tap_first: Array
    tap_out: Array
    tap_kernel: Array
    kappa: Array
    above: Array
    core: Array
    distance: Array
    readers: Array


class Spikes(NamedTuple):
    """The events of one sample, all populations in one pool.

    Args:
        base: where each population's begin in the pool, ``[populations + 1]``.
        first: of each step from there, ``[populations, steps + 1]``.
        neuron, value, error: of each event; the value is u (leaky) or c (timed) when it fired, the error ``dL/ds`` or
            ``dL/dt``.
    """

    base: Array
    first: Array
    neuron: Array
    value: Array
    error: Array


class Work(NamedTuple):
    """Scratch: see `work`."""

    u: Array
    c: Array
    error: Array
    inward: Array
    last: Array
    woken: Array
    fired: Array
    trace: Array
    projected: Array
    seen: Array


@compiled
def forward(
    mode: int, net: Net, spikes: Spikes, work: Work, weights: Array, readout: Array, threshold: Array, output: Array,
    counts: Array,
) -> None:  # fmt: skip
    """Run one sample; its input events stand in place already. Fills the events and ``output`` ``[classes]``.

    Only neurons at which something arrives are updated (leaky), or those at which anything has arrived (timed).
    """
    u, c, last, woken = work.u, work.c, work.last, work.woken
    layers, steps = len(net.table), len(net.kappa)
    u[:] = 0.0
    c[:] = 0.0
    last[:] = -1
    output[:] = 0.0
    awake = np.zeros(layers, np.int64)
    for t in range(steps):
        for n in range(layers):
            row = net.table[n]
            channels, a, targets, places = row[C_OUT], net.keep[n], row[OUT], row[PLACES]
            waiting = awake[n] if mode == TIMED else 0
            for k in range(waiting):
                at = targets + woken[places + k] * channels
                for o in range(channels):
                    c[at + o] *= a
            base, events = spikes.base[n], spikes.first[n]
            for e in range(base + events[t], base + events[t + 1]):
                i = spikes.neuron[e]
                p = i // row[C_IN]
                weight = row[WEIGHTS] + (i - p * row[C_IN]) * row[KERNEL] * channels
                begin, end = net.tap_first[row[TAPS] + p], net.tap_first[row[TAPS] + p + 1]
                counts[n, SOPS] += (end - begin) * channels
                for q in range(begin, end):
                    place = net.tap_out[q]
                    at, w = targets + place * channels, weight + net.tap_kernel[q] * channels
                    before = last[places + place]
                    if mode == TIMED:
                        if before < 0:
                            last[places + place] = t
                            woken[places + waiting] = place
                            waiting += 1
                        for o in range(channels):
                            c[at + o] += weights[w + o]
                    else:
                        if before != t:
                            left = a ** (t - before) if before >= 0 else 0.0
                            for o in range(channels):
                                u[at + o] *= left
                            last[places + place] = t
                            woken[places + waiting] = place
                            waiting += 1
                        for o in range(channels):
                            u[at + o] += weights[w + o]
                if len(net.distance) > 0:
                    _send(n, net, work, i, begin, end, counts)
            counts[n, EVENTS_IN] += events[t + 1] - events[t]
            counts[n, NEURON_UPDATES] += waiting * channels
            awake[n] = waiting
            base, count = spikes.base[n + 1], spikes.first[n + 1, t]
            for k in range(waiting):
                local = woken[places + k] * channels
                for o in range(local, local + channels):
                    at = targets + o
                    if mode == TIMED:
                        u[at] += c[at]
                    if u[at] > threshold[n]:
                        spikes.neuron[base + count] = o
                        spikes.value[base + count] = c[at] if mode == TIMED else u[at]
                        count += 1
                        u[at] = 0.0
                        c[at] = 0.0
            counts[n, EVENTS_OUT] += count - spikes.first[n + 1, t]
            spikes.first[n + 1, t + 1] = count
    read(net, spikes, readout, output, counts)


@compiled
def read(net: Net, spikes: Spikes, readout: Array, output: Array, counts: Array) -> None:
    """The read-out: ``o = sum_t kappa(T - t) / T W s[t]``."""
    layers, steps = len(net.table), len(net.kappa)
    base = spikes.base[layers]
    for t in range(steps):
        for e in range(base + spikes.first[layers, t], base + spikes.first[layers, t + 1]):
            for m in range(len(output)):
                output[m] += net.kappa[t] * readout[spikes.neuron[e], m]
            for to in net.readers:
                _message(net, layers, net.core[net.table[layers - 1, OUT] + spikes.neuron[e]], to, MESSAGES, counts)
    sent = spikes.first[layers, steps]
    counts[layers, EVENTS_IN] += sent
    counts[layers, SOPS] += sent * len(output)
    counts[layers, NEURON_UPDATES] += steps * len(output)


@compiled
def _message(net: Net, n: int, home: int, to: int, column: int, counts: Array) -> None:
    """Count one message, and its hops in the three columns that follow."""
    counts[n, column] += 1
    for k in range(3):
        counts[n, column + 1 + k] += net.distance[home, to, k]


@compiled
def _send(n: int, net: Net, work: Work, i: int, begin: int, end: int, counts: Array) -> None:
    """Count one message of source i to each core that holds one of its targets, and their hops."""
    row, seen = net.table[n], work.seen
    home = net.core[row[IN] + i]
    if home < 0:
        return
    seen[:] = 0
    for q in range(begin, end):
        for o in range(row[C_OUT]):
            to = net.core[row[OUT] + net.tap_out[q] * row[C_OUT] + o]
            if seen[to] == 0:
                seen[to] = 1
                _message(net, n, home, to, MESSAGES, counts)


@compiled
def softmax(output: Array, label: int, delta: Array) -> float:
    """Fill ``delta = softmax(output) - onehot(label)`` and return the probability of the label."""
    highest, total = output.max(), 0.0
    for m in range(len(output)):
        delta[m] = np.exp(output[m] - highest)
        total += delta[m]
    for m in range(len(output)):
        delta[m] /= total
    right = float(delta[label])
    delta[label] -= 1.0
    return right


@compiled
def top_errors(
    net: Net, spikes: Spikes, work: Work, readout: Array, delta: Array, gradient: Array, counts: Array
) -> None:
    """The read-out's gradient, and the error of each event of the last layer.

    The error is projected back once for each neuron that fired: for its events it differs by ``above[t]`` alone.
    """
    layers, steps, classes = len(net.table), len(net.kappa), len(delta)
    base, fired = spikes.base[layers], 0
    trace, projected = work.trace, work.projected
    trace[:] = 0.0
    for t in range(steps):
        for e in range(base + spikes.first[layers, t], base + spikes.first[layers, t + 1]):
            j = spikes.neuron[e]
            if trace[j] == 0.0:
                work.fired[fired] = j
                fired += 1
                error = 0.0
                for m in range(classes):
                    error += readout[j, m] * delta[m]
                projected[j] = error
            trace[j] += net.kappa[t]
            spikes.error[e] = projected[j] * net.above[t]
    for k in range(fired):
        j = work.fired[k]
        for m in range(classes):
            gradient[j, m] += delta[m] * trace[j]
    counts[layers, ERROR_MACS] += fired * classes
    counts[layers, WEIGHT_READS] += fired * classes
    counts[layers, TRACE_UPDATES] += spikes.first[layers, steps]
    counts[layers, GRADIENT_MACS] += fired * classes
    for k in range(fired):
        for reader in net.readers:
            home = net.core[net.table[layers - 1, OUT] + work.fired[k]]
            _message(net, layers, reader, home, ERROR_MESSAGES, counts)


@compiled
def backward(
    mode: int, n: int, net: Net, spikes: Spikes, work: Work, weights: Array, threshold: float, width: float,
    slope: float, gradient: Array, listed: Array, rows: Array, row_count: int, counts: Array,
) -> int:  # fmt: skip
    """Layer n, back in time: its gradient, and the errors of the events that it received (unless they are inputs).

    At each step back every target carries the error of its next spike: e itself, what an input spike at this step adds
    to its weight (``inward``: e K), and what its weight hands down (``downward``).

    Args:
        listed, rows, row_count: the weight rows whose gradient may not be 0: whether each is, and where they begin
            and their layer.

    Returns:
        Rows listed now.
    """
    row, keep = net.table[n], net.keep[n]
    channels, targets, places = row[C_OUT], row[OUT], row[PLACES]
    error, inward, downward, alive, woken = work.error, work.inward, work.c, work.last, work.woken
    reached = 0
    alive[places : places + row[POSITIONS]] = -1
    for t in range(len(net.kappa) - 1, -1, -1):
        for k in range(reached):
            at = targets + woken[places + k] * channels
            for o in range(at, at + channels):
                downward[o] *= keep
                inward[o] = (error[o] + keep * downward[o]) / (1.0 - keep) if mode == TIMED else downward[o]
        base = spikes.base[n + 1]
        for e in range(base + spikes.first[n + 1, t], base + spikes.first[n + 1, t + 1]):
            j, value = spikes.neuron[e], spikes.value[e]
            p, at = j // channels, targets + j
            if alive[places + p] < 0:
                alive[places + p] = 0
                woken[places + reached] = p
                reached += 1
                for o in range(targets + p * channels, targets + (p + 1) * channels):
                    error[o] = inward[o] = downward[o] = 0.0
            if mode == TIMED:
                here = -spikes.error[e] / max(value, slope * threshold)
            else:
                here = spikes.error[e] * max(0.0, width - abs(value / threshold - 1.0)) / (width * width)
            alive[places + p] += (here != 0.0) - (error[at] != 0.0)
            error[at] = inward[at] = here
            downward[at] = -here if mode == TIMED else here
            counts[n, SURROGATES] += 1
        base = spikes.base[n]
        for e in range(base + spikes.first[n, t], base + spikes.first[n, t + 1]):
            i = spikes.neuron[e]
            p = i // row[C_IN]
            weight = row[WEIGHTS] + (i - p * row[C_IN]) * row[KERNEL] * channels
            begin, end = net.tap_first[row[TAPS] + p], net.tap_first[row[TAPS] + p + 1]
            pairs, down = 0, 0.0
            for q in range(begin, end):
                place = net.tap_out[q]
                if alive[places + place] <= 0:
                    continue
                pairs += alive[places + place]
                at, w = targets + place * channels, weight + net.tap_kernel[q] * channels
                if listed[w] == 0:
                    listed[w] = 1
                    rows[row_count, 0], rows[row_count, 1] = w, n
                    row_count += 1
                for o in range(channels):
                    gradient[w + o] += inward[at + o]
                if n > 0:
                    for o in range(channels):
                        down += weights[w + o] * downward[at + o]
            counts[n, GRADIENT_MACS] += pairs
            if n > 0:
                spikes.error[e] = down
                counts[n, ERROR_MACS] += pairs
                counts[n, WEIGHT_READS] += pairs
                if pairs > 0 and len(net.distance) > 0:
                    _send_error(n, net, work, i, begin, end, counts)
    return row_count


@compiled
def _send_error(n: int, net: Net, work: Work, i: int, begin: int, end: int, counts: Array) -> None:
    """Count one message from each core that adds to the error of source i, and its hops."""
    row, seen = net.table[n], work.seen
    home = net.core[row[IN] + i]
    seen[:] = 0
    for q in range(begin, end):
        for o in range(row[C_OUT]):
            at = row[OUT] + net.tap_out[q] * row[C_OUT] + o
            if work.error[at] != 0.0 and seen[net.core[at]] == 0:
                seen[net.core[at]] = 1
                _message(net, n, net.core[at], home, ERROR_MESSAGES, counts)


@compiled
def uniform(seed: int, update: int, index: int) -> float:
    """A number in [0, 1) that depends on its arguments alone (splitmix64, Steele et al., OOPSLA 2014)."""
    z = np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(update) * np.uint64(0xBF58476D1CE4E5B9)
    z += np.uint64(index) * np.uint64(0x94D049BB133111EB)
    for _ in range(2):
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return float(z >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@compiled
def moved(weight: float, change: float, grid: float, limit: float, seed: int, update: int, index: int) -> float:
    """A weight after a change: as it is, or on a grid (> 0), rounded stochastically and held within ``limit`` steps."""
    if grid == 0.0:
        return weight + change
    steps = (weight + change) / grid
    whole = np.floor(steps)
    if uniform(seed, update, index) < steps - whole:
        whole += 1.0
    return float(min(max(whole, -limit), limit) * grid)


@compiled
def apply(
    weights: Array, gradient: Array, begin: int, end: int, rate: float, grid: float, limit: float, seed: int,
    update: int, counts: Array,
) -> None:  # fmt: skip
    """Change some weights along their gradients, and clear these; counts what is read and written (one layer's row)."""
    for o in range(begin, end):
        if gradient[o] != 0.0:
            before = weights[o]
            weights[o] = moved(before, -rate * gradient[o], grid, limit, seed, update, o)
            gradient[o] = 0.0
            counts[WEIGHT_READS] += 1
            if weights[o] != before:
                counts[WEIGHT_WRITES] += 1
