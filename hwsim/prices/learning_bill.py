"""What learning costs: the counts of an event-driven rule, those of two clocked baselines, and their prices.

Counted by the event engine (`neurodeploy.hwsim.event_learning.engine`), for each sample and layer, S the spikes that
arrive:

    error_macs          a weight times an error, handed down: read-out, once for each neuron that fired and class;
                        below, once for each pair of an input spike and a target whose next spike has an error
    surrogates          psi or 1 / c of a spike
    gradient_macs       pairs of an input spike and a target with an error (below the read-out, where the pair is one of
                        a neuron that fired and a class)
    trace_updates       the read-out's trace of each of its input spikes
    weight_reads        for errors, and before a change;  weight_writes: weights that took another value
    threshold_updates   moves of an adaptive threshold
    error_messages      between cores, and their hops
    stored_words        for the way back: one of an input event (step and neuron), two of a hidden layer's (also u or c)

A *clocked* engine does the same in every step for every neuron, T steps, Y the layer's synapses, N its neurons:

    dense          error T Y, surrogate T N, recursion T N, gradient T Y, every weight written, 2 T N words (u and s)
    zero-skipping  the same, but gradients only for spikes that arrived (the forward pass's synaptic operations) and
                   spikes as bits among the words of u

(the lowest layer hands no error down). ``once`` is the zero-skipping engine that also projects the read-out's error
back only once, as the event rules do: a clocked engine has no need to know this trick, but one that does is cheaper.

Loihi's engine (`neurodeploy.hwsim.loihi_learning.rules`) visits synapses at the end of an epoch, traces and products
included.

Prices: an architecture file's ``learning_mac``, ``learning_add`` (a gradient that adds an error where a spike came),
``learning_neuron`` (surrogates, recursions, traces, thresholds), ``learning_update`` (a weight written, its reading
before included; or a synapse visited) and ``learning_word`` (a word stored and read back). Which kind pays which stands
in `neurodeploy.program.count_kinds`; what has no price is missing from the bill (`neurodeploy.hwsim.prices.pricing`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from neurodeploy.network.arrays import Array
from neurodeploy.network.event_rules import Chain
from neurodeploy.network.network import Projection
from neurodeploy.program.count_kinds import BY_NAME, counted

from ..chips.arch import Architecture
from .pricing import Bill, bill_of

Counts = Mapping[str, Array]
"""Kind -> ``[layers + 1]``, the read-out last."""

Clocked = Literal["dense", "zero-skipping", "once"]
CLOCKED: tuple[Clocked, ...] = ("dense", "zero-skipping", "once")

FORWARD = tuple(name for name in counted("events") if BY_NAME[name].part == "inference" and BY_NAME[name].prices)
"""Kinds of the forward pass that have a price."""


def bill(counts: Counts, samples: int, arch: Architecture) -> Bill:
    """Price counts by a chip's file, per sample; what did not happen is left out."""
    often = {name: float(counts[name].sum()) / max(samples, 1) for name in counts}
    return bill_of({name: mean for name, mean in often.items() if mean}, samples, arch)


def by_layer(counts: Counts, samples: int, arch: Architecture) -> list[Bill]:
    """The bill of what learning does in each layer: one of its kinds alone, for every entry of the counts."""
    learning = {name: array for name, array in counts.items() if BY_NAME[name].part == "learning"}
    rows = len(next(iter(learning.values()), ()))
    return [
        bill({name: array[row : row + 1] for name, array in learning.items()}, samples, arch) for row in range(rows)
    ]


@dataclass(frozen=True, eq=False)
class Extent:
    """How large the layers are that learn; arrays ``[layers]``, those of a read-out last where there is one.

    Args:
        learned, back: synapses that learn, and those that hand an error down.
        neurons: that have a derivative; 0 for read-outs.
        updated: all neurons.
        weights: that learn, a shared kernel's once.
        readout: whether a layer is a read-out without spikes.
    """

    learned: Array
    back: Array
    neurons: Array
    updated: Array
    weights: Array
    readout: Array

    @classmethod
    def of_chain(cls, which: Chain) -> Extent:
        """Of a chain; the lowest layer hands no error down."""
        projections = (*(layer.projection for layer in which.layers), which.readout)
        every = np.array([projection.connectivity.synapses() for projection in projections], np.int64)
        back, last = every.copy(), np.zeros(len(every), bool)
        back[0], last[-1] = 0, True
        sizes = [layer.target.size for layer in which.layers]
        return cls(
            every, back, np.array([*sizes, 0], np.int64), np.array([*sizes, which.classes], np.int64),
            np.array([p.connectivity.weights.size for p in projections], np.int64), last,
        )  # fmt: skip

    @classmethod
    def of_layers(cls, layers: Sequence[tuple[int, bool, Sequence[tuple[Projection, bool, bool]]]]) -> Extent:
        """Of layers: neurons, whether they spike, and projections, whether they learn and hand errors down."""
        counted = [
            [
                sum(q.connectivity.synapses() for q, learns, _ in into if learns),
                sum(q.connectivity.synapses() for q, _, back in into if back),
                size if spiking else 0, size, sum(q.connectivity.weights.size for q, learns, _ in into if learns),
            ]
            for size, spiking, into in layers
        ]  # fmt: skip
        learned, back, neurons, updated, weights = np.array(counted, np.int64).T
        return cls(learned, back, neurons, updated, weights, np.array([not spiking for _, spiking, _ in layers]))


def clocked(which: Extent, steps: int, counts: Counts, samples: int, batch: int, variant: Clocked) -> dict[str, Array]:
    """What a clocked engine does for the same samples with the same spikes; see the module's docstring.

    Args:
        counts: of the samples; of these the forward pass is looked at, and how many were not skipped.
        samples: how many they are.
        batch: samples between two changes of weights.
    """
    learned = int(counts["learned"].sum())
    errors = steps * which.back
    if variant == "once":
        errors = np.where(which.readout, which.back, errors)
    if variant == "dense":
        adds, words = steps * which.learned * learned, 2 * steps * which.neurons
    else:
        arrived = np.where(which.learned > 0, counts["sops"][: len(which.learned)], 0)
        adds = np.rint(arrived * (learned / samples)).astype(np.int64)
        words = steps * which.neurons + -(-steps * which.neurons // 32)
    forward = {kind: counts[kind] for kind in FORWARD if kind != "neuron_updates" and kind in counts}
    return {
        **forward,
        "neuron_updates": which.updated * steps * samples,
        "error_macs": errors * learned,
        "surrogates": steps * which.neurons * learned,
        "recursions": steps * which.neurons * learned,
        "gradient_adds": adds,
        "weight_writes": which.weights * -(-learned // batch),
        "stored_words": words * learned,
    }
