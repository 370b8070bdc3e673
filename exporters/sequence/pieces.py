"""Neurons written by hand, found among the terms of a recording: comparisons that follow each other over time.

What makes a comparison a spike is that the next one depends on the value that it compared, or on its outcome, through
operators that work element by element. Those between two comparisons are the *piece* of one step: the neuron's update.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..torch_step.fxgraph import module_of
from ..torch_step.wide import in_float64, wider
from ..watching import COMPARISONS as NAMES
from . import operators as kinds
from .record import line_of
from .terms import CONSTANT, Constant, Term, Terms

COMPARISONS = frozenset(f"aten.{name}" for name in NAMES)
"""Operators whose outcome may be a spike."""

_RANDOM = frozenset(f"aten.{name}" for name in ("bernoulli", "poisson", "normal", "rand_like", "randn_like"))
_CASTS = ("aten.to", "aten._to_copy")
_LOGICAL = ("aten.bitwise_", "aten.logical_")


def elementwise(term: Term) -> bool:
    """Whether a term is computed element by element, so that it may be part of a neuron."""
    return (term.name in kinds.ELEMENTWISE and term.name not in _RANDOM) or term.name in _CASTS


@dataclass(eq=False)
class Written:
    """A neuron layer that is written by hand.

    Args:
        path: of the module that it stands in, empty at the top.
        spikes: the comparison of each step.
        new: terms that each step is the first to need, in order; the last is the comparison.
        first: term -> the step that needs it first.
    """

    path: str
    spikes: list[Term] = field(default_factory=list)
    new: list[list[Term]] = field(default_factory=list)
    first: dict[int, int] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """Of the user's file, where it compares."""
        return line_of(self.spikes[-1].node)

    def add(self, spike: Term, new: list[Term]) -> None:
        """The comparison of the next step."""
        for term in new:
            self.first[term.index] = len(self.spikes)
        self.spikes.append(spike)
        self.new.append(new)


def written_by_hand(terms: Terms, live: Collection[int]) -> list[Written]:
    """The neuron layers among the terms, in the order in which they first compare.

    Args:
        live: the terms that matter.
    """
    found: dict[Hashable, list[Written]] = {}
    owner: dict[int, Written] = {}
    for term in terms.found:
        if term.name not in COMPARISONS or not term.terms or term.index not in live:
            continue
        path = path_of(term)
        key = (term.name, line_of(term.node), path, term.shape)
        alike = found.setdefault(key, [])
        new, touched, fresh = _reached(term, owner, alike)
        if not touched and fresh is None:  # of another layer's potential
            continue
        last = max(touched, key=lambda one: (touched[one], one.spikes[-1].index)) if touched else None
        if last is None:
            last = Written(path)
            alike.append(last)
        last.add(term, new)
        if fresh or len(last.spikes) > 1:  # else it may be a comparison of another layer's spikes, and part of that
            owner |= {one.index: last for several in last.new for one in several}
    layers = [one for several in found.values() for one in several if len(one.spikes) > 1]
    return sorted(layers, key=lambda one: one.spikes[0].index)


def path_of(term: Term) -> str:
    """Of the module that a term was computed in; empty at the top."""
    return module_of(term.node)


def _reached(
    spike: Term, owner: Mapping[int, Written], alike: list[Written]
) -> tuple[list[Term], dict[Written, int], bool | None]:
    """The terms that a comparison needs first; which layers' terms it goes on from, and whether states are among them;
    and whether anything else arrives: None where nothing does but another layer's potential."""
    fresh, states = False, False
    seen: dict[int, Term] = {}
    touched: dict[Written, int] = {}
    stack = [spike]
    while stack:
        term = stack.pop()
        if term.index in seen:
            continue
        one = next((a for a in alike if term.index in a.first), owner.get(term.index))
        if one is not None:
            states |= one not in alike and not _spikes(term)
            if one in alike:
                state = term is not one.spikes[-1]
                touched[one] = max(touched.get(one, 0), 2 if state else 1)
            continue
        if term is spike or elementwise(term):
            seen[term.index] = term
            stack.extend(term.terms)
        elif term.op != CONSTANT:
            fresh = True
    return [seen[index] for index in sorted(seen)], touched, None if states and not fresh else fresh


def evaluated(wanted: Iterable[Term], given: Mapping[int, Tensor]) -> dict[int, Tensor]:
    """Values of terms, ``[rows, *shape]`` in float64, from those that are given; outcomes are 0 and 1.

    Raises:
        KeyError: a term that is neither given nor computed element by element.
    """
    values: dict[int, Tensor] = dict(given)
    todo, stack = dict[int, Term](), list(wanted)
    while stack:
        term = stack.pop()
        if term.index not in values and term.index not in todo:
            todo[term.index] = term
            if term.op != CONSTANT and not elementwise(term):
                raise KeyError(term.index)
            stack.extend(term.terms)
    with torch.no_grad(), in_float64():
        for index in sorted(todo):
            values[index] = _computed(todo[index], values)
    return values


