"""The functional pass of networks that learn: one step at a time, since what learns stands between the steps.

Samples are independent, so a batch is cut into blocks that run on as many threads as there are cores; the result does
not depend on the cut. Networks that do not learn run in `neurodeploy.hwsim.loop`, which is faster.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodeploy.connectivity import Array
from neurodeploy.network import Network, Population, Projection
from neurodeploy.neurons import Lif, Product, Relu, Source
from neurodeploy.plasticity import LearningRule
from neurodeploy.program import Program
from neurodeploy.recording import Events, Record, Recording, check_inputs, learned_shapes

from . import kernels
from .cells import Cells, State
from .cells import pack as pack_cells
from .flat import may_overflow
from .learning import Learning, Plasticity, Teacher, leads
from .synapses import EventList, Synapses, pack

BLOCK = 32
"""Samples that one thread runs at a time: enough to amortise the calls, few enough to stay in its cache."""

_SILENCE = EventList(np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0))


def run(
    program: Program,
    inputs: Mapping[str, Array],
    *,
    record: Record = Record(),
    progress: Callable[[int, int], None] | None = None,
) -> Recording:
    """Run a Program; see `neurodeploy.backends.Backend`. Fills `Recording.active` too."""
    steps, samples, given = check_inputs(program.network, inputs)
    plan = _Plan.of(program)
    result = _Result.allocate(plan, program, steps, samples, record)
    starts = range(0, samples, BLOCK)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        jobs = {
            pool.submit(_run_block, plan, {k: v[:, s : s + BLOCK] for k, v in given.items()}, result, s): s
            for s in starts
        }
        try:
            for done, job in enumerate(as_completed(jobs), 1):
                job.result()
                if progress:
                    progress(done, len(starts))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return result.recording()


@dataclass(frozen=True, eq=False)
class _Packed:
    """A population's parameters as the kernels take them."""

    population: Population
    cells: Cells
    slot: Array
    slots: int
    incoming: tuple[tuple[Projection, Synapses], ...]
    learning: tuple[Plasticity, ...]
    taught: LearningRule | None


@dataclass(frozen=True, eq=False)
class _Plan:
    network: Network
    packed: dict[str, _Packed]
    history: dict[str, int]
    """Steps that each population's events are kept for its delayed projections."""

    @classmethod
    def of(cls, program: Program) -> _Plan:
        network, lead = program.network, leads(program.network)
        packed = {}
        for population in network.populations:
            if not isinstance(population.neuron, Source):
                name = population.name
                packed[name] = _Packed(
                    population,
                    pack_cells(
                        population, network.arithmetic, may_overflow(network, name), network.taught(name) is not None
                    ),
                    np.searchsorted(program.cores_of(name), program.core_of[name]).astype(np.int64),
                    len(program.cores_of(name)),
                    tuple((p, pack(p.connectivity, network.arithmetic)) for p in network.into(name) if not p.rule),
                    tuple(Plasticity.of(p, network.arithmetic, lead[p.name]) for p in network.into(name) if p.rule),
                    network.taught(name),
                )
        history = {p.name: 0 for p in network.populations}
        for projection in network.projections:
            history[projection.source] = max(history[projection.source], projection.delay)
            if projection.rule:
                heard = projection.delay + lead[projection.name]
                history[projection.target] = max(history[projection.target], heard)
        return cls(network, packed, history)


