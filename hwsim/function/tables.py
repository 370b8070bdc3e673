"""A Program as flat tables: what `neurodeploy.hwsim.function.loop` runs.

All neurons stand in one numbering, population after population. Within a population they keep their order, except for
images that a convolution reaches, which are numbered channels-last here (`Flat.order`), so that the currents of one
event are contiguous. Weights are kept in the narrowest of int8, int16 and int32 that holds them all, also those of a
float network that are whole numbers, and targets in 16 bits where that is enough; else a
target and a weight of 8 bits share 32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from neurodeploy.network.arrays import Array, Sealed, sole
from neurodeploy.network.connectivity import Connectivity, Conv2d, Dense, with_weights
from neurodeploy.network.dispatch import dispatch
from neurodeploy.network.host import alone
from neurodeploy.network.join import PORT
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.reach import reach
from neurodeploy.program.limits import added
from neurodeploy.program.program import Program

from ..loihi_learning.rules import Rules
from . import layout, loop
from .called import Kernel
from .models import MODELS, NeuronPools, joined


@dataclass(frozen=True, eq=False)
class Flat(Sealed):
    """The tables of one Program; see `neurodeploy.hwsim.function.loop.simulate` for the arrays.

    Args:
        order: for each population numbered otherwise than in the network, the network's index of each neuron.
        inputs: columns of the input array, by population.
        plain: whether all messages are plain spikes and no sum can leave 32 bits.
        slots: first core slot of each population that is not a source.
        memory: how many variables models keep beside u and v, over all neurons.
        history: steps that events are kept for delayed projections.
        rules: of projections that learn, None where there are none.
        joins: for each population with compartments where those of each neuron begin, and the compartments neuron by
            neuron, in one numbering of all.
    """

    network: Network
    populations: Array
    projections: Array
    scalars: Array
    pools: tuple[Array, ...]
    neurons: tuple[Array, ...]
    slow: tuple[Array, ...]
    initial: Array
    slot: Array
    block_slots: Array
    order: Mapping[str, Array]
    inputs: Mapping[str, slice]
    slots: Mapping[str, slice]
    scratch: int
    plain: bool
    history: int
    wide: frozenset[str]
    memory: int
    joins: tuple[Array, Array]
    rules: Rules | None = None

    @property
    def integer(self) -> bool:
        """Whether the network is in Loihi's integers."""
        return self.network.arithmetic == "loihi"

    @property
    def number(self) -> np.dtype[Any]:
        """Of currents."""
        return self.initial.dtype if not self.integer else np.dtype(np.int32 if self.plain else np.int64)

    def state(self) -> tuple[Array, ...]:
        """Fresh arrays for one thread."""
        neurons, number = len(self.initial), self.number
        ports = neurons if (self.populations[:, layout.PORTS] == 2).any() else 0
        return (
            np.zeros(neurons, number),
            np.zeros(ports, number),
            np.zeros(neurons, number),
            np.zeros(neurons, self.initial.dtype),
            np.zeros(neurons if others(self.populations) else 0, self.sent),
            np.zeros(self.memory, number),
            np.zeros(len(self.slow[0]), np.int32),
            np.zeros(len(self.slow[1]), number),
            np.zeros(neurons, np.uint8),
            np.zeros(len(self.joins[1]), number),
        )

    @property
    def sent(self) -> np.dtype[Any]:
        """Of messages."""
        return np.dtype(np.uint8) if self.plain else self.number


def others(populations: Array) -> bool:
    """Whether some neurons are not common ones, by the table of populations."""
    return bool(((populations[:, layout.KIND] >= layout.LIF) & (populations[:, layout.FAST] == 0)).any())


def flatten(program: Program, precision: type[np.floating[Any]] = np.float64, *, wide: bool = False) -> Flat:
    """Return the tables of a Program.

    Args:
        precision: of a float network, float64 or float32.
        wide: keep weights in the numbers of currents, and none with its target, so that they may be changed.
    """
    alone(program.network, "this part of hwsim")
    return _Builder(program, np.dtype(precision), wide).build()


