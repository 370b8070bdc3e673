"""Inputs that count events in a step: exact in floats, graded spikes on a chip that has them, else refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from neurodeploy.errors import InvalidInputError
from neurodeploy.network.arrays import Array
from neurodeploy.network.dispatch import expect
from neurodeploy.network.host import on_chip
from neurodeploy.network.network import Network, Population
from neurodeploy.network.neurons import Source
from neurodeploy.program.recording import check_inputs, what_is_graded

BYTE = 8
"""Bits of a message are a multiple of this, so that test samples may count more than the calibration samples do."""


def with_graded_inputs(
    network: Network, calibration: Mapping[str, Array], chip: str, payload_bits: int | None
) -> Network:
    """Give inputs the message bits that whole numbers above 1 in the calibration samples need.

    Samples of 0 and 1 leave the network as it is, and so do fractions, which no chip takes as they are, and inputs that
    only the host reads.

    Args:
        network: in floats.
        payload_bits: that a spike of the chip carries, sign included: 0 for none, None where there is no limit.

    Raises:
        InvalidInputError: counts on a chip without graded spikes, or beyond its bits.
    """
    _, _, given = check_inputs(network, calibration)
    notes, there = dict(network.notes), on_chip(network)
    populations = []
    for population in network.populations:
        if population.name in given and population.name in there:
            population = _graded(population, given[population.name], chip, payload_bits, notes)
        populations.append(population)
    return replace(network, populations=tuple(populations), notes=notes)


def _graded(
    population: Population, values: Array, chip: str, payload_bits: int | None, notes: dict[str, str]
) -> Population:
    if (values != np.rint(values)).any() or ((values == 0) | (values == 1)).all():
        return population
    source = expect(population, Source, "graded inputs")
    least, largest = int(values.min()), int(values.max())
    needed = max(abs(least), abs(largest)).bit_length() + 1
    if payload_bits is not None and needed > payload_bits:
        more = int(((values != 0) & (values != 1)).sum())
        what, hint = what_is_graded(values)
        raise InvalidInputError(
            f"input {population.name!r} {what}, which {chip} cannot take",
            found=f"values from {least} to {largest}; {more:,} of {values.size:,} are not 0 or 1",
            allowed="spikes, 0 or 1: it has no graded spikes" if not payload_bits else f"{payload_bits} bits with sign",
            hint=hint,
        )
    bits = min(-(-needed // BYTE) * BYTE, 32 if payload_bits is None else payload_bits)
    if bits <= source.payload_bits:
        return population
    notes[f"input {population.name}"] = f"counts up to {largest} in a step: graded spikes of {bits} bits"
    return replace(population, neuron=replace(source, payload_bits=bits))
