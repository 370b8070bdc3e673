"""The `Program`: a network and where every neuron lives; the one artefact that all back-ends run (``.ndp``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from neurodeploy.errors import InvalidInputError
from neurodeploy.network import answer
from neurodeploy.network.arrays import Array, Sealed
from neurodeploy.network.connectivity import Conv2d, Dense, Sparse
from neurodeploy.network.dispatch import GROUP, known, models
from neurodeploy.network.event_rule import AdaptiveThreshold, EventRule
from neurodeploy.network.host import HostInput, HostOutput, HostStage
from neurodeploy.network.join import Join
from neurodeploy.network.network import Handle, Network, Population, Projection
from neurodeploy.network.neurons import NEURONS
from neurodeploy.network.plasticity import LearningRule, Trace
from neurodeploy.network.schema import check_numbers, check_types, check_within

from . import codec

FORMAT = "neurodeploy program"
VERSION = 6
"""Written into a file that an older neurodeploy could no longer read: one with host stages."""
WITH_RULES = 5
"""Written into one with rules of learning runs."""
WITH_JOIN = 4
"""Written into one with a MAX of compartments."""
WITH_ANSWER = 3
"""Written into one that holds an answer."""
WITH_CHIP = 2
"""Written into one that holds a chip."""
MOST_CORES = 1 << 24
"""Over all chips; a table of cores is as long as the largest number in it."""
PLAIN = 1
"""Written into every other file."""


NO_CHIP = "none"
"""Name of the chip of a Program that is placed on none."""


@dataclass(frozen=True)
class CoreUse:
    """What one core holds.

    Args:
        core: its number.
        neurons: of the chip (a neuron that takes several compartments counts as so many).
        synapse_bytes: synaptic memory.
        axons_in: source neurons with synapses here, for each projection.
        axons_out: cores that its neurons reach, for each neuron and projection.
    """

    core: int
    neurons: int
    synapse_bytes: int
    axons_in: int
    axons_out: int

    def __post_init__(self) -> None:
        check_types(self)


STORED = (
    Dense, Sparse, Conv2d, *NEURONS, Trace, LearningRule, AdaptiveThreshold, EventRule, Handle,
    Join, HostInput, HostOutput, HostStage, Population, Projection, Network, CoreUse,
    *answer.TYPES,
)  # fmt: skip
"""What a Program is made of, beside itself and neurons of other packages."""


@dataclass(frozen=True, eq=False)
class Program(Sealed):
    """A placed network.

    Args:
        network: float or integer.
        chip: name of the architecture file it was placed for.
        core_of: for each population that lives on the chip, the core of each neuron, int32 ``[neurons]``. Sources
            that the host feeds are not in it; an always-on source lives on the cores that it feeds.
        use: what each used core holds.
        provenance: where it came from: ``"source"``, ``"sha256"``, ``"neurodeploy"`` and the passes that ran.
        chip_file: description of a chip that does not come with neurodeploy (`neurodeploy.hwsim.chips.embedded`).
    """

    network: Network
    chip: str
    core_of: Mapping[str, Array]
    use: tuple[CoreUse, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    chip_file: str = field(default="", metadata={codec.LATER: True})

    def __post_init__(self) -> None:
        super().__post_init__()
        for population in self.network.populations:
            cores = self.core_of.get(population.name)
            if cores is None:
                if not population.external or population.neuron.always_on:
                    raise InvalidInputError(f"population {population.name!r} has no core", hint="run the place pass")
                continue
            what = f"the array of the cores of population {population.name!r}, one for each neuron,"
            check_numbers(what, cores, (population.size,), whole=True)
            check_within(what, cores, 0, MOST_CORES - 1)
        if unknown := sorted(set(self.core_of) - {p.name for p in self.network.populations}):
            raise InvalidInputError("cores are given for populations that do not exist", found=", ".join(unknown))

    @cached_property
    def cores(self) -> tuple[int, ...]:
        """Numbers of the used cores, ascending."""
        return tuple(sorted({int(core) for cores in self.core_of.values() for core in np.unique(cores)}))

    def cores_of(self, name: str) -> tuple[int, ...]:
        """Cores that hold neurons of population ``name``, ascending (none for an input of the host)."""
        return tuple(int(core) for core in np.unique(self.core_of[name])) if name in self.core_of else ()

    def part(self, network: Network) -> Program:
        """The Program of a part of its network: what lives on the chip in it keeps its cores."""
        inside = (p.name for p in network.populations if not p.external or p.neuron.always_on)
        return replace(self, network=network, core_of={name: self.core_of[name] for name in inside})

    @classmethod
    def unplaced(cls, network: Network, provenance: Mapping[str, str]) -> Program:
        """A Program for no chip: all neurons on one core without limits."""
        inside = [p for p in network.populations if not p.external or p.neuron.always_on]
        cores = {p.name: np.zeros(p.size, np.int32) for p in inside}
        return cls(network, NO_CHIP, cores, (), provenance)

    def save(self, path: Path | str) -> None:
        """Write the Program atomically; equal Programs give equal bytes.

        Raises:
            UnsupportedError: it holds neurons of a model that is not installed.
            StorageError: the folder cannot be written to, or the disk is full.
        """
        own = {type(p.neuron) for p in self.network.populations} - set(NEURONS)
        types = (*STORED, type(self), *(model.neuron for model in (models() if own else ())))
        version = WITH_ANSWER if self.network.answer else WITH_CHIP if self.chip_file else PLAIN
        version = WITH_JOIN if any(p.join is not None for p in self.network.populations) else version
        version = WITH_RULES if any(p.event_rule is not None for p in self.network.projections) else version
        version = VERSION if self.network.stages else version
        codec.save(self, Path(path), FORMAT, version, types)

    @classmethod
    def load(cls, path: Path | str) -> Program:
        """Read a Program.

        Raises:
            MissingFileError: there is no such file.
            InvalidInputError: not a Program, a damaged one, or one from a newer neurodeploy.
        """
        program = codec.load(Path(path), FORMAT, VERSION, _stored)
        if not isinstance(program, cls):
            raise InvalidInputError(f"{path} does not hold a Program", found=type(program).__name__)
        return program


def _stored(name: str) -> type:
    """The dataclass of a name in a file.

    Raises:
        InvalidInputError: this installation has none.
    """
    for kind in (*STORED, Program):
        if codec.name_of(kind) == name:
            return kind
    for kind in known():
        if kind.__name__ == name:
            return kind
    raise InvalidInputError(
        f"it holds a {name}, which this neurodeploy does not know",
        hint=f"install the package that brings it (an entry point of the group {GROUP}), or fetch the file again",
    )