def pool_places(program: Program) -> dict[str, tuple[Array, Array]]:
    """Where weights stand in the pool of wide tables: for each projection places, and which of its weights each holds.

    The latter count through the projection's array of weights in C order.
    """
    builder = _Builder(program, np.dtype(np.float64), wide=True)
    builder.integer = False
    places, at = {}, 0
    for population in program.network.populations:
        for q in program.network.into(population.name):
            kind = q.connectivity
            numbers = np.arange(kind.weights.size, dtype=np.float64).reshape(kind.weights.shape)
            part = builder.packed(replace(q, connectivity=with_weights(kind, numbers), bias=None))
            places[q.name] = np.arange(at, at + len(part.weights)), part.weights.astype(np.int64)
            at += len(part.weights)
    return places


def may_overflow(network: Network, name: str) -> bool:
    """Whether the current arriving at a population, shifted by 6 bits, could exceed 32 bits."""
    sources = [network.by_name[p.source].neuron for p in network.into(name)]
    if any(s.largest_message("loihi") > 1 for s in sources):
        return True
    return sum(p.largest_sum for p in network.into(name)) * 64 >= 2**30


@dataclass(frozen=True, eq=False)
class _Part:
    """A projection before it goes into the pools."""

    row: Array
    weights: Array
    bias: Array
    starts: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    targets: Array = field(default_factory=lambda: np.zeros(0, np.uint16))
    phases: Array = field(default_factory=lambda: np.zeros((0, 3), np.int64))


