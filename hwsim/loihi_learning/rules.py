"""Learning, packed: the rules of a network's plastic projections as the tables that the compiled loop runs.

What the loop does with them stands in `neurodeploy.hwsim.loihi_learning.kernels`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Network, Projection
from neurodeploy.network.plasticity import LIMITS, TAG_LIMITS, TARGETS, WIDTH, LearningRule, Trace
from neurodeploy.program.program import Program

from . import tables as plastic
from .tables import Plastic

_CODES = {name: code for code, name in enumerate(("x1", "x2", "y1", "y2", "y3", "w", "d", "t", "x0", "y0"))}
_DEPENDENCIES = {"x0": plastic.X0, "y0": plastic.Y0, "u": plastic.U}
_SIGNS = {"mixed": 0, "excitatory": 1, "inhibitory": -1}


@dataclass(frozen=True, eq=False)
class Rules:
    """The plastic projections of a Program, in the order of their targets.

    Args:
        projections: that learn.
        table, first, terms, factors, settings, ranges, initial, slot, teachers, teaching, taught: see `Plastic`.
        orders: for each projection, the network's index of each source and target where the loop numbers them
            otherwise.
        integer: Loihi's integers, else float64.
        history: steps for which events and messages of teachers are kept.
    """

    projections: tuple[Projection, ...]
    table: Array
    first: Array
    terms: Array
    factors: Array
    settings: Array
    ranges: Array
    initial: Array
    slot: Array
    teachers: Array
    teaching: Array
    taught: Array
    orders: tuple[tuple[Array | None, Array | None], ...]
    integer: bool
    history: int

    @classmethod
    def of(cls, program: Program, order: Mapping[str, Array], graded: Callable[[str], bool]) -> Rules | None:
        """Pack the rules of a Program; None where nothing learns.

        Args:
            order: of populations that the loop numbers otherwise, see `neurodeploy.hwsim.function.tables.Flat`.
            graded: whether the messages of a population carry numbers.
        """
        network = program.network
        projections = [p for q in network.populations for p in network.into(q.name) if p.local_rule]
        if not projections:
            return None
        rows = {p.name: row for row, p in enumerate(network.populations)}
        lead = leads(network)
        teachers, teaching, taught = _teachers(network, rows)
        packed = _Packed()
        slots: list[Array] = []
        for p in projections:
            on = program.cores_of(p.target)
            slot = np.searchsorted(on, program.core_of[p.target]).astype(np.int32)
            slots.append(slot if p.target not in order else slot[order[p.target]])
            packed.add(p, network.arithmetic == "loihi", order.get(p.source), order.get(p.target), len(on))
            row = packed.table[-1]
            row[plastic.FROM], row[plastic.TO] = rows[p.source], rows[p.target]
            row[plastic.LEAD], row[plastic.GRADED] = lead[p.name], int(graded(p.source))
            row[plastic.TEACHER] = taught[rows[p.target]]
        into = np.array([rows[p.target] for p in projections])
        return cls(
            projections=tuple(projections),
            table=np.array(packed.table),
            first=np.searchsorted(into, np.arange(len(rows) + 1)),
            terms=np.array(packed.terms, np.int64).reshape(-1, 8),
            factors=np.array(packed.factors, np.int64).reshape(-1, 4),
            settings=np.array([_settings(p.local_rule) for p in projections if p.local_rule]),
            ranges=np.array([_ranges(p.local_rule) for p in projections if p.local_rule]),
            initial=np.concatenate(packed.initial),
            slot=np.concatenate(slots),
            teachers=teachers,
            teaching=teaching,
            taught=taught,
            orders=tuple((order.get(p.source), order.get(p.target)) for p in projections),
            integer=network.arithmetic == "loihi",
            history=max(max(p.delay, p.delay + lead[p.name]) for p in projections),
        )

    def columns(self) -> int:
        """Numbers that are kept of one sample and step."""
        inputs, outputs = self.table[:, plastic.INPUTS], self.table[:, plastic.OUTPUTS]
        return int((3 * inputs * outputs + 2 * inputs + 3 * outputs).sum())

    def work_columns(self) -> int:
        """Counts of one sample and step."""
        return int(plastic.WORK_KINDS * self.table[:, plastic.SLOTS].sum())

    def state(self, steps: int, samples: int, everything: bool) -> Plastic:
        """Fresh tables and arrays for a block of samples, for one thread.

        Args:
            everything: keep what learns after every step, else only at the end.
        """
        inputs, outputs, epoch = (self.table[:, c] for c in (plastic.INPUTS, plastic.OUTPUTS, plastic.EPOCH))
        number = np.dtype(np.int32 if self.integer else np.float64)
        most, sources, targets = int(outputs.max()), int(inputs.sum()), int(outputs.sum())
        products = int((self.table[:, plastic.LAST_TERM] - self.table[:, plastic.FIRST_TERM]).max())
        widest, longest = int(inputs.max()), int(epoch.max())
        rounding, kicks = _randoms([p.local_rule for p in self.projections if p.local_rule], steps, self.integer)
        return Plastic(
            table=self.table,
            first=self.first,
            terms=self.terms,
            factors=self.factors,
            settings=self.settings,
            ranges=self.ranges,
            rounding=rounding,
            kicks=kicks,
            initial=self.initial,
            synapses=self.initial.copy(),
            slot=self.slot,
            step=np.zeros(len(self.table), np.int64),
            epochs=np.zeros(len(self.table), np.int64),
            x=np.zeros(2 * sources, number),
            y=np.zeros(3 * targets, number),
            tx=np.zeros(sources, np.int32),
            ty=np.zeros(targets, np.int32),
            past_x=np.zeros(int((2 * inputs * (epoch + 1)).sum()), number),
            past_y=np.zeros(int((3 * outputs * (epoch + 1)).sum()), number),
            sums=np.zeros(most, np.int64 if self.integer else np.float64),
            product=np.zeros(max(most, 3), number),
            differs=np.zeros(most, np.int32),
            own=np.zeros(most, np.int32),
            total=np.zeros((3, most), np.int32),
            spiked=np.zeros(most, np.int32),
            fired=np.zeros(widest, np.int32),
            changed=np.zeros(most, np.int32),
            decays=np.zeros(max(most, widest), np.int32),
            active=np.zeros(most, np.int64),
            places=np.arange(most),
            moment=np.zeros(most, np.int64),
            times=np.zeros(longest, np.int64),
            given=np.zeros((products, most), np.int32),
            lent=np.zeros((products, longest, widest), np.int32),
            some=np.zeros(widest, np.int32),
            teachers=self.teachers,
            teaching=self.teaching,
            taught=self.taught,
            told=np.zeros((self.history + 1, 3, int(self.teachers[:, 2].sum())), number),
            work=np.zeros((steps, samples, self.work_columns()), np.int64),
            kept=np.zeros((steps if everything else 1, samples, self.columns()), number),
        )

    def learned(self, kept: Array) -> dict[str, dict[str, Array]]:
        """`Recording.learned` from what was kept of all samples, ``[rows, samples, columns]``."""
        found = {}
        for p, row, (source, target) in zip(self.projections, self.table, self.orders, strict=True):
            inputs, outputs, at = (int(row[c]) for c in (plastic.INPUTS, plastic.OUTPUTS, plastic.KEPT))
            ends = at + np.cumsum([3 * inputs * outputs, 2 * inputs, 3 * outputs])
            synapses, x, y = (kept[:, :, a:b] for a, b in zip((at, *ends[:-1]), ends, strict=True))
            shape = kept.shape[:2]
            w, d, t = np.moveaxis(synapses.reshape(*shape, 3, inputs, outputs), 2, 0).swapaxes(-1, -2)
            values = {"weights": w, "tag_2": d, "tag_1": t}
            values |= {f"x{n + 1}": x.reshape(*shape, 2, inputs)[:, :, n] for n in range(2)}
            values |= {f"y{n + 1}": y.reshape(*shape, 3, outputs)[:, :, n] for n in range(3)}
            for name, value in values.items():
                for axis, places in enumerate((target, source), 2):
                    own = axis if value.ndim == 4 else 2
                    if places is not None and (value.ndim == 4 or (name[0] == "y") == (axis == 2)):
                        value = np.take(value, np.argsort(places), axis=own)
                values[name] = np.ascontiguousarray(value, np.int64 if self.integer else np.float64)
            found[p.name] = values
        return found

    def work(self, counted: Array) -> dict[str, Array]:
        """`Recording.learning_work` from the counts of all samples, ``[steps, samples, columns]``."""
        found = {}
        for p, row in zip(self.projections, self.table, strict=True):
            at, slots = int(row[plastic.WORK]), int(row[plastic.SLOTS])
            part = counted[:, :, at : at + plastic.WORK_KINDS * slots]
            found[p.name] = part.reshape(*counted.shape[:2], plastic.WORK_KINDS, slots)
        return found


class _Packed:
    """Tables while they are filled."""

    def __init__(self) -> None:
        self.table: list[Array] = []
        self.terms: list[list[int]] = []
        self.factors: list[list[int]] = []
        self.initial: list[Array] = []
        self.at = dict.fromkeys(
            (plastic.SYNAPSES, plastic.X, plastic.Y, plastic.TX, plastic.TY, plastic.PAST_X, plastic.PAST_Y,
             plastic.SLOT, plastic.WORK, plastic.KEPT), 0
        )  # fmt: skip

    def add(self, p: Projection, integer: bool, source: Array | None, target: Array | None, cores: int) -> None:
        """Add a projection; ``source`` and ``target`` as in `Rules.orders`."""
        rule, kind = p.local_rule, p.connectivity
        assert rule is not None
        row = np.zeros(plastic.FIELDS, np.int64)
        for column, at in self.at.items():
            row[column] = at
        row[plastic.DELAY], row[plastic.EPOCH], row[plastic.FACTORS] = p.delay, rule.epoch, rule.factors
        row[plastic.EXPONENT] = kind.exponent if integer else 0
        row[plastic.INPUTS], row[plastic.OUTPUTS], row[plastic.SLOTS] = kind.inputs, kind.outputs, cores
        row[plastic.FIRST_TERM] = len(self.terms)
        for name, products in rule.terms.items():
            for term in products:
                scale = (term.right_shift, term.left_shift) if integer else (term.exponent, 0)
                head = [TARGETS.index(name), _DEPENDENCIES[term.dependency], term.mantissa, *scale]
                self.terms.append([*head, len(self.factors), len(term.factors), term.decimation])
                self.factors += [[_CODES[f.variable], f.constant, int(f.sign), WIDTH[f.variable]] for f in term.factors]
        row[plastic.LAST_TERM] = len(self.terms)
        for values in (kind.weights, rule.tag_2, rule.tag_1):
            matrix = np.zeros((kind.inputs, kind.outputs)) if values is None else values.T
            matrix = matrix if source is None else matrix[source]
            matrix = matrix if target is None else matrix[:, target]
            self.initial.append(np.ascontiguousarray(matrix, np.int32 if integer else np.float64).ravel())
        synapses, x, y = 3 * kind.inputs * kind.outputs, 2 * kind.inputs, 3 * kind.outputs
        steps = rule.epoch + 1
        used = {
            plastic.SYNAPSES: synapses, plastic.X: x, plastic.Y: y, plastic.TX: kind.inputs, plastic.TY: kind.outputs,
            plastic.PAST_X: x * steps, plastic.PAST_Y: y * steps, plastic.SLOT: kind.outputs,
            plastic.WORK: plastic.WORK_KINDS * cores, plastic.KEPT: synapses + x + y,
        }  # fmt: skip
        for column, size in used.items():
            self.at[column] += size
        self.table.append(row)


def _teachers(network: Network, rows: Mapping[str, int]) -> tuple[Array, Array, Array]:
    """`Plastic.teachers`, `Plastic.teaching` and `Plastic.taught`."""
    teachers: list[list[int]] = []
    teaching: list[list[float]] = []
    taught, at = np.full(len(rows), -1), 0
    for population in network.populations:
        rule = network.taught(population.name)
        if rule is not None:
            taught[rows[population.name]] = len(teachers)
            teachers.append([rows[population.name], at, population.size])
            teaching.append([_left(rule.y1), _left(rule.y3), rule.y1.impulse])
            at += population.size
    return np.array(teachers, np.int64).reshape(-1, 3), np.array(teaching, np.float64).reshape(-1, 3), taught


def _randoms(rules: list[LearningRule], steps: int, integer: bool) -> tuple[Array, Array]:
    """Lava's random numbers, which depend on the seed and the step alone: `Plastic.rounding`, `Plastic.kicks`."""
    count = 2 * steps + 1
    rounding, kicks = np.zeros((len(rules), 3, count)), np.zeros((len(rules), 2, count), np.int64)
    if integer:
        for n, rule in enumerate(rules):
            for k in range(2):
                rounding[n, k] = np.random.default_rng(rule.seed + 2 * k).random(count)
                kicks[n, k] = np.random.default_rng(rule.seed + 2 * k + 1).integers(0, 128, size=count, dtype=int)
            rounding[n, 2, : steps + 1] = np.random.default_rng(2).random(steps + 1)
    return rounding, kicks


