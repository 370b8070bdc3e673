"""An `Ann` in which what is a vector for NIR is one: matrices, and the linear layers that read what they make.

NIR's matrices make vectors, and no node gives back the image but a neuron. So linear layers between a matrix and the
next neurons are multiplied into it; over a sum of images and vectors each layer is taken term by term, and its terms
are added behind it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.arrays import Array
from neurodeploy.network.connectivity import Conv2d

from .ann_graph import Add, Affine, Ann, Conv, Flatten, Layer, Matrix, Max, Operation, Pool, Relu, Scale

LARGEST = 1 << 24
"""Most entries of a matrix, which NIR can only hold in full."""


@dataclass(frozen=True, eq=False)
class _Sum:
    """A value as a sum: layer -> matrix, or None for the layer as it is; and a constant vector."""

    terms: dict[str, Any]
    bias: Array


def flat(ann: Ann) -> Ann:
    """Return the network with every matrix, and what is linear behind it, as matrices read by neurons or the output.

    Raises:
        UnsupportedError: a matrix that is too large; names the layer.
    """
    return _Flat(ann).ann()


class _Flat:
    def __init__(self, old: Ann) -> None:
        self.old = old
        self.layers: list[Layer] = []
        self.sums: dict[str, _Sum] = {}
        self.names = {old.input, *(layer.name for layer in old.layers)}
        self.shapes = {old.input: old.input_shape, **{layer.name: layer.shape for layer in old.layers}}

    def ann(self) -> Ann:
        for layer in self.old.layers:
            given = [self.sums[name] for name in layer.inputs if name in self.sums]
            if isinstance(layer.operation, Relu | Max) and given:
                self._put(replace(layer, inputs=(self._read(layer.inputs[0]),)))
            elif isinstance(layer.operation, Matrix) or given or _of_pixels(layer):
                self.sums[layer.name] = self._through(layer)
            else:
                self._put(layer)
        output = self._read(self.old.output) if self.old.output in self.sums else self.old.output
        return replace(self.old, layers=tuple(self.layers), output=output)

    def _put(self, layer: Layer) -> None:
        self.layers.append(layer)

    def _through(self, layer: Layer) -> _Sum:
        """What a linear layer makes of sums."""
        terms: dict[str, Any] = {}
        bias = np.zeros(math.prod(layer.shape))
        for name in layer.inputs:
            arriving = self.sums.get(name, _Sum({name: None}, np.zeros(math.prod(self.shapes[name]))))
            matrix, own = _matrix(layer.operation, self.shapes[name])
            if isinstance(layer.operation, Add):
                own = np.zeros(len(bias))
            bias = bias + own + (arriving.bias if matrix is None else matrix @ arriving.bias)
            for source, weight in arriving.terms.items():
                if weight is None and not isinstance(layer.operation, Add | Matrix):
                    source = self._image(layer, source)
                elif matrix is not None:
                    weight = matrix if weight is None else sparse.csr_matrix(matrix @ weight)
                if source not in terms:
                    terms[source] = weight
                else:
                    unit = sparse.identity(len(bias), format="csr")
                    both = [unit if w is None else w for w in (terms[source], weight)]
                    terms[source] = sparse.csr_matrix(both[0] + both[1])
        return _Sum(terms, bias)

    def _image(self, layer: Layer, source: str) -> str:
        """The layer without its constants on one term that is an image; they are in the sum."""
        operation: Operation = layer.operation
        match operation:
            case Conv() | Affine():
                operation = replace(operation, bias=np.zeros_like(operation.bias))
            case Scale(scale, shift):
                operation = Scale(scale, np.zeros_like(shift))
            case _:
                pass
        return self._layer(layer, operation, source)

    def _layer(self, like: Layer, operation: Operation, *sources: str) -> str:
        name, number = f"{like.name}.of.{sources[0]}", 2
        while name in self.names:
            name, number = f"{like.name}.of.{sources[0]}_{number}", number + 1
        self.names.add(name)
        self.shapes[name] = like.shape
        self._put(replace(like, name=name, operation=operation, inputs=sources))
        return name

    def _read(self, name: str) -> str:
        """A layer that has the value of a sum."""
        found, shape = self.sums[name], self.shapes[name]
        like = next(layer for layer in self.old.layers if layer.name == name)
        parts, bias = [], found.bias
        for source, weight in found.terms.items():
            if weight is None and not bias.any():
                parts.append(source)
                continue
            weight = sparse.identity(len(bias), format="csr") if weight is None else weight
            if math.prod(weight.shape) > LARGEST:
                raise UnsupportedError(
                    f"the layer {name!r} is too large: NIR can only say it as a matrix",
                    found=f"{weight.shape[1]:,} x {weight.shape[0]:,} entries",
                    allowed=f"{LARGEST:,}",
                    hint="make the image smaller, or have fewer channels",
                )
            parts.append(self._layer(replace(like, shape=shape), Matrix(weight, bias), source))
            bias = np.zeros_like(bias)
        if len(parts) > 1 or not isinstance(next(i for i in self.layers if i.name == parts[0]).operation, Matrix):
            return self._layer(like, Add(), *parts)
        return parts[0]


def _of_pixels(layer: Layer) -> bool:
    """Whether a layer adds a constant of its own to each pixel, which no node but a matrix does."""
    if not isinstance(layer.operation, Scale) or len(layer.shape) < 2:
        return False
    wide = [
        np.broadcast_to(v, layer.shape).reshape(layer.shape[0], -1)
        for v in (layer.operation.scale, layer.operation.shift)
    ]
    return bool(wide[1].any()) and (len(layer.shape) != 3 or not all((w == w[:, :1]).all() for w in wide))


def _matrix(operation: Operation, shape: tuple[int, ...]) -> tuple[Any, Array]:
    """``[outputs, inputs]`` (None for all as they are) and constants of a linear operation on samples of ``shape``."""
    size = math.prod(shape)
    match operation:
        case Matrix(weight, bias):
            return weight, bias
        case Affine(weight, bias):
            return sparse.csr_matrix(weight), bias
        case Conv(weight, bias, stride, padding, dilation, groups):
            kind = Conv2d(weight, _image_of(shape), stride, padding, dilation, groups)
            return sparse.csr_matrix(kind.to_csr().T), np.repeat(bias, kind.outputs // len(bias))
        case Pool(window, stride, padding):
            taps = np.full((shape[0], 1, *window), 1 / math.prod(window))
            kind = Conv2d(taps, _image_of(shape), stride, padding, groups=shape[0])
            return sparse.csr_matrix(kind.to_csr().T), np.zeros(kind.outputs)
        case Scale(scale, shift):
            wide = [np.broadcast_to(value, shape).ravel() for value in (scale, shift)]
            return sparse.diags(wide[0], format="csr"), wide[1].copy()
        case Flatten() | Add() | Relu() | Max():
            return None, np.zeros(size)


def _image_of(shape: tuple[int, ...]) -> tuple[int, int, int]:
    return shape[0], shape[1], shape[2]