@dataclass(frozen=True, eq=False)
class _Result:
    network: Network
    steps: int
    samples: int
    events: dict[int, dict[str, list[tuple[int, EventList]]]]
    states: dict[str, dict[str, Array]]
    marks: dict[str, Array]
    learned: dict[str, dict[str, Array]]
    everything: bool

    @classmethod
    def allocate(cls, plan: _Plan, program: Program, steps: int, samples: int, record: Record) -> _Result:
        network = program.network
        state = np.int32 if network.arithmetic == "loihi" else np.float64
        states: dict[str, dict[str, Array]] = {}
        marks = {}
        for population in network.populations:
            if isinstance(population.neuron, (Relu, Product)):
                cores = len(program.cores_of(population.name))
                marks[population.name] = np.zeros((steps, samples, len(kernels.KINDS), cores), np.int64)
            elif not isinstance(population.neuron, Source):
                wanted = set(record.states) & {"u", "v"} | (set() if population.spiking else {"v"})
                for name in sorted(wanted):
                    shape = (steps, samples, population.size)
                    wide = name == "u" and plan.packed[population.name].cells.wide
                    states.setdefault(name, {})[population.name] = np.zeros(shape, np.int64 if wide else state)
                cores = len(program.cores_of(population.name))
                marks[population.name] = np.zeros((steps, samples, len(kernels.KINDS), cores), np.int64)
        learned = {}
        number = np.dtype(np.int64) if network.arithmetic == "loihi" else np.dtype(np.float64)
        for projection in network.projections:
            if projection.rule:
                kind, rows = projection.connectivity, steps if record.learning else 1
                shapes = learned_shapes(kind)
                learned[projection.name] = {n: np.zeros((rows, samples, *s), number) for n, s in shapes.items()}
        return cls(network, steps, samples, {}, states, marks, learned, record.learning)

    def recording(self) -> Recording:
        spikes = {p.name: self._events(p) for p in self.network.populations if p.spiking}
        active, touched, changed = (
            {name: marks[:, :, kind] for name, marks in self.marks.items()} for kind in range(len(kernels.KINDS))
        )
        return Recording("hwsim", self.steps, self.samples, spikes, self.states, active, touched, changed, self.learned)

    def _events(self, population: Population) -> Events:
        time: list[Array] = []
        sample: list[Array] = []
        neuron: list[Array] = []
        payload: list[Array] = []
        for start in sorted(self.events):
            for t, events in self.events[start][population.name]:
                per_sample = np.diff(events.first)
                time.append(np.full(len(events.index), t, np.int32))
                sample.append(np.repeat(np.arange(start, start + len(per_sample), dtype=np.int32), per_sample))
                neuron.append(events.index)
                payload.append(events.payload)
        times = np.concatenate(time)
        # Blocks follow each other in samples, so a stable sort by time leaves samples and neurons ascending.
        by_time = np.argsort(times, kind="stable")
        columns = (times, np.concatenate(sample), np.concatenate(neuron))
        ordered = [column[by_time] for column in columns]
        carried: Array | None = np.concatenate(payload)[by_time]
        if (np.asarray(carried) == 1).all():
            carried = None
        return Events(ordered[0], ordered[1], ordered[2], self.steps, self.samples, population.size, carried)