class _Builder:
    """Fills the tables of a `Flat`."""

    def __init__(self, program: Program, precision: np.dtype[Any], wide: bool = False) -> None:
        self.program, self.network, self.all_wide = program, program.network, wide
        self.integer = self.network.arithmetic == "loihi"
        self.number = np.dtype(np.int32) if self.integer else precision
        self.row = {p.name: row for row, p in enumerate(self.network.populations)}
        self.populations = np.zeros((len(self.row), layout.POPULATION_FIELDS), np.int64)
        self.scalars = np.zeros((len(self.row), 6))
        self.images = self._images()
        self.order_at = {
            end: np.arange(np.prod(shape), dtype=np.int32).reshape(shape).transpose(1, 2, 0).ravel()
            for end, shape in self.images.items()
        }
        self.order = {name: order for (name, port), order in self.order_at.items() if port == 0}
        self.starts: list[Array] = []
        self.members: list[Array] = []
        self.wide = frozenset(
            p.name
            for p in self.network.populations
            if self.integer and not p.external and may_overflow(self.network, p.name)
        )

    def _end(self, q: Projection) -> tuple[str, int]:
        """What a projection reaches: neurons of a population (0), or their compartments (1)."""
        return q.target, int(q.port == PORT and self.network.by_name[q.target].join is not None)

    def _images(self) -> dict[tuple[str, int], tuple[int, ...]]:
        """The shape of the convolution that reaches neurons or compartments, which are then numbered channels-last."""
        found: dict[tuple[str, int], tuple[int, ...]] = {}
        for q in self.network.projections:
            if isinstance(q.connectivity, Conv2d):
                found.setdefault(self._end(q), q.connectivity.output_shape)
        return found

    def _join(self, p: Array, population: Population) -> None:
        """Compartments of a population, neuron by neuron, in the tables' order of both."""
        join = population.join
        p[layout.JOIN] = -1
        if join is None:
            return
        parent, order, own = join.parent, self.order.get(population.name), self.order_at.get((population.name, 1))
        if order is not None:
            new = np.empty(population.size, np.int64)
            new[order] = np.arange(population.size)
            parent = new[parent]
        parent = parent if own is None else parent[own]
        p[layout.JOIN], p[layout.JOINED] = sum(map(len, self.starts)), sum(map(len, self.members))
        p[layout.COMPARTMENTS], p[layout.OWN] = len(parent), int(not added(self.network, population.name))
        p[layout.WRAP] = int(self.integer) << 23 >> population.neuron.current_shift
        first = np.concatenate([[0], np.cumsum(np.bincount(parent, minlength=population.size))])
        self.starts.append(first + p[layout.JOINED])
        self.members.append(np.argsort(parent, kind="stable") + p[layout.JOINED])

    def build(self) -> Flat:
        plain = self._plain()
        pools = NeuronPools(self.integer, self.number, plain)
        inputs: dict[str, slice] = {}
        slots: dict[str, slice] = {}
        neurons = fed = 0
        own: list[Array] = []
        blocks: list[Array] = []
        heard = {p.source for p in self.network.projections}
        reaches = reach(self.network) if self.integer else {}
        for row, population in enumerate(self.network.populations):
            p, neuron, name = self.populations[row], population.neuron, population.name
            p[layout.SIZE] = population.size
            p[layout.GRADED] = int(neuron.graded(self.network.arithmetic))
            p[layout.RECORD_U] = p[layout.RECORD_V] = -1
            p[layout.HEARD] = int(population.spiking or name in heard)
            if population.external:
                p[layout.KIND] = layout.ALWAYS if neuron.always_on else layout.INPUT
                p[layout.START] = neuron.start
                p[layout.OFFSET] = fed
                if not neuron.always_on:
                    inputs[name] = slice(fed, fed + population.size)
                    fed += population.size
                continue
            p[layout.OFFSET] = neurons
            self._join(p, population)
            p[layout.PORTS] = max(neuron.ports, 2 if self.network.taught(name) else 1)
            p[layout.SPIKING] = int(population.spiking)
            p[layout.UNBOUNDED] = int(self.integer and not reaches[name].bounded)
            pools.add(p, self.scalars[row], population, self.order.get(name), name in self.wide)
            slots[name] = self._slots(name, max((s.stop for s in slots.values()), default=0))
            own.append(self._core_slots(name, slots[name].start))
            p[layout.BLOCKS] = sum(map(len, blocks))
            blocks.append(_block_slots(own[-1]))
            neurons += population.size
        projections, weights, scratch = self._projections()
        rules = Rules.of(
            self.program, self.order, lambda n: self.network.by_name[n].neuron.graded(self.network.arithmetic)
        )
        delays = [q.delay for q in self.network.projections]
        whole = np.dtype(np.int32)
        return Flat(
            network=self.network,
            populations=self.populations,
            projections=projections,
            scalars=self.scalars,
            pools=weights,
            neurons=pools.columns(others(self.populations)),
            slow=(
                joined(pools.slow[0], whole),
                joined(pools.slow[1], pools.current),
                joined(pools.slow[2], pools.current),
            ),
            initial=joined(pools.initial, self.number),
            slot=joined(own, whole),
            block_slots=joined(blocks, whole),
            order=self.order,
            inputs=inputs,
            slots=slots,
            scratch=scratch,
            plain=plain,
            history=max([0, *delays, *([rules.history] if rules else [])]),
            wide=self.wide,
            memory=pools.memory,
            joins=(joined(self.starts, np.dtype(np.int64)), joined(self.members, whole)),
            rules=rules,
        )

    def _slots(self, name: str, first: int) -> slice:
        """Core slots of a population."""
        return slice(first, first + len(self.program.cores_of(name)))

    def _core_slots(self, name: str, first: int) -> Array:
        """Core slot of each neuron of a population, in the tables' order."""
        on, order = self.program.cores_of(name), self.order.get(name)
        slots = np.searchsorted(on, self.program.core_of[name]).astype(np.int32) + first
        return slots if order is None else slots[order]

    def _plain(self) -> bool:
        """Whether neurons send plain spikes only and no sum can leave 32 bits; float read-outs may feed on.

        Models that are called by their address are made for wide numbers only.
        """
        populations, arithmetic = self.network.populations, self.network.arithmetic
        if any(isinstance(dispatch(MODELS, p, "hwsim"), Kernel) for p in populations if not p.external):
            return False
        if self.integer:
            return not self.wide and not any(p.neuron.graded(arithmetic) for p in populations)
        return not any(p.neuron.graded(arithmetic) for p in populations if not p.external and p.spiking)

    def _projections(self) -> tuple[Array, tuple[Array, ...], int]:
        """The table of projections, the pools that it points into, and the length of the scratch sums."""
        parts: list[_Part] = []
        for population in self.network.populations:
            first = len(parts)
            parts += [self.packed(projection) for projection in self.network.into(population.name)]
            self.populations[self.row[population.name], [layout.FIRST, layout.LAST]] = first, len(parts)
        scratch = 0
        for part in parts:
            if part.row[layout.EXPONENT] < 0:
                part.row[layout.SCRATCH] = scratch
                scratch += int(part.row[layout.OUTPUTS])
        table = np.array([part.row for part in parts], np.int64).reshape(-1, layout.PROJECTION_FIELDS)
        narrow = np.dtype(np.uint16 if all(p.targets.dtype == np.uint16 for p in parts) else np.uint32)
        number = self.number if self.all_wide else _narrowest([p.weights for p in parts], self.number)
        weights = _pool([p.weights for p in parts], table, layout.WEIGHTS, number)
        rows = _pool([p.starts for p in parts], table, layout.ROWS, np.dtype(np.int64))
        targets = _pool([p.targets for p in parts], table, layout.TARGETS, narrow)
        phases = _pool([p.phases for p in parts], table, layout.PHASES, np.dtype(np.int64)).copy()
        biases = _pool([p.bias for p in parts], table, layout.BIAS, self.number)
        for row, part in zip(table, parts, strict=True):
            phases[row[layout.PHASES] :][: len(part.phases), 0] += row[layout.WEIGHTS]
            if not len(part.bias):
                row[layout.BIAS] = -1
        return table, (weights, rows, targets, phases, biases), scratch

    def packed(self, q: Projection) -> _Part:
        """One projection; its row of the table lacks its places in the pools."""
        kind = q.connectivity
        row = np.zeros(layout.PROJECTION_FIELDS, np.int64)
        row[layout.FROM], row[layout.TO] = self.row[q.source], self.row[q.target]
        row[layout.DELAY], row[layout.PORT], row[layout.OUTPUTS] = q.delay, q.port, kind.outputs
        row[layout.BIAS_START] = q.bias_start
        source, target = self.order.get(q.source), self.order_at.get(self._end(q))
        if q.local_rule:
            row[layout.FORM] = layout.PLASTIC
            return _Part(row, np.zeros(0, self.number), self._bias(q, target))
        weights = kind.weights.astype(self.number, copy=False)
        if self.integer:
            row[layout.EXPONENT] = min(kind.exponent, 0)
            weights = kind.weights if kind.exponent <= 0 else kind.weights.astype(np.int32) << kind.exponent
        bias = self._bias(q, target)
        if isinstance(kind, Dense):
            row[layout.FORM] = layout.DENSE
            matrix = weights.T
            matrix = matrix if source is None else matrix[source]
            matrix = matrix if target is None else matrix[:, target]
            return _Part(row, np.ascontiguousarray(matrix).ravel(), bias)
        if isinstance(kind, Conv2d) and kind.output_shape == self.images[self._end(q)]:
            kernel, phases = self._convolution(kind, weights, row, source is not None)
            return _Part(row, kernel, bias, phases=phases)
        row[layout.FORM] = layout.SPARSE
        starts, targets, listed = _listed(kind, weights)
        if target is not None:
            new = np.empty(len(target), np.int32)
            new[target] = np.arange(len(target), dtype=np.int32)
            targets = new[targets]
        if source is not None:
            lengths = np.diff(starts)
            take = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in source] or [np.zeros(0, np.int64)])
            starts, targets, listed = np.concatenate([[0], np.cumsum(lengths[source])]), targets[take], listed[take]
        if kind.outputs < 1 << 16:
            return _Part(row, listed, bias, starts, targets.astype(np.uint16))
        small = kind.outputs < 1 << layout.TARGET_BITS and not self.all_wide
        if small and _narrowest([listed], self.number) == np.int8:
            row[layout.FORM] = layout.PACKED
            # NumPy's own memory: it asks for large pages, which random rows need.
            packed = np.empty(len(targets), np.uint32)
            loop.pack(targets, listed, packed)
            return _Part(row, listed[:0], bias, starts, packed)
        return _Part(row, listed, bias, starts, targets)

    def _bias(self, q: Projection, target: Array | None) -> Array:
        """A bias of 0 is none (-0.0 shows no arrival)."""
        bias = np.zeros(0) if q.bias is None else np.where(q.bias == 0, -0.0, q.bias)
        return bias if target is None or not len(bias) else bias[target]

    def _convolution(self, kind: Conv2d, weights: Array, row: Array, last: bool) -> tuple[Array, Array]:
        """The kernel by stride phase, columns reversed, output channels innermost, and the table of phases."""
        c_out, c_in, k_h, k_w = weights.shape
        groups = kind.groups
        per_group = c_out // groups
        row[layout.C_IN], row[layout.C_OUT], row[layout.GROUPS] = c_in, per_group, groups
        row[[layout.H_IN, layout.W_IN]], row[[layout.H_OUT, layout.W_OUT]] = (
            kind.input_shape[1:],
            kind.output_shape[1:],
        )
        row[[layout.K_H, layout.K_W]] = k_h, k_w
        row[[layout.S_Y, layout.S_X]], row[[layout.P_Y, layout.P_X]] = kind.stride, kind.padding
        row[[layout.D_Y, layout.D_X]] = kind.dilation
        row[layout.LAST_CHANNELS] = int(last)
        # [groups, c_in, k_h, k_w, c_out of the group]
        kernel = weights.reshape(groups, per_group, c_in, k_h, k_w).transpose(0, 2, 3, 4, 1)
        if tuple(kind.dilation) != (1, 1):
            row[layout.FORM] = layout.DILATED
            return np.ascontiguousarray(kernel).ravel(), np.zeros((0, 3), np.int64)
        row[layout.FORM] = layout.CONV
        parts, phases, at = [], [], 0
        for y in range(kind.stride[0]):
            for x in range(kind.stride[1]):
                part = kernel[:, :, y :: kind.stride[0], x :: kind.stride[1]][:, :, :, ::-1]
                phases.append((at, part.shape[2], part.shape[3]))
                parts.append(part.ravel())
                at += part.size
        return np.concatenate(parts), np.array(phases, np.int64)


