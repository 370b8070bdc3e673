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
from .network import Network, Projection


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
        found[population.name] = Reach(*population.neuron.reach(low, high))
    return found


def arriving(network: Network, name: str) -> tuple[Array, Array]:
    """Least and largest sum that arrives at port 0 in one step, ``[neurons]`` each."""
    size = network.by_name[name].size
    low, high = np.zeros(size), np.zeros(size)
    for projection in network.into(name):
        if projection.port == 0:
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
