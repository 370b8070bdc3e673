"""Expressions over the run of a network, of which its answer is made (`neurodeploy.network.answer`).

An expression is a tree whose leaves are series, arrays ``[time, batch, *features]`` of a run. Whatever stands above one
works on the features of each sample, and of each step until time is dropped:

    Series                [time, batch, *features]   spikes (their payloads) or potentials of a population
    OverTime              [batch, *features]         sum, mean, max, min, last step, or a weight for each step
    Linear, Function, Total, Product                 with time where what they are of has it

Every expression is checked when it is built and takes no more room than its series and matrices, so one from a
stranger's file can do no harm. Values are float64.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, cast

import numpy as np

from neurodeploy.errors import InvalidInputError, did_you_mean

from .arrays import Array, Sealed
from .schema import check_numbers

DEEPEST, MOST, LARGEST, RANK = 64, 10_000, 1 << 31, 16
"""Expressions one above the other, expressions in all, values of a sample, and dimensions of one, at most."""

Port = Literal["spikes", "potential", "value"]


class Expr(Sealed):
    """An expression over the run of a network."""

    stored_under: ClassVar[str] = "answer."
    """Before its class's name in files, where neurons have such names too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check()
        expect(self.depth <= DEEPEST, "an expression is too deep", self.depth, f"{DEEPEST} above each other")
        expect(self.count <= MOST, "an expression is too large", f"{self.count:,} parts", f"{MOST:,}")
        size = math.prod(self.features)
        good = len(self.features) <= RANK and all(n >= 1 for n in self.features) and size <= LARGEST
        said = f"up to {RANK} sizes from 1 on, {LARGEST:,} values"
        expect(good, "an expression has a shape that cannot be used", list(self.features), said)

    def _check(self) -> None:
        """Refuse what does not fit."""

    @property
    @abstractmethod
    def children(self) -> tuple[Expr, ...]:
        """Expressions that it is computed from."""

    @property
    @abstractmethod
    def features(self) -> tuple[int, ...]:
        """Shape of its value for one sample (and step)."""

    @property
    @abstractmethod
    def phrase(self) -> str:
        """It in words."""

    @abstractmethod
    def compute(self, values: Sequence[Array]) -> Array:
        """Its value, ``[time, batch, *features]`` or ``[batch, *features]``, from those of its children.

        That of a series is from its array, ``[time, batch, *shape]`` or ``[time, batch, neurons]``.
        """

    @abstractmethod
    def rebuilt(self, children: Sequence[Expr]) -> Expr:
        """The same of other children."""

    def check_steps(self, steps: int) -> None:
        """Refuse a run of so many steps where it has weights for another number.

        Raises:
            InvalidInputError: says both.
        """

    @cached_property
    def timed(self) -> bool:
        """Whether its value has one entry for each step."""
        return self.children[0].timed

    @cached_property
    def lead(self) -> int:
        """Dimensions before the features."""
        return 2 if self.timed else 1

    @cached_property
    def depth(self) -> int:
        """Expressions one above the other."""
        return 1 + max((child.depth for child in self.children), default=0)

    @cached_property
    def count(self) -> int:
        """Expressions of which it is made, itself included."""
        return 1 + sum(child.count for child in self.children)

    def walk(self) -> Iterator[Expr]:
        """All expressions of which it is made, itself included."""
        yield self
        for child in self.children:
            yield from child.walk()

    def series(self) -> Iterator[Series]:
        """The leaves."""
        return (part for part in self.walk() if isinstance(part, Series))


@dataclass(frozen=True)
class Series(Expr):
    """What a population sends, or its potential after the step's reset: ``[time, batch, *shape]``.

    Args:
        population: its name; of a ``"value"`` that a host stage gives behind the last step, that value's.
        port: ``"spikes"`` (counts, payloads), ``"potential"``, or ``"value"``, of one step: ``[1, batch, *shape]``.
        shape: of one sample; may arrange the population's neurons otherwise, in their order.
    """

    population: str
    port: Port
    shape: tuple[int, ...]

    children = ()
    timed = True

    @property
    def features(self) -> tuple[int, ...]:
        return self.shape

    @property
    def phrase(self) -> str:
        what = {"spikes": "spikes", "potential": "potentials", "value": "value"}[self.port]
        return f"the {what} of {self.population}"

    def compute(self, values: Sequence[Array]) -> Array:
        (x,) = values
        fits = x.ndim >= 2 and math.prod(x.shape[2:]) == math.prod(self.shape)
        expect(fits, f"the answer reads {self.phrase} in another size", list(x.shape), f"{list(self.shape)} a sample")
        return x.reshape(*x.shape[:2], *self.shape)

    def rebuilt(self, children: Sequence[Expr]) -> Series:
        return self