def _run_block(plan: _Plan, inputs: dict[str, Array], result: _Result, start: int) -> None:
    network = plan.network
    samples = next(iter(inputs.values())).shape[1]
    number = np.dtype(np.int32) if network.arithmetic == "loihi" else np.dtype(np.float64)
    block = slice(start, start + samples)
    states = {name: packed.cells.start(samples) for name, packed in plan.packed.items()}
    learning = {name: [plan.start(samples, result.steps) for plan in p.learning] for name, p in plan.packed.items()}
    teachers = {
        name: Teacher(p.taught, samples, p.population.size, number.kind == "i")
        for name, p in plan.packed.items()
        if p.taught
    }
    told: dict[str, list[Array]] = {name: [np.zeros(0)] * (plan.history[name] + 1) for name in teachers}
    scratch = {name: [s.scratch(samples) for _, s in p.incoming] for name, p in plan.packed.items()}
    # A ring of the last steps' events of each population; step t stands at t modulo its length.
    past: dict[str, list[EventList]] = {name: [_SILENCE] * (n + 1) for name, n in plan.history.items()}
    listed: dict[str, list[tuple[int, EventList]]] = {p.name: [] for p in network.populations if p.spiking}

    for t in range(result.steps):
        for population in network.populations:
            name = population.name
            if name in inputs:
                events = _events_of(np.ascontiguousarray(inputs[name][t]), number)
            elif isinstance(population.neuron, Source):
                on = t >= population.neuron.start
                events = _events_of(np.full((samples, population.size), on, np.uint8), number)
            else:
                packed, state = plan.packed[name], states[name]
                for (projection, synapses), buffer in zip(packed.incoming, scratch[name], strict=True):
                    current = state.second if projection.port else state.current
                    if t >= projection.delay:
                        ring = past[projection.source]
                        synapses.deliver(ring[(t - projection.delay) % len(ring)], buffer, current)
                    if projection.bias is not None and t >= projection.bias_start:
                        np.add(current, projection.bias, out=current)
                for plastic in learning[name]:
                    _follow(plastic, t - plastic.plan.projection.delay, past, told, result, block, state.current)
                packed.cells.step(state)
                kernels.count_marks(state.flags, packed.slot, result.marks[name][t, block])
                if name in teachers:
                    told[name][t % len(told[name])] = teachers[name].step(state.sent, state.second)
                for key, value in (("u", state.u), ("v", state.v)):
                    if name in result.states.get(key, {}):
                        result.states[key][name][t, block] = value
                events = _events_of(_message(population, state), number)
            past[name][t % len(past[name])] = events
            if population.spiking:
                listed[name].append((t, events))
    for plastic in (item for items in learning.values() for item in items):
        _follow(plastic, result.steps - 1, past, told, result, block, None)
        if not result.everything:
            _keep(plastic, result, 0, block)
    result.events[start] = listed


def _follow(
    plastic: Learning,
    last: int,
    past: dict[str, list[EventList]],
    told: dict[str, list[Array]],
    result: _Result,
    block: slice,
    current: Array | None,
) -> None:
    """Let a projection learn from all steps up to ``last``, whose current is delivered if it is wanted."""
    projection = plastic.plan.projection
    sources, targets = past[projection.source], past[projection.target]
    while plastic.step <= last:
        k = plastic.step
        pre = sources[k % len(sources)]
        if current is not None:
            exponent = projection.connectivity.exponent
            arrived = np.zeros_like(current)
            plastic.currents(pre, arrived)
            current += arrived << exponent if exponent > 0 else arrived >> -exponent if exponent else arrived
        heard = k - plastic.plan.lead
        inside = 0 <= heard < result.steps
        sent = None
        if plastic.plan.rule.factors == 3:
            ring = told[projection.target]
            sent = ring[heard % len(ring)] if inside else np.zeros((3, *plastic.ty.shape))
        plastic.advance(pre, targets[heard % len(targets)] if inside else None, sent)
        if result.everything:
            _keep(plastic, result, k, block)


def _keep(plastic: Learning, result: _Result, row: int, block: slice) -> None:
    kept = result.learned[plastic.plan.projection.name]
    for name, value in plastic.state().items():
        kept[name][row, block] = value


def _message(population: Population, state: State) -> Array:
    """What a population sends in this step, ``[batch, neurons]``."""
    if population.spiking:
        return state.sent
    shift = population.neuron.send_shift if isinstance(population.neuron, Lif) else 0
    return state.v >> shift if shift else state.v


def _events_of(values: Array, number: np.dtype[Any]) -> EventList:
    """Event lists of the non-zero entries of ``[batch, neurons]``."""
    first = np.zeros(len(values) + 1, np.int64)
    index = np.empty(values.size, np.int32)
    count = kernels.list_events(values, first, index)
    index = index[:count].copy()
    if values.dtype == np.uint8 or values.dtype == bool:
        payload = np.ones(count, number)
    else:
        payload = values[values != 0].astype(number)
    return EventList(first, index, payload)
