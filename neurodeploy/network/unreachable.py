"""Outputs that can never spike: their threshold lies beyond anything that they can receive."""

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
