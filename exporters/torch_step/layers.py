"""Linear layers as NIR nodes: what torch's operators mean, in the parameters that NIR has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nir
import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.arrays import Array
from neurodeploy.nir_graph.host_nodes import from_host


def linear(weight: Array, bias: Array | None, shape: tuple[int, ...]) -> nir.NIRNode:
    """Affine, or Linear without a bias, on one sample of ``shape``."""
    if len(shape) != 1:
        raise UnsupportedError(
            "a linear layer on more than one dimension",
            found=list(shape),
            allowed="[features]",
            hint="put torch.nn.Flatten in front",
        )
    return nir.Linear(weight) if bias is None else nir.Affine(weight, bias)


def conv2d(given: Mapping[str, Any], weight: Array, bias: Array | None, shape: tuple[int, ...]) -> nir.NIRNode:
    """Conv2d of ``aten.conv2d``'s arguments; NIR wants a bias, so it is zeros where there is none."""
    stride, dilation = pair(given["stride"]), pair(given["dilation"])
    padding = given["padding"]
    if isinstance(padding, str):
        span = tuple(d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True))
        if padding == "same" and any(n % 2 for n in span):
            raise UnsupportedError(
                "padding 'same' with an even kernel is not symmetric",
                found=list(weight.shape[2:]),
                allowed="odd kernels",
                hint="give the padding in numbers",
            )
        padding = tuple(n // 2 for n in span) if padding == "same" else (0, 0)
    return nir.Conv2d(
        input_shape=(shape[1], shape[2]),
        weight=weight,
        stride=stride,
        padding=pair(padding),
        dilation=dilation,
        groups=int(given["groups"]),
        bias=np.zeros(weight.shape[0], weight.dtype) if bias is None else bias,
    )


def conv1d(given: Mapping[str, Any], weight: Array, bias: Array | None, shape: tuple[int, ...]) -> nir.NIRNode:
    """Conv1d of ``aten.conv1d``'s arguments."""
    stride, dilation = (pair(given[key])[1] for key in ("stride", "dilation"))
    padding = given["padding"]
    if isinstance(padding, str):
        span = dilation * (weight.shape[2] - 1)
        if padding == "same" and span % 2:
            raise UnsupportedError(
                "padding 'same' with an even kernel is not symmetric",
                found=[weight.shape[2]],
                allowed="odd kernels",
                hint="give the padding in numbers",
            )
        padding = span // 2 if padding == "same" else 0
    return nir.Conv1d(
        input_shape=shape[1],
        weight=weight,
        stride=stride,
        padding=pair(padding)[1],
        dilation=dilation,
        groups=int(given["groups"]),
        bias=np.zeros(weight.shape[0], weight.dtype) if bias is None else bias,
    )


def placed_channels(first: int, total: int, shape: tuple[int, ...]) -> nir.NIRNode:
    """One branch of a concatenation: its channels become those from ``first`` on of ``total``, the others get nothing.

    NIR adds what arrives at a node, so the sum over the branches is their concatenation.
    """
    own = shape[0]
    weight = np.zeros((total, own))
    weight[first + np.arange(own), np.arange(own)] = 1
    if len(shape) == 1:
        return nir.Linear(weight)
    if len(shape) == 2:
        return nir.Conv1d(shape[1], weight[:, :, None], 1, 0, 1, 1, np.zeros(total))
    return nir.Conv2d((shape[1], shape[2]), weight[:, :, None, None], 1, 0, 1, 1, np.zeros(total))


def folded(node: nir.NIRNode, gain: Array, offset: Array) -> nir.NIRNode | None:
    """A linear layer with ``gain * output + offset`` for each output channel, in float64; None for other nodes.

    The outputs of a matrix may be an image's, channel by channel.
    """
    if isinstance(node, (nir.Linear, nir.Affine)):
        each = len(node.weight) // len(gain)
        gain, offset = np.repeat(gain, each), np.repeat(offset, each)
        bias = node.bias.astype(np.float64) if isinstance(node, nir.Affine) else np.zeros(len(gain))
        weight = node.weight.astype(np.float64) * gain[:, None]
        return nir.Affine(weight, gain * bias + offset)
    if isinstance(node, (nir.Conv1d, nir.Conv2d)):
        return type(node)(
            input_shape=node.input_shape,
            weight=node.weight.astype(np.float64) * gain.reshape(-1, *[1] * (node.weight.ndim - 1)),
            stride=node.stride,
            padding=node.padding,
            dilation=node.dilation,
            groups=node.groups,
            bias=gain * node.bias.astype(np.float64) + offset,
        )
    return None


def affine_per_channel(gain: Array, offset: Array, shape: tuple[int, ...]) -> nir.NIRNode:
    """``gain * x + offset`` for each channel as a layer of its own: a depthwise 1 x 1 convolution, or a diagonal."""
    if len(shape) == 1:
        return nir.Affine(np.diag(gain), offset)
    if len(shape) == 2:
        return nir.Conv1d(shape[1], gain[:, None, None], 1, 0, 1, shape[0], offset)
    if len(shape) != 3:
        raise UnsupportedError(
            "normalisation of this shape",
            found=list(shape),
            allowed="[features], [channels, length] or [channels, height, width]",
        )
    return nir.Conv2d(
        input_shape=(shape[1], shape[2]),
        weight=gain[:, None, None, None],
        stride=(1, 1),
        padding=(0, 0),
        dilation=(1, 1),
        groups=shape[0],
        bias=offset,
    )


def avg_pool(given: Mapping[str, Any], shape: tuple[int, ...]) -> nir.NIRNode | None:
    """AvgPool2d, or SumPool2d where ``divisor_override`` is 1; None where NIR has no such pool."""
    if "output_size" in given:
        size = pair(given["output_size"])
        if shape[1] % size[0] or shape[2] % size[1]:
            return None
        window = (shape[1] // size[0], shape[2] // size[1])
        return nir.AvgPool2d(np.array(window), np.array(window), np.array((0, 0)))
    window, padding = pair(given["kernel_size"]), pair(given["padding"])
    stride = pair(given["stride"]) if given["stride"] else window
    over = [(n + 2 * p - k) % s for n, p, k, s in zip(shape[1:], padding, window, stride, strict=True)]
    divisor = given["divisor_override"]
    if (given["ceil_mode"] and any(over)) or (not given["count_include_pad"] and padding != (0, 0)):
        return None
    if divisor not in (None, 1, window[0] * window[1]):
        return None
    kind = nir.SumPool2d if divisor == 1 and window != (1, 1) else nir.AvgPool2d
    return kind(np.array(window), np.array(stride), np.array(padding))


def windows(given: Mapping[str, Any], shape: tuple[int, ...], after: tuple[int, ...]) -> nir.NIRNode:
    """The sums over the windows of a pool from ``shape`` to ``after``, as a depthwise convolution with ones.

    NIR pads both sides alike; where a last window reaches further (``ceil_mode``) by ``r``, both sides are padded by
    ``r`` more, and the kernel starts with ``r`` zeros.
    """
    rank = len(shape) - 1
    kernel, padding = _each(given["kernel_size"], rank), _each(given["padding"], rank)
    stride = _each(given["stride"], rank) if given["stride"] else kernel
    more = [
        max(0, s * (o - 1) - (n + 2 * p - k))
        for n, o, k, s, p in zip(shape[1:], after[1:], kernel, stride, padding, strict=True)
    ]
    weight = np.pad(np.ones((shape[0], 1, *kernel)), [(0, 0), (0, 0), *((r, 0) for r in more)])
    wide, bias = tuple(p + r for p, r in zip(padding, more, strict=True)), np.zeros(shape[0])
    if rank == 1:
        return nir.Conv1d(shape[1], weight, stride[0], wide[0], 1, shape[0], bias)
    return nir.Conv2d((shape[1], shape[2]), weight, stride, wide, (1, 1), shape[0], bias)


def _each(value: Any, rank: int) -> tuple[int, ...]:
    return pair(value)[-rank:]


def flatten(shape: tuple[int, ...], after: tuple[int, ...], batch: int) -> nir.NIRNode | None:
    """The Flatten that turns samples of ``shape`` into the batched shape ``after``; None if nothing changes.

    NIR counts dimensions without the batch.
    """
    if after[:1] == (batch,):
        target = after[1:]
        if target == shape:
            return None
        for start in range(len(shape)):
            for end in range(start + 1, len(shape)):
                if (*shape[:start], int(np.prod(shape[start : end + 1])), *shape[end + 1 :]) == target:
                    return nir.Flatten({"input": np.array(shape)}, start, end)
    raise UnsupportedError(
        "a reshape that is not a flattening of a sample",
        found=f"{[batch, *shape]} to {list(after)}",
        allowed="neighbouring dimensions merged, the batch kept",
        hint="use torch.nn.Flatten()",
    )


def for_each(value: Array, shape: tuple[int, ...]) -> Array | None:
    """A constant as torch would broadcast it against a sample of ``shape``; None where it is not one for each value."""
    if value.ndim == len(shape) + 1 and len(value) == 1:
        value = value[0]
    try:
        return np.broadcast_to(value, shape).copy()
    except ValueError:
        return None


def pair(value: Any) -> tuple[int, int]:
    """An int or a list of one or two as ``(vertical, horizontal)``."""
    values = list(value) if isinstance(value, (tuple, list)) else [value]
    return int(values[0]), int(values[-1])


def source_node(name: str, shape: tuple[int, ...]) -> nir.NIRNode:
    """What is fed from outside: by the user, or by a host."""
    return nir.Input(np.array(shape)) if name == "input" else from_host(shape)
