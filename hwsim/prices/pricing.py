"""From counts to a bill: the mean energy of one inference, line by line, each with its price, source and confidence.

Conventions, which every number here follows:

- A *synaptic operation* is a stored synapse walked for an arriving spike; zero weights are included where the chip
  reads and adds them as well (`pipeline.zero_weights`).
- Every mapped neuron is updated in every chip step; it pays the *active* price where it was not at rest.
- A message within a tile pays the within-tile price; one that leaves its tile pays for each hop (XY route) instead.
- A *learning update* is a synapse that the learning engine visits at the end of an epoch, whatever its rule; published
  prices are for pairwise plasticity, and a longer rule costs more.
- What another price contains (`included_in`) is not counted twice, and not missing.
- *Static* energy is the static power of the used cores over the run time of the `core` tier of timing,

      E = P_core * used cores * mean time of an inference        (1 mW * 1 ns = 1 pJ),

  as if unused cores were switched off and no step waited for the host. At a slower, fixed step (1 ms, say) it grows
  in proportion.
- What has no published price is not in the total: it stands in `Bill.missing`, with its count where we know it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..chips.arch import Architecture
from ..chips.figures import Price
from ..counts.counts import Counts
from ..timing.tiers import Timing, amounts, core_timing

LABELS = {
    "axon_in": "messages received",
    "synaptic_operation": "synaptic operations",
    "synaptic_operation_list": "synaptic operations, listed synapses",
    "synaptic_operation_kernel": "synaptic operations, shared kernels",
    "synaptic_word": "words of synaptic memory",
    "neuron_update_active": "neuron updates, active",
    "neuron_update_inactive": "neuron updates, inactive",
    "dendrite_update": "dendrites that received something",
    "spike_out": "spikes",
    "axon_out": "messages sent",
    "learning_update": "learning updates",
    "within_tile_spike": "messages within a tile",
    "hop_east_west": "hops, east-west",
    "hop_north_south": "hops, north-south",
    "between_chips": "messages between chips",
    "static": "static power of used cores",
    "barrier": "barrier between steps",
    "host_message": "input and output through the host",
}
RARE = ("synaptic_operation_list", "synaptic_operation_kernel", "learning_update")
"""Components that are left out where there are none of them."""
UNITS = {
    "axon_in": "messages",
    "synaptic_operation": "SOP",
    "synaptic_operation_list": "SOP",
    "synaptic_operation_kernel": "SOP",
    "synaptic_word": "words",
    "neuron_update_active": "updates",
    "neuron_update_inactive": "updates",
    "dendrite_update": "updates",
    "spike_out": "spikes",
    "axon_out": "messages",
    "learning_update": "synapses visited",
    "within_tile_spike": "messages",
    "hop_east_west": "hops",
    "hop_north_south": "hops",
    "between_chips": "messages",
    "static": "core ns",
    "barrier": "barriers",
    "host_message": "messages",
}
"""Unit of a line's count."""


@dataclass(frozen=True)
class Line:
    """One component of the energy of an inference.

    Args:
        component: a key of `LABELS`.
        count: mean per inference, in `count_unit`.
        price: in `price_unit`.
        energy_pj: ``count * price``, pJ per inference.
        bound: what the source says the price is: nominal, minimum or maximum.
    """

    component: str
    count: float
    count_unit: str
    price: float
    price_unit: str
    energy_pj: float
    source: str
    confidence: str
    bound: str
    note: str


@dataclass(frozen=True)
class Missing:
    """A component that the total lacks, how often it happened per inference (None: not counted), and why."""

    component: str
    count: float | None
    reason: str


@dataclass(frozen=True)
class Bill:
    """Energy of one inference (mean over the samples of a run)."""

    chip: str
    samples: int
    lines: tuple[Line, ...]
    missing: tuple[Missing, ...]

    @property
    def total_pj(self) -> float:
        """All priced components, pJ per inference."""
        return sum(line.energy_pj for line in self.lines)

    @property
    def static_pj(self) -> float:
        """Static power alone, pJ per inference."""
        return sum(line.energy_pj for line in self.lines if line.component == "static")

    @property
    def dynamic_pj(self) -> float:
        """All priced components but static power, pJ per inference."""
        return self.total_pj - self.static_pj


def price(counts: Counts, arch: Architecture, timing: Timing | None = None) -> Bill:
    """Return the bill of a run; see the module's docstring for its conventions.

    Args:
        timing: of the same run, for the static energy; computed when not given.

    Raises:
        InvalidInputError: the counts hold no sample, or a core that the chip does not have.
    """
    timing = timing or core_timing(counts, arch)
    samples = len(timing.inference_ns)
    steps = timing.step_ns.shape[0]
    core = {name: int(array.sum(dtype=np.int64)) for name, array in amounts(counts, arch).items()}
    fabric = {name: int(array.sum(dtype=np.int64)) for name, array in counts.fabric.items()}
    totals = {
        **core,
        "within_tile_spike": fabric["within_tile"],
        "hop_east_west": fabric["hops_east_west"],
        "hop_north_south": fabric["hops_north_south"],
        "barrier": steps * samples,
        "host_message": fabric["host_messages"],
    }
    lines: list[Line] = []
    missing: list[Missing] = []

    def add(component: str, count: float, unit: str, figure: Price, price_unit: str) -> None:
        if figure.included_in or (count == 0 and component in RARE):
            return
        if figure.value is None or figure.confidence is None:
            if count:
                missing.append(Missing(component, count, figure.note))
            return
        lines.append(
            Line(
                component=component,
                count=count,
                count_unit=unit,
                price=figure.value,
                price_unit=price_unit,
                energy_pj=count * figure.value,
                source=figure.source,
                confidence=figure.confidence,
                bound=figure.bound,
                note=figure.note,
            )
        )

    for component, total in totals.items():
        add(component, total / samples, UNITS[component], getattr(arch.energy, component), "pJ")
    if fabric["between_chips"]:
        why = "the energy of a message between chips was not published"
        missing.append(Missing("between_chips", fabric["between_chips"] / samples, why))
    core_time = len(counts.cores) * float(timing.inference_ns.mean())
    add("static", core_time, UNITS["static"], arch.static_power_per_core, "mW")
    lines.sort(key=lambda line: list(LABELS).index(line.component))
    return Bill(arch.name, samples, tuple(lines), tuple(missing))
