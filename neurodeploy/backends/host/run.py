"""A network with host stages on any back-end.

The chip's part runs whole, again and again: with nothing from the host at first, then with what the stages make of what
it did, until they make the same as before. A population that hears of k stages one behind the other is right from the
k-th run on, and one in a loop through the host from step to step, since nothing waits for itself. So every back-end
runs hybrid networks, and what a stage made is judged by what it was made of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from neurodeploy.errors import BackendError, Interrupted, InvalidInputError
from neurodeploy.network.arrays import Array
from neurodeploy.network.host import HostInput, HostStage, on_chip
from neurodeploy.network.network import Network, Population
from neurodeploy.program import overflow
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Events, Record, Recording, check_inputs

from .graph import Graph

Run = Callable[..., Recording]
Chip = Callable[[Mapping[str, Array], Record], Recording]


@dataclass
class _Hybrid:
    """What is known while a network runs.

    Args:
        network: with its stages.
        graphs: of its stages, in order.
        given: the user's inputs, ``[time, batch, neurons]``.
        made: of each population that a stage feeds, the values ``[time, batch, neurons]``, in units of the model.
    """

    network: Network
    graphs: list[Graph]
    given: Mapping[str, Array]
    steps: int
    samples: int
    made: dict[str, Array]

    def messages(self) -> dict[str, Array]:
        """What the populations that stages feed send to the chip; those that only other stages read send nothing."""
        there, known = on_chip(self.network), self.network.by_name
        return {name: messages(self.network, known[name], value) for name, value in self.made.items() if name in there}

    def read(self, taken: HostInput, found: Recording | None) -> Array:
        """What a stage reads, ``[time, batch, *shape]``, or its sum over time."""
        population = self.network.by_name[taken.source]
        if taken.source in self.given:
            values = self.given[taken.source]
        elif taken.source in self.made:
            values = self.made[taken.source]
        elif found is None:
            raise AssertionError(f"{taken.source} is on the chip")
        elif taken.port == "spikes":
            dense = found.spikes[taken.source].dense()
            values = dense / population.message_scales if population.neuron.valued else dense
        else:
            values = found.states["v"][taken.source] / population.scales
            values = values if taken.raised is None else values + taken.raised
        values = values.reshape(self.steps, self.samples, *population.shape)
        return values.sum(axis=0) if taken.over == "sum" else values

    def compute(self, graph: Graph, found: Recording | None) -> list[Array]:
        """What a stage gives, in its order."""
        stage = graph.stage
        taken = {one.name: self.read(one, found) for one in stage.takes}
        if stage.when != "step":
            return graph(taken)
        each = [graph({name: value[t] for name, value in taken.items()}) for t in range(self.steps)]
        return [np.stack(values) for values in zip(*each, strict=True)]

    def feed(self, stage: HostStage, values: list[Array]) -> bool:
        """Take what a stage gives to its populations; whether that is new."""
        new = False
        for given, value in zip(stage.gives, values, strict=True):
            if given.target:
                arranged = _arranged(self, stage.name, self.network.by_name[given.target], value, given.delay)
                new |= not np.array_equal(arranged, self.made[given.target])
                self.made[given.target] = arranged
        return new


def run(
    backend: Run,
    program: Program,
    inputs: Mapping[str, Array],
    *,
    record: Record = Record(),
    progress: Callable[[int, int], None] | None = None,
) -> Recording:
    """Run a Program with host stages; see `neurodeploy.backends.Backend`.

    Raises:
        InvalidInputError, BackendError, Interrupted: as `together`; what the back-end itself raises.
    """
    inner = program.part(program.network.chip_part)
    return together(
        program.network, lambda given, wanted: backend(inner, given, record=wanted, progress=progress), inputs, record
    )


def together(network: Network, chip: Chip, inputs: Mapping[str, Array], record: Record = Record()) -> Recording:
    """Run a network with host stages, whose chip part is run by ``chip``.

    Args:
        chip: from what each source of the chip sends, ``[time, batch, neurons]``, and what to record, to a recording.
        inputs: for each input population ``[time, batch, *shape]``.

    Raises:
        InvalidInputError: inputs that do not match, or a stage that gives other shapes than its populations have.
        BackendError: a graph that onnxruntime cannot run, one that gives another thing each time, or what ``chip``
            itself raises.
        Interrupted: Ctrl-C; without a recording, since what ran had not heard all of the host.
    """
    steps, samples, given = check_inputs(network, inputs)
    graphs = [Graph(stage) for stage in network.stages]
    for graph in graphs:
        graph.check_steps(steps)
    fed = [g.target for stage in network.stages for g in stage.gives if g.target]
    made = {name: np.zeros((steps, samples, network.by_name[name].size)) for name in fed}
    hybrid = _Hybrid(network, graphs, given, steps, samples, made)
    for graph in graphs:
        if graph.stage.when == "before":
            hybrid.feed(graph.stage, hybrid.compute(graph, None))
    part = network.chip_part
    wanted = Record(tuple(dict.fromkeys((*record.states, *_states(network)))), record.learning)
    own = {name: value for name, value in given.items() if name in part.by_name}
    again = [g for g in graphs if g.stage.when in ("step", "phase")]
    for _ in range(steps * len(again) + 1):  # each run settles what at least one stage makes in one more step
        try:
            found = chip({**own, **hybrid.messages()}, wanted)
        except Interrupted as stopped:  # what ran so far had not heard all of the host
            raise Interrupted(None, str(stopped)) from None
        new = [hybrid.feed(graph.stage, hybrid.compute(graph, found)) for graph in again]
        if not any(new):
            return _whole(hybrid, found, record)
    raise BackendError(
        "the host stages never make the same twice", found=f"{steps * len(again) + 1} runs of {steps} steps",
        allowed="graphs that give the same for the same inputs",
        hint="leave random numbers out of the graphs, or draw them once, before the first step",
    )  # fmt: skip


def readings(
    program: Program, inputs: Mapping[str, Array], found: Recording
) -> Iterator[tuple[HostStage, dict[str, Array]]]:
    """What each stage took in each of its runs, by name of its graph's inputs; stages in the order of the network.

    Args:
        inputs: of the run.
        found: recording of the run, with the potentials that stages read.
    """
    network = program.network
    steps, samples, given = check_inputs(network, inputs)
    hybrid = _Hybrid(network, [], given, steps, samples, dict(found.hosted))
    for stage in network.stages:
        taken = {one.name: hybrid.read(one, found) for one in stage.takes}
        if stage.when != "step":
            yield stage, taken
            continue
        for t in range(steps):
            yield stage, {name: value[t] for name, value in taken.items()}


def _states(network: Network) -> tuple[str, ...]:
    """State variables that stages or the answer read."""
    read = any(taken.port == "potential" for stage in network.stages for taken in stage.takes)
    return ("v",) if read or (network.answer is not None and network.answer.potentials) else ()


def _arranged(hybrid: _Hybrid, name: str, population: Population, value: Array, delay: int) -> Array:
    """What a stage gives as ``[time, batch, neurons]``, so many steps later; one step's value stands for all."""
    lead, size = (hybrid.steps, hybrid.samples), population.size
    if value.shape[:2] != lead and value.shape == (hybrid.samples, *population.shape):
        value = np.broadcast_to(value, (hybrid.steps, *value.shape))
    if value.shape[:2] != lead or int(np.prod(value.shape[2:])) != size:
        raise InvalidInputError(
            f"the host stage {name!r} gives {population.name!r} another shape", found=list(value.shape),
            allowed=f"[time, batch, {', '.join(map(str, population.shape))}], here {[*lead, *population.shape]}",
        )  # fmt: skip
    flat = value.reshape(*lead, size)
    if not np.isfinite(flat).all():
        raise InvalidInputError(
            f"the host stage {name!r} gives {population.name!r} values that are not finite",
            found=float(flat[~np.isfinite(flat)][0]), allowed="finite numbers",
        )  # fmt: skip
    return np.concatenate([np.zeros((delay, *flat.shape[1:])), flat])[: hybrid.steps] if delay else flat


