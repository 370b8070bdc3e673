"""Weights to whole steps of their grid: each to the nearest, or so that the roundings of a neuron cancel.

*Compensated* rounding takes a neuron's weights one after the other, largest activity first, and moves the ones still
in floats so that they make up for the error just made. With ``H = X^T X + lambda I`` of the traces ``X`` that the
weights are multiplied with (`neurodeploy.passes.quantise.calibration`) and the Cholesky factor ``H^-1 = U^T U``, after
rounding weight i

    w_k <- w_k - (w_i - q_i) U_ik / U_ii    for the weights k behind it,

which is the least-squares update of optimal brain surgeon (Hassibi and Stork, NIPS 1992) in the order and form of
GPTQ (Frantar et al., ICLR 2023, Eq. 2-3). Weights of zero stay zero, since they may be synapses that do not exist.
``lambda`` is `DAMPING` times the mean of the diagonal: it keeps weights of sources that hardly spoke in calibration
near their own value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from neurodeploy.network.arrays import Array
from neurodeploy.network.connectivity import Connectivity, Conv2d, Dense, Sparse, with_weights
from neurodeploy.network.network import Projection

from .scaling import Grid

DAMPING = 0.1

WIDEST = 4096
"""Most weights of one neuron that are compensated together (the cost grows with their cube)."""

ROWS = 1 << 15
"""Most rows of ``X``; with more, every n-th is taken."""


def nearest(projection: Projection, scale: Array, grid: Grid) -> Projection:
    """Every weight to the nearest step."""
    scaled = projection.connectivity.scaled(scale)
    return _finished(projection, scaled, grid.nearest(scaled.weights), grid)


def compensated(
    projections: list[Projection], scale: Array, grids: Mapping[str, Grid], traces: Mapping[str, Array | None]
) -> list[Projection]:
    """Round the projections into one population such that their errors cancel on the calibration samples.

    Dense and sparse projections are taken together; convolutions each for itself, over the patches under their kernel.
    A projection without traces, or wider than `WIDEST`, is rounded to the nearest.

    Args:
        scale: of the target neurons, ``[neurons]``.
        grids, traces: by projection; traces ``[rows, source neurons]``.
    """
    done: dict[str, Projection] = {}
    together: list[Projection] = []
    for projection in projections:
        heard, grid, kind = traces.get(projection.name), grids[projection.name], projection.connectivity
        if heard is None or not np.any(heard) or _parallel(kind):
            done[projection.name] = nearest(projection, scale, grid)
        elif isinstance(kind, Conv2d):
            done[projection.name] = _convolution(projection, kind, scale, grid, heard)
        else:
            together.append(projection)
    width = sum(p.connectivity.inputs for p in together)
    if together and width <= WIDEST and width * len(scale) <= WIDEST**2:
        done |= _matrices(together, scale, grids, traces)
    return [done[p.name] if p.name in done else nearest(p, scale, grids[p.name]) for p in projections]


def _matrices(
    projections: list[Projection], scale: Array, grids: Mapping[str, Grid], traces: Mapping[str, Array | None]
) -> dict[str, Projection]:
    matrices = [_matrix(p.connectivity) * scale[:, None] for p in projections]
    heard = [traces[p.name] for p in projections]
    rows = np.concatenate([_thinned(h) for h in heard if h is not None], axis=1)
    columns = [(grids[p.name], m.shape[1]) for p, m in zip(projections, matrices, strict=True)]
    steps = _compensate(np.concatenate(matrices, axis=1), rows, columns)
    result, start = {}, 0
    for projection, matrix in zip(projections, matrices, strict=True):
        part = steps[:, start : start + matrix.shape[1]]
        start += matrix.shape[1]
        kind, grid = projection.connectivity, grids[projection.name]
        if isinstance(kind, Dense):
            result[projection.name] = _finished(projection, kind, part, grid)
        else:
            listed = kind.to_csr().tocoo()
            result[projection.name] = _finished(projection, kind, part[listed.col, listed.row], grid)
    return result


def _convolution(projection: Projection, kind: Conv2d, scale: Array, grid: Grid, heard: Array) -> Projection:
    """A shared kernel: its rows are the output channels, its columns the taps; groups are apart."""
    kernels = kind.weights * scale.reshape(len(kind.weights), -1)[:, 0, None, None, None]
    c_out, c_in = kernels.shape[:2]
    if kernels[0].size > WIDEST:
        return nearest(projection, scale, grid)
    positions = kind.output_shape[1] * kind.output_shape[2]
    images = _thinned(heard, max(ROWS // positions, 1)).reshape(-1, *kind.input_shape)
    windows = kind.patches(images)
    steps = np.zeros_like(kernels)
    per_group = c_out // kind.groups
    for g in range(kind.groups):
        rows = windows[:, g * c_in : (g + 1) * c_in].transpose(0, 2, 3, 1, 4, 5).reshape(-1, kernels[0].size)
        part = slice(g * per_group, (g + 1) * per_group)
        flat = kernels[part].reshape(per_group, -1)
        steps[part] = _compensate(flat, _thinned(rows), [(grid, flat.shape[1])]).reshape(kernels[part].shape)
    return _finished(projection, kind, steps, grid)


def _compensate(weights: Array, rows: Array, columns: list[tuple[Grid, int]]) -> Array:
    """Steps of ``weights`` ``[neurons, columns]`` (state units) on traces ``[rows, columns]``; see the module."""
    unit = np.concatenate([np.full(n, grid.unit) for grid, n in columns])
    low = np.concatenate([np.full(n, grid.low // grid.step) for grid, n in columns])
    high = np.concatenate([np.full(n, grid.high // grid.step) for grid, n in columns])
    heard = rows.astype(np.float64)
    hessian = heard.T @ heard
    hessian[np.diag_indices_from(hessian)] += DAMPING * float(np.mean(np.diag(hessian))) or 1.0
    order = np.argsort(-np.diag(hessian), kind="stable")
    factor = np.linalg.cholesky(np.linalg.inv(hessian[np.ix_(order, order)])).T
    left = weights[:, order].astype(np.float64)
    absent = weights[:, order] == 0
    steps = np.zeros_like(left)
    for at, column in enumerate(order):
        chosen = np.clip(np.rint(left[:, at] / unit[column]), low[column], high[column])
        chosen[absent[:, at]] = 0
        steps[:, at] = chosen
        off = (left[:, at] - chosen * unit[column]) / factor[at, at]
        left[:, at + 1 :] -= off[:, None] * factor[at, at + 1 :]
    result = np.empty_like(steps)
    result[:, order] = steps
    return result


def _matrix(kind: Connectivity) -> Array:
    """``[targets, sources]``."""
    return kind.weights if isinstance(kind, Dense) else np.asarray(kind.to_csr().toarray().T)


def _parallel(kind: Connectivity) -> bool:
    """Whether a listed pair has more than one synapse, which a matrix cannot tell apart."""
    if not isinstance(kind, Sparse):
        return False
    matrix = kind.to_csr()
    matrix.sum_duplicates()
    return bool(matrix.nnz != kind.weights.size)


def _thinned(rows: Array, most: int = ROWS) -> Array:
    return rows[:: -(-len(rows) // most)]


def _finished(projection: Projection, kind: Connectivity, steps: Array, grid: Grid) -> Projection:
    weights = (steps * grid.step).astype(np.int16)
    return replace(projection, connectivity=with_weights(kind, weights, grid.exponent))
