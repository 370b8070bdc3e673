"""Operators that NIR has no node for, as the matrices that they are: found by applying them to unit vectors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.arrays import Array

LARGEST = 1 << 24
"""Most entries of a matrix that is written for a layer that NIR has no node for."""

_AT_ONCE = 1 << 24
"""Most numbers that are handed to an operator at once."""

ROUNDING = 1e-9
"""Largest error of a linear operator in float64, relative to what it gives."""


def affine_of(
    apply: Callable[[Tensor], Tensor],
    before: tuple[int, ...],
    after: tuple[int, ...],
    what: str,
    first: tuple[Array, Array | None] | None = None,
) -> tuple[Array, Array | None]:
    """``(matrix, offset)`` with ``apply(x) = matrix x + offset``, or of ``apply(W x + b)``.

    Args:
        apply: ``[batch, *before] -> [batch, *after]``, float64.
        what: how messages name it.
        first: ``W [prod(before), inputs]`` and ``b``, a layer in front that is to be taken in.

    Returns:
        ``[prod(after), inputs]``, and ``[prod(after)]`` or None where it is 0.

    Raises:
        UnsupportedError: it is not linear in each sample by itself, or its matrix would be too large.
    """
    wide, outputs = int(np.prod(before)), int(np.prod(after))
    inputs = wide if first is None else first[0].shape[1]
    if inputs * outputs > LARGEST:
        raise UnsupportedError(
            f"{what} is too large: NIR can only say it as a matrix",
            found=f"{inputs:,} x {outputs:,} entries",
            allowed=f"{LARGEST:,}",
            hint="make the image smaller, or have fewer channels",
        )

    def image(rows: Array) -> Array:
        given = torch.from_numpy(np.ascontiguousarray(rows, np.float64)).reshape(len(rows), *before)
        return apply(given).reshape(len(rows), outputs).detach().numpy()

    with torch.no_grad():
        zero = image(np.zeros((1, wide)))
        matrix = np.empty((outputs, inputs))
        step = max(1, _AT_ONCE // max(wide, outputs))
        for start in range(0, inputs, step):
            columns = np.arange(start, min(start + step, inputs))
            if first is None:
                rows = np.zeros((len(columns), wide))
                rows[np.arange(len(columns)), columns] = 1
            else:
                rows = first[0][:, columns].T
            matrix[:, columns] = (image(rows) - zero).T
        x = np.random.default_rng(0).normal(size=(3, inputs))
        given = x if first is None else x @ np.asarray(first[0], np.float64).T
        right = image(given)
        if not np.allclose(right, x @ matrix.T + zero, rtol=0, atol=ROUNDING * max(1.0, float(np.abs(right).max()))):
            raise UnsupportedError(
                f"{what} is not linear in each sample by itself",
                allowed="sums of what arrives, times weights, for each sample of the batch apart",
            )
        if first is not None and first[1] is not None:
            zero = image(np.asarray(first[1], np.float64)[None])
    return matrix, zero[0].copy() if zero.any() else None
