"""Neurons to cores, within the limits of a core: neurons, synaptic memory, input axons, different thresholds.

A *part* is what one core holds: for each population the flat indices of its neurons there. A population in images
gets tiles small enough that each fits (`neurodeploy.placement.orders`); others are cut greedily, each core filled until
the next neuron would not fit. Where layers may share cores, all images are cut along the same lines, so that a
convolution's neurons stand on the core of those that they listen to; what is left joins a neighbour if both fit.

Multicast is what crosses between cores: a spike is sent once to every core that holds a synapse of it. With a
hyperedge for each neuron that joins it and its targets, the number of messages to other cores is the sum over
hyperedges of the cores that they touch less one, which is the objective *km1* of hypergraph partitioners; the order
``hypergraph`` minimises it with mt-KaHyPar (Gottesbueren et al., ALENEX 2021).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodeploy.errors import DoesNotFitError
from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Network, Population
from neurodeploy.packages.commands import missing
from neurodeploy.program.limits import Limits
from neurodeploy.program.memory import synapse_bytes
from neurodeploy.program.routing import sources_of

from .orders import Order, chunks, cut

Part = Mapping[str, Array]

IMBALANCE = 0.03
"""How much larger than the mean a block of the hypergraph partition may be."""


@dataclass(frozen=True)
class Excess:
    """A limit that a part exceeds."""

    limit: str
    unit: str
    need: int
    have: int


@dataclass(frozen=True)
class Partition:
    """How a network is cut into parts.

    Args:
        limits: of a core.
        cap: neurons that a core takes at most.
        order: see `neurodeploy.placement.orders`; ``random`` and ``hypergraph`` mix populations on a core.
        share: put neighbouring parts on one core where both fit.
        seed: of ``random`` and ``hypergraph``.
        blocks: number of blocks of the hypergraph partition; as many as ``spatial`` needs when not given.
    """

    limits: Limits
    cap: int
    order: Order = "spatial"
    share: bool = False
    seed: int = 0
    blocks: int | None = None

    def parts(self, network: Network) -> list[Part]:
        """Cut a network.

        Raises:
            DoesNotFitError: one neuron alone exceeds a limit; names it, need, have and what to do.
            MissingPackageError: the hypergraph partitioner is not installed.
        """
        if self.order in ("random", "hypergraph"):
            mixed = self._random(network) if self.order == "random" else self._hypergraph(network)
            return [fitting for part in mixed for fitting in self._split(network, part)]
        found: list[Part] = []
        if self.share and self.order == "spatial":
            found = self._columns(network)
        dealt = {name for part in found for name in part}
        for population in network.populations:
            if not population.external and population.name not in dealt:
                for part in self._of(network, population):
                    joined = _joined(found[-1], part) if found and self.share else None
                    if joined is not None and self.over(network, joined) is None:
                        found[-1] = joined
                    else:
                        found.append(part)
        return found

    def _columns(self, network: Network) -> list[Part]:
        """All image layers cut along the same lines, so that what lies above each other shares a core.

        The fewest cells, and of the grids with so many the squarest, whose parts all fit; none if there is none.
        """
        images = [p for p in network.populations if not p.external and len(p.shape) == 3]
        if not images:
            return []
        least = -(-sum(int(self.limits.compartments(network, p.name).sum()) for p in images) // self.cap)
        rows_most, columns_most = (min(p.shape[axis] for p in images) for axis in (1, 2))
        for cells in range(least, min(2 * least, rows_most * columns_most) + 1):
            grids = [(r, cells // r) for r in range(1, cells + 1) if cells % r == 0]
            for rows, columns in sorted(grids, key=sum):
                if rows <= rows_most and columns <= columns_most:
                    parts = _cells(images, rows, columns)
                    if all(self.over(network, part) is None for part in parts):
                        return parts
        return []

    def over(self, network: Network, part: Part) -> Excess | None:
        """The first limit that a part exceeds on one core."""
        limits = self.limits
        if (need := taken(network, part, self.limits)) > self.cap:
            return Excess("neurons", "neurons", need, self.cap)
        incoming = [
            (p, network.by_name[name].places(p.port, neurons))
            for name, neurons in part.items()
            for p in network.into(name)
        ]
        if limits.synapse_bytes is not None:
            need = sum(synapse_bytes(p, neurons, limits.index_bits) for p, neurons in incoming)
            if need > limits.synapse_bytes:
                return Excess("synapse memory", "bytes", need, limits.synapse_bytes)
        if limits.axons_in is not None and sum(p.connectivity.inputs for p, _ in incoming) > limits.axons_in:
            need = sum(sources_of(p, neurons) for p, neurons in incoming)
            if need > limits.axons_in:
                return Excess("input axons", "axons", need, limits.axons_in)
        if limits.thresholds is not None and network.arithmetic != "float":
            need = _thresholds(network, part)
            if need > limits.thresholds:
                return Excess("different thresholds", "thresholds", need, limits.thresholds)
        return None

    def _of(self, network: Network, population: Population) -> list[Part]:
        """Parts of one population."""
        name = population.name
        room = max(self.cap // int(self.limits.compartments(network, name).max()), 1)
        if len(population.shape) == 3 and self.order == "spatial":
            while True:
                parts: list[Part] = [{name: chunk} for chunk in chunks(population, self.order, room)]
                worst = max(
                    (e for p in parts if (e := self.over(network, p))), key=lambda e: e.need / e.have, default=None
                )
                if worst is None:
                    return parts
                if room == 1:
                    raise refusal(network, population, worst, self.limits)
                # Limits grow with the number of neurons, but not all in proportion: never less than a tenth off.
                room = max(1, min(room * worst.have // worst.need, room * 9 // 10))
        sequence = np.concatenate(chunks(population, self.order, room))
        return self._split(network, {name: sequence})

    def _split(self, network: Network, part: Part) -> list[Part]:
        """A part in pieces that fit, its neurons in their order."""
        names, neurons = list(part), np.concatenate(list(part.values()))
        owner = np.repeat(np.arange(len(names)), [len(n) for n in part.values()])
        found: list[Part] = []
        start = 0
        while start < len(neurons):
            count = min(self.cap, len(neurons) - start)
            while (
                excess := self.over(
                    network, piece := _piece(names, owner[start : start + count], neurons[start : start + count])
                )
            ) is not None:
                if count == 1:
                    raise refusal(network, network.by_name[names[owner[start]]], excess, self.limits)
                count = max(1, min(count - 1, count * excess.have // excess.need))
            found.append(piece)
            start += count
        return found

    def _random(self, network: Network) -> list[Part]:
        names = [p.name for p in network.populations if not p.external]
        sizes = [network.by_name[name].size for name in names]
        owner, neuron = np.repeat(np.arange(len(names)), sizes), np.concatenate([np.arange(n) for n in sizes])
        shuffled = np.random.default_rng(self.seed).permutation(len(neuron))
        return [_piece(names, owner[piece], neuron[piece]) for piece in cut(shuffled, self.cap)]

    def _hypergraph(self, network: Network) -> list[Part]:
        names = [p.name for p in network.populations if not p.external]
        sizes = [network.by_name[name].size for name in names]
        first = dict(zip(names, np.cumsum([0, *sizes[:-1]]), strict=True))
        count = self.blocks or len(Partition(self.limits, self.cap, "spatial", share=True).parts(network))
        owner, neuron = np.repeat(np.arange(len(names)), sizes), np.concatenate([np.arange(n) for n in sizes])
        while True:
            block = _kahypar(network, first, sum(sizes), count, self.seed)
            if np.bincount(block).max() <= self.cap:
                break
            count += 1
        members = [np.flatnonzero(block == b) for b in range(count)]
        return [_piece(names, owner[m], neuron[m]) for m in members if len(m)]


def taken(network: Network, part: Part, limits: Limits) -> int:
    """Neurons of a core that a part takes: of some neurons several compartments."""
    return sum(limits.taken(network, name, neurons) for name, neurons in part.items())


def in_pieces(part: Part, count: int) -> list[Part]:
    """A part in ``count`` pieces of equally many neurons, in their order."""
    names, neurons = list(part), np.concatenate(list(part.values()))
    owner = np.repeat(np.arange(len(names)), [len(n) for n in part.values()])
    return [_piece(names, owner[i], neurons[i]) for i in np.array_split(np.arange(len(neurons)), count)]


def refusal(network: Network, population: Population, excess: Excess, limits: Limits) -> DoesNotFitError:
    """The error for a single neuron that no core can hold."""
    where = f" ({population.handle})" if population.handle.module else ""
    hints = {
        "synapse memory": f"prune {100 - 100 * excess.have // excess.need} % of its synapses, or reduce its fan-in",
        "input axons": f"let at most {excess.have:,} neurons feed it, for example by pooling or a smaller kernel",
    }
    return DoesNotFitError(
        f"one neuron of {population.name!r}{where} needs more {excess.limit} than a core of {limits.chip} has",
        found=f"needs {excess.need:,} {excess.unit}",
        allowed=f"{excess.have:,} per core",
        hint=hints.get(excess.limit, "use another chip (--chip)"),
    )


def _cells(images: list[Population], rows: int, columns: int) -> list[Part]:
    """What lies in each cell of a grid over the images, whatever their size."""
    parts: list[dict[str, Array]] = [{} for _ in range(rows * columns)]
    for population in images:
        _, height, width = population.shape
        index = np.arange(population.size)
        y, x = index // width % height, index % width
        cell = (y * rows // height) * columns + x * columns // width
        for number, part in enumerate(parts):
            part[population.name] = np.flatnonzero(cell == number)
    return list(parts)


def _thresholds(network: Network, part: Part) -> int:
    """How many different thresholds the neurons of a part have."""
    each = [(network.by_name[name].neuron.thresholds(), neurons) for name, neurons in part.items()]
    return len(np.unique(np.concatenate([t[n] for t, n in each if t is not None] or [np.zeros(0)])))


def _joined(first: Part, second: Part) -> Part:
    return {
        name: np.concatenate([p[name] for p in (first, second) if name in p])
        for name in dict.fromkeys((*first, *second))
    }


def _piece(names: list[str], owner: Array, neurons: Array) -> Part:
    return {names[i]: neurons[owner == i] for i in np.unique(owner)}


def _kahypar(network: Network, first: Mapping[str, int], nodes: int, blocks: int, seed: int) -> Array:
    """Block of each neuron; see the module's docstring."""
    try:
        import mtkahypar
    except ImportError as error:
        raise missing("the order 'hypergraph'", "mtkahypar", otherwise="take --order spatial") from error
    nets: dict[tuple[str, int], list[Array]] = {}
    for projection in network.projections:
        matrix = projection.connectivity.to_csr()
        target = network.by_name[projection.target]
        onto = first[target.name] + target.at(projection.port, np.arange(target.size))
        for i in range(projection.connectivity.inputs):
            targets = matrix.indices[matrix.indptr[i] : matrix.indptr[i + 1]]
            if len(targets):
                nets.setdefault((projection.source, i), []).append(onto[targets])
    # The host sends an input's spikes; a hyperedge without a core of its own counts one core too few for all alike.
    edges = []
    for (source, i), reached in nets.items():
        own = [first[source] + i] if source in first else []
        edge = np.unique(np.concatenate([*reached, np.array(own, np.int64)]))
        if len(edge) > 1:
            edges.append(edge.tolist())
    mtkahypar.set_seed(seed)
    made: Any = _initialised(mtkahypar)
    context = made.context_from_preset(mtkahypar.PresetType.DETERMINISTIC)
    context.set_partitioning_parameters(blocks, IMBALANCE, mtkahypar.Objective.KM1)
    context.logging = False
    found = made.create_hypergraph(context, nodes, len(edges), edges).partition(context)
    return np.array([found.block_id(node) for node in range(nodes)])


def _initialised(module: Any, threads: int = 2) -> Any:
    """mt-KaHyPar's threads are set up once in a process."""
    if not hasattr(module, "_neurodeploy"):
        module._neurodeploy = module.initialize(threads)
    return module._neurodeploy
