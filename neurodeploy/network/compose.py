"""Composing linear NIR nodes into one connectivity: what stands between two populations must be one set of synapses.

For maps ``A: x -> y`` and ``B: y -> z`` the composition is ``B A``. Kinds are kept where they can be:

- B = Dense:   ``W_B M_A`` is dense again (pooling and flatten vanish into the weights).
- A = block pooling with window k and value c, B = Conv2d without dilation: a convolution whose kernel repeats each tap
  k times in both directions, times c, with stride and padding times k, since
  ``sum_i w_i c sum_a x[k (s y + i - p) + a] = sum_{i,a} (c w_i) x[s k y + (k i + a) - k p]``.
- A = 1 x 1 convolution (a mixing of channels, a join of branches) with matrix M, B = Conv2d: one convolution with the
  kernel ``sum_m W_B[o, m] M[m, c]``, since the mixing is the same at every position.
- A = a scaling that is the same at every position, B = Conv2d: as a 1 x 1 convolution of each channel.
- A = Conv2d, B = 1 x 1 convolution: one convolution with the kernel ``sum_m M[o, m] W_A[m, c]``, with both strides.
- a scaling per output channel stays a convolution; anything else becomes Sparse. `reason` says which it was, and why.

A Conv1d is a Conv2d on images of height 1.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from neurodeploy.errors import InvalidInputError, UnsupportedError

from .arrays import Array
from .connectivity import Connectivity, Conv2d, Dense, Sparse


def pair(value: Any) -> tuple[int, int]:
    """A NIR stride, padding or dilation as ``(vertical, horizontal)``."""
    flat = np.atleast_1d(value)
    return (int(flat[0]), int(flat[-1]))


def spatial(node: Any, shape: tuple[int, ...]) -> Conv2d:
    """The convolution that a node computes on ``(channels, height, width)``, a Conv1d's on ``(channels, length)``.

    Pooling is a depthwise convolution with ones (sum) or ones / window (average).
    """
    if type(node).__name__ == "Conv1d":
        return _along(node, shape)
    size = (int(shape[0]), int(shape[1]), int(shape[2]))
    if type(node).__name__ == "Conv2d":
        dilation = pair(node.dilation)
        return Conv2d(
            weights=np.asarray(node.weight, dtype=np.float64),
            input_shape=size,
            stride=pair(node.stride),
            padding=_padding(node.padding, node.weight.shape[2:], dilation, pair(node.stride)),
            dilation=dilation,
            groups=int(node.groups),
        )
    window, padding = pair(node.kernel_size), pair(node.padding)
    if window[0] > size[1] + 2 * padding[0] or window[1] > size[2] + 2 * padding[1]:
        raise InvalidInputError(
            f"a {type(node).__name__} is larger than its input",
            found=f"kernel {list(window)} on {list(size[1:])} with padding {list(padding)}",
            hint="check the shapes of the layers before it",
        )
    value = 1.0 if type(node).__name__ == "SumPool2d" else 1.0 / (window[0] * window[1])
    return Conv2d(
        weights=np.full((size[0], 1, *window), value),
        input_shape=size,
        stride=pair(node.stride),
        padding=padding,
        groups=size[0],
    )


def _along(node: Any, shape: tuple[int, ...]) -> Conv2d:
    """A Conv1d on ``(channels, length)`` as a convolution of height 1."""
    stride, dilation = pair(node.stride)[1], pair(node.dilation)[1]
    padding = _padding(node.padding, (1, int(node.weight.shape[2])), (1, dilation), (1, stride))
    return Conv2d(
        weights=np.asarray(node.weight, dtype=np.float64)[:, :, None, :],
        input_shape=(int(shape[0]), 1, int(shape[1])),
        stride=(1, stride),
        padding=(0, padding[1]),
        dilation=(1, dilation),
        groups=int(node.groups),
    )


def _padding(
    value: Any, kernel: tuple[int, ...], dilation: tuple[int, int], stride: tuple[int, int]
) -> tuple[int, int]:
    text = value.decode() if isinstance(value, bytes) else value if isinstance(value, str) else ""
    if text == "valid":
        return (0, 0)
    if text == "same":
        total = [dilation[axis] * (kernel[axis] - 1) for axis in (0, 1)]
        if stride != (1, 1) or total[0] % 2 or total[1] % 2:
            raise UnsupportedError(
                "padding 'same' is only symmetric for stride 1 and odd kernels",
                found=f"kernel {list(kernel)}, dilation {list(dilation)}, stride {list(stride)}",
                hint="give the padding in numbers",
            )
        return (total[0] // 2, total[1] // 2)
    return pair(value)


def diagonal(values: Array) -> Sparse:
    """One synapse from each neuron to its counterpart."""
    n = len(values)
    return Sparse(
        weights=np.asarray(values, dtype=np.float64),
        targets=np.arange(n, dtype=np.int32),
        indptr=np.arange(n + 1, dtype=np.int64),
        target_count=n,
    )


def then(first: Connectivity, second: Connectivity) -> Connectivity:
    """The map that applies ``first`` and then ``second``."""
    if isinstance(second, Dense):
        return Dense(np.asarray(first.to_csr() @ second.weights.T).T)
    if isinstance(first, Sparse) and isinstance(second, Conv2d):
        first = _channelwise(first, second.input_shape) or first
    if (
        isinstance(first, Conv2d)
        and isinstance(second, Conv2d)
        and _is_block_pool(first)
        and second.dilation == (1, 1)
        and first.output_shape == second.input_shape  # a Flatten between them may have made rows of the image
    ):
        return _pool_then_conv(first, second)
    if isinstance(first, Conv2d) and isinstance(second, Conv2d):
        if _is_mixing(first) and first.stride == (1, 1) and first.output_shape[0] == second.input_shape[0]:
            return _mixed(first, second, second)
        if _is_mixing(second) and first.output_shape == second.input_shape:
            return _mixed(first, second, first)
    return Sparse.from_csr((first.to_csr() @ second.to_csr()).tocsr())


def reason(first: Connectivity, second: Connectivity, found: Connectivity) -> str:
    """What `then` made of two maps, and why it is no convolution where it could have been one."""
    kinds = {Dense: "a matrix", Sparse: "listed synapses", Conv2d: "a convolution"}
    text = f"{kinds[type(first)]} and {kinds[type(second)]} became {kinds[type(found)]}"
    text += f" of {found.stored_weights():,} weights"
    if not (isinstance(first, Conv2d) and isinstance(second, Conv2d)) or isinstance(found, Conv2d):
        return text
    if not (first.groups == first.input_shape[0] == first.weights.shape[0]):
        return text + ": the first mixes channels and is larger than 1 x 1"
    if first.stride != first.weights.shape[2:]:
        return text + f": its windows overlap (stride {list(first.stride)}, kernel {list(first.weights.shape[2:])})"
    if first.padding != (0, 0) or first.input_shape[1] % first.stride[0] or first.input_shape[2] % first.stride[1]:
        return text + ": its windows do not tile the image"
    if second.dilation != (1, 1):
        return text + ": the second is dilated"
    if first.output_shape != second.input_shape:
        return text + ": the image is flattened between them"
    return text + ": its weights are not all the same"


def _is_mixing(kind: Conv2d) -> bool:
    return kind.weights.shape[2:] == (1, 1) and kind.padding == (0, 0)


def _channelwise(scaling: Sparse, shape: tuple[int, int, int]) -> Conv2d | None:
    """The same as a 1 x 1 convolution of each channel; None for anything but one factor a channel."""
    n = int(np.prod(shape))
    if len(scaling.weights) != n or scaling.target_count != n or len(scaling.indptr) != n + 1:
        return None
    if not (np.array_equal(scaling.targets, np.arange(n)) and np.array_equal(scaling.indptr, np.arange(n + 1))):
        return None
    factors = np.asarray(scaling.weights, np.float64).reshape(shape[0], -1)
    if (factors != factors[:, :1]).any():
        return None
    return Conv2d(factors[:, :1, None, None], shape, groups=shape[0])


def _mixed(first: Conv2d, second: Conv2d, window: Conv2d) -> Conv2d:
    """Both as one, where one of them is 1 x 1 and the other is ``window``; groups that both have stay."""
    groups = math.gcd(first.groups, second.groups)
    kernels = [
        # One of the two kernels is 1 x 1, so that their windows together are those of the other.
        np.einsum("omij,mckl->ocikjl", b, a).reshape(len(b), a.shape[1], *window.weights.shape[2:])
        for a, b in zip(_blocks(first, groups), _blocks(second, groups), strict=True)
    ]
    return replace(
        window,
        weights=np.concatenate(kernels),
        input_shape=(first.input_shape[0], *window.input_shape[1:]),
        stride=(first.stride[0] * second.stride[0], first.stride[1] * second.stride[1]),
        groups=groups,
    )


def _blocks(kind: Conv2d, count: int) -> list[Array]:
    """Kernels ``[c_out / count, c_in / count, k_h, k_w]`` of so many parts that do not mix, their own groups spread."""
    c_in = kind.weights.shape[1]
    found = []
    for part in np.split(kind.weights, count):
        inner = kind.groups // count
        block = np.zeros((len(part), c_in * inner, *part.shape[2:]))
        for number, rows in enumerate(np.split(np.arange(len(part)), inner)):
            block[rows, number * c_in : (number + 1) * c_in] = part[rows]
        found.append(block)
    return found


def _is_block_pool(kind: Conv2d) -> bool:
    window = kind.weights.shape[2:]
    return (
        kind.groups == kind.input_shape[0] == kind.weights.shape[0]
        and kind.stride == window
        and kind.padding == (0, 0)
        and kind.dilation == (1, 1)
        and kind.input_shape[1] % window[0] == 0
        and kind.input_shape[2] % window[1] == 0
        and bool((kind.weights == kind.weights.flat[0]).all())
    )


def _pool_then_conv(pool: Conv2d, conv: Conv2d) -> Conv2d:
    k_y, k_x = pool.weights.shape[2:]
    return replace(
        conv,
        weights=np.repeat(np.repeat(conv.weights, k_y, axis=2), k_x, axis=3) * pool.weights.flat[0],
        input_shape=pool.input_shape,
        stride=(conv.stride[0] * k_y, conv.stride[1] * k_x),
        padding=(conv.padding[0] * k_y, conv.padding[1] * k_x),
    )
