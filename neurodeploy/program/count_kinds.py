"""The table of all that is counted: inference and learning, on the chip and in the engine that learns on events.

Counters, bills, times, reports and the command line take names, labels, units and price keys from `KINDS`; none of them
is written anywhere else. The order of the table is that of columns in compiled kernels and in checkpoints, of lines in
a bill and of rows in tables: a new kind goes behind all others of its counter.

What the counts of the chip mean is written in `neurodeploy.hwsim.counts.counts`, those of learning on events in
`neurodeploy.hwsim.prices.learning_bill`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Counter = Literal["layer", "receiving", "sending", "resting", "fabric", "run", "work", "events", "host"]
"""Where a kind is counted:

- ``layer``: for each population,
- ``receiving``, ``sending``: for each core, at what arrives there, and at what its own neurons do,
- ``resting``: for each core, as what `updates` leaves beside `active_updates`,
- ``fabric``: between cores,
- ``run``: it follows from the length of the run,
- ``work``: for each core that learns by Loihi's rules, by its learning engine,
- ``events``: for each layer that learns event by event,
- ``host``: for the whole of a network with host stages (`neurodeploy.program.host_work`).
"""
Part = Literal["inference", "learning"]
"""Of the work, and of a bill."""
Side = Literal["chip", "host", "boundary"]
"""Where something happens: on the chip, on the processor beside it, or on the way between them."""

ON_CHIP: tuple[Counter, ...] = ("receiving", "sending", "resting", "fabric", "run", "work")
"""Counters of a placed Program's run, whose kinds have one price key each."""


@dataclass(frozen=True)
class Kind:
    """One kind of thing that is counted.

    Args:
        name: as counts, JSON and documents call it.
        label: in words.
        unit: of its counts.
        counted: by which counters.
        prices: what one of it costs: keys of an architecture file's ``energy`` and ``latency``, or of what its bill
            knows beside them (`neurodeploy.hwsim.prices.pricing.figure`).
        part: of what it is a part.
        rare: left out of a bill where there is none of it.
        side: where it happens.
    """

    name: str
    label: str
    unit: str
    counted: tuple[Counter, ...]
    prices: tuple[str, ...] = ()
    part: Part = "inference"
    rare: bool = False
    side: Side = "chip"


def _hosted(name: str, label: str, unit: str, side: Side, *prices: str) -> Kind:
    return Kind(name, label, unit, ("host",), prices, rare=True, side=side)


def _learning(name: str, label: str, unit: str, counted: Counter, *prices: str) -> Kind:
    return Kind(name, label, unit, (counted,), prices, "learning", rare=True)


