"""Which values a maximum is taken of: the windows of a pool, or dimensions, as positions in a flattened sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.arrays import Array

POOLS = tuple(f"aten.{kind}_pool{n}d{end}" for kind in ("max", "adaptive_max") for n in (1, 2, 3)
              for end in ("", "_with_indices"))  # fmt: skip
LARGEST_OF = ("aten.amax", "aten.max", "aten.any")
LEAST_OF = ("aten.amin", "aten.min", "aten.all")


Side = tuple[int, int, int, int]
"""Kernel, stride, padding and dilation along a dimension."""


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows over the dimensions of a sample.

    Args:
        index: ``[*after, values in a window]``, positions in the flattened sample; -1 for none.
        before: shape of a sample.
        sides: of equal windows over all dimensions but the first ``(kernel, stride, padding, dilation)`` for each of
            these; empty for others.
        kept: shape of the result before dimensions of length 1 are left out.
    """

    index: Array
    before: tuple[int, ...]
    sides: tuple[Side, ...] = ()
    kept: tuple[int, ...] = ()

    @property
    def after(self) -> tuple[int, ...]:
        """Shape of the result for a sample."""
        return tuple(int(n) for n in self.index.shape[:-1])

    def summing(self) -> nir.NIRNode | None:
        """The sum over each window, of an image or a line with channels, as `kept`; None where NIR has no node for it.

        NIR pads both sides alike; where a last window reaches further (``ceil_mode``) by ``r``, both sides are padded
        by ``r`` more, and the kernel starts with ``r`` zeros.
        """
        rank, channels = len(self.sides), self.before[0]
        if len(self.before) not in (2, 3) or len(self.kept) != len(self.before):
            return None
        if self.kept == (1, *self.before[1:]):
            return _convolution(np.ones((1, channels, *[1] * (len(self.before) - 1))), self.before, 1)
        if rank != len(self.before) - 1:
            return None
        kernels, strides, paddings = [], [], []
        for n, o, (k, s, p, d) in zip(self.before[1:], self.kept[1:], self.sides, strict=True):
            more = max(0, s * (o - 1) + d * (k - 1) + 1 - (n + 2 * p))
            taps = np.zeros(more + d * (k - 1) + 1)
            taps[more::d] = 1
            kernels.append(taps)
            strides.append(s)
            paddings.append(p + more)
        if rank == 2 and all(taps.all() for taps in kernels):
            return nir.SumPool2d(np.array([len(t) for t in kernels]), np.array(strides), np.array(paddings))
        whole = kernels[0] if rank == 1 else np.outer(*kernels)
        weight = np.broadcast_to(whole, (channels, 1, *whole.shape)).copy()
        return _convolution(weight, self.before, channels, tuple(strides), tuple(paddings))


def _convolution(
    weight: Array, before: tuple[int, ...], groups: int, stride: tuple[int, ...] = (), padding: tuple[int, ...] = ()
) -> nir.NIRNode:
    rank, bias = len(before) - 1, np.zeros(len(weight))
    stride, padding = stride or (1,) * rank, padding or (0,) * rank
    if rank == 1:
        return nir.Conv1d(before[1], weight, stride[0], padding[0], 1, groups, bias)
    return nir.Conv2d((before[1], before[2]), weight, stride, padding, (1, 1), groups, bias)


def windows(operator: str, given: Mapping[str, Any], before: tuple[int, ...], after: tuple[int, ...]) -> Windows:
    """The windows of an operator of `POOLS`, `LARGEST_OF` or `LEAST_OF`.

    Args:
        given: its arguments by name; dimensions are counted with the batch.
        before, after: shapes of a sample.

    Raises:
        UnsupportedError: a maximum over the batch.
    """
    if operator not in POOLS:
        return _over_dimensions(operator, given, before, after)
    rank = int(operator.partition("pool")[2][0])
    inner, outer = before[-rank:], before[:-rank]
    if "adaptive" in operator:
        spans = []
        for n, o in zip(inner, after[-rank:], strict=True):
            starts, ends = np.arange(o) * n // o, -(-(np.arange(o) + 1) * n // o)
            each = starts[:, None] + np.arange(int((ends - starts).max()))
            spans.append(np.where(each < ends[:, None], each, -1))
        even = all(n % o == 0 for n, o in zip(inner, after[-rank:], strict=True))
        sides = tuple((n // o, n // o, 0, 1) for n, o in zip(inner, after[-rank:], strict=True)) if even else ()
        return _pool(before, outer, spans, sides)
    kernel, padding, dilation = (_each(given[key], rank) for key in ("kernel_size", "padding", "dilation"))
    stride = _each(given["stride"], rank) if given["stride"] else kernel
    sides = tuple(zip(kernel, stride, padding, dilation, strict=True))
    spans = []
    for n, o, (k, s, p, d) in zip(inner, after[-rank:], sides, strict=True):
        each = s * np.arange(o)[:, None] - p + d * np.arange(k)
        spans.append(np.where((each >= 0) & (each < n), each, -1))
    return _pool(before, outer, spans, sides)


def _pool(
    before: tuple[int, ...],
    outer: tuple[int, ...],
    spans: Sequence[Array],
    sides: tuple[Side, ...],
) -> Windows:
    index = _combined(before, outer, spans)
    return Windows(index, before, sides, index.shape[:-1]) if len(outer) == 1 else Windows(index, before)


def _over_dimensions(
    operator: str, given: Mapping[str, Any], before: tuple[int, ...], after: tuple[int, ...]
) -> Windows:
    rank, dim = len(before) + 1, given.get("dim")
    dims = range(rank) if dim is None or dim == [] else dim if isinstance(dim, (tuple, list)) else [dim]
    over = sorted({int(d) % rank for d in dims})
    if over and over[0] == 0:
        raise UnsupportedError(
            f"{operator} over the samples of a batch", allowed="each sample by itself",
            hint="give the dimensions: x.amax(dim=1), say",
        )  # fmt: skip
    places = np.arange(int(np.prod(before))).reshape(before)
    inside = [d - 1 for d in over]
    rest = [d for d in range(len(before)) if d not in inside]
    index = places.transpose(*rest, *inside).reshape(*(before[d] for d in rest), -1)
    spatial = inside == list(range(1, len(before)))
    sides = tuple((n, n, 0, 1) for n in before[1:]) if spatial else ()
    kept = tuple(1 if d in inside else n for d, n in enumerate(before))
    return Windows(index.reshape(*after, -1), before, sides, kept if spatial or inside == [0] else ())


def _combined(before: tuple[int, ...], outer: tuple[int, ...], spans: Sequence[Array]) -> Array:
    """Positions from those along each of the last dimensions ``[out, window]``."""
    sizes = before[len(outer) :]
    index = np.zeros((1, 1), np.int64)
    outside = np.zeros((1, 1), bool)
    for n, span in zip(sizes, spans, strict=True):
        shape = (index.shape[0] * span.shape[0], index.shape[1] * span.shape[1])
        index = (index[:, None, :, None] * n + span[None, :, None, :]).reshape(shape)
        outside = (outside[:, None, :, None] | (span < 0)[None, :, None, :]).reshape(shape)
    index = np.where(outside, -1, index)
    layers = np.arange(int(np.prod(outer)))[:, None, None] * int(np.prod(sizes))
    whole = np.where(index < 0, -1, index + layers)
    return whole.reshape(*outer, *(len(span) for span in spans), -1)


def _each(value: Any, rank: int) -> tuple[int, ...]:
    values = list(value) if isinstance(value, (tuple, list)) else [value]
    return tuple(int(n) for n in (values * rank if len(values) == 1 else values))
