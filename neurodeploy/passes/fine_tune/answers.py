"""The answer of a network in torch, with a gradient: what `neurodeploy.network.expressions` computes in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from neurodeploy.network.answer import Expr, Function, Linear, OverTime, Product, Series, Total

Read = Callable[[Series], Tensor]
"""Gives the values of a series, ``[time, batch, neurons]``."""


def _compared(how: Callable[..., Tensor], x: Tensor, value: float) -> Tensor:
    return how(x, value).to(x.dtype)


FUNCTIONS: Mapping[str, Callable[..., Tensor]] = {
    **{name: getattr(torch, name) for name in ("softmax", "log_softmax", "sigmoid", "tanh", "relu", "exp", "log")},
    **{name: getattr(torch, name) for name in ("abs", "sqrt", "sum", "mean", "clamp_min", "clamp_max")},
    "max": torch.amax,
    "min": torch.amin,
    "power": torch.pow,
    **{name: getattr(torch, name) for name in ("sign", "floor", "ceil", "round", "trunc")},
    **{
        name: partial(_compared, getattr(torch, name))
        for name in ("greater", "greater_equal", "less", "less_equal", "not_equal")
    },
    "equal": partial(_compared, torch.eq),
    "argmax": lambda x, dim: x.argmax(dim).to(x.dtype),
}
"""As `neurodeploy.network.expressions.FUNCTIONS`, of a dimension or with a number.

argmax, comparisons and rounding have no gradient.
"""


def value(expr: Expr, series: Read) -> Tensor:
    """The value of an expression, ``[time, batch, *features]`` or ``[batch, *features]``, in float64."""
    if isinstance(expr, Series):
        found = series(expr)
        return found.reshape(*found.shape[:2], *expr.shape)
    return _HOW[type(expr)](expr, [value(child, series) for child in expr.children])


def _over_time(expr: OverTime, values: list[Tensor]) -> Tensor:
    x = values[0]
    if expr.weights is not None:
        weighed: Tensor = torch.tensordot(_tensor(expr.weights), x, 1)
        return weighed
    return x[-1] if expr.how == "last" else FUNCTIONS[expr.how](x, 0)


def _linear(expr: Linear, values: list[Tensor]) -> Tensor:
    lead = values[0].shape[: expr.lead]
    y = values[0].reshape(*lead, -1) @ _tensor(expr.matrix).T
    return (y if expr.offset is None else y + _tensor(expr.offset)).reshape(*lead, *expr.shape)


def _function(expr: Function, values: list[Tensor]) -> Tensor:
    given = [] if expr.value is None else [expr.value]
    if expr.dim is not None:
        given = [expr.lead + expr.dim]
    return FUNCTIONS[expr.name](values[0], *given)


def _total(expr: Total, values: list[Tensor]) -> Tensor:
    total = torch.stack([weight * x for (weight, _), x in zip(expr.parts, values, strict=True)]).sum(0)
    return total if expr.constant is None else total + _tensor(expr.constant)


def _product(expr: Product, values: list[Tensor]) -> Tensor:
    del expr
    return values[0] * values[1]


def _tensor(array: Any) -> Tensor:
    return torch.tensor(array, dtype=torch.float64)


_HOW: Mapping[type[Expr], Callable[[Any, list[Tensor]], Tensor]] = {
    OverTime: _over_time, Linear: _linear, Function: _function, Total: _total, Product: _product,
}  # fmt: skip
