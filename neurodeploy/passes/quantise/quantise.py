"""Pass ``quantise``: from floats to Loihi's integers. Not exact; the loss is what `neurodeploy verify` measures.

With a scale S of integer units per unit of the float membrane, for a population or for each of its neurons,

    w_int = q round(S w / (q 64 2^e)), q = 2 in [-256, 254] for both signs (else q = 1, 8 bits of magnitude)
    vth   = S theta / 64 <= 2^17 - 1, a whole number by the choice of S   (the state is compared with vth << 6)
    dv    = round(4096 dv_f),  du = round(4096 du_f) - 1          (Loihi adds 1 to du)
    bias  = round(S b / 2^k) << k, a 13-bit mantissa               (k as small as possible, one for the population)

S and the exponents e of the projections are chosen in `neurodeploy.passes.quantise.scaling`, so that weights,
threshold, bias and the largest state seen in calibration fit; weights are rounded in
`neurodeploy.passes.quantise.rounding`. A reset potential other than 0 is shifted to 0 first (exact): v' = v - v_reset,
theta' = theta - v_reset, b' = b - dv v_reset. A bias that drives the current, or that starts late, becomes an always-on
axon with synapses of its own. A read-out that other populations hear sends its potential without its lowest bits
(`Lif.send_shift`), to which their weights are scaled.

Integers compare with ``>``. A float neuron that fires at ``>=`` gets a threshold lower by one unit of 64 (its state
is a multiple of 64 where nothing has decayed), or where the threshold is also what a spike subtracts, a start one
unit higher.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np

from neurodeploy.errors import InvalidInputError, UnsupportedError
from neurodeploy.network import loihi_ranges
from neurodeploy.network.arrays import Array
from neurodeploy.network.bias_axons import with_bias_axons
from neurodeploy.network.connectivity import largest_sum, with_weights
from neurodeploy.network.dispatch import expect
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif
from neurodeploy.network.registers import LOIHI, Registers

from . import rounding
from .calibration import Calibration
from .scaling import UNIT, Range, Scaling

MESSAGE_BITS = 10
"""Of what a read-out sends on: more would leave its targets' 8-bit weights too few steps, fewer would lose detail."""


