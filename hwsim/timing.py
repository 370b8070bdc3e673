"""The `core` tier of timing: a step lasts as long as its slowest core, and then the barrier.

In chip step ``t`` of one sample, core ``c`` works through its synapses and neurons one after another,

    T(c, t) = sops * t_sop + active * t_active + (updates - active) * t_inactive,

all cores run side by side, and the mesh-wide barrier over the tiles that hold a used core closes the step:

    T(t) = max over c of T(c, t) + barrier(tiles).

What this tier leaves out: the travel of messages (axon look-up, hops, contention in the network-on-chip), the host,
learning, and any overlap of synaptic work with neuron updates inside a core (that would make a step shorter). On a
measured Loihi 2 run of PilotNet the busiest core's synaptic operations alone explain the step time (r = 0.9997), so
the tier is a fair first answer for dense layers; the prices themselves are Loihi 1's and partly maxima.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neurodeploy.connectivity import Array
from neurodeploy.errors import InvalidInputError

from .arch import Architecture
from .counts import Counts, check_cores

TERMS = {
    "synaptic_operation": "synaptic operations",
    "neuron_update_active": "active neuron updates",
    "neuron_update_inactive": "inactive neuron updates",
    "barrier": "barrier",
}


@dataclass(frozen=True, eq=False)
class Timing:
    """How long a run takes on the chip.

    Args:
        tier: name of the model.
        step_ns: ``[chip steps, samples]``, ns.
        inference_ns: sum over the steps, ``[samples]``, ns.
        terms: for each name in `TERMS`, its share of an inference in ns (of the slowest core in every step), mean over
            samples; they add up to the mean of `inference_ns`.
        core_ns: mean working time of each core per inference, in the order of `Counts.cores`, ns.
        busiest_core: the core that sets the length of the most steps, weighted by their length; None without cores.
        busiest_share: of the working time that is spent waiting for that core, 0 to 1.
        tiles: tiles in the barrier.
        missing: terms without a published time, taken as 0.
    """

    tier: str
    step_ns: Array
    inference_ns: Array
    terms: Mapping[str, float]
    core_ns: Array
    busiest_core: int | None
    busiest_share: float
    tiles: int
    missing: tuple[str, ...]

    @property
    def dominant(self) -> str:
        """Name of the largest of `terms`."""
        return max(self.terms, key=lambda name: self.terms[name])


def core_timing(counts: Counts, arch: Architecture) -> Timing:
    """Return the times of a run in the `core` tier; see the module's docstring.

    Raises:
        InvalidInputError: the counts hold no sample, or a core that the chip does not have.
    """
    sops, updates, active = counts.core["sops"], counts.core["updates"], counts.core["active_updates"]
    steps, samples = sops.shape[1:]
    if samples == 0:
        raise InvalidInputError("there is nothing to time", found="counts of 0 samples", allowed="at least one sample")
    names = ("synaptic_operation", "neuron_update_active", "neuron_update_inactive")
    prices = {name: getattr(arch.latency, name).value for name in names}
    t_sop, t_active, t_inactive = (prices[name] or 0.0 for name in names)
    check_cores(counts.cores, counts.chips, arch)
    chips = {arch.chip_of(core) for core in counts.cores}
    tiles = len({(arch.chip_of(core), arch.tile_of(core % arch.cores)) for core in counts.cores})
    barrier = arch.barrier_ns(tiles)
    terms = dict.fromkeys(names, 0.0)
    step_ns = np.full((steps, samples), barrier)
    busiest, share, core_ns = None, 0.0, np.zeros(len(counts.cores))
    if counts.cores and steps:
        total = sops * t_sop + active * (t_active - t_inactive) + updates * t_inactive
        slowest = total.argmax(axis=0)
        longest = total.max(axis=0)
        step_ns += longest
        core_ns = total.sum(axis=1).mean(axis=1)
        chosen = slowest[np.newaxis]
        n_sops, n_updates, n_active = (
            int(np.take_along_axis(array, chosen, axis=0).sum()) / samples for array in (sops, updates, active)
        )
        terms = dict(
            zip(names, (n_sops * t_sop, n_active * t_active, (n_updates - n_active) * t_inactive), strict=True)
        )
        waited = np.bincount(slowest.ravel(), weights=longest.ravel(), minlength=len(counts.cores))
        busiest = counts.cores[int(waited.argmax())]
        share = float(waited.max() / waited.sum()) if waited.sum() else 0.0
    return Timing(
        tier="core",
        step_ns=step_ns,
        inference_ns=step_ns.sum(axis=0),
        terms={**terms, "barrier": barrier * steps},
        core_ns=core_ns,
        busiest_core=busiest,
        busiest_share=share,
        tiles=tiles,
        missing=(
            *(name for name, value in prices.items() if value is None),
            *(("messages and barrier between chips",) if len(chips) > 1 else ()),
        ),
    )
