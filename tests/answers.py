"""Random answers, and the same in torch: for each expression of `neurodeploy.network.answer`, what torch computes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from neurodeploy.network.answer import Answer, Expr, Function, Linear, OverTime, Product, Returned, Series, Total

DIM: Mapping[str, Callable[[Tensor, int], Tensor]] = {
    "softmax": torch.softmax,
    "log_softmax": torch.log_softmax,
    "sum": lambda x, dim: x.sum(dim),
    "mean": lambda x, dim: x.mean(dim),
    "max": lambda x, dim: x.max(dim).values,
    "min": lambda x, dim: x.min(dim).values,
    "argmax": lambda x, dim: x.argmax(dim).double(),
}
VALUE = {
    "clamp_min": lambda x, value: x.clamp(min=value),
    "clamp_max": lambda x, value: x.clamp(max=value),
    "power": torch.pow,
}
PLAIN = ("sigmoid", "tanh", "relu", "exp", "log", "abs", "sqrt")


def torch_value(expr: Expr, read: Callable[[Series], Tensor]) -> Tensor:
    """An expression as its user writes it in torch."""
    if isinstance(expr, Series):
        found = read(expr)
        return found.reshape(*found.shape[:2], *expr.shape)
    below = [torch_value(child, read) for child in expr.children]
    x, rank = below[0], len(expr.children[0].features)
    if isinstance(expr, OverTime):
        if expr.how == "weights":
            return torch.stack([w * x[t] for t, w in enumerate(expr.weights.tolist())]).sum(0)
        reduced = {"max": torch.amax, "min": torch.amin, "sum": torch.sum, "mean": torch.mean}
        return x[-1] if expr.how == "last" else reduced[expr.how](x, 0)
    if isinstance(expr, Linear):
        lead = x.ndim - rank
        offset = None if expr.offset is None else torch.tensor(expr.offset)
        y = torch.nn.functional.linear(x.flatten(lead) if rank else x[..., None], torch.tensor(expr.matrix), offset)
        return y.reshape(*x.shape[:lead], *expr.shape)
    if isinstance(expr, Function):
        if expr.name in DIM:
            return DIM[expr.name](x, expr.dim - rank)
        return VALUE[expr.name](x, expr.value) if expr.name in VALUE else getattr(torch, expr.name)(x)
    if isinstance(expr, Product):
        return below[0] * below[1]
    assert isinstance(expr, Total)
    total = sum(weight * value for (weight, _), value in zip(expr.parts, below, strict=True))
    return total if expr.constant is None else total + torch.tensor(expr.constant)


def torch_returned(item: Returned, read: Callable[[Series], Tensor]) -> Tensor:
    """What ``forward`` returns, written with permute, flatten and reshape."""
    value = torch_value(item.value, read)
    lead = value.ndim - len(item.value.features)
    value = value if item.order is None else value.permute(item.order)
    if item.shape is not None:
        value = value.reshape(*value.shape[:lead], *item.shape)
    return value.flatten(0, 1) if item.merged else value


class Drawn:
    """Random answers over given series."""

    def __init__(self, rng: np.random.Generator, leaves: list[Series], steps: int) -> None:
        self.rng, self.leaves, self.steps = rng, leaves, steps

    def answer(self) -> Answer:
        return Answer(tuple(self.returned() for _ in range(self.rng.integers(1, 4))))

    def returned(self) -> Returned:
        value = self.expr(int(self.rng.integers(0, 5)))
        lead, rank = (2 if value.timed else 1), len(value.features)
        kind = self.rng.integers(4)
        if kind == 0:
            return Returned(value)
        if kind == 1:
            return Returned(value, tuple(map(int, self.rng.permutation(lead + rank))))
        front = tuple(map(int, self.rng.permutation(lead)))
        shape = self.split(math.prod(value.features))
        behind = tuple(map(int, lead + self.rng.permutation(rank)))
        return Returned(value, (*front, *behind), merged=lead == 2 and bool(self.rng.integers(2)), shape=shape)

    def split(self, size: int) -> tuple[int, ...]:
        """A shape of so many values."""
        factors = [n for n in range(2, size + 1) if size % n == 0]
        first = int(self.rng.choice(factors)) if factors else 1
        return (first, size // first) if self.rng.integers(2) else (size,)

    def expr(self, depth: int) -> Expr:
        if depth == 0:
            return self.leaves[self.rng.integers(len(self.leaves))]
        of = self.expr(depth - 1)
        features, size = of.features, math.prod(of.features)
        match self.rng.integers(6):
            case 0 if of.timed:
                how = str(self.rng.choice(["sum", "mean", "max", "min", "last", "weights"]))
                return OverTime(of, how, self.rng.normal(size=self.steps) if how == "weights" else None)
            case 1:
                shape = self.split(int(self.rng.integers(1, 7)))
                out = math.prod(shape)
                offset = self.rng.normal(size=out) if self.rng.integers(2) else None
                return Linear(of, self.rng.normal(size=(out, size)), offset, shape)
            case 2:
                constant = self.rng.normal(size=features) if self.rng.integers(2) else None
                return Total(((self.rng.normal(), of), (-0.5, self.other(of))), constant)
            case 3:
                return Product(of, self.other(of))
            case _:
                return self.function(of)

    def other(self, of: Expr) -> Expr:
        """Another expression of the same shape."""
        return self.rng.choice([of, Function(of, "tanh"), Total(((2.0, of),))])

    def function(self, of: Expr) -> Function:
        name = str(self.rng.choice([*(DIM if of.features else ()), *VALUE, *PLAIN]))
        if name in DIM:
            return Function(of, name, dim=int(self.rng.integers(len(of.features))))
        value = float(self.rng.choice([-1.5, 0.25, 2.0, 3.0])) if name in VALUE else None
        return Function(of, name, value=value)
