"""Programs that learn on the chip: forwards as the chip computes, backwards over the events.

`OnProgram` runs sample after sample on hwsim's own kernels, in the Program's arithmetic, so that what learns sends the
very spikes that any back-end gives for the same weights. From these, and the potentials that were recorded with them,
errors go back by the kernels of `neurodeploy.hwsim.event_learning.kernels`, and weights change on the grid that the
chip holds (`neurodeploy.hwsim.event_learning.synapses`). The loss is the cross entropy of the answer's scores
(`neurodeploy.hwsim.event_learning.answers`).

Beside what `neurodeploy.network.event_rules` writes for a chain, with v the potential and u the current:

    dL/dv[t] = e psi(v[t] / theta) at a spike, + dL/d(what the answer reads of v[t]) + (1 - dv) dL/dv[t+1]
    dL/du[t] = dL/dv[t] + (1 - du) dL/du[t+1];   dL/dw = sum of dL/du[t] over the steps of its source's spikes

A hard reset cuts dL/dv[t+1] off, and one by subtraction does not (it is not differentiated itself). Of several spikes
in one step the last crossing has the slope. The maximum of spikes hands an error on to the spikes that arrived. An
output that is read by its spikes, is silent and should not be (a spike would lower the loss) has no event to learn
from: the first step of its highest potential counts as one. Biases, decays and what has no rule stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np

from neurodeploy.errors import InvalidInputError, UnsupportedError
from neurodeploy.network.arrays import Array
from neurodeploy.network.dispatch import expect
from neurodeploy.network.expressions import Series
from neurodeploy.network.network import Network, Projection, check_registers
from neurodeploy.network.neurons import Lif
from neurodeploy.program.count_kinds import counted
from neurodeploy.program.program import NO_CHIP, Program
from neurodeploy.program.recording import Decisions, Record, check_inputs, check_labels, decisions

from ..chips.arch import Architecture, load_architecture
from ..chips.embedded import architecture_of
from ..counts.counts import Counter
from ..engine import Block, Kept, Simulator, recording_of
from ..function import layout as simulator
from ..function.tables import Flat, flatten
from ..prices.pricing import totals
from ..timing.tiers import core_timing
from . import layout
from .answers import Scores, score_of
from .engine import Outcome, pools, restore
from .kernels import KINDS, LEARNED, SKIPPED, STORED_WORDS, softmax
from .layout import CHANGES, Constants, State
from .loop import end_sample, go_back, watch
from .recorded import Levels, arrivals, blame, collect, fill_levels
from .synapses import Grid, Pool, held
from .tables import Home, Tables, build
from .trained import CURRENT, Neurons, Trained, trained

TOGETHER = 64
"""Samples whose forward pass is counted together."""
LAYER = tuple(name for name in counted("layer") if name not in KINDS)
CHIP = tuple(
    name for name in counted("receiving", "sending", "resting", "fabric", "run", "work") if name not in (*KINDS, *LAYER)
)
COUNTED = (*KINDS, *LAYER, *CHIP)
"""What a learning Program counts: what engines of events do, and what a run of it on its chip does."""


@dataclass(frozen=True, eq=False)
class _Free(Projection):
    """Synapses that learn, for the simulator: their weights may become whatever so many bits can hold."""

    bits: int = 8

    @cached_property
    def sums(self) -> tuple[Array, Array]:
        _, low, high = held(self.connectivity.weights, self.bits)
        inputs = np.full(self.connectivity.outputs, float(self.connectivity.inputs))
        return np.minimum(inputs * low, 0), np.maximum(inputs * high, 0)


@dataclass(frozen=True, eq=False)
class _Forward:
    """The simulator's tables, what is recorded, rows of populations, and the pool of weights, which may be changed."""

    flat: Flat
    kept: Kept
    row: Mapping[str, int]
    weights: Array

    def graded(self, name: str) -> bool:
        """Whether a population's events carry numbers."""
        return bool(self.flat.populations[self.row[name], simulator.GRADED])


