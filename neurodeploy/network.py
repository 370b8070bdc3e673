"""The `Network`: populations and projections, typed, shape-checked and discretised; in floats or Loihi's integers.

Time is *network time*: a projection with ``delay`` 0 delivers within the step, as NIR means it; a loop needs at least
one projection with ``delay >= 1``. Where a chip needs a step per hop, `neurodeploy.schedule` gives each population
its lag, and the recordings of all back-ends are aligned to network time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Literal

import numpy as np

from neurodeploy.connectivity import Array, Connectivity
from neurodeploy.errors import InvalidInputError
from neurodeploy.neurons import Lif, Neuron, SigmaDelta, Source

Arithmetic = Literal["float", "loihi"]


@dataclass(frozen=True)
class Handle:
    """The debug handle: where in the user's model an object came from.

    Args:
        module: path of the torch module (``"net.2"``), empty when unknown.
        nodes: names of the NIR nodes.
    """

    module: str = ""
    nodes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.module or " + ".join(self.nodes) or "?"


@dataclass(frozen=True, eq=False)
class Population:
    """Neurons of one model.

    Args:
        name: unique in the network.
        shape: of one sample, for example ``(channels, height, width)``.
        neuron: model and parameters.
        scale: integer units per unit of the float membrane potential (1 in a float network): one number, or one for
            each neuron, ``[neurons]``.
    """

    name: str
    shape: tuple[int, ...]
    neuron: Neuron
    handle: Handle = Handle()
    scale: float | Array = 1.0

    @cached_property
    def size(self) -> int:
        """Number of neurons."""
        return int(np.prod(self.shape))

    @property
    def scales(self) -> Array:
        """`scale` of each neuron, ``[neurons]``."""
        return np.broadcast_to(np.asarray(self.scale, dtype=np.float64), (self.size,))

    @property
    def spiking(self) -> bool:
        """Whether it emits spikes (sources included) rather than its membrane potential."""
        return not isinstance(self.neuron, Lif) or self.neuron.spiking


@dataclass(frozen=True, eq=False)
class Projection:
    """Synapses from one population to another.

    Args:
        delay: in network steps; 0 delivers within the step.
        bias: current added in every step from ``bias_start`` on, ``[target neurons]`` (float networks only; an
            integer network has it in the neuron or as an always-on axon).
        bias_start: first step in which `bias` acts: 0 as snnTorch does it also on recurrent edges, ``delay`` as
            norse does.
    """

    name: str
    source: str
    target: str
    connectivity: Connectivity
    delay: int = 0
    bias: Array | None = None
    bias_start: int = 0
    handle: Handle = Handle()


@dataclass(frozen=True, eq=False)
class Network:
    """Populations and projections in the order in which a step is computed.

    Args:
        populations: every source of a delay-0 projection stands before its target.
        outputs: names of the populations that the user reads.
        dt: length of a step in seconds.
        arithmetic: ``"float"`` or ``"loihi"`` (integers).
        notes: what was assumed, folded or left on the way here, as ``topic -> text``.

    Raises:
        InvalidInputError: an inconsistent network; the message names the object.
    """

    name: str
    populations: tuple[Population, ...]
    projections: tuple[Projection, ...]
    outputs: tuple[str, ...]
    dt: float
    arithmetic: Arithmetic = "float"
    notes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self)

    @cached_property
    def by_name(self) -> dict[str, Population]:
        """Populations by name."""
        return {p.name: p for p in self.populations}

    def into(self, name: str) -> tuple[Projection, ...]:
        """Projections that end in population ``name``."""
        return tuple(p for p in self.projections if p.target == name)

    @cached_property
    def inputs(self) -> tuple[Population, ...]:
        """Populations that the user feeds."""
        return tuple(p for p in self.populations if isinstance(p.neuron, Source) and not p.neuron.always_on)


def check(network: Network) -> None:
    """Refuse an inconsistent network (duplicate names, wrong sizes, a loop without delay).

    Raises:
        InvalidInputError: names the population or projection.
    """
    order: dict[str, int] = {}
    for index, population in enumerate(network.populations):
        if population.name in order:
            raise InvalidInputError(f"two populations are called {population.name!r}", hint="give each its own name")
        order[population.name] = index
        if np.shape(population.scale) not in ((), (population.size,)):
            raise InvalidInputError(
                f"population {population.name!r}: its scale has the wrong shape",
                found=list(np.shape(population.scale)),
                allowed=f"one number, or [{population.size}]",
            )
        neuron = population.neuron
        if not isinstance(neuron, Source):
            if isinstance(neuron, SigmaDelta) and network.arithmetic != "float":
                raise InvalidInputError(
                    f"population {population.name!r} is sigma-delta, which exists in floats only",
                    found=network.arithmetic,
                    allowed="float",
                )
            if isinstance(neuron, Lif) and neuron.slow and network.arithmetic != "float":
                raise InvalidInputError(
                    f"population {population.name!r} has a refractory time or an adaptive threshold, which exist in "
                    "floats only",
                    found=network.arithmetic,
                    allowed="float",
                )
            for item in fields(neuron):
                value = getattr(neuron, item.name)
                if isinstance(value, np.ndarray) and value.shape != (population.size,):
                    raise InvalidInputError(
                        f"population {population.name!r}: parameter {item.name} has the wrong shape",
                        found=list(value.shape),
                        allowed=[population.size],
                    )
    for projection in network.projections:
        where = f"projection {projection.name!r}"
        for end in (projection.source, projection.target):
            if end not in order:
                raise InvalidInputError(f"{where} names an unknown population", found=end, allowed=sorted(order))
        source, target = network.by_name[projection.source], network.by_name[projection.target]
        kind = projection.connectivity
        if (kind.inputs, kind.outputs) != (source.size, target.size):
            raise InvalidInputError(
                f"{where} does not match its populations",
                found=f"{kind.inputs} -> {kind.outputs} neurons",
                allowed=f"{source.size} ({source.name}) -> {target.size} ({target.name})",
            )
        if projection.bias is not None and network.arithmetic == "loihi":
            raise InvalidInputError(f"{where} carries a bias in an integer network", hint="run the quantise pass")
        if projection.delay == 0 and order[source.name] >= order[target.name]:
            raise InvalidInputError(
                f"{where} closes a loop without a delay",
                found=f"{source.name} -> {target.name} within one step",
                hint="give the recurrent projection a delay of one step",
            )
    for name in network.outputs:
        if name not in order:
            raise InvalidInputError(f"the output {name!r} is not a population", allowed=sorted(order))
