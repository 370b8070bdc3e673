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
(`Lif.send_shift`), to which their weights are scaled. Networks of sigma-delta neurons:
`neurodeploy.passes.quantise.sigma_delta`.

Integers compare with ``>``. A float neuron that fires at ``>=`` gets a threshold lower by one unit of 64 (its state
is a multiple of 64 where nothing has decayed), or where the threshold is also what a spike subtracts, a start one
unit higher.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from neurodeploy.errors import InvalidInputError, UnsupportedError
from neurodeploy.network import loihi_ranges
from neurodeploy.network.answer import Answer
from neurodeploy.network.arrays import Array
from neurodeploy.network.bias_axons import with_bias_axons
from neurodeploy.network.connectivity import with_weights
from neurodeploy.network.dispatch import expect
from neurodeploy.network.host import alone
from neurodeploy.network.join import PORT
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif
from neurodeploy.network.reach import reach
from neurodeploy.network.registers import LOIHI, Registers
from neurodeploy.program.limits import Limits

from ..data import NOTHING, PassData
from . import rounding
from .calibration import MEMORY, Calibration
from .measure import spikes_off
from .scaling import UNIT, Range, Scales, Scaling
from .sigma_delta import SigmaDeltaIntegers

MESSAGE_BITS = 10
"""Of what a read-out sends on: more would leave its targets' 8-bit weights too few steps, fewer would lose detail."""

FINEST = 64
"""Units that a threshold needs, that a scale may be bounded by weights alone."""

BARELY = 1.05
"""A scale that holds more is taken if it gets at most so many times as far off as the best one."""


@dataclass(frozen=True)
class Quantise:
    """Turn a float network into Loihi's integers.

    Args:
        headroom: how much larger than in calibration a potential may grow before it saturates.
        thresholds: how many different thresholds the neurons of a population may have, which is in how many ways they
            are scaled (the channels of a convolution each in one); ``"chip"`` for as many as a core of the chip may
            have, one where it does not say. Read-outs have one.
        range: what fills the bits of the weights: the largest (``"max"``), the 99.9th percentile (``"percentile"``), or
            what gives the least mean square error (``"mse"``).
        rounding: ``"nearest"``, ``"compensated"`` (needs calibration), or ``"auto"`` for the latter where it can.

    With samples, the float network runs on them and the largest potential of each population is kept from saturating;
    without them only weights and thresholds decide.
    """

    name: ClassVar[str] = "quantise"
    headroom: float = 2.0
    thresholds: int | Literal["chip", "any"] = "chip"
    range: Range = "mse"
    rounding: Literal["auto", "nearest", "compensated"] = "auto"

    def apply(self, network: Network, data: PassData = NOTHING) -> Network:
        """See the module's docstring.

        Raises:
            InvalidInputError: the network is not in floats, or compensated rounding without calibration.
            UnsupportedError: a read-out that feeds back, neurons of another kind, or a parameter beyond the range.
        """
        alone(network, "quantise")
        if network.arithmetic != "float":
            raise InvalidInputError("the network is already quantised", found=network.arithmetic, allowed="float")
        if self.rounding == "compensated" and data.calibration is None:
            raise InvalidInputError(
                "compensated rounding needs samples to compensate on",
                found="no calibration",
                hint="give --calibration, or use nearest rounding",
            )
        seen = Calibration.of(network, data.calibration)
        if any(p.neuron.sums_up for p in network.populations):
            return SigmaDeltaIntegers(network, seen, self.headroom, data.registers, self.rounding).of()
        return _Quantising(self, self._thresholds(data.limits), data.registers).of(with_bias_axons(network), seen)

    def _thresholds(self, limits: Limits | None) -> int | None:
        if self.thresholds == "chip":
            return limits.thresholds if limits and limits.thresholds is not None else 1
        return None if self.thresholds == "any" else self.thresholds


