"""Neurons that can never spike: their threshold lies beyond anything that they can receive."""

from __future__ import annotations

import numpy as np

from .connectivity import largest_sum
from .network import Network


def never_spiking(network: Network) -> list[str]:
    """Names of the spiking outputs of a float network of which no neuron can ever spike, whatever the input.

    What an input brings is not known, so behind one only an infinite threshold counts; so with a loop.
    """
    found = []
    for name in network.outputs:
        population = network.by_name[name]
        arriving = 0.0
        for projection in network.projections:
            if projection.target == name:
                source = network.by_name[projection.source]
                known = source.spiking and not source.external and source.name != name
                arriving += (
                    largest_sum(projection.connectivity) * source.neuron.largest_message("float") if known else np.inf
                )
                arriving += 0.0 if projection.bias is None else float(np.abs(projection.bias).max(initial=0.0))
        if population.spiking and population.neuron.never_spikes(arriving).all():
            found.append(name)
    return found


MARGIN = 1e-6
"""By how much sums in floats could be larger than the bound says, relative to it and to the threshold; far too much."""


def surely_silent(network: Network, name: str) -> bool:
    """Whether no neuron of a population of a float network can ever spike, proven with room for rounding.

    Only plain spikes and bias axons can be added up; a number that a message carries, an input's for example, may be
    anything, and so may weights that learn.
    """
    population = network.by_name[name]
    if network.arithmetic != "float" or population.external or not population.spiking:
        return False
    arriving = 0.0
    for projection in network.into(name):
        source = network.by_name[projection.source].neuron
        known = projection.rule is None and not source.graded("float")
        arriving += largest_sum(projection.connectivity) if known else np.inf
        arriving += 0.0 if projection.bias is None else float(np.abs(projection.bias).max(initial=0.0))
    thresholds = population.neuron.thresholds()
    if thresholds is None:
        return False
    finite = np.abs(thresholds[np.isfinite(thresholds)])
    least = MARGIN * float(finite.max(initial=0.0))
    return bool(population.neuron.never_spikes(arriving * (1 + MARGIN) + least).all())
