"""ONNX operators that are fixed affine maps, as matrices: ``y = sum_k W_k x_k + b`` on flattened samples.

- What only moves values (Concat, Slice, Transpose, Pad, ...) is read off: ONNX's own reference moves the numbers of the
  values, ``1, 2, ...``, and a 0 that comes out is a constant's place.
- What weighs each axis by itself (Resize, AveragePool, means) is the Kronecker product of one small matrix an axis.
- Convolutions that NIR has no node for (transposed, along one axis) take the matrix of `Conv2d`, or its transpose.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from onnx import NodeProto
from scipy import sparse

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.arrays import Array
from neurodeploy.network.connectivity import Conv2d

from . import onnx_values

Matrix = Any
"""scipy's ``csr_matrix`` ``[outputs, inputs]``."""

AMBIGUOUS = 1e-4
"""A coordinate so near to where its neighbour changes may fall on either side of it in 32 bits."""


@dataclass(frozen=True, eq=False)
class Mapped:
    """One output of an operator: its shape with the batch, a matrix for each input (None for constants), the rest."""

    shape: tuple[int, ...]
    matrices: tuple[Matrix | None, ...]
    bias: Array


@dataclass(frozen=True, eq=False)
class Call:
    """An operator as it is called.

    Args:
        given: constants, None for results of layers and for inputs left out.
        shapes: of each input that is the result of a layer, with the batch; None for the others.
        versions: opset imports of the model.
    """

    node: NodeProto
    given: Sequence[Array | None]
    shapes: Sequence[tuple[int, ...] | None]
    attributes: Mapping[str, Any]
    versions: Any

    def number(self, index: int) -> Array | None:
        return self.given[index] if index < len(self.given) else None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the first input, which is the result of a layer."""
        found = self.shapes[0]
        if found is None:
            raise UnsupportedError("a constant in the place of the input", allowed="the result of a layer")
        return found


def moved(call: Call) -> list[Mapped]:
    """What only moves values."""
    operands = range(len(call.given)) if call.node.op_type == "Concat" else (0, 2) if call.node.op_type == "Pad" else ()
    limited(_most(call))
    first, sizes = 1, []
    numbered: list[Array | None] = []
    still: list[Array | None] = []
    for index, (constant, shape) in enumerate(zip(call.given, call.shapes, strict=True)):
        if shape is not None:
            size = math.prod(shape)
            numbered.append(np.arange(first, first + size, dtype=np.float64).reshape(shape))
            still.append(np.zeros(shape))
            sizes.append((first, math.prod(shape[1:])))
            first += size
            continue
        sizes.append((0, 0))
        own = constant is not None and index in operands
        numbered.append(np.zeros_like(constant, np.float64) if own else constant)
        still.append(np.asarray(constant, np.float64) if own else constant)
    outputs = onnx_values.outcomes(call.node, numbered, call.versions)
    rest = onnx_values.outcomes(call.node, still, call.versions)
    return [_read_off(found, other, call, sizes) for found, other in zip(outputs, rest, strict=True)]


def _most(call: Call) -> float:
    """A bound of the values that come out."""
    size = float(sum(math.prod(shape) for shape in call.shapes if shape is not None))
    size += sum(float(np.size(constant)) for constant in call.given if constant is not None)
    number = call.number(1)
    if number is None and call.node.op_type == "Pad":
        number = np.array(call.attributes.get("pads", (0,)))
    if number is None or not np.size(number):
        return size
    match call.node.op_type:
        case "Pad":
            return float(np.prod([n + np.abs(number.astype(float)).max() * 2 for n in call.shape]))
        case "Expand" | "Tile":
            return size * float(np.prod(np.maximum(np.abs(number.astype(float)), 1)))
        case "Gather":
            return size * number.size
        case _:
            return size


def _read_off(found: Array, rest: Array, call: Call, sizes: list[tuple[int, int]]) -> Mapped:
    batch = next(shape[0] for shape in call.shapes if shape is not None)
    numbers = np.rint(found).astype(np.int64)
    if numbers.ndim < 1 or numbers.shape[0] != batch:
        raise UnsupportedError(
            "an operator that mixes the samples of a batch", found=f"a result of shape {list(numbers.shape)}",
            allowed="[batch, ...], each sample by itself",
        )  # fmt: skip
    numbers, matrices = numbers.reshape(batch, -1), []
    for begin, size in sizes:
        own = (numbers[0] >= begin) & (numbers[0] < begin + size) if size else np.zeros(numbers.shape[1], bool)
        for sample in range(1, batch):
            shifted = np.where(own, numbers[0] + sample * size, 0)
            mine = (numbers[sample] >= begin) & (numbers[sample] < begin + batch * size)
            if size and (np.where(mine, numbers[sample], 0) != shifted).any():
                raise UnsupportedError("an operator that mixes the samples of a batch", allowed="each by itself")
        rows = np.flatnonzero(own)
        entries = (np.ones(len(rows)), (rows, numbers[0][rows] - begin))
        matrices.append(sparse.csr_matrix(entries, shape=(numbers.shape[1], size)) if size else None)
    taken = sum((np.asarray(m.sum(axis=1)).ravel() for m in matrices if m is not None), np.zeros(numbers.shape[1]))
    if (taken != (numbers[0] != 0)).any():
        raise UnsupportedError("an operator that mixes the samples of a batch", allowed="each by itself")
    bias = np.broadcast_to(np.asarray(rest, np.float64).reshape(rest.shape[0], -1)[0], numbers[0].shape)
    return Mapped(found.shape, tuple(matrices), bias.copy())


def same(weight: Matrix) -> bool:
    """Whether a matrix leaves all values as they are."""
    return bool(weight.shape[0] == weight.shape[1] == weight.nnz and (weight - sparse.identity(weight.nnz)).nnz == 0)


def edged(shape: tuple[int, ...], pads: tuple[int, int, int, int]) -> tuple[Matrix, tuple[int, ...]]:
    """Zeros around an image: the matrix, and the shape behind it."""
    top, left, bottom, right = pads
    padded = np.pad(np.arange(1, math.prod(shape) + 1).reshape(shape), ((0, 0), (top, bottom), (left, right)))
    rows = np.flatnonzero(padded)
    entries = (np.ones(len(rows)), (rows, padded.ravel()[rows] - 1))
    return sparse.csr_matrix(entries, shape=(padded.size, math.prod(shape))), padded.shape


def limited(count: float) -> None:
    """Refuse what a file asks for before it is made."""
    if count > onnx_values.LARGEST:
        raise UnsupportedError(f"{count:,.0f} values or synapses", allowed=f"{onnx_values.LARGEST:,}")


def _axes(call: Call, each: Mapping[int, Array], keep: bool = True) -> list[Mapped]:
    """Weights ``[out, in]`` of some axes of the input, the others left as they are."""
    shape = call.shape
    limited(math.prod(int(np.count_nonzero(each[axis])) if axis in each else n for axis, n in enumerate(shape) if axis))
    if any(axis == 0 and (weights.shape[0] != shape[0] or (weights != np.eye(shape[0])).any())
           for axis, weights in each.items()):  # fmt: skip
        raise UnsupportedError("an operator that mixes the samples of a batch", allowed="each by itself")
    parts = [sparse.csr_matrix(each[axis]) if axis in each else sparse.identity(n) for axis, n in enumerate(shape)][1:]
    matrix = sparse.csr_matrix(reduce(lambda a, b: sparse.kron(a, b, format="csr"), parts))
    after = [n if axis not in each else len(each[axis]) for axis, n in enumerate(shape)]
    if not keep:
        after = [n for axis, n in enumerate(after) if axis not in each]
    none = [None] * (len(call.given) - 1)
    return [Mapped(tuple(after), (matrix, *none), np.zeros(matrix.shape[0]))]


def resized(call: Call) -> list[Mapped]:
    """Resize and the older Upsample: nearest neighbours and linear interpolation."""
    said = {"mode": b"nearest", "nearest_mode": b"round_prefer_floor", "coordinate_transformation_mode": b"half_pixel"}
    old = call.node.op_type == "Upsample" or len(call.given) == 2
    if old:
        said |= {"nearest_mode": b"floor", "coordinate_transformation_mode": b"asymmetric"}
    said |= call.attributes
    texts = {name: value.decode() for name, value in said.items() if isinstance(value, bytes)}
    mode, coordinates = texts["mode"], texts["coordinate_transformation_mode"]
    if mode not in ("nearest", "linear", "bilinear") or call.attributes.get("antialias", 0):
        raise UnsupportedError(f"resizing in mode {mode!r}", allowed="nearest or linear, without antialias",
                               hint="resize by nearest neighbours or bilinearly (torch.nn.Upsample)")  # fmt: skip
    if texts.get("keep_aspect_ratio_policy", "stretch") != "stretch" or coordinates == "tf_crop_and_resize":
        raise UnsupportedError(f"resizing with {coordinates}", allowed="sizes or scales of their own for each axis")
    shape, rank = call.shape, len(call.shape)
    axes = [int(axis) % rank for axis in call.attributes.get("axes", range(rank))]
    scales = call.number(1 if old else 2)
    scales = np.asarray(call.attributes["scales"], float) if scales is None and "scales" in call.attributes else scales
    wanted = call.number(3)
    if wanted is not None:
        sizes = [int(n) for n in np.ravel(wanted)]
        factors = [size / shape[axis] for size, axis in zip(sizes, axes, strict=True)]
    elif scales is not None and np.size(scales):
        factors = [float(factor) for factor in np.ravel(scales)]
        sizes = [math.floor(shape[axis] * factor) for axis, factor in zip(axes, factors, strict=True)]
    else:
        raise UnsupportedError("resizing by a size computed from the input", allowed="constant scales or sizes")
    each = {}
    for axis, factor, size in zip(axes, factors, sizes, strict=True):
        if size != shape[axis] or factor != 1:
            limited(math.prod(sizes) * shape[axis])
            if size < 1 or not 0 < factor < float("inf"):
                raise UnsupportedError(f"resizing {shape[axis]} to {size}", allowed="1 value or more")
            at, exact = _coordinates(shape[axis], size, factor, coordinates)
            each[axis] = (
                _nearest(at, shape[axis], texts["nearest_mode"], exact)
                if mode == "nearest"
                else _linear(at, shape[axis])
            )
    return _axes(call, each)


def _coordinates(before: int, after: int, factor: float, mode: str) -> tuple[Array, bool]:
    """Where each new position lies among the old ones (ONNX, Resize), and whether 32 bits hold that exactly."""
    at = np.arange(after, dtype=np.float64)
    if mode == "align_corners":
        return at * ((before - 1) / (after - 1) if after > 1 else 0.0), False
    if mode == "asymmetric":
        return at / factor, factor == int(factor)
    if mode == "pytorch_half_pixel" and after == 1:
        return np.zeros(1), True
    if mode in ("half_pixel", "pytorch_half_pixel") or (mode == "half_pixel_symmetric" and after == before * factor):
        return (at + 0.5) / factor - 0.5, False
    raise UnsupportedError(f"resizing with the coordinates {mode!r}",
                           allowed="half_pixel, pytorch_half_pixel, align_corners, asymmetric")  # fmt: skip


def _nearest(at: Array, before: int, mode: str, exact: bool) -> Array:
    edge = 0.5 if mode.startswith("round") else 0.0
    inside = (at > 0) & (at < before - 1)
    near = np.abs(at - edge - np.rint(at - edge)) < AMBIGUOUS
    if not exact and (near & inside).any():
        raise UnsupportedError(
            "resizing where a new pixel lies on the border between two old ones",
            found=f"{before} to {len(at)} values, {mode}",
            allowed="whole factors by torch.nn.Upsample(mode='nearest')",
            hint="resize by a whole factor, or bilinearly",
        )
    rounded = {
        "floor": np.floor(at), "ceil": np.ceil(at), "round_prefer_floor": np.ceil(at - 0.5),
        "round_prefer_ceil": np.floor(at + 0.5),
    }  # fmt: skip
    if mode not in rounded:
        raise UnsupportedError(f"resizing with nearest_mode {mode!r}", allowed=", ".join(rounded))
    weights = np.zeros((len(at), before))
    weights[np.arange(len(at)), np.clip(rounded[mode], 0, before - 1).astype(np.int64)] = 1
    return weights


def _linear(at: Array, before: int) -> Array:
    at = np.clip(at, 0, before - 1)
    low = np.floor(at).astype(np.int64)
    high = np.minimum(low + 1, before - 1)
    weights = np.zeros((len(at), before))
    np.add.at(weights, (np.arange(len(at)), low), 1 - (at - low))
    np.add.at(weights, (np.arange(len(at)), high), at - low)
    return weights


def averaged(call: Call) -> list[Mapped]:
    """AveragePool, whatever its padding counts and wherever its last window ends."""
    shape, of = call.shape, call.attributes
    axes = len(shape) - 2
    window = [int(n) for n in of["kernel_shape"]]
    stride, dilation = ([int(n) for n in of.get(key, [1] * axes)] for key in ("strides", "dilations"))
    pads = [int(n) for n in of.get("pads", [0] * 2 * axes)]
    auto = of.get("auto_pad", b"NOTSET").decode()
    if not len(window) == len(stride) == len(dilation) == len(pads) / 2 == axes or min(*window, *stride, *dilation) < 1:
        raise UnsupportedError("pooling of other axes than the sample has", found=window, allowed=f"{axes} numbers")
    each = {}
    for a in range(axes):
        span, size = dilation[a] * (window[a] - 1) + 1, shape[2 + a]
        before, after = pads[a], pads[axes + a]
        if auto.startswith("SAME"):
            total = max((-(-size // stride[a]) - 1) * stride[a] + span - size, 0)
            before, after = (
                (total // 2, total - total // 2) if auto == "SAME_UPPER" else (total - total // 2, total // 2)
            )
        each[2 + a] = _windows(size, (before, after), span, stride[a], dilation[a], of)
    return _axes(call, each)


def _windows(size: int, pads: tuple[int, int], span: int, stride: int, dilation: int, of: Mapping[str, Any]) -> Array:
    room = size + sum(pads) - span
    if room < 0 or min(pads) < 0 or max(pads) > size + span:
        raise UnsupportedError(
            "a pooling window that is larger than its input", found=f"{span} on {size} + {sum(pads)}"
        )
    limited((room // stride + 2) * max(size, span))
    count = room // stride + 1
    if of.get("ceil_mode", 0) and room % stride and count * stride < size + pads[0]:
        count += 1  # only where the window begins inside the input or the padding in front, as torch has it
    weights = np.zeros((count, size))
    for row in range(count):
        taps = np.arange(row * stride - pads[0], row * stride - pads[0] + span, dilation)
        inside = taps[(taps >= 0) & (taps < size)]
        counted = (taps < size + pads[1]).sum() if of.get("count_include_pad", 0) else len(inside)
        if counted:
            weights[row, inside] = 1 / counted
    return weights


def reduced(call: Call) -> list[Mapped]:
    """Means and sums over some axes."""
    shape, rank = call.shape, len(call.shape)
    given = call.number(1)
    axes = [int(axis) % rank for axis in np.ravel(call.attributes.get("axes", ()) if given is None else given)]
    if not axes:
        axes = [] if call.attributes.get("noop_with_empty_axes", 0) else list(range(rank))
    if call.node.op_type == "GlobalAveragePool":
        axes = list(range(2, rank))
        if rank < 3:
            raise UnsupportedError("pooling that is not over an image", found=list(shape))
    mean = call.node.op_type != "ReduceSum"
    each = {axis: np.full((1, shape[axis]), 1 / shape[axis] if mean else 1.0) for axis in axes}
    if 0 in each and (shape[0] != 1 or not call.attributes.get("keepdims", 1)):
        raise UnsupportedError("a mean or sum over the samples of a batch", allowed="over other axes")
    keep = bool(call.attributes.get("keepdims", 1)) or call.node.op_type == "GlobalAveragePool"
    return _axes(call, {axis: w for axis, w in each.items() if axis}, keep)


def multiplied(call: Call) -> list[Mapped]:
    """A product with a constant matrix from the right (a linear layer at each position), or from the left."""
    right = call.shapes[0] is not None
    weight, shape = call.given[1 if right else 0], call.shapes[0 if right else 1]
    if weight is None or shape is None:
        raise UnsupportedError("a product of two results", allowed="a constant matrix")
    weight = np.asarray(weight, np.float64)
    axis = len(shape) - (1 if right else 2)
    if weight.ndim != 2 or axis < 1:
        raise UnsupportedError("a product with a constant of this shape", found=list(weight.shape), allowed="a matrix")
    if weight.shape[0 if right else 1] != shape[axis]:
        raise UnsupportedError(
            f"a product of {list(shape)} with a matrix of {list(weight.shape)}", allowed=f"a side of {shape[axis]}"
        )
    turned = Call(call.node, [None, weight], [shape, None], call.attributes, call.versions)
    (mapped,) = _axes(turned, {axis: weight.T if right else weight})
    return [Mapped(mapped.shape, mapped.matrices if right else mapped.matrices[::-1], mapped.bias)]


def convolved(call: Call) -> list[Mapped]:
    """A transposed convolution, or one along a single axis."""
    shape, of, weight = call.shape, call.attributes, call.number(1)
    if weight is None or len(shape) not in (3, 4):
        raise UnsupportedError(
            "a convolution of this shape", found=list(shape), allowed="one or two axes, constant weights"
        )
    axes, backwards = len(shape) - 2, call.node.op_type == "ConvTranspose"
    weight = np.asarray(weight, np.float64).reshape(*weight.shape[:2], *([1] * (2 - axes)), *weight.shape[2:])
    image = (*shape[1:2], *([1] * (2 - axes)), *shape[2:])
    stride, dilation = (_two(of.get(key), axes, 1) for key in ("strides", "dilations"))
    pads = [int(n) for n in of.get("pads", [0] * 2 * axes)]
    uneven = pads[:axes] != pads[axes:]
    if (uneven and backwards) or of.get("auto_pad", b"NOTSET") != b"NOTSET" or of.get("output_shape"):
        raise UnsupportedError("a convolution whose padding is computed, or uneven and transposed", found=pads)
    padding, more = _two(pads[:axes], axes, 0), _two(of.get("output_padding"), axes, 0)
    groups = int(of.get("group", 1))
    channels = weight.shape[0] if backwards else weight.shape[1] * groups
    if groups < 1 or channels != image[0] or min(*stride, *dilation) < 1 or min(*padding, *more) < 0:
        raise UnsupportedError(
            "a convolution that does not fit its input", found=f"{channels} channels", allowed=image[0]
        )
    room = [(image[1 + a] - 1) * stride[a] + more[a] + dilation[a] * weight.shape[2 + a] + padding[a] for a in (0, 1)]
    limited(math.prod(map(float, room)) * weight.size)
    if backwards:
        size = [stride[a] * (image[1 + a] - 1) + more[a] + dilation[a] * (weight.shape[2 + a] - 1) + 1 - 2 * padding[a]
                for a in (0, 1)]  # fmt: skip
        kind = Conv2d(weight, (weight.shape[1] * groups, size[0], size[1]), stride, padding, dilation, groups)
        matrix, after = sparse.csr_matrix(kind.to_csr()), (kind.input_shape[0], size[0], size[1])
        if kind.output_shape != image:
            raise UnsupportedError(
                "a transposed convolution of this size", found=list(image), allowed=list(kind.output_shape)
            )
    else:
        around = (0, pads[0], 0, pads[1]) if axes == 1 else (pads[0], pads[1], pads[2], pads[3])
        room = [(n + around[a] + around[2 + a]) for a, n in enumerate(image[1:])]
        kind = Conv2d(weight, (image[0], room[0], room[1]), stride, (0, 0), dilation, groups)
        matrix, after = sparse.csr_matrix(kind.to_csr().T @ edged(image, around)[0]), kind.output_shape
    bias = call.number(2)
    offset = np.zeros(after[0]) if bias is None else np.asarray(bias, np.float64)
    none = [None] * (len(call.given) - 1)
    wide = np.repeat(offset, math.prod(after[1:]))
    return [Mapped((shape[0], after[0], *after[3 - axes :]), (sparse.csr_matrix(matrix), *none), wide)]


def _two(values: Any, axes: int, default: int) -> tuple[int, int]:
    found = [default] * axes if values is None else [int(n) for n in values]
    return (found[0], found[1]) if axes == 2 else (default, found[0])


MAPS: Mapping[str, Callable[[Call], list[Mapped]]] = {
    "AveragePool": averaged,
    "Conv": convolved,
    "ConvTranspose": convolved,
    "GlobalAveragePool": reduced,
    "MatMul": multiplied,
    "ReduceMean": reduced,
    "ReduceSum": reduced,
    "Resize": resized,
    "Upsample": resized,
    **dict.fromkeys(
        ("Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Pad", "Reshape", "Slice", "SpaceToDepth", "Split",
         "Squeeze", "Tile", "Transpose", "Unsqueeze"),
        moved,
    ),
}  # fmt: skip
"""Operator -> its matrices."""