@dataclass(frozen=True)
class _Quantising:
    """`Quantise` for one chip.

    Args:
        thresholds: None for any number.
    """

    options: Quantise
    thresholds: int | None
    registers: Registers

    def of(self, network: Network, seen: Calibration) -> Network:
        """The network of Lif populations in integers."""
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
                + _lost(population, quantised, self.registers)
                + self._narrow(population, quantised, seen)
            )
        whole = replace(
            network,
            populations=tuple(populations),
            projections=tuple(integer[p.name] for p in network.projections),
            arithmetic="loihi",
            notes=notes,
            answer=_from_zero(network),
        )
        return replace(whole, notes={**notes, "range of integers": _range(whole, seen.recording is not None)})

    def _population(
        self,
        population: Population,
        incoming: list[Projection],
        sources: Mapping[str, Population],
        seen: Calibration,
        units: Mapping[str, float],
    ) -> tuple[Population, list[Projection]]:
        neuron = _reset_at_zero(expect(population, Lif, "quantise", "compile it with --float"))
        traces = {p.name: seen.traces(p, sources[p.source], population) for p in incoming}
        traces = {
            p.name: None if (trace := traces[p.name]) is None else trace * np.float32(units.get(p.source, 1.0))
            for p in incoming
        }
        heard = {n: np.mean(t.astype(np.float64) ** 2, axis=0) for n, t in traces.items() if t is not None}
        scaling = Scaling(self.thresholds, self.options.range, self.registers)
        if seen.recording is None:
            largest = _largest_current(population, neuron, incoming, sources)
            held = scaling.choose(population, neuron, incoming, [largest], heard)
            found = held if _resolved(neuron, held[0]) else scaling.choose(population, neuron, incoming, [], heard)
        else:
            peaks = [peak * self.options.headroom for peak in seen.peaks(population)]
            found = scaling.choose(population, neuron, incoming, peaks, heard)
        if self.options.rounding == "nearest":
            traces = {}
        tried, refused = [], None
        for scales in found:
            try:
                tried.append(_rounded(population, neuron, incoming, scales, traces, self.registers))
            except UnsupportedError as error:
                refused = refused or error  # the next scale holds less, and so may be finer
        if not tried:
            assert refused is not None
            raise refused
        if len(tried) == 1 or seen.recording is None:
            return tried[0]
        off = [spikes_off(*each, sources, seen.recording) for each in tried]
        known = [n for n in off if n is not None]
        if len(known) < len(off):
            return tried[0]
        # The safest of those that are about as good as the best.
        return next(each for each, n in zip(tried, known, strict=True) if n <= BARELY * min(known))

    def _narrow(self, before: Population, after: Population, seen: Calibration) -> str:
        """What is known of states on a chip with fewer bits of them than are computed with."""
        registers = self.registers
        if registers.state_bits >= LOIHI.state_bits:
            return ""
        if seen.recording is None:
            return f"; without calibration nothing says that its states stay within {registers.state_bits} bits"
        reached = int(np.max(seen.peak(before) * after.scales, initial=0.0))
        return f"; after resets, states reach {reached:,} in calibration, of {registers.state_max:,}"


def _largest_current(
    population: Population, neuron: Lif, incoming: list[Projection], sources: Mapping[str, Population]
) -> Array:
    """Largest ``|u|`` that plain spikes can drive each neuron and its compartments to; 0 where a source may send more
    than that."""
    if any(sources[p.source].neuron.message_bits("loihi") for p in incoming):
        return np.zeros(len(neuron.du))
    ends: list[tuple[Array, Array]] = []
    for port in (0, PORT):
        there = [p for p in incoming if p.port == port]
        low, high = (sum((p.sums[side] for p in there), np.zeros(population.ends(port))) for side in (0, 1))
        ends.append((-low, high))
    if (join := population.join) is not None:
        below, above = (soma + join.largest(tree, population.size) for soma, tree in zip(*ends, strict=True))
        ends[0] = below, above
    most = np.maximum(*ends[0])
    return np.asarray(np.divide(most, neuron.du, out=np.full(len(most), np.inf), where=neuron.du > 0))


def _resolved(neuron: Lif, scales: Scales) -> bool:
    """Whether a scale that no current can leave is still fine enough.

    A threshold is at least `FINEST` units of 64. Where a negative exponent rounds each step's sum down, by half a unit
    on average, what adds up to in a membrane is at most a fifth of the threshold.
    """
    if not neuron.spiking:
        return True
    threshold = float((neuron.threshold * scales.scale).min()) / UNIT
    rounded_down = 0.5 * sum(grid.exponent < 0 for grid in scales.grids.values())
    lost = rounded_down / max(float(neuron.du.min()) * max(float(neuron.dv.min()), 1 / MEMORY), 1e-9)
    return threshold >= FINEST and lost <= threshold / 5


