"""The `Network`: populations and projections, typed, shape-checked and discretised; in floats or Loihi's integers.

Time is *network time*: a projection with ``delay`` 0 delivers within the step, as NIR means it; a loop needs at least
one projection with ``delay >= 1``. Where a chip needs a step per hop, `neurodeploy.program.schedule` gives each
population its lag, and the recordings of all back-ends are aligned to network time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np

from neurodeploy.errors import InvalidInputError

from . import registers
from .answer import Answer
from .arrays import Array, Sealed, seal, sole
from .connectivity import Connectivity, Dense
from .event_rule import EventRule
from .host import HostStage, check_stages, fed, on_chip, values
from .join import PORT, Join
from .neurons import Arithmetic, Neuron
from .plasticity import LIMITS, TAG_LIMITS, LearningRule
from .schema import LATER, check_numbers, check_types, check_within


@dataclass(frozen=True)
class Handle:
    """The debug handle: where in the user's model an object came from.

    Args:
        module: path of the torch module (``"net.2"``), empty when unknown.
        nodes: names of the NIR nodes.
    """

    module: str = ""
    nodes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_types(self)

    def __str__(self) -> str:
        return self.module or " + ".join(self.nodes) or "?"


@dataclass(frozen=True, eq=False)
class Population(Sealed):
    """Neurons of one model.

    Args:
        name: unique in the network.
        shape: of one sample, for example ``(channels, height, width)``.
        neuron: model and parameters.
        handle: where in the user's model it came from.
        scale: integer units per unit of the float membrane potential (1 in a float network): one number, or one for
            each neuron, ``[neurons]``.
        join: compartments in front of its neurons, of which the largest current counts; None for none.
    """

    name: str
    shape: tuple[int, ...]
    neuron: Neuron
    handle: Handle = Handle()
    scale: float | Array = 1.0
    join: Join | None = field(default=None, metadata={LATER: True})

    def __post_init__(self) -> None:
        super().__post_init__()
        seal(self.neuron)

    @cached_property
    def size(self) -> int:
        """Number of neurons."""
        return int(np.prod(self.shape))

    @property
    def scales(self) -> Array:
        """`scale` of each neuron, ``[neurons]``."""
        return np.broadcast_to(np.asarray(self.scale, dtype=np.float64), (self.size,))

    @property
    def message_scales(self) -> Array:
        """Units of what each neuron sends per unit of the model, ``[neurons]``: 1 for spikes, and in floats."""
        return self.scales / 2**self.neuron.send_shift if self.neuron.valued else np.ones(self.size)

    def ends(self, port: int) -> int:
        """At how many places synapses end at a port: its neurons, or their compartments."""
        return self.size if self.join is None or port != PORT else self.join.compartments

    def at(self, port: int, values: Array) -> Array:
        """Values ``[neurons]`` at the places where synapses end at a port, ``[ends]``."""
        return values if self.join is None or port != PORT else values[self.join.parent]

    def places(self, port: int, neurons: Array) -> Array:
        """Where synapses onto these neurons end at a port: flat indices of neurons, or of compartments."""
        return neurons if self.join is None or port != PORT else self.join.of(neurons)

    def summed(self, port: int, values: Array) -> Array:
        """What belongs to each place of a port added up by neuron: ``[ends] -> [neurons]``."""
        if self.join is None or port != PORT:
            return values
        return np.bincount(self.join.parent, values, self.size).astype(values.dtype)

    @property
    def spiking(self) -> bool:
        """Whether it emits spikes (sources included) rather than its membrane potential."""
        return self.neuron.spiking

    @property
    def external(self) -> bool:
        """Whether nothing is computed in it: an input, or a bias axon."""
        return self.neuron.external


@dataclass(frozen=True, eq=False)
class Projection(Sealed):
    """Synapses from one population to another.

    Args:
        name: of the projection, in messages and recordings.
        source, target: name of the population.
        connectivity: which neuron reaches which, and by what weight.
        delay: in network steps; 0 delivers within the step.
        bias: current added in every step from ``bias_start`` on, ``[targets]`` (float networks only; an
            integer network has it in the neuron or as an always-on axon).
        bias_start: first step in which `bias` acts: 0 as snnTorch does it also on recurrent edges, ``delay`` as
            norse does.
        handle: where in the user's model it came from.
        port: of the target: 1 is the second factor of a `Product`, the third factor of learning, or where the target
            has a join, the compartments (`outputs` of the connectivity are then these).
        rule: how the weights learn; None for weights that stay. A `LearningRule` acts in every run, from spikes and
            traces alone (dense synapses between spiking populations); an `EventRule` in learning runs.
    """

    name: str
    source: str
    target: str
    connectivity: Connectivity
    delay: int = 0
    bias: Array | None = None
    bias_start: int = 0
    handle: Handle = Handle()
    port: int = 0
    rule: LearningRule | EventRule | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        seal(self.connectivity)

    @property
    def local_rule(self) -> LearningRule | None:
        """The rule by which its weights change in every run."""
        return self.rule if isinstance(self.rule, LearningRule) else None

    @property
    def event_rule(self) -> EventRule | None:
        """The rule by which its weights change in learning runs."""
        return self.rule if isinstance(self.rule, EventRule) else None

    @cached_property
    def sums(self) -> tuple[Array, Array]:
        """Sums of the negative and of the positive weights onto each target, ``[target neurons]``, without exponent.

        Weights that learn may take any value of theirs.
        """
        kind = self.connectivity
        if self.local_rule is not None:
            limits = LIMITS[self.local_rule.sign]
            low, high = (np.full(kind.outputs, float(kind.inputs * limit)) for limit in limits)
            return np.minimum(low, 0), np.maximum(high, 0)
        negative, positive = (f(kind.weights, 0).astype(np.float64) for f in (np.minimum, np.maximum))
        return sole(kind.onto_targets(negative, np.add)), sole(kind.onto_targets(positive, np.add))

    @property
    def largest_sum(self) -> float:
        """What plain spikes can add up to at a neuron in one step; weights that learn may take any value of theirs."""
        negative, positive = self.sums
        return float((positive - negative).max(initial=0.0)) * 2.0 ** max(self.connectivity.exponent, 0)


@dataclass(frozen=True, eq=False)
class Network:
    """Populations and projections in the order in which a step is computed.

    Args:
        name: for people.
        populations: every source of a delay-0 projection stands before its target.
        projections: in any order; what arrives at a neuron adds up.
        outputs: names of the populations that the user reads.
        dt: length of a step in seconds.
        arithmetic: ``"float"`` or ``"loihi"`` (integers).
        notes: what was assumed, folded or left on the way here, as ``topic -> text``.
        read: which potential of a read-out is a score: the sum over all steps, or that of the last one; where there
            is no answer.
        answer: how what its user's ``forward`` returns comes from spikes and potentials; None where nobody says.
        stages: what the host computes of it.

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
    read: Literal["sum", "last"] = "sum"
    answer: Answer | None = field(default=None, metadata={LATER: True})
    stages: tuple[HostStage, ...] = field(default=(), metadata={LATER: True})

    def __post_init__(self) -> None:
        check_types(self)
        if self.dt <= 0:
            raise InvalidInputError("the time step of a network is not positive", found=self.dt, allowed="seconds")
        check(self)

    @cached_property
    def by_name(self) -> dict[str, Population]:
        """Populations by name."""
        return {p.name: p for p in self.populations}

    def into(self, name: str) -> tuple[Projection, ...]:
        """Projections that end in population ``name``."""
        return tuple(p for p in self.projections if p.target == name)

    def taught(self, name: str) -> LearningRule | None:
        """The three-factor rule of a projection into population ``name``, whose traces its neurons compute."""
        rules = [p.local_rule for p in self.into(name) if p.local_rule is not None]
        return next((rule for rule in rules if rule.factors == 3), None)

    @property
    def classes(self) -> int:
        """Scores that are compared: those of the answer, or one for each neuron of all outputs."""
        own = self.answer.classes if self.answer else None
        return own or sum(self.by_name[name].size for name in self.outputs)

    @cached_property
    def heard(self) -> tuple[str, ...]:
        """Names of the populations that the user reads, as outputs or in the answer, each once."""
        return tuple(dict.fromkeys((*self.outputs, *(self.answer.populations if self.answer else ()))))

    @cached_property
    def hosts(self) -> frozenset[str]:
        """Names of the populations that stages read or feed."""
        read = {taken.source for stage in self.stages for taken in stage.takes}
        return frozenset(read | set(fed(self.stages)))

    def shows(self, name: str) -> bool:
        """Whether the user reads the potential of population ``name``: a read-out's, or one in the answer."""
        return not self.by_name[name].spiking or (self.answer is not None and name in self.answer.potentials)

    @cached_property
    def inputs(self) -> tuple[Population, ...]:
        """Populations that the user feeds."""
        hosts = fed(self.stages)
        return tuple(p for p in self.populations if p.external and not p.neuron.always_on and p.name not in hosts)

    @cached_property
    def chip_part(self) -> Network:
        """The same without its stages: what these feed are inputs, and inputs that only they read are left out."""
        if not self.stages:
            return self
        kept = on_chip(self)
        populations = tuple(p for p in self.populations if p.name in kept)
        return replace(self, populations=populations, stages=(), answer=None)


