"""Compiled loops over samples: forwards, the error, backwards, and the change of weights and thresholds."""

from __future__ import annotations

from neurodeploy.network.arrays import Array

from ..function.neuron_kernels import compiled
from .clocked import backward_clocked, forward_clocked
from .kernels import (  # fmt: skip
    EVENTS_IN,
    LEARNED,
    SKIPPED,
    STORED_WORDS,
    THRESHOLD_UPDATES,
    apply,
    backward,
    forward,
    softmax,
    top_errors,
)
from .layout import (
    AT,
    C_IN,
    CHANGES,
    KERNEL,
    PENDING,
    ROWS,
    SIZE,
    TARGET,
    WATCHED,
    WEIGHTS,
    WIDTH,
    Constants,
    Net,
    Spikes,
    State,
    Work,
)


@compiled
def run_chain(
    net: Net, constants: Constants, state: State, spikes: Spikes, work: Work, potential: Array, fired: Array,
    passed: Array, first: Array, neuron: Array, labels: Array, order: Array, learning: int, output: Array,
    right: Array, counts: Array,
) -> None:  # fmt: skip
    """Run samples through a chain of layers, and learn from each if ``learning``.

    Args:
        potential, fired, passed: scratch of the clocked engine, ``[steps, neurons]``, else empty.
        first, neuron: input events: those of sample b in step t are ``neuron[first[b, t] : first[b, t + 1]]``.
        order: samples to take.
        output, right, counts: scores ``[classes]``, probability of the label, and counts ``[layers + 1, KINDS]``, in
            this order.
    """
    layers, delta = len(net.projections), output[0].copy()
    for index in range(len(order)):
        b, here = order[index], counts[index]
        for t in range(first.shape[1]):
            spikes.first[0, t] = first[b, t] - first[b, 0]
        for e in range(first[b, 0], first[b, -1]):
            spikes.neuron[e - first[b, 0]] = neuron[e]
        scores, threshold = output[index], state.threshold
        if constants.clocked:
            forward_clocked(net, spikes, work, state.weights, state.readout, threshold, potential, fired, scores, here)
        else:
            forward(net, spikes, work, state.weights, state.readout, threshold, scores, here)
        right[index] = softmax(scores, labels[b], delta)
        if not learning:
            continue
        if right[index] > 1.0 - constants.skip:
            here[layers, SKIPPED] += 1
        else:
            here[layers, LEARNED] += 1
            if constants.clocked:
                backward_clocked(
                    net, work, state.weights, state.readout, threshold, constants.width[1], delta, potential, fired,
                    passed, state.gradient, state.readout_gradient,
                )  # fmt: skip
            else:
                for n in range(layers + 1):
                    here[n, STORED_WORDS] += here[n, EVENTS_IN] * (2 if n > 0 else 1)
                for n in range(1, layers):
                    spikes.error[spikes.base[n] : spikes.base[n] + spikes.first[n, -1]] = 0.0
                top_errors(net, spikes, work, state.readout, delta, state.readout_gradient, here)
                go_back(net, constants, state, spikes, work, potential, here)
        for n in range(layers):
            if constants.window:
                watch(net, spikes, n + 1, state.events)
        end_sample(net, constants, state, here)


@compiled
def go_back(
    net: Net, constants: Constants, state: State, spikes: Spikes, work: Work, reads: Array, counts: Array
) -> None:
    """Learn from a sample whose events at the top have their errors; ``reads`` as `kernels.backward` takes it."""
    for k in range(len(net.populations) - 1, 0, -1):
        state.counter[ROWS] = backward(
            k, net, spikes, work, state.weights, state.threshold, constants.width[k], constants.slope[k], reads,
            state.gradient, state.listed, state.rows, state.counter[ROWS], counts[k - 1],
        )  # fmt: skip


@compiled
def watch(net: Net, spikes: Spikes, k: int, events: Array) -> None:
    """Note the spikes of population k for its thresholds."""
    base, at = spikes.base[k], net.populations[k, AT]
    for e in range(base, base + spikes.first[k, -1]):
        events[at + spikes.neuron[e]] += 1


@compiled
def end_sample(net: Net, constants: Constants, state: State, counts: Array) -> None:
    """Change weights and thresholds where it is time for it."""
    counter = state.counter
    counter[PENDING] += 1
    if counter[PENDING] == constants.batch:
        change_weights(net, constants, state, counts)
    if constants.window:
        counter[WATCHED] += 1
        if counter[WATCHED] == constants.window:
            adapt(net, constants, state, len(net.kappa), counts)


@compiled
def change_weights(net: Net, constants: Constants, state: State, counts: Array) -> None:
    """Apply the summed gradients."""
    counter, end = state.counter, len(net.projections)
    grid, limits, seed, update = constants.grid, constants.limits, constants.seed, counter[CHANGES]
    weights, gradient = state.weights, state.gradient
    if constants.clocked:
        for n in range(end):
            row = net.projections[n]
            last = row[WEIGHTS] + row[C_IN] * row[KERNEL] * row[WIDTH]
            apply(
                weights, gradient, row[WEIGHTS], last, constants.rate[n], grid, -1, limits[n], seed, update, counts[n]
            )  # fmt: skip
    for k in range(counter[ROWS]):
        w, n = state.rows[k]
        state.listed[w] = 0
        row = net.projections[n]
        own = counts[row[TARGET] - 1]
        apply(
            weights, gradient, w, w + row[WIDTH], constants.rate[n], grid, -1, limits[n], seed, update, own
        )  # fmt: skip
    flat, summed = state.readout.reshape(-1), state.readout_gradient.reshape(-1)
    apply(
        flat, summed, 0, len(flat), constants.rate[end], grid, len(weights), limits[end], seed + 1, update, counts[-1]
    )  # fmt: skip
    counter[ROWS] = 0
    counter[PENDING] = 0
    counter[CHANGES] += 1


@compiled
def adapt(net: Net, constants: Constants, state: State, steps: int, counts: Array) -> None:
    """Move the thresholds by how often neurons fired; see `neurodeploy.network.event_rule.AdaptiveThreshold`."""
    for k in range(1, len(net.populations)):
        if constants.moves[k] == 0:
            continue
        first, size = net.populations[k, AT], net.populations[k, SIZE]
        fired = 0
        for j in range(first, first + size):
            fired += state.events[j]
        mean = fired / (size * steps * state.counter[WATCHED])
        together = size if constants.each == 0 else 1
        for at in range(first, first + size, together):
            activity, low, moved = mean, mean < 0.5 * constants.target, False
            if constants.each == 1:
                activity = state.events[at] / (steps * state.counter[WATCHED])
                low = low or state.events[at] == 0
            for j in range(at, at + together):
                level, start = state.threshold[j], constants.start[j]
                if low:
                    level = max(level * constants.down, constants.lowest * start)
                elif activity > constants.target:
                    level = min(level * constants.up, start)
                moved |= level != state.threshold[j]
                state.threshold[j] = level
            counts[k - 1, THRESHOLD_UPDATES] += moved
        state.events[first : first + size] = 0
    state.counter[WATCHED] = 0
