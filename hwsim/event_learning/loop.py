"""One compiled loop over samples: forwards, the error, backwards, and the change of weights and thresholds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neurodeploy.network.arrays import Array

from ..function.neuron_kernels import compiled
from .clocked import backward_clocked, forward_clocked
from .kernels import (  # fmt: skip
    C_IN,
    C_OUT,
    EVENTS_IN,
    EVENTS_OUT,
    KERNEL,
    LEARNED,
    POSITIONS,
    SKIPPED,
    STORED_WORDS,
    THRESHOLD_UPDATES,
    WEIGHTS,
    Net,
    Spikes,
    Work,
    apply,
    backward,
    forward,
    softmax,
    top_errors,
)


class Constants(NamedTuple):
    """The rule, as the kernels take it; see `neurodeploy.network.event_rules.EventRule`.

    Args:
        mode: `LEAKY` or `TIMED`.
        clocked: 1 for the surrogate gradient.
        grid: of each layer's weights and the read-out's, ``[layers + 1]``; 0 for none.
        limit: largest weight, in steps of the grid.
        window: samples between two looks at the thresholds; 0 for fixed ones.
        start: the thresholds' start, ``[layers]``.
    """

    mode: int
    clocked: int
    rate: float
    width: float
    slope: float
    batch: int
    skip: float
    grid: Array
    limit: float
    seed: int
    window: int
    target: float
    lowest: float
    down: float
    up: float
    start: Array


class State(NamedTuple):
    """All that a run changes, and so all that a checkpoint keeps.

    Args:
        weights: of all layers, one after the other.
        readout: ``[neurons, classes]``.
        threshold: ``[layers]``.
        gradient, readout_gradient: summed since the last change of weights.
        listed, rows: weight rows with a gradient; see `neurodeploy.hwsim.event_learning.kernels.backward`.
        events: each layer's spikes since the last look at its threshold, ``[layers]``.
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


@compiled
def run_samples(
    net: Net, constants: Constants, state: State, spikes: Spikes, work: Work, potential: Array, fired: Array,
    passed: Array, first: Array, neuron: Array, labels: Array, order: Array, learning: int, right: Array,
    predicted: Array, tied: Array, counts: Array,
) -> None:  # fmt: skip
    """Run samples, and learn from each if ``learning``.

    Args:
        potential, fired, passed: scratch of the clocked engine, ``[steps, neurons]``, else empty.
        first, neuron: input events: those of sample b in step t are ``neuron[first[b, t] : first[b, t + 1]]``.
        order: samples to take.
        right, predicted, tied, counts: probability of the label, class, whether others score as high, and counts
            ``[layers + 1, KINDS]``, in this order.
    """
    classes, layers = state.readout.shape[1], len(net.table)
    output, delta = np.zeros(classes), np.zeros(classes)
    counter, threshold = state.counter, state.threshold
    for index in range(len(order)):
        b, here = order[index], counts[index]
        for t in range(first.shape[1]):
            spikes.first[0, t] = first[b, t] - first[b, 0]
        for e in range(first[b, 0], first[b, -1]):
            spikes.neuron[e - first[b, 0]] = neuron[e]
        if constants.clocked:
            forward_clocked(net, spikes, work, state.weights, state.readout, threshold, potential, fired, output, here)
        else:
            forward(constants.mode, net, spikes, work, state.weights, state.readout, threshold, output, here)
        predicted[index] = output.argmax()
        tied[index] = (output == output.max()).sum() != 1
        right[index] = softmax(output, labels[b], delta)
        if not learning:
            continue
        if right[index] > 1.0 - constants.skip:
            here[layers, SKIPPED] += 1
        else:
            here[layers, LEARNED] += 1
            if constants.clocked:
                backward_clocked(
                    net, work, state.weights, state.readout, threshold, constants.width, delta, potential, fired,
                    passed, state.gradient, state.readout_gradient,
                )  # fmt: skip
            else:
                for n in range(layers + 1):
                    here[n, STORED_WORDS] += here[n, EVENTS_IN] * (2 if n > 0 else 1)
                top_errors(net, spikes, work, state.readout, delta, state.readout_gradient, here)
                for n in range(layers - 1, -1, -1):
                    counter[ROWS] = backward(
                        constants.mode, n, net, spikes, work, state.weights, threshold[n], constants.width,
                        constants.slope, state.gradient, state.listed, state.rows, counter[ROWS], here,
                    )  # fmt: skip
        counter[PENDING] += 1
        if counter[PENDING] == constants.batch:
            change_weights(net, constants, state, here)
        if constants.window:
            for n in range(layers):
                state.events[n] += here[n, EVENTS_OUT]
            counter[WATCHED] += 1
            if counter[WATCHED] == constants.window:
                adapt(net, constants, state, len(net.kappa), here)


@compiled
def change_weights(net: Net, constants: Constants, state: State, counts: Array) -> None:
    """Apply the summed gradients."""
    counter, layers = state.counter, len(net.table)
    rate, limit, seed, update = constants.rate, constants.limit, constants.seed, counter[CHANGES]
    if constants.clocked:
        for n in range(layers):
            row = net.table[n]
            end = row[WEIGHTS] + row[C_IN] * row[KERNEL] * row[C_OUT]
            apply(
                state.weights,
                state.gradient,
                row[WEIGHTS],
                end,
                rate,
                constants.grid[n],
                limit,
                seed,
                update,
                counts[n],
            )
    for k in range(counter[ROWS]):
        w, n = state.rows[k]
        state.listed[w] = 0
        end = w + net.table[n, C_OUT]
        apply(state.weights, state.gradient, w, end, rate, constants.grid[n], limit, seed, update, counts[n])
    flat, gradient = state.readout.reshape(-1), state.readout_gradient.reshape(-1)
    apply(flat, gradient, 0, len(flat), rate, constants.grid[layers], limit, seed + 1, update, counts[layers])
    counter[ROWS] = 0
    counter[PENDING] = 0
    counter[CHANGES] += 1


@compiled
def adapt(net: Net, constants: Constants, state: State, steps: int, counts: Array) -> None:
    """Move the thresholds by how often neurons fired; see `neurodeploy.network.event_rules.AdaptiveThreshold`."""
    for n in range(len(net.table)):
        size = net.table[n, POSITIONS] * net.table[n, C_OUT]
        activity = state.events[n] / (size * steps * state.counter[WATCHED])
        level, start = state.threshold[n], constants.start[n]
        if activity < 0.5 * constants.target:
            level = max(level * constants.down, constants.lowest * start)
        elif activity > constants.target:
            level = min(level * constants.up, start)
        if level != state.threshold[n]:
            counts[n, THRESHOLD_UPDATES] += 1
        state.threshold[n] = level
        state.events[n] = 0
    state.counter[WATCHED] = 0
