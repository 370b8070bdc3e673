"""Which part of a Program learns, and what its neurons pass back: checks, and the members of the tables.

Learning needs the populations that projections with a rule end in, and all that follow them up to the answer. Of these
each must be integrate-and-fire, or a read-out; whatever lies before them, and whatever does not learn on the way, stays
as it is: its spikes are taken from the simulator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.arrays import Array
from neurodeploy.network.connectivity import Conv2d
from neurodeploy.network.dispatch import expect
from neurodeploy.network.event_rule import EventRule
from neurodeploy.network.loihi_ranges import DECAY_ONE
from neurodeploy.network.network import TRAINS_EQUALLY, Network, Population, Projection
from neurodeploy.network.neurons import Lif

from . import layout
from .tables import Member, Synapses, images, shared

PLAIN, SUBTRACTED, ONCE, REPLACED, CURRENT = range(5)
"""How the potential that crossed the threshold is known from what is recorded, the potential behind the reset: as it
is; with a threshold more; with one more unless it had crossed before; from the step before; for STD-ED, the current
instead."""


@dataclass(frozen=True, eq=False)
class Neurons:
    """What learning needs of a population that passes errors back.

    Args:
        unit: what counts as 1, ``[neurons]``: the threshold as it is at first, or a read-out's scale; the mean over the
            neurons that share weights.
        kept_v, kept_u: of each, what a step leaves.
        how: one of `PLAIN` and the others.
    """

    population: Population
    neuron: Lif
    unit: Array
    kept_v: Array
    kept_u: Array
    how: int

    @property
    def start(self) -> Array:
        """Thresholds in units, as they are at first."""
        if not self.population.spiking:
            return np.ones(self.population.size)
        return np.asarray(self.neuron.threshold / self.unit)


@dataclass(frozen=True, eq=False)
class Trained:
    """The part of a network that learning looks at.

    Args:
        rule: what all projections that learn have in common.
        members, synapses: for the tables.
        neurons: of each member; None for those whose spikes alone are taken.
        reads: neurons of populations that the answer reads.
    """

    network: Network
    rule: EventRule
    members: tuple[Member, ...]
    synapses: tuple[Synapses, ...]
    neurons: tuple[Neurons | None, ...]
    reads: int

    @property
    def sources(self) -> int:
        """Neurons whose spikes alone are taken."""
        return sum(m.population.size for m, n in zip(self.members, self.neurons, strict=True) if n is None)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the populations with a row of counts: all members but the first."""
        return tuple(member.population.name for member in self.members[1:])


def rule_of(network: Network) -> EventRule:
    """The rule of a network's projections that learn.

    Raises:
        UnsupportedError: there is none, or two that contradict each other; names them.
    """
    rules = [(p.name, p.event_rule) for p in network.projections if p.event_rule is not None]
    if not rules:
        raise UnsupportedError(
            f"network {network.name!r} has nothing that learns event by event",
            allowed="projections with a rule (neurodeploy.network.event_rules.with_rule)",
        )
    name, first = rules[0]
    for other, rule in rules:
        for field in ("name", "batch", "skip", "seed"):
            if getattr(rule, field) != getattr(first, field):
                raise UnsupportedError(
                    f"the rules of projections {name!r} and {other!r} contradict each other in {field}",
                    found=f"{getattr(first, field)} and {getattr(rule, field)}", allowed="one for the whole network",
                )  # fmt: skip
        if rule.adapt is not None and first.adapt not in (None, rule.adapt):
            raise UnsupportedError(
                f"the thresholds of projections {name!r} and {other!r} adapt differently",
                allowed="one way for the whole network, or fixed ones",
            )
        first = replace(first, adapt=first.adapt or rule.adapt)
    if first.name == "bptt":
        raise UnsupportedError(
            "the surrogate gradient is not a rule of events, and a deployed network does not learn by it",
            allowed="mpd-ed, std-ed",
        )
    return first