def messages(network: Network, population: Population, values: Array) -> Array:
    """Values in units of the model as a source population sends them: whole numbers that fit, in an integer network."""
    if network.arithmetic == "float":
        return values
    whole = np.rint(values * population.scales)
    bits = population.neuron.message_bits(network.arithmetic)
    if not bits:
        spikes: Array = (whole > 0).astype(np.uint8)
        return spikes
    most = population.neuron.largest_message(network.arithmetic)
    held: Array = np.clip(whole, -most, most).astype(np.int32)
    return held


def _whole(hybrid: _Hybrid, found: Recording, record: Record) -> Recording:
    """The recording of the whole network: with inputs that only the host read, and what it gives the user."""
    network, extra = hybrid.network, {}
    for name, value in {**hybrid.given, **hybrid.made}.items():
        if name not in found.spikes:
            extra[name] = Events.from_dense(value)
    hosted: dict[str, Any] = dict(hybrid.made)
    for graph in hybrid.graphs:
        if graph.stage.when == "behind":
            given = zip(graph.stage.gives, hybrid.compute(graph, found), strict=True)
            hosted |= {one.name: value[None] for one, value in given}
    more = set(_states(network)) - set(record.states)  # that nobody but stages, or the answer, asked for
    states = {
        name: {
            p.name: values[p.name] for p in network.populations
            if p.name in values and (name not in more or name in record.kept(network, p))
        }
        for name, values in found.states.items()
    }  # fmt: skip
    kept = {name: values for name, values in states.items() if values}
    left = found.left if found.left is None else {**found.left, **_held(hybrid)}
    return replace(found, spikes={**found.spikes, **extra}, states=kept, hosted=hosted, left=left)


def _held(hybrid: _Hybrid) -> overflow.Left:
    """How many numbers of the host did not fit their messages, of each population that has such."""
    left: dict[str, dict[str, int]] = {}
    for name, sent in hybrid.messages().items():
        population = hybrid.network.by_name[name]
        one = population.neuron.message_bits(hybrid.network.arithmetic) > 0
        off = np.abs(hybrid.made[name] * population.scales - sent) > (1 if one else 0)
        if hybrid.network.arithmetic != "float" and off.any():
            left[name] = {kind: int(off.sum()) for kind in overflow.HELD}
    return left