KINDS: tuple[Kind, ...] = (
    Kind("events_in", "spikes that arrive", "spikes", ("layer", "events")),
    Kind("messages_in", "messages received", "messages", ("receiving",), ("axon_in",)),
    Kind("sops", "synaptic operations", "SOP", ("layer", "receiving", "events"), ("synaptic_operation",)),
    Kind("nonzero_sops", "synaptic operations, weight not 0", "SOP", ("layer", "receiving")),
    Kind(
        "sops_list", "synaptic operations, listed synapses", "SOP", ("receiving",), ("synaptic_operation_list",),
        rare=True,
    ),
    Kind(
        "sops_kernel", "synaptic operations, shared kernels", "SOP", ("receiving",), ("synaptic_operation_kernel",),
        rare=True,
    ),
    Kind("nonzero_list", "synaptic operations, listed synapses, weight not 0", "SOP", ("receiving",)),
    Kind("nonzero_kernel", "synaptic operations, shared kernels, weight not 0", "SOP", ("receiving",)),
    Kind("words", "words of synaptic memory", "words", ("layer", "receiving"), ("synaptic_word",)),
    Kind("neuron_updates", "neuron updates", "updates", ("events",), ("neuron_update_active",)),
    Kind("updates", "all neuron updates", "updates", ("layer", "sending")),
    Kind("active_updates", "active neuron updates", "updates", ("layer", "sending"), ("neuron_update_active",)),
    Kind("inactive_updates", "inactive neuron updates", "updates", ("resting",), ("neuron_update_inactive",)),
    Kind(
        "touched_updates", "dendrites that received something", "updates", ("layer", "sending"), ("dendrite_update",)
    ),
    Kind("changed_updates", "neuron updates that changed something", "updates", ("layer", "sending")),
    Kind("events_out", "spikes", "spikes", ("layer", "sending", "events"), ("spike_out",)),
    Kind("messages", "messages", "messages", ("events",), ("axon_out", "axon_in")),
    Kind("messages_out", "messages sent", "messages", ("layer", "sending"), ("axon_out",)),
    Kind("hops_east_west", "hops, east-west", "hops", ("fabric", "events"), ("hop_east_west",)),
    Kind("hops_north_south", "hops, north-south", "hops", ("fabric", "events"), ("hop_north_south",)),
    Kind("within_tile", "messages within a tile", "messages", ("fabric", "events"), ("within_tile_spike",)),
    Kind("between_chips", "messages between chips", "messages", ("fabric",), ("between_chips",), rare=True),
    Kind("used_core_ns", "static power of used cores", "core ns", ("run",), ("static",)),
    Kind("barriers", "barrier between steps", "barriers", ("run",), ("barrier",)),
    Kind("host_events", "input spikes from the host", "spikes", ("fabric",)),
    Kind("host_messages", "input and output through the host", "messages", ("fabric",), ("host_message",)),
    _learning("visited", "synapses visited", "synapses", "work", "learning_update"),
    _learning("changed", "synapses changed", "synapses", "work"),
    _learning("products", "products computed", "products", "work"),
    _learning("x_impulses", "impulses of sources' traces", "impulses", "work"),
    _learning("x_decays", "decays of sources' traces", "decays", "work"),
    _learning("y_impulses", "impulses of targets' traces", "impulses", "work"),
    _learning("y_decays", "decays of targets' traces", "decays", "work"),
    _learning("error_macs", "errors handed down", "MAC", "events", "learning_mac"),
    _learning("surrogates", "derivatives of spikes", "derivatives", "events", "learning_neuron"),
    _learning("recursions", "recursion over time", "updates", "events", "learning_neuron"),
    _learning("gradient_macs", "products for gradients", "MAC", "events", "learning_mac"),
    _learning("gradient_adds", "sums for gradients", "additions", "events", "learning_add"),
    _learning("trace_updates", "traces", "updates", "events", "learning_neuron"),
    _learning("weight_reads", "weights read", "weights", "events"),
    _learning("weight_writes", "weights written", "weights", "events", "learning_update"),
    _learning("threshold_updates", "thresholds moved", "thresholds", "events", "learning_neuron"),
    _learning("error_messages", "messages of errors", "messages", "events", "axon_out", "axon_in"),
    _learning("error_hops_east_west", "hops of errors, east-west", "hops", "events", "hop_east_west"),
    _learning("error_hops_north_south", "hops of errors, north-south", "hops", "events", "hop_north_south"),
    _learning("error_within_tile", "errors within a tile", "messages", "events", "within_tile_spike"),
    _learning("stored_words", "words stored for the way back", "words", "events", "learning_word"),
    _learning("learned", "samples learned from", "samples", "events"),
    _learning("skipped", "samples that taught nothing", "samples", "events"),
    _hosted("host_macs", "multiply-accumulates of the host", "MAC", "host", "mac"),
    _hosted("host_operations", "other operations of the host", "operations", "host", "operation"),
    _hosted("host_ns", "static power of the host", "ns", "host", "host_static"),
    _hosted("host_buffered", "buffered by the host", "bytes", "host"),
    _hosted("bytes_to_host", "bytes from the chip to the host", "bytes", "boundary", "byte_to_host"),
    _hosted("bytes_to_chip", "bytes from the host to the chip", "bytes", "boundary", "byte_to_chip"),
    _hosted("host_barriers", "barriers of chip and host", "barriers", "boundary", "host_barrier"),
)  # fmt: skip

BY_NAME: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in KINDS})


def counted(*by: Counter) -> tuple[str, ...]:
    """Names of the kinds that any of these counters counts, in the table's order."""
    return tuple(kind.name for kind in KINDS if not set(by).isdisjoint(kind.counted))


ON_CHIP_BY_PRICE: Mapping[str, Kind] = MappingProxyType(
    {price: BY_NAME[name] for name in counted(*ON_CHIP) for price in BY_NAME[name].prices}
)
"""What a run of a placed Program pays for at each price key."""


def label(name: str) -> str:
    """A kind in words; the name itself where this version has no such kind."""
    return BY_NAME[name].label if name in BY_NAME else name.replace("_", " ")
