"""Comparisons, masks and choices behind the last neuron, as rules: a comparison is 1 where it holds, and 0.

a > b                  greater(a - b, 0), of a number b greater(a, b); so are >=, <, <=, ==, !=
where(c, a, b)         c a + (1 - c) b;  masked_fill(x, c, n) is where(c, n, x)
c & d, c | d, ~c, ^    c d, c + d > 0, c == 0, c != d of what is 1 or 0
bool, int              x != 0, x without its fraction
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.expressions import Expr, Function, Linear, Product, Total

from .terms import CONSTANT, Constant, Term

_COMPARED = {
    "gt": "greater", "greater": "greater", "ge": "greater_equal", "greater_equal": "greater_equal", "lt": "less",
    "less": "less", "le": "less_equal", "less_equal": "less_equal", "eq": "equal", "ne": "not_equal",
    "not_equal": "not_equal",
}  # fmt: skip
_TURNED = {
    "greater": "less", "greater_equal": "less_equal", "less": "greater", "less_equal": "greater_equal",
    "equal": "equal", "not_equal": "not_equal",
}  # fmt: skip
_BOTH = frozenset(("logical_and", "bitwise_and", "__and__"))
_EITHER = frozenset(("logical_or", "bitwise_or", "__or__"))
_ONE = frozenset(("logical_xor", "bitwise_xor", "__xor__"))
_WHOLE = {"trunc": "trunc", "floor": "floor", "ceil": "ceil", "round": "round", "sign": "sign", "sgn": "sign"}

Of = Callable[[Term], Expr]


def chosen(term: Term, of: Of) -> Expr | None:
    """The rule of a term that compares, masks or chooses; None for any other.

    Raises:
        UnsupportedError: a mask of another shape than what it is put on, or an infinite number in its place.
    """
    name = term.name.removeprefix("aten.")
    args = [a.args[0] if isinstance(a, Term) and a.op == CONSTANT else a for a in term.args]
    if name in _COMPARED and len(args) == 2:
        return _compared(term, _COMPARED[name], args[0], args[1], of)
    if name == "where" and len(args) == 3:
        return _where(term, args[0], args[1], args[2], of)
    if name == "masked_fill" and len(args) == 3:
        return _where(term, args[1], args[2], args[0], of)
    if name in _WHOLE and len(args) == 1:
        return Function(of(args[0]), _WHOLE[name])
    if name in ("logical_not", "bitwise_not"):
        return Function(of(args[0]), "equal", None, 0.0)
    if name in _BOTH | _EITHER | _ONE and len(term.terms) == 2:
        first, second = (_truth(_part(term, part, of)) for part in term.terms)
        if name in _BOTH:
            return Product(first, second)
        either = Total(((1.0, first), (1.0 if name in _EITHER else -1.0, second)), None)
        return Function(either, "not_equal", None, 0.0)
    if name in ("to", "_to_copy", "bool", "int", "long"):
        dtype = term.node.meta["val"].dtype
        return _truth(of(args[0])) if dtype == torch.bool else Function(of(args[0]), "trunc")
    return None


def _truth(expr: Expr) -> Expr:
    """1 where a value is not 0."""
    return expr if isinstance(expr, Function) and expr.name in _TURNED else Function(expr, "not_equal", None, 0.0)


def _part(term: Term, part: Term, of: Of) -> Expr:
    if part.shape != term.shape:
        raise UnsupportedError(
            f"{term.name} of values of different shapes behind the last neuron", found=f"{part.shape} and {term.shape}",
            allowed="one shape", hint="return what it is applied to, and compute it outside of the module",
        )  # fmt: skip
    return of(part)


def _number(value: Any) -> float | None:
    """The one number that a constant is; None for another."""
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, Constant) and bool((value.value == value.value.reshape(-1)[0]).all()):
        return float(value.value.reshape(-1)[0])
    return None


def _compared(term: Term, name: str, first: Any, second: Any, of: Of) -> Expr:
    if not isinstance(first, Term):
        return _compared(term, _TURNED[name], second, first, of)
    number = None if isinstance(second, Term) else _number(second)
    value = _part(term, first, of)
    if number is not None:
        return Function(value, name, None, number)
    if isinstance(second, Term):
        return Function(Total(((1.0, value), (-1.0, _part(term, second, of))), None), name, None, 0.0)
    offset = -np.broadcast_to(second.value.double().numpy(), term.shape)
    return Function(Total(((1.0, value),), offset.copy()), name, None, 0.0)


def _where(term: Term, mask: Any, yes: Any, no: Any, of: Of) -> Expr:
    if not isinstance(mask, Term):
        return _masked(term, mask, yes, no, of)
    holds = _truth(_part(term, mask, of))
    fails = Function(holds, "equal", None, 0.0)
    return Total(((1.0, _if(term, holds, yes, of)), (1.0, _if(term, fails, no, of))), None)


def _if(term: Term, holds: Expr, value: Any, of: Of) -> Expr:
    """A value where ``holds`` is 1, and 0."""
    if isinstance(value, Term):
        return Product(holds, _part(term, value, of))
    numbers = np.broadcast_to(value.value.double().numpy() if isinstance(value, Constant) else float(value), term.shape)
    if not np.isfinite(numbers).all():
        raise UnsupportedError(
            "a mask that puts an infinite number in place of a value behind the last neuron", found=term.name,
            allowed="finite numbers", hint="use a large number, as -1e9",
        )  # fmt: skip
    return Linear(holds, np.diag(numbers.reshape(-1).astype(np.float64)), None, term.shape)


def _masked(term: Term, mask: Any, yes: Any, no: Any, of: Of) -> Expr:
    """A choice by a constant mask."""
    chosen_ = np.broadcast_to(mask.value.numpy() != 0, term.shape)
    parts, offset = [], np.zeros(term.shape)
    for value, where in ((yes, chosen_), (no, ~chosen_)):
        if isinstance(value, Term):
            parts.append((1.0, Linear(_part(term, value, of), np.diag(where.reshape(-1) * 1.0), None, term.shape)))
        else:
            offset += np.where(where, value.value.double().numpy() if isinstance(value, Constant) else float(value), 0)
    return Total(tuple(parts), offset if offset.any() else None)