def _rounded(
    population: Population,
    neuron: Lif,
    incoming: list[Projection],
    scales: Scales,
    traces: Mapping[str, Array | None],
    registers: Registers,
) -> tuple[Population, list[Projection]]:
    """The population and its projections in integers."""
    scale = scales.scale
    done = []
    for port in (0, PORT):  # what ends at other places is rounded apart
        there = [p for p in incoming if p.port == port]
        done += rounding.compensated(there, population.at(port, scale), scales.grids, traces) if there else []
    rounded = Lif(
        du=_current_decay(neuron.du, registers),
        dv=_fraction(neuron.dv, registers),
        bias=_bias(population, neuron.bias * scale, registers),
        threshold=_threshold(population, neuron, scale, registers),
        reset_to=np.zeros(population.size, dtype=np.int32),
        initial=_state(neuron.initial * scale),
        reset="hard" if _forgets(neuron) else neuron.reset,
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


def _forgets(neuron: Lif) -> bool:
    """Whether a spike has nothing to reset, since no potential lasts: a reset to 0, which chips have, is the same.

    The decay of an integer keeps a part of 4096 of a potential, which is gone with the spike then.
    """
    return neuron.spiking and neuron.reset == "none" and neuron.reset_time == "now" and bool((neuron.dv == 1).all())


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


def _from_zero(network: Network) -> Answer | None:
    """The answer for potentials that are counted from the reset."""
    if network.answer is None:
        return None
    neurons = {p.name: expect(p, Lif, "quantise") for p in network.populations if not p.external}
    return network.answer.raised({name: n.reset_to for name, n in neurons.items() if n.reset == "hard"})


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


def _range(network: Network, calibrated: bool) -> str:
    """Which integers could leave their range for some input, and by how much."""
    far = []
    for name, found in reach(network).items():
        if found.u > 1:
            far.append(f"the current of {name!r} {_times(found.u)}, and wrap")
        if found.v > 1:
            far.append(f"the potential of {name!r} {_times(found.v)}, and saturate")
    if not far:
        return "no integer can leave it, whatever the input"
    held = "on the calibration samples, with headroom, currents stay inside" if calibrated else "give --calibration"
    return f"if every input of one sign spiked in every step, {'; '.join(far)} ({held})"


def _times(far: float) -> str:
    return f"could reach {far:.2g} times its range" if np.isfinite(far) else "could go on without end"


def _lost(before: Population, after: Population, registers: Registers) -> str:
    """What happens to decays that the register cannot tell from none, and to values beyond the registers."""
    floats, integers = expect(before, Lif, "quantise"), expect(after, Lif, "quantise")
    said = []
    for what, decay, least in (
        ("leak", floats.dv, "none"), ("decay of the current", floats.du, f"1/{1 << registers.decay_bits}"),
        ("decay of the threshold", floats.threshold_decay, "none"),
    ):  # fmt: skip
        small = (decay * (1 << registers.decay_bits) < 0.5) & (decay > 0) if decay is not None else np.zeros(1, bool)
        if decay is not None and small.any():
            count = f"{int(small.sum()):,} neurons, {decay[small].max():.3g} a step at most"
            said.append(
                f"the {what} of {count}, rounds to {least} "
                f"({registers.decay_bits} bits hold 1/{1 << registers.decay_bits})"
            )
    floats, scale = _reset_at_zero(floats), after.scales
    limit = (registers.threshold_max + 1) * UNIT if floats.spiking else np.inf
    for what, value, most in (
        ("threshold", floats.threshold, limit), ("initial potential", floats.initial, loihi_ranges.STATE_MAX + 1),
        ("lowest potential", floats.floor, loihi_ranges.STATE_MAX + 1),
        ("lower threshold", floats.lower, loihi_ranges.STATE_MAX + 1),
        ("rise of the threshold", floats.threshold_jump, loihi_ranges.STATE_MAX + 1),
    ):  # fmt: skip
        beyond = np.abs(np.asarray(0.0 if value is None else value) * scale) > most
        if beyond.any():
            held = integers.threshold if what == "threshold" else np.full(before.size, loihi_ranges.STATE_MAX)
            said.append(
                f"the {what} of {int(beyond.sum()):,} neurons is held at {(held / scale)[beyond].min():.4g} at least, "
                f"where it was up to {np.abs(np.broadcast_to(np.asarray(value), scale.shape)[beyond]).max():.4g}"
            )
    return "".join(f"; {text}" for text in said)


def _describe(population: Population, incoming: list[Projection]) -> str:
    exponents = ", ".join(f"{p.source}: {p.connectivity.exponent}" for p in incoming)
    low, high = float(population.scales.min()), float(population.scales.max())
    scales = (
        f"scale {low:.4g}" if low == high else f"{len(np.unique(population.scales))} scales, {low:.4g} to {high:.4g},"
    )
    return f"{scales} integer units per unit of potential; weight exponents {exponents or 'none'}"