TRAINS_EQUALLY = (
    "what trains equally: average pooling, a stride of the convolution instead of pooling, or max pooling of spikes "
    "behind the neurons"
)
"""What to do where there can be no MAX of currents."""

LARGEST, LONGEST = 1 << 31, 1 << 20
"""Neurons of a population, and steps of a delay, at most."""


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
        _check_population(population, network.arithmetic)
    for projection in network.projections:
        _check_projection(network, order, projection)
    for name in network.outputs:
        if name not in order:
            raise InvalidInputError(f"the output {name!r} is not a population", allowed=sorted(order))
    check_stages(network)
    if network.answer is not None:
        _check_answer(network, network.answer)


def _check_answer(network: Network, answer: Answer) -> None:
    """Refuse an answer that reads what the network does not have."""
    for series in answer.series:
        if series.port == "value":
            if series.population not in values(network.stages):
                raise InvalidInputError(
                    f"the answer reads {series.phrase}, which no host stage gives", found=series.population,
                    allowed=sorted(values(network.stages)),
                )  # fmt: skip
            continue
        population = network.by_name.get(series.population)
        if population is None:
            raise InvalidInputError(
                f"the answer reads {series.phrase}, and there is no such population",
                found=series.population,
                allowed=sorted(network.by_name),
            )
        if not (population.spiking if series.port == "spikes" else "v" in population.neuron.states):
            raise InvalidInputError(
                f"the answer reads {series.phrase}, which it has not",
                found=population.neuron.label,
                allowed="a population that has them",
            )
        if int(np.prod(series.shape)) != population.size:
            raise InvalidInputError(
                f"the answer reads {series.phrase} in another size",
                found=list(series.shape),
                allowed=list(population.shape),
            )


