"""Functions that are a factor on all that a layer can send: ReLU, clamp, ``> 0``, ``.bool()`` on spikes, and the like.

What a sum of NIR nodes can be follows from the nodes: a spiking neuron sends 0 to ``max_spikes``, a pool, a matrix or a
convolution what intervals give, anything else any number. A function ``f`` of one such sum ``x`` is ``c x`` where

    x is a whole number between two bounds, and f(n) = c n for each of them (two for binary spikes: f(0) = 0), or
    f is made of lines that meet at known points, none of which lies between the bounds of x, and passes through 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor, fx

from neurodeploy.network.arrays import Array
from neurodeploy.network.neurons import UNLIMITED
from neurodeploy.nir_graph.metadata import section_of

from .fxgraph import arguments, flat
from .wide import in_float64, wider

_MOST = 64
"""Whole numbers that a function is tried on, at most."""

_INF = float("inf")

FUNCTIONS = frozenset(
    f"aten.{n}"
    for n in [
        "relu",
        "relu6",
        "clamp",
        "clamp_min",
        "clamp_max",
        "clip",
        "hardtanh",
        "abs",
        "absolute",
        "leaky_relu",
        "prelu",
        "elu",
        "selu",
        "celu",
        "nan_to_num",
        "gt",
        "ge",
        "lt",
        "le",
        "eq",
        "ne",
        "greater",
        "greater_equal",
        "less",
        "less_equal",
        "not_equal",
        "sign",
        "sgn",
        "heaviside",
        "ceil",
        "floor",
        "round",
        "trunc",
        "frac",
        "pow",
        "square",
        "sqrt",
        "bool",
        "int",
        "long",
        "half",
        "to",
        "_to_copy",
        "where",
        "maximum",
        "minimum",
        "logical_and",
        "logical_or",
        "logical_xor",
        "__and__",
        "__or__",
        "bitwise_and",
        "bitwise_or",
        "masked_fill",
        "tanh",
        "sin",
        "erf",
        "sigmoid",
        "threshold",
        "mul",
        "multiply",
        "hardswish",
        "gelu",
        "silu",
        "mish",
        "softsign",
        "expm1",
        "log1p",
        "tan",
        "sinh",
        "asin",
        "atan",
        "float",
        "double",
        "type_as",
    ]
)
"""Operators that work element by element; a product of a sum with itself is one, too."""


def as_factor(
    node: fx.Node,
    sums: Mapping[fx.Node, Mapping[str, float]],
    constants: Mapping[fx.Node, Tensor],
    nodes: Mapping[str, nir.NIRNode],
    edges: Sequence[tuple[str, str]],
) -> tuple[dict[str, float], Array | None] | None:
    """The sum of nodes that an operator gives, where it is a function that is a factor on all that its argument can be.

    Args:
        sums: of the operators before it, each a weighted sum of nodes.
        constants: what depends on parameters alone.
        nodes, edges: of the graph so far.

    Returns:
        The sum, and a factor for each value of a sample where it is not one number; None for any other operator.
    """
    name = str(node.target).rpartition(".")[0].removesuffix("_")
    signals = [source for source in node.all_input_nodes if source not in constants]
    if name not in FUNCTIONS or not signals or any(signal not in sums for signal in signals):
        return None
    if name in ("aten.mul", "aten.multiply") and sum(a in signals for a in flat(node.args)) < 2:
        return None
    base, shape = sums[signals[0]], node.meta["val"].shape
    factors = {signal: _multiple(sums[signal], base) for signal in signals}
    known = {signal: factor for signal, factor in factors.items() if factor is not None}
    if len(known) < len(signals) or any(signal.meta["val"].shape != shape for signal in signals):
        return None
    factor = factor_of(node, known, range_of(base, nodes, edges), constants)
    if factor is None:
        return None
    one = float(factor.flat[0])
    uniform = bool((factor == one).all())
    return {name: value * (one if uniform else 1.0) for name, value in base.items()}, None if uniform else factor


@dataclass(frozen=True)
class Range:
    """All values of a signal lie from ``low`` to ``high``; ``whole`` says that they are whole numbers."""

    low: float = -_INF
    high: float = _INF
    whole: bool = False

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.high + other.high, self.whole and other.whole)

    def times(self, factor: float) -> Range:
        """Of the signal times a number."""
        low, high = sorted((_product(factor, self.low), _product(factor, self.high)))
        return Range(low, high, self.whole and float(factor).is_integer())

    def or_nothing(self) -> Range:
        """Of the signal, or 0 in its place."""
        return Range(min(self.low, 0.0), max(self.high, 0.0), self.whole)


def range_of(terms: Mapping[str, float], nodes: Mapping[str, nir.NIRNode], edges: Sequence[tuple[str, str]]) -> Range:
    """What a weighted sum of the outputs of nodes can be."""
    found = [_of_node(name, nodes, edges).times(factor) for name, factor in terms.items()]
    return sum(found[1:], found[0]) if found else Range(0.0, 0.0, True)


def _multiple(terms: Mapping[str, float], base: Mapping[str, float]) -> float | None:
    """The number by which one sum is the other; None where it is not."""
    if not base or terms.keys() != base.keys():
        return None
    factors = {terms[name] / value if value else 0.0 for name, value in base.items()}
    return factors.pop() if len(factors) == 1 else None


def _of_node(name: str, nodes: Mapping[str, nir.NIRNode], edges: Sequence[tuple[str, str]]) -> Range:
    node = nodes.get(name)
    if isinstance(node, (nir.IF, nir.LIF, nir.CubaLIF)):
        most = float(section_of(node).get("max_spikes", 1))
        return Range(0.0, most if most < UNLIMITED else _INF, True)
    sources = [source for source, target in edges if target == name]
    if node is None or type(node) not in _LINEAR or not sources:
        return Range()
    return _LINEAR[type(node)](node, range_of(dict.fromkeys(sources, 1.0), nodes, edges))


def _weighted(weight: Array, bias: Array | None, given: Range) -> Range:
    """Rows of weights on as many values of the same range."""
    rows = weight.reshape(len(weight), -1).astype(np.float64)
    up, down = np.clip(rows, 0, None).sum(1), np.clip(rows, None, 0).sum(1)
    added = np.zeros(len(rows)) if bias is None else np.asarray(bias, np.float64)
    low = _products(up, given.low) + _products(down, given.high) + added
    high = _products(up, given.high) + _products(down, given.low) + added
    whole = given.whole and bool((rows == np.rint(rows)).all() and (added == np.rint(added)).all())
    return Range(float(low.min()), float(high.max()), whole)


def _pooled(node: Any, given: Range) -> Range:
    return Range(given.or_nothing().low, given.or_nothing().high)


_LINEAR: Mapping[type, Callable[[Any, Range], Range]] = {
    nir.Flatten: lambda _node, given: given,
    nir.Delay: lambda _node, given: given.or_nothing(),
    nir.AvgPool2d: _pooled,
    nir.SumPool2d: lambda node, given: given.or_nothing().times(float(np.prod(node.kernel_size))).or_nothing(),
    nir.Linear: lambda node, given: _weighted(node.weight, None, given),
    nir.Affine: lambda node, given: _weighted(node.weight, node.bias, given),
    nir.Conv1d: lambda node, given: _weighted(node.weight, node.bias, given.or_nothing()),
    nir.Conv2d: lambda node, given: _weighted(node.weight, node.bias, given.or_nothing()),
    nir.Scale: lambda node, given: _weighted(np.asarray(node.scale).reshape(-1, 1), None, given),
}
"""Nodes whose range follows from that of what they receive."""


def _product(factor: float, bound: float) -> float:
    return 0.0 if factor == 0.0 else factor * bound


def _products(factors: Array, bound: float) -> Array:
    made: Array = np.where(factors == 0.0, 0.0, factors * bound) if np.isfinite(bound) else np.where(
        factors == 0.0, 0.0, np.sign(factors) * bound
    )  # fmt: skip
    return made


def factor_of(
    node: fx.Node, signals: Mapping[fx.Node, float], given: Range, constants: Mapping[fx.Node, Tensor]
) -> Array | None:
    """The factor ``c`` with ``f(x) = c x``, one number for each value of a sample; None where there is none.

    Args:
        node: the operator ``f``.
        signals: its arguments that are no constants, each as a multiple of ``x``.
        given: what ``x`` can be.
        constants: its other arguments.
    """

    def at(number: float) -> Array:
        values = {one: _filled(one, factor * number) for one, factor in signals.items()}
        args, named = fx.map_arg(
            (node.args, dict(node.kwargs)), lambda n: values[n] if n in values else wider(constants[n])
        )
        target: Any = node.target
        with torch.no_grad(), in_float64():
            made = target(*args, **named)
        result: Array = made.double().numpy()[0]
        return result

    points = _points(node, given)
    if points is None:
        return None
    try:
        images = [at(point) for point in points]
    except (RuntimeError, TypeError, KeyError, NotImplementedError):  # not on such values: it stays unknown
        return None
    reference = next((i for i, point in enumerate(points) if point), None)
    if reference is None:
        return None
    slope = images[reference] / points[reference]
    fits = all(np.array_equal(image, slope * point) for image, point in zip(images, points, strict=True))
    return slope if fits and bool(np.isfinite(slope).all()) else None


def _filled(node: fx.Node, number: float) -> Tensor:
    value = node.meta["val"]
    made = torch.full((1, *value.shape[1:]), number, dtype=torch.float64)
    return made if value.is_floating_point() else made.to(value.dtype)


def _points(node: fx.Node, given: Range) -> list[float] | None:
    """Numbers that decide what a function does on a range; None where none do."""
    if given.low == given.high:
        return None
    if given.whole and given.high - given.low < _MOST:
        return [float(n) for n in range(int(given.low), int(given.high) + 1)]
    corners = _corners(node)
    if corners is None or any(given.low < corner < given.high for corner in corners):
        return None
    ends = [end for end in (given.low, given.high) if np.isfinite(end)]
    if not ends:
        return None
    more = [ends[0] + step if ends[0] == given.low else ends[0] - step for step in (1.0, 3.0)]
    return [*ends, *more] if len(ends) == 1 else [*ends, (ends[0] + ends[1]) / 2]


def _corners(node: fx.Node) -> Iterable[float] | None:
    """Where the lines of which a function is made meet; None for other functions."""
    name = str(node.target).rpartition(".")[0].removesuffix("_")
    given = arguments(node)
    if name in ("aten.relu", "aten.abs", "aten.absolute", "aten.leaky_relu", "aten.prelu"):
        return (0.0,)
    if name == "aten.relu6":
        return (0.0, 6.0)
    keys = {"aten.hardtanh": ("min_val", "max_val"), "aten.clamp_min": ("min",), "aten.clamp_max": ("max",)}
    if name in ("aten.clamp", "aten.clip") or name in keys:
        ends = [given.get(key) for key in keys.get(name, ("min", "max"))]
        if all(isinstance(end, (int, float)) or end is None for end in flat(ends)):
            return tuple(float(end) for end in ends if end is not None)
    return None
