"""Neurons that are written by hand become neuron layers: their comparisons, potentials and inputs among the terms.

A layer's update rule is read off its last step (`rule`), and must give, on random inputs, what the terms of *all* its
recorded steps give, from the first on. Then each comparison becomes a call of a neuron, and what else depends on the
potential becomes the potential that the neuron holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.arrays import Array
from neurodeploy.network.neurons import Comparison

from .pieces import COMPARISONS, Written, below, elementwise, evaluated
from .rule import BIG, ROWS, TOLERANCE, Rule, crossing, found_rule, tensors
from .terms import CONSTANT, Chain, Constant, Term

AT_LEAST = 3
"""Steps that must be recorded: the rule is that of the last; two before it tell what is carried from step to step."""


@dataclass(eq=False)
class Lifted:
    """A neuron layer written by hand whose rule is known.

    Args:
        written: where.
        chain: its calls.
        rule: what it computes.
        potentials: the term that each step compares with the threshold, before a reset; a constant where it is one.
        drives: what drives it, in each step: terms, None where nothing does yet.
        outcome: the term of a comparison is ``low + (high - low) * spike``.
    """

    written: Written
    chain: Chain
    rule: Rule
    potentials: list[Any]
    drives: list[list[Term | None]]
    outcome: tuple[float, float]


@dataclass(eq=False)
class _Roles:
    """Who is who in the last step of a layer."""

    states: list[Term]
    """Of the step before, the compared potential first."""
    after: list[Term]
    """The same of this step."""
    drives: list[Term]
    same: list[dict[int, Any]] = field(default_factory=list)
    """For each step, what stands there where a term of the last step stands."""


def lifted(written: Written, chain: Chain) -> Lifted:
    """The rule of a layer, proven on random inputs over all recorded steps; its drives in the first steps are missing.

    Raises:
        UnsupportedError: it is no linear leaky integrate-and-fire neuron; names the line and says what is not.
    """
    try:
        with np.errstate(all="ignore"):
            return _Reading(written).lifted(chain)
    except UnsupportedError as error:
        raise error.again(f"{written.line}: {error.what}") from error


class _Reading:
    """Reads off the rule of one layer."""

    def __init__(self, written: Written) -> None:
        self.written = written
        self.last = len(written.spikes) - 1
        self.spike, self.before = written.spikes[-1], written.spikes[-2]
        self.shape = self.spike.shape
        self.new = {term.index: term for term in written.new[-1]}

    def lifted(self, chain: Chain) -> Lifted:
        if self.last + 1 < AT_LEAST:
            raise UnsupportedError(
                "a neuron written by hand is seen in too few steps", found=self.last + 1,
                allowed=f"{AT_LEAST} or more", hint="give a sample of more steps",
            )  # fmt: skip
        roles = self._roles()
        (below_, above, first, last) = crossing(self._outcome(roles.after[0]), self.shape)
        comparison, threshold = comparison_of(self.spike, (below_, above), (first, last))
        low, high = float(first.flat[0]), float(last.flat[0])
        given = self._repeated(roles, (below_, above), (low, high))
        update = self._update(roles, given, (low, high))
        rule = found_rule(update, len(roles.states), len(roles.drives), self.shape, threshold, comparison)
        potentials = [
            same[roles.after[0].index] if roles.after[0].index in same else self._at_first(roles.after[0], spike)
            for same, spike in zip(roles.same, self.written.spikes, strict=True)
        ]
        drives = [[same.get(d.index) for d in roles.drives] for same in roles.same]
        return Lifted(self.written, chain, rule, potentials, drives, (low, high))

    # Roles

    def _own_before(self) -> list[Term]:
        """Terms of earlier steps that the last one goes on from, but for the spike."""
        first = self.written.first
        found = {t.index: t for one in self.new.values() for t in one.terms if t.index not in self.new}
        return [t for i, t in sorted(found.items()) if first.get(i, 0) >= 1 and t is not self.before]

    def _roles(self) -> _Roles:
        before = self._own_before()
        ends = {t.index for t in before} | {self.before.index}
        states = []
        for term in before:  # what is computed from the others alone is no state of its own
            _, reached = below_of(term, ends - {term.index})
            if not reached or any(t.index not in ends for t in reached):
                states.append(term)
        own: dict[int, bool] = dict.fromkeys(ends, True)
        drives: dict[int, Term] = {}
        for index in sorted(self.new):
            own[index] = any(own.get(t.index, False) for t in self.new[index].terms)
        for index in sorted(self.new):
            if own[index]:
                drives |= {t.index: t for t in self.new[index].terms
                           if not own.get(t.index, False) and _alive(t)}  # fmt: skip
        same = [self._aligned(step) for step in range(self.last + 1)]
        back = {other.index: self.new[i] for i, other in same[-2].items() if isinstance(other, Term) and i in self.new}
        if not states or any(t.index not in back for t in states):
            raise UnsupportedError(
                "what is carried from step to step cannot be told",
                found=f"{len(states)} states",
                allowed="a potential, and perhaps a current, that each step computes from those of the step before",
            )
        after = [back[t.index] for t in states]
        _, reached = below_of(self.spike, {t.index for t in after})
        compared = [t for t in reached if _alive(t)]
        if len(compared) != 1 or compared[0] not in after or len(states) > 2:
            raise UnsupportedError(
                "what is written there is not a linear leaky integrate-and-fire neuron",
                found=f"{len(states)} states, of which {len(compared)} values are compared",
                allowed="one potential that is compared with a threshold that is constant",
                hint="a threshold that adapts, or inputs that bypass the potential, cannot be exported",
            )
        order = sorted(range(len(after)), key=lambda k: after[k] is not compared[0])
        wrong = [t for t in (*states, *drives.values()) if t.shape != self.shape]
        if wrong:
            raise UnsupportedError(
                "a neuron's states and what drives it differ in shape", found=f"{wrong[0].shape} and {self.shape}",
                allowed="one shape", hint="expand the smaller one in front of the neuron",
            )  # fmt: skip
        if not drives:
            raise UnsupportedError("nothing drives what is written there")
        return _Roles([states[k] for k in order], [after[k] for k in order], list(drives.values()), same)

    def _aligned(self, step: int) -> dict[int, Any]:
        """Terms of the last step -> what stands in their place in another one, as far as the two are alike."""
        there = {t.index for t in self.written.new[step]}
        found: dict[int, Any] = {}
        stack: list[tuple[Term, Any]] = [(self.spike, self.written.spikes[step])]
        while stack:
            one, other = stack.pop()
            if one.index in found:
                continue
            found[one.index] = other
            if one.index in self.new and isinstance(other, Term) and other.index in there and one.op == other.op:
                stack += [(a, b) for a, b in zip(one.args, other.args, strict=False) if isinstance(a, Term)]
        return found

    def _at_first(self, potential: Term, spike: Term) -> Constant | None:
        """The potential of a step that compares a constant, from what it compares."""
        one, other = spike.args[0], self.spike.args[0]
        if not isinstance(one, Term) or not isinstance(other, Term) or _alive(one):
            return None
        probes = {potential.index: torch.stack([torch.zeros(self.shape), torch.ones(self.shape)]).double()}
        try:
            offset, end = evaluated([other], probes)[other.index].expand(2, *self.shape)
            return Constant((evaluated([one], {})[one.index][0] - offset) / (end - offset), None)
        except KeyError:
            return None

    # The comparison

    def _outcome(self, potential: Term) -> Any:
        def outcome(rows: Array) -> Array:
            (value,) = tensors([rows])
            return _numbers(evaluated([self.spike], {potential.index: value})[self.spike.index], rows.shape)

        return outcome

    def _repeated(
        self, roles: _Roles, at: tuple[Array, Array], outcome: tuple[float, float]
    ) -> dict[int, tuple[float, float]]:
        """Other comparisons that say of the last potential what the spike did -> their outcomes without and with it."""
        ends = {t.index for t in roles.states} | {self.before.index}
        found: dict[int, tuple[float, float]] = {}
        inside = {t.index: t for one in self.new.values() for t in (one, *below_of(one, ends)[0])}
        for index, term in sorted(inside.items()):
            if term.name not in COMPARISONS or term is self.spike:
                continue
            _, reached = below_of(term, ends)
            if [t for t in reached if _alive(t)] != [roles.states[0]]:
                continue

            def other(rows: Array, term: Term = term) -> Array:
                (value,) = tensors([rows])
                return _numbers(evaluated([term], {roles.states[0].index: value})[term.index], rows.shape)

            low, high, first, last = crossing(other, self.shape)
            strict = [name.endswith(("gt", "lt", "greater", "less")) for name in (term.name, self.spike.name)]
            near = np.abs(high - at[1]) <= 4 * np.spacing(np.abs(at[1]))
            if not ((high == at[1]).all() or (near.all() and strict[0] == strict[1])):
                raise UnsupportedError(
                    "what is written there is not a linear leaky integrate-and-fire neuron",
                    found="a spike, and another comparison of the same potential with another threshold",
                    allowed="one threshold",
                )
            del low
            found[index] = (float(first.flat[0]), float(last.flat[0]))
        return found

    def _update(self, roles: _Roles, given: Mapping[int, tuple[float, float]], outcome: tuple[float, float]) -> Any:
        def update(states: list[Array], z: Array, drives: list[Array]) -> list[Array]:
            names = [t.index for t in (*roles.states, *roles.drives)]
            values = dict(zip(names, tensors([*states, *drives]), strict=True))
            for index, (low, high) in {self.before.index: outcome, **given}.items():
                values[index] = torch.from_numpy(low + (high - low) * z)
            made = evaluated(roles.after, values)
            return [_numbers(made[t.index], z.shape) for t in roles.after]

        try:
            rows = np.zeros((1, *self.shape))
            update([rows] * len(roles.states), rows, [rows] * len(roles.drives))
        except KeyError as error:
            raise UnsupportedError(
                "what is carried from step to step cannot be told",
                found="an operator between the steps of a neuron that does not work element by element",
                allowed="products, sums, comparisons of the states and the input",
            ) from error
        return update


def comparison_of(spike: Term, at: tuple[Array, Array], outcome: tuple[Array, Array]) -> tuple[Comparison, Array]:
    """How a spike compares, and the threshold with which that is the same for every float.

    Args:
        at: the last float before its outcome changes, and the first one behind.
        outcome: before, and behind.

    Raises:
        UnsupportedError: it gives something else at the threshold itself.
    """
    (low, high), (first, last) = at, outcome
    name = spike.name.removeprefix("aten.")
    there: Any = 1.0 if name in ("ge", "le", "greater_equal", "less_equal") else 0.0
    if name == "heaviside":
        values = spike.args[1]
        there = values.value.double().numpy() if isinstance(values, Constant) else np.nan
    if np.all(there == first):
        return ">", low
    if np.all(there == last):
        return ">=", high
    raise UnsupportedError(
        f"{spike.name} at the threshold itself gives neither a spike nor none",
        found=f"{np.unique(there)[0]:g} between {first.flat[0]:g} and {last.flat[0]:g}",
        allowed="0 or 1",
        hint="write (v > threshold).float(), or with >=",
    )


def below_of(term: Term, ends: set[int]) -> tuple[list[Term], list[Term]]:
    """As `below`, where the term itself is no end."""
    return below(term, ends - {term.index})


def _alive(term: Term) -> bool:
    """Whether a term depends on anything."""
    stack, seen = [term], set()
    while stack:
        one = stack.pop()
        if one.op != CONSTANT and not one.terms:
            return True
        if one.op not in (CONSTANT,) and not elementwise(one):
            return True
        stack += [t for t in one.terms if t.index not in seen]
        seen |= {t.index for t in one.terms}
    return False


def _numbers(value: Tensor, shape: Sequence[int]) -> Array:
    return value.expand(tuple(shape)).numpy().astype(np.float64)


def proven(layer: Lifted) -> Lifted:
    """The layer with its initial potential, if its rule gives what its recorded steps give for random inputs.

    Raises:
        UnsupportedError: it does not; names the line.
    """
    spikes, steps = layer.written.spikes, len(layer.written.spikes)
    rule, shape = layer.rule, layer.written.spikes[0].shape
    random = np.random.default_rng(1)
    needed = {t.index: t for spike in spikes for t in below_of(spike, set())[1] if t.op != CONSTANT}
    for row in layer.drives:
        for term in row:
            if term is not None:
                needed |= {t.index: t for t in below(term, ())[1] if t.op != CONSTANT}
    level = np.where(rule.threshold != 0, np.abs(rule.threshold), 1.0)
    total = sum(np.abs(g) for g in rule.gains)
    level = np.where(total > 0, level / np.where(total > 0, total, 1), level)
    given: dict[int, Tensor] = {}
    for index, term in needed.items():
        rows = random.uniform(-1.5, 2.5, (ROWS, *term.shape)) * 10.0 ** random.uniform(-1, 0.7, (ROWS,)).reshape(
            -1, *(1 for _ in term.shape)
        )
        if term.shape == shape:
            rows = rows * level
        rows[0] = 0
        given[index] = torch.from_numpy(rows)
    wanted = [*spikes, *(t for row in layer.drives for t in row if t is not None),
              *(t for t in layer.potentials if isinstance(t, Term))]  # fmt: skip
    with np.errstate(all="ignore"):
        values = evaluated(wanted, given)

        def of(one: Any) -> Array:
            if isinstance(one, Term):
                return _numbers(values[one.index], (ROWS, *shape))
            held = one.value.double().numpy() if isinstance(one, Constant) else 0.0 if one is None else float(one)
            return np.broadcast_to(np.asarray(held, np.float64), (ROWS, *shape))

        drives = [[of(one) for one in row] for row in layer.drives]
        zero = np.zeros((ROWS, *shape))
        arriving, *_ = rule.advanced(zero, zero, zero, drives[0])
        start = of(layer.potentials[0])[0] - arriving[0]
        initial = np.divide(start, rule.keep, out=np.zeros_like(start), where=rule.keep != 0)
        small = np.abs(initial) <= 4e-16 * np.maximum(np.abs(of(layer.potentials[0])[0]), 1.0)
        initial = np.where(small, 0.0, initial)
        v, i, z = np.broadcast_to(initial, zero.shape), zero, zero
        size = np.maximum(np.abs(rule.threshold), 1.0)
        for step in range(steps):
            v, i, z = rule.advanced(v, i, z, drives[step])
            sent = (of(spikes[step]) - layer.outcome[0]) / (layer.outcome[1] - layer.outcome[0])
            size = np.maximum(size, np.abs(v))
            unclear = np.abs(v - rule.threshold) <= 1e-9 * size
            off = np.abs(v - of(layer.potentials[step])) > TOLERANCE * size
            if off.any() or ((sent != z) & ~unclear).any():
                raise UnprovenError(
                    layer.chain,
                    f"{layer.written.line}: what is written there does not start, or go on, as its later steps do",
                    found=f"the rule of step {steps - 1} gives something else in step {step}",
                    allowed="the same update in every step, from a potential that is constant",
                    hint="start from zeros or another constant, a current from 0, and compute each step alike",
                )
            z = sent
    return replace_rule(layer, replace(rule, initial=initial))


class UnprovenError(UnsupportedError):
    """The rule of the last step of a layer's ``chain`` is not that of all steps."""

    def __init__(self, chain: Chain, what: str, **more: Any) -> None:
        super().__init__(what, **more)
        self.chain = chain


