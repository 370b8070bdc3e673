"""How finely a population's integers resolve its floats: scales of its neurons, exponents of its projections.

A neuron j with scale S_j (integer units of its state per unit of its float membrane) and a projection p with exponent e
hold a weight as a number of steps of ``64 2^e`` times the weight step of the chip,

    |S_j w_jp| <= c L_p 64 2^(e_p)     with L_p = 254 for weights of both signs (even numbers), 255 for those of one

so the finest scale is S_j = min over p of L_p 64 2^(e_p) / max |w_jp|, bounded by what threshold, bias and state can
hold. Neurons form *groups* of one scale: the channels of a convolution, whose positions share a kernel; single
neurons otherwise; the whole population where the chip has one threshold for it. With c < 1 the largest weights are
clipped to resolve the others better; c (for each group) and the exponents are searched to minimise the mean square
error of what arrives,

    E = sum over p, i of a_i (w_ji - q_ji / S_j)^2,

with a_i the mean square trace of source i (`neurodeploy.passes.quantise.calibration`), or 1 without samples.

A chip with few threshold registers gets few *integer* thresholds T = S_j theta_j: a geometric ladder between the
smallest and the largest, every group on the highest rung that it reaches, each rung lowered to the smallest T on it.
S_j is then set to T / theta_j, so that no threshold is rounded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.network import loihi_ranges
from neurodeploy.network.arrays import Array
from neurodeploy.network.connectivity import Connectivity, Conv2d, largest_sum
from neurodeploy.network.network import Population, Projection
from neurodeploy.network.neurons import Lif
from neurodeploy.network.registers import LOIHI, Registers

UNIT = 1 << loihi_ranges.STATE_SHIFT
FAR = 1e5
"""A threshold that many times above the largest weight is there so that nothing reaches it."""
Range = Literal["max", "percentile", "mse"]
PERCENTILE = 99.9
CLIPS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)


@dataclass(frozen=True)
class Grid:
    """The weights that one projection can have, in units of ``64 2^exponent``.

    Args:
        low, high: ends of the range.
        step: between neighbours.
        exponent: of the projection.
    """

    low: int
    high: int
    step: int
    exponent: int = 0

    @classmethod
    def of(cls, kind: Connectivity, exponent: int = 0, registers: Registers = LOIHI) -> Grid:
        """Even numbers for weights of both signs, else all 8-bit numbers of that sign; fewer with fewer bits.

        Raises:
            UnsupportedError: one bit for weights of both signs.
        """
        low, high = float(kind.weights.min(initial=0)), float(kind.weights.max(initial=0))
        bits, top = registers.grid_bits, -loihi_ranges.WEIGHT_MIN
        step = 1 << (8 - bits)
        if low < 0 < high:
            if bits < 2:
                raise UnsupportedError(
                    "a weight of 1 bit cannot have both signs",
                    found=f"weights from {low:g} to {high:g} on one projection",
                    allowed="weights of one sign",
                    hint="run split-signs before quantise, or use another chip",
                )
            return cls(-top, top - 2 * step, 2 * step, exponent)
        return cls(step - top, 0, step, exponent) if low < 0 else cls(0, top - step, step, exponent)

    @property
    def largest(self) -> int:
        """Largest magnitude that fits in every direction in which there are weights."""
        return self.high or -self.low

    @property
    def unit(self) -> float:
        """State units of one step."""
        return self.step * UNIT * 2.0**self.exponent

    def nearest(self, scaled: Array) -> Array:
        """Nearest number of steps to weights in state units, within the range."""
        return np.clip(np.rint(scaled / self.unit), self.low // self.step, self.high // self.step)


@dataclass(frozen=True, eq=False)
class Scales:
    """What was chosen for a population.

    Args:
        scale: integer units of state per unit of float membrane, ``[neurons]``.
        grids: of the weights of each incoming projection, by name.
    """

    scale: Array
    grids: Mapping[str, Grid]


@dataclass(frozen=True, eq=False)
class Scaling:
    """Options of the search; see `neurodeploy.passes.quantise.quantise.Quantise`.

    Args:
        thresholds: different ones that a population may have; None for any number.
        range: what fills the bits of the weights.
        registers: of the chip.
    """

    thresholds: int | None
    range: Range
    registers: Registers = LOIHI

    def choose(
        self,
        population: Population,
        neuron: Lif,
        incoming: list[Projection],
        peaks: Sequence[Array],
        heard: Mapping[str, Array],
    ) -> list[Scales]:
        """Choose scales and exponents for each of ``peaks``; those that come out alike are given once.

        Args:
            population: in floats.
            incoming: its projections.
            neuron: of the population, its reset potential already shifted to 0.
            peaks: what the states of each neuron are held to, ``[neurons]`` each, headroom included.
            heard: mean square trace of each source neuron, by projection.

        Returns:
            In the order of ``peaks``, without those that no scale can hold: a potential that grows without bound is
            let saturate, as on the chip. Never empty: where nothing holds, what no peak bounds.

        Raises:
            UnsupportedError: weights, threshold and bias fit no common scale.
        """
        group = self._groups(population, incoming)
        count = int(group.max(initial=0)) + 1
        found: list[Scales] = []
        for peak in (*peaks, None):
            if peak is None and found:
                break
            ceiling = _ceilings(
                neuron, np.zeros(population.size) if peak is None else peak, group, count, self.registers
            )
            fitting = _Fitting(population, neuron, incoming, group, count, ceiling, heard, self.registers)
            if peak is not None and fitting.projections and fitting.runs_away():
                continue
            scales = self._fitted(fitting, neuron, incoming, group)
            if not any(np.array_equal(scales.scale, other.scale) for other in found):
                found.append(scales)
        return found

    def _fitted(self, fitting: _Fitting, neuron: Lif, incoming: list[Projection], group: Array) -> Scales:
        if not fitting.projections:
            scale = np.minimum(fitting.ceiling, float(UNIT) * loihi_ranges.WEIGHT_MAX)
            return Scales(self._settle(neuron, scale, group), self._grids(incoming))
        clip = np.ones(len(fitting.ceiling))
        if self.range == "percentile":
            clip *= fitting.percentile()
        exponents = fitting.start(clip)
        if self.range == "mse":
            exponents, clip = fitting.search(exponents)
        scale = self._settle(neuron, fitting.scales(exponents, clip), group)
        return Scales(scale, self._grids(incoming) | fitting.grids(exponents))

    def _grids(self, incoming: list[Projection]) -> dict[str, Grid]:
        return {p.name: Grid.of(p.connectivity, 0, self.registers) for p in incoming}

    def _groups(self, population: Population, incoming: list[Projection]) -> Array:
        """Group of each neuron; neurons of a group have one scale."""
        if self.thresholds == 1 or not population.spiking:
            return np.zeros(population.size, np.int64)
        planes = [_plane(population, p.port, k) for p in incoming if isinstance(k := p.connectivity, Conv2d)]
        plane = math.lcm(*planes) if planes else 1
        return np.arange(population.size) // (plane if population.size % plane == 0 else population.size)

    def _settle(self, neuron: Lif, scale: Array, group: Array) -> Array:
        """Scale of each neuron, such that thresholds are whole multiples of 64, few of them where the chip has few."""
        each = scale[group]
        theta = neuron.threshold
        count = len(scale)
        low, high = _extremes(theta, group, count)
        if not neuron.spiking or (low != high).any() or (low <= 0).any():
            return each
        mantissa = scale * low / UNIT
        if self.thresholds is not None and len(np.unique(np.floor(mantissa))) > self.thresholds:
            mantissa = _ladder(mantissa, self.thresholds)
        whole = np.floor(mantissa * (1 + 1e-12))
        # A threshold below 1 cannot be held; it is refused where it is rounded.
        return np.asarray((np.where(whole >= 1, whole * UNIT / low, scale))[group])


def _plane(population: Population, port: int, kind: Conv2d) -> int:
    """Neurons that a channel of a convolution reaches, through their compartments too; all where channels mix there."""
    plane, channels = kind.outputs // kind.output_shape[0], kind.output_shape[0]
    neurons = population.at(port, np.arange(population.size))
    if len(neurons) == population.size and population.ends(port) == population.size and population.join is None:
        return plane
    reached = population.size // channels
    apart = population.size % channels == 0 and (neurons // reached == np.arange(kind.outputs) // plane).all()
    return reached if apart else population.size


def _extremes(values: Array, group: Array, count: int) -> tuple[Array, Array]:
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, group, values)
    np.maximum.at(high, group, values)
    return low, high


def _ladder(values: Array, rungs: int) -> Array:
    """At most ``rungs`` different values, none above the one that it stands for; see the module's docstring."""
    low, high = float(values.min()), float(values.max())
    steps = np.linspace(math.log(low), math.log(high), rungs + 1)[:-1]
    on = np.clip(np.searchsorted(steps, np.log(values) + 1e-12, side="right") - 1, 0, rungs - 1)
    rung = np.full(rungs, np.inf)
    np.minimum.at(rung, on, values)
    return np.asarray(rung[on])


