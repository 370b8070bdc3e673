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
(`Lif.send_shift`), to which their weights are scaled, and so do products (`neurodeploy.passes.quantise.products`) and
what host stages feed (`neurodeploy.passes.quantise.hosts`). Networks of sigma-delta neurons:
`neurodeploy.passes.quantise.sigma_delta`.

Integers compare with ``>``. A float neuron that fires at ``>=`` gets a threshold lower by one unit of 64 (its state
is a multiple of 64 where nothing has decayed), or where the threshold is also what a spike subtracts, a start one
unit higher.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from neurodeploy.errors import InvalidInputError, UnsupportedError
from neurodeploy.network import loihi_ranges
from neurodeploy.network.arrays import Array
from neurodeploy.network.bias_axons import with_bias_axons
from neurodeploy.network.connectivity import with_weights
from neurodeploy.network.dispatch import expect
from neurodeploy.network.host import alone
from neurodeploy.network.join import PORT
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Neuron, Product
from neurodeploy.network.registers import LOIHI, Registers
from neurodeploy.program.limits import Limits

from ..data import NOTHING, PassData
from . import rounding
from .calibration import MEMORY, Calibration
from .describe import described, integers_said, lost
from .hosts import Message, messages
from .measure import spikes_off
from .products import product
from .scaling import UNIT, Range, Scales, Scaling
from .sigma_delta import SigmaDeltaIntegers
from .zero import answer_from_zero, reset_at_zero, stages_from_zero

MESSAGE_BITS = 10
"""Of what a read-out sends on: more would leave its targets' 8-bit weights too few steps, fewer would lose detail."""

FINEST = 64
"""Units that a threshold needs, that a scale may be bounded by weights alone."""

BARELY = 1.05
"""A scale that holds more is taken if it gets at most so many times as far off as the best one."""


Units = dict[str, float]
"""Of what populations send in integers, per unit of it in floats, by name; 1 for those that are not in it."""

Made = tuple[Population, list[Projection], str]
"""A population and its projections in integers, and what is said of it."""