_OVER_TIME: Mapping[str, str] = {
    "sum": "sum over time of", "mean": "mean over time of", "max": "maximum over time of",
    "min": "minimum over time of", "last": "last step of", "weights": "weighted sum over time of",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class OverTime(Expr):
    """One value of all steps: ``[batch, *features]``.

    Args:
        weights: with ``"weights"``, what each step counts, ``[steps]``; a run must have as many.
    """

    of: Expr
    how: Literal["sum", "mean", "max", "min", "last", "weights"]
    weights: Array | None = None

    timed = False

    def _check(self) -> None:
        expect(self.of.timed, "a step is taken of what has no time", self.of.phrase, "what has a value for each step")
        given = self.weights is not None
        expect(given == (self.how == "weights"), "weights over time go with 'weights' alone", self.how, "weights")
        if self.weights is not None:
            _numbers("the weights of the steps", self.weights, (self.weights.size,))

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.of,)

    @property
    def features(self) -> tuple[int, ...]:
        return self.of.features

    @property
    def phrase(self) -> str:
        return f"{_OVER_TIME[self.how]} {_grouped(self.of)}"

    def compute(self, values: Sequence[Array]) -> Array:
        x = values[0]
        if self.how == "last":
            return np.asarray(x[-1])
        if self.weights is not None:
            self.check_steps(len(x))
            return np.asarray(np.tensordot(self.weights.astype(np.float64), x, 1))
        return np.asarray(getattr(np, self.how)(x, axis=0))

    def check_steps(self, steps: int) -> None:
        weighed = steps if self.weights is None else len(self.weights)
        expect(steps == weighed, "the answer weighs each step of a run of another length", f"{steps} steps",
               f"{weighed} steps, as when the network was exported")  # fmt: skip

    def rebuilt(self, children: Sequence[Expr]) -> OverTime:
        return replace(self, of=children[0])


@dataclass(frozen=True, eq=False)
class Linear(Expr):
    """``matrix @ x + offset`` of the flattened features ``x`` of each sample (and step), as ``shape``.

    Args:
        matrix: ``[out, in]``.
        offset: ``[out]``, None for none.
        shape: of the ``out`` values.
    """

    of: Expr
    matrix: Array
    offset: Array | None
    shape: tuple[int, ...]

    def _check(self) -> None:
        _numbers("the matrix of an answer", self.matrix, (math.prod(self.shape), math.prod(self.of.features)))
        if self.offset is not None:
            _numbers("the offset of an answer", self.offset, (math.prod(self.shape),))

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.of,)

    @property
    def features(self) -> tuple[int, ...]:
        return self.shape

    @property
    def phrase(self) -> str:
        return f"{self.of.phrase}, then linear to {' x '.join(map(str, self.shape)) or 1}"

    def compute(self, values: Sequence[Array]) -> Array:
        lead = values[0].shape[: self.lead]
        y = values[0].reshape(*lead, -1) @ self.matrix.astype(np.float64).T
        return np.asarray(y if self.offset is None else y + self.offset).reshape(*lead, *self.shape)

    def rebuilt(self, children: Sequence[Expr]) -> Linear:
        return replace(self, of=children[0])


def _log_softmax(x: Array, axis: Any) -> Array:
    shifted = x - x.max(axis, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis, keepdims=True)))


def _softmax(x: Array, axis: Any) -> Array:
    powers = np.exp(x - x.max(axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis, keepdims=True))


@dataclass(frozen=True)
class Kind:
    """A function: ``apply(x, axis)`` of one dimension, ``apply(x, value)`` with a number, or ``apply(x)``."""

    apply: Callable[..., Any]
    takes: Literal["dim", "value", ""] = ""
    drops: bool = False


FUNCTIONS: Mapping[str, Kind] = {
    "softmax": Kind(_softmax, "dim"),
    "log_softmax": Kind(_log_softmax, "dim"),
    "sigmoid": Kind(lambda x: 1 / (1 + np.exp(-x))),
    "tanh": Kind(np.tanh),
    "relu": Kind(lambda x: np.maximum(x, 0)),
    "exp": Kind(np.exp),
    "log": Kind(np.log),
    "abs": Kind(np.abs),
    "sqrt": Kind(np.sqrt),
    "clamp_min": Kind(np.maximum, "value"),
    "clamp_max": Kind(np.minimum, "value"),
    "power": Kind(np.power, "value"),
    **{name: Kind(getattr(np, name)) for name in ("sign", "floor", "ceil", "round", "trunc")},
    **{
        name: Kind(getattr(np, name), "value")
        for name in ("greater", "greater_equal", "less", "less_equal", "equal", "not_equal")
    },
    **{name: Kind(getattr(np, name), "dim", drops=True) for name in ("sum", "mean", "max", "min", "argmax")},
}
"""Functions of features by name, as torch has them."""


