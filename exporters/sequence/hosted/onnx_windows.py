"""Convolutions and pools of a host: windows are gathered by their places, since onnxruntime has none in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import fx

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.arrays import Array

from ...torch_step.fxgraph import arguments
from .onnx_graph import SAMPLES, Graph, dims_of

DOUBLE = torch.float64


def _each(value: Any, rank: int) -> tuple[int, ...]:
    """A number for each of so many dimensions."""
    values = [int(v) for v in (value if isinstance(value, (tuple, list)) else [value])]
    return tuple(values * rank) if len(values) == 1 else tuple(values)


def _places(shape: Sequence[int], kernel: Sequence[int], stride: Any, padding: Any, dilation: Any) -> Array:
    """Places in the flattened input, ``[channels, kernel, positions]``; -1 for the border.

    Args:
        shape: ``[channels, *plane]``, of any number of dimensions.
    """
    numbered = np.arange(math.prod(shape)).reshape(shape)
    wide = np.pad(numbered, [(0, 0), *((p, p) for p in padding)], constant_values=-1)
    return _windows(wide, kernel, stride, dilation)


def _windows(wide: Array, kernel: Sequence[int], stride: Any, dilation: Any) -> Array:
    found = wide
    for d, (size, step, apart) in enumerate(zip(kernel, stride, dilation, strict=True)):
        starts = np.arange(0, wide.shape[1 + d] - apart * (size - 1), step)
        found = np.take(found, starts[:, None] + apart * np.arange(size), axis=1 + 2 * d)
    rank = len(kernel)
    order = [0, *(2 + 2 * d for d in range(rank)), *(1 + 2 * d for d in range(rank))]
    return found.transpose(order).reshape(len(wide), math.prod(kernel), -1)


def _gathered(g: Graph, value: str, places: Array, size: int, border: float) -> str:
    """Windows ``[batch, *places]`` of a value; ``border`` stands beyond it."""
    flat = g.add("Reshape", [value, g.constant(np.array([-1, size], np.int64))])
    if (places < 0).any():
        pads = g.constant(np.array([0, 0, 0, 1], np.int64))
        flat = g.add("Pad", [flat, pads, g.constant(np.array(border))])
    return g.add("Gather", [flat, g.constant(np.where(places < 0, size, places))], axis=1)


def convolution(g: Graph, n: fx.Node) -> str:
    """A convolution as a product of matrices."""
    given, before, after = arguments(n), dims_of(n.args[0]), dims_of(n)
    if before[0] % SAMPLES:
        raise UnsupportedError("a convolution of this shape", found=list(before[1:]), allowed="for each sample")
    weight, rank, groups = given["weight"], len(before) - 2, int(given["groups"])
    kernel = dims_of(weight)[2:]
    stride, padding, dilation = (_each(given[name], rank) for name in ("stride", "padding", "dilation"))
    if given["transposed"]:
        more = _each(given["output_padding"], rank)
        places = _transposed(before[1:], kernel, stride, padding, dilation, more)
    else:
        places = _places(before[1:], kernel, stride, padding, dilation)
    each = before[1] // groups * math.prod(kernel)
    windows = _gathered(g, g.of(n.args[0], DOUBLE), places.reshape(groups, each, -1), math.prod(before[1:]), 0.0)
    made = g.add("MatMul", [_weights(g, weight, groups, each, given["transposed"]), windows])
    made = g.add("Reshape", [made, g.shape(after)])
    if given["bias"] is None:
        return made
    bias = g.add("Reshape", [g.of(given["bias"], DOUBLE), g.constant(np.array([after[1], *([1] * rank)], np.int64))])
    return g.add("Add", [made, bias])


def _weights(g: Graph, weight: fx.Node, groups: int, each: int, transposed: bool) -> str:
    """The weights as matrices ``[groups, outputs, each]``; those of a transposed convolution begin with its inputs."""
    dims, value = dims_of(weight), g.of(weight, DOUBLE)
    if transposed:
        kernel = math.prod(dims[2:])
        split = [groups, dims[0] // groups, dims[1], kernel]
        value = g.add("Reshape", [value, g.constant(np.array(split, np.int64))])
        value = g.add("Gather", [value, g.constant(np.arange(kernel)[::-1].copy())], axis=3)
        value = g.add("Transpose", [value], perm=[0, 2, 1, 3])
    return g.add("Reshape", [value, g.constant(np.array([groups, -1, each], np.int64))])


def _transposed(
    shape: Sequence[int], kernel: Sequence[int], stride: Any, padding: Any, dilation: Any, more: Any
) -> Array:
    """As `_places` of a transposed convolution: windows over the input with zeros between, the kernel reversed."""
    size = [(n - 1) * s + 1 for n, s in zip(shape[1:], stride, strict=True)]
    spread = np.full((shape[0], *size), -1)
    spread[(slice(None), *(slice(None, None, s) for s in stride))] = np.arange(math.prod(shape)).reshape(shape)
    rim = [(d * (k - 1) - p, d * (k - 1) - p + o) for d, k, p, o in zip(dilation, kernel, padding, more, strict=True)]
    cropped = spread[(slice(None), *(slice(max(-a, 0), None if b >= 0 else b) for a, b in rim))]
    wide = np.pad(cropped, [(0, 0), *((max(a, 0), max(b, 0)) for a, b in rim)], constant_values=-1)
    return _windows(wide, kernel, [1] * len(kernel), dilation)


def _planes(n: fx.Node) -> tuple[int, ...]:
    """``[channels, *plane]`` of what is pooled; PyTorch takes what has no channels, too."""
    before, rank = dims_of(n.args[0]), int(str(n.target).partition("pool")[2][0])
    if before[0] % SAMPLES:
        raise UnsupportedError("pooling of this shape", found=list(before), allowed="of each sample")
    return (math.prod(before[1:-rank]), *before[-rank:])


def largest(g: Graph, n: fx.Node) -> tuple[str, str]:
    """Max pooling; its places are not given."""
    given, shape = arguments(n), _planes(n)
    rank = len(shape) - 1
    kernel = _each(given["kernel_size"], rank)
    if given["ceil_mode"]:
        raise UnsupportedError("max pooling of the host with ceil_mode", allowed="without")
    places = _places(shape, kernel, _each(given["stride"] or kernel, rank), _each(given["padding"], rank),
                     _each(given["dilation"], rank))  # fmt: skip
    return _most(g, n, places), ""


def adaptive_largest(g: Graph, n: fx.Node) -> tuple[str, str]:
    """Adaptive max pooling: regions from ``floor(i n / m)`` to ``ceil((i + 1) n / m)``."""
    shape = _planes(n)
    out = dims_of_first(n)[-(len(shape) - 1) :]
    numbered = np.arange(math.prod(shape)).reshape(shape)
    cells = []
    for place in np.ndindex(*out):
        region = tuple(slice(i * a // b, -(-(i + 1) * a // b)) for i, a, b in zip(place, shape[1:], out, strict=True))
        cells.append(numbered[(slice(None), *region)].reshape(shape[0], -1))
    widest = max(cell.shape[1] for cell in cells)
    places = np.stack([np.pad(c, [(0, 0), (0, widest - c.shape[1])], constant_values=-1) for c in cells], -1)
    return _most(g, n, places), ""


def _most(g: Graph, n: fx.Node, places: Array) -> str:
    """The largest of each window, ``[channels, window, positions]``."""
    windows = _gathered(g, g.of(n.args[0], DOUBLE), places, math.prod(dims_of(n.args[0])[1:]), -np.inf)
    made = g.add("ReduceMax", [windows], axes=[2], keepdims=0)
    return g.add("Reshape", [made, g.shape(dims_of_first(n))])


def dims_of_first(n: fx.Node) -> tuple[int, ...]:
    """Shape of the first result."""
    return tuple(int(d) for d in n.meta["val"][0].shape)


def average(g: Graph, n: fx.Node) -> str:
    """Average pooling, or any other linear map of each channel's plane, by its matrix."""
    before, after, target = dims_of(n.args[0]), dims_of(n), n.target
    rank = int(str(target).partition("d.")[0][-1])
    if before[0] % SAMPLES:
        raise UnsupportedError("pooling of this shape", found=list(before), allowed="of each sample")
    plane, out = before[-rank:], after[-rank:]
    unit = torch.eye(math.prod(plane), dtype=DOUBLE).reshape(-1, 1, *plane)
    mapped: Any = target
    matrix = mapped(unit, *n.args[1:], **n.kwargs).reshape(math.prod(plane), math.prod(out)).numpy()
    flat = g.add(
        "Reshape", [g.of(n.args[0], DOUBLE), g.shape((before[0], math.prod(before[1:-rank]), math.prod(plane)))]
    )
    return g.add("Reshape", [g.add("MatMul", [flat, g.constant(matrix)]), g.shape(after)])
