"""Max pooling in an ordinary network: in front of its ReLU, where neurons take the largest of several currents.

``max(relu(a), relu(b)) = relu(max(a, b))``, so that a pool behind a ReLU is one in front of it; gains from 0 on and
constants of a channel move in front of both. A pool that no ReLU stands beside would need the largest of values that
nothing sends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.arrays import Array

from ..torch_step.windows import windows
from .ann_graph import Ann, Layer, Max, Relu, Scale


def max_pool(walk: Any, given: list[Any], attributes: Mapping[str, Any]) -> Any:
    """ONNX's MaxPool and GlobalMaxPool as a layer of the walk over its graph.

    Raises:
        UnsupportedError: names the operator.
    """
    x = given[0]
    if any(walk.node.output[1:]):
        raise walk._refused("the positions of its maxima are used", "the maxima alone")
    try:
        index, shape = pooled(x.shape[1:], attributes)
    except UnsupportedError as error:
        raise walk._refused(f"{error.what}: {error.found}", str(error.allowed or "windows inside the input")) from error
    return walk._layer(Max(index), (x.layer,), shape)


def pooled(shape: tuple[int, ...], attributes: Mapping[str, Any]) -> tuple[Array, tuple[int, ...]]:
    """Windows of ONNX's MaxPool (`Max.index`) and the shape of its result, for samples of ``shape``.

    Raises:
        UnsupportedError: another number of axes, or windows outside of the input.
    """
    axes, sides = len(shape) - 1, shape[1:]
    window = [int(n) for n in attributes.get("kernel_shape", sides)]
    stride, dilation = ([int(n) for n in attributes.get(key, [1] * axes)] for key in ("strides", "dilations"))
    pads = [int(n) for n in attributes.get("pads", [0] * 2 * axes)]
    auto = attributes.get("auto_pad", b"NOTSET").decode()
    if not len(window) == len(stride) == len(dilation) == len(pads) / 2 == axes or axes not in (1, 2, 3):
        raise UnsupportedError("pooling of other axes than the sample has", found=window, allowed=f"{axes} numbers")
    if min(*window, *stride, *dilation) < 1 or min(pads) < 0:
        raise UnsupportedError("a window, stride or padding that is none", found=[window, stride, dilation, pads])
    after, before = [], []
    for a, n in enumerate(sides):
        span, first, last = dilation[a] * (window[a] - 1) + 1, pads[a], pads[axes + a]
        if auto.startswith("SAME"):
            total = max((-(-n // stride[a]) - 1) * stride[a] + span - n, 0)
            first, last = (total // 2, total - total // 2) if auto == "SAME_UPPER" else (total - total // 2, total // 2)
        room = n + first + last - span
        if room < 0 or first >= span or last >= span:
            raise UnsupportedError("a pooling window that does not fit its input", found=f"{span} on {n}")
        count = room // stride[a] + 1
        if attributes.get("ceil_mode", 0) and room % stride[a] and count * stride[a] < n + first:
            count += 1
        after.append(count)
        before.append(first)
    given = {"kernel_size": window, "stride": stride, "padding": before, "dilation": dilation}
    over = windows(f"aten.max_pool{axes}d", given, shape, (shape[0], *after))
    if (over.index < 0).all(-1).any():
        raise UnsupportedError("a pooling window that lies outside of its input", found=[window, pads])
    return over.index, over.after


def arranged(ann: Ann) -> Ann:
    """The network with each maximum directly in front of a ReLU.

    Raises:
        UnsupportedError: names a maximum where that cannot be.
    """
    layers: dict[str, Layer] = {}  # those so far
    renamed: dict[str, str] = {}
    for number, old in enumerate(ann.layers):
        layer = replace(old, inputs=tuple(renamed.get(name, name) for name in old.inputs))
        layers[layer.name] = layer
        before = layers.get(layer.inputs[0])
        if before is None or not isinstance(layer.operation, Max | Scale):
            continue
        later = [renamed.get(n, n) for one in ann.layers[number + 1 :] for n in one.inputs]
        read = [n for one in layers.values() for n in one.inputs] + later + [renamed.get(ann.output, ann.output)]
        alone = read.count(before.name) == 1
        if isinstance(layer.operation, Max) and isinstance(before.operation, Max):
            layers[layer.name] = _of_maxima(layer, before)
        elif isinstance(layer.operation, Max) and isinstance(before.operation, Relu):
            del layers[layer.name]
            if alone:
                del layers[before.name]
            pool = replace(layer, inputs=before.inputs)
            behind = layers.get(pool.inputs[0])
            nested = behind is not None and isinstance(behind.operation, Max)
            layers[pool.name] = _of_maxima(pool, behind) if behind is not None and nested else pool
            name = before.name if alone else f"{layer.name}.relu"
            layers[name] = replace(before, name=name, inputs=(pool.name,), shape=layer.shape)
            renamed[layer.name] = name
        elif isinstance(layer.operation, Scale) and isinstance(before.operation, Max) and alone:
            inside = _shape(ann, layers, before.inputs[0])
            scaled = _scaled(layer.operation, before, inside)
            if scaled is not None:
                del layers[before.name], layers[layer.name]
                layers[layer.name] = replace(layer, operation=scaled, inputs=before.inputs, shape=inside)
                layers[before.name] = replace(before, inputs=(layer.name,))
                renamed[layer.name] = before.name
    output = renamed.get(ann.output, ann.output)
    kept = dict(layers)
    used = {name for layer in kept.values() for name in layer.inputs} | {output}
    while unused := [name for name in kept if name not in used]:
        for name in unused:
            del kept[name]
        used = {name for layer in kept.values() for name in layer.inputs} | {output}
    found = replace(ann, layers=tuple(kept.values()), output=output)
    _check(found)
    return found


def _padded(index: Array) -> Array:
    """Rows of positions, with one for none behind them."""
    rows = index.reshape(-1, index.shape[-1])
    return np.concatenate([rows, np.full((1, rows.shape[1]), -1)])


def _of_maxima(layer: Layer, before: Layer) -> Layer:
    """A maximum of maxima as one."""
    assert isinstance(layer.operation, Max)
    assert isinstance(before.operation, Max)
    index = _padded(before.operation.index)[layer.operation.index].reshape(*layer.shape, -1)
    return replace(layer, operation=Max(index), inputs=before.inputs)


def _shape(ann: Ann, layers: Mapping[str, Layer], name: str) -> tuple[int, ...]:
    return ann.input_shape if name == ann.input else layers[name].shape


def _scaled(scaling: Scale, pool: Layer, before: tuple[int, ...]) -> Scale | None:
    """The scaling in front of a pool in place of behind it; None where it is not the same there."""
    if not isinstance(pool.operation, Max) or before[0] != pool.shape[0]:
        return None
    rest = math.prod(before[1:])
    channels = pool.operation.index.reshape(pool.shape[0], -1)
    inside = (channels < 0) | (channels // rest == np.arange(pool.shape[0])[:, None])
    wide = [np.broadcast_to(v, pool.shape).reshape(pool.shape[0], -1) for v in (scaling.scale, scaling.shift)]
    if not inside.all() or any((v != v[:, :1]).any() for v in wide) or (wide[0] < 0).any():
        return None
    ones = (pool.shape[0], *[1] * (len(before) - 1))
    return Scale(wide[0][:, 0].reshape(ones).copy(), wide[1][:, 0].reshape(ones).copy())


def _check(ann: Ann) -> None:
    operations = {layer.name: layer.operation for layer in ann.layers}
    for layer in ann.layers:
        if not isinstance(layer.operation, Max):
            continue
        readers = [other for other in ann.layers if layer.name in other.inputs]
        if readers and all(isinstance(other.operation, Relu) for other in readers) and layer.name != ann.output:
            continue
        behind = ", ".join(f"{other.name!r} ({type(other.operation).__name__})" for other in readers) or "the output"
        of_input = operations.get(layer.inputs[0]) is None
        raise UnsupportedError(
            f"the max pooling {layer.name!r} cannot be converted",
            found="the largest values of the input" if of_input else f"no ReLU stands beside it: it leads to {behind}",
            allowed="a ReLU directly in front of it or behind it, whose neurons take the largest current",
            hint="pool the data before the network, or use average pooling" if of_input
            else "put a ReLU beside it, or use average pooling or a stride",
        )  # fmt: skip