@dataclass(frozen=True, eq=False)
class Function(Expr):
    """A function of each sample's (and step's) features, one of `FUNCTIONS`.

    Args:
        dim: of the features, counted from 0, for those of one dimension; sum, mean, max, min and argmax drop it.
        value: of clamp_min, clamp_max, power and comparisons (which give 1 and 0).
    """

    of: Expr
    name: str
    dim: int | None = None
    value: float | None = None

    def _check(self) -> None:
        known = self.name in FUNCTIONS
        expect(known, "an answer with a function that is not known", self.name + did_you_mean(self.name, FUNCTIONS),
                ", ".join(FUNCTIONS))  # fmt: skip
        takes, rank = FUNCTIONS[self.name].takes, len(self.of.features)
        expect((self.dim is not None) == (takes == "dim") and (self.value is not None) == (takes == "value"),
                f"{self.name} in an answer takes {f'a {takes}' if takes else 'nothing more'}",
                f"dim {self.dim}, value {self.value}", takes or "neither")  # fmt: skip
        expect(self.dim is None or 0 <= self.dim < rank, f"{self.name} in an answer of a dimension that is not there",
                self.dim, f"0 to {rank - 1}" if rank else "none, since there is one value for each sample")  # fmt: skip

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.of,)

    @cached_property
    def features(self) -> tuple[int, ...]:
        shape, dim = self.of.features, self.dim
        return shape if dim is None or not FUNCTIONS[self.name].drops else (*shape[:dim], *shape[dim + 1 :])

    @property
    def phrase(self) -> str:
        several = self.dim is not None and len(self.of.features) > 1
        value = f" {self.value:g}" if self.value is not None else f" over dimension {self.dim}" if several else ""
        return f"{self.of.phrase}, then {self.name}{value}"

    def compute(self, values: Sequence[Array]) -> Array:
        kind = FUNCTIONS[self.name]
        given = [] if not kind.takes else [self.value if kind.takes == "value" else self.lead + cast(int, self.dim)]
        return np.asarray(kind.apply(values[0], *given), np.float64)

    def rebuilt(self, children: Sequence[Expr]) -> Function:
        return replace(self, of=children[0])


@dataclass(frozen=True, eq=False)
class Total(Expr):
    """Weighted sum of expressions of equal shape, and a constant ``[*features]``."""

    parts: tuple[tuple[float, Expr], ...]
    constant: Array | None = None

    def _check(self) -> None:
        expect(bool(self.parts), "an answer adds up nothing", "no parts", "one or more")
        _alike(self.children, "adds up")
        if self.constant is not None:
            _numbers("the constant of an answer", self.constant, self.features)

    @property
    def children(self) -> tuple[Expr, ...]:
        return tuple(part for _, part in self.parts)

    @property
    def features(self) -> tuple[int, ...]:
        return self.parts[0][1].features

    @property
    def phrase(self) -> str:
        said = [_grouped(part) if weight == 1 else f"{weight:g} x {_grouped(part)}" for weight, part in self.parts]
        return " + ".join(said if self.constant is None else [*said, "a constant"])

    def compute(self, values: Sequence[Array]) -> Array:
        total = sum(weight * value for (weight, _), value in zip(self.parts, values, strict=True))
        return np.asarray(total if self.constant is None else total + self.constant)

    def rebuilt(self, children: Sequence[Expr]) -> Total:
        parts = tuple((weight, child) for (weight, _), child in zip(self.parts, children, strict=True))
        return replace(self, parts=parts)


@dataclass(frozen=True, eq=False)
class Product(Expr):
    """Product of two expressions of equal shape, value by value."""

    first: Expr
    second: Expr

    def _check(self) -> None:
        _alike(self.children, "multiplies")

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.first, self.second)

    @property
    def features(self) -> tuple[int, ...]:
        return self.first.features

    @property
    def phrase(self) -> str:
        return f"{_grouped(self.first)} times {_grouped(self.second)}"

    def compute(self, values: Sequence[Array]) -> Array:
        return np.asarray(values[0] * values[1])

    def rebuilt(self, children: Sequence[Expr]) -> Product:
        return replace(self, first=children[0], second=children[1])


def _grouped(expr: Expr) -> str:
    """Its phrase, in brackets where that would be read otherwise."""
    return f"({expr.phrase})" if not isinstance(expr, (Series, OverTime)) else expr.phrase


def _alike(parts: Iterable[Expr], what: str) -> None:
    shapes = {(part.timed, part.features) for part in parts}
    said = " and ".join(str([*("time",) * timed, "batch", *shape]) for timed, shape in sorted(shapes))
    expect(len(shapes) == 1, f"an answer {what} values of different shapes", said, "one shape")


def _numbers(what: str, values: Array, shape: tuple[int, ...]) -> None:
    check_numbers(what, values, shape)
    expect(bool(np.isfinite(values).all()), f"{what} is not finite", "infinite values", "finite numbers")


def expect(good: bool, what: str, found: object, allowed: object) -> None:
    """Refuse in words what does not fit."""
    if not good:
        raise InvalidInputError(what, found=found, allowed=allowed)