def _block_slots(slot: Array) -> Array:
    """Core slot of each block of neurons, -1 for several."""
    starts = np.arange(0, len(slot), layout.BLOCK)
    low, high = np.minimum.reduceat(slot, starts), np.maximum.reduceat(slot, starts)
    return np.where(low == high, low, -1)


def _narrowest(parts: list[Array], number: np.dtype[Any]) -> np.dtype[Any]:
    """The narrowest type that holds all weights; a float network's too, where all of them are whole numbers."""
    if number.kind == "f" and not all(
        np.array_equal(p, np.rint(p)) and np.abs(p).max(initial=0) < 1 << 15 for p in parts
    ):
        return number
    low = min((int(p.min()) for p in parts if p.size), default=0)
    high = max((int(p.max()) for p in parts if p.size), default=0)
    bits = next(bits for bits in (8, 16, 32) if -(1 << (bits - 1)) <= low and high < 1 << (bits - 1))
    return np.dtype(f"int{bits}")


def _pool(parts: Sequence[Array], table: Array, column: int, number: np.dtype[Any]) -> Array:
    """Join the parts, noting in ``column`` of the table where each begins."""
    if not parts:
        return np.zeros((0, 3) if column == layout.PHASES else 0, number)
    table[:, column] = np.cumsum([0, *(len(p) for p in parts[:-1])])
    if len(parts) == 1:
        return sole(np.ascontiguousarray(parts[0], number))
    return sole(np.concatenate(parts, axis=0, dtype=number, casting="unsafe"))


def _listed(kind: Connectivity, weights: Array) -> tuple[Array, Array, Array]:
    """Row starts, targets and weights by source."""
    one = with_weights(kind, sole(weights)).listed()
    return one.indptr, one.targets, one.weights
