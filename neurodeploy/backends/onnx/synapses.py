"""Connectivity kinds as ONNX operators on flattened values ``[batch, neurons]``.

Dense is a MatMul, Conv2d a Conv (float32). What has no operator of its own - Sparse, and Conv2d in float64, which
onnxruntime does not compute - becomes a dense MatMul where that is small, else a gather: with ``k`` synapses onto the
busiest target, ``I[j] = sum_k w[j, k] x[index[j, k]]``, where missing synapses point at a zero behind the last neuron.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.arrays import Array
from neurodeploy.network.connectivity import Connectivity, Conv2d, Dense, Sparse

SMALL = 1 << 18
"""Weights of a dense matrix that is preferred to a gather."""

LARGEST = 1 << 25
"""Entries of the largest matrix or gather table that is written."""

Add = Callable[..., str]
"""``add(operator, *inputs, **attributes)`` appends a node and returns its output."""

Constant = Callable[[str, Array], str]
"""``constant(name, values)`` stores an initialiser and returns its name."""


def synapses(name: str, kind: Connectivity, x: str, add: Add, constant: Constant, number: np.dtype) -> str:
    """Append ``W x`` for one projection and return the name of the current ``[batch, targets]``.

    Args:
        name: of the projection, for the initialisers.
        x: the source's value, ``[batch, sources]``.
        number: float32 or float64.

    Raises:
        UnsupportedError: a sparse projection that is too large as a matrix and as a table.
    """
    if isinstance(kind, Dense):
        return add("MatMul", x, constant(f"{name}.weights", kind.weights.T.astype(number)))
    if isinstance(kind, Conv2d) and number == np.float32:
        return _conv(name, kind, x, add, constant)
    matrix = kind.to_csr()
    if isinstance(kind, Sparse) and _is_diagonal(kind):
        return add("Mul", x, constant(f"{name}.weights", kind.weights.astype(number)))
    if kind.inputs * kind.outputs <= SMALL:
        return add("MatMul", x, constant(f"{name}.weights", matrix.toarray().astype(number)))
    by_target = matrix.tocsc()
    counts = np.diff(by_target.indptr)
    width = int(counts.max(initial=1))
    if kind.outputs * width > LARGEST:
        raise UnsupportedError(
            f"projection {name!r} is too large for an ONNX graph without sparse operators",
            found=f"{kind.outputs:,} targets with up to {width:,} synapses: {kind.outputs * width:,} entries",
            allowed=f"{LARGEST:,} entries",
            hint="export in float32, where a convolution stays one, or split the layer",
        )
    index = np.full((kind.outputs, width), kind.inputs, np.int64)
    weights = np.zeros((kind.outputs, width), number)
    row = np.repeat(np.arange(kind.outputs), counts)
    column = np.arange(len(by_target.indices)) - np.repeat(by_target.indptr[:-1], counts)
    index[row, column], weights[row, column] = by_target.indices, by_target.data
    padded = add("Pad", x, constant("pad_one", np.array([0, 0, 0, 1], np.int64)))
    taken = add("Gather", padded, constant(f"{name}.sources", index), axis=1)
    products = add("Mul", taken, constant(f"{name}.weights", weights))
    return add("ReduceSum", products, constant("last_axis", np.array([2], np.int64)), keepdims=0)


def _is_diagonal(kind: Sparse) -> bool:
    n = kind.inputs
    return (
        kind.outputs == n
        and np.array_equal(kind.targets, np.arange(n))
        and np.array_equal(kind.indptr, np.arange(n + 1))
    )


def _conv(name: str, kind: Conv2d, x: str, add: Add, constant: Constant) -> str:
    image = add("Reshape", x, constant(f"{name}.image", np.array([-1, *kind.input_shape], np.int64)))
    result = add(
        "Conv",
        image,
        constant(f"{name}.weights", kind.weights.astype(np.float32)),
        kernel_shape=list(kind.weights.shape[2:]),
        strides=list(kind.stride),
        pads=[*kind.padding, *kind.padding],
        dilations=list(kind.dilation),
        group=kind.groups,
    )
    return add("Flatten", result, axis=1)
