"""Pass ``prune``: what can make no difference takes no room on the chip. Exact.

Removed, until nothing more is found:

- synapses of weight zero in a list, and projections of which nothing is left,
- what a population sends that can never spike: nothing arrives, no bias, a start that is not above its threshold; or
  in floats, all that can arrive leaves it below its threshold,
- populations on which no output depends, nor the answer, nor a host stage that stays, and their projections. Inputs
  stay, since the user feeds them.
- host stages that feed no population that stays, and of the others what they feed in vain. What a stage gives the user
  stays.

The outputs do what they did before, in every step: a current of zero adds nothing, and what no path leads from to an
output cannot reach it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from neurodeploy.network.connectivity import Sparse
from neurodeploy.network.host import HostStage, fed
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.unreachable import surely_silent

from .data import NOTHING, PassData


@dataclass(frozen=True)
class Prune:
    """Remove dead populations and zero projections; a note says what and why."""

    name: ClassVar[str] = "prune"

    def apply(self, network: Network, data: PassData = NOTHING) -> Network:
        """See the module's docstring."""
        notes: dict[str, str] = {}
        before = None
        while network is not before:
            before = network
            network = _silent(_unheard(_zeros(network, notes), notes), notes)
        return network if not notes else replace(network, notes={**network.notes, **notes})


def _zeros(network: Network, notes: dict[str, str]) -> Network:
    kept = []
    for projection in network.projections:
        kind = projection.connectivity
        if not np.any(kind.weights) and not _biased(projection):
            notes[f"prune {projection.name}"] = "removed: all its weights are zero"
            continue
        if isinstance(kind, Sparse) and (none := int((kind.weights == 0).sum())):
            matrix = kind.to_csr()
            matrix.eliminate_zeros()
            left = replace(Sparse.from_csr(matrix), exponent=kind.exponent)
            notes[f"prune {projection.name}"] = (
                f"{none:,} of {kind.weights.size:,} synapses removed: their weight is zero"
            )
            projection = replace(projection, connectivity=left)
        kept.append(projection)
    return _with(network, network.populations, kept)


def _biased(projection: Projection) -> bool:
    """Whether it delivers a current whatever its source does."""
    return projection.bias is not None and bool(np.any(projection.bias))


def _unheard(network: Network, notes: dict[str, str]) -> Network:
    feeds = fed(network.stages)
    live = [stage for stage in network.stages if any(not given.target for given in stage.gives)]
    heard = {*network.heard, *(taken.source for stage in live for taken in stage.takes)}
    waiting = list(heard)
    while waiting:
        name = waiting.pop()
        behind = [p.source for p in network.into(name)]
        if stage := feeds.get(name):
            behind += [taken.source for taken in stage.takes]
            live += [stage] if stage not in live else []
        waiting += set(behind) - heard
        heard |= set(behind)
    network = _stages(network, heard, live, notes)
    kept = tuple(p for p in network.populations if p.name in heard or p in network.inputs)
    for population in network.populations:
        if population not in kept:
            notes[f"prune {population.name}"] = f"removed ({population.size:,} neurons): no output depends on it"
    names = {p.name for p in kept}
    left = [p for p in network.projections if p.target in names and p.source in names]
    return _with(network, kept, left)


def _stages(network: Network, heard: set[str], live: Collection[HostStage], notes: dict[str, str]) -> Network:
    """Without stages that feed nothing that stays, and without what others feed in vain."""
    stages = []
    for stage in network.stages:
        if stage not in live:
            notes[f"prune {stage.name}"] = "removed: nothing depends on what it feeds"
            continue
        gives = tuple(given for given in stage.gives if not given.target or given.target in heard)
        stages.append(stage if len(gives) == len(stage.gives) else replace(stage, gives=gives))
    if all(a is b for a, b in zip(stages, network.stages, strict=False)) and len(stages) == len(network.stages):
        return network
    dead = set(fed(network.stages)) - set(fed(stages))
    for name in dead:
        notes[f"prune {name}"] = "removed: no output depends on what the host feeds it"
    return replace(
        network, stages=tuple(stages),
        populations=tuple(p for p in network.populations if p.name not in dead),
        projections=tuple(p for p in network.projections if p.source not in dead),
    )  # fmt: skip


def _silent(network: Network, notes: dict[str, str]) -> Network:
    silent = {p.name for p in network.populations if _never_spikes(network, p)}
    kept = []
    for projection in network.projections:
        if projection.source in silent and not _biased(projection):
            driven = any(p.target == projection.source for p in network.projections)
            why = "since all that can arrive leaves it below its threshold" if driven else "since nothing drives it"
            notes[f"prune {projection.name}"] = f"removed: {projection.source!r} never spikes, {why}"
        else:
            kept.append(projection)
    return _with(network, network.populations, kept)


def _never_spikes(network: Network, population: Population) -> bool:
    idle = not population.external and population.neuron.rests and not network.into(population.name)
    return idle or surely_silent(network, population.name)


def _with(network: Network, populations: tuple[Population, ...], projections: list[Projection]) -> Network:
    """The same object where nothing changed."""
    same = len(populations) == len(network.populations) and len(projections) == len(network.projections)
    if same and all(a is b for a, b in zip(projections, network.projections, strict=True)):
        return network
    return replace(network, populations=populations, projections=tuple(projections))