def _ceilings(neuron: Lif, peak: Array, group: Array, count: int, registers: Registers = LOIHI) -> Array:
    """Largest scale of each group that threshold, bias and state allow.

    With fewer than Loihi's bits of state a threshold takes half of them at most, so that a potential can pass it.
    """
    ceiling = np.full(count, np.inf)
    narrow = registers.state_bits < LOIHI.state_bits
    largest: list[tuple[float, Array]] = [
        (registers.state_max, np.maximum(peak, np.abs(neuron.initial))),
        (registers.bias_mantissa_max << registers.bias_exponent_max, np.abs(neuron.bias)),
    ]
    if narrow:
        largest.append((registers.state_max / 2, np.abs(neuron.bias)))
    if neuron.spiking:
        held = registers.threshold_max * UNIT
        largest.append((min(held, registers.state_max / 2) if narrow else held, neuron.threshold))
    for limit, values in largest:
        _, most = _extremes(values, group, count)
        ceiling = np.minimum(ceiling, np.divide(limit, most, out=np.full(count, np.inf), where=most > 0))
    return ceiling


def _heard(projection: Projection, heard: Mapping[str, Array]) -> Array | float:
    """Mean square trace of the source behind each stored weight, broadcastable to the weights."""
    kind = projection.connectivity
    return kind.behind_weights(heard[projection.name]) if projection.name in heard else 1.0