def trained(network: Network, heard: Sequence[tuple[str, bool]]) -> Trained:
    """Read a network as one that learns.

    Args:
        heard: populations that the answer reads, and whether their potentials.

    Raises:
        UnsupportedError: a part cannot; names it, what was found and what is allowed.
    """
    rule = rule_of(network)
    names = _downstream(network)
    here = [p for p in network.populations if p.name in names]
    channels = images([q for p in here for q in network.into(p.name)])
    if not any(name in names for name, _ in heard):
        raise UnsupportedError(
            f"what network {network.name!r} answers does not depend on anything that learns",
            found=", ".join(name for name, _ in heard), allowed=f"one of {', '.join(sorted(names))}",
        )  # fmt: skip
    if rule.name == "std-ed" and (counts := [name for name, potential in heard if not potential and name in names]):
        raise UnsupportedError(
            f"network {network.name!r} answers by the spikes of {counts[0]!r}, and std-ed learns from times of spikes, "
            "on which their number does not depend",
            allowed="an answer by the potential of a read-out", hint="mpd-ed learns from numbers of spikes",
        )  # fmt: skip
    into = [q for p in here for q in network.into(p.name)]
    _check_projections(network, into, names)
    before = [p for p in network.populations if p.name not in names and any(q.source == p.name for q in into)]
    outputs = {name for name, _ in heard}
    members, neurons = [Member(p) for p in before], list[Neurons | None]([None] * len(before))
    reads = 0
    for population in here:
        own = _neurons(network, population, rule, channels.get(population.name, (population.size,))[0])
        neurons.append(own)
        read = reads if population.name in outputs else -1
        reads += population.size if read >= 0 else 0
        members.append(_member(network, own, rule, read))
    synapses = tuple(Synapses(q, q.event_rule is not None, q.source in names) for q in into)
    return Trained(network, rule, tuple(members), synapses, tuple(neurons), reads)


def _downstream(network: Network) -> set[str]:
    """Targets of projections that learn, and all that follow them."""
    names = {q.target for q in network.projections if q.event_rule is not None}
    while True:
        more = {q.target for q in network.projections if q.source in names} - names
        if not more:
            return names
        names |= more


def _check_projections(network: Network, into: Sequence[Projection], names: set[str]) -> None:
    row = {p.name: n for n, p in enumerate(network.populations)}
    shapes = images(into)
    for q in into:
        where = f"projection {q.name!r}"
        if q.source in names and row[q.source] >= row[q.target]:
            raise UnsupportedError(
                f"{where} is recurrent ({q.source} -> {q.target}, a delay of {q.delay}), and learning goes back "
                "through layers, not around a loop",
                allowed="networks without a loop behind what learns",
                hint="let only layers behind the loop learn: a loop before them stays as it is",
            )
        if q.port or q.local_rule is not None:
            raise UnsupportedError(
                f"{where} cannot pass errors back",
                found="a learning rule of its own" if q.local_rule is not None else f"port {q.port} of its target",
                allowed="synapses onto the neurons themselves, without a rule that acts in every run",
            )
        if q.event_rule is not None and q.source in names and network.by_name[q.source].neuron.external:
            raise UnsupportedError(f"{where} learns from a source behind what learns", allowed="layers in order")
        if q.event_rule is not None and q.source in shapes and not _aligned(q, shapes):
            raise UnsupportedError(
                f"{where} cannot learn: its images are others than those of the convolutions around it",
                found=getattr(q.connectivity, "input_shape", None), allowed=list(shapes[q.source]),
            )  # fmt: skip


def _aligned(q: Projection, shapes: dict[str, tuple[int, int, int]]) -> bool:
    return not isinstance(q.connectivity, Conv2d) or shared(q, shapes)