@dataclass(frozen=True)
class Quantise:
    """Turn a float network into Loihi's integers.

    Args:
        calibration: inputs of a few samples, ``[time, batch, *shape]``; the float network runs on them and the largest
            potential of each population is kept from saturating. Without them only weights and thresholds decide.
        headroom: how much larger than in calibration a potential may grow before it saturates.
        thresholds: how many different thresholds the neurons of a population may have, which is in how many ways they
            are scaled (the channels of a convolution each in one); None for any number. Read-outs have one.
        range: what fills the bits of the weights: the largest (``"max"``), the 99.9th percentile (``"percentile"``), or
            what gives the least mean square error (``"mse"``).
        rounding: ``"nearest"``, ``"compensated"`` (needs calibration), or ``"auto"`` for the latter where it can.
        registers: widths of the chip's integers, where they are not Loihi's.
    """

    name: ClassVar[str] = "quantise"
    calibration: Mapping[str, Array] | None = field(default=None, repr=False)
    headroom: float = 2.0
    thresholds: int | None = 1
    range: Range = "mse"
    rounding: Literal["auto", "nearest", "compensated"] = "auto"
    registers: Registers = field(default=LOIHI, repr=False)

    def apply(self, network: Network) -> Network:
        """See the module's docstring.

        Raises:
            InvalidInputError: the network is not in floats, or compensated rounding without calibration.
            UnsupportedError: a read-out that feeds back, neurons of another kind, or a parameter beyond the range.
        """
        if network.arithmetic != "float":
            raise InvalidInputError("the network is already quantised", found=network.arithmetic, allowed="float")
        if self.rounding == "compensated" and self.calibration is None:
            raise InvalidInputError(
                "compensated rounding needs samples to compensate on",
                found="no calibration",
                hint="give --calibration, or use nearest rounding",
            )
        seen = Calibration.of(network, self.calibration)
        network = with_bias_axons(network)
        notes = dict(network.notes)
        populations: list[Population] = []
        units: dict[str, float] = {}
        integer: dict[str, Projection] = {}
        for population in network.populations:
            if population.external:
                populations.append(population)
                continue
            incoming = [_from_integers(p, network.by_name[p.source], units) for p in network.into(population.name)]
            quantised, done = self._population(population, incoming, network.by_name, seen, units)
            if not population.spiking and any(p.source == population.name for p in network.projections):
                quantised, units[population.name] = _heard(quantised, seen.peak(population), network)
            populations.append(quantised)
            integer |= {p.name: p for p in done}
            notes[f"quantise {population.name}"] = (
                _describe(quantised, done)
                + _leaks(population, quantised, self.registers)
                + self._narrow(population, quantised, seen)
            )
        return replace(
            network,
            populations=tuple(populations),
            projections=tuple(integer[p.name] for p in network.projections),
            arithmetic="loihi",
            notes=notes,
        )

    def _population(
        self,
        population: Population,
        incoming: list[Projection],
        sources: Mapping[str, Population],
        seen: Calibration,
        units: Mapping[str, float],
    ) -> tuple[Population, list[Projection]]:
        neuron = expect(population, Lif, "quantise", "compile it with --float")
        traces = {p.name: seen.traces(p, sources[p.source], population) for p in incoming}
        traces = {
            p.name: None if (trace := traces[p.name]) is None else trace * np.float32(units.get(p.source, 1.0))
            for p in incoming
        }
        heard = {n: np.mean(t.astype(np.float64) ** 2, axis=0) for n, t in traces.items() if t is not None}
        peak = seen.peak(population) * self.headroom
        neuron = _reset_at_zero(neuron)
        chosen = Scaling(self.thresholds, self.range, self.registers).choose(population, neuron, incoming, peak, heard)
        if self.rounding == "nearest":
            traces = {}
        done = rounding.compensated(incoming, chosen.scale, chosen.grids, traces)
        scale, registers = chosen.scale, self.registers
        rounded = Lif(
            du=_current_decay(neuron.du, registers),
            dv=_fraction(neuron.dv, registers),
            bias=_bias(population, neuron.bias * scale, registers),
            threshold=_threshold(population, neuron, scale, registers),
            reset_to=np.zeros(population.size, dtype=np.int32),
            initial=_state(neuron.initial * scale),
            reset=neuron.reset,
            reset_time=neuron.reset_time,
            comparison=">",
            spiking=neuron.spiking,
            max_spikes=neuron.max_spikes,
            floor=None if neuron.floor is None else _state(neuron.floor * scale),
            refractory=neuron.refractory,
            threshold_decay=None if neuron.threshold_decay is None else _fraction(neuron.threshold_decay, registers),
            threshold_jump=None if neuron.threshold_jump is None else _state(neuron.threshold_jump * scale),
            lower=None if neuron.lower is None else _state(np.rint(neuron.lower * scale / UNIT) * UNIT),
            reset_current=neuron.reset_current,
        )
        if neuron.comparison == ">=" and neuron.spiking and neuron.max_spikes == 1:
            rounded = _fire_at_equality(rounded)
        uniform = bool((scale == scale[:1]).all())
        return replace(population, neuron=rounded, scale=float(scale[0]) if uniform else scale), done

    def _narrow(self, before: Population, after: Population, seen: Calibration) -> str:
        """What is known of states on a chip with fewer bits of them than are computed with."""
        registers = self.registers
        if registers.state_bits >= LOIHI.state_bits:
            return ""
        if seen.recording is None:
            return f"; without calibration nothing says that its states stay within {registers.state_bits} bits"
        reached = int(np.max(seen.peak(before) * after.scales, initial=0.0))
        within = "within" if reached <= registers.state_max else "BEYOND"
        return f"; states reach {reached:,} in calibration, {within} {registers.state_bits} bits"


def _reset_at_zero(neuron: Lif) -> Lif:
    """The same neuron with its potential counted from the reset; see the module's docstring."""
    if neuron.reset != "hard":
        return neuron
    return replace(
        neuron,
        threshold=neuron.threshold - neuron.reset_to,
        bias=neuron.bias - neuron.dv * neuron.reset_to,
        initial=neuron.initial - neuron.reset_to,
        reset_to=np.zeros_like(neuron.reset_to),
        floor=None if neuron.floor is None else neuron.floor - neuron.reset_to,
    )


def _fire_at_equality(neuron: Lif) -> Lif:
    """Let an integer neuron that compares with ``>`` fire where the float one reaches its threshold exactly."""
    if neuron.reset == "subtract":
        return replace(neuron, initial=neuron.initial + 1)
    return replace(neuron, threshold=np.maximum(neuron.threshold - UNIT, UNIT))


def _from_integers(projection: Projection, source: Population, units: Mapping[str, float]) -> Projection:
    """The projection with weights for what its source sends in integers.

    Raises:
        UnsupportedError: the source is a read-out whose scale is not known yet.
    """
    if source.spiking:
        return projection
    if source.name not in units:
        raise UnsupportedError(
            f"the read-out {source.name!r} feeds back on a population before it",
            allowed="in integers a population that does not spike may only feed those behind it",
            hint="put a spiking neuron between them",
        )
    kind = projection.connectivity
    return replace(projection, connectivity=with_weights(kind, kind.weights / units[source.name], kind.exponent))


