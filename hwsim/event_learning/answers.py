"""Scores of a network's answer, and how they follow what is read: reverse differentiation of expressions.

A class's score is what `neurodeploy.network.answer` says; the loss of a sample is the cross entropy of all of them, so
a ``softmax`` or ``log_softmax`` on top of the answer is the loss's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.arrays import Array
from neurodeploy.network.expressions import Expr, Function, Linear, OverTime, Product, Series, Total
from neurodeploy.network.network import Network

Pull = Callable[[Any, list[Array], Array, Array], list[Array]]
"""Errors of an expression's children, from it, their values, its own value and its error."""


def score_of(network: Network) -> Expr:
    """The expression whose values, ``[batch, classes]``, decide.

    Raises:
        UnsupportedError: the network returns nothing that decides, or a part that has no derivative.
    """
    own = network.answer.score if network.answer else None
    if own is None:
        if network.answer is not None or len(network.outputs) != 1:
            raise UnsupportedError(
                f"network {network.name!r} gives no scores to learn by",
                found=network.answer.described() if network.answer else f"{len(network.outputs)} outputs",
                allowed="one value of several classes",
            )
        population = network.by_name[network.outputs[0]]
        if population.spiking:
            own = OverTime(Series(population.name, "spikes", population.shape), "sum")
        else:
            own = OverTime(Series(population.name, "potential", population.shape), network.read)
    while isinstance(own, Function) and own.name in ("softmax", "log_softmax"):
        own = own.of
    for part in own.walk():
        if isinstance(part, Function) and part.name not in _FUNCTIONS:
            raise UnsupportedError(
                f"network {network.name!r} answers by {part.name}, which has no slope to learn by",
                allowed=", ".join(sorted(_FUNCTIONS)),
            )
    return own


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of samples, and all that they were computed from."""

    score: Expr
    values: Mapping[int, Array]

    @classmethod
    def of(cls, score: Expr, read: Callable[[Series], Array]) -> Scores:
        """From series ``[time, batch, neurons]``."""
        values: dict[int, Array] = {}

        def value(expr: Expr) -> Array:
            if id(expr) not in values:
                below = [np.asarray(read(expr), np.float64)] if isinstance(expr, Series) else map(value, expr.children)
                values[id(expr)] = expr.compute(list(below))
            return values[id(expr)]

        value(score)
        return cls(score, values)

    @property
    def found(self) -> Array:
        """``[batch, classes]``."""
        value = self.values[id(self.score)]
        return value.reshape(len(value), -1)

    def errors(self, delta: Array) -> dict[Series, Array]:
        """What each series is to blame for, ``[time, batch, *shape]``, from the errors of the scores."""
        errors: dict[int, Array] = {id(self.score): delta.reshape(self.values[id(self.score)].shape)}
        found: dict[Series, Array] = {}
        for expr in self._downwards():
            error = errors[id(expr)]
            if isinstance(expr, Series):
                found[expr] = found[expr] + error if expr in found else error
                continue
            below = [self.values[id(child)] for child in expr.children]
            for child, part in zip(expr.children, _PULLS[type(expr)](expr, below, self.values[id(expr)], error),
                                   strict=True):  # fmt: skip
                errors[id(child)] = errors[id(child)] + part if id(child) in errors else part
        return found

    def _downwards(self) -> list[Expr]:
        """Every expression once, each before those that it is made of."""
        order: list[Expr] = []
        seen: set[int] = set()

        def visit(expr: Expr) -> None:
            if id(expr) not in seen:
                seen.add(id(expr))
                for child in expr.children:
                    visit(child)
                order.append(expr)

        visit(self.score)
        return order[::-1]


def _over_time(expr: OverTime, below: list[Array], value: Array, error: Array) -> list[Array]:
    x = below[0]
    found = np.zeros(x.shape)
    if expr.how == "last":
        found[-1] = error
    elif expr.weights is not None:
        found += expr.weights.reshape(-1, *[1] * error.ndim) * error
    elif expr.how in ("max", "min"):
        first = (x.argmax(axis=0) if expr.how == "max" else x.argmin(axis=0))[None]
        np.put_along_axis(found, first, error[None], axis=0)
    else:
        found += error / (len(x) if expr.how == "mean" else 1)
    return [found]


def _linear(expr: Linear, below: list[Array], value: Array, error: Array) -> list[Array]:
    lead = error.shape[: expr.lead]
    back = error.reshape(*lead, -1) @ expr.matrix.astype(np.float64)
    return [back.reshape(below[0].shape)]


def _function(expr: Function, below: list[Array], value: Array, error: Array) -> list[Array]:
    axis = None if expr.dim is None else expr.lead + expr.dim
    return [np.asarray(_FUNCTIONS[expr.name](below[0], value, error, expr.value if axis is None else axis))]


def _softmax(x: Array, y: Array, error: Array, axis: int) -> Array:
    return np.asarray(y * (error - (error * y).sum(axis, keepdims=True)))


def _log_softmax(x: Array, y: Array, error: Array, axis: int) -> Array:
    return np.asarray(error - np.exp(y) * error.sum(axis, keepdims=True))


def _spread(x: Array, error: Array, axis: int) -> Array:
    return np.broadcast_to(np.expand_dims(error, axis), x.shape)


def _extreme(x: Array, y: Array, error: Array, axis: int) -> Array:
    best = x == np.expand_dims(y, axis)
    return np.asarray(best / best.sum(axis, keepdims=True) * np.expand_dims(error, axis))


def _slope(x: Array, slope: Array, error: Array) -> Array:
    return np.asarray(np.where(np.isfinite(slope), slope, 0.0) * error)


_FUNCTIONS: Mapping[str, Callable[[Array, Array, Array, Any], Array]] = {
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "sigmoid": lambda x, y, error, _: y * (1 - y) * error,
    "tanh": lambda x, y, error, _: (1 - y * y) * error,
    "relu": lambda x, y, error, _: (x > 0) * error,
    "exp": lambda x, y, error, _: y * error,
    "log": lambda x, y, error, _: _slope(x, 1 / x, error),
    "abs": lambda x, y, error, _: np.sign(x) * error,
    "sqrt": lambda x, y, error, _: _slope(x, 0.5 / y, error),
    "clamp_min": lambda x, y, error, least: (x > least) * error,
    "clamp_max": lambda x, y, error, most: (x < most) * error,
    "power": lambda x, y, error, n: _slope(x, n * np.power(x, n - 1), error),
    "sum": lambda x, y, error, axis: _spread(x, error, axis),
    "mean": lambda x, y, error, axis: _spread(x, error, axis) / x.shape[axis],
    "max": _extreme,
    "min": _extreme,
}
"""Errors of a function's argument, from it, its value, its error, and the dimension or number that it takes."""

_PULLS: Mapping[type, Pull] = {
    OverTime: _over_time,
    Linear: _linear,
    Function: _function,
    Total: lambda expr, below, value, error: [np.asarray(weight * error) for weight, _ in expr.parts],
    Product: lambda expr, below, value, error: [error * below[1], error * below[0]],
}
