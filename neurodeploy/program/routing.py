"""Who sends how many synapses to which core: the table from which placement, counts and timing are computed.

A convolution is not expanded. A tap (i, j) of its kernel joins the source position q with at most one target position
p; with ``A_ij[q, p]`` for that, and ``N[p, k]`` the number of output channels of a group that core k holds at p, a
source neuron of that group at q has

    synapses[q, k] = sum over i, j, p of A_ij[q, p] N[p, k]

on core k, whatever its channel; for the synapses that are not zero, N counts channels whose weight at (i, j) is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.sparse import csr_array, hstack, vstack

from neurodeploy.network.arrays import Array
from neurodeploy.network.connectivity import Conv2d, Dense
from neurodeploy.network.network import Projection

_ONE = 1 << 32
"""One product counts both: every synapse adds this, a non-zero one 1 more."""


@dataclass(frozen=True, eq=False)
class FanOut:
    """Synapses of each source neuron on each core, by source: entries ``indptr[i] : indptr[i + 1]``.

    Args:
        cores: core of each entry.
        synapses: stored synapses there.
        nonzero: those whose weight is not zero.
        indptr: ``[source neurons + 1]``.
    """

    cores: Array
    synapses: Array
    nonzero: Array
    indptr: Array


def fan_out(projection: Projection, core_of_target: Array) -> FanOut:
    """Table of a projection whose target neurons live on ``core_of_target`` (``[target neurons]``)."""
    kind = projection.connectivity
    table = (
        _of_convolution(kind, core_of_target) if isinstance(kind, Conv2d) else _of_listed(projection, core_of_target)
    )
    table.sort_indices()
    return FanOut(table.indices.astype(np.int64), table.data // _ONE, table.data % _ONE, table.indptr.astype(np.int64))


def _of_listed(projection: Projection, core_of_target: Array) -> csr_array:
    one = projection.connectivity.listed()
    targets = len(core_of_target)
    home = csr_array(
        (np.ones(targets, np.int64), core_of_target.astype(np.int64), np.arange(targets + 1)),
        shape=(targets, int(core_of_target.max(initial=0)) + 1),
    )
    counted = _ONE + (one.weights != 0).astype(np.int64)
    both = csr_array((counted, one.targets, one.indptr), (one.inputs, one.outputs))
    return csr_array(both @ home)


def _of_convolution(kind: Conv2d, core_of_target: Array) -> csr_array:
    width = int(core_of_target.max(initial=0)) + 1
    c_out, positions = kind.output_shape[0], kind.output_shape[1] * kind.output_shape[2]
    cores = core_of_target.reshape(c_out, positions)
    c_in, per_group = kind.weights.shape[1], c_out // kind.groups
    ways = csr_array(hstack(taps(*_geometry(kind)), format="csr"))  # [source positions, taps x target positions]
    full = (kind.weights != 0).reshape(c_out, c_in, -1)
    rows = []
    for group in range(kind.groups):
        part = slice(group * per_group, (group + 1) * per_group)
        here = cores[part].astype(np.int64) + np.arange(positions) * width  # [channels of the group, positions]
        if full[part].all():
            there = _table(here, np.full(here.shape, _ONE + 1), positions, width)
            rows += [csr_array(ways @ vstack([there] * full.shape[2], format="csr"))] * c_in
            continue
        for channel in range(c_in):
            by_tap = [
                _table(here, _ONE + np.repeat(full[part, channel, tap, None], positions, axis=1), positions, width)
                for tap in range(full.shape[2])
            ]
            rows.append(csr_array(ways @ vstack(by_tap, format="csr")))
    return csr_array(vstack(rows, format="csr"))


def _table(at: Array, values: Array, positions: int, width: int) -> csr_array:
    """Sum ``values`` at ``position x core``: ``[positions, cores]``."""
    cells, inverse = np.unique(at, return_inverse=True)
    sums = np.zeros(len(cells), np.int64)
    np.add.at(sums, inverse.ravel(), values.ravel())
    return csr_array((sums, (cells // width, cells % width)), shape=(positions, width))


def _geometry(kind: Conv2d) -> tuple[tuple[int, ...], ...]:
    kernel = (int(kind.weights.shape[2]), int(kind.weights.shape[3]))
    return kind.input_shape[1:], kind.output_shape[1:], kernel, kind.stride, kind.padding, kind.dilation


@lru_cache(maxsize=32)
def taps(
    source: tuple[int, int],
    target: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[csr_array, ...]:
    """``A_ij`` for every tap of a kernel, row by row: bool ``[source positions, target positions]``."""
    along = [
        [
            _line(source[axis], target[axis], tap, stride[axis], padding[axis], dilation[axis])
            for tap in range(kernel[axis])
        ]
        for axis in (0, 1)
    ]
    found = []
    for y_source, y_target in along[0]:
        for x_source, x_target in along[1]:
            rows = (y_source[:, None] * source[1] + x_source).ravel()
            columns = (y_target[:, None] * target[1] + x_target).ravel()
            shape = (source[0] * source[1], target[0] * target[1])
            found.append(csr_array((np.ones(len(rows), np.int64), (rows, columns)), shape=shape))
    return tuple(found)


def _line(source: int, target: int, tap: int, stride: int, padding: int, dilation: int) -> tuple[Array, Array]:
    """Source and target coordinates that a tap joins along one axis."""
    there = np.arange(target)
    here = there * stride - padding + tap * dilation
    inside = (here >= 0) & (here < source)
    return here[inside], there[inside]


def fan_in(projection: Projection, targets: Array) -> Array:
    """Stored synapses onto each of ``targets`` (flat indices), ``[len(targets)]``."""
    kind = projection.connectivity
    if isinstance(kind, Dense):
        return np.full(len(targets), kind.inputs)
    if not isinstance(kind, Conv2d):
        return np.bincount(kind.listed().targets, minlength=kind.outputs)[targets]
    _, height, width = kind.output_shape
    down, across = (kind.inside(axis) for axis in (0, 1))
    return np.asarray(down[targets // width % height] * across[targets % width] * kind.weights.shape[1])


def sources_of(projection: Projection, targets: Array) -> int:
    """Number of source neurons with a synapse onto any of ``targets`` (flat indices): the axons that they need."""
    kind = projection.connectivity
    if isinstance(kind, Dense):
        return kind.inputs if len(targets) else 0
    if not isinstance(kind, Conv2d):
        one = kind.listed()
        wanted = np.zeros(kind.outputs, bool)
        wanted[targets] = True
        reached = np.add.reduceat(np.append(wanted[one.targets], False), one.indptr[:-1]) > 0
        return int((reached & (np.diff(one.indptr) > 0)).sum())
    positions = kind.output_shape[1] * kind.output_shape[2]
    group = (targets // positions) // (kind.output_shape[0] // kind.groups)
    total = 0
    for member in np.unique(group):
        there = np.unique(targets[group == member] % positions)
        total += len(_heard(kind, there)) * kind.weights.shape[1]
    return total


def _heard(kind: Conv2d, positions: Array) -> Array:
    """Source positions under the kernel at the target positions."""
    (height, width), target, kernel, stride, padding, dilation = _geometry(kind)
    y, x = positions // target[1], positions % target[1]
    rows = y[:, None] * stride[0] - padding[0] + np.arange(kernel[0]) * dilation[0]
    columns = x[:, None] * stride[1] - padding[1] + np.arange(kernel[1]) * dilation[1]
    flat = rows[:, :, None] * width + columns[:, None, :]
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    return np.unique(flat[inside])