class _Fitting:
    """One population's weights while scales are fitted to them."""

    def __init__(
        self,
        population: Population,
        neuron: Lif,
        incoming: list[Projection],
        group: Array,
        count: int,
        ceiling: Array,
        heard: Mapping[str, Array],
        registers: Registers = LOIHI,
    ) -> None:
        self.population, self.neuron, self.group, self.ceiling = population, neuron, group, ceiling
        self.projections = [p for p in incoming if np.any(p.connectivity.weights)]
        self.bases = [Grid.of(p.connectivity, 0, registers) for p in self.projections]
        self.heard = [_heard(p, heard) for p in self.projections]
        rows = [p.connectivity.onto_targets(np.abs(p.connectivity.weights), np.maximum) for p in self.projections]
        self.groups = [population.at(p.port, group) for p in self.projections]
        most = [_extremes(row, own, count)[1] for row, own in zip(rows, self.groups, strict=True)]
        self.largest = np.maximum(np.array(most).reshape(len(rows), count), 0)  # of neurons without compartments, too

    def runs_away(self) -> bool:
        """Whether the states of calibration would push the smallest weights below the lowest exponent."""
        low = loihi_ranges.WEIGHT_EXPONENT_MIN
        tops = [float(row.max()) / grid.largest for row, grid in zip(self.largest, self.bases, strict=True)]
        return float(self.ceiling.min()) * min(tops) / UNIT < 2.0 ** (low - 1)

    def percentile(self) -> float:
        """`PERCENTILE` of all weights' magnitudes as a share of the largest."""
        shares = [
            float(np.percentile(np.abs(p.connectivity.weights), PERCENTILE) / row.max())
            for p, row in zip(self.projections, self.largest, strict=True)
        ]
        return max(min(shares), CLIPS[-1])

    def start(self, clip: Array) -> tuple[int, ...]:
        """Exponents at which the population's largest weight fills its 8 bits and none is negative, if that fits."""
        tops = [float((row * clip).max()) / grid.largest for row, grid in zip(self.largest, self.bases, strict=True)]
        low, high = loihi_ranges.WEIGHT_EXPONENT_MIN, loihi_ranges.WEIGHT_EXPONENT_MAX
        ceiling = float(self.ceiling.min())
        scale, wanted = UNIT / max(tops), UNIT / min(tops)
        room = min(ceiling, scale * 2.0**high)
        while scale * 2 <= room and scale < wanted:
            scale *= 2
        while scale > ceiling:
            scale /= 2
        exponents = [math.ceil(math.log2(scale * top / UNIT) - 1e-9) for top in tops]
        # The scale need not be a power of two below the ceiling: at it, the lowest exponent leaves a bit less at most.
        held = [ceiling * top / UNIT >= 2.0 ** (low - 1) for top in tops]
        exponents = [max(e, low) if there else e for e, there in zip(exponents, held, strict=True)]
        if min(exponents) < low or max(exponents) > high:
            tops = [float(row.max()) for row in self.largest]
            if self.neuron.never_spikes(sum(largest_sum(p.connectivity) for p in self.projections)).all():
                raise UnsupportedError(
                    f"population {self.population.name!r} can never spike",
                    found=f"weights of {min(tops):g} to {max(tops):g}, threshold {self.neuron.threshold.min():g}",
                    allowed="a threshold within reach, or a read-out of the potential",
                    hint="a last layer: make it a read-out (NIR: LI; norse: LIBoxCell, LICell; sinabs: ExpLeak; "
                    "snnTorch, SpikingJelly: an infinite threshold, and no reset by subtraction), and export again; "
                    "a layer in front of others: "
                    "lower its threshold, or leave it out, since it sends nothing",
                )
            raise UnsupportedError(
                f"population {self.population.name!r}: weights and threshold do not fit one integer scale",
                found=f"weights of {min(tops):g} to {max(tops):g}, threshold {self.neuron.threshold.max():g}",
                allowed=f"weight exponents {low}..{high}",
                hint="bring the layers' weights closer together (weight decay or normalisation in training)"
                + (
                    "; a threshold that is there so that a last layer never spikes is a read-out: NIR's I or LI in "
                    "place of IF or LIF, or an infinite threshold at export"
                    if float(self.neuron.threshold.max()) > FAR * max(tops)
                    else ""
                ),
            )
        return tuple(exponents)

    def grids(self, exponents: tuple[int, ...]) -> dict[str, Grid]:
        """Grids of the projections."""
        return {
            p.name: Grid(g.low, g.high, g.step, e)
            for p, g, e in zip(self.projections, self.bases, exponents, strict=True)
        }

    def scales(self, exponents: tuple[int, ...], clip: Array) -> Array:
        """Finest scale of each group at these exponents."""
        room = np.array([g.largest * UNIT * 2.0**e for g, e in zip(self.bases, exponents, strict=True)])[:, None]
        kept = self.largest * clip
        fine = np.divide(room, kept, out=np.full_like(kept, np.inf), where=kept > 0).min(axis=0)
        finite = np.minimum(fine, self.ceiling)
        return np.asarray(np.where(np.isfinite(finite), finite, finite[np.isfinite(finite)].min(initial=UNIT)))

    def error(self, exponents: tuple[int, ...], clip: Array) -> Array:
        """E of each group; see the module's docstring."""
        scales, total = self.scales(exponents, clip), np.zeros(len(clip))
        grids = self.grids(exponents).values()
        for projection, grid, heard, group in zip(self.projections, grids, self.heard, self.groups, strict=True):
            scale = scales[group]
            kind = projection.connectivity.scaled(scale)
            off = grid.nearest(kind.weights) * grid.unit - kind.weights
            total += np.bincount(group, kind.onto_targets(off * off * heard, np.add) / scale**2, minlength=len(clip))
        return total

    def search(self, exponents: tuple[int, ...]) -> tuple[tuple[int, ...], Array]:
        """Coordinate descent: each exponent one down or up, then the clip of each group, while the error falls."""
        clip = np.ones(len(self.ceiling))
        best = self.error(exponents, clip)
        improved = True
        while improved:
            improved = False
            for index in range(len(exponents)):
                for change in (-1, 1):
                    tried = (*exponents[:index], exponents[index] + change, *exponents[index + 1 :])
                    if not loihi_ranges.WEIGHT_EXPONENT_MIN <= tried[index] <= loihi_ranges.WEIGHT_EXPONENT_MAX:
                        continue
                    error = self.error(tried, clip)
                    if error.sum() < best.sum() * (1 - 1e-6):
                        exponents, best, improved = tried, error, True
        for value in CLIPS[1:]:
            error = self.error(exponents, np.full_like(clip, value))
            better = error < best
            clip, best = np.where(better, value, clip), np.where(better, error, best)
        return exponents, clip
