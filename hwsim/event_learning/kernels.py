"""The kernels of learning on events: one sample forwards, backwards over its events alone, and the change of weights.

The symbols are those of `neurodeploy.network.event_rules`, the tables those of
`neurodeploy.hwsim.event_learning.layout`.
`forward` runs chains of layers in floats; the spikes of other networks are those of `neurodeploy.hwsim.engine`.
"""

from __future__ import annotations

import numpy as np

from neurodeploy.network.arrays import Array
from neurodeploy.program.count_kinds import counted

from ..function.neuron_kernels import compiled
from .layout import (
    AT,
    C_IN,
    CHANNELS,
    DELAY,
    FILTERED,
    FIRST,
    GATED,
    GROUP,
    KEEPS,
    KERNEL,
    KIND,
    LAST,
    LATE,
    LEARNS,
    PLACES,
    READ,
    SENDS_BACK,
    SHARED,
    SILENT,
    SIZE,
    SOURCE,
    TAPS,
    TARGET,
    TIMED,
    TIMES,
    WEIGHTS,
    WIDTH,
    Net,
    Spikes,
    Work,
)

KINDS = counted("events")
"""What is counted; see `neurodeploy.hwsim.prices.learning_bill`. The columns are part of compiled kernels and of
checkpoints, so they stay where they are."""
(
    EVENTS_IN, SOPS, NEURON_UPDATES, EVENTS_OUT, MESSAGES, _HOPS_EW, _HOPS_NS, _WITHIN,
    ERROR_MACS, SURROGATES, RECURSIONS, GRADIENT_MACS, GRADIENT_ADDS, TRACE_UPDATES, WEIGHT_READS,
    WEIGHT_WRITES, THRESHOLD_UPDATES, ERROR_MESSAGES, _ERROR_EW, _ERROR_NS,
    _ERROR_WITHIN, STORED_WORDS, LEARNED, SKIPPED,
) = range(len(KINDS))  # fmt: skip


@compiled
def forward(
    net: Net, spikes: Spikes, work: Work, weights: Array, readout: Array, threshold: Array, output: Array,
    counts: Array,
) -> None:  # fmt: skip
    """Run one sample of a chain, whose input events stand in place. Fills the events and ``output`` ``[classes]``.

    Only neurons at which something arrives are updated (leaky), or those at which anything has arrived (timed).
    """
    u, c, last, woken = work.u, work.c, work.last, work.woken
    layers, steps = len(net.projections), len(net.kappa)
    u[:] = 0.0
    c[:] = 0.0
    last[:] = -1
    output[:] = 0.0
    awake = np.zeros(layers, np.int64)
    for t in range(steps):
        for n in range(layers):
            row, own = net.projections[n], net.populations[n + 1]
            timed = own[KIND] == TIMED
            channels, a = own[CHANNELS], net.keep[own[AT], 1 if timed else 0]
            targets, places = own[AT], own[PLACES]
            waiting = awake[n] if timed else 0
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
                    place = net.tap_place[q]
                    at, w = targets + place * channels, weight + net.tap_kernel[q] * channels
                    before = last[places + place]
                    if timed:
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
                    send(row, net, work, i, counts[n])
            counts[n, EVENTS_IN] += events[t + 1] - events[t]
            counts[n, NEURON_UPDATES] += waiting * channels
            awake[n] = waiting
            base, count = spikes.base[n + 1], spikes.first[n + 1, t]
            for k in range(waiting):
                local = woken[places + k] * channels
                for o in range(local, local + channels):
                    at = targets + o
                    if timed:
                        u[at] += c[at]
                    if u[at] > threshold[at]:
                        spikes.neuron[base + count] = o
                        spikes.value[base + count] = c[at] if timed else u[at]
                        count += 1
                        u[at] = 0.0
                        c[at] = 0.0
            counts[n, EVENTS_OUT] += count - spikes.first[n + 1, t]
            spikes.first[n + 1, t + 1] = count
    read(net, spikes, readout, output, counts)


