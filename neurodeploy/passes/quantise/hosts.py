"""What host stages send to the chip in integers: spikes, or whole numbers of so many bits.

The float network has run on the calibration samples, with its stages. Where all that a stage made for a population was
0 or 1, the population sends spikes. Else a message is ``round(c x)`` of what the stage made, x, held within N bits and
a sign, with c = 1 where whole numbers fit as they are and otherwise

    c = 2^floor(log2(2^N / max |x|))

a power of two, so that larger values than those seen have room up to the next one before they are held at
``(2^N - 1) / c``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from neurodeploy.errors import InvalidInputError, UnsupportedError
from neurodeploy.network.arrays import Array
from neurodeploy.network.dispatch import expect
from neurodeploy.network.host import HostStage, fed, on_chip
from neurodeploy.network.network import Network, Population
from neurodeploy.network.neurons import Source
from neurodeploy.program.limits import Limits

from .calibration import Calibration

MOST_BITS = 24
"""Of a number that the host sends, beside its sign; more than the sums of any chip's synapses could take."""


@dataclass(frozen=True)
class Message:
    """How a population that a stage feeds sends.

    Args:
        population: in integers.
        said: of it, for the notes.
    """

    population: Population
    said: str


def messages(network: Network, seen: Calibration, limits: Limits | None, bits: int) -> Mapping[str, Message]:
    """What each population sends that a stage feeds, by its name; one that no synapse hears is left as it is.

    Args:
        network: in floats.
        seen: its run on the calibration samples.
        limits: of the chip; None for none.
        bits: of a number beside its sign, where the population does not have its own (`Source.payload_bits`).

    Raises:
        InvalidInputError: no calibration samples, or a number of bits that cannot be.
        UnsupportedError: numbers for a chip without graded spikes; names stage and population.
    """
    there = on_chip(network)
    feeds = {name: stage for name, stage in fed(network.stages).items() if name in there}
    if not feeds:
        return {}
    if not 1 <= bits <= MOST_BITS:
        raise InvalidInputError("the host's numbers cannot have so many bits", found=bits, allowed=f"1 to {MOST_BITS}")
    if seen.recording is None:
        name, stage = next(iter(feeds.items()))
        raise InvalidInputError(
            "quantising a network with host stages needs samples: they say how large becomes what the host sends",
            found=f"no calibration, and the host stage {stage.name!r} feeds {name!r}", hint="give --calibration",
        )  # fmt: skip
    made = seen.recording.hosted
    return {name: _message(network.by_name[name], stage, made[name], limits, bits) for name, stage in feeds.items()}


def _message(population: Population, stage: HostStage, made: Array, limits: Limits | None, bits: int) -> Message:
    source = expect(population, Source, "quantise")
    says = f"the host stage {stage.name!r} sends it "
    if _binary(made):
        sent = replace(population, neuron=replace(source, payload_bits=1))
        return Message(sent, says + "spikes: all that it made in calibration was 0 or 1")
    most = None if limits is None else limits.payload_bits
    if most is not None and most < 2:
        raise _no_numbers(population, stage, made, limits)
    bits = bits if source.payload_bits == 1 else source.payload_bits - 1
    bits = bits if most is None else min(bits, most - 1)
    peak = float(np.abs(made).max())
    fits = peak < 1 << bits and bool((made == np.rint(made)).all())
    scale = 1.0 if fits else 2.0 ** math.floor(math.log2(2.0**bits / peak))
    neuron = replace(source, payload_bits=bits + 1)
    return Message(
        replace(population, neuron=neuron, scale=scale),
        f"{says}graded spikes of {bits} bits and a sign, {scale:g} for 1: values from {made.min():.4g} to "
        f"{made.max():.4g} in calibration, and larger ones are held at {neuron.largest_message('loihi') / scale:.4g}",
    )


def _binary(made: Array) -> bool:
    """Whether spikes say all of it; not where nothing was ever sent, which says nothing."""
    return bool(((made == 0) | (made == 1)).all() and made.any())


def _no_numbers(population: Population, stage: HostStage, made: Array, limits: Limits | None) -> UnsupportedError:
    chip = limits.chip if limits else "the chip"
    more = int(((made != 0) & (made != 1)).sum())
    return UnsupportedError(
        f"the host stage {stage.name!r} sends {population.name!r} numbers, which {chip} cannot take",
        found=f"values from {made.min():.4g} to {made.max():.4g}; {more:,} of {made.size:,} are not 0 or 1",
        allowed="spikes, 0 or 1: it has no graded spikes",
        hint="take a chip with graded spikes (--chip loihi2), let the stage give 0 or 1 (Greater and Cast; train with "
        "it), or compile with --passes prune,freeze-attention,encode,quantise, which makes it a constant",
    )
