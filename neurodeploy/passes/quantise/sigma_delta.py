"""Sigma-delta networks in integers: a scale of the states and one of the messages for each population.

A population has S integer units of state per unit of its activation and sends ``s >> k``, so a message is in units of
``m = S / 2^k``; an input sends whole numbers, ``m = 1``. A weight from a source with ``m`` is

    w_int = q round(S w / (q m 2^e)),  e >= 0

(the grid of `neurodeploy.passes.quantise.scaling`; an exponent below 0 would round every step's sum down, and what
that loses would add up). Bias and threshold are ``round(S b)`` and ``round(S theta)``. S lets the largest weight fill
its 8 bits. k leaves a message `MESSAGE_BITS` at the largest activation seen, or fewer, so that the states of its
targets, with such weights, stay within 24 bits: on the calibration samples with headroom, and for every input where
that leaves a message `FEWEST` bits (`neurodeploy.network.reach`, which the note "range of integers" is from).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from neurodeploy.errors import InvalidInputError, UnsupportedError
from neurodeploy.network import loihi_ranges
from neurodeploy.network.arrays import Array
from neurodeploy.network.connectivity import with_weights
from neurodeploy.network.dispatch import expect
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import SigmaDelta
from neurodeploy.network.reach import reach, weighed
from neurodeploy.network.registers import Registers

from . import rounding
from .calibration import LARGEST, Calibration
from .scaling import UNIT, Grid

MESSAGE_BITS, FEWEST = 12, 10
"""Bits of a message at the largest activation seen, and the fewest that a proof is worth."""

MARGIN = 1.02
"""By how much rounded weights may add up to more than the weights themselves."""

Level = tuple[Array, Array]


@dataclass(eq=False)
class SigmaDeltaIntegers:
    """Quantises one network; `of` does it.

    Args:
        headroom: how much larger than in calibration a state may grow, where nothing is proven.
        units: of each population's messages, per unit of what it stands for in floats.
        levels: what the float messages of each population can sum up to.
    """

    network: Network
    seen: Calibration
    headroom: float
    registers: Registers
    rounding: Literal["auto", "nearest", "compensated"]
    units: dict[str, float] = field(default_factory=dict)
    levels: dict[str, Level] = field(default_factory=dict)

    def of(self) -> Network:
        """The network in integers.

        Raises:
            InvalidInputError: no calibration samples, or samples that are no whole numbers.
            UnsupportedError: a projection that feeds back or adds a bias in every step.
        """
        if self.seen.recording is None:
            raise InvalidInputError(
                "quantising sigma-delta neurons needs samples: they say how large activations get",
                found="no calibration",
                allowed="inputs as the network takes them, differences in whole numbers",
                hint="give --calibration",
            )
        populations: list[Population] = []
        integer: dict[str, Projection] = {}
        notes = dict(self.network.notes)
        for population in self.network.populations:
            if population.external:
                self._source(population)
                populations.append(population)
                continue
            incoming = [self._checked(p) for p in self.network.into(population.name)]
            quantised, done = self._population(population, incoming)
            populations.append(quantised)
            integer |= {p.name: p for p in done}
            neuron = expect(quantised, SigmaDelta, "quantise")
            exponents = ", ".join(f"{p.source}: {p.connectivity.exponent}" for p in done)
            notes[f"quantise {population.name}"] = (
                f"scale {float(quantised.scales[0]):.4g} integer units per unit of activation, messages without their "
                f"last {neuron.send_shift} bits; weight exponents {exponents or 'none'}"
            )
        whole = replace(
            self.network,
            populations=tuple(populations),
            projections=tuple(integer[p.name] for p in self.network.projections),
            arithmetic="loihi",
        )
        return replace(whole, notes={**notes, "range of integers": self._range(whole)})

    def _source(self, population: Population) -> None:
        self.units[population.name] = 1.0
        nothing = np.zeros(population.size)
        self.levels[population.name] = population.neuron.levels(nothing, nothing)
        if self.seen.recording is None or population.neuron.always_on:
            return
        payload = self.seen.recording.spikes[population.name].payload
        if payload is not None and (broken := payload != np.rint(payload)).any():
            raise InvalidInputError(
                f"input {population.name!r} sends fractions, which no message carries",
                found=f"{int(broken.sum()):,} of {payload.size:,}, the first {payload[broken][0]:g}",
                allowed="whole numbers",
                hint="convert with --input-unit, the step between its values (for example 1/255), and give steps",
            )

    def _checked(self, projection: Projection) -> Projection:
        if projection.source not in self.units:
            raise UnsupportedError(
                f"the projection {projection.name!r} feeds back on a sigma-delta population before it",
                allowed="in integers each population may only feed those behind it",
            )
        if projection.bias is not None and np.any(projection.bias):
            raise UnsupportedError(
                f"the projection {projection.name!r} adds a bias in every step, which sigma-delta neurons sum up",
                allowed="biases inside the neurons",
            )
        kind = projection.connectivity
        return replace(projection, connectivity=with_weights(kind, kind.weights / self.units[projection.source]))

    def _population(self, population: Population, incoming: list[Projection]) -> tuple[Population, list[Projection]]:
        """In integers; ``incoming`` has weights for integer messages."""
        neuron = expect(population, SigmaDelta, "quantise")
        low, high = self._arriving(population, incoming)
        proven = _largest(low, high, low + neuron.bias, high + neuron.bias)
        peak = self._peak(population)
        grids = {p.name: Grid.of(p.connectivity, 0, self.registers) for p in incoming}
        room = {
            p.name: grids[p.name].largest / most
            for p in incoming
            if (most := float(np.abs(p.connectivity.weights).max(initial=0.0)))
        }
        scale = min(max(room.values(), default=1.0), loihi_ranges.STATE_MAX / max(peak * self.headroom, 1e-300))
        scale = min(scale, *(free * 2.0**loihi_ranges.WEIGHT_EXPONENT_MAX for free in room.values()), math.inf)
        grids = {
            name: replace(grid, exponent=max(0, math.ceil(math.log2(scale / room.get(name, scale)) - 1e-9)))
            for name, grid in grids.items()
        }
        done = rounding.compensated(incoming, np.full(population.size, UNIT * scale), grids, self._traces(incoming))
        shift = self._shift(population, scale, peak, proven)
        rounded = replace(neuron, bias=_state(neuron.bias * scale), threshold=_state(neuron.threshold * scale),
                          send_shift=shift)  # fmt: skip
        self.units[population.name] = scale / 2**shift
        self.levels[population.name] = neuron.levels(low, high)
        return replace(population, neuron=rounded, scale=scale), done

    def _shift(self, population: Population, scale: float, peak: float, proven: float) -> int:
        """Bits that a message goes without: see the module's docstring.

        Args:
            peak, proven: largest activation seen, and the largest that there can be.
        """
        shift = max(0, int(scale * peak).bit_length() - MESSAGE_BITS)
        for projection in self.network.projections:
            kind = projection.connectivity
            largest = float(np.abs(kind.weights).max(initial=0.0))
            if projection.source != population.name or not largest:
                continue
            full = Grid.of(kind, 0, self.registers).largest / largest * scale / loihi_ranges.STATE_MAX
            shift = max(shift, _halvings(full * self.headroom * self._peak(self.network.by_name[projection.target])))
            safe = _halvings(full * MARGIN * projection.largest_sum * proven)
            if scale * peak / 2**safe >= 1 << FEWEST - 1:
                shift = max(shift, safe)
        return shift if any(p.source == population.name for p in self.network.projections) else 0

    def _peak(self, population: Population) -> float:
        """Largest state or activation seen."""
        assert self.seen.recording is not None
        return _largest(*(self.seen.recording.states[name][population.name] for name in ("u", "v")))

    def _arriving(self, population: Population, incoming: list[Projection]) -> Level:
        """What can arrive in all steps together, in units of the activation."""
        low, high = np.zeros(population.size), np.zeros(population.size)
        neuron = expect(population, SigmaDelta, "quantise")
        for projection in incoming:
            unit = self.units[projection.source]
            level = tuple(end * unit for end in self.levels[projection.source])
            if not neuron.accumulate:  # one step brings what a value or its change can be
                span = np.maximum(np.abs(level[0]), np.abs(level[1])) + (level[1] - level[0])
                level = (-span, span)
            least, largest = weighed(projection, (level[0], level[1]))
            low, high = low + least, high + largest
        return low, high

    def _traces(self, incoming: list[Projection]) -> Mapping[str, Array | None]:
        """What each source's messages have summed up to, in integers, ``[steps x samples, neurons]``."""
        assert self.seen.recording is not None
        if self.rounding == "nearest":
            return {p.name: None for p in incoming}
        found: dict[str, Array | None] = {}
        for projection in incoming:
            events = self.seen.recording.spikes[projection.source]
            fits = events.steps * events.samples * events.neurons <= LARGEST
            sums = np.cumsum(events.dense(), axis=0, dtype=np.float32).reshape(-1, events.neurons) if fits else None
            found[projection.name] = None if sums is None else sums * np.float32(self.units[projection.source])
        return found

    def _range(self, network: Network) -> str:
        """What is proven of the integers."""
        far = {name: found.v for name, found in reach(network).items() if found.v > 1}
        if not far:
            return "no integer can leave it, whatever values its inputs have"
        could = ", ".join(
            f"{name!r} {format(v, '.2g') + ' times' if math.isfinite(v) else 'out of'} its range"
            for name, v in far.items()
        )
        return (
            f"for the worst input, states could reach, of {could}, and saturate (on the calibration samples, states "
            f"stay {self.headroom:g} times below it)"
        )


def _halvings(times: float) -> int:
    """How often to halve what is so many times its range."""
    return math.ceil(math.log2(times)) if 1 < times < math.inf else 0


def _largest(*arrays: Array) -> float:
    return max((float(np.abs(a).max(initial=0.0)) for a in arrays), default=0.0)


def _state(value: Array) -> Array:
    return np.clip(np.rint(value), -loihi_ranges.STATE_MAX, loihi_ranges.STATE_MAX).astype(np.int32)
