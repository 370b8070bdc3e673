"""What is known of ATen operators when a sequence is unrolled: which move data, which work element by element, and over
which dimensions the others do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import fx

from ..torch_step.fxgraph import arguments
from ..torch_step.windows import POOLS

Shift = Callable[[tuple[Any, ...], tuple[tuple[str, Any], ...], Sequence[int], int], Any]
"""From arguments, keywords, the dimensions that stay, in order, and how many there were, to arguments and keywords of
what has one dimension in front of these."""


def _aten(*names: str) -> frozenset[str]:
    return frozenset(f"aten.{name}" for names_ in names for name in names_.split())


SAME = _aten(
    "clone detach alias contiguous lift_fresh lift_fresh_copy lift _to_copy to dropout feature_dropout alpha_dropout "
    "float double type_as requires_grad_ positive native_dropout _conj resolve_conj"
)
"""Give their first argument (dropout lets all pass in evaluation mode)."""

CASTS = _aten("to _to_copy")
"""To another type, which may change what they hold."""

SAME_IN_PLACE = _aten("detach_ dropout_ requires_grad_ feature_dropout_ alpha_dropout_")

MAY_SHARE = _aten("reshape flatten contiguous to unflatten squeeze unsqueeze movedim swapaxes ravel view_as expand_as")
"""May return a view of their first argument, though their schema does not say so."""

_MOVES = _aten(
    "view reshape _unsafe_view flatten unflatten squeeze unsqueeze permute transpose t movedim moveaxis swapaxes "
    "swapdims numpy_T mT T select slice narrow stack cat concat concatenate hstack vstack dstack column_stack expand "
    "expand_as view_as reshape_as repeat tile repeat_interleave split split_with_sizes chunk tensor_split unbind "
    "unsafe_split unsafe_chunk index index_select gather take take_along_dim flip fliplr flipud roll rot90 diagonal "
    "unfold ravel atleast_1d atleast_2d atleast_3d broadcast_to channel_shuffle select_copy slice_copy as_strided "
    "hsplit vsplit dsplit unsqueeze_copy"
)

BY_INDEX = _aten("index index_select gather take take_along_dim")
"""Move what they are told to; where that depends on the input, they compute."""

CONSTANT = _aten("zeros_like ones_like full_like empty_like new_zeros new_ones new_full new_empty new_empty_strided")
"""Take only the shape of what they are given."""

EMPTY = _aten("empty empty_like new_empty empty_strided new_empty_strided")

ELEMENTWISE = _aten(
    "add sub rsub subtract mul multiply div divide true_divide neg negative abs absolute relu relu6 sigmoid tanh exp "
    "exp2 expm1 log log2 log1p sqrt rsqrt square reciprocal pow clamp clamp_min clamp_max clip maximum minimum where "
    "gt lt ge le eq ne greater less greater_equal less_equal heaviside sign floor ceil round trunc frac logical_and "
    "logical_or logical_not logical_xor bitwise_and bitwise_or bitwise_not bitwise_xor erf erfc gelu silu mish "
    "leaky_relu elu selu celu softplus hardtanh hardsigmoid hardswish log_sigmoid softsign tanhshrink threshold "
    "addcmul addcdiv lerp nan_to_num sin cos tan atan asin acos atan2 fmod remainder bool int long half bfloat16 "
    "masked_fill __and__ __or__ __xor__ not_equal isnan isfinite "
    "bernoulli poisson normal rand_like randn_like sgn xlogy float_power sinh cosh"
)

NEUTRAL: Mapping[str, tuple[tuple[int, float], ...]] = {
    "aten.add": ((0, 0), (1, 0)), "aten.sub": ((1, 0),), "aten.mul": ((0, 1), (1, 1)), "aten.div": ((1, 1),),
}  # fmt: skip
"""Argument and number with which an operator gives its other argument."""

REDUCTIONS = _aten(
    "sum mean amax amin max min prod logsumexp any all argmax argmin std var median nansum norm linalg_vector_norm"
)
"""Over the dimensions that they are given, or all."""

JOINS: Mapping[str, str] = {
    "aten.sum": "sum", "aten.mean": "mean", "aten.amax": "max", "aten.amin": "min", "aten.max": "max",
    "aten.min": "min", "aten.any": "max", "aten.all": "min",
}  # fmt: skip
"""Reductions over time that a read-out can hold."""

WITH_INDICES = _aten("max min median")

EXTREMES: Mapping[str, Any] = {
    "aten.max": torch.ops.aten.amax.default, "aten.min": torch.ops.aten.amin.default,
    "aten.any": torch.ops.aten.amax.default, "aten.all": torch.ops.aten.amin.default,
}  # fmt: skip
"""Reductions over features as those that take several dimensions and give values alone."""

CASTS = _aten("to _to_copy")
"""To another type; elementwise where the values may change (`moves`)."""

_LAST_ONE = _aten("linear matmul mm addmm")

PRODUCTS = _aten("matmul mm bmm mv")
"""Products of matrices."""


_OF_TWO: Mapping[Any, str] = {torch.ops.aten.max.other: "aten.maximum", torch.ops.aten.min.other: "aten.minimum"}
"""``torch.max(a, b)`` is no reduction."""


def packet(node: fx.Node) -> str:
    """Name of an operator without its overload."""
    if node.target in _OF_TWO:
        return _OF_TWO[node.target]
    return str(node.target).rpartition(".")[0] if isinstance(node.target, torch._ops.OpOverload) else str(node.target)


def writes(node: fx.Node) -> bool:
    """Whether an operator writes into its first argument."""
    name = packet(node)
    return name.endswith("_") and not name.endswith("__")


def moves(node: fx.Node) -> bool:
    """Whether an operator only moves data; to another type too, unless what it holds may change, or is no number."""
    name = packet(node)
    if name in CASTS:
        values = [one.meta.get("val") for one in (node, node.args[0]) if isinstance(one, fx.Node)]
        return all(value is None or value.dtype in (torch.float32, torch.float64) for value in values)
    if name in ("aten.where",):
        return False
    return name in _MOVES or name in SAME


def dims_of(given: Mapping[str, Any], rank: int) -> list[int]:
    """The dimensions of a reduction."""
    dim = given.get("dim")
    if dim is None or dim == []:
        return list(range(rank))
    return sorted({int(d) % rank for d in (dim if isinstance(dim, (tuple, list)) else [dim])})


def reduction(node: fx.Node, value: Any, dims: tuple[int, ...]) -> tuple[Any, tuple[Any, ...], Any]:
    """A reduction of a value over dimensions that it keeps with length 1: operator, arguments, keywords."""
    name, target = packet(node), node.target
    if name in EXTREMES:
        return EXTREMES[name], (value, dims), (("keepdim", True),)
    if name in _OVER_ALL:
        given = arguments(node)
        more: tuple[tuple[str, Any], ...] = ()
        if name in ("aten.var", "aten.std"):
            unbiased = given.get("unbiased", True)
            more = (("correction", given.get("correction", 1 if unbiased else 0)),)
        return _OVER_ALL[name], (value, dims), (*more, ("keepdim", True))
    names = [one.name for one in target._schema.arguments]  # type: ignore[union-attr]
    if "dim" not in names:
        return target, (value, dims), (("keepdim", True),)
    given = arguments(node)
    one = dims[0] if len(dims) == 1 and not isinstance(given.get("dim"), (tuple, list)) else dims
    known = {"dim": one, "keepdim": True}
    args = tuple(known.get(key, given.get(key)) for key in names[1 : names.index("dim") + 1])
    rest = [key for key in names[names.index("dim") + 1 :] if key in given and key != "dtype"]
    return target, (value, *args), tuple((key, known.get(key, given[key])) for key in rest)


_OVER_ALL: Mapping[str, Any] = {
    "aten.sum": torch.ops.aten.sum.dim_IntList, "aten.mean": torch.ops.aten.mean.dim,
    "aten.var": torch.ops.aten.var.correction, "aten.std": torch.ops.aten.std.correction,
}  # fmt: skip
"""Reductions that have an overload over several dimensions."""


def _kept(args: tuple[Any, ...], named: tuple[tuple[str, Any], ...], _dims: Sequence[int], _rank: int) -> Any:
    return args, named


def _dim_moved(args: tuple[Any, ...], named: tuple[tuple[str, Any], ...], kept: Sequence[int], rank: int) -> Any:
    """``dim`` of an operator, second argument, counted in ``[batch, *features]``."""
    return (args[0], 1 + kept.index(int(args[1]) % rank), *args[2:]), named


def _glu_moved(args: tuple[Any, ...], named: tuple[tuple[str, Any], ...], kept: Sequence[int], rank: int) -> Any:
    dim = int(args[1]) if len(args) > 1 else int(dict(named).get("dim", -1))
    return (args[0], 1 + kept.index(dim % rank)), ()


def needs(node: fx.Node, rank: int, signals: Collection[fx.Node]) -> tuple[Sequence[int], Shift]:
    """The dimensions over which an operator works, of a tensor of ``rank`` dimensions; and how its arguments change
    when all others become one.

    Args:
        signals: the arguments that depend on the input.
    """
    name = packet(node)
    if name in PRODUCTS and node.args and node.args[0] not in signals:
        return list(range(max(rank - 2, 0), rank)), _kept
    if name in _LAST_ONE:
        return [rank - 1], _kept
    if name == "aten.one_hot":
        return [], _kept
    if name == "aten.glu":
        return [int(arguments(node)["dim"]) % rank], _glu_moved
    if name in ("aten.softmax", "aten.log_softmax", "aten._softmax", "aten._log_softmax", "aten.cumsum"):
        softmax: Any = node.args[1]
        return [int(softmax) % rank], _dim_moved
    if name in POOLS:
        return list(range(rank - int(name.partition("pool")[2][0]), rank)), _kept
    if name in ("aten.layer_norm", "aten.rms_norm"):
        return list(range(rank - len(node.args[1]), rank)), _kept  # type: ignore[arg-type]
    if name in ("aten.batch_norm", "aten.instance_norm"):
        return [1], _kept
    if isinstance(dim := arguments(node).get("dim"), int):  # cummax, sort, topk ...
        place = [one.name for one in node.target._schema.arguments].index("dim")  # type: ignore[union-attr]
        return [dim % rank], lambda args, named, kept, _: _put_dim(args, named, place, 1 + kept.index(dim % rank))
    return list(range(1, rank)), _kept


def without_batch(node: fx.Node, rank: int) -> bool:
    """Whether a convolution takes a tensor of ``rank`` dimensions as a sample alone."""
    name = packet(node)
    places = [int(letter) for letter in name if letter.isdigit()]
    return name.startswith("aten.conv") and len(places) == 1 and rank == places[0] + 1


def _put_dim(args: tuple[Any, ...], named: tuple[tuple[str, Any], ...], place: int, dim: int) -> Any:
    """Arguments with another ``dim``, which is at a place, or named."""
    if place < len(args):
        return (*args[:place], dim, *args[place + 1 :]), named
    return args, (*((key, value) for key, value in named if key != "dim"), ("dim", dim))


def functional(node: fx.Node) -> Any:
    """The operator that computes what one that writes does."""
    target: Any = node.target
    plain = getattr(torch.ops.aten, packet(node).partition(".")[2][:-1])
    return getattr(plain, target._overloadname)


def with_parts(
    node: fx.Node, parts: Mapping[fx.Node, Any], constant: Callable[[fx.Node], Any] | None = None
) -> tuple[tuple[Any, ...], tuple[tuple[str, Any], ...]]:
    """An operator's arguments with terms and constants in the place of nodes."""

    def value(other: Any) -> Any:
        if isinstance(other, fx.Node):
            return parts[other] if other in parts or constant is None else constant(other)
        if isinstance(other, (tuple, list)):
            return tuple(map(value, other))
        return other

    return tuple(map(value, node.args)), tuple((key, value(item)) for key, item in node.kwargs.items())
