"""Folding time: the terms of a sequence as one step, each layer with its delay.

The last step is taken as the one; in every other each neuron must receive the same operators with the same constants on
what is so many steps earlier. A value of an earlier step is a delay; before the first step it is 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurodeploy.errors import UnsupportedError

from .computed import Computing
from .record import line_of
from .terms import CONSTANT, INPUT, NEURON, PICK, STATE, Chain, Constant, Term, constant_of
from .unroll import Call, Unrolled

_ADDS = ("aten.add", "aten.sub")

_ROUNDING = 1e-12
"""Of the same function of the same numbers, computed for tensors of different shapes."""


@dataclass(frozen=True, eq=False)
class Folded:
    """One step.

    Args:
        chains: neuron layers that what is returned depends on, in the order in which a step calls them.
        last: number of the step that stands for all.
        drives: what each layer receives in it.
    """

    chains: tuple[Chain, ...]
    last: int
    drives: Mapping[Chain, Term]


def fold(unrolled: Unrolled, steps: int | None, also: Sequence[Term] = ()) -> Folded:
    """One step of all neuron layers that reach what is returned.

    Args:
        steps: of the sample; None where forward makes them itself.
        also: what a host reads, besides.

    Raises:
        UnsupportedError: steps that are not the same, states that are changed between them; names line and layer.
    """
    failed = [one for one in unrolled.returned if isinstance(one, UnsupportedError)]
    if failed and len(failed) == len(unrolled.returned):
        raise failed[0]
    chains = needed(unrolled, also)
    if not chains:
        raise UnsupportedError(
            "what forward returns does not depend on a neuron",
            allowed="a network whose spikes or potentials are returned",
        )
    counts = {chain: len(unrolled.calls[chain]) for chain in chains}
    expected = steps if steps is not None else _steps(unrolled)
    _check_states(unrolled, chains, expected)
    for chain, count in counts.items():
        if count != expected:
            raise _called_otherwise(unrolled, chain, counts, expected)
    last = expected - 1
    matching = Matching(unrolled)
    for chain in chains:
        calls = unrolled.calls[chain]
        for step in range(last):
            if not matching.same(calls[last].x, calls[step].x, last - step):
                raise _unsteady(chain, calls, step, matching)
    drives: dict[Chain, Term] = {}
    for chain in chains:
        x = unrolled.calls[chain][last].x
        if not isinstance(x, Term) or not reached(x):
            raise UnsupportedError(
                f"{line_of(unrolled.calls[chain][last].node)}: the neuron {chain.path!r} receives nothing of the input",
                allowed="layers that what comes in reaches",
            )
        drives[chain] = x
    order = sorted(chains, key=lambda c: unrolled.calls[c][last].term.index)
    return Folded(tuple(order), last, drives)


def _steps(unrolled: Unrolled) -> int:
    """Steps that forward makes by itself: calls of the layer that is called most, all its chains together at least."""
    most = max(len(calls) for calls in unrolled.calls.values())
    if most > 1:
        return most
    return max(sum(chain.path == path for chain in unrolled.calls) for path in {c.path for c in unrolled.calls})


def leaves(*terms: Term) -> list[Term]:
    """The inputs, neurons and states that terms are made of within their step."""
    seen: dict[int, Term] = {}
    found = []
    stack = [*terms]
    while stack:
        one = stack.pop()
        if one.index in seen:
            continue
        seen[one.index] = one
        if one.op in (INPUT, NEURON, STATE):
            found.append(one)
        else:
            stack.extend(one.terms)
    return found


def reached(term: Term) -> bool:
    """Whether an input, a neuron or a state is among what a term is made of."""
    return term.latest > -math.inf


def chain_of(term: Term) -> Chain:
    """The chain of a neuron term, or of a state."""
    made = term.args[0] if term.op == NEURON else term.args[0].args[0]
    assert isinstance(made, Chain)
    return made


def call_of(term: Term) -> int:
    """The number of the call of a neuron term, or of a state."""
    time = term.time if term.op == NEURON else term.args[0].time
    assert time is not None
    return int(time)


def needed(unrolled: Unrolled, also: Sequence[Term] = ()) -> list[Chain]:
    """The chains that what is returned, and ``also``, depends on, through all steps."""
    stack = [*also] + [t for one in unrolled.returned if isinstance(one, Tensor) for t in unrolled.terms.of(one)]
    found: dict[Chain, None] = {}
    seen: set[int] = set()
    while stack:
        term = stack.pop()
        if term.index in seen:
            continue
        seen.add(term.index)
        if term.op in (NEURON, STATE) and chain_of(term) not in found:
            chain = chain_of(term)
            found[chain] = None
            stack.extend(call.x for call in unrolled.calls[chain] if isinstance(call.x, Term))
        stack.extend(term.terms)
    return list(found)


class Matching:
    """Compares terms of two steps."""

    def __init__(self, unrolled: Unrolled) -> None:
        self._unrolled = unrolled
        self._known: dict[tuple[int, int, int], bool] = {}
        self._constants: dict[int, Constant] = {}
        self._silent = Computing({}, 1, at_rest=True)  # where every neuron is
        self.differ: tuple[Any, Any] = (None, None)
        """The innermost pair that differs, of the last comparison that failed."""

    def same(self, a: Any, b: Any, shift: int) -> bool:
        """Whether ``b`` is what ``a`` is, ``shift`` steps earlier."""
        a, b = self.plain(a), self.plain(b)
        if isinstance(a, Term) and isinstance(b, Term):
            key = (a.index, b.index, shift)
            if key not in self._known:
                self._known[key] = self._same(a, b, shift)
            return self._known[key]
        if isinstance(a, Term):
            return self._differs(a, b, self._starts_as(a, b, shift))
        if isinstance(a, Constant) and isinstance(b, Constant):
            return self._differs(a, b, a.key == b.key or _equal(a.value, b.value))
        if isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)):
            return len(a) == len(b) and all(self.same(x, y, shift) for x, y in zip(a, b, strict=True))
        if hasattr(a, "shape") and hasattr(b, "shape"):  # positions of a pick
            return bool(a.shape == b.shape and (a == b).all())
        return self._differs(a, b, type(a) is type(b) and a == b)

    def plain(self, value: Any) -> Any:
        """A constant in place of a term that nothing of the input, and no neuron, reaches."""
        if not isinstance(value, Term) or reached(value):
            return value
        if value.op == CONSTANT:
            return value.args[0]
        if value.index not in self._constants:
            self._constants[value.index] = constant_of(self._silent.value(value)[0])
        return self._constants[value.index]

    def _differs(self, a: Any, b: Any, equal: bool) -> bool:
        if not equal:
            self.differ = (a, b)
        return equal

    def _same(self, a: Term, b: Term, shift: int) -> bool:
        if a.op == INPUT or b.op == INPUT:
            if a.op != b.op:
                return self._differs(a, b, False)
            if a.time is None or b.time is None:
                return self._differs(a, b, a is b)
            return self._differs(a, b, a.args == b.args and b.time == a.time - shift)
        if a.op in (NEURON, STATE):
            if b.op != a.op:
                return self._differs(a, b, False)
            alike = chain_of(a) is chain_of(b) and (a.op == NEURON or a.args[1] == b.args[1])
            return self._differs(a, b, alike and call_of(b) == call_of(a) - shift)
        if a.op == PICK and b.op == PICK:
            return self._differs(a, b, a.shape == b.shape and self._same_picks(a, b, shift))
        differ: tuple[Any, Any] = (a, b)
        if a.op == b.op and a.shape == b.shape:
            self.differ = (None, None)
            named = [tuple(v for _, v in one.named) for one in (a, b)]
            if self.same(a.args, b.args, shift) and self.same(named[0], named[1], shift):
                return True
            if any(isinstance(one, Term) for one in self.differ):
                differ = self.differ
        if a.name in _ADDS:  # what has not started yet may be missing from a sum
            for part, other in ((a.args[0], a.args[1]), (a.args[1], a.args[0])):
                if self._starts_as(part, 0.0, shift) and self.same(other, b, shift) and (a.name == _ADDS[0]):
                    return True
        return self._differs(*differ, False)

    def _same_picks(self, a: Term, b: Term, shift: int) -> bool:
        """Whether values joined from several are, part by part, the same; what has not started yet is a constant."""
        (sources, which, inside), (others, whose, where) = a.args, b.args
        for place, source in enumerate(sources):
            at = which == place
            there = [others[i] for i in np.unique(whose[at])]
            if all(other.op == CONSTANT for other in there) and source.op != CONSTANT:
                numbers = np.array([float(others[i].args[0].value) for i in whose[at]])
                before = self._silent.value(source).reshape(-1).numpy() if source.latest < shift else None
                if before is None or not np.allclose(before[inside[at]], numbers, _ROUNDING, 0):
                    return False
            elif len(there) != 1 or (inside[at] != where[at]).any() or not self.same(source, there[0], shift):
                return False
        return True

    def _starts_as(self, a: Any, b: Any, shift: int) -> bool:
        """Whether ``a``, ``shift`` steps earlier, is made of what was before the first step alone, and gives ``b``."""
        if not isinstance(a, Term) or a.latest >= shift:
            return False
        value = self._silent.value(a)
        wanted = (
            b.value if isinstance(b, Constant) else torch.as_tensor(b if isinstance(b, (int, float)) else torch.nan)
        )
        try:
            return bool(torch.isclose(value, wanted.to(value.dtype), rtol=_ROUNDING, atol=0).all())
        except RuntimeError:  # shapes that do not meet
            return False


def _equal(a: Tensor, b: Tensor) -> bool:
    if a.shape == b.shape:
        return bool((a == b).all()) if a.dtype == b.dtype else bool((a.double() == b.double()).all())
    return False


def _check_states(unrolled: Unrolled, chains: Iterable[Chain], steps: int) -> None:
    """Each layer must go on from its own last state.

    Raises:
        UnsupportedError: a state that was changed in between, set back, or taken from elsewhere.
    """
    for chain in chains:
        of_path = [c for c in unrolled.calls if c.path == chain.path]
        calls = unrolled.calls[chain]
        if steps > 1 and len(of_path) > 1 and all(len(unrolled.calls[c]) == 1 for c in of_path):
            raise _starts_anew(chain, unrolled.calls[of_path[1]][0])
        for number, call in enumerate(calls):
            if call.fresh and number:
                raise _starts_anew(chain, call)
            for state in call.handed:
                _check_state(chain, number, call, state)


def _check_state(chain: Chain, number: int, call: Call, state: Term | Constant) -> None:
    if isinstance(state, Constant):
        if number == 0 and bool((state.value != 0).any()):
            raise UnsupportedError(
                f"{line_of(call.node)}: the neuron {chain.path!r} starts from a state of its own",
                found=f"values up to {float(state.value.abs().max()):g}",
                allowed="the state that the layer itself starts from",
                hint="start from 0, or put the value into the layer's parameters",
            )
        return
    own = state.op == STATE and chain_of(state) is chain and call_of(state) == number - 1
    spikes = state.op == NEURON and state.args[0] is chain and state.time == number - 1
    if own or spikes:
        return
    what = state.name if state.op not in (STATE, NEURON) else "the state of another layer or step"
    raise UnsupportedError(
        f"{line_of(state.node) or line_of(call.node)}: the state of the neuron {chain.path!r} is changed between steps",
        found=what,
        allowed="its own state of the step before, as it was returned",
        hint="hand the state back as it is; a bound belongs into the neuron (sinabs: min_v_mem), a reset into its rule",
    )


def _starts_anew(chain: Chain, call: Call) -> UnsupportedError:
    return UnsupportedError(
        f"{line_of(call.node)}: the neuron {chain.path!r} starts anew in every step",
        found="a call without the state of the step before, or a reset between steps",
        allowed="a neuron that goes on from its last state",
        hint="keep the state that the layer returns and hand it to its next call; reset before the first step only",
    )


def _called_otherwise(unrolled: Unrolled, chain: Chain, counts: Mapping[Chain, int], expected: int) -> UnsupportedError:
    calls = unrolled.calls[chain]
    said = ", ".join(f"{c.site or 'the module'}: {n}" for c, n in counts.items())
    if len(calls) and len(calls) % expected == 0 and len(calls) > expected:
        return UnsupportedError(
            f"{line_of(calls[1].node)}: the neuron {chain.path!r} is called more than once in a step",
            found=f"{len(calls)} calls in {expected} steps",
            allowed="once in each step, with one state",
            hint="use a neuron of its own for each place",
        )
    return UnsupportedError(
        f"{line_of(calls[-1].node)}: the neuron {chain.path!r} is not called once in each step",
        found=f"{len(calls)} calls in {expected} steps ({said})",
        allowed="once in each step",
        hint="check --time-axis; layers that run in some steps only cannot be exported",
    )


def _unsteady(chain: Chain, calls: Sequence[Call], step: int, matching: Matching) -> UnsupportedError:
    a, b = matching.differ
    names = [_said(one) for one in (b, a)]
    node = next((one.node for one in (a, b) if isinstance(one, Term)), calls[step].node)
    return UnsupportedError(
        f"{line_of(node)}: time-dependent forward: the neuron {chain.path!r} receives something else in step {step} "
        f"than in step {len(calls) - 1}",
        found=f"{names[0]} with other weights or numbers"
        if names[0] == names[1]
        else f"{names[0]} in step {step}, {names[1]} in step {len(calls) - 1}",
        allowed="the same layers and weights in every step; a value of an earlier step is a delay",
        hint="use one normalisation and one weight for all steps; check --time-axis",
    )


def _said(one: Any) -> str:
    if isinstance(one, Term):
        if one.op == INPUT:
            return "the input" if one.time is None else f"the input of step {one.time}"
        if one.op in (NEURON, STATE):
            what = "the spikes" if one.op == NEURON else "a state"
            return f"{what} of {chain_of(one).site!r} in step {call_of(one)}"
        return f"{one.name} ({line_of(one.node)})"
    if isinstance(one, Constant):
        return "other weights" if one.value.numel() > 1 else f"{float(one.value.reshape(-1)[0]):g}"
    return str(one)
