"""How one population's events reach another: the connectivity kinds, never expanded unless asked.

Every kind is a linear map ``I = W s`` from the flattened source to the flattened target. Neurons are numbered in
C order of the population's shape (``channels, height, width`` for images, as torch and NIR do).

In an integer network weights are *effective* integers (after the chip's truncation, ``int16``) and the result of
the sum is shifted by ``exponent``: ``a = (W s) << exponent`` (floor shift right when negative).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from neurodeploy.errors import InvalidInputError

from .arrays import Array, Sealed, sole
from .schema import check_numbers, check_within

if TYPE_CHECKING:
    from scipy.sparse import csr_array


LARGEST = 1 << 24
"""Length of a side of an image, a kernel, a stride."""
EXPONENTS = 31
"""Largest magnitude of an exponent; a chip's is 8."""


@runtime_checkable
class Connectivity(Protocol):
    """What every connectivity kind offers."""

    @property
    def weights(self) -> Array:
        """The stored weights; their layout is the kind's own."""

    @property
    def exponent(self) -> int:
        """Shift of the summed current (integer networks)."""

    @property
    def inputs(self) -> int:
        """Number of source neurons."""

    @property
    def outputs(self) -> int:
        """Number of target neurons."""

    def apply(self, values: Array) -> Array:
        """Return ``W s`` without the exponent: ``[batch, inputs] -> [batch, outputs]``, in the dtype of both."""

    def listed(self) -> Sparse:
        """The same synapses one by one; stored zero weights are kept."""

    def to_csr(self) -> csr_array:
        """Synapses as a ``[inputs, outputs]`` CSR array of the caller's own, which may be changed."""

    def synapses(self) -> int:
        """Number of synapses, those of weight zero included; nothing is expanded to count them."""

    def stored_weights(self) -> int:
        """Number of weights the kind keeps in memory (a shared kernel counts once)."""

    def onto_targets(self, values: Array, combine: np.ufunc) -> Array:
        """``np.add`` or ``np.maximum`` of what belongs to each stored weight, over the synapses of each target.

        A shared kernel's weights all count at every position, also where the window leaves the image.

        Args:
            values: as `weights`; not negative where the largest is asked for.
            combine: ``np.add`` for the sum, ``np.maximum`` for the largest.

        Returns:
            ``[outputs]``; 0 where there is no synapse.
        """

    def behind_weights(self, values: Array) -> Array:
        """``[inputs]`` values of the source behind each stored weight, broadcastable to `weights`.

        Behind a shared kernel it is the mean over the positions of a channel.
        """

    def scaled(self, gain: Array) -> Connectivity:
        """The map with every synapse onto target ``j`` multiplied by ``gain[j]``; ``gain`` is ``[outputs]``."""


def with_weights(kind: Connectivity, weights: Array, exponent: int = 0) -> Connectivity:
    """Return the same connectivity with other weights of the same shape."""
    if weights.shape != kind.weights.shape:
        raise InvalidInputError(
            "weights of the wrong shape", found=list(weights.shape), allowed=list(kind.weights.shape)
        )
    changed: Connectivity = replace(kind, weights=weights, exponent=exponent)  # type: ignore[type-var]
    return changed


def largest_sum(kind: Connectivity) -> float:
    """Largest ``sum |w|`` over the synapses of one target, times ``2^exponent`` where that is above 1.

    For a shared kernel it is that of a target whose window lies inside the image, so it bounds the others.
    """
    sums = kind.onto_targets(np.abs(kind.weights.astype(np.float64)), np.add)
    return float(sums.max(initial=0.0)) * 2.0 ** max(kind.exponent, 0)


