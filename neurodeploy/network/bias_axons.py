"""Biases of projections as spikes: what a chip that knows no such bias runs instead."""

from __future__ import annotations

from dataclasses import replace

from .connectivity import Dense
from .network import Network, Population, Projection
from .neurons import Source


def with_bias_axons(network: Network) -> Network:
    """Return the network with each `Projection.bias` as synapses of an always-on source of its own (exact)."""
    sources, axons = [], []
    for projection in network.projections:
        if projection.bias is None:
            continue
        name = f"bias of {projection.name}"
        source = Source(always_on=True, start=projection.bias_start)
        sources.append(Population(name, (1,), source, projection.handle))
        weights = Dense(projection.bias[:, None])
        axons.append(Projection(name, name, projection.target, weights, handle=projection.handle, port=projection.port))
    plain = [replace(p, bias=None) for p in network.projections]
    return replace(network, populations=(*sources, *network.populations), projections=(*plain, *axons))
