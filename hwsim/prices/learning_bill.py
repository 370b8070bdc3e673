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

from collections.abc import Mapping
from typing import Literal

import numpy as np

from neurodeploy.network.arrays import Array
from neurodeploy.network.event_rules import Chain
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


def synapses(which: Chain) -> Array:
    """Synapses of each layer, each place of a kernel counted; the read-out's last."""
    projections = (*(layer.projection for layer in which.layers), which.readout)
    return np.array([projection.connectivity.synapses() for projection in projections], np.int64)


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
    forward = {kind: counts[kind] for kind in FORWARD if kind != "neuron_updates" and kind in counts}
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
