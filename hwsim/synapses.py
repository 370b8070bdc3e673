"""Synapses packed for the kernels: one class a connectivity kind, each able to deliver a step's events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from neurodeploy.connectivity import Array, Connectivity, Conv2d, Dense, with_weights
from neurodeploy.network import Arithmetic

from . import kernels


@dataclass(frozen=True, eq=False)
class EventList:
    """Events of one population in one step; see `kernels`."""

    first: Array
    index: Array
    payload: Array


class Synapses(Protocol):
    """Packed synapses of one projection."""

    def scratch(self, samples: int) -> Array:
        """A zeroed buffer for `deliver`, one for each thread."""

    def deliver(self, events: EventList, scratch: Array, current: Array) -> None:
        """Add what the events cause to ``current`` (``[batch, targets]``); leaves ``scratch`` zeroed."""


def pack(kind: Connectivity, arithmetic: Arithmetic) -> Synapses:
    """Pack a connectivity. Exponents >= 0 are folded into the weights (exact), others act on the sum."""
    weights: Array
    total: np.dtype[Any]
    if arithmetic == "float":
        weights, exponent, total = kind.weights.astype(np.float64), 0, np.dtype(np.float64)
    else:
        weights = kind.weights.astype(np.int32) << max(kind.exponent, 0)
        exponent, total = min(kind.exponent, 0), np.dtype(np.int64)
    if isinstance(kind, Dense):
        return _Rows(_DenseRows(np.ascontiguousarray(weights.T)), kind.outputs, exponent, total)
    if isinstance(kind, Conv2d):
        return _Conv.of(kind, weights, exponent, total)
    matrix = with_weights(kind, weights).to_csr()
    rows = _SparseRows(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data)
    return _Rows(rows, kind.outputs, exponent, total)


@dataclass(frozen=True, eq=False)
class _DenseRows:
    rows: Array

    def scatter(self, events: EventList, into: Array) -> None:
        kernels.scatter_dense(events.first, events.index, events.payload, self.rows, into)


@dataclass(frozen=True, eq=False)
class _SparseRows:
    indptr: Array
    targets: Array
    weights: Array

    def scatter(self, events: EventList, into: Array) -> None:
        kernels.scatter_sparse(
            events.first, events.index, events.payload, self.indptr, self.targets, self.weights, into
        )


@dataclass(frozen=True, eq=False)
class _Rows:
    """Dense or sparse rows; a negative exponent goes through a buffer of its own."""

    rows: _DenseRows | _SparseRows
    outputs: int
    exponent: int
    total: np.dtype[Any]

    def scratch(self, samples: int) -> Array:
        return np.zeros((samples if self.exponent else 0, self.outputs), self.total)

    def deliver(self, events: EventList, scratch: Array, current: Array) -> None:
        if not self.exponent:
            self.rows.scatter(events, current)
        else:
            self.rows.scatter(events, scratch)
            kernels.add_shifted(scratch, self.exponent, current)


@dataclass(frozen=True, eq=False)
class _Conv:
    kernel: Array
    geometry: tuple[int, ...]
    image_shape: tuple[int, int, int]
    exponent: int
    total: np.dtype[Any]

    @classmethod
    def of(cls, kind: Conv2d, weights: Array, exponent: int, total: np.dtype[Any]) -> _Conv:
        c_out, c_in, k_h, k_w = weights.shape
        kernel = weights.reshape(kind.groups, c_out // kind.groups, c_in, k_h, k_w).transpose(0, 2, 3, 4, 1)
        channels, height, width = kind.output_shape
        geometry = (*kind.input_shape[1:], *kind.stride, *kind.padding, *kind.dilation)
        return cls(np.ascontiguousarray(kernel), geometry, (height, width, channels), exponent, total)

    def scratch(self, samples: int) -> Array:
        return np.zeros((samples, *self.image_shape), self.total)

    def deliver(self, events: EventList, scratch: Array, current: Array) -> None:
        if not len(events.index):
            return
        kernels.scatter_conv(events.first, events.index, events.payload, self.kernel, self.geometry, scratch)
        if self.exponent:
            kernels.add_image(scratch, self.exponent, current)
        else:
            kernels.add_image_unshifted(scratch, current)
