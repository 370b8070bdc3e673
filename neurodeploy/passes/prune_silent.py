"""Pass ``prune-silent``: populations that are silent on the calibration data take no room on the chip. Exact on these.

A population of which no neuron spikes in any step of any calibration sample sends nothing to anyone: what it feeds
gets the same currents without it. Its projections go, and then, by `prune`, itself and all that only it heard: a
shortcut that training has closed (natural pruning), a channel that died. On other samples it might have spiked, which
nobody can know from these; give as many as there are, and let `verify` measure on others.

A population stays where the user reads it, a host stage does, or its synapses learn.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from neurodeploy.backends.reference.run import run_network
from neurodeploy.errors import InvalidInputError
from neurodeploy.network.network import Network

from .data import NOTHING, PassData
from .prune import Prune


@dataclass(frozen=True)
class PruneSilent:
    """Remove what is silent on all samples; notes say what, and on how many."""

    name: ClassVar[str] = "prune-silent"

    def apply(self, network: Network, data: PassData = NOTHING) -> Network:
        """See the module's docstring.

        Raises:
            InvalidInputError: there are no samples.
        """
        if data.calibration is None:
            raise InvalidInputError(
                "what is silent shows on samples", found="no calibration",
                hint="give --calibration, with as many samples as there are",
            )  # fmt: skip
        ran = run_network(network, data.calibration)
        needed = {*network.heard, *(taken.source for stage in network.stages for taken in stage.takes)}
        needed |= {p.source for p in network.projections if p.rule is not None}
        silent = {
            p.name
            for p in network.populations
            if p.spiking and not p.external and p.name not in needed and not len(ran.spikes[p.name])
        }
        kept = tuple(p for p in network.projections if p.source not in silent)
        if len(kept) == len(network.projections):
            return network
        said = f"silent in all {ran.steps:,} steps of {ran.samples:,} samples; what it feeds is without it"
        notes = {f"prune-silent {name}": said for name in sorted(silent)}
        made = replace(network, projections=kept, notes={**network.notes, **notes})
        return Prune().apply(made, data)
