"""Terms behind the last neuron as expressions of an answer: what each operator is in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.answer import Returned
from neurodeploy.network.expressions import Expr, Function, Linear, OverTime, Series, Total

from .terms import CONSTANT, PICK, REDUCE, VIEW, Constant, Term, Terms


def term_of(terms: Terms, ids: Tensor) -> Term:
    """The term of one sample's identities."""
    numbers, _, inside = terms.decode(ids.reshape(-1).numpy())
    first = terms.found[int(numbers[0])]
    whole = (numbers == numbers[0]).all() and first.size == len(inside)
    if whole and (inside == np.arange(len(inside))).all():
        shape = tuple(ids.shape)
        return first if first.shape == shape else terms.make(VIEW, (first,), shape, first.samples, first.node)
    distinct = [terms.found[int(n)] for n in dict.fromkeys(numbers.tolist())]
    place = {term.index: i for i, term in enumerate(distinct)}
    which = np.array([place[int(n)] for n in numbers])
    samples = max(term.samples for term in distinct)
    return terms.make(PICK, (tuple(distinct), which, inside), tuple(ids.shape), samples, first.node)


def whole_of(terms: Terms, ids: Tensor) -> tuple[Term, tuple[int, ...] | None]:
    """What is returned as one value of all steps, ``[batch, ...]``, and the order of its dimensions as returned.

    Raises:
        UnsupportedError: the batch is none of its dimensions.
    """
    samples = terms.decode(ids.numpy())[1]
    found = [d for d in range(ids.dim()) if varies(samples, d)]
    batch = found or [d for d in range(ids.dim()) if ids.shape[d] == 1]
    if len(found) > 1 or not batch:
        raise UnsupportedError("a value without the batch, or one that mixes it, is returned", found=list(ids.shape))
    dims = [batch[0], *(d for d in range(ids.dim()) if d != batch[0])]
    order = tuple(dims.index(d) for d in range(len(dims)))
    root = term_of(terms, ids.movedim(batch[0], 0)[0])
    return root, None if order == tuple(range(len(order))) else order


def varies(codes: Any, dim: int) -> bool:
    return bool((codes != codes.take([0], axis=dim)).any())


def placed(expr: Expr, dims: Sequence[int], ids: Tensor) -> Returned:
    """A value whose dimensions lie as ``dims``, in the order [time,] batch, features, in what is returned."""
    lead = expr.lead
    shape = tuple(ids.shape[d] for d in dims[lead:])
    if expr.features != shape:
        expr = reshaped(expr, shape)
    order = tuple(dims.index(d) for d in range(len(dims)))
    return Returned(expr, None if order == tuple(range(len(order))) else order)


def joined(term: Term, of: Callable[[Term], Expr]) -> Expr:
    """Several values in one, each put into its place."""
    sources, which, inside = term.args
    parts: list[tuple[float, Expr]] = []
    constant = np.zeros(term.size)
    for place, source in enumerate(sources):
        targets = np.flatnonzero(which == place)
        if source.op == CONSTANT:
            constant[targets] = source.args[0].value.double().numpy().reshape(-1)[inside[targets]]
            continue
        matrix = np.zeros((term.size, source.size))
        matrix[targets, inside[targets]] = 1
        parts.append((1.0, Linear(of(source), matrix, None, term.shape)))
    return Total(tuple(parts), constant.reshape(term.shape) if constant.any() else None)


def reshaped(expr: Expr, shape: tuple[int, ...]) -> Expr:
    """The same values in another shape."""
    if expr.features == shape:
        return expr
    if isinstance(expr, Series):
        return Series(expr.population, expr.port, shape)
    if isinstance(expr, OverTime):
        return OverTime(reshaped(expr.of, shape), expr.how, expr.weights)
    if isinstance(expr, Linear):
        return Linear(expr.of, expr.matrix, expr.offset, shape)
    size = int(np.prod(shape))
    return Linear(expr, np.eye(size), None, shape)


def clamped(term: Term, of: Callable[[Term], Expr]) -> Expr:
    expr = of(term.args[0])
    low = term.args[1] if len(term.args) > 1 else None
    high = term.args[2] if len(term.args) > 2 else None
    if term.name == "aten.clamp_max":
        low, high = None, low
    named = dict(term.named)
    low, high = named.get("min", low), named.get("max", high)
    if low is not None:
        expr = Function(expr, "clamp_min", None, float(low))
    return expr if high is None else Function(expr, "clamp_max", None, float(high))


def summands(term: Term) -> list[tuple[float, Any]] | None:
    """The weighted parts of a sum of whole terms; None for anything else."""
    name, named = term.name, dict(term.named)
    if term.op == REDUCE and term.args[0] in ("sum", "mean"):
        parts = term.args[1:]
        return [(1.0 if term.args[0] == "sum" else 1.0 / len(parts), part) for part in parts]
    if name in ("aten.add", "aten.sub", "aten.rsub") and len(term.args) >= 2:
        alpha = float(named.get("alpha", term.args[2] if len(term.args) > 2 else 1))
        first, second = (term.args[1], term.args[0]) if name == "aten.rsub" else term.args[:2]
        return [(1.0, first), (alpha if name == "aten.add" else -alpha, second)]
    if name == "aten.neg":
        return [(-1.0, term.args[0])]
    if name in ("aten.mul", "aten.div") and len(term.args) == 2:
        first, second = term.args
        if name == "aten.mul" and not isinstance(first, Term):
            first, second = second, first
        factor = number(second)
        if factor is not None and isinstance(first, Term):
            return [(factor if name == "aten.mul" else 1 / factor, first)]
    return None


def number(value: Any) -> float | None:
    if isinstance(value, Constant) and value.value.numel() == 1:
        return float(value.value)
    return float(value) if isinstance(value, (int, float)) else None


def total(parts: Sequence[tuple[float, Any]], of: Callable[[Term], Expr], shape: tuple[int, ...]) -> Expr:
    exprs, constant = [], None
    for weight, part in parts:
        if isinstance(part, Term):
            exprs.append((weight, of(part)))
        else:
            value = part.value.double().numpy() if isinstance(part, Constant) else part
            added = np.broadcast_to(weight * np.asarray(value, np.float64), shape)
            constant = added.copy() if constant is None else constant + added
    if len(exprs) == 1 and exprs[0][0] == 1.0 and (constant is None or not constant.any()):
        return exprs[0][1]
    return Total(tuple(exprs), constant)
