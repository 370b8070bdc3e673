"""How far the integers of a population can go, whatever its inputs do: proven from weights, decays and thresholds.

What arrives at a neuron in one step lies between the sums of its negative and of its positive weights, times the
largest message of each source. From there each model bounds its own states (`Neuron.reach`). The bounds hold for every
input; a real input stays far inside most of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .arrays import Array
from .join import PORT, Join
from .network import Network, Projection
from .neuron import STATE_LIMIT


@dataclass(frozen=True)
class Reach:
    """Largest magnitude of a population's states in multiples of their range: above 1 they can leave it.

    Args:
        u: of the current, before it wraps.
        v: of the potential, or of what a threshold is raised by, before it saturates and where that would matter.
    """

    u: float
    v: float

    @property
    def bounded(self) -> bool:
        """Whether no value can leave its range."""
        return max(self.u, self.v) <= 1


def reach(network: Network) -> Mapping[str, Reach]:
    """The reach of each population of an integer network that computes something."""
    found = {}
    for population in network.populations:
        if population.external:
            continue
        low, high = arriving(network, population.name)
        joined = 0.0
        if population.join is not None:
            joined, low, high = _joined(network, population.name, population.join, low, high)
        u, v = population.neuron.reach(low, high)
        found[population.name] = Reach(max(u, joined), v)
    return found


def _joined(network: Network, name: str, join: Join, low: Array, high: Array) -> tuple[float, Array, Array]:
    """How far the currents of compartments go, and the least and largest sum at the neurons behind them."""
    population = network.by_name[name]
    least, most = arriving(network, name, PORT)
    limit = STATE_LIMIT >> population.neuron.current_shift
    far = float(np.maximum(-least, most).max(initial=0.0)) / (limit - 1)
    wraps = (np.maximum(-least, most) >= limit).astype(bool)
    least, most = np.where(wraps, 1.0 - limit, least), np.where(wraps, float(limit), most)
    return far, low + join.largest(least, population.size), high + join.largest(most, population.size)


def arriving(network: Network, name: str, port: int = 0) -> tuple[Array, Array]:
    """Least and largest sum that arrives at a port in one step, ``[neurons]`` each, or ``[compartments]``."""
    size = network.by_name[name].ends(port)
    low, high = np.zeros(size), np.zeros(size)
    for projection in network.into(name):
        if projection.port == port:
            neuron = network.by_name[projection.source].neuron
            most = neuron.largest_message(network.arithmetic)
            least, largest = _sums(projection, most, neuron.signed(network.arithmetic))
            low, high = low + least, high + largest
    return low, high


def _sums(projection: Projection, most: int, signed: bool) -> tuple[Array, Array]:
    """What one projection delivers at least and at most."""
    negative, positive = projection.sums
    least, largest = (negative - positive, positive - negative) if signed else (negative, positive)
    exponent = projection.connectivity.exponent
    # A negative exponent rounds the sum down, which keeps the order.
    return np.floor(least * most * 2.0**exponent), np.floor(largest * most * 2.0**exponent)
