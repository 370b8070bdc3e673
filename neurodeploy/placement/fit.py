"""Does a network fit on a chip, and if not, what exactly does not, where, by how much, and what would help?

Everything that a network needs and a chip has is compared before anything is placed, all limits of all layers, so
that a user sees every reason at once and not the first. A limit is met in one of three ways: a layer fits on one core,
it is split over several, or no core can hold even one of its neurons.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurodeploy.errors import DoesNotFitError, UnsupportedError
from neurodeploy.network.network import TRAINS_EQUALLY, Network, Population, Projection
from neurodeploy.program.limits import Limits
from neurodeploy.program.memory import INDEX_BITS, neuron_bytes, stored, synapse_bytes
from neurodeploy.program.routing import fan_in, sources_of
from neurodeploy.program.schedule import schedule

from . import holds
from .need import Need as Need
from .need import amount as amount
from .need import shown as shown


def needs(network: Network, limits: Limits, cap: int | None = None, chips: int = 1) -> tuple[Need, ...]:
    """Compare a network, float or integer, with the limits of a chip.

    Args:
        cap: neurons that a core takes at most, where that is less than it could.
        chips: how many there are.
    """
    found: list[Need] = []
    room = min(limits.neurons, cap or limits.neurons)
    layers = [p for p in network.populations if not p.external]
    cores = 0
    for population in layers:
        rows, split = _layer(network, population, limits, room)
        found += rows
        cores += split
    found.append(_neurons(network, layers, limits, room, chips))
    there = limits.cores * chips
    least = -(-cores // limits.cores)
    found.append(
        Need(
            "", "", "cores", "cores", cores, there, _chips(limits, chips),
            "" if cores <= there else f"use {least} chips (--chips {least}), let layers share cores (--share-cores), "
            "or use a smaller network",
            note="each layer on cores of its own",
        )
    )  # fmt: skip
    return (*found, *_delays(network, limits), *_models(network, limits), *holds.needs(network, limits))


def refuse(found: tuple[Need, ...], network: Network, limits: Limits) -> None:
    """Raise if something does not fit.

    Raises:
        DoesNotFitError: with all that does not fit, each with need, have, where and what to do.
    """
    wrong = [need for need in found if not need.fits]
    if not wrong:
        return
    if len(wrong) == 1:
        (need,) = wrong
        raise DoesNotFitError(f"the network {network.name!r} does not fit on {limits.chip}: {need}", hint=need.remedy)
    listed = "".join(f"\n    - {need}\n      to do: {need.remedy}" for need in wrong)
    raise DoesNotFitError(
        f"the network {network.name!r} does not fit on {limits.chip}, for {len(wrong)} reasons:{listed}",
        hint="all of these; --explain shows every need and limit in a table",
    )


def _layer(network: Network, population: Population, limits: Limits, room: int) -> tuple[list[Need], int]:
    """Needs of one layer, and the cores that it takes at least."""
    incoming = network.into(population.name)
    where, name = population.handle.module, population.name
    each = limits.compartments(network, name)
    least, most, taken = int(each.min()), int(each.max()), int(each.sum())
    split = -(-population.size // max(room // most, 1)) if least == most else -(-taken // room)
    core = f"a core of {limits.chip}"
    rows = [
        Need(
            name, where, "neurons", "neurons", taken, room, core,
            note=_split(split, room // most) + (f"; {_span(least, most)} compartments a neuron" if most > 1 else ""),
        )
    ]  # fmt: skip
    if most > room:
        text = "use a smaller window of the MAX in front of it, or " + TRAINS_EQUALLY.partition(": ")[2]
        rows.append(Need(name, where, "compartments for one neuron", "compartments", most, room, core, text, False))
    whole = np.arange(population.size)
    checks: list[tuple[str, str, int | None, int, int, str]] = []
    if limits.synapse_bytes is not None:
        total = sum(synapse_bytes(p, population.places(p.port, whole), limits.index_bits) for p in incoming)
        one = _bytes(incoming, population, limits.index_bits)
        checks.append(("synapse memory", "bytes", limits.synapse_bytes, total, one, _MEMORY))
    if limits.axons_in is not None:
        total = sum(sources_of(p, population.places(p.port, whole)) for p in incoming)
        checks.append(("input axons", "axons", limits.axons_in, total, _sources(incoming, population), _AXONS))
    for limit, unit, have, total, one, remedy in checks:
        assert have is not None
        if one > have:
            text = remedy.format(percent=-(-100 * (one - have) // one), have=have)
            rows.append(Need(name, where, f"{limit} for one neuron", unit, one, have, core, text, fits=False))
            continue
        parts = max(-(-total // have), 1)
        split = max(split, parts)
        on_each = max(population.size // parts, 1)
        prune = -(-100 * (total - have) // total) if parts > 1 else 0
        text = f"nothing; pruned by {prune} % it would need one core" if parts > 1 and unit == "bytes" else ""
        rows.append(Need(name, where, limit, unit, total, have, core, text, note=_split(parts, on_each)))
    thresholds = population.neuron.thresholds() if population.spiking else None
    if limits.thresholds is not None and network.arithmetic != "float" and thresholds is not None:
        count = len(np.unique(thresholds))
        parts = -(-count // limits.thresholds)
        rows.append(
            Need(name, where, "different thresholds", "thresholds", count, limits.thresholds, core,
                 "",
                 note=_split(parts, 0))
        )  # fmt: skip
        split = max(split, parts)
    return rows, split


_MEMORY = "prune {percent} % of the synapses onto it (in a sparse layer), or reduce its fan-in"
_AXONS = "let at most {have:,} neurons feed it, for example by pooling before it or a smaller kernel"


def _split(parts: int, each: int) -> str:
    return "on one core" if parts == 1 else f"over {parts} cores" + (f" of up to {each:,} neurons" if each else "")


def _bytes(incoming: tuple[Projection, ...], population: Population, index_bits: int) -> int:
    """Synaptic memory of the neuron that needs the most."""
    total = np.zeros(population.size, np.int64)
    for projection in incoming:
        total += population.summed(projection.port, neuron_bytes(projection, index_bits))
    return int(total.max(initial=0))


def _sources(incoming: tuple[Projection, ...], population: Population) -> int:
    """Input axons of the neuron that needs the most."""
    total = np.zeros(population.size, np.int64)
    for projection in incoming:
        total += population.summed(projection.port, fan_in(projection, np.arange(projection.connectivity.outputs)))
    return int(total.max(initial=0))


def _span(least: int, most: int) -> str:
    return f"{most}" if least == most else f"{least} to {most}"


def _neurons(network: Network, layers: list[Population], limits: Limits, room: int, chips: int) -> Need:
    taken = {p.name: int(limits.compartments(network, p.name).sum()) for p in layers}
    need, have = sum(taken.values()), limits.cores * chips * room
    largest = ", ".join(f"{name} {size:,}" for name, size in sorted(taken.items(), key=lambda item: -item[1])[:3])
    more = -(-need // (limits.cores * room))
    remedy = f"use at least {more} chips (--chips {more}) or another chip (--chip), or make the largest layers smaller "
    remedy += f"({largest}); --chip none runs it without placing it"
    fits = need <= have
    return Need("", "", "neurons", "neurons", need, have, _chips(limits, chips), "" if fits else remedy, fits)


def _chips(limits: Limits, chips: int) -> str:
    return f"{limits.chip}" if chips == 1 else f"{chips} {limits.chip}"


def _delays(network: Network, limits: Limits) -> list[Need]:
    if limits.delay is None:
        return []
    try:
        latency = schedule(network).latency
    except UnsupportedError:
        return []  # a loop that is too short is refused with its own message
    rows = []
    for projection in network.projections:
        need = latency[projection.name] - 1
        if need > limits.delay:
            relays = -(-(need + 1) // (limits.delay + 1)) - 1
            rows.append(
                Need(
                    projection.name, projection.handle.module, "delay", "steps", need, limits.delay,
                    f"a synapse of {limits.chip}",
                    f"shorten the delay, or relay it over {relays} population{'s' if relays > 1 else ''} in between",
                    fits=False,
                )
            )  # fmt: skip
    return rows


def _payload_bits(network: Network, population: Population) -> int:
    """Bits of what a neuron sends beside the bare spike; 0 where nobody hears it."""
    heard = population.external or any(p.source == population.name for p in network.projections)
    return population.neuron.message_bits(network.arithmetic) if heard else 0


def _models(network: Network, limits: Limits) -> list[Need]:
    """Neurons that send more than the chip's spikes can carry."""
    if limits.payload_bits is None:
        return []
    rows = []
    for population in network.populations:
        bits = _payload_bits(network, population)
        if bits > limits.payload_bits:
            rows.append(
                Need(
                    population.name, population.handle.module, "payload in a spike", "bits", bits, limits.payload_bits,
                    f"a spike of {limits.chip}",
                    "use a chip with graded spikes (--chip loihi2), or neurons that send one spike a step at most",
                    fits=False,
                )
            )  # fmt: skip
    return rows


@dataclass(frozen=True)
class Stored:
    """How a projection is stored."""

    projection: str
    encoding: str
    weights: int
    bytes: int
    delay: int


def storage(network: Network, limits: Limits | None = None) -> tuple[Stored, ...]:
    """Encoding, stored weights and bytes of every projection on one core, of a chip if given."""
    bits = limits.index_bits if limits else INDEX_BITS
    found = []
    for p in network.projections:
        kept = stored(p, np.arange(p.connectivity.outputs), bits)
        found.append(Stored(p.name, kept.encoding, p.connectivity.stored_weights(), kept.bytes, p.delay))
    return tuple(found)
