"""The baseline: surrogate gradients back through time, as a clocked engine computes them, every neuron in every step.

    d_u[t] = d_s[t] psi(u[t] / theta) + lambda (1 - s[t]) d_u[t+1]
    d_s[t] of the layer below = W^T d_u[t];   dL/dW = sum_t d_u[t] s[t]^T of the layer below

with the reset not differentiated (Neftci et al., IEEE Signal Processing Magazine 36(6), 2019). The arrays are those of
`neurodeploy.hwsim.event_learning.kernels`. What such an engine does follows from its size
(`neurodeploy.hwsim.prices.learning_bill`), so only the forward pass is counted here.
"""

from __future__ import annotations

from neurodeploy.network.arrays import Array

from ..function.neuron_kernels import compiled
from .kernels import EVENTS_IN, EVENTS_OUT, NEURON_UPDATES, SOPS, read
from .layout import AT, C_IN, CHANNELS, KERNEL, SIZE, TAPS, WEIGHTS, Net, Spikes, Work


@compiled
def forward_clocked(
    net: Net, spikes: Spikes, work: Work, weights: Array, readout: Array, threshold: Array, potential: Array,
    fired: Array, output: Array, counts: Array,
) -> None:  # fmt: skip
    """Run one sample of leaky neurons.

    Args:
        potential, fired: of every neuron before its reset, ``[steps, neurons]``, are filled.
    """
    u, layers = work.u, len(net.projections)
    u[:] = 0.0
    fired[:] = 0
    output[:] = 0.0
    for t in range(len(net.kappa)):
        for n in range(layers):
            row, source, own = net.projections[n], net.populations[n], net.populations[n + 1]
            channels, targets, size = own[CHANNELS], own[AT], own[SIZE]
            for o in range(targets, targets + size):
                u[o] *= net.keep[o, 0]
            base, events = spikes.base[n], spikes.first[n]
            for e in range(base + events[t], base + events[t + 1]):
                i = spikes.neuron[e]
                fired[t, source[AT] + i] = 1
                p = i // row[C_IN]
                weight = row[WEIGHTS] + (i - p * row[C_IN]) * row[KERNEL] * channels
                for q in range(net.tap_first[row[TAPS] + p], net.tap_first[row[TAPS] + p + 1]):
                    at, w = targets + net.tap_place[q] * channels, weight + net.tap_kernel[q] * channels
                    for o in range(channels):
                        u[at + o] += weights[w + o]
                    counts[n, SOPS] += channels
            base, count = spikes.base[n + 1], spikes.first[n + 1, t]
            for o in range(size):
                potential[t, targets + o] = u[targets + o]
                if u[targets + o] > threshold[targets + o]:
                    spikes.neuron[base + count] = o
                    fired[t, targets + o] = 1
                    u[targets + o] = 0.0
                    count += 1
            counts[n, EVENTS_IN] += events[t + 1] - events[t]
            counts[n, EVENTS_OUT] += count - spikes.first[n + 1, t]
            counts[n, NEURON_UPDATES] += size
            spikes.first[n + 1, t + 1] = count
    read(net, spikes, readout, output, counts)


@compiled
def backward_clocked(
    net: Net, work: Work, weights: Array, readout: Array, threshold: Array, width: float, delta: Array,
    potential: Array, fired: Array, passed: Array, gradient: Array, readout_gradient: Array,
) -> None:  # fmt: skip
    """All gradients of one sample.

    Args:
        passed: scratch, ``[steps, neurons]``: ``d_s``.
    """
    layers, steps = len(net.projections), len(net.kappa)
    last = net.populations[layers, AT]
    for j in range(net.populations[layers, SIZE]):
        error, trace = 0.0, 0.0
        for m in range(len(delta)):
            error += readout[j, m] * delta[m]
        for t in range(steps):
            passed[t, last + j] = error * net.above[t]
            trace += net.kappa[t] * fired[t, last + j]
        for m in range(len(delta)):
            readout_gradient[j, m] += delta[m] * trace
    carried = work.error
    carried[:] = 0.0
    for n in range(layers - 1, -1, -1):
        row, source, own = net.projections[n], net.populations[n], net.populations[n + 1]
        channels, targets = own[CHANNELS], own[AT]
        for t in range(steps - 1, -1, -1):
            for o in range(targets, targets + own[SIZE]):
                psi = max(0.0, width - abs(potential[t, o] / threshold[o] - 1.0)) / (width * width)
                carried[o] = passed[t, o] * psi + net.keep[o, 0] * (1 - fired[t, o]) * carried[o]
            for i in range(source[SIZE]):
                on = fired[t, source[AT] + i]
                if n == 0 and on == 0:
                    continue  # its products are 0: the result is the same, and the count is not made here
                p = i // row[C_IN]
                weight = row[WEIGHTS] + (i - p * row[C_IN]) * row[KERNEL] * channels
                down = 0.0
                for q in range(net.tap_first[row[TAPS] + p], net.tap_first[row[TAPS] + p + 1]):
                    at, w = targets + net.tap_place[q] * channels, weight + net.tap_kernel[q] * channels
                    if on:
                        for o in range(channels):
                            gradient[w + o] += carried[at + o]
                    if n > 0:
                        for o in range(channels):
                            down += weights[w + o] * carried[at + o]
                passed[t, source[AT] + i] = down
