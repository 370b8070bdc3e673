"""Connectivity kinds as ONNX operators on flattened values ``[batch, neurons]``.

Dense is a MatMul, Conv2d a Conv (float32). What has no operator of its own - Sparse, and Conv2d in float64, which
onnxruntime does not compute - becomes a dense MatMul where that is small. Else a convolution is a MatMul of its kernels
with the windows under them, gathered, and Sparse a gather, too: with ``k`` synapses onto the busiest target,
``I[j] = sum_k w[j, k] x[index[j, k]]``. Where there is nothing, an index points at a zero behind the last neuron.
"""

from __future__ import annotations

import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.connectivity import Connectivity, Conv2d, Dense, Sparse
from neurodeploy.network.join import Join
from neurodeploy.network.network import Population

from .nodes import Nodes

SMALL = 1 << 18
"""Weights of a dense matrix that is preferred to a gather."""

LARGEST = 1 << 25
"""Entries of the largest matrix or gather table that is written."""


def synapses(name: str, kind: Connectivity, x: str, to: Nodes) -> str:
    """Append ``W x`` for one projection and return the name of the current ``[batch, targets]``.

    Args:
        name: of the projection, for the initialisers.
        x: the source's value, ``[batch, sources]``.

    Raises:
        UnsupportedError: a projection without an operator of its own that is too large as a matrix and as a table.
    """
    if isinstance(kind, Dense):
        return to.add("MatMul", x, to.constant(f"{name}.weights", kind.weights.T.astype(to.number)))
    if isinstance(kind, Conv2d) and to.number == np.float32:
        return _conv(name, kind, x, to)
    if isinstance(kind, Sparse) and _is_diagonal(kind):
        return to.add("Mul", x, to.constant(f"{name}.weights", kind.weights.astype(to.number)))
    if kind.inputs * kind.outputs <= SMALL:
        matrix = kind.to_csr().toarray().astype(to.number)
        return to.add("MatMul", x, to.constant(f"{name}.weights", matrix))
    return windows(name, kind, x, to) if isinstance(kind, Conv2d) else _gathered(name, kind, x, to)


def windows(name: str, kind: Conv2d, x: str, to: Nodes) -> str:
    """As `synapses`, of a convolution in any floats: kernels ``[groups, c_out, taps]`` times windows ``[batch, groups,
    taps, positions]``, padding included.

    Raises:
        UnsupportedError: windows of too many entries.
    """
    image = np.arange(1, kind.inputs + 1, dtype=np.int32).reshape(1, *kind.input_shape)
    under = kind.patches(image)[0].transpose(0, 3, 4, 1, 2)  # [c_in, k_h, k_w, h_out, w_out]; 0 is padding
    _check_size(name, under.size, "a convolution with windows")
    index = np.where(under > 0, under - 1, kind.inputs).astype(np.int32)
    index = index.reshape(kind.groups, -1, kind.output_shape[1] * kind.output_shape[2])
    kernels = kind.weights.astype(to.number).reshape(kind.groups, len(kind.weights) // kind.groups, -1)
    taken = to.add("Gather", _with_zero(x, to), to.constant(f"{name}.windows", index), axis=1)
    return to.add("Flatten", to.add("MatMul", to.constant(f"{name}.weights", kernels), taken), axis=1)


def joined(population: Population, join: Join, current: str, to: Nodes) -> str:
    """Append the MAX of compartments and return the largest current of each neuron, ``[..., neurons]``; those without
    any take a zero behind all.

    Args:
        current: of the compartments, ``[..., compartments]``.
    """
    index = join.table(population.size)
    none, some = join.compartments, (index >= 0).any(axis=1, keepdims=True)
    # Where a neuron has fewer than others, its first one is repeated.
    index = np.where(index >= 0, index, np.where(some, index[:, :1], none))
    if not some.all():
        current = to.add("Pad", current, to.whole("one_behind", 0, 1), "", to.whole("minus_one", -1))
    table = to.constant(f"{population.name}.compartments", index.astype(np.int64))
    return to.add("ReduceMax", to.add("Gather", current, table, axis=-1), to.whole("minus_one", -1), keepdims=0)


def _gathered(name: str, kind: Connectivity, x: str, to: Nodes) -> str:
    by_target = kind.to_csr().tocsc()
    counts = np.diff(by_target.indptr)
    width = int(counts.max(initial=1))
    _check_size(name, kind.outputs * width, f"{kind.outputs:,} targets with up to {width:,} synapses")
    index = np.full((kind.outputs, width), kind.inputs, np.int64)
    weights = np.zeros((kind.outputs, width), to.number)
    row = np.repeat(np.arange(kind.outputs), counts)
    column = np.arange(len(by_target.indices)) - np.repeat(by_target.indptr[:-1], counts)
    index[row, column], weights[row, column] = by_target.indices, by_target.data
    taken = to.add("Gather", _with_zero(x, to), to.constant(f"{name}.sources", index), axis=1)
    products = to.add("Mul", taken, to.constant(f"{name}.weights", weights))
    return to.add("ReduceSum", products, to.whole("last_axis", 2), keepdims=0)


def _with_zero(x: str, to: Nodes) -> str:
    return to.add("Pad", x, to.whole("pad_one", 0, 0, 0, 1))


def _check_size(name: str, entries: int, what: str) -> None:
    if entries > LARGEST:
        raise UnsupportedError(
            f"projection {name!r} is too large for an ONNX graph without operators for it",
            found=f"{what}: {entries:,} entries", allowed=f"{LARGEST:,} entries",
            hint="export in float32, where a convolution stays one, or split the layer",
        )  # fmt: skip


def _is_diagonal(kind: Sparse) -> bool:
    n = kind.inputs
    return (
        kind.outputs == n
        and np.array_equal(kind.targets, np.arange(n))
        and np.array_equal(kind.indptr, np.arange(n + 1))
    )


def _conv(name: str, kind: Conv2d, x: str, to: Nodes) -> str:
    image = to.add("Reshape", x, to.whole(f"{name}.image", -1, *kind.input_shape))
    result = to.add(
        "Conv",
        image,
        to.constant(f"{name}.weights", kind.weights.astype(np.float32)),
        kernel_shape=list(kind.weights.shape[2:]),
        strides=list(kind.stride),
        pads=[*kind.padding, *kind.padding],
        dilations=list(kind.dilation),
        group=kind.groups,
    )
    return to.add("Flatten", result, axis=1)