Kind = Callable[[Population, list[Projection], Network, Calibration, Units], Made]


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
        payload: bits, beside a sign, of numbers that host stages send (see `neurodeploy.passes.quantise.hosts`), and of
            products; fewer where a spike of the chip carries fewer.

    With samples, the float network runs on them and the largest potential of each population is kept from saturating;
    without them only weights and thresholds decide.
    """

    name: ClassVar[str] = "quantise"
    headroom: float = 2.0
    thresholds: int | Literal["chip", "any"] = "chip"
    range: Range = "mse"
    rounding: Literal["auto", "nearest", "compensated"] = "auto"
    payload: int = 8

    def apply(self, network: Network, data: PassData = NOTHING) -> Network:
        """See the module's docstring.

        Raises:
            InvalidInputError: the network is not in floats, or compensated rounding without calibration.
            UnsupportedError: a read-out that feeds back, neurons of another kind, or a parameter beyond the range.
        """
        if network.arithmetic != "float":
            raise InvalidInputError("the network is already quantised", found=network.arithmetic, allowed="float")
        if self.rounding == "compensated" and data.calibration is None:
            raise InvalidInputError(
                "compensated rounding needs samples to compensate on",
                found="no calibration",
                hint="give --calibration, or use nearest rounding",
            )
        if any(p.neuron.sums_up for p in network.populations):
            alone(network, "quantise of sigma-delta neurons")
            seen = Calibration.of(network, data.calibration)
            return SigmaDeltaIntegers(network, seen, self.headroom, data.registers, self.rounding).of()
        seen = Calibration.of(network, data.calibration)
        hosted = messages(network, seen, data.limits, self.payload)
        whole = with_bias_axons(network)
        return _Quantising(self, self._thresholds(data.limits), data.registers, hosted).of(whole, seen)

    def _thresholds(self, limits: Limits | None) -> int | None:
        if self.thresholds == "chip":
            return limits.thresholds if limits and limits.thresholds is not None else 1
        return None if self.thresholds == "any" else self.thresholds


@dataclass(frozen=True)
class _Quantising:
    """`Quantise` for one chip.

    Args:
        thresholds: None for any number.
        hosted: how populations send that the host feeds.
    """

    options: Quantise
    thresholds: int | None
    registers: Registers
    hosted: Mapping[str, Message]

    def of(self, network: Network, seen: Calibration) -> Network:
        """The network of Lif populations in integers."""
        notes = dict(network.notes)
        notes |= {f"host {name}": message.said for name, message in self.hosted.items()}
        populations: list[Population] = []
        units = {name: float(message.population.scales[0]) for name, message in self.hosted.items()}
        integer: dict[str, Projection] = {}
        for population in network.populations:
            if population.external:
                hosted = self.hosted.get(population.name)
                populations.append(population if hosted is None else hosted.population)
                continue
            incoming = [_from_integers(p, network.by_name[p.source], units) for p in network.into(population.name)]
            kinds: Mapping[type[Neuron], Kind] = {Product: self._product}
            made = kinds.get(type(population.neuron), self._lif)(population, incoming, network, seen, units)
            quantised, done, notes[f"quantise {population.name}"] = made
            populations.append(quantised)
            integer |= {p.name: p for p in done}
        whole = replace(
            network,
            populations=tuple(populations),
            projections=tuple(integer[p.name] for p in network.projections),
            arithmetic="loihi",
            notes=notes,
            answer=answer_from_zero(network),
            stages=stages_from_zero(network),
        )
        return replace(whole, notes={**notes, "range of integers": integers_said(whole, seen.recording is not None)})

    def _lif(
        self, population: Population, incoming: list[Projection], network: Network, seen: Calibration, units: Units
    ) -> Made:
        quantised, done = self._population(population, incoming, network.by_name, seen, units)
        if not population.spiking and any(p.source == population.name for p in network.projections):
            quantised, units[population.name] = _heard(quantised, seen.peak(population), network)
        said = described(quantised, done) + lost(population, quantised, self.registers)
        return quantised, done, said + self._narrow(population, quantised, seen)

    def _product(
        self, population: Population, incoming: list[Projection], network: Network, seen: Calibration, units: Units
    ) -> Made:
        """Of products, whose sources stand before them."""
        del network
        quantised, done = product(population, incoming, seen, self.registers, self.options.payload)
        units[population.name] = float(quantised.scales[0])
        return quantised, done, f"scale {units[population.name]:.4g} units of its messages per unit of the product"

    def _population(
        self,
        population: Population,
        incoming: list[Projection],
        sources: Mapping[str, Population],
        seen: Calibration,
        units: Mapping[str, float],
    ) -> tuple[Population, list[Projection]]:
        neuron = reset_at_zero(expect(population, Lif, "quantise", "compile it with --float"))
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


def _fire_at_equality(neuron: Lif) -> Lif:
    """Let an integer neuron that compares with ``>`` fire where the float one reaches its threshold exactly."""
    if neuron.reset == "subtract":
        return replace(neuron, initial=neuron.initial + 1)
    return replace(neuron, threshold=np.maximum(neuron.threshold - UNIT, UNIT))


def _from_integers(projection: Projection, source: Population, units: Mapping[str, float]) -> Projection:
    """The projection with weights for what its source sends in integers.

    Raises:
        UnsupportedError: the source sends values, in a scale that is not known yet.
    """
    values = source.neuron.valued and not source.external
    if source.name not in units and not values:
        return projection
    if source.name not in units:
        raise UnsupportedError(
            f"the {source.neuron.label} {source.name!r} feeds back on a population before it",
            allowed="in integers a population that sends values may only feed those behind it",
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
        hears = network.by_name[projection.target]
        if projection.source != population.name or not hears.neuron.current_shift:
            continue  # a product takes what it gets
        target = expect(hears, Lif, "quantise")
        weight = float(np.abs(projection.connectivity.weights).max(initial=0.0))
        if target.spiking and weight:
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
