"""Convolutions and pools of a host: windows are gathered by their places, since onnxruntime has none in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import fx
from torch.nn import functional

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.arrays import Array

from ...torch_step.fxgraph import arguments
from .onnx_graph import SAMPLES, Graph, dims_of

DOUBLE = torch.float64


def _two(value: Any) -> tuple[int, int]:
    """A number for each of two dimensions; of one, 1 or 0 in front is up to the caller."""
    values = [int(v) for v in (value if isinstance(value, (tuple, list)) else [value])]
    return (values[0], values[0]) if len(values) == 1 else (values[0], values[1])


def _places(shape: tuple[int, int, int], kernel: Any, stride: Any, padding: Any, dilation: Any) -> Array:
    """Places in the flattened input, ``[channels, kernel, positions]``; -1 for the border."""
    numbered = torch.arange(1, math.prod(shape) + 1, dtype=torch.float64).reshape(1, *shape)
    found = functional.unfold(numbered, kernel, dilation, padding, stride)
    return found.reshape(shape[0], math.prod(kernel), -1).long().numpy() - 1


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
    if before[0] % SAMPLES or len(before) not in (3, 4):
        raise UnsupportedError("a convolution of this shape", found=list(before[1:]),
                               allowed="of one or two dimensions, for each sample")  # fmt: skip
    weight, rank = given["weight"], len(before) - 2
    kernel = dims_of(weight)[2:]
    line = rank == 1
    groups = int(given["groups"])
    shape = (before[1], 1, before[2]) if line else (before[1], before[2], before[3])

    def wide(values: Any, front: int) -> tuple[int, int]:
        whole = [int(v) for v in values] * (rank if len(values) == 1 else 1)
        return (front, whole[0]) if line else (whole[0], whole[1])

    how = wide(kernel, 1), wide(given["stride"], 1), wide(given["padding"], 0), wide(given["dilation"], 1)
    if given["transposed"]:
        places = _transposed(shape, *how, wide(given["output_padding"], 0))
    else:
        places = _places(shape, *how)
    each = before[1] // groups * math.prod(kernel)
    windows = _gathered(g, g.of(n.args[0], DOUBLE), places.reshape(groups, each, -1), math.prod(shape), 0.0)
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


def _transposed(shape: tuple[int, int, int], kernel: Any, stride: Any, padding: Any, dilation: Any, more: Any) -> Array:
    """As `_places` of a transposed convolution: windows over the input with zeros between, the kernel reversed."""
    numbered = torch.arange(1, math.prod(shape) + 1, dtype=torch.float64).reshape(1, *shape)
    size = [(n - 1) * s + 1 for n, s in zip(shape[1:], stride, strict=True)]
    spread = torch.zeros((1, shape[0], *size), dtype=torch.float64)
    spread[:, :, :: stride[0], :: stride[1]] = numbered
    rim = [d * (k - 1) - p for d, k, p in zip(dilation, kernel, padding, strict=True)]
    spread = functional.pad(spread, (rim[1], rim[1] + more[1], rim[0], rim[0] + more[0]))
    found = functional.unfold(spread, kernel, dilation)
    return found.reshape(shape[0], math.prod(kernel), -1).long().numpy() - 1


def largest(g: Graph, n: fx.Node) -> tuple[str, str]:
    """Max pooling; its places are not given."""
    given, before, after = arguments(n), dims_of(n.args[0]), dims_of_first(n)
    kernel = _two(given["kernel_size"])
    if given["ceil_mode"]:
        raise UnsupportedError("max pooling of the host with ceil_mode", allowed="without")
    places = _places((before[1], before[2], before[3]), kernel, _two(given["stride"] or kernel), _two(given["padding"]),
                     _two(given["dilation"]))  # fmt: skip
    windows = _gathered(g, g.of(n.args[0], DOUBLE), places, math.prod(before[1:]), -np.inf)
    made = g.add("ReduceMax", [windows], axes=[2], keepdims=0)
    return g.add("Reshape", [made, g.shape(after)]), ""


def dims_of_first(n: fx.Node) -> tuple[int, ...]:
    """Shape of the first result."""
    return tuple(int(d) for d in n.meta["val"][0].shape)


def average(g: Graph, n: fx.Node) -> str:
    """Average pooling, or any other linear map of each channel's plane, by its matrix."""
    before, after = dims_of(n.args[0]), dims_of(n)
    if before[0] % SAMPLES:
        raise UnsupportedError("pooling of this shape", found=list(before))
    plane, out = before[2:], after[2:]
    unit = torch.eye(math.prod(plane), dtype=DOUBLE).reshape(-1, 1, *plane)
    target: Any = n.target
    matrix = target(unit, *n.args[1:], **n.kwargs).reshape(math.prod(plane), math.prod(out)).numpy()
    flat = g.add("Reshape", [g.of(n.args[0], DOUBLE), g.shape((before[0], before[1], math.prod(plane)))])
    return g.add("Reshape", [g.add("MatMul", [flat, g.constant(matrix)]), g.shape(after)])
