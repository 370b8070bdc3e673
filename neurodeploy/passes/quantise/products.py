"""Products in integers: what arrives at each port in units of its own, and the message in those of both.

With B_p integer units per unit of what arrives at port p, and integer weights ``q = round(B_p w)`` (``w`` for what the
sources send in integers),

    v_int = (I_0,int I_1,int) >> k,    S = B_0 B_1 / 2^k  units of the message per unit of the product.

Weights that are all multiples of the smallest, as those of a gate are, which are all 1, stay exact; else the largest
fills its bits. k leaves a message `bits` at the largest product seen, and is 0 where it has no more: a number times a
spike is that number.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from neurodeploy.network import loihi_ranges
from neurodeploy.network.connectivity import with_weights
from neurodeploy.network.dispatch import expect
from neurodeploy.network.network import Population, Projection
from neurodeploy.network.neurons import Product
from neurodeploy.network.registers import Registers

from .calibration import Calibration
from .scaling import Grid

CLOSE = 1e-9
"""How far a multiple may be off, relative to itself, by the rounding of floats."""


def product(
    population: Population, incoming: list[Projection], seen: Calibration, registers: Registers, bits: int
) -> tuple[Population, list[Projection]]:
    """A population of products and its projections in integers; its `scale` is that of its messages.

    Args:
        population: in floats.
        incoming: its projections, with weights for integer messages.
        seen: the float network's run, or none: then the largest product is what all messages together could give.
        registers: of the chip.
        bits: of a message, beside its sign.
    """
    neuron = expect(population, Product, "quantise")
    done: dict[str, Projection] = {}
    scale, largest = 1.0, 1.0
    for port in range(neuron.ports):
        there = [p for p in incoming if p.port == port]
        unit, whole = _port(there, registers)
        done |= {p.name: p for p in whole}
        scale *= unit
        largest *= sum(p.largest_sum for p in whole)
    if seen.recording is not None:
        sent = seen.recording.spikes[population.name].dense()
        largest = scale * float(np.abs(sent).max(initial=0.0)) or largest
    shift = max(0, math.ceil(math.log2(largest / 2.0**bits) - CLOSE)) if largest else 0
    scale /= 2.0**shift
    threshold = np.minimum(np.rint(neuron.threshold * scale), loihi_ranges.STATE_MAX).astype(np.int32)
    quantised = replace(population, neuron=replace(neuron, threshold=threshold, shift=shift), scale=scale)
    return quantised, [done[p.name] for p in incoming]


def _port(incoming: list[Projection], registers: Registers) -> tuple[float, list[Projection]]:
    """Units of what arrives at a port, and its projections in integers."""
    grids = [Grid.of(p.connectivity, 0, registers) for p in incoming]
    sizes = [np.abs(p.connectivity.weights) for p in incoming]
    tops = [float(size.max(initial=0.0)) for size in sizes]
    if not any(tops):
        zeros = [with_weights(p.connectivity, np.zeros(p.connectivity.weights.shape, np.int16)) for p in incoming]
        return 1.0, [replace(p, connectivity=kind) for p, kind in zip(incoming, zeros, strict=True)]
    smallest = min(float(size[size > 0].min()) for size in sizes if size.any())
    multiples = [size / smallest for size in sizes]
    step = max(grid.step for grid in grids)
    whole = all((np.abs(m - np.rint(m)) <= CLOSE * np.maximum(m, 1)).all() for m in multiples)
    fits = all(top / smallest * step <= grid.largest * (1 + CLOSE) for top, grid in zip(tops, grids, strict=True))
    unit = step / smallest
    if not (whole and fits):
        unit = min(grid.largest / top for top, grid in zip(tops, grids, strict=True) if top)
    done = []
    for projection, grid in zip(incoming, grids, strict=True):
        kind = projection.connectivity
        steps = np.clip(np.rint(kind.weights * unit / grid.step), grid.low // grid.step, grid.high // grid.step)
        done.append(replace(projection, connectivity=with_weights(kind, (steps * grid.step).astype(np.int16))))
    return unit, done
