"""The answer of a network: how what its user's ``forward`` returns comes from spikes and potentials of its populations.

It is an expression over a run (`neurodeploy.network.expressions`) for each value returned, and how its dimensions lie.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from neurodeploy.errors import InvalidInputError

from .arrays import Array, Sealed
from .expressions import MOST, RANK, Expr, Function, Linear, OverTime, Product, Series, Total, expect

__all__ = ["Answer", "Expr", "Function", "Linear", "OverTime", "Product", "Returned", "Series", "Total"]


@dataclass(frozen=True, eq=False)
class Returned(Sealed):
    """One value that ``forward`` returns.

    Args:
        value: how it is computed from a run.
        order: of the dimensions of ``[time, batch, *features]``, or of ``[batch, *features]``; None as they are.
        merged: then the first two are one, ``[batch * time, ...]`` for example.
        shape: finally, of the dimensions behind time and batch, where it is another.
    """

    value: Expr
    order: tuple[int, ...] | None = None
    merged: bool = False
    shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        features, lead = self.value.features, self.value.lead
        rank, order = lead + len(features), self._order
        expect(sorted(order) == list(range(rank)), "an answer in an order that is none",
                list(order), f"each of 0 to {rank - 1} once")  # fmt: skip
        expect(not self.merged or rank > 1, "an answer joins dimensions that it does not have", rank, "2 or more")
        if self.shape is not None:
            front = set(order[:lead]) == set(range(lead)) and (lead == 2 or not self.merged)
            expect(front, "an answer is reshaped whose time and batch are not in front", list(order), "in front")
            size = math.prod(self.shape)
            fits = all(n >= 1 for n in self.shape) and size == math.prod(features) and len(self.shape) <= RANK
            expect(fits, "an answer is reshaped to another size", list(self.shape), f"as many as {list(features)}")

    @property
    def _order(self) -> tuple[int, ...]:
        return tuple(range(self.value.lead + len(self.value.features))) if self.order is None else self.order

    @property
    def arranged(self) -> bool:
        """Whether its dimensions are others than those of its value."""
        return self.merged or self.shape is not None or self._order != tuple(range(len(self._order)))

    @property
    def axes(self) -> str:
        """Its dimensions in words, such as ``[batch, time, 10]``."""
        names = [*("time", "batch")[2 - self.value.lead :], *map(str, self.value.features)]
        names = [names[index] for index in self._order]
        if self.shape is not None:
            names[self.value.lead :] = map(str, self.shape)
        return f"[{', '.join([' * '.join(names[:2]), *names[2:]] if self.merged else names)}]"

    def arrange(self, value: Array) -> Array:
        """The value in its order and shape."""
        value = value.transpose(self._order)
        lead = self.value.lead
        if self.shape is not None:
            value = value.reshape(*value.shape[:lead], *self.shape)
        return value.reshape(-1, *value.shape[2:]) if self.merged else value


Read = Callable[[Series], Array]
"""Gives the array of a series, ``[time, batch, *shape]`` or ``[time, batch, neurons]``."""


@dataclass(frozen=True, eq=False)
class Answer(Sealed):
    """What the user's ``forward`` returns, as one or more values.

    Args:
        returned: the values, in the order of ``forward``.
        steps: of the runs for which it holds; None for any number.
    """

    returned: tuple[Returned, ...]
    steps: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        expect(bool(self.returned), "an answer returns nothing", "no value", "one or more")
        count = sum(item.value.count for item in self.returned)
        expect(count <= MOST, "an answer is too large", f"{count:,} parts", f"{MOST:,}")

    def evaluate(self, series: Read) -> list[Array]:
        """What ``forward`` returns, float64 each.

        Args:
            series: gives the array of each series that it reads.

        Raises:
            InvalidInputError: a run of another length than the answer has weights for; an array of another size.
        """
        found: dict[Expr, Array] = {}
        read = self._checked(series)
        return [item.arrange(_value(item.value, read, found)) for item in self.returned]

    def _checked(self, series: Read) -> Read:
        """The same, of a run of as many steps as it holds for."""

        def read(leaf: Series) -> Array:
            values = series(leaf)
            if leaf.port != "value":
                self.check_steps(len(values))
            return values

        return series if self.steps is None else read

    def check_steps(self, steps: int) -> None:
        """Refuse a run of so many steps where the answer has weights for another number.

        Raises:
            InvalidInputError: says both.
        """
        if self.steps is not None and steps != self.steps:
            raise InvalidInputError(
                "the network gives what its model returns for another number of steps alone",
                found=f"{steps} steps", allowed=f"{self.steps} steps, as when it was exported",
                hint="export the model with a sample of as many steps as the runs have",
            )  # fmt: skip
        for part in (part for item in self.returned for part in item.value.walk()):
            part.check_steps(steps)

    @cached_property
    def series(self) -> tuple[Series, ...]:
        """The series that it reads, each once."""
        return tuple(dict.fromkeys(leaf for item in self.returned for leaf in item.value.series()))

    @cached_property
    def populations(self) -> tuple[str, ...]:
        """Names of the populations that it reads, each once."""
        return tuple(dict.fromkeys(leaf.population for leaf in self.series if leaf.port != "value"))

    @cached_property
    def potentials(self) -> tuple[str, ...]:
        """Names of the populations of which it reads the potential, each once."""
        return tuple(dict.fromkeys(leaf.population for leaf in self.series if leaf.port == "potential"))

    @cached_property
    def score(self) -> Expr | None:
        """What decides: an expression without time whose flattened features are the scores of the classes.

        It is the first value returned that has two features or more; summed over time where it has time; below an
        argmax, what the argmax is of. None where nothing returned is such a value.
        """
        steps = self._steps()
        if steps is not None:
            return OverTime(steps, "sum")
        for value in (item.value for item in self.returned):
            below = value.of if isinstance(value, Function) and value.name == "argmax" else value
            decides = below is value or math.prod(value.features) == 1
            if decides and math.prod(below.features) > 1:
                return OverTime(below, "sum") if below.timed else below
        return None

    def _steps(self) -> Expr | None:
        """What is returned of each step, where every step is a value of its own; else None."""
        values = [item.value for item in self.returned]
        parts = [value for value in values if isinstance(value, OverTime)]
        if len(values) < 2 or len(parts) < len(values) or len({part.of.phrase for part in parts}) > 1:
            return None
        for step, part in enumerate(parts):
            last = part.how == "last" and step == len(parts) - 1
            weights = np.zeros(0) if part.weights is None else part.weights
            if not last and (len(weights) != len(parts) or not np.array_equal(np.flatnonzero(weights), [step])):
                return None
        return parts[0].of if math.prod(parts[0].of.features) > 1 else None

    @property
    def classes(self) -> int | None:
        """Number of scores; None where there are none."""
        return None if self.score is None else math.prod(self.score.features)

    def scores(self, series: Read) -> Array | None:
        """Scores ``[batch, classes]`` by `score`; None where nothing returned can be one. Raises as `evaluate`."""
        if self.score is None:
            return None
        found = _value(self.score, self._checked(series), {})
        return found.reshape(len(found), -1)

    def renamed(self, names: Mapping[str, str]) -> Answer:
        """The same of populations with other names, ``old -> new``; names that are not there stay."""
        return self._with(lambda leaf: replace(leaf, population=names.get(leaf.population, leaf.population)))

    def raised(self, by: Mapping[str, Array]) -> Answer:
        """The same with so much added to the potentials of each neuron, ``population -> [neurons]``."""
        more = {name: by[name] for name in self.potentials if name in by and by[name].any()}

        def other(leaf: Series) -> Expr:
            if leaf.port == "spikes" or leaf.population not in more:
                return leaf
            return Total(((1.0, leaf),), more[leaf.population].reshape(leaf.shape))

        return self._with(other) if more else self

    def _with(self, leaf: Callable[[Series], Expr]) -> Answer:
        """The same with other leaves; parts that stand twice still do."""
        made: dict[Expr, Expr] = {}

        def other(expr: Expr) -> Expr:
            if isinstance(expr, Series):
                return leaf(expr)
            if expr not in made:
                made[expr] = expr.rebuilt([other(child) for child in expr.children])
            return made[expr]

        return replace(self, returned=tuple(replace(item, value=other(item.value)) for item in self.returned))

    def described(self) -> str:
        """The rule in a line, such as ``mean over time of the spikes of lif2, then log_softmax``."""
        return "; ".join(i.value.phrase + (f", as {i.axes}" if i.arranged else "") for i in self.returned)


TYPES = (Series, OverTime, Linear, Function, Total, Product, Returned, Answer)
"""What an answer is made of, for files."""


def _value(expr: Expr, series: Read, found: dict[Expr, Array]) -> Array:
    """The value of an expression, each part computed once."""
    if expr not in found:
        if isinstance(expr, Series):
            values = [np.asarray(series(expr), np.float64)]
        else:
            values = [_value(child, series, found) for child in expr.children]
        with np.errstate(all="ignore"):  # log(0) is what torch has too
            found[expr] = expr.compute(values)
    return found[expr]
