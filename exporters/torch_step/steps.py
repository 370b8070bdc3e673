"""From what a framework computes per step to NIR's time constants, so that forward Euler gives it back as floats.

NIR's parameters are in seconds, most frameworks' are per step; ``dt`` only gives the numbers their unit.
"""

from __future__ import annotations

import numpy as np

from neurodeploy.network.arrays import Array

NO_LEAK = 2.0**60
"""Time constant in steps that stands for no leak among leaky neurons: 1 - 2^-60 is 1 in float64."""


def leaky(leak: Array, dt: float) -> tuple[Array, Array]:
    """``tau`` and ``r`` so that, as floats, ``dt / tau`` is the leak and ``dt / tau * r`` is 1."""
    tau = np.where(leak > 0, divisor(dt, np.where(leak > 0, leak, 1)), dt * NO_LEAK)
    return tau, inverse(dt / tau)


def divisor(numerator: float, wanted: Array) -> Array:
    """``x`` so that ``numerator / x`` is ``wanted``, to the last bit where there is such a float."""
    x = numerator / wanted
    for other in (np.nextafter(x, 0), np.nextafter(x, np.inf)):
        x = np.where((numerator / x != wanted) & (numerator / other == wanted), other, x)
    return x


def inverse(given: Array) -> Array:
    """``x`` so that ``given * x`` is 1, to the last bit where there is such a float."""
    x = 1 / given
    for other in (np.nextafter(x, 0), np.nextafter(x, np.inf)):
        x = np.where((given * x != 1) & (given * other == 1), other, x)
    return x
