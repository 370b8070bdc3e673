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
before included; or a synapse visited) and ``learning_word`` (a word stored and read back). What has no price is listed
as missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from neurodeploy.network.arrays import Array
from neurodeploy.network.connectivity import Conv2d
from neurodeploy.network.event_rules import Chain

from ..chips.arch import Architecture
from ..chips.figures import Price

Counts = Mapping[str, Array]
"""Kind -> ``[layers + 1]``, the read-out last."""

Clocked = Literal["dense", "zero-skipping", "once"]
CLOCKED: tuple[Clocked, ...] = ("dense", "zero-skipping", "once")

LEARNING: Mapping[str, tuple[str, ...]] = {
    "error_macs": ("learning_mac",),
    "gradient_macs": ("learning_mac",),
    "gradient_adds": ("learning_add",),
    "surrogates": ("learning_neuron",),
    "recursions": ("learning_neuron",),
    "trace_updates": ("learning_neuron",),
    "threshold_updates": ("learning_neuron",),
    "weight_writes": ("learning_update",),
    "visited": ("learning_update",),
    "stored_words": ("learning_word",),
    "error_messages": ("axon_out", "axon_in"),
    "error_hops_east_west": ("hop_east_west",),
    "error_hops_north_south": ("hop_north_south",),
    "error_within_tile": ("within_tile_spike",),
}
"""Kinds that learning adds, and the prices of each."""

INFERENCE: Mapping[str, tuple[str, ...]] = {
    "sops": ("synaptic_operation",),
    "neuron_updates": ("neuron_update_active",),
    "events_out": ("spike_out",),
    "messages": ("axon_out", "axon_in"),
    "hops_east_west": ("hop_east_west",),
    "hops_north_south": ("hop_north_south",),
    "within_tile": ("within_tile_spike",),
}
"""Kinds of the forward pass, and the prices of each."""

LABELS = {
    "error_macs": "errors handed down",
    "gradient_macs": "products for gradients",
    "gradient_adds": "sums for gradients",
    "surrogates": "derivatives of spikes",
    "recursions": "recursion over time",
    "trace_updates": "traces",
    "threshold_updates": "thresholds moved",
    "weight_writes": "weights written",
    "visited": "synapses visited",
    "stored_words": "words stored for the way back",
    "error_messages": "messages of errors",
    "error_hops_east_west": "hops of errors, east-west",
    "error_hops_north_south": "hops of errors, north-south",
    "error_within_tile": "errors within a tile",
    "sops": "synaptic operations",
    "neuron_updates": "neuron updates",
    "events_out": "spikes",
    "messages": "messages",
    "hops_east_west": "hops, east-west",
    "hops_north_south": "hops, north-south",
    "within_tile": "messages within a tile",
}


@dataclass(frozen=True)
class LearningLine:
    """One component: ``energy_pj = count * price_pj``, per sample; the price is None where it is not known."""

    kind: str
    component: str
    count: float
    price_pj: float | None
    source: str
    confidence: str
    note: str

    @property
    def energy_pj(self) -> float:
        """pJ per sample; 0 where there is no price."""
        return self.count * (self.price_pj or 0.0)


@dataclass(frozen=True)
class LearningBill:
    """Energy of a sample (mean), learning and inference apart; pJ."""

    chip: str
    learning: tuple[LearningLine, ...]
    inference: tuple[LearningLine, ...]

    @property
    def learning_pj(self) -> float:
        """What learning adds."""
        return sum(line.energy_pj for line in self.learning)

    @property
    def inference_pj(self) -> float:
        """The forward pass."""
        return sum(line.energy_pj for line in self.inference)

    @property
    def missing(self) -> tuple[LearningLine, ...]:
        """What happened and has no price."""
        return tuple(line for line in (*self.learning, *self.inference) if line.price_pj is None)


def bill(counts: Counts, samples: int, arch: Architecture) -> LearningBill:
    """Price counts by a chip's file, per sample."""
    return LearningBill(arch.name, _lines(counts, samples, arch, LEARNING), _lines(counts, samples, arch, INFERENCE))


def _lines(
    counts: Counts, samples: int, arch: Architecture, prices: Mapping[str, tuple[str, ...]]
) -> tuple[LearningLine, ...]:
    lines = []
    for kind, components in prices.items():
        count = float(counts[kind].sum()) / max(samples, 1) if kind in counts else 0.0
        for component in components:
            figure: Price = getattr(arch.energy, component)
            if count and not figure.included_in:
                lines.append(
                    LearningLine(
                        kind, component, count, figure.value, figure.source, figure.confidence or "missing", figure.note
                    )
                )
    return tuple(lines)


def synapses(which: Chain) -> Array:
    """Synapses of each layer, each place of a kernel counted; the read-out's last."""
    found = []
    for projection in (*(layer.projection for layer in which.layers), which.readout):
        kind = projection.connectivity
        if isinstance(kind, Conv2d):
            ones = Conv2d(
                np.ones((1, 1, *kind.weights.shape[2:])),
                (1, *kind.input_shape[1:]),
                kind.stride,
                kind.padding,
                kind.dilation,
            )
            found.append(int(ones.apply(np.ones((1, ones.inputs))).sum()) * kind.input_shape[0] * kind.output_shape[0])
        else:
            found.append(kind.weights.size)
    return np.array(found, np.int64)


def clocked(which: Chain, steps: int, counts: Counts, samples: int, batch: int, variant: Clocked) -> dict[str, Array]:
    """What a clocked engine does for the same samples with the same spikes; see the module's docstring.

    Args:
        counts: of the samples; of these the forward pass is looked at, and how many were not skipped.
        samples: how many they are.
        batch: samples between two changes of weights.
    """
    every, neurons = synapses(which), np.array([*(layer.target.size for layer in which.layers), 0], np.int64)
    learned = int(counts["learned"].sum())
    below = np.ones(len(every), np.int64)
    below[0] = 0  # nothing learns below the first layer
    errors = steps * every * below
    if variant == "once":
        errors[-1] = every[-1]
    if variant == "dense":
        adds, words = steps * every * learned, 2 * steps * neurons
    else:
        adds = np.rint(counts["sops"] * (learned / samples)).astype(np.int64)
        words = steps * neurons + -(-steps * neurons // 32)
    weights = [p.connectivity.weights.size for p in (*(layer.projection for layer in which.layers), which.readout)]
    forward = {kind: counts[kind] for kind in INFERENCE if kind != "neuron_updates" and kind in counts}
    return {
        **forward,
        "neuron_updates": np.append(neurons[:-1], which.classes) * steps * samples,
        "error_macs": errors * learned,
        "surrogates": steps * neurons * learned,
        "recursions": steps * neurons * learned,
        "gradient_adds": adds,
        "weight_writes": np.array(weights, np.int64) * -(-learned // batch),
        "stored_words": words * learned,
    }