def _left(trace: Trace) -> float:
    """What a step leaves of a trace; nothing for tau 0."""
    return float(np.exp(-1 / trace.tau)) if trace.tau else 0.0


def _settings(rule: LearningRule) -> Array:
    """A row of `Plastic.settings`."""
    rows: list[list[Any]] = []
    for trace in (*rule.traces("x"), *rule.traces("y")):
        whole = np.floor(trace.impulse)
        rows.append([whole, np.round((trace.impulse - whole) * 256), trace.impulse, _left(trace)])
    return np.array(rows, np.float64)


def _ranges(rule: LearningRule) -> Array:
    """A row of `Plastic.ranges`."""
    limits = ((*LIMITS[rule.sign], _SIGNS[rule.sign]), (*TAG_LIMITS["tag_2"], 1), (*TAG_LIMITS["tag_1"], 0))
    return np.array([[int(name in rule.terms), *span] for name, span in zip(TARGETS, limits, strict=True)])


def leads(network: Network) -> dict[str, int]:
    """For each projection that learns, the steps by which it hears of its target's spikes later than its source's."""
    from neurodeploy.program.schedule import schedule

    plastic = [p for p in network.projections if p.local_rule is not None]
    lag = schedule(network).lag if plastic else {}
    return {p.name: lag[p.target] - lag[p.source] for p in plastic}