def _check_population(population: Population, arithmetic: Arithmetic) -> None:
    """Refuse a shape, a scale or parameters that cannot be used."""
    if not population.shape or min(population.shape) < 1 or population.size > LARGEST:
        raise InvalidInputError(
            f"population {population.name!r} has a shape that cannot be used",
            found=list(population.shape),
            allowed=f"sizes from 1 on, {LARGEST:,} neurons at most",
        )
    if np.shape(population.scale) not in ((), (population.size,)):
        raise InvalidInputError(
            f"population {population.name!r}: its scale has the wrong shape",
            found=list(np.shape(population.scale)),
            allowed=f"one number, or [{population.size}]",
        )
    if (
        np.asarray(population.scale).dtype.kind not in "iuf"
        or not np.isfinite(population.scales).all()
        or (population.scales <= 0).any()
    ):
        raise InvalidInputError(
            f"the scale of population {population.name!r} cannot be used", allowed="finite numbers above 0"
        )
    population.neuron.check(population.name, population.size, arithmetic)
    if population.join is not None:
        check_within(f"the parents of the compartments of {population.name!r}", population.join.parent, 0,
                     population.size - 1)  # fmt: skip
        why_not = population.neuron.joins(arithmetic)
        if why_not:
            raise InvalidInputError(
                f"population {population.name!r} has a MAX of compartments in front of neurons that cannot take it",
                found=why_not,
                allowed="LIF neurons and read-outs without a filter of their current, and rectifiers",
                hint=TRAINS_EQUALLY,
            )


def _check_projection(network: Network, order: Mapping[str, int], projection: Projection) -> None:
    """Refuse synapses that do not fit what they join."""
    where = f"projection {projection.name!r}"
    for end in (projection.source, projection.target):
        if end not in order:
            raise InvalidInputError(f"{where} names an unknown population", found=end, allowed=sorted(order))
    source, target = network.by_name[projection.source], network.by_name[projection.target]
    kind = projection.connectivity
    if target.external:
        raise InvalidInputError(f"{where} ends in {target.name!r}, which is a source", hint="let it end in neurons")
    ends = target.ends(projection.port)
    if (kind.inputs, kind.outputs) != (source.size, ends):
        what = target.name if ends == target.size else f"compartments of {target.name}"
        raise InvalidInputError(
            f"{where} does not match its populations",
            found=f"{kind.inputs} -> {kind.outputs} neurons",
            allowed=f"{source.size} ({source.name}) -> {ends} ({what})",
        )
    ports = max(target.neuron.ports, 2 if target.join is not None or network.taught(target.name) else 1)
    if projection.local_rule is not None:
        _check_rule(network, projection, projection.local_rule)
    _check_numbers(network, projection, ends)
    if not 0 <= projection.port < ports:
        raise InvalidInputError(
            f"{where} ends at a port that {target.name!r} does not have",
            found=projection.port,
            allowed=f"0 to {ports - 1}",
        )
    if projection.delay == 0 and order[source.name] >= order[target.name]:
        raise InvalidInputError(
            f"{where} closes a loop without a delay",
            found=f"{source.name} -> {target.name} within one step",
            hint="give the recurrent projection a delay of one step",
        )