def _heard(population: Population, peak: Array, network: Network) -> tuple[Population, float]:
    """A read-out that others hear, with messages of about `MESSAGE_BITS`, and their units per unit of potential.

    Fewer bits where its weights are so small beside a target's threshold that the chip's smallest exponent would
    leave them less than 8 bits.
    """
    neuron = expect(population, Lif, "quantise")
    scale = float(population.scales[0])
    largest = min(scale * float(peak.max(initial=0.0)) or loihi_ranges.STATE_MAX, loihi_ranges.STATE_MAX)
    shift = max(0, int(largest).bit_length() - MESSAGE_BITS)
    smallest = loihi_ranges.WEIGHT_MAX * UNIT * 2.0**loihi_ranges.WEIGHT_EXPONENT_MIN / loihi_ranges.STATE_MAX
    for projection in network.projections:
        target = expect(network.by_name[projection.target], Lif, "quantise")
        weight = float(np.abs(projection.connectivity.weights).max(initial=0.0))
        if projection.source == population.name and target.spiking and weight:
            threshold = float(np.abs(target.threshold - target.reset_to).max())
            shift = max(shift, int(np.ceil(np.log2(max(scale * threshold * smallest / weight, 1.0)))))
    return replace(population, neuron=replace(neuron, send_shift=shift)), scale / 2**shift


def _fraction(value: Array, registers: Registers) -> Array:
    """A decay in its register, in units of Loihi's 12 bits."""
    step = registers.decay_step
    steps = np.clip(np.rint(value * (loihi_ranges.DECAY_ONE // step)), 0, (loihi_ranges.DECAY_ONE - 1) // step)
    return np.asarray(steps * step, dtype=np.int32)


def _current_decay(value: Array, registers: Registers) -> Array:
    """Register of a current's decay, to which Loihi adds 1."""
    step = registers.decay_step
    steps = np.clip(np.rint(value * (loihi_ranges.DECAY_ONE // step)), 1, loihi_ranges.DECAY_ONE // step)
    return np.asarray(steps * step - 1, dtype=np.int32)


def _state(value: Array) -> Array:
    """Rounded and held within the range of the membrane potential."""
    return np.clip(np.rint(value), -loihi_ranges.STATE_MAX, loihi_ranges.STATE_MAX).astype(np.int32)


def _bias(population: Population, bias: Array, registers: Registers) -> Array:
    largest, most = float(np.abs(bias).max(initial=0.0)), registers.bias_mantissa_max
    for exponent in range(registers.bias_exponent_max + 1):
        if largest / 2**exponent <= most + 0.5:
            mantissa = np.clip(np.rint(bias / 2**exponent), -most, most)
            return np.asarray(mantissa.astype(np.int32) << exponent)
    raise UnsupportedError(
        f"population {population.name!r}: its bias does not fit",
        found=f"{largest:.0f} in integer units",
        allowed=f"up to {most << registers.bias_exponent_max}",
        hint="train with smaller biases",
    )


def _threshold(population: Population, neuron: Lif, scale: Array, registers: Registers) -> Array:
    if not neuron.spiking:
        return np.full(population.size, (loihi_ranges.THRESHOLD_MAX + 1) * UNIT, dtype=np.int32)
    mantissa = np.rint(neuron.threshold * scale / UNIT)
    if mantissa.min() < 1:
        raise UnsupportedError(
            f"population {population.name!r}: a threshold rounds to {int(mantissa.min())}",
            found=f"threshold {neuron.threshold.min():g} beside far larger weights",
            allowed="a threshold of at least 1 in units of the largest weight / 254",
            hint="train with a larger threshold or smaller weights",
        )
    return np.asarray(np.minimum(mantissa, registers.threshold_max) * UNIT, dtype=np.int32)


def _leaks(before: Population, after: Population, registers: Registers) -> str:
    """What happens to decays that the register cannot tell from none."""
    leak = expect(before, Lif, "quantise").dv
    lost = (leak > 0) & (expect(after, Lif, "quantise").dv == 0)
    if not lost.any():
        return ""
    return (
        f"; the leak of {int(lost.sum())} neurons, {leak[lost].max():.3g} a step at most, rounds to none "
        f"({registers.decay_bits} bits hold 1/{1 << registers.decay_bits})"
    )


def _describe(population: Population, incoming: list[Projection]) -> str:
    exponents = ", ".join(f"{p.source}: {p.connectivity.exponent}" for p in incoming)
    low, high = float(population.scales.min()), float(population.scales.max())
    scales = (
        f"scale {low:.4g}" if low == high else f"{len(np.unique(population.scales))} scales, {low:.4g} to {high:.4g},"
    )
    text = f"{scales} integer units per unit of potential; weight exponents {exponents or 'none'}"
    worst = sum(largest_sum(p.connectivity) for p in incoming)
    if worst * UNIT > loihi_ranges.STATE_MAX:
        text += "; if all its inputs spiked at once the current would wrap"
    return text