def _computed(term: Term, values: Mapping[int, Tensor]) -> Tensor:
    def value(given: Any) -> Any:
        if isinstance(given, Term):
            return values[given.index]
        if isinstance(given, Constant):
            return given.value.double()
        if isinstance(given, (tuple, list)):
            return type(given)(map(value, given))
        return given

    if term.op == CONSTANT:
        held: Tensor = term.args[0].value.double()
        return held.reshape(1, *term.shape)
    args, named = list(map(value, term.args)), {key: value(item) for key, item in term.named}
    name = term.name
    if name in _CASTS:
        return _cast(args[0], [*args[1:], *named.values()])
    masks = range(len(args)) if name.startswith(_LOGICAL) else {"aten.where": (0,), "aten.masked_fill": (1,)}.get(name)
    for place in masks or ():
        if isinstance(args[place], Tensor):
            args[place] = args[place] != 0
    made = term.op(*map(wider, args), **named)
    return made.double() if isinstance(made, Tensor) else torch.as_tensor(made, dtype=torch.float64)


def _cast(value: Tensor, given: list[Any]) -> Tensor:
    dtype = next((one for one in given if isinstance(one, torch.dtype)), torch.float64)
    if dtype == torch.bool:
        return (value != 0).double()
    return value if dtype.is_floating_point else value.trunc()


def below(term: Term, ends: Iterable[int]) -> tuple[list[Term], list[Term]]:
    """The terms that a term is computed from element by element, down to ``ends``, and where that comes to an end."""
    stop, seen, last = set(ends), dict[int, Term](), dict[int, Term]()
    stack = [term]
    while stack:
        one = stack.pop()
        if one.index in seen or one.index in last:
            continue
        if one.index in stop or not (elementwise(one) or one.op == CONSTANT):
            last[one.index] = one
        else:
            seen[one.index] = one
            stack.extend(one.terms)
    return [seen[i] for i in sorted(seen)], [last[i] for i in sorted(last)]


def without_surrogate(name: str, args: tuple[Any, ...]) -> Term | None:
    """A spike in place of ``(spike - soft) + soft``, as surrogate gradients are written; None for anything else."""
    if name not in ("aten.add", "aten.sub") or len(args) != 2 or not all(isinstance(one, Term) for one in args):
        return None
    total: dict[int, tuple[float, Term]] = {}
    for sign, one in zip((1.0, 1.0 if name == "aten.add" else -1.0), args, strict=True):
        inner = one.args if one.name in ("aten.add", "aten.sub") and not one.named and len(one.args) == 2 else ()
        parts = [(sign, one)]
        if inner and all(isinstance(part, Term) for part in inner):
            parts = [(sign, inner[0]), (sign if one.name == "aten.add" else -sign, inner[1])]
        for weight, part in parts:
            total[part.index] = (total.get(part.index, (0.0, part))[0] + weight, part)
    left = [(weight, part) for weight, part in total.values() if weight]
    if len(left) == len(total) or len(left) != 1 or left[0][0] != 1 or left[0][1].shape != args[0].shape:
        return None
    return left[0][1] if _spikes(left[0][1]) else None


def of_positive(name: str, args: tuple[Any, ...]) -> Term | None:
    """``x`` where an operator gives 1 for ``x > 0`` and else 0, as ``relu(sign(x))`` and ``sign(relu(x))`` do."""
    signs, ramps = ("aten.sign", "aten.sgn"), ("aten.relu", "aten.clamp", "aten.clamp_min")
    inner = args[0] if args and isinstance(args[0], Term) else None
    if inner is None or (name, inner.name) not in [
        *((a, b) for a in signs for b in ramps),
        *((b, a) for a in signs for b in ramps),
    ]:
        return None
    clamp = tuple(inner.args[1:]) if name in signs else tuple(args[1:])
    ramp = inner.name if name in signs else name
    named = dict(inner.named) if name in signs else {}
    low = clamp[0] if clamp else named.get("min", 0 if ramp == "aten.relu" else None)
    if len(clamp) > 1 or "max" in named or low != 0 or not isinstance(inner.args[0], Term):
        return None
    return inner.args[0]


def _spikes(term: Term) -> bool:
    """Whether a term is a comparison, as it is or as a number, perhaps times a constant."""
    while term.name not in COMPARISONS:
        if term.name not in (*_CASTS, "aten.mul") or len(term.terms) != 1:
            return False
        (term,) = term.terms
    return True