def replace_rule(layer: Lifted, rule: Rule) -> Lifted:
    """The same layer with another rule."""
    return Lifted(layer.written, layer.chain, rule, layer.potentials, layer.drives, layer.outcome)


def as_stored(layer: Lifted, term: Term, step: int) -> tuple[Array, Array, Array] | None:
    """``a``, ``b``, ``c`` so that a term is ``a * v + b * spike + c``, with ``v`` what the layer holds after the step.

    None where it is no such thing.
    """
    spike, potential = layer.written.spikes[step], layer.potentials[step]
    low, high = layer.outcome
    shape = spike.shape

    def value(v: Array, z: Array) -> Array:
        ends = {spike.index: torch.from_numpy(low + (high - low) * z)}
        if isinstance(potential, Term):
            ends[potential.index] = torch.from_numpy(v)
        return _numbers(evaluated([term], ends)[term.index], v.shape)

    random = np.random.default_rng(2)
    with np.errstate(all="ignore"):
        zero, one = np.zeros((1, *shape)), np.ones((1, *shape))
        offset = value(zero, zero)[0]
        slope = value(BIG * one, zero)[0] / BIG
        of_spike = value(zero, one)[0] - slope * layer.rule.stored(zero, one)[0] - offset
        v = random.standard_normal((ROWS, *shape)) * 10.0 ** random.uniform(-3, 3, (ROWS, *(1 for _ in shape)))
        z = (random.random(v.shape) < 0.5).astype(np.float64)
        parts = [slope * layer.rule.stored(v, z), of_spike * z, np.broadcast_to(offset, v.shape)]
        largest = sum(map(np.abs, parts)) + np.abs(slope * v)
        same = np.abs(value(v, z) - sum(parts)) <= TOLERANCE * largest
    return (slope, of_spike, offset) if bool(same.all()) else None
