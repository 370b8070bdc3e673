"""What a network leaves to the processor beside the chip: stages between populations, each an ONNX graph.

Attention over time, a softmax, a normalisation or a gate of sigmoids is nothing that synapses and neurons compute. A
`HostStage` takes spikes, potentials or the user's input of whole populations, and feeds populations that are sources
for the chip: their messages are currents (through synapses), gates (at port 1 of a `Product`) or spikes.

=========  =========================================  ===============================================================
schedule   a graph takes and gives                    when it runs
=========  =========================================  ===============================================================
before     ``[time, batch, *shape]``, of inputs       once, before the first step
step       ``[batch, *shape]``                        in every step, behind the populations that it reads
phase      ``[time, batch, *shape]``, or sums over    once: all steps of what stands in front of it run first, and are
           time, ``[batch, *shape]``                  buffered; what stands behind it runs then
behind     as *phase*; gives anything                 once, behind the last step; it feeds nothing on the chip
=========  =========================================  ===============================================================

A host in a loop costs a step: such a stage runs in every step, and what it gives has a delay of at least one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from neurodeploy.errors import InvalidInputError, UnsupportedError

from .arrays import Array, Sealed
from .schema import LATER, check_numbers, check_types

When = Literal["before", "step", "phase", "behind"]


@dataclass(frozen=True, eq=False)
class HostInput(Sealed):
    """What a stage reads.

    Args:
        name: input of its graph.
        source: population of which it is.
        port: the ``spikes`` that it sends (numbers, where its messages carry some; of an input its values), or its
            ``potential`` after the step's reset, in the units of the model.
        over: ``steps``, or their ``sum`` over the time of a phase.
        raised: of a potential, what is added to it, ``[neurons]``: integers count from the reset potential; None for
            nothing.
    """

    name: str
    source: str
    port: Literal["spikes", "potential"] = "spikes"
    over: Literal["steps", "sum"] = "steps"
    raised: Array | None = field(default=None, metadata={LATER: True})

    def __str__(self) -> str:
        return f"{self.port} of {self.source}" + (", summed over time" if self.over == "sum" else "")


@dataclass(frozen=True)
class HostOutput:
    """What a stage gives.

    Args:
        name: output of its graph.
        target: the source population that sends it to the chip, ``[*shape]`` a step; empty for a value that the user
            reads (of a stage behind the last step).
        delay: steps after which it is sent.
    """

    name: str
    target: str = ""
    delay: int = 0

    def __post_init__(self) -> None:
        check_types(self)

    def __str__(self) -> str:
        late = f", {self.delay} step(s) later" if self.delay else ""
        return f"{self.target}{late}" if self.target else f"the user, as {self.name}"


@dataclass(frozen=True, eq=False)
class HostStage(Sealed):
    """A part of a network that the host computes.

    Args:
        name: unique among stages.
        graph: an ONNX model, its bytes as uint8 ``[bytes]``; stateless.
        takes: what it reads.
        gives: what it feeds.
        when: see the table above.
    """

    name: str
    graph: Array
    takes: tuple[HostInput, ...]
    gives: tuple[HostOutput, ...]
    when: When = "phase"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.graph.dtype != np.uint8 or self.graph.ndim != 1 or not self.graph.size:
            raise self._wrong(
                "has no graph", f"{self.graph.dtype} {list(self.graph.shape)}", "the bytes of an ONNX model"
            )
        for what, names in (("takes", [i.name for i in self.takes]), ("gives", [o.name for o in self.gives])):
            if not names or len(set(names)) < len(names) or not all(names):
                raise self._wrong(f"{what} nothing, or something twice", names, "names of its graph, each once")
        if self.when != "phase" and any(i.over == "sum" for i in self.takes) and self.when != "behind":
            raise self._wrong("reads a sum over time", self.when, "a stage of a phase, or behind the last step")
        for given in self.gives:
            if bool(given.target) == (self.when == "behind"):
                what = "feeds the chip behind its last step" if given.target else "gives what nobody takes"
                allowed = "a value for the user behind the last step, a population of the chip before"
                raise self._wrong(what, given.name, allowed)
            if given.delay < 0 or (given.delay and self.when != "step"):
                raise self._wrong(
                    "gives something later", f"{given.delay} steps", "0; 1 or more of a stage of every step"
                )

    def _wrong(self, what: str, found: object, allowed: str) -> InvalidInputError:
        return InvalidInputError(f"the host stage {self.name!r} {what}", found=found, allowed=allowed)


class Wired(Protocol):
    """What is looked at of a `neurodeploy.network.network.Network`, which holds stages and so cannot be named here."""

    @property
    def populations(self) -> Sequence[Any]:
        """As in a network, and so are the others."""

    @property
    def projections(self) -> Sequence[Any]: ...

    @property
    def outputs(self) -> Sequence[str]: ...

    @property
    def stages(self) -> Sequence[HostStage]: ...

    @property
    def by_name(self) -> Mapping[str, Any]: ...


def fed(stages: Sequence[HostStage]) -> dict[str, HostStage]:
    """Populations that stages feed, and by which."""
    return {given.target: stage for stage in stages for given in stage.gives if given.target}


def values(stages: Sequence[HostStage]) -> tuple[str, ...]:
    """Names of what stages give to the user."""
    return tuple(given.name for stage in stages for given in stage.gives if not given.target)


def check_stages(network: Wired) -> None:
    """Refuse stages that do not fit their network.

    Raises:
        InvalidInputError: names the stage and the population.
    """
    targets: dict[str, str] = {}
    names: set[str] = set()
    for stage in network.stages:
        if stage.name in names or stage.name in network.by_name:
            raise InvalidInputError(f"two parts of the network are called {stage.name!r}", hint="rename the stage")
        names.add(stage.name)
        for taken in stage.takes:
            _check_input(network, stage, taken)
        for given in stage.gives:
            _check_output(network, stage, given, targets)
    repeated = [name for name in values(network.stages) if values(network.stages).count(name) > 1]
    if repeated:
        raise InvalidInputError("two stages give the user a value of one name", found=repeated[0])
    _check_loops(network)


def _check_input(network: Wired, stage: HostStage, taken: HostInput) -> None:
    population = _there(network, stage, taken.source)
    readable = population.spiking if taken.port == "spikes" else "v" in population.neuron.states
    if not readable or population.neuron.always_on:
        raise InvalidInputError(
            f"the host stage {stage.name!r} reads the {taken.port} of {taken.source!r}, which has none",
            found=population.neuron.label, allowed="a population that has them",
        )  # fmt: skip
    if taken.raised is not None:
        check_numbers(f"what the host stage {stage.name!r} adds to {taken.source!r}", taken.raised, (population.size,))
        if taken.port != "potential":
            raise InvalidInputError(
                f"the host stage {stage.name!r} raises the spikes of {taken.source!r}", allowed="potentials only"
            )
    if stage.when == "before" and not population.external:
        raise InvalidInputError(
            f"the host stage {stage.name!r} runs before the first step and reads {taken.source!r}, of the chip",
            found=population.neuron.label, allowed="inputs",
        )  # fmt: skip


def _check_output(network: Wired, stage: HostStage, given: HostOutput, targets: dict[str, str]) -> None:
    if not given.target:
        return
    population = _there(network, stage, given.target)
    if not population.external or population.neuron.always_on:
        raise InvalidInputError(
            f"the host stage {stage.name!r} feeds {given.target!r}, which is computed on the chip",
            found=population.neuron.label, allowed="a source, from which synapses lead to neurons",
        )  # fmt: skip
    if given.target in targets:
        raise InvalidInputError(
            f"the host stages {targets[given.target]!r} and {stage.name!r} feed one population", found=given.target
        )
    targets[given.target] = stage.name


def _there(network: Wired, stage: HostStage, name: str) -> Any:
    if name not in network.by_name:
        raise InvalidInputError(
            f"the host stage {stage.name!r} names an unknown population", found=name, allowed=sorted(network.by_name)
        )
    return network.by_name[name]


def _check_loops(network: Wired) -> None:
    """Refuse what waits for itself: within a step, or of a stage that wants all steps at once, ever."""
    for stage in network.stages:
        ever = stage.when != "step"
        starts = [g.target for g in stage.gives if g.target and (ever or not g.delay)]
        behind = set(_reached(network, starts, ever))
        caught = [taken.source for taken in stage.takes if taken.source in behind]
        if caught:
            what = "which it feeds itself" if ever else "which it feeds in the same step"
            raise InvalidInputError(
                f"the host stage {stage.name!r} reads {caught[0]!r}, {what}",
                found="a loop through the host" + ("" if not ever else f" of a stage that runs {stage.when!r}"),
                allowed="stages of every step whose output has a delay of one step or more",
                hint="a loop through the host costs a step: give the output a delay, and train with it",
            )  # fmt: skip


def _reached(network: Wired, starts: Sequence[str], ever: bool) -> Iterator[str]:
    """Populations that hear of others, in the same step or ever, stages included; those themselves, too."""
    edges: dict[str, list[str]] = {}
    for projection in network.projections:
        if ever or not projection.delay:
            edges.setdefault(projection.source, []).append(projection.target)
    for stage in network.stages:
        for taken in stage.takes:
            edges.setdefault(taken.source, []).extend(
                g.target for g in stage.gives if g.target and (ever or not g.delay)
            )
    waiting, seen = list(starts), set(starts)
    while waiting:
        name = waiting.pop()
        yield name
        for target in edges.get(name, []):
            if target not in seen:
                seen.add(target)
                waiting.append(target)


def phases(network: Wired) -> Mapping[str, int]:
    """In which phase each population runs: one more than what the stages between phases in front of it read.

    All steps of a phase run before the first of the next.
    """
    found = {p.name: 0 for p in network.populations}
    feeds = fed(network.stages)
    for _ in range(len(found) + 1):  # each turn settles at least one more, since nothing waits for itself
        before = dict(found)
        for name, stage in feeds.items():
            least = max((found[t.source] for t in stage.takes), default=0)
            found[name] = max(found[name], least + (stage.when == "phase"))
        for projection in network.projections:
            found[projection.target] = max(found[projection.target], found[projection.source])
        if found == before:
            break
    return found


def alone(network: Wired, who: str) -> None:
    """Refuse a network with host stages, for a part that knows neurons and synapses alone.

    Raises:
        UnsupportedError: names the stages.
    """
    if network.stages:
        raise UnsupportedError(
            f"{who} does not know host stages", found=", ".join(repr(stage.name) for stage in network.stages),
            allowed="networks of which the host computes nothing (`Network.chip_part` is the chip's part of one)",
        )  # fmt: skip


def on_chip(network: Wired) -> set[str]:
    """Names of the populations that live on the chip, or send to it; the others are inputs that only the host reads."""
    heard = {p.source for p in network.projections} | set(network.outputs)
    return {p.name for p in network.populations if not p.external or p.name in heard}
