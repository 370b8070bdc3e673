"""Box plots of values against what the integers can hold: is the format too coarse, or too narrow?

For each projection its float weights in integer units before rounding, ``S w / (64 * 2^e)``; for each population
thresholds, biases and, where a run recorded them, the potentials. Of the magnitudes that are not zero the minimum,
the quartiles and the maximum are kept, beside the smallest step and the largest value of the format, and the shares
that would round to zero (below half a step) and that lie at or beyond the largest value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from neurodeploy.compiler import Compiled
from neurodeploy.network.arrays import Array
from neurodeploy.network.dispatch import expect
from neurodeploy.network.network import Network, Population
from neurodeploy.network.neurons import Lif, Neuron
from neurodeploy.network.registers import LOIHI, Registers
from neurodeploy.passes.quantise.scaling import UNIT, Grid
from neurodeploy.program.recording import Recording

from .document import Spread

MOST = 200_000
"""Values that one box is made of at most; of more, every n-th."""


def spreads(compiled: Compiled, recording: Recording | None, registers: Registers = LOIHI) -> tuple[Spread, ...]:
    """Boxes of an integer network; none for one in floats.

    Args:
        recording: of the integer network, with its states, for the potentials.
        registers: of the chip, which say what its integers can hold.
    """
    network = compiled.program.network
    if network.arithmetic == "float":
        return ()
    floats = [stage for _, stage in compiled.stages if stage.arithmetic == "float"]
    before = floats[-1] if floats else compiled.float_network
    found: list[Spread] = []
    for population in network.populations:
        if not population.external:
            found += _weights(network, before, population, registers)
            found += _REGISTERS.get(type(population.neuron), _none)(population, registers)
            if recording is not None and population.name in recording.states.get("v", {}):
                potentials = recording.states["v"][population.name]
                found.append(spread(population.name, "potential", potentials, 1, registers.state_max))
    return tuple(found)


def spread(layer: str, what: str, values: Array, smallest: float, largest: float) -> Spread:
    """One box; ``values`` in the units of the format."""
    flat = np.abs(np.asarray(values, dtype=np.float64)).ravel()
    flat = flat[:: -(-len(flat) // MOST)] if len(flat) else flat
    real = flat[flat > 0]
    if not len(real):
        return Spread(layer=layer, what=what, smallest=smallest, largest=largest)
    low, q1, median, q3, high = (float(np.quantile(real, q)) for q in (0, 0.25, 0.5, 0.75, 1))
    return Spread(
        layer=layer,
        what=what,
        smallest=smallest,
        largest=largest,
        values=len(real),
        box=(low, q1, median, q3, high),
        lost=float((real < smallest / 2).mean()),
        full=float((real >= largest).mean()),
    )


def _weights(network: Network, before: Network | None, population: Population, registers: Registers) -> list[Spread]:
    originals = {p.name: p for p in before.projections} if before else {}
    found = []
    for projection in network.into(population.name):
        kind = projection.connectivity
        grid = Grid.of(kind, kind.exponent, registers)
        values = kind.weights.astype(np.float64)
        original = originals.get(projection.name)
        if original is not None:
            values = original.connectivity.scaled(population.at(projection.port, population.scales)).weights / (
                UNIT * 2.0**kind.exponent
            )
        found.append(spread(population.name, f"weights from {projection.source}", values, grid.step, grid.largest))
    return found


def _registers(population: Population, registers: Registers) -> list[Spread]:
    neuron = expect(population, Lif, "numerics")
    found = []
    if population.spiking:
        found.append(spread(population.name, "threshold / 64", neuron.threshold / UNIT, 1, registers.threshold_max))
    if np.any(neuron.bias):
        largest = registers.bias_mantissa_max << registers.bias_exponent_max
        found.append(spread(population.name, "bias", neuron.bias, 1, largest))
    return found


def _none(population: Population, registers: Registers) -> list[Spread]:
    """Of a model whose registers are not known there is no box."""
    del population, registers
    return []


_REGISTERS: Mapping[type[Neuron], Callable[[Population, Registers], list[Spread]]] = {Lif: _registers}