def _check_weights(kind: Connectivity, axes: int) -> None:
    """Refuse weights that are not finite numbers, and exponents beyond any chip's.

    Raises:
        InvalidInputError: says what is wrong.
    """
    what = f"the weights of {type(kind).__name__}"
    check_numbers(what, kind.weights, axes)
    if kind.weights.dtype.kind == "f" and not np.isfinite(kind.weights).all():
        raise InvalidInputError(f"{what} are not all finite", allowed="finite numbers")
    if not -EXPONENTS <= kind.exponent <= EXPONENTS:
        raise InvalidInputError(
            f"the exponent of {what[4:]} is out of its range",
            found=kind.exponent,
            allowed=f"{-EXPONENTS} to {EXPONENTS}",
        )


def _csr(kind: Connectivity) -> csr_array:
    from scipy.sparse import csr_array

    one = kind.listed()
    return csr_array((one.weights, one.targets, one.indptr), shape=(one.inputs, one.outputs), copy=True)


@dataclass(frozen=True, eq=False)
class Dense(Sealed):
    """All-to-all.

    Args:
        weights: ``[targets, sources]``.
        exponent: of the sum, in an integer network.
    """

    weights: Array
    exponent: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_weights(self, 2)

    @property
    def inputs(self) -> int:
        return int(self.weights.shape[1])

    @property
    def outputs(self) -> int:
        return int(self.weights.shape[0])

    def apply(self, values: Array) -> Array:
        return np.asarray(values @ self.weights.T.astype(values.dtype))

    def listed(self) -> Sparse:
        rows, columns = self.inputs, self.outputs
        return Sparse(
            weights=sole(self.weights.T.flatten()),
            targets=sole(np.tile(np.arange(columns, dtype=np.int32), rows)),
            indptr=sole(np.arange(rows + 1, dtype=np.int64) * columns),
            target_count=columns,
            exponent=self.exponent,
        )

    def to_csr(self) -> csr_array:
        return _csr(self)

    def synapses(self) -> int:
        return self.weights.size

    def stored_weights(self) -> int:
        return self.weights.size

    def onto_targets(self, values: Array, combine: np.ufunc) -> Array:
        return np.asarray(combine.reduce(values, axis=1, initial=0))

    def behind_weights(self, values: Array) -> Array:
        return values[None, :]

    def scaled(self, gain: Array) -> Connectivity:
        return replace(self, weights=sole(self.weights * gain[:, None]))


@dataclass(frozen=True, eq=False)
class Sparse(Sealed):
    """Listed synapses, by source: those of source ``i`` are ``targets[indptr[i]:indptr[i + 1]]``.

    Args:
        weights, targets: weight and flat index of the target of each synapse, ``[synapses]``.
        indptr: ``[sources + 1]``, from 0 on.
        target_count: neurons of the target.
        exponent: of the sum, in an integer network.

    Raises:
        InvalidInputError: a target that is none, or row starts that do not fit.
    """

    weights: Array
    targets: Array
    indptr: Array
    target_count: int
    exponent: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_weights(self, 1)
        check_numbers("the targets of listed synapses", self.targets, self.weights.shape, whole=True)
        check_numbers("the row starts of listed synapses", self.indptr, 1, whole=True)
        check_within("the targets of listed synapses", self.targets, 0, self.target_count - 1)
        ends = (int(self.indptr[0]), int(self.indptr[-1])) if self.indptr.size else (-1, -1)
        if ends != (0, len(self.targets)) or (self.indptr[1:] < self.indptr[:-1]).any():
            raise InvalidInputError(
                "the row starts of listed synapses do not fit them",
                found=f"{len(self.indptr)} numbers from {ends[0]} to {ends[1]}",
                allowed=f"ascending numbers from 0 to {len(self.targets)}, one more than there are sources",
            )

    @property
    def inputs(self) -> int:
        return len(self.indptr) - 1

    @property
    def outputs(self) -> int:
        return self.target_count

    def apply(self, values: Array) -> Array:
        return np.asarray(values @ self.to_csr().astype(values.dtype))

    def listed(self) -> Sparse:
        return self

    def to_csr(self) -> csr_array:
        return _csr(self)

    def synapses(self) -> int:
        return self.weights.size

    def stored_weights(self) -> int:
        return self.weights.size

    def onto_targets(self, values: Array, combine: np.ufunc) -> Array:
        if combine is np.add:
            return np.bincount(self.targets, values, minlength=self.outputs)
        found = np.zeros(self.outputs, values.dtype)
        combine.at(found, self.targets, values)
        return found

    def behind_weights(self, values: Array) -> Array:
        return np.repeat(values, np.diff(self.indptr))

    def scaled(self, gain: Array) -> Connectivity:
        return replace(self, weights=sole(self.weights * gain[self.targets]))

    @classmethod
    def from_csr(cls, matrix: csr_array) -> Sparse:
        """Take the synapses of a ``[inputs, outputs]`` CSR array as they are."""
        return cls(
            weights=np.asarray(matrix.data),
            targets=sole(matrix.indices.astype(np.int32)),
            indptr=sole(matrix.indptr.astype(np.int64)),
            target_count=int(matrix.shape[1]),
        )