@compiled
def read(net: Net, spikes: Spikes, readout: Array, output: Array, counts: Array) -> None:
    """The read-out: ``o = sum_t kappa(T - t) / T W s[t]``."""
    layers, steps = len(net.projections), len(net.kappa)
    base, home = spikes.base[layers], net.populations[layers, AT]
    for t in range(steps):
        for e in range(base + spikes.first[layers, t], base + spikes.first[layers, t + 1]):
            for m in range(len(output)):
                output[m] += net.kappa[t] * readout[spikes.neuron[e], m]
            for to in net.readers:
                _message(net, net.core[home + spikes.neuron[e]], to, MESSAGES, counts[layers])
    sent = spikes.first[layers, steps]
    counts[layers, EVENTS_IN] += sent
    counts[layers, SOPS] += sent * len(output)
    counts[layers, NEURON_UPDATES] += steps * len(output)


@compiled
def _message(net: Net, home: int, to: int, column: int, counts: Array) -> None:
    """Count one message, and its hops in the three columns that follow."""
    counts[column] += 1
    for k in range(3):
        counts[column + 1 + k] += net.distance[home, to, k]


@compiled
def send(row: Array, net: Net, work: Work, i: int, counts: Array) -> None:
    """Count one message of source i to each core that holds one of its targets, and their hops."""
    seen = work.seen
    home, targets = net.core[net.populations[row[SOURCE], AT] + i], net.populations[row[TARGET], AT]
    if home < 0:
        return
    seen[:] = 0
    p = i // row[C_IN]
    group = (i - p * row[C_IN]) // row[GROUP] * row[WIDTH]
    for q in range(net.tap_first[row[TAPS] + p], net.tap_first[row[TAPS] + p + 1]):
        for o in range(row[WIDTH]):
            to = net.core[targets + net.tap_at[q] + group + o]
            if seen[to] == 0:
                seen[to] = 1
                _message(net, home, to, MESSAGES, counts)


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
    layers, steps, classes = len(net.projections), len(net.kappa), len(delta)
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
            home = net.core[net.populations[layers, AT] + work.fired[k]]
            _message(net, reader, home, ERROR_MESSAGES, counts[layers])


