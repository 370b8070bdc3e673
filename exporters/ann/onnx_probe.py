"""An ONNX operator that has no rule of its own (Einsum, CumSum, Where, GatherElements, ...), asked what it does.

ONNX's own reference runs it in float64. It must be affine in each sample by itself, which random samples show; its
matrices are then found from unit vectors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.arrays import Array

from . import onnx_values
from .onnx_maps import MAPS as RULES
from .onnx_maps import Call, Mapped, limited

ROUNDING = 1e-9
"""Largest error of an affine operator in float64, relative to what it gives."""

_ROWS = 128
"""Samples that are computed at once."""

NONLINEAR = "no synapse or neuron computes this"

_JOINS = ("Add", "Div", "Einsum", "Mean", "Mul", "Pow", "Sub", "Sum", "Where")
"""Operators of several inputs, whose shapes may all meet."""


def probed(call: Call) -> list[Mapped]:
    """The matrices of an operator, one for each of its inputs that a layer gives.

    Raises:
        UnsupportedError: it is not affine, mixes samples, or its matrices would be too large.
    """
    shapes = [shape for shape in call.shapes if shape is not None]
    rng = np.random.default_rng(0)
    batch = shapes[0][0]
    limited(_most(call))
    zeros = [np.zeros(shape) for shape in shapes]
    x, y = ([rng.normal(size=shape) for shape in shapes] for _ in range(2))
    rest = _run(call, zeros)
    first, second = _run(call, x), _run(call, y)
    both = _run(call, [2 * a - b / 2 for a, b in zip(x, y, strict=True)])
    for c, a, b, ab in zip(rest, first, second, both, strict=True):
        if not c.ndim or c.shape[0] != batch:
            raise UnsupportedError("an operator that mixes the samples of a batch", allowed="each by itself")
        near = ROUNDING * max(1.0, float(np.abs(ab).max(initial=0)), float(np.abs(a).max(initial=0)))
        if not (np.isfinite(ab).all() and np.abs(2 * (a - c) - (b - c) / 2 + c - ab).max(initial=0) <= near):
            raise UnsupportedError(NONLINEAR)
    sizes = [math.prod(shape[1:]) for shape in shapes]
    limited(sum(sizes) * float(sum(c[0].size for c in rest)))
    matrices = [_matrices(call, place, shapes, rest) for place in range(len(shapes))]
    for number, (c, a) in enumerate(zip(rest, first, strict=True)):
        found = sum(each[number] @ value.reshape(batch, -1).T for each, value in zip(matrices, x, strict=True)).T
        near = ROUNDING * max(1.0, float(np.abs(a).max(initial=0)))
        if np.abs(found + c[0].ravel() - a.reshape(batch, -1)).max(initial=0) > near:
            raise UnsupportedError("an operator that mixes the samples of a batch", allowed="each by itself")
    made = []
    for number, c in enumerate(rest):
        own = iter(matrices)
        each = tuple(None if shape is None else next(own)[number] for shape in call.shapes)
        made.append(Mapped(tuple(int(n) for n in c.shape), each, c[0].ravel().copy()))
    return made


def _most(call: Call) -> float:
    """A bound of the values that come out, and of those that go in."""
    sizes = [float(math.prod(shape)) for shape in call.shapes if shape is not None]
    sizes += [float(np.size(constant)) for constant in call.given if constant is not None]
    return math.prod(sizes) if call.node.op_type in _JOINS else sum(sizes)


def _run(call: Call, values: Sequence[Array]) -> list[Array]:
    """All results for these values of what layers give."""
    given = iter(values)
    wide = [_wide(constant) if shape is None else next(given)
            for constant, shape in zip(call.given, call.shapes, strict=True)]  # fmt: skip
    try:
        with np.errstate(all="ignore"):
            found = onnx_values.outcomes(call.node, wide, call.versions)
    except Exception as error:  # the reference does not know it, or not in float64
        raise UnsupportedError(NONLINEAR) from error
    if any(one.dtype.kind not in "fiub" for one in found):
        raise UnsupportedError(NONLINEAR)
    return [np.asarray(one, np.float64) for one in found]


def _wide(constant: Array | None) -> Array | None:
    return constant if constant is None or constant.dtype.kind != "f" else constant.astype(np.float64)


def _matrices(call: Call, place: int, shapes: Sequence[tuple[int, ...]], rest: Sequence[Array]) -> list[Any]:
    """``[outputs, inputs]`` of every result, of the layer at ``place``."""
    size, batch = math.prod(shapes[place][1:]), shapes[place][0]
    rows = _ROWS if _takes_more(call, shapes, rest) else batch
    parts: list[list[Any]] = [[] for _ in rest]
    for start in range(0, size, rows):
        columns = np.arange(start, min(start + rows, size))
        values = [np.zeros((rows, *shape[1:])) for shape in shapes]
        values[place].reshape(rows, -1)[np.arange(len(columns)), columns] = 1
        for number, (found, c) in enumerate(zip(_run(call, values), rest, strict=True)):
            moved = (found.reshape(rows, -1) - c[0].ravel())[: len(columns)]
            parts[number].append(sparse.csr_matrix(moved))
    return [sparse.csr_matrix(sparse.vstack(part).T) for part in parts]


def _takes_more(call: Call, shapes: Sequence[tuple[int, ...]], rest: Sequence[Array]) -> bool:
    """Whether it takes more samples at once than the file says."""
    try:
        found = _run(call, [np.zeros((_ROWS, *shape[1:])) for shape in shapes])
    except UnsupportedError:
        return False
    return all(f.shape == (_ROWS, *c.shape[1:]) and (f == c[:1]).all() for f, c in zip(found, rest, strict=True))


MAPS: Mapping[str, Callable[[Call], list[Mapped]]] = {
    **dict.fromkeys(
        (*_JOINS, "CumSum", "GatherElements", "GatherND", "GridSample", "LpPool", "ReverseSequence", "ScatterElements",
         "ScatterND", "Trilu"),
        probed,
    ),
    **RULES,
}  # fmt: skip
"""Operator -> its matrices, by a rule or by what it does; none makes more values than its inputs say."""