@dataclass(frozen=True, eq=False)
class Conv2d(Sealed):
    """Cross-correlation as ``torch.nn.Conv2d`` defines it, with one kernel for all positions.

    Args:
        weights: ``[c_out, c_in / groups, k_h, k_w]``.
        input_shape: ``(channels, height, width)``.
        stride, padding, dilation: ``(vertical, horizontal)``, in pixels.
        groups: into which the channels are cut.
        exponent: of the sum, in an integer network.

    Raises:
        InvalidInputError: sizes that cannot be used, or channels that do not fit the groups.
    """

    weights: Array
    input_shape: tuple[int, int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    exponent: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_weights(self, 4)
        sizes = np.array(
            [int(n) for n in (*self.input_shape, *self.stride, *self.dilation, self.groups, *self.weights.shape)],
            object,
        )
        if (sizes < 1).any() or (sizes > LARGEST).any() or not 0 <= min(self.padding) <= max(self.padding) <= LARGEST:
            raise InvalidInputError(
                "a convolution has a kernel, image, stride, dilation, padding or group that cannot be used",
                found=f"kernels {list(self.weights.shape)} on {list(self.input_shape)}, stride {self.stride}, padding "
                f"{self.padding}, dilation {self.dilation}, groups {self.groups}",
                allowed=f"1 to {LARGEST:,} of each, padding from 0 on",
            )
        c_out, c_in = self.weights.shape[:2]
        if c_out % self.groups or c_in * self.groups != self.input_shape[0]:
            raise InvalidInputError(
                "the channels of a convolution do not fit its groups",
                found=f"kernels {list(self.weights.shape)} on {self.input_shape[0]} channels, {self.groups} groups",
                allowed="kernels [c_out, c_in / groups, height, width], c_out a multiple of groups",
            )
        if min(self.output_shape) < 1:
            raise InvalidInputError(
                "the kernel of a convolution is larger than its image",
                found=f"kernel {list(self.weights.shape[2:])}, dilation {self.dilation}, on "
                f"{list(self.input_shape[1:])} with padding {self.padding}",
                allowed="a kernel that fits into the padded image",
            )

    @cached_property
    def output_shape(self) -> tuple[int, int, int]:
        """``(channels, height, width)`` of the result (torch.nn.Conv2d's formula)."""
        size = [
            (self.input_shape[1 + a] + 2 * self.padding[a] - self.dilation[a] * (self.weights.shape[2 + a] - 1) - 1)
            // self.stride[a]
            + 1
            for a in (0, 1)
        ]
        return int(self.weights.shape[0]), size[0], size[1]

    @property
    def inputs(self) -> int:
        return int(np.prod(self.input_shape))

    @property
    def outputs(self) -> int:
        return int(np.prod(self.output_shape))

    def patches(self, images: Array) -> Array:
        """Windows under the kernel: ``[batch, c, h, w] -> [batch, c, h_out, w_out, k_h, k_w]`` (zero padding)."""
        (p_y, p_x), (d_y, d_x), (s_y, s_x) = self.padding, self.dilation, self.stride
        k_h, k_w = self.weights.shape[2:]
        padded = np.pad(images, ((0, 0), (0, 0), (p_y, p_y), (p_x, p_x)))
        span = (d_y * (k_h - 1) + 1, d_x * (k_w - 1) + 1)
        windows = np.lib.stride_tricks.sliding_window_view(padded, span, axis=(2, 3))
        return windows[:, :, ::s_y, ::s_x, ::d_y, ::d_x]

    def apply(self, values: Array) -> Array:
        batch = len(values)
        windows = self.patches(values.reshape(batch, *self.input_shape))
        kernels = self.weights.astype(values.dtype)
        c_out, c_in = kernels.shape[:2]
        per_group = c_out // self.groups
        parts = [
            np.einsum(
                "bcyxij,ocij->boyx",
                windows[:, g * c_in : (g + 1) * c_in],
                kernels[g * per_group : (g + 1) * per_group],
                optimize=True,
            )
            for g in range(self.groups)
        ]
        return np.concatenate(parts, axis=1).reshape(batch, -1)

    def listed(self) -> Sparse:
        c_out, h_out, w_out = self.output_shape
        c_in_group = self.weights.shape[1]
        # The windows of the index image name the source neuron under each kernel tap; -1 marks padding.
        index = np.arange(1, self.inputs + 1, dtype=np.int64).reshape(1, *self.input_shape)
        source = self.patches(index)[0] - 1  # [c_in, h_out, w_out, k_h, k_w]
        channels = np.arange(c_out)
        first = (channels // (c_out // self.groups)) * c_in_group
        members = first[:, None] + np.arange(c_in_group)  # [c_out, c_in_group]
        source = source[members]  # [c_out, c_in_group, h_out, w_out, k_h, k_w]
        target = np.arange(self.outputs).reshape(c_out, 1, h_out, w_out, 1, 1)
        weight = self.weights[:, :, None, None, :, :]
        source, target, weight = np.broadcast_arrays(source, target, weight)
        inside = source >= 0
        rows, columns, data = source[inside], target[inside], weight[inside]
        order = np.lexsort((columns, rows))
        indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=self.inputs))])
        return Sparse(
            weights=sole(data[order]),
            targets=sole(columns[order].astype(np.int32)),
            indptr=sole(indptr.astype(np.int64)),
            target_count=self.outputs,
            exponent=self.exponent,
        )

    def to_csr(self) -> csr_array:
        return _csr(self)

    def synapses(self) -> int:
        taps = [int(self.inside(axis).sum()) for axis in (0, 1)]
        return taps[0] * taps[1] * int(self.weights.shape[0]) * int(self.weights.shape[1])

    def inside(self, axis: int) -> Array:
        """Taps of the kernel inside the image, for each output coordinate along an axis (0 vertical)."""
        at = np.arange(self.output_shape[1 + axis])[:, None] * self.stride[axis] - self.padding[axis]
        at = at + np.arange(self.weights.shape[2 + axis]) * self.dilation[axis]
        return np.asarray(((at >= 0) & (at < self.input_shape[1 + axis])).sum(axis=1))

    def stored_weights(self) -> int:
        return self.weights.size

    def onto_targets(self, values: Array, combine: np.ufunc) -> Array:
        each = combine.reduce(values.reshape(len(values), -1), axis=1, initial=0)
        return np.repeat(each, self.outputs // len(each))

    def behind_weights(self, values: Array) -> Array:
        channels = values.reshape(self.input_shape[0], -1).mean(axis=1)
        per_group = self.weights.shape[1]
        first = np.arange(len(self.weights)) // (len(self.weights) // self.groups) * per_group
        return np.asarray(channels[first[:, None] + np.arange(per_group)][:, :, None, None])

    def scaled(self, gain: Array) -> Connectivity:
        planes = gain.reshape(self.output_shape[0], -1)
        if (planes == planes[:, :1]).all():
            return replace(self, weights=sole(self.weights * planes[:, 0, None, None, None]))
        return self.listed().scaled(gain)
