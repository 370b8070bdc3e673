"""Weights of a Program in units that learning has in common, and on the grid that its chip holds.

In units a threshold is 1 (a read-out's scale, where nothing is compared), so that networks that differ by scales alone
learn alike. An integer weight of mantissa m and exponent e is ``m 2^(6 + e) / unit`` (Loihi shifts currents by 6 bits),
and changes by whole steps of m, rounded stochastically, within what its registers hold:

    of both signs    multiples of 2^k, from -128 to 127 times it (8 bits a weight), with the smallest k that fits all
    of one sign      those that do not fit so: from 0 to 255, or their negatives; synapses keep their sign

and B bits in place of 8 on chips that have fewer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.arrays import Array
from neurodeploy.network.connectivity import Conv2d, Dense, with_weights
from neurodeploy.network.event_rule import EventRule
from neurodeploy.network.network import Network, Projection
from neurodeploy.program.program import Program

from ..function.tables import pool_places
from .tables import Tables

_LARGEST = 256
"""Of a weight, in magnitude (`neurodeploy.network.loihi_ranges`)."""


def held(weights: Array, bits: int) -> tuple[int, int, int]:
    """Step, lowest and highest weight that a chip with so many bits a weight can hold; see the module's docstring.

    Raises:
        UnsupportedError: it cannot hold these.
    """
    low, high, half = int(weights.min(initial=0)), int(weights.max(initial=0)), 1 << (bits - 1)
    steps = [step for step in (1 << k for k in range(9)) if half * step <= _LARGEST and not (weights % step).any()]
    one_sign = (0, 2 * half - 1) if low >= 0 else (1 - 2 * half, 0)
    for least, most in ((-half, half - 1), *([one_sign] if low >= 0 or high <= 0 else [])):
        for step in steps:
            if least * step <= low and high <= most * step:
                return step, least * step, most * step
    raise UnsupportedError(
        f"weights of {bits} bits do not hold those that should learn", found=f"values from {low} to {high}",
        allowed=f"multiples of a power of 2, from {-half} to {half - 1} times it",
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Grid:
    """How the weights of the tables stand in the Program.

    Args:
        unit: of each weight, in the Program's numbers.
        steps: in units; 0 for floats. As `layout.Constants` takes it, one more at the end.
        limits: of each projection, in steps, ``[projections + 1, 2]``.
        whole: whether the Program's weights are whole numbers.
    """

    tables: Tables
    unit: Array
    steps: Array
    limits: Array
    whole: bool

    @classmethod
    def of(
        cls, network: Network, tables: Tables, projections: Sequence[Projection], units: Mapping[str, Array], bits: int
    ) -> Grid:
        """For the projections of the tables; ``units`` of each neuron by population."""
        integer = network.arithmetic == "loihi"
        scales, steps, limits = [], [], []
        for q in projections:
            own = _units(q, units[q.target]) / _factor(network, q)
            step, low, high = _grid(q, own, integer, bits)
            scales.append(own)
            steps.append(step)
            limits.append((low, high))
        return cls(
            tables, tables.packed(scales), np.append(tables.packed(steps), 0.0), np.array([*limits, (0.0, 0.0)]),
            integer,
        )  # fmt: skip

    def from_program(self, weights: Sequence[Array]) -> Array:
        """Weights of the projections in units, in the tables' order."""
        found = self.tables.packed(weights) / self.unit
        on = self.steps[:-1] > 0
        low, high = (
            np.concatenate([np.full(p.stop - p.start, x) for p, x in zip(self.tables.parts, column, strict=False)])
            for column in self.limits.T
        )
        found[on] = np.clip(np.rint(found[on] / self.steps[:-1][on]), low[on], high[on]) * self.steps[:-1][on]
        return found

    def in_program(self, weights: Array) -> Array:
        """Weights in units as the Program's numbers, still in the tables' order."""
        found = weights * self.unit
        return np.rint(found) if self.whole else found

    def network(self, network: Network, projections: Sequence[Projection], weights: Array) -> Network:
        """The network with the weights of its projections that learn replaced, given in units."""
        shapes = [q.connectivity.weights.shape for q in projections]
        found = dict(zip([q.name for q in projections], self.tables.unpacked(self.in_program(weights), shapes),
                         strict=True))  # fmt: skip
        made = []
        for q in network.projections:
            if q.event_rule is not None and q.name in found:
                kind = q.connectivity
                values = found[q.name].astype(kind.weights.dtype)
                q = replace(q, connectivity=with_weights(kind, values, kind.exponent))
            made.append(q)
        return replace(network, projections=tuple(made))


def _factor(network: Network, q: Projection) -> float:
    """What one step of a weight adds to a potential."""
    shift = network.by_name[q.target].neuron.current_shift if network.arithmetic == "loihi" else 0
    return float(2.0 ** (q.connectivity.exponent + shift))


def _units(q: Projection, unit: Array) -> Array:
    """Of each weight, in its projection's layout; of a shared kernel the mean over the positions of a channel."""
    kind = q.connectivity
    if isinstance(kind, Dense):
        return np.broadcast_to(unit[:, None], kind.weights.shape)
    if isinstance(kind, Conv2d):
        channels = unit.reshape(len(kind.weights), -1).mean(axis=1)
        return np.broadcast_to(channels[:, None, None, None], kind.weights.shape)
    return np.asarray(unit[kind.listed().targets])


def _grid(q: Projection, unit: Array, integer: bool, bits: int) -> tuple[Array, float, float]:
    """Steps of each weight in units, and the lowest and highest in steps."""
    rule: EventRule | None = q.event_rule
    if integer:
        step, low, high = held(q.connectivity.weights, bits)
        return step / unit, low / step, high / step
    if rule is not None and rule.weight_bits:
        most = 2.0 ** (rule.weight_bits - 1) - 1
        return np.full(q.connectivity.weights.shape, rule.weight_range / most), -most, most
    return np.zeros(q.connectivity.weights.shape), 0.0, 0.0


@dataclass(frozen=True, eq=False)
class Pool:
    """Where the weights of the tables stand in the simulator's pool of weights.

    Args:
        place, weight: places of the pool, and the weight of the tables that each holds.
        shift: by how much the simulator has shifted it.
    """

    place: Array
    weight: Array
    shift: Array

    @classmethod
    def of(cls, program: Program, tables: Tables, projections: Sequence[Projection]) -> Pool:
        """Of all projections that learn."""
        places = pool_places(program)
        at, which, shift = [], [], []
        for q, part, packing in zip(projections, tables.parts, tables.packing, strict=True):
            if q.event_rule is None:
                continue
            where, weight = places[q.name]
            own = np.empty(len(packing), np.int64)
            own[packing] = np.arange(part.start, part.stop)
            at.append(where)
            which.append(own[weight])
            shift.append(np.full(len(where), 1 << max(q.connectivity.exponent, 0), np.int64))
        return cls(np.concatenate(at), np.concatenate(which), np.concatenate(shift))

    def write(self, pool: Array, weights: Array) -> None:
        """Put weights, the Program's numbers in the tables' order, into the pool."""
        pool[self.place] = weights[self.weight] * self.shift
