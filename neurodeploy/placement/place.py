"""Pass ``place``: give every neuron a core of the chip, within the chip's limits.

Neurons are cut into parts that a core can hold (`neurodeploy.placement.partition`), or as a table says
(`neurodeploy.placement.tiling`), and the parts are given cores such that messages travel few hops
(`neurodeploy.placement.arrange`). Parts share cores when that is asked for, or when the network does not fit otherwise.
How many output axons a part needs is known only when all are cut: one with too many is cut further then.
With several chips, cores number on from one to the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from neurodeploy import __version__
from neurodeploy.errors import DoesNotFitError
from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Network, Projection
from neurodeploy.program.limits import Limits
from neurodeploy.program.memory import synapse_bytes
from neurodeploy.program.program import CoreUse, Program
from neurodeploy.program.routing import FanOut, fan_out

from .fit import amount, shown
from .orders import Order
from .partition import Part, Partition, in_pieces
from .tiling import Tiling

__all__ = ["Limits", "Place"]


@dataclass(frozen=True)
class Place:
    """Place a network on a chip.

    Args:
        limits: of the chip.
        max_neurons_per_core: use fewer neurons per core than the chip allows.
        order: which neurons stand together (`neurodeploy.placement.orders`).
        share: let neighbouring layers share a core.
        chips: how many there are.
        seed: of everything that is random.
        tiling: take this mapping instead.
        rates: spikes a step of each neuron, by population, ``[neurons]``; 1 for all that are not in it.
    """

    name: ClassVar[str] = "place"
    limits: Limits
    max_neurons_per_core: int | None = None
    order: Order = "spatial"
    share: bool = False
    chips: int = 1
    seed: int = 0
    tiling: Tiling | None = field(default=None, repr=False)
    rates: Mapping[str, Array] = field(default_factory=dict, repr=False)

    def apply(self, network: Network, provenance: Mapping[str, str] | None = None) -> Program:
        """Return the placed Program.

        Raises:
            DoesNotFitError: names the population, the limit, what is needed and what there is.
            InvalidInputError: the tiling does not match the network.
        """
        parts = self._parts(network)
        core_of, tables = _routed(network, parts)
        while sending := self._sending_too_much(parts, core_of, tables):
            parts = self._split(network, parts, sending)
            core_of, tables = _routed(network, parts)
        at = self._arranged(network, core_of, tables, len(parts))
        core_of = {name: at[cores].astype(np.int32) for name, cores in core_of.items()}
        tables = [(p, replace(t, cores=at[t.cores])) for p, t in tables]
        use = tuple(_use(network, core_of, int(core), tables, self.limits) for core in np.sort(at))
        facts = {"chips": str(self.chips)} if self.chips > 1 else {}
        facts |= {"neurodeploy": __version__, "passes": "quantise, place" if network.arithmetic != "float" else "place"}
        return Program(network, self.limits.chip, core_of, use, {**facts, **(provenance or {})})

    def _parts(self, network: Network) -> list[Part]:
        cap = min(self.limits.neurons, self.max_neurons_per_core or self.limits.neurons)
        there = self.limits.cores * self.chips
        partition = Partition(self.limits, cap, self.order, self.share, self.seed)
        if self.tiling is not None:
            parts: list[Part] = list(self.tiling.parts(network))
            self._check_tiles(network, partition, parts)
        else:
            self._room(network, cap)
            parts = partition.parts(network)
            if len(parts) > there and not self.share:
                parts = replace(partition, share=True).parts(network)
        self._enough(network, parts)
        return parts

    def _enough(self, network: Network, parts: list[Part]) -> None:
        """Refuse more parts than there are cores."""
        there = self.limits.cores * self.chips
        if len(parts) > there:
            per_layer = sorted(
                ((p.name, sum(p.name in part for part in parts)) for p in network.populations),
                key=lambda item: -item[1],
            )
            chips = -(-len(parts) // self.limits.cores)
            raise DoesNotFitError(
                f"the network does not fit on {_chips(self.chips, self.limits.chip)}",
                found=f"needs {len(parts)} cores; most of them for "
                + ", ".join(f"{name} ({n})" for name, n in per_layer[:3] if n),
                allowed=f"{there} cores",
                hint=f"use {chips} chips (--chips {chips}), or a smaller network"
                + (", or raise --max-neurons-per-core" if self.max_neurons_per_core else ""),
            )

    def _sending_too_much(
        self, parts: list[Part], core_of: Mapping[str, Array], tables: list[tuple[Projection, FanOut]]
    ) -> dict[int, int]:
        """Output axons of the parts that need more of them than a core has."""
        if self.limits.axons_out is None:
            return {}
        axons = np.zeros(len(parts), np.int64)
        for projection, table in tables:
            if projection.source in core_of:
                np.add.at(axons, core_of[projection.source], np.diff(table.indptr))
        return {int(part): int(axons[part]) for part in np.flatnonzero(axons > self.limits.axons_out)}

    def _split(self, network: Network, parts: list[Part], sending: Mapping[int, int]) -> list[Part]:
        """Parts that send to too many destinations, in pieces; a table's tiles are not touched."""
        have = self.limits.axons_out
        assert have is not None
        found: list[Part] = []
        for index, part in enumerate(parts):
            pieces = -(-sending.get(index, 0) // have)
            neurons = sum(map(len, part.values()))
            if pieces > 1 and (self.tiling is not None or neurons < 2):
                raise DoesNotFitError(
                    (f"{self.tiling.source}: tile {index + 1}" if self.tiling else "one neuron")
                    + f", of {', '.join(part)}, sends to too many destinations",
                    found=f"{sending[index]:,} output axons",
                    allowed=f"{have:,} on a core of {self.limits.chip}",
                    hint=f"split it over {pieces} cores (tiles of up to {neurons // pieces:,} neurons)"
                    if neurons >= pieces
                    else "let the layers behind it need fewer cores",
                )
            found += in_pieces(part, min(pieces, neurons)) if pieces > 1 else [part]
        self._enough(network, found)
        return found

    def _room(self, network: Network, cap: int) -> None:
        """Refuse at once what no placement could fit."""
        layers = [p for p in network.populations if not p.external]
        neurons = {p.name: int(self.limits.compartments(network, p.name).sum()) for p in layers}
        if (need := sum(neurons.values())) > self.limits.cores * self.chips * cap:
            largest = sorted(neurons.items(), key=lambda item: -item[1])[:3]
            chips = -(-need // (self.limits.cores * cap))
            raise DoesNotFitError(
                f"the network does not fit on {_chips(self.chips, self.limits.chip)}",
                found=f"{need:,} neurons; the largest: " + ", ".join(f"{name} {size:,}" for name, size in largest),
                allowed=f"{self.limits.cores * self.chips * cap:,} ({self.limits.cores * self.chips} cores of {cap:,})",
                hint=f"use at least {chips} chips (--chips {chips}), another chip (--chip) or a smaller network; "
                "--chip none runs it without placing it",
            )

    def _check_tiles(self, network: Network, partition: Partition, parts: list[Part]) -> None:
        assert self.tiling is not None
        for index, part in enumerate(parts):
            known = network.by_name
            on_chip = {n: v for n, v in part.items() if not known[n].external or known[n].neuron.always_on}
            if on_chip and (excess := partition.over(network, on_chip)):
                cores = -(-excess.need // excess.have)
                each = sum(map(len, on_chip.values())) // cores
                hint = f"split it over {cores} cores (tiles of up to {each:,} neurons)"
                if excess.limit == "synapse memory":
                    hint += f", or prune {-(-100 * (excess.need - excess.have) // excess.need)} %"
                raise DoesNotFitError(
                    f"{self.tiling.source}: tile {index + 1}, of {', '.join(part)}, needs "
                    f"{amount(excess.need, excess.unit, excess.limit)} on a core that has "
                    f"{shown(excess.have, excess.unit)}",
                    hint=hint,
                )

    def _arranged(
        self, network: Network, core_of: Mapping[str, Array], tables: list[tuple[Projection, FanOut]], parts: int
    ) -> Array:
        """Physical core of each part."""
        mesh = self.limits.mesh
        if mesh is None or parts <= mesh.cores_per_tile:
            return np.arange(parts)
        from .arrange import arrange, distances

        traffic = np.zeros((parts, parts))
        for projection, table in tables:
            if projection.source in core_of:
                source = np.repeat(np.arange(projection.connectivity.inputs), np.diff(table.indptr))
                rate = self.rates.get(projection.source, np.ones(projection.connectivity.inputs))
                np.add.at(traffic, (core_of[projection.source][source], table.cores), rate[source])
        # Chips that no part needs would only take messages further.
        chips = -(-parts // self.limits.cores)
        apart = distances(self.limits.cores, mesh.columns, mesh.cores_per_tile, chips)
        return arrange(traffic, apart, self.seed)


def _cores(network: Network, parts: list[Part]) -> dict[str, Array]:
    """Part of each neuron; an always-on source lives with the first neuron that it feeds."""
    core_of: dict[str, Array] = {}
    for index, part in enumerate(parts):
        for name, neurons in part.items():
            core_of.setdefault(name, np.zeros(network.by_name[name].size, np.int64))[neurons] = index
    for population in network.populations:
        if population.name not in core_of and population.neuron.always_on:  # others are fed from outside
            targets = [core_of[p.target] for p in network.projections if p.source == population.name]
            core_of[population.name] = np.full(population.size, min((int(t.min()) for t in targets), default=0))
    return core_of


def _routed(network: Network, parts: list[Part]) -> tuple[dict[str, Array], list[tuple[Projection, FanOut]]]:
    """Part of each neuron, and what each projection sends where."""
    core_of = _cores(network, parts)
    return core_of, [(p, fan_out(p, network.by_name[p.target].at(p.port, core_of[p.target])))
                     for p in network.projections]  # fmt: skip


def _use(
    network: Network, core_of: Mapping[str, Array], core: int, tables: list[tuple[Projection, FanOut]], limits: Limits
) -> CoreUse:
    neurons = memory = axons_in = axons_out = 0
    for population in network.populations:
        if not population.external:
            here = np.flatnonzero(core_of[population.name] == core)
            neurons += limits.taken(network, population.name, here)
            if len(here):
                for projection in network.into(population.name):
                    memory += synapse_bytes(projection, population.places(projection.port, here), limits.index_bits)
    for projection, table in tables:
        axons_in += int((table.cores == core).sum())
        if projection.source in core_of:
            axons_out += int(np.diff(table.indptr)[core_of[projection.source] == core].sum())
    return CoreUse(core, neurons, memory, axons_in, axons_out)


def _chips(count: int, chip: str) -> str:
    return f"one {chip}" if count == 1 else f"{count} {chip}"
