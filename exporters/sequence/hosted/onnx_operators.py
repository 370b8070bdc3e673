"""The operators of a host: what each of PyTorch's is in ONNX, in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import fx

from neurodeploy.errors import UnsupportedError

from ...torch_step.fxgraph import arguments
from .onnx_erf import erf
from .onnx_graph import SAMPLES, Graph, dims_of
from .onnx_windows import adaptive_largest, average, convolution, largest

Write = Callable[[Graph, fx.Node], Any]

DOUBLE, WHOLE, FLAG = torch.float64, torch.int64, torch.bool


def _kind(node: fx.Node) -> torch.dtype:
    found: torch.dtype = node.meta["val"].dtype
    return found


def _unary(name: str) -> Write:
    return lambda g, n: g.add(name, [g.of(n.args[0], DOUBLE)])


def _binary(name: str) -> Write:
    def write(g: Graph, n: fx.Node) -> str:
        kind = _kind(n) if _kind(n) != FLAG else DOUBLE
        if name == "Mul" and n.args[1] == 1 and dims_of(n.args[0]) == dims_of(n):
            return g.of(n.args[0], kind)
        second = g.of(n.args[1], kind)
        alpha = n.kwargs.get("alpha", n.args[2] if len(n.args) > 2 else 1)
        if alpha != 1 and name in ("Add", "Sub"):
            second = g.add("Mul", [second, g.of(alpha, kind)])
        return g.add(name, [g.of(n.args[0], kind), second])

    return write


def _compared(name: str, negated: bool = False) -> Write:
    def write(g: Graph, n: fx.Node) -> str:
        made = g.add(name, [g.of(n.args[0], DOUBLE), g.of(n.args[1], DOUBLE)])
        return g.add("Not", [made]) if negated else made

    return write


def _logic(name: str) -> Write:
    return lambda g, n: g.add(name, [g.of(a, FLAG) for a in n.args])


def _bitwise(name: str) -> Write:
    def write(g: Graph, n: fx.Node) -> str:
        if _kind(n) != FLAG:
            raise UnsupportedError(f"{n.target} of whole numbers", allowed="of flags")
        return g.add(name, [g.of(a, FLAG) for a in n.args])

    return write


def _mixes(n: fx.Node) -> UnsupportedError:
    return UnsupportedError(f"{n.target} mixes the samples of a batch", allowed="each sample by itself")


def _dim(n: fx.Node, dim: Any) -> int:
    """A dimension of the first argument, from 0 on.

    Raises:
        UnsupportedError: it is that of the samples.
    """
    before = dims_of(n.args[0])
    found = int(dim) % len(before)
    if before[found] % SAMPLES == 0:
        raise _mixes(n)
    return found


def _dims(n: fx.Node) -> list[int]:
    """The dimensions that an operator is told to reduce; all, where none."""
    given = arguments(n)
    told = given.get("dim", given.get("dims"))
    dims = range(len(dims_of(n.args[0]))) if told is None or told == [] else _each(told)
    return [_dim(n, one) for one in dims]


def _same(g: Graph, n: fx.Node) -> str:
    return g.of(n.args[0], _kind(n))


def _reshaped(g: Graph, n: fx.Node) -> str:
    """Any operator that gives another shape to the same numbers in the same order."""
    return g.add("Reshape", [g.of(n.args[0]), g.shape(dims_of(n))])


def _permuted(g: Graph, n: fx.Node) -> str:
    rank = len(dims_of(n))
    name = str(n.target)
    if name.startswith("aten.permute"):
        order = [int(d) % rank for d in arguments(n)["dims"]]
    else:
        order = list(range(rank))
        given: Any = n.args[1:3] if len(n.args) > 1 else (0, 1)
        a, b = (int(d) % rank for d in given)
        order[a], order[b] = order[b], order[a]
    return g.add("Transpose", [g.of(n.args[0])], perm=order)


def _expanded(g: Graph, n: fx.Node) -> str:
    before, after = dims_of(n.args[0]), dims_of(n)
    made = g.of(n.args[0])
    if len(before) < len(after):
        made = g.add("Reshape", [made, g.shape([*([1] * (len(after) - len(before))), *before])])
    return made if before == after else g.add("Expand", [made, g.shape(after, free=False)])


def _broadcast(g: Graph, n: fx.Node) -> str:
    """``prims.broadcast_in_dim``: each dimension of the value is put where it says."""
    before, after = dims_of(n.args[0]), dims_of(n)
    within = [1] * len(after)
    places: Any = n.args[2]
    for size, place in zip(before, places, strict=True):
        within[int(place)] = size
    made = g.add("Reshape", [g.of(n.args[0]), g.shape(within)])
    return made if tuple(within) == after else g.add("Expand", [made, g.shape(after, free=False)])


def _sliced(g: Graph, n: fx.Node) -> str:
    given, before = arguments(n), dims_of(n.args[0])
    dim = int(given["dim"]) % len(before)
    start, end = int(given["start"] or 0), given["end"]
    end = before[dim] if end is None else min(int(end), before[dim])
    start = max(start + before[dim], 0) if start < 0 else start
    end = end + before[dim] if end < 0 else end
    if before[dim] % SAMPLES == 0:
        if (start, end) != (0, before[dim]):
            raise _mixes(n)
        return g.of(n.args[0])
    parts = [g.constant(np.array([one], np.int64)) for one in (start, end, dim, int(given["step"]))]
    return g.add("Slice", [g.of(n.args[0]), *parts])


def _selected(g: Graph, n: fx.Node) -> str:
    dim, index = _dim(n, n.args[1]), int(n.args[2])  # type: ignore[arg-type]
    place = np.array(index % dims_of(n.args[0])[dim], np.int64)
    return g.add("Gather", [g.of(n.args[0]), g.constant(place)], axis=dim)


def _indexed(g: Graph, n: fx.Node) -> str:
    """Rows by a constant, or computed, index along one dimension."""
    which: Any = n.args[1:]
    if str(n.target).startswith("aten.index_select"):
        dim, index = int(which[0]), which[1]
    else:
        given = [(d, i) for d, i in enumerate(which[0]) if i is not None]
        if len(given) != 1:
            return _by_places(g, n)
        dim, index = given[0]
    if _kind(index) == FLAG:
        raise _mixes(n)
    return g.add("Gather", [g.of(n.args[0]), g.of(index, WHOLE)], axis=_dim(n, dim))


def _by_places(g: Graph, n: fx.Node) -> str:
    """Several dimensions indexed at once, by constants."""
    before = dims_of(n.args[0])
    where = [None if i is None else g.held(i) for i in n.args[1]]  # type: ignore[union-attr]
    if before[0] % SAMPLES or where[0] is not None:
        raise _mixes(n)
    numbers = torch.arange(int(np.prod(before[1:]))).reshape(before[1:])
    places = numbers[tuple(slice(None) if w is None else w for w in where[1:])].numpy()
    flat = g.add("Reshape", [g.of(n.args[0]), g.constant(np.array([-1, numbers.numel()], np.int64))])
    return g.add("Reshape", [g.add("Gather", [flat, g.constant(places)], axis=1), g.shape(dims_of(n))])


def _gathered(g: Graph, n: fx.Node) -> str:
    return g.add("GatherElements", [g.of(n.args[0]), g.of(n.args[2], WHOLE)], axis=_dim(n, n.args[1]))


def _joined(g: Graph, n: fx.Node) -> str:
    given = arguments(n)
    parts = [a for a in given["tensors"] if dims_of(a) != (0,)]
    return g.add("Concat", [g.of(a, _kind(n)) for a in parts], axis=int(given["dim"]) % len(dims_of(n)))


def _product(g: Graph, n: fx.Node) -> str:
    return g.add("MatMul", [g.of(n.args[0], DOUBLE), g.of(n.args[1], DOUBLE)])


def _keeps(n: fx.Node) -> int:
    return int(bool(arguments(n).get("keepdim", False)))


def _reduced(name: str) -> Write:
    def write(g: Graph, n: fx.Node) -> str:
        dims, keep, value = _dims(n), _keeps(n), g.of(n.args[0], DOUBLE)
        if name == "ReduceSum":
            return g.add(name, [value, g.constant(np.array(dims, np.int64))], keepdims=keep)
        made = g.add(name, [value], axes=dims, keepdims=keep)
        return g.cast(made, FLAG) if _kind(n) == FLAG else made

    return write


def _where_largest(name: str) -> Write:
    def write(g: Graph, n: fx.Node) -> str:
        told = arguments(n).get("dim")
        if told is None:
            raise _mixes(n)
        return g.add(name, [g.of(n.args[0], DOUBLE)], axis=_dim(n, told), keepdims=_keeps(n))

    return write


def _extreme_of(name: str) -> Write:
    """``max.dim``, which gives values and places."""

    def write(g: Graph, n: fx.Node) -> tuple[str, str]:
        dim, value, keep = _dim(n, arguments(n)["dim"]), g.of(n.args[0], DOUBLE), _keeps(n)
        made = g.add(f"Reduce{name}", [value], axes=[dim], keepdims=keep)
        return made, g.add(f"Arg{name}", [value], axis=dim, keepdims=keep)

    return write


def _softmax(name: str) -> Write:
    return lambda g, n: g.add(name, [g.of(n.args[0], DOUBLE)], axis=_dim(n, n.args[1]))


def _clamped(g: Graph, n: fx.Node) -> str:
    given = arguments(n)
    made = g.of(n.args[0], DOUBLE)
    for name, bound in (("Max", given.get("min")), ("Min", given.get("max"))):
        if bound is not None:
            made = g.add(name, [made, g.of(bound, DOUBLE)])
    return made


def _chosen(g: Graph, n: fx.Node) -> str:
    kind = _kind(n)
    return g.add("Where", [g.of(n.args[0], FLAG), g.of(n.args[1], kind), g.of(n.args[2], kind)])


def _filled(g: Graph, n: fx.Node) -> str:
    value = {"zeros": 0, "ones": 1}.get(str(n.target).split(".")[1].removesuffix("_like").removeprefix("new_"))
    number = n.args[1] if value is None else value
    return g.add("Expand", [g.of(number, _kind(n)), g.shape(dims_of(n), free=False)])


def _summed_up(g: Graph, n: fx.Node) -> str:
    return g.add("CumSum", [g.of(n.args[0], DOUBLE), g.constant(np.array(_dim(n, n.args[1]), np.int64))])


def _padded(g: Graph, n: fx.Node) -> str:
    given = arguments(n)
    pairs = [(int(a), int(b)) for a, b in zip(given["pad"][::2], given["pad"][1::2], strict=True)][::-1]
    rank = len(dims_of(n))
    whole = [(0, 0)] * (rank - len(pairs)) + pairs
    pads = np.array([a for a, _ in whole] + [b for _, b in whole], np.int64)
    return g.add("Pad", [g.of(n.args[0], DOUBLE), g.constant(pads), g.of(float(given["value"]), DOUBLE)])


def _floored(g: Graph, n: fx.Node) -> str:
    """Division, rounded as asked."""
    made = g.add("Div", [g.of(n.args[0], DOUBLE), g.of(n.args[1], DOUBLE)])
    mode = n.kwargs.get("rounding_mode")
    return made if mode is None else g.add("Floor", [made]) if mode == "floor" else _towards_zero(g, made)


def _towards_zero(g: Graph, value: str) -> str:
    return g.add("Mul", [g.add("Sign", [value]), g.add("Floor", [g.add("Abs", [value])])])


def _reversed(g: Graph, n: fx.Node) -> str:
    made = g.of(n.args[0])
    for d in (_dim(n, one) for one in arguments(n)["dims"]):
        made = g.add("Gather", [made, g.constant(np.arange(dims_of(n)[d])[::-1].copy())], axis=d)
    return made


def _variance(g: Graph, n: fx.Node) -> str:
    dims, value = _dims(n), g.of(n.args[0], DOUBLE)
    count = int(np.prod([dims_of(n.args[0])[d] for d in dims]))
    off = g.add("Sub", [value, g.add("ReduceMean", [value], axes=dims, keepdims=1)])
    total = g.add("ReduceSum", [g.add("Mul", [off, off]), g.constant(np.array(dims, np.int64))], keepdims=_keeps(n))
    correction = arguments(n).get("correction")
    return g.add("Div", [total, g.of(count - (1.0 if correction is None else float(correction)), DOUBLE)])


def _moments(g: Graph, n: fx.Node) -> tuple[str, str]:
    """``var_mean``."""
    return _variance(g, n), g.add("ReduceMean", [g.of(n.args[0], DOUBLE)], axes=_dims(n), keepdims=_keeps(n))


def _standard(g: Graph, value: str, dims: Sequence[int], eps: float) -> str:
    """A value without its mean, divided by its deviation, over some dimensions."""
    off = g.add("Sub", [value, g.add("ReduceMean", [value], axes=list(dims), keepdims=1)])
    spread = g.add("ReduceMean", [g.add("Mul", [off, off])], axes=list(dims), keepdims=1)
    return g.add("Div", [off, g.add("Sqrt", [g.add("Add", [spread, g.of(eps, DOUBLE)])])])


def _layer_norm(g: Graph, n: fx.Node) -> tuple[str, str, str]:
    given, rank = arguments(n), len(dims_of(n.args[0]))
    dims = [_dim(n, d) for d in range(rank - len(given["normalized_shape"]), rank)]
    made = _standard(g, g.of(n.args[0], DOUBLE), dims, float(given["eps"]))
    return _scaled(g, made, given["weight"], given["bias"]), "", ""


def _group_norm(g: Graph, n: fx.Node) -> tuple[str, str, str]:
    given, before = arguments(n), dims_of(n.args[0])
    split = (before[0], int(given["group"]), int(np.prod(before[1:])) // int(given["group"]))
    made = _standard(g, g.add("Reshape", [g.of(n.args[0], DOUBLE), g.shape(split)]), [2], float(given["eps"]))
    made = g.add("Reshape", [made, g.shape(before)])
    each = g.constant(np.array([before[1], *([1] * (len(before) - 2))], np.int64))
    parts = [None if one is None else g.add("Reshape", [g.of(one, DOUBLE), each])
             for one in (given["weight"], given["bias"])]  # fmt: skip
    return _scaled(g, made, *parts), "", ""


def _scaled(g: Graph, value: str, weight: Any, bias: Any) -> str:
    names = [one if one is None or isinstance(one, str) else g.of(one, DOUBLE) for one in (weight, bias)]
    value = value if names[0] is None else g.add("Mul", [value, names[0]])
    return value if names[1] is None else g.add("Add", [value, names[1]])


def _most(g: Graph, n: fx.Node) -> tuple[str, str]:
    """The largest or smallest of a dimension and their places, in order."""
    given, before = arguments(n), dims_of(n.args[0])
    dim = _dim(n, given["dim"])
    sorts = "descending" in given
    count, most = int(given.get("k", before[dim])), bool(given["descending"] if sorts else given["largest"])
    return g.two(
        "TopK", [g.of(n.args[0], DOUBLE), g.constant(np.array([count], np.int64))], axis=dim, largest=int(most)
    )


def _one_more(g: Graph, n: fx.Node) -> str:
    return g.add("Log", [g.add("Add", [g.of(n.args[0], DOUBLE), g.of(1.0, DOUBLE)])])


def _one_less(g: Graph, n: fx.Node) -> str:
    return g.add("Sub", [g.add("Exp", [g.of(n.args[0], DOUBLE)]), g.of(1.0, DOUBLE)])


def _inverse_root(g: Graph, n: fx.Node) -> str:
    return g.add("Reciprocal", [g.add("Sqrt", [g.of(n.args[0], DOUBLE)])])


def _truncated(g: Graph, n: fx.Node) -> str:
    return _towards_zero(g, g.of(n.args[0], DOUBLE))


def _unfolded(g: Graph, n: fx.Node) -> str:
    """Windows of a dimension, as a dimension behind all others."""
    given, before = arguments(n), dims_of(n.args[0])
    dim, size = _dim(n, given["dimension"]), int(given["size"])
    starts = np.arange(0, before[dim] - size + 1, int(given["step"]))
    made = g.add("Gather", [g.of(n.args[0]), g.constant(starts[:, None] + np.arange(size))], axis=dim)
    order = [d for d in range(len(before) + 1) if d != dim + 1] + [dim + 1]
    return g.add("Transpose", [made], perm=order)


def _each(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (tuple, list)) else [value]


_SAME = "clone detach alias contiguous _to_copy to convert_element_type scalar_tensor"
_RESHAPES = "view reshape _unsafe_view squeeze unsqueeze flatten unflatten alias_copy"

OPERATORS: Mapping[str, Write] = {
    **{name: _unary(kind) for name, kind in {
        "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "tanh": "Tanh", "sigmoid": "Sigmoid", "relu": "Relu",
        "reciprocal": "Reciprocal", "abs": "Abs", "neg": "Neg", "floor": "Floor", "ceil": "Ceil", "round": "Round",
        "sign": "Sign", "sin": "Sin", "cos": "Cos",
    }.items()},
    **{name: _binary(kind) for name, kind in {
        "add": "Add", "sub": "Sub", "mul": "Mul", "pow": "Pow", "maximum": "Max", "minimum": "Min",
    }.items()},
    **{name: _compared(kind) for name, kind in {
        "gt": "Greater", "ge": "GreaterOrEqual", "lt": "Less", "le": "LessOrEqual", "eq": "Equal",
    }.items()},
    "ne": _compared("Equal", negated=True),
    **{name: _logic(kind) for name, kind in {
        "logical_and": "And", "logical_or": "Or", "logical_xor": "Xor", "logical_not": "Not",
    }.items()},
    **{name: _bitwise(kind) for name, kind in {
        "bitwise_and": "And", "bitwise_or": "Or", "bitwise_xor": "Xor", "bitwise_not": "Not",
    }.items()},
    **dict.fromkeys(_SAME.split(), _same),
    **dict.fromkeys(_RESHAPES.split(), _reshaped),
    **dict.fromkeys(["permute", "transpose", "t"], _permuted),
    "expand": _expanded, "slice": _sliced, "select": _selected, "index": _indexed, "index_select": _indexed,
    "gather": _gathered, "cat": _joined, "mm": _product, "bmm": _product, "matmul": _product, "div": _floored,
    "sum": _reduced("ReduceSum"), "mean": _reduced("ReduceMean"), "amax": _reduced("ReduceMax"),
    "amin": _reduced("ReduceMin"), "prod": _reduced("ReduceProd"),
    "argmax": _where_largest("ArgMax"), "argmin": _where_largest("ArgMin"),
    "max": _extreme_of("Max"), "min": _extreme_of("Min"),
    "_softmax": _softmax("Softmax"), "_log_softmax": _softmax("LogSoftmax"), "clamp": _clamped, "where": _chosen,
    **dict.fromkeys(["full", "zeros", "ones", "full_like", "zeros_like", "ones_like"], _filled),
    "var": _variance, "topk": _most, "sort": _most, "log1p": _one_more, "expm1": _one_less, "rsqrt": _inverse_root,
    "erf": erf, "trunc": _truncated, "broadcast_in_dim": _broadcast,
    "cumsum": _summed_up, "constant_pad_nd": _padded, "flip": _reversed, "unfold": _unfolded,
    "convolution": convolution, "max_pool2d_with_indices": largest, "max_pool3d_with_indices": largest,
    "adaptive_max_pool2d": adaptive_largest, "adaptive_max_pool3d": adaptive_largest, "avg_pool1d": average,
    "avg_pool2d": average, "avg_pool3d": average, "_adaptive_avg_pool3d": average,
    "_adaptive_avg_pool2d": average, "upsample_nearest1d": average, "upsample_nearest2d": average,
    "upsample_bilinear2d": average,
    "native_layer_norm": _layer_norm, "native_group_norm": _group_norm, "var_mean": _moments,
}  # fmt: skip
"""Name of an operator of PyTorch -> what writes it."""