class OnProgram:
    """A Program that learns; see the module's docstring.

    Args:
        program: with event rules on projections (`neurodeploy.network.event_rules.with_rule`); placed or not.
        steps: of a sample.
        arch: its chip, by whose file runs are counted; None for what engines of events count alone.

    Raises:
        UnsupportedError: a part of it cannot learn; names it, what was found and what is allowed.
        InvalidInputError: no steps.
    """

    def __init__(self, program: Program, steps: int, arch: Architecture | None = None) -> None:
        if steps < 1:
            raise InvalidInputError("a sample needs at least one step", found=steps, allowed="1 or more")
        network = program.network
        check_registers(network)
        if network.answer is not None:
            network.answer.check_steps(steps)
        self.program, self.steps, self.arch = program, steps, arch
        self.score = score_of(network)
        heard = [(leaf.population, leaf.port == "potential") for leaf in self.score.series()]
        self.part: Trained = trained(network, heard)
        self.rule = self.part.rule
        _check_chip(self.part, arch)
        self.projections = [s.projection for s in self.part.synapses]
        ones = np.ones(steps)
        home = None if arch is None else Home(program.core_of, arch)
        self.tables: Tables = build(self.part.members, self.part.synapses, ones, ones, home)
        self.bits = _bits(program)
        units = {n.population.name: n.unit for n in self.part.neurons if n is not None}
        self.grid = Grid.of(network, self.tables, self.projections, units, self.bits)
        self.pool = Pool.of(program, self.tables, self.projections)
        start = np.zeros(self.tables.neurons)
        for k, own in enumerate(self.part.neurons):
            if own is not None:
                start[self.tables.place(k)] = self.tables.ordered(own.population.name, own.start)
        weights = self.grid.from_program([q.connectivity.weights for q in self.projections])
        self.constants = self._constants(start)
        self._state = State(
            weights, np.zeros((0, 0)), start.copy(), np.zeros_like(weights), np.zeros((0, 0)),
            np.zeros(len(weights), np.uint8), np.zeros((self.tables.rows, 2), np.int64),
            np.zeros(self.tables.neurons, np.int64), np.zeros(4, np.int64),
        )  # fmt: skip
        self._spikes, self._work = pools(self.tables, steps)
        self._reads = np.zeros((steps, max(self.part.reads, 1)))
        # What layers count does not depend on the chip.
        self._counter = Counter(program, arch or load_architecture("loihi1"))
        self._forward = self._prepared()

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the rows of counts."""
        return (*self.part.layers, "chip")

    def _constants(self, start: Array) -> Constants:
        rule, members, adapt = self.rule, self.part.members, self.rule.adapt
        into = {q.target: q.event_rule for q in self.projections if q.event_rule is not None}
        rules = [into.get(m.population.name, rule) for m in members]
        rates = [0.0 if q.event_rule is None else q.event_rule.learning_rate for q in self.projections]
        moves = [
            m.population.name in into and into[m.population.name].adapt is not None and m.kind != layout.SILENT
            for m in members
        ]  # fmt: skip
        return Constants(
            0, np.array([*rates, 0.0]), np.array([r.width for r in rules]), np.array([r.slope for r in rules]),
            rule.batch, rule.skip, self.grid.steps, self.grid.limits, rule.seed, adapt.window if adapt else 0,
            adapt.target if adapt else 0.0, adapt.lowest if adapt else 0.0, adapt.down if adapt else 1.0,
            adapt.up if adapt else 1.0, int(adapt is not None and adapt.each == "neuron"), start,
            np.array(moves, np.int64),
        )  # fmt: skip

    def _prepared(self) -> _Forward:
        """The simulator's tables, with thresholds and weights as they are now."""
        network = self.network()
        free = tuple(self._free(q) for q in network.projections)
        flat = flatten(replace(self.program, network=replace(network, projections=free)), wide=True)
        kept = Kept.of(flat, Record(("u", "v")), False)
        weights = flat.pools[0].copy()
        shown = weights.view()
        shown.flags.writeable = False
        object.__setattr__(flat, "pools", (shown, *flat.pools[1:]))  # weights change under the simulator
        return _Forward(flat, kept, {p.name: n for n, p in enumerate(network.populations)}, weights)

    def _free(self, q: Projection) -> Projection:
        if q.event_rule is None or self.program.network.arithmetic != "loihi":
            return q
        return _Free(**{field.name: getattr(q, field.name) for field in fields(q)}, bits=self.bits)

    def learn(
        self, inputs: Mapping[str, Array], labels: Array, order: Array | None = None, rate: float = 1.0
    ) -> Outcome:
        """Learn from samples, one after the other.

        Args:
            inputs: ``[time, batch, *shape]`` by input, as every back-end takes them.
            labels: classes, ``[batch]``.
            order: samples to take (all, in their order, when not given).
            rate: factor of the rules' learning rates.

        Raises:
            InvalidInputError: samples of another length or shape, or a label that is no class.
        """
        given, labels, taken = self.check(inputs, labels, order)
        constants = self.constants._replace(rate=self.constants.rate * rate)
        right = np.zeros(len(taken))
        scores = np.zeros((len(taken), self.program.network.classes))
        counts = np.zeros((len(taken), len(self.layers), len(COUNTED)), np.int64)
        blocks: list[Block] = []
        for index, b in enumerate(taken.tolist()):
            if len(blocks) == TOGETHER:
                self._count(blocks, counts[index - len(blocks) : index])
                blocks = []
            block, found = self._run(given, b)
            blocks.append(block)
            scores[index] = found.found[0]
            delta = np.zeros(scores.shape[1])
            right[index] = softmax(scores[index], labels[b], delta)
            here = counts[index, :, : len(KINDS)]
            learns = right[index] <= 1.0 - constants.skip
            here[-1, LEARNED if learns else SKIPPED] += 1
            self._collect(block)
            if learns:
                self._back(block, found, delta, constants, here)
            self._end(constants, here)
        if blocks:
            self._count(blocks, counts[len(taken) - len(blocks) :])
        return Outcome(right, scores, counts)

    def check(
        self, inputs: Mapping[str, Array], labels: Array, order: Array | None = None
    ) -> tuple[dict[str, Array], Array, Array]:
        """Samples ``[time, batch, neurons]``, their classes and their order; see `learn` for the errors."""
        network = self.program.network
        steps, samples, given = check_inputs(network, inputs)
        if steps != self.steps:
            raise InvalidInputError("samples of another length", found=f"{steps} steps", allowed=self.steps)
        labels = check_labels(labels, samples, network.classes)
        taken = np.arange(samples) if order is None else np.asarray(order, np.int64)
        if len(taken) and not 0 <= taken.min() <= taken.max() < samples:
            raise InvalidInputError(
                "an order names a sample that is not there", found=f"{taken.min()} to {taken.max()}",
                allowed=f"0 to {samples - 1}",
            )  # fmt: skip
        return given, labels, taken

    def _run(self, given: Mapping[str, Array], b: int) -> tuple[Block, Scores]:
        """One sample forwards: what happened, and the scores."""
        forward = self._forward
        flat = forward.flat
        joined = np.concatenate([given[name][:, b : b + 1] for name in flat.inputs], axis=2)
        joined = np.ascontiguousarray(joined, np.uint8 if flat.integer and flat.plain else flat.number)
        joined.flags.writeable = False
        block = Block(flat, forward.kept, 0, joined, np.zeros(1, np.uint8))
        block.run()
        return block, Scores.of(self.score, lambda leaf: self._series(block, leaf))

    def _series(self, block: Block, leaf: Series) -> Array:
        """What the answer reads, ``[steps, 1, neurons]``, in float units."""
        name, forward = leaf.population, self._forward
        population = self.program.network.by_name[name]
        values = np.zeros((self.steps, population.size))
        if leaf.port == "potential":
            values[:] = block.v[:, 0, forward.kept.v[name]] / self._flat_order(name, population.scales)
        else:
            row = forward.row[name]
            graded = forward.graded(name)
            for t, (low, high) in enumerate(block.bounds[0, :, row].tolist()):
                values[t, block.events[low:high]] = block.values[low:high] if graded else 1.0
        order = forward.flat.order.get(name)
        if order is not None:
            values[:, order] = values.copy()
        return values[:, None]

    def _flat_order(self, name: str, values: Array) -> Array:
        order = self._forward.flat.order.get(name)
        return values if order is None else values[order]

    @cached_property
    def _renumbered(self) -> dict[str, Array]:
        """The tables' number of each of the simulator's neurons, where they differ."""
        found = {}
        for member in self.part.members:
            name, size = member.population.name, member.population.size
            own = np.empty(size, np.int64)
            own[self.tables.ordered(name, np.arange(size))] = np.arange(size)
            found[name] = own[self._flat_order(name, np.arange(size))]
        return found

    @cached_property
    def _levels(self) -> dict[int, Levels]:
        """By member, of those that learn."""
        found = {}
        for k, own in enumerate(self.part.neurons):
            if own is not None and own.population.spiking:
                found[k] = self._level(own)
        return found

    def _level(self, own: Neurons) -> Levels:
        name, neuron = own.population.name, own.neuron
        column = np.empty(own.population.size, np.int64)
        column[self._renumbered[name]] = np.arange(own.population.size)
        rows = (neuron.initial, own.kept_v, own.kept_u, neuron.bias, neuron.threshold)
        initial, kept_v, kept_u, bias, threshold = (
            self.tables.ordered(name, np.asarray(values, np.float64)) for values in rows
        )
        return Levels(
            own.how, column, initial, kept_v, kept_u, bias, threshold, int(neuron.comparison == ">="),
            self.tables.ordered(name, own.unit),
        )  # fmt: skip

    def _collect(self, block: Block) -> None:
        """The events of a sample, in the tables' numbering."""
        forward, spikes = self._forward, self._spikes
        for k, member in enumerate(self.part.members):
            name = member.population.name
            row = forward.row[name]
            if member.kind == layout.SILENT:
                continue
            graded = int(forward.graded(name))
            collect(k, spikes, block.bounds[0, :, row], block.events, block.values, graded, self._renumbered[name])

    def _back(self, block: Block, found: Scores, delta: Array, constants: Constants, counts: Array) -> None:
        """Learn from the sample whose events were collected."""
        spikes, kept = self._spikes, self._forward.kept
        nothing = np.zeros((0, 0))
        for k, level in self._levels.items():
            name = self.part.members[k].population.name
            arriving = nothing
            if level.how == CURRENT:
                arriving = np.zeros((self.steps, self.part.members[k].population.size))
                arrivals(k, self.tables.net, spikes, self._state.weights, arriving)
            level = level._replace(threshold=self._state.threshold[self.tables.place(k)] * level.unit)
            fill_levels(k, spikes, level, block.u[:, 0, kept.u[name]], block.v[:, 0, kept.v[name]], arriving)
        self._blame(block, constants, found.errors(delta[None]))
        self._store(counts)
        go_back(self.tables.net, constants, self._state, spikes, self._work, self._reads, counts)

    def _blame(self, block: Block, constants: Constants, errors: Mapping[Series, Array]) -> None:
        """Give outputs the errors of what the answer reads of them."""
        self._reads[:] = 0.0
        for leaf, error in errors.items():
            k = next((n for n, m in enumerate(self.part.members) if m.population.name == leaf.population), -1)
            own = self.part.neurons[k] if k >= 0 else None
            if own is None:
                continue
            flat, at = error.reshape(self.steps, -1), self.part.members[k].read
            reads = self._reads[:, at : at + own.population.size]
            if leaf.port == "potential":
                flat = flat * (own.unit / own.population.scales)
                reads += self.tables.ordered(leaf.population, flat)
                continue
            flat = np.ascontiguousarray(self.tables.ordered(leaf.population, flat))
            blame(k, self._spikes, flat)
            if self.part.members[k].kind == layout.LEAKY:
                self._wake(k, block, float(constants.width[k]), flat, reads)

    def _wake(self, k: int, block: Block, width: float, errors: Array, reads: Array) -> None:
        """Give silent outputs that should not be silent the error of a spike where their potential is highest."""
        level, place = self._levels[k], self.tables.place(k)
        name, last = self.part.members[k].population.name, int(self._spikes.first[k, -1])
        base = int(self._spikes.base[k])
        silent = np.ones(errors.shape[1], bool)
        silent[self._spikes.neuron[base : base + last]] = False
        v = block.v[:, 0, self._forward.kept.v[name]][:, level.column] / level.unit / self._state.threshold[place]
        step, neuron = v.argmax(axis=0), np.arange(len(silent))
        slope = np.maximum(0.0, width - np.abs(v[step, neuron] - 1.0)) / (width * width) * self.tables.net.gain[place]
        error = errors[step, neuron]
        reads[step, neuron] += np.where(silent & (error < 0), error * slope, 0.0)

    def _store(self, counts: Array) -> None:
        """Words for the way back: one of an event from outside, two of a layer's own (with its potential)."""
        net, seen = self.tables.net, set()
        for row in net.projections:
            source = int(row[layout.SOURCE])
            if source not in seen and (row[layout.LEARNS] or row[layout.SENDS_BACK]):
                seen.add(source)
                words = int(self._spikes.first[source, -1]) * (1 if self.part.neurons[source] is None else 2)
                counts[row[layout.TARGET] - 1, STORED_WORDS] += words
        for k, own in enumerate(self.part.neurons):
            if own is not None and own.population.spiking and k not in seen:
                counts[k - 1, STORED_WORDS] += 2 * int(self._spikes.first[k, -1])

    def _end(self, constants: Constants, counts: Array) -> None:
        """Change weights and thresholds where it is time for it."""
        state, changes = self._state, int(self._state.counter[CHANGES])
        before = state.threshold.copy() if constants.window else state.threshold
        if constants.window:
            for k, moves in enumerate(constants.moves.tolist()):
                if moves:
                    watch(self.tables.net, self._spikes, k, state.events)
        end_sample(self.tables.net, constants, state, counts)
        if constants.window and (before != state.threshold).any():
            self._forward = self._prepared()
        elif state.counter[CHANGES] != changes:
            self._write()

    def _write(self) -> None:
        """Hand the weights to the simulator."""
        self.pool.write(self._forward.weights, self.grid.in_program(self._state.weights))

    def _count(self, blocks: list[Block], counts: Array) -> None:
        """Add what a run of these samples counts, sample by sample where layers count it."""
        for sample, block in enumerate(blocks):
            block.start = sample
        kept = replace(self._forward.kept, u={}, v={})
        recording = recording_of(self._forward.flat, kept, blocks, self.steps, len(blocks))
        found = self._counter.count(recording)
        place = {name: column for column, name in enumerate(COUNTED)}
        for name, array in found.layer.items():
            for row, population in enumerate(self.part.layers):
                counts[:, row, place[name]] += array[found.populations.index(population)].sum(axis=0)
        if self.arch is None:
            return
        timing = core_timing(found, self.arch)
        for name, amount in totals(found, self.arch, timing).items():
            if name != "used_core_ns":
                counts[-1, -1, place[name]] += round(amount)
        if timing.known:  # by sample, so that it does not matter how many are counted together
            counts[:, -1, place["used_core_ns"]] += np.rint(len(found.cores) * timing.inference_ns).astype(np.int64)

    def decisions(self, inputs: Mapping[str, Array]) -> Decisions:
        """What it decides as it is now, as any run of the Program does."""
        recording = Simulator(self.taught()).run(inputs)
        return decisions(self.program.network, recording)

    def network(self) -> Network:
        """The network with weights and thresholds as they are now."""
        network = self.grid.network(self.program.network, self.projections, self._state.weights)
        if not self.constants.window:
            return network
        levels = {}
        for k, own in enumerate(self.part.neurons):
            if own is not None and self.constants.moves[k]:
                now = self.tables.in_network(own.population.name, self._state.threshold[self.tables.place(k)].copy())
                levels[own.population.name] = _threshold(own, now * own.unit, network.arithmetic == "loihi")
        populations = tuple(
            replace(p, neuron=replace(expect(p, Lif, "learning"), threshold=levels[p.name])) if p.name in levels else p
            for p in network.populations
        )
        return replace(network, populations=populations)

    def taught(self) -> Program:
        """The Program with what it has learned, every neuron where it was."""
        return replace(self.program, network=self.network())

    @property
    def thresholds(self) -> dict[str, Array]:
        """Of every population that adapts them, ``[neurons]``."""
        network = self.network()
        names = [m.population.name for m, moves in zip(self.part.members, self.constants.moves, strict=True) if moves]
        return {name: np.asarray(network.by_name[name].neuron.thresholds()) for name in names}

    def gradients(self) -> dict[str, Array]:
        """What has been summed since the last change of weights, in units, by projection in its own layout."""
        shapes = [q.connectivity.weights.shape for q in self.projections]
        found = self.tables.unpacked(self._state.gradient, shapes)
        return {q.name: g for q, g in zip(self.projections, found, strict=True) if q.event_rule is not None}

    def state(self) -> dict[str, Array]:
        """All that a run changes, as copies: what a checkpoint keeps."""
        return {name: value.copy() for name, value in self._state._asdict().items()}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take back what `state` gave.

        Raises:
            InvalidInputError: it is of another network, or damaged.
        """
        restore(self._state, state, self.tables, self.rule.batch, self.part.sources)
        self._forward = self._prepared()


def _threshold(own: Neurons, levels: Array, integer: bool) -> Array:
    """As the chip stores them: multiples of 64 from 64 on."""
    if not integer:
        return levels
    return np.maximum(np.rint(levels / 64), 1).astype(own.neuron.threshold.dtype) * 64


def _bits(program: Program) -> int:
    """Of a weight: what the Program's own chip has, up to Loihi's 8."""
    limit = architecture_of(program).limits.weight_bits if program.chip != NO_CHIP or program.chip_file else None
    return 8 if limit is None or limit.value is None else min(limit.value, 8)


def _check_chip(part: Trained, arch: Architecture | None) -> None:
    """Refuse what the cores of a chip cannot hold once it has learned."""
    if arch is None:
        return
    values, limit = arch.arithmetic.weight_values, arch.limits.thresholds_per_core
    if values is not None and values.value:
        raise UnsupportedError(
            f"neurons of {arch.name} do not hold weights that each change by themselves",
            found="weights that learn", allowed=f"{values.value} different weights for all synapses of a neuron",
            hint="learn on another chip, and compile what was learned for this one",
        )  # fmt: skip
    each = part.rule.adapt is not None and part.rule.adapt.each == "neuron"
    if each and limit is not None and limit.value is not None:
        raise UnsupportedError(
            f"cores of {arch.name} do not hold a threshold for each neuron", found="thresholds by neuron",
            allowed=f"{limit.value} thresholds a core", hint="let thresholds adapt by layer, or stay fixed",
        )  # fmt: skip