def _neurons(network: Network, population: Population, rule: EventRule, channels: int) -> Neurons:
    where = f"population {population.name!r}"
    if population.join is not None:
        raise UnsupportedError(
            f"{where} has a MAX of compartments in front", allowed="layers without, for this rule", hint=TRAINS_EQUALLY
        )
    neuron = expect(population, Lif, rule.name)
    integer = network.arithmetic == "loihi"
    odd = {
        "a refractory time": neuron.refractory is not None,
        "an adaptive threshold of its own": neuron.threshold_decay is not None,
        "negative spikes": neuron.lower is not None,
        "potentials that other layers take in": not population.spiking
        and any(q.source == population.name for q in network.projections),
    }
    if found := [what for what, there in odd.items() if there]:
        raise UnsupportedError(
            f"{where} cannot pass errors back", found=", ".join(found),
            allowed="integrate-and-fire neurons, with any reset, or a read-out at the end",
        )  # fmt: skip
    if population.spiking and (neuron.threshold <= 0).any():
        raise UnsupportedError(
            f"{where} cannot learn: its thresholds are not positive", found=neuron.threshold.min(), allowed="> 0"
        )
    one = float(DECAY_ONE)
    du, dv = neuron.du.astype(np.float64), neuron.dv.astype(np.float64)
    kept_u, kept_v = ((one - 1 - du) / one, (one - dv) / one) if integer else (1 - du, 1 - dv)
    unit = neuron.threshold.astype(np.float64) if population.spiking else population.scales.astype(np.float64)
    if channels < population.size:  # neurons that share weights share what these are measured by
        unit = np.repeat(unit.reshape(channels, -1).mean(axis=1), population.size // channels)
    how = _how(neuron)
    if population.spiking and not _or(network, population, neuron):
        how = _checked(where, neuron, kept_u, kept_v, rule, how)
    return Neurons(population, neuron, unit, kept_v, kept_u, how)


def _how(neuron: Lif) -> int:
    if neuron.reset == "none" or neuron.reset_time in ("next", "gate"):
        return PLAIN
    if neuron.reset == "subtract":
        return ONCE if neuron.reset_time == "once" else SUBTRACTED
    return REPLACED


def _checked(where: str, neuron: Lif, kept_u: Array, kept_v: Array, rule: EventRule, how: int) -> int:
    """Refuse neurons that a rule does not suit."""
    if rule.name != "std-ed":
        if neuron.reset_current:
            raise UnsupportedError(
                f"{where}: a reset of the current does not suit {rule.name}", allowed="std-ed, or a plain reset"
            )
        return how
    suits = (
        neuron.reset_current and bool((kept_v == 1).all()) and neuron.max_spikes == 1 and len(np.unique(kept_u)) == 1
        and bool((kept_u < 1).all())
    )  # fmt: skip
    if not suits:
        raise UnsupportedError(
            f"{where} does not suit std-ed", found=neuron.label,
            allowed="neurons without leak whose current decays, and that forget both at a spike (reset_current)",
            hint="mpd-ed teaches leaky integrate-and-fire neurons with any reset",
        )  # fmt: skip
    return CURRENT


def _or(network: Network, population: Population, neuron: Lif) -> bool:
    """Whether any one spike crosses the thresholds of neurons that remember nothing: the maximum of spikes."""
    into = network.into(population.name)
    if len(into) != 1 or into[0].event_rule is not None or np.any(neuron.bias) or neuron.max_spikes > 1:
        return False
    integer = network.arithmetic == "loihi"
    one = DECAY_ONE if integer else 1
    forgets = (neuron.dv >= one - integer).all() and (neuron.du >= one - integer).all()
    kind = into[0].connectivity
    weights = kind.weights.astype(np.float64) * 2.0**kind.exponent * (64 if integer else 1)
    return bool(forgets and (weights[weights != 0] > neuron.threshold.max()).all() and (weights != 0).any())


def _member(network: Network, own: Neurons, rule: EventRule, read: int) -> Member:
    population, neuron = own.population, own.neuron
    keep = (own.kept_v, own.kept_u)
    if not population.spiking:
        return Member(population, layout.SILENT, keep, read=read, times=rule.name == "std-ed")
    if _or(network, population, neuron):
        return Member(population, layout.SHARED, read=read)
    if rule.name == "std-ed":
        return Member(population, layout.TIMED, keep)
    hard = neuron.reset == "hard"
    late = neuron.reset_time != "now"
    return Member(
        population, layout.LEAKY, keep, keeps=not hard, gated=hard and neuron.reset_time == "gate", read=read,
        late=late, gain=1 / own.start,
    )  # fmt: skip