@compiled
def backward(
    k: int, net: Net, spikes: Spikes, work: Work, weights: Array, threshold: Array, width: float, slope: float,
    reads: Array, gradient: Array, listed: Array, rows: Array, row_count: int, counts: Array,
) -> int:  # fmt: skip
    """Population k, back in time: the gradients of its projections, and the errors of the events that it received.

    At each step back every target carries the error of its next spike (of all that follow, where a spike leaves what
    came before it): e itself, what an input spike at this step adds to its weight (``inward``: e K), and what its
    weight hands down (``downward``). With currents that decay beside potentials that do, ``carried`` is the error of
    the potential, and ``inward`` and ``downward`` are that of the current. A read-out below which times of spikes
    matter hands down by how much its error changes where a spike comes a step later.

    Args:
        reads: errors of the potentials that the answer reads, ``[steps, ...]``.
        listed, rows, row_count: the weight rows whose gradient may not be 0: whether each is, and where they begin
            and their projection.
        counts: of the population.

    Returns:
        Rows listed now.
    """
    own, keep = net.populations[k], net.keep
    kind, channels, targets, places = own[KIND], own[CHANNELS], own[AT], own[PLACES]
    error, inward, downward, carried, alive, woken = work.error, work.inward, work.c, work.v, work.last, work.woken
    filtered, later = own[FILTERED] == 1, work.u
    reached = 0
    alive[places : places + own[SIZE] // channels] = -1
    for t in range(len(net.kappa) - 1, -1, -1):
        for j in range(reached):
            at = targets + woken[places + j] * channels
            for o in range(at, at + channels):
                if kind == TIMED:
                    downward[o] *= keep[o, 1]
                    inward[o] = (error[o] + keep[o, 1] * downward[o]) / (1.0 - keep[o, 1])
                elif filtered:
                    later[o] = inward[o]
                    carried[o] *= keep[o, 0]
                    inward[o] = carried[o] + keep[o, 1] * inward[o]
                    downward[o] = inward[o]
                else:
                    downward[o] *= keep[o, 0]
                    inward[o] = downward[o]
                if own[KEEPS] == 1 or filtered:
                    alive[places + woken[places + j]] += (downward[o] != 0.0) - (error[o] != 0.0)
                    error[o] = downward[o]
        if own[READ] >= 0:
            for j in range(own[SIZE]):
                here = reads[t, own[READ] + j]
                if here == 0.0:
                    continue
                p, at = j // channels, targets + j
                if alive[places + p] < 0:
                    reached = _reach(own, work, p, reached)
                carried[at] += here
                inward[at] += here
                downward[at] = inward[at]
                alive[places + p] += (downward[at] != 0.0) - (error[at] != 0.0)
                error[at] = downward[at]
                counts[RECURSIONS] += 1
        if own[TIMES] == 1:
            for j in range(reached):
                at = targets + woken[places + j] * channels
                for o in range(at, at + channels):
                    downward[o] = later[o] - inward[o]
        base = spikes.base[k]
        low, high = spikes.first[k, t], spikes.first[k, t + 1]
        if kind == SILENT:
            high = low
        for e in range(base + low, base + high):
            j, value = spikes.neuron[e], spikes.value[e]
            p, at = j // channels, targets + j
            if alive[places + p] < 0:
                reached = _reach(own, work, p, reached)
            if kind == TIMED:
                here = -spikes.error[e] / max(value, slope * threshold[at])
            elif kind == SHARED:
                here = spikes.error[e] / value
            else:
                here = spikes.error[e] * max(0.0, width - abs(value / threshold[at] - 1.0)) / (width * width)
                here *= net.gain[at]
            before = error[at]
            if filtered:
                stays = reads[t, own[READ] + j] if own[LATE] == 1 and own[READ] >= 0 else 0.0
                change = here + (0.0 if own[KEEPS] == 1 else stays - carried[at])
                carried[at] += change
                inward[at] += change
                downward[at] = inward[at]
                error[at] = downward[at]
            elif own[KEEPS] == 1:
                downward[at] += here
                inward[at] = error[at] = downward[at]
            else:
                if own[LATE] == 1 and own[READ] >= 0:
                    here += reads[t, own[READ] + j]
                error[at] = inward[at] = here
                downward[at] = -here if kind == TIMED else here
            alive[places + p] += (error[at] != 0.0) - (before != 0.0)
            counts[SURROGATES] += 1
        if own[GATED] == 1 and t > 0:
            for e in range(base + spikes.first[k, t - 1], base + spikes.first[k, t]):
                _forget(own, work, spikes.neuron[e])
        for r in range(own[FIRST], own[LAST]):
            row = net.projections[r]
            if t < row[DELAY] or (row[LEARNS] == 0 and row[SENDS_BACK] == 0):
                continue
            row_count = _projected(
                r, t - row[DELAY], net, spikes, work, weights, gradient, listed, rows, row_count, counts
            )
    return row_count


@compiled
def _reach(own: Array, work: Work, p: int, reached: int) -> int:
    """Begin with position p of a population; how many there are now."""
    channels, first = own[CHANNELS], own[AT] + p * own[CHANNELS]
    work.last[own[PLACES] + p] = 0
    work.woken[own[PLACES] + reached] = p
    for o in range(first, first + channels):
        work.error[o] = work.inward[o] = work.c[o] = work.v[o] = work.u[o] = 0.0
    return reached + 1


@compiled
def _forget(own: Array, work: Work, j: int) -> None:
    """The potential of neuron j takes in nothing in this step; what its current keeps of it still counts."""
    p, at = j // own[CHANNELS], own[AT] + j
    if work.last[own[PLACES] + p] < 0:
        return
    before = work.error[at] != 0.0
    work.inward[at] = work.inward[at] - work.v[at] if own[FILTERED] == 1 else 0.0
    work.v[at] = 0.0
    work.error[at] = work.c[at] = work.inward[at]
    work.last[own[PLACES] + p] += (work.error[at] != 0.0) - before


@compiled
def _projected(
    r: int, t: int, net: Net, spikes: Spikes, work: Work, weights: Array, gradient: Array, listed: Array, rows: Array,
    row_count: int, counts: Array,
) -> int:  # fmt: skip
    """What the source's spikes of step t add to gradients, and which errors they get; rows listed now."""
    row = net.projections[r]
    own = net.populations[row[TARGET]]
    inward, downward, alive = work.inward, work.c, work.last
    wide, channels, targets, places = row[WIDTH], own[CHANNELS], own[AT], own[PLACES]
    learns, hands = row[LEARNS] == 1, row[SENDS_BACK] == 1
    base, events = spikes.base[row[SOURCE]], spikes.first[row[SOURCE]]
    for e in range(base + events[t], base + events[t + 1]):
        i, amount = spikes.neuron[e], spikes.carried[e]
        p = i // row[C_IN]
        channel = i - p * row[C_IN]
        weight = row[WEIGHTS] + channel * row[KERNEL] * wide
        group = channel // row[GROUP] * wide
        pairs, down = 0, 0.0
        for q in range(net.tap_first[row[TAPS] + p], net.tap_first[row[TAPS] + p + 1]):
            place = net.tap_place[q]
            if alive[places + place] <= 0:
                continue
            at, w = targets + net.tap_at[q] + group, weight + net.tap_kernel[q] * wide
            found = alive[places + place]
            if wide != channels:
                found = 0
                for o in range(wide):
                    found += work.error[at + o] != 0.0
                if found == 0:
                    continue
            pairs += found
            if learns:
                if listed[w] == 0:
                    listed[w] = 1
                    rows[row_count, 0], rows[row_count, 1] = w, r
                    row_count += 1
                for o in range(wide):
                    gradient[w + o] += amount * inward[at + o]
            if hands:
                for o in range(wide):
                    down += weights[w + o] * downward[at + o]
        if learns:
            counts[GRADIENT_MACS] += pairs
        if hands:
            spikes.error[e] += down
            counts[ERROR_MACS] += pairs
            counts[WEIGHT_READS] += pairs
            if pairs > 0 and len(net.distance) > 0:
                _send_error(row, net, work, i, counts)
    return row_count


@compiled
def _send_error(row: Array, net: Net, work: Work, i: int, counts: Array) -> None:
    """Count one message from each core that adds to the error of source i, and its hops."""
    seen = work.seen
    home, targets = net.core[net.populations[row[SOURCE], AT] + i], net.populations[row[TARGET], AT]
    seen[:] = 0
    p = i // row[C_IN]
    group = (i - p * row[C_IN]) // row[GROUP] * row[WIDTH]
    for q in range(net.tap_first[row[TAPS] + p], net.tap_first[row[TAPS] + p + 1]):
        for o in range(row[WIDTH]):
            at = targets + net.tap_at[q] + group + o
            if work.error[at] != 0.0 and seen[net.core[at]] == 0:
                seen[net.core[at]] = 1
                _message(net, net.core[at], home, ERROR_MESSAGES, counts)


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
def moved(
    weight: float, change: float, grid: float, low: float, high: float, seed: int, update: int, index: int
) -> float:
    """A weight after a change: as it is, or on a grid (> 0), rounded stochastically and held within limits in steps."""
    if grid == 0.0:
        return weight + change
    steps = (weight + change) / grid
    whole = np.floor(steps)
    if uniform(seed, update, index) < steps - whole:
        whole += 1.0
    return float(min(max(whole, low), high) * grid)


@compiled
def apply(
    weights: Array, gradient: Array, begin: int, end: int, rate: float, grid: Array, at: int, limits: Array, seed: int,
    update: int, counts: Array,
) -> None:  # fmt: skip
    """Change some weights along their gradients, and clear these; counts what is read and written (one layer's row).

    Args:
        grid, at: the steps of weights, that of all of these (``at`` >= 0), or one for each; empty for none.
    """
    for o in range(begin, end):
        if gradient[o] != 0.0:
            before = weights[o]
            step = 0.0 if len(grid) == 0 else grid[o if at < 0 else at]
            weights[o] = moved(before, -rate * gradient[o], step, limits[0], limits[1], seed, update, o)
            gradient[o] = 0.0
            counts[WEIGHT_READS] += 1
            if weights[o] != before:
                counts[WEIGHT_WRITES] += 1
