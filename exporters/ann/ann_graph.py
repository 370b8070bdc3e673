"""An ordinary (not spiking) network as a short list of typed layers, whatever it was read from.

Layers stand in the order in which they are computed; every shape is one sample's, channels first. `evaluate` is the
network in plain NumPy, for calibration and as the judge of the reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from neurodeploy.network.arrays import Array
from neurodeploy.network.connectivity import Conv2d as Convolution
from neurodeploy.nir_graph.max_node import largest

Pair = tuple[int, int]

BLOCK = 64
"""Samples that are evaluated at a time."""


@dataclass(frozen=True, eq=False)
class Affine:
    """``y = W x + b``; weight ``[out, in]``, bias ``[out]``."""

    weight: Array
    bias: Array


@dataclass(frozen=True, eq=False)
class Matrix:
    """``y = W x + b`` on flattened samples: any fixed linear map, of any shape into any; W is scipy's, sparse."""

    weight: Any
    bias: Array


@dataclass(frozen=True, eq=False)
class Conv:
    """`torch.nn.Conv2d`; padding is (vertical, horizontal) on both sides."""

    weight: Array
    bias: Array
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1


@dataclass(frozen=True)
class Pool:
    """Average pooling; the padding counts as zeros."""

    window: Pair
    stride: Pair
    padding: Pair = (0, 0)


@dataclass(frozen=True, eq=False)
class Scale:
    """``y = scale x + shift``, both of a shape that broadcasts to the sample's."""

    scale: Array
    shift: Array


@dataclass(frozen=True)
class Relu:
    """``max(x, 0)``, at most ``ceiling`` if there is one (ReLU6)."""

    ceiling: float | None = None


@dataclass(frozen=True, eq=False)
class Max:
    """The largest of several values: ``index [*shape, values]`` are positions in the flattened input, -1 for none."""

    index: Array


@dataclass(frozen=True)
class Add:
    """The sum of all inputs."""


@dataclass(frozen=True)
class Flatten:
    """Neighbouring dimensions merged."""


Operation = Affine | Matrix | Conv | Pool | Scale | Relu | Max | Add | Flatten


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer.

    Args:
        name: unique.
        inputs: names of layers, or of the network's input.
        shape: of its result for one sample.
        module: path of the torch module it came from, empty when unknown.
    """

    name: str
    operation: Operation
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    module: str = ""


@dataclass(frozen=True, eq=False)
class Ann:
    """A network with one input and one output.

    Args:
        output: name of the layer that is read.
        origin: what it was read from (``"onnx"``, ``"torch"``).
        notes: what was left out on the way, ``topic -> text``.
    """

    input: str
    input_shape: tuple[int, ...]
    layers: tuple[Layer, ...]
    output: str
    origin: str = "onnx"
    notes: Mapping[str, str] = field(default_factory=dict)

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Shape of a layer's result, or of the input."""
        return self.input_shape if name == self.input else next(i.shape for i in self.layers if i.name == name)


def evaluate(ann: Ann, x: Array) -> dict[str, Array]:
    """Results of every layer, ``[samples, *shape]`` by name, for inputs ``[samples, *input_shape]``, in float64."""
    values = {ann.input: np.asarray(x, np.float64).reshape(-1, *ann.input_shape)}
    for layer in ann.layers:
        given = [values[name] for name in layer.inputs]
        values[layer.name] = _apply(layer.operation, given).reshape(-1, *layer.shape)
    return values


def predict(ann: Ann, x: Array) -> Array:
    """The network's output ``[samples, *shape]``."""
    return np.concatenate([evaluate(ann, x[start : start + BLOCK])[ann.output] for start in range(0, len(x), BLOCK)])


def _apply(operation: Operation, given: list[Array]) -> Array:
    x = given[0]
    match operation:
        case Affine(weight, bias):
            return np.asarray(x @ weight.T + bias)
        case Matrix(weight, bias):
            return np.asarray((weight @ x.reshape(len(x), -1).T).T + bias)
        case Conv(weight, bias, stride, padding, dilation, groups):
            kind = Convolution(weight, _image(x), stride, padding, dilation, groups)
            return kind.apply(x.reshape(len(x), -1)).reshape(len(x), *kind.output_shape) + bias[:, None, None]
        case Pool(window, stride, padding):
            channels = x.shape[1]
            taps = np.full((channels, 1, *window), 1 / (window[0] * window[1]))
            kind = Convolution(taps, _image(x), stride, padding, groups=channels)
            return kind.apply(x.reshape(len(x), -1))
        case Scale(scale, shift):
            return np.asarray(x * scale + shift)
        case Relu(ceiling):
            return np.clip(x, 0, ceiling)
        case Max(index):
            return largest(x, index)
        case Add():
            return np.asarray(np.sum(given, axis=0))
        case Flatten():
            return x


def _image(x: Array) -> tuple[int, int, int]:
    return int(x.shape[1]), int(x.shape[2]), int(x.shape[3])


def folded(ann: Ann) -> Ann:
    """Put every scaling behind a linear layer that nothing else reads into that layer's weights."""
    layers = {layer.name: layer for layer in ann.layers}
    readers: dict[str, int] = {ann.output: 1}
    for layer in ann.layers:
        for name in layer.inputs:
            readers[name] = readers.get(name, 0) + 1
    renamed: dict[str, str] = {}
    for layer in ann.layers:
        inputs = tuple(renamed.get(name, name) for name in layer.inputs)
        layers[layer.name] = layer = replace(layer, inputs=inputs)
        before = layers.get(inputs[0])
        if not isinstance(layer.operation, Scale) or before is None or readers[layer.inputs[0]] > 1:
            continue
        merged = _merged(before.operation, layer.operation, before.shape)
        if merged is not None:
            layers[before.name] = replace(before, operation=merged)
            readers[before.name] = readers.get(layer.name, 0)
            renamed[layer.name] = before.name
            del layers[layer.name]
    output = renamed.get(ann.output, ann.output)
    return replace(ann, layers=tuple(layers.values()), output=output)


def _merged(operation: Operation, scaling: Scale, shape: tuple[int, ...]) -> Operation | None:
    """The linear layer with the scaling behind it, None if it cannot hold it."""
    scale, shift = (np.broadcast_to(value, shape) for value in (scaling.scale, scaling.shift))
    if isinstance(operation, Affine):
        return Affine(operation.weight * scale[:, None], operation.bias * scale + shift)
    if isinstance(operation, Conv):
        planes = [value.reshape(shape[0], -1) for value in (scale, shift)]
        if all((plane == plane[:, :1]).all() for plane in planes):
            factor, offset = planes[0][:, 0], planes[1][:, 0]
            weight = operation.weight * factor[:, None, None, None]
            return replace(operation, weight=weight, bias=operation.bias * factor + offset)
    return None