def _check_numbers(network: Network, projection: Projection, targets: int) -> None:
    """Refuse weights, biases and times that the network's arithmetic does not have."""
    where, kind = f"projection {projection.name!r}", projection.connectivity
    if projection.bias is not None and network.arithmetic == "loihi":
        raise InvalidInputError(f"{where} carries a bias in an integer network", hint="run the quantise pass")
    if not 0 <= projection.delay <= LONGEST or not 0 <= projection.bias_start <= LONGEST:
        raise InvalidInputError(
            f"{where} has a delay, or a start of its bias, that cannot be used",
            found=f"{projection.delay} and {projection.bias_start} steps",
            allowed=f"0 to {LONGEST:,}",
        )
    if projection.bias is not None:
        check_numbers(f"the bias of {where}", projection.bias, (targets,))
    if network.arithmetic == "float" and kind.exponent:
        raise InvalidInputError(
            f"{where} has an exponent in a network of floats",
            found=kind.exponent,
            allowed="0: it is in the weights",
        )
    if network.arithmetic == "loihi":
        check_numbers(f"the weights of {where}", kind.weights, kind.weights.ndim, whole=True)
        most = (1 << 31) - 1 >> max(kind.exponent, 0)
        check_within(f"the weights of {where}, with their exponent,", kind.weights, -most, most)


def check_registers(network: Network) -> None:
    """Refuse an integer network that no registers of Loihi hold; called by every back-end, and where one is placed.

    What learns has ranges of its own (`neurodeploy.network.plasticity.LIMITS`), and so have models of other packages
    (`Neuron.registers`).

    Raises:
        UnsupportedError: names the population or projection, what was found and what is allowed.
    """
    if network.arithmetic == "float":
        return
    for population in network.populations:
        population.neuron.check_registers(population.name)
    for projection in network.projections:
        if network.by_name[projection.target].neuron.registers:
            kind, plastic = projection.connectivity, projection.local_rule is not None
            registers.check_synapses(projection.name, kind.weights, kind.exponent, plastic=plastic)


def _check_rule(network: Network, projection: Projection, rule: LearningRule) -> None:
    """Refuse a learning rule on synapses that cannot learn."""
    where = f"projection {projection.name!r}, which learns,"
    if not isinstance(projection.connectivity, Dense):
        raise InvalidInputError(f"{where} is not dense", found=type(projection.connectivity).__name__, allowed="Dense")
    target = network.by_name[projection.target].neuron
    if network.by_name[projection.target].join is not None:
        raise InvalidInputError(
            f"{where} ends in {projection.target!r}, which has a MAX of compartments in front",
            allowed="neurons without one",
            hint=TRAINS_EQUALLY,
        )
    if not (target.plastic and target.spiking):
        raise InvalidInputError(
            f"{where} ends in {projection.target!r}", allowed="integrate-and-fire neurons that spike"
        )
    weights = projection.connectivity.weights
    for name, tag in (("tag_1", rule.tag_1), ("tag_2", rule.tag_2)):
        if tag is not None and tag.shape != weights.shape:
            raise InvalidInputError(
                f"{where} has a {name} of the wrong shape", found=list(tag.shape), allowed=list(weights.shape)
            )
    if network.arithmetic == "loihi":
        _check_range(where, "weights", weights, LIMITS[rule.sign], f" ({rule.sign})")
        for name, tag in (("tag_1", rule.tag_1), ("tag_2", rule.tag_2)):
            if tag is not None:
                _check_range(where, name, tag, TAG_LIMITS[name])
    elif rule.sign != "mixed":
        span = (0.0, np.inf) if rule.sign == "excitatory" else (-np.inf, 0.0)
        _check_range(where, "weights", weights, span, f" ({rule.sign})")
    other = network.taught(projection.target)
    if other is not None and rule.factors == 3 and (other.y1, other.y3) != (rule.y1, rule.y3):
        raise InvalidInputError(
            f"{where} wants other traces of its target's spikes than another projection into {projection.target!r}",
            found=f"{rule.y1}, {rule.y3}",
            allowed=f"{other.y1}, {other.y3}",
        )


def _check_range(where: str, name: str, values: Array, span: tuple[float, float], why: str = "") -> None:
    """Refuse initial values that the rule would cut off at the end of its first epoch."""
    low, high = span
    if values.size and (values.min() < low or values.max() > high):
        raise InvalidInputError(
            f"{where} begins with {name} beyond its range",
            found=f"values from {values.min()} to {values.max()}",
            allowed=f"{low} to {high}{why}",
        )
