"""Pass ``place``: give every neuron a core of the chip, within the chip's limits.

Populations are taken in order and each starts on a new core. Its neurons are dealt out in (y, x, c) order - for images
the channels of one position stay together, so that a spike reaches few cores - and a core is filled until the next
neuron would exceed its neurons, synaptic memory or input axons. Cores are numbered along the mesh in that order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from neurodeploy import __version__
from neurodeploy.connectivity import Array
from neurodeploy.errors import DoesNotFitError
from neurodeploy.memory import synapse_bytes
from neurodeploy.network import Network, Population, Projection
from neurodeploy.neurons import Source
from neurodeploy.program import CoreUse, Program
from neurodeploy.routing import FanOut, fan_out


@dataclass(frozen=True)
class Limits:
    """What a chip and each of its cores can hold. None means that the limit is not known.

    Args:
        chip: name of the architecture.
        cores: on the chip.
        neurons, synapse_bytes, axons_in, axons_out: per core.
    """

    chip: str
    cores: int
    neurons: int
    synapse_bytes: int | None = None
    axons_in: int | None = None
    axons_out: int | None = None


@dataclass(frozen=True)
class Place:
    """Place a network on a chip.

    Args:
        limits: of the chip.
        max_neurons_per_core: use fewer neurons per core than the chip allows.
    """

    name: ClassVar[str] = "place"
    limits: Limits
    max_neurons_per_core: int | None = None

    def apply(self, network: Network, provenance: Mapping[str, str] | None = None) -> Program:
        """Return the placed Program.

        Raises:
            DoesNotFitError: names the population, the limit, what is needed and what there is.
        """
        self._room(network)
        core_of: dict[str, Array] = {}
        used = 0
        for population in network.populations:
            if not isinstance(population.neuron, Source):
                cores = self._split(network, population) + used
                used = int(cores.max()) + 1
                core_of[population.name] = cores.astype(np.int32)
        if used > self.limits.cores:
            raise DoesNotFitError(
                f"the network does not fit on one {self.limits.chip}",
                found=f"needs {used} cores",
                allowed=f"{self.limits.cores} cores",
                hint="use a smaller network, or raise --max-neurons-per-core if it was given",
            )
        for population in network.populations:
            if population.name not in core_of and population not in network.inputs:
                targets = [core_of[p.target] for p in network.projections if p.source == population.name]
                core_of[population.name] = np.full(
                    population.size, min((int(t.min()) for t in targets), default=0), np.int32
                )
        tables = [(p, fan_out(p, core_of[p.target])) for p in network.projections]
        use = tuple(self._use(network, core_of, core, tables) for core in range(used))
        for entry in use:
            if self.limits.axons_out is not None and entry.axons_out > self.limits.axons_out:
                raise DoesNotFitError(
                    f"core {entry.core} sends to too many destinations",
                    found=f"{entry.axons_out} output axons",
                    allowed=f"{self.limits.axons_out} on a core of {self.limits.chip}",
                    hint="put fewer neurons on a core (--max-neurons-per-core)",
                )
        facts = {"neurodeploy": __version__, "passes": "quantise, place" if network.arithmetic != "float" else "place"}
        return Program(network, self.limits.chip, core_of, use, {**facts, **(provenance or {})})

    def _room(self, network: Network) -> None:
        """Refuse at once what no placement could fit."""
        neurons = {p.name: p.size for p in network.populations if not isinstance(p.neuron, Source)}
        each = min(self.limits.neurons, self.max_neurons_per_core or self.limits.neurons)
        if (need := sum(neurons.values())) > self.limits.cores * each:
            largest = sorted(neurons.items(), key=lambda item: -item[1])[:3]
            raise DoesNotFitError(
                f"the network does not fit on one {self.limits.chip}",
                found=f"{need:,} neurons; the largest: " + ", ".join(f"{name} {size:,}" for name, size in largest),
                allowed=f"{self.limits.cores * each:,} ({self.limits.cores} cores of {each:,})",
                hint="use a smaller network or another chip (--chip); --chip none runs it without placing it",
            )

    def _split(self, network: Network, population: Population) -> Array:
        """Core of each neuron, counted from 0 for this population."""
        incoming = network.into(population.name)
        sequence = _dealing_order(population)
        cap = min(self.limits.neurons, self.max_neurons_per_core or self.limits.neurons)
        cores = np.zeros(population.size, dtype=np.int64)
        start = core = 0
        while start < population.size:
            count = min(cap, population.size - start)
            while (over := self._over(incoming, sequence[start : start + count])) is not None:
                if count == 1:
                    what, need, have, hint = over
                    where = f" ({population.handle})" if population.handle.module else ""
                    raise DoesNotFitError(
                        f"one neuron of {population.name!r}{where} needs more {what} than a core of "
                        f"{self.limits.chip} has",
                        found=f"needs {need:,}",
                        allowed=f"{have:,} per core",
                        hint=hint,
                    )
                # Both limits grow with the number of neurons: aim where a proportional share would fit.
                count = max(1, min(count - 1, count * over[2] // over[1]))
            cores[sequence[start : start + count]] = core
            start, core = start + count, core + 1
        return cores

    def _over(self, incoming: tuple[Projection, ...], neurons: Array) -> tuple[str, int, int, str] | None:
        """The first limit that these neurons on one core exceed: name, need, have, hint."""
        limits = self.limits
        if limits.synapse_bytes is not None:
            need = sum(synapse_bytes(p, neurons) for p in incoming)
            if need > limits.synapse_bytes:
                return "bytes of synapse memory", need, limits.synapse_bytes, "prune the layer or reduce its fan-in"
        if limits.axons_in is not None and sum(p.connectivity.inputs for p in incoming) > limits.axons_in:
            columns = [p.connectivity.to_csr()[:, neurons] for p in incoming]
            need = sum(int((np.diff(c.indptr) > 0).sum()) for c in columns)
            if need > limits.axons_in:
                return "input axons", need, limits.axons_in, "reduce the number of neurons that feed this layer"
        return None

    @staticmethod
    def _use(
        network: Network, core_of: Mapping[str, Array], core: int, tables: list[tuple[Projection, FanOut]]
    ) -> CoreUse:
        neurons = memory = axons_in = axons_out = 0
        for population in network.populations:
            if not isinstance(population.neuron, Source):
                here = np.flatnonzero(core_of[population.name] == core)
                neurons += len(here)
                if len(here):
                    for projection in network.into(population.name):
                        memory += synapse_bytes(projection, here)
        for projection, table in tables:
            axons_in += int((table.cores == core).sum())
            if projection.source in core_of:
                axons_out += int(np.diff(table.indptr)[core_of[projection.source] == core].sum())
        return CoreUse(core, neurons, memory, axons_in, axons_out)


def _dealing_order(population: Population) -> Array:
    """Flat indices in the order in which neurons are dealt to cores: (y, x, c) for images."""
    index = np.arange(population.size).reshape(population.shape)
    return (index.transpose(1, 2, 0) if index.ndim == 3 else index).ravel()
