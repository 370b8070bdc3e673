"""Which core of the mesh each part gets: messages should travel few hops.

With the traffic ``T[a, b]`` (messages a step from part a to part b) and the distance ``d`` of two cores (XY hops
between their tiles; between chips a constant, larger than any on a chip), the cost of an arrangement is ``sum T[a, b]
d(a, b)``. Starting from the parts' own order, which keeps layers together, simulated annealing swaps two cores at a
time (also with free ones); a swap that costs ``x`` more is taken with probability exp(-x / temperature), the
temperature falling geometrically from the mean cost of a part to a thousandth. The best arrangement seen is kept, so
it is never worse than the start. Deterministic with its seed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, cast

import numpy as np

from neurodeploy.files.kernels import kept
from neurodeploy.network.arrays import Array

SWAPS_PER_CORE = 2000


def distances(cores: int, columns: int, per_tile: int, chips: int) -> Array:
    """Hops between all cores of ``chips`` chips, ``[all cores, all cores]``."""
    tile = np.arange(cores) // per_tile
    x, y = tile % columns, tile // columns
    hops = np.abs(x[:, None] - x) + np.abs(y[:, None] - y)
    if chips == 1:
        return np.asarray(hops, dtype=np.float64)
    far = 2.0 * (hops.max() + 1)
    return np.block([[hops if a == b else np.full_like(hops, far) for b in range(chips)] for a in range(chips)]) * 1.0


def arrange(traffic: Array, distance: Array, seed: int = 0) -> Array:
    """Core of each part, ``[parts]``; see the module's docstring.

    Args:
        traffic: ``[parts, parts]``, messages a step.
        distance: ``[cores, cores]``, at least as many cores as parts.
    """
    parts, cores = len(traffic), len(distance)
    both = np.zeros((cores, cores))
    both[:parts, :parts] = traffic + traffic.T
    np.fill_diagonal(both, 0)
    at = np.arange(cores)
    if both.any() and distance.any():
        anneal(both, distance, at, SWAPS_PER_CORE * parts, parts, seed)
    return at[:parts]


def cost(traffic: Array, distance: Array, at: Array) -> float:
    """``sum T[a, b] d(a, b)`` for parts at the cores ``at``."""
    return float((traffic * distance[np.ix_(at, at)]).sum())


def anneal(both: Array, distance: Array, at: Array, swaps: int, parts: int, seed: int) -> None:
    """Swap in place; ``both`` is symmetric."""
    _compiled()(both, distance, at, swaps, parts, seed)


@cache
def _compiled() -> Callable[[Array, Array, Array, int, int, int], None]:
    """Compiled when first needed, not at import: numba tries at once whether it can write beside this file."""
    from numba import njit

    compile_: Callable[..., Any] = njit
    try:
        compiled = kept(lambda: compile_(cache=True)(_anneal))
    except RuntimeError:  # nothing can be written anywhere
        compiled = compile_(_anneal)
    return cast(Callable[[Array, Array, Array, int, int, int], None], compiled)


def _anneal(both: Array, distance: Array, at: Array, swaps: int, parts: int, seed: int) -> None:
    np.random.seed(seed)
    cores = len(at)
    total = 0.0
    for a in range(cores):
        for b in range(cores):
            total += both[a, b] * distance[at[a], at[b]]
    if total == 0:
        return
    hot = total / parts
    best, now = total, total
    kept = at.copy()
    for step in range(swaps):
        temperature = hot * 0.001 ** (step / swaps)
        a = np.random.randint(parts)
        b = np.random.randint(cores)
        if a == b:
            continue
        change = 0.0
        for c in range(parts):
            if c != a and c != b:
                change += (both[a, c] - both[b, c]) * (distance[at[b], at[c]] - distance[at[a], at[c]])
        change *= 2
        if change <= 0 or np.random.random() < np.exp(-change / temperature):
            at[a], at[b] = at[b], at[a]
            now += change
            if now < best - 1e-9:
                best = now
                kept[:] = at
    at[:] = kept
