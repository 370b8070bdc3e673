"""How far the integers of a population can go, whatever its inputs do: proven from weights, decays and thresholds.

What arrives at a neuron in one step lies between the sums of its negative and of its positive weights, times the
largest message of each source. From there each model bounds its own states (`Neuron.reach`). The bounds hold for every
input; a real input stays far inside most of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from .arrays import Array
from .connectivity import with_weights
from .dispatch import expect
from .join import PORT, Join
from .network import Network, Population, Projection
from .neuron import STATE_LIMIT
from .neurons import Neuron, Product


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
    return _walked(network)[0]


def messages(network: Network) -> Mapping[str, int]:
    """Largest magnitude of what each population of an integer network sends in a step."""
    _, levels, most = _walked(network)
    for name, (low, high) in levels.items():
        if network.by_name[name].neuron.sums_up:  # a message is the change of the sum
            most[name] = int(min(most[name], (high - low).max(initial=0.0)))
    return most


def _walked(network: Network) -> tuple[dict[str, Reach], dict[str, tuple[Array, Array]], dict[str, int]]:
    """The reach of each population, between what the sums of all its messages lie (`Neuron.levels`), and the largest
    magnitude of one of them."""
    found: dict[str, Reach] = {}
    levels: dict[str, tuple[Array, Array]] = {}
    most = {p.name: p.neuron.largest_message(network.arithmetic) for p in network.populations}
    bounds: Mapping[type[Neuron], Callable[[Network, Population, Mapping[str, int]], int]] = {Product: _product}
    for population in network.populations:
        low, high = arriving(network, population.name, levels=levels, most=most)
        joined = 0.0
        if population.join is not None:
            joined, low, high = _joined(network, population.name, population.join, low, high, most)
        if type(population.neuron) in bounds:
            most[population.name] = bounds[type(population.neuron)](network, population, most)
        levels[population.name] = population.neuron.levels(low, high)
        if not population.external:
            u, v = population.neuron.reach(low, high)
            found[population.name] = Reach(max(u, joined), v)
    return found, levels, most


def _product(network: Network, population: Population, most: Mapping[str, int]) -> int:
    """Largest magnitude of a product: that of both factors, without the bits that it is shifted by."""
    neuron = expect(population, Product, "reach")
    ends = [arriving(network, population.name, port, most=most) for port in range(neuron.ports)]
    far = [float(np.maximum(-low, high).max(initial=0.0)) for low, high in ends]
    return min(most[population.name], math.ceil(math.prod(far) / float(1 << neuron.shift)))


def _joined(
    network: Network, name: str, join: Join, low: Array, high: Array, sent: Mapping[str, int]
) -> tuple[float, Array, Array]:
    """How far the currents of compartments go, and the least and largest sum at the neurons behind them."""
    population = network.by_name[name]
    least, most = arriving(network, name, PORT, most=sent)
    limit = STATE_LIMIT >> population.neuron.current_shift
    far = float(np.maximum(-least, most).max(initial=0.0)) / (limit - 1)
    wraps = (np.maximum(-least, most) >= limit).astype(bool)
    least, most = np.where(wraps, 1.0 - limit, least), np.where(wraps, float(limit), most)
    return far, low + join.largest(least, population.size), high + join.largest(most, population.size)


def arriving(
    network: Network,
    name: str,
    port: int = 0,
    levels: Mapping[str, tuple[Array, Array]] | None = None,
    most: Mapping[str, int] | None = None,
) -> tuple[Array, Array]:
    """Least and largest sum that arrives at a port in one step, ``[neurons]`` each, or ``[compartments]``.

    Args:
        network: in integers.
        name: of the population.
        port: of the population.
        levels: of the populations before it; then, where its neurons sum up, what arrives in all steps together.
        most: largest magnitude of what each population sends; None for what their neurons say.
    """
    population = network.by_name[name]
    low, high = np.zeros(population.ends(port)), np.zeros(population.ends(port))
    for projection in network.into(name):
        if projection.port == port:
            if levels is not None and population.neuron.sums_up:
                least, largest = weighed(projection, levels.get(projection.source))
            else:
                neuron = network.by_name[projection.source].neuron
                far = neuron.largest_message(network.arithmetic) if most is None else most[projection.source]
                least, largest = _sums(projection, far, neuron.signed(network.arithmetic))
            low, high = low + least, high + largest
    return low, high


def weighed(projection: Projection, level: tuple[Array, Array] | None) -> tuple[Array, Array]:
    """What one projection delivers in all steps together at least and at most, ``[targets]`` each.

    Args:
        projection: in integers.
        level: between what the messages of each source sum up to; None where nothing is known.
    """
    kind = projection.connectivity
    nothing_known = np.full(kind.outputs, math.inf)
    if level is None or not all(np.isfinite(end).all() for end in level) or kind.exponent < 0:
        return -nothing_known, nothing_known  # a negative exponent rounds every step's sum down, which adds up
    weights = kind.weights.astype(np.float64)
    positive, negative = (with_weights(kind, part) for part in (np.maximum(weights, 0), np.minimum(weights, 0)))
    lowest, highest = (end[None] for end in level)
    least = positive.apply(lowest) + negative.apply(highest)
    largest = positive.apply(highest) + negative.apply(lowest)
    return least[0] * 2.0**kind.exponent, largest[0] * 2.0**kind.exponent


def _sums(projection: Projection, most: int, signed: bool) -> tuple[Array, Array]:
    """What one projection delivers at least and at most."""
    negative, positive = projection.sums
    least, largest = (negative - positive, positive - negative) if signed else (negative, positive)
    exponent = projection.connectivity.exponent
    # A negative exponent rounds the sum down, which keeps the order.
    return np.floor(least * most * 2.0**exponent), np.floor(largest * most * 2.0**exponent)
