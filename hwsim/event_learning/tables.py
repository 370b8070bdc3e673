"""A network as the tables of `neurodeploy.hwsim.event_learning.layout`, and its weights as their rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from neurodeploy.network.arrays import Array
from neurodeploy.network.connectivity import Connectivity, Conv2d, Dense, with_weights
from neurodeploy.network.network import Population, Projection

from ..chips.arch import Architecture
from . import layout
from .layout import Net


@dataclass(frozen=True, eq=False)
class Member:
    """A population that takes part.

    Args:
        kind: of `layout.LEAKY`, ``TIMED``, ``SHARED``, ``SILENT``.
        keep: what a step leaves of v and of u, of each neuron.
        keeps: whether a spike leaves the errors of later ones to what came before it.
        gated: whether what arrives in the step behind a spike is lost.
        read: where the errors of its potentials stand, -1 for none.
        late: whether a potential is read before its reset.
        gain: units of potentials in a threshold, of each neuron.
        times: of a read-out, whether its sources want the errors of the times of spikes.
    """

    population: Population
    kind: int = layout.LEAKY
    keep: tuple[float | Array, float | Array] = (0.0, 0.0)
    keeps: bool = False
    gated: bool = False
    read: int = -1
    late: bool = False
    times: bool = False
    gain: float | Array = 1.0


@dataclass(frozen=True)
class Synapses:
    """A projection that takes part: whether it learns, and whether errors go on to its source."""

    projection: Projection
    learns: bool = True
    sends_back: bool = True


@dataclass(frozen=True, eq=False)
class Home:
    """Where neurons live.

    Args:
        core_of: core of each neuron, by population.
        readers: the population whose cores read a chain's output.
    """

    core_of: Mapping[str, Array]
    arch: Architecture
    readers: str = ""


@dataclass(frozen=True, eq=False)
class Tables:
    """The tables of a network.

    Args:
        order: of populations numbered otherwise than in the network, the network's index of each neuron.
        packing: of each projection, which of its own weights (flat) each of its weights in the tables is.
        parts: of each projection, where its weights begin and end in the tables.
        positions: of all populations.
    """

    net: Net
    order: Mapping[str, Array]
    packing: tuple[Array, ...]
    parts: tuple[slice, ...]
    positions: int

    @property
    def neurons(self) -> int:
        """Of all populations."""
        return int(self.net.populations[:, layout.SIZE].sum())

    @property
    def rows(self) -> int:
        """Rows of weights of all projections."""
        return int((self.net.projections[:, layout.C_IN] * self.net.projections[:, layout.KERNEL]).sum())

    def place(self, k: int) -> slice:
        """Neurons of population k."""
        first = int(self.net.populations[k, layout.AT])
        return slice(first, first + int(self.net.populations[k, layout.SIZE]))

    def packed(self, weights: Sequence[Array]) -> Array:
        """Weights of the projections, each in its own layout, as the tables have them."""
        parts = [np.asarray(w, np.float64).reshape(-1)[p] for w, p in zip(weights, self.packing, strict=True)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def unpacked(self, packed: Array, shapes: Sequence[tuple[int, ...]]) -> list[Array]:
        """The inverse of `packed`."""
        found = []
        for part, packing, shape in zip(self.parts, self.packing, shapes, strict=True):
            weights = np.zeros(len(packing), packed.dtype)
            weights[packing] = packed[part]
            found.append(weights.reshape(shape))
        return found

    def ordered(self, name: str, values: Array) -> Array:
        """Values of a population's neurons, ``[..., neurons]``, in the tables' order."""
        return values[..., self.order[name]] if name in self.order else values

    def in_network(self, name: str, values: Array) -> Array:
        """The inverse of `ordered`."""
        if name not in self.order:
            return values
        found = np.empty_like(values)
        found[..., self.order[name]] = values
        return found


def images(projections: Sequence[Projection]) -> dict[str, tuple[int, int, int]]:
    """The shape of each population that a convolution reaches or leaves; of several, the first."""
    found: dict[str, tuple[int, int, int]] = {}
    for q in projections:
        if isinstance(q.connectivity, Conv2d):
            found.setdefault(q.source, q.connectivity.input_shape)
            found.setdefault(q.target, q.connectivity.output_shape)
    return found


def shared(q: Projection, shapes: Mapping[str, tuple[int, int, int]]) -> bool:
    """Whether a projection is a convolution of images that its populations are numbered as."""
    kind = q.connectivity
    return isinstance(kind, Conv2d) and (shapes[q.source], shapes[q.target]) == (kind.input_shape, kind.output_shape)


def build(
    members: Sequence[Member], synapses: Sequence[Synapses], kappa: Array, above: Array, home: Home | None = None
) -> Tables:
    """Pack a network.

    Args:
        members: in the order in which a step is computed, a source first.
        synapses: their projections, in the order of their targets.
        kappa, above: see `layout.Net`.
    """
    shapes = images([s.projection for s in synapses])
    row_of = {member.population.name: row for row, member in enumerate(members)}
    order = {
        name: np.arange(np.prod(shape), dtype=np.int64).reshape(shape).transpose(1, 2, 0).ravel()
        for name, shape in shapes.items()
    }
    populations = np.zeros((len(members), layout.POPULATION), np.int64)
    at = positions = 0
    keeps: list[Array] = []
    gains: list[Array] = []
    for row, member in zip(populations, members, strict=True):
        name, size = member.population.name, member.population.size
        channels = shapes[name][0] if name in shapes else size
        row[[layout.AT, layout.SIZE, layout.CHANNELS, layout.PLACES]] = at, size, channels, positions
        row[[layout.KIND, layout.READ]] = member.kind, member.read
        row[[layout.KEEPS, layout.GATED, layout.LATE]] = member.keeps, member.gated, member.late
        kept = np.stack([np.broadcast_to(np.asarray(x, np.float64), size) for x in member.keep], axis=1)
        keeps.append(kept[order[name]] if name in order else kept)
        gain = np.broadcast_to(np.asarray(member.gain, np.float64), size)
        gains.append(gain[order[name]] if name in order else gain)
        row[layout.TIMES] = member.times
        row[layout.FILTERED] = member.times or (member.kind != layout.TIMED and bool(keeps[-1][:, 1].any()))
        into = [n for n, s in enumerate(synapses) if s.projection.target == name]
        row[[layout.FIRST, layout.LAST]] = (into[0], into[-1] + 1) if into else (0, 0)
        at, positions = at + size, positions + size // channels
    parts = [_Wired.of(s.projection, shapes, order) for s in synapses]
    rows = np.zeros((len(parts), layout.PROJECTION), np.int64)
    weight = tap = listed = 0
    firsts = []
    for row, part, s in zip(rows, parts, synapses, strict=True):
        row[[layout.C_IN, layout.WIDTH, layout.GROUP, layout.KERNEL]] = part.extent
        row[[layout.WEIGHTS, layout.TAPS, layout.DELAY]] = weight, tap, s.projection.delay
        row[[layout.SOURCE, layout.TARGET]] = row_of[s.projection.source], row_of[s.projection.target]
        row[[layout.LEARNS, layout.SENDS_BACK]] = s.learns, s.sends_back
        firsts.append(part.first + listed)
        weight, tap, listed = weight + len(part.packing), tap + len(part.first), listed + len(part.at)
    core, distance, readers = _cores(members, order, home)
    whole, keep = [np.zeros(0, np.int64)], np.concatenate(keeps)
    net = Net(
        rows, populations, keep,
        np.concatenate([*firsts, *whole]), np.concatenate([*(p.at for p in parts), *whole]),
        np.concatenate([*(p.place for p in parts), *whole]), np.concatenate([*(p.kernel for p in parts), *whole]),
        kappa, above, np.concatenate(gains), core, distance, readers,
    )  # fmt: skip
    ends = np.cumsum([0, *(len(p.packing) for p in parts)])
    places = tuple(slice(int(a), int(b)) for a, b in pairwise(ends))
    return Tables(net, order, tuple(p.packing for p in parts), places, positions)


@dataclass(frozen=True, eq=False)
class _Wired:
    """Taps and rows of one projection.

    Args:
        extent: channels of the source, targets of a tap, source channels of a group, kernel elements.
        first, at, place, kernel: taps by position of the source; see `layout`.
        packing: see `Tables`.
    """

    extent: tuple[int, int, int, int]
    first: Array
    at: Array
    place: Array
    kernel: Array
    packing: Array

    @classmethod
    def of(cls, q: Projection, shapes: Mapping[str, tuple[int, int, int]], order: Mapping[str, Array]) -> _Wired:
        kind = q.connectivity
        index = np.arange(kind.weights.size, dtype=np.int64).reshape(kind.weights.shape)
        channels = shapes[q.target][0] if q.target in shapes else kind.outputs
        if isinstance(kind, Conv2d) and shared(q, shapes):
            first, place, kernel = taps(kind)
            c_out, c_in, k_h, k_w = kind.weights.shape
            wide = c_out // kind.groups
            packing = index.reshape(kind.groups, wide, c_in, k_h * k_w).transpose(0, 2, 3, 1).ravel()
            return cls((kind.input_shape[0], wide, c_in, k_h * k_w), first, place * c_out, place, kernel, packing)
        if isinstance(kind, Dense):
            matrix = index if q.target not in order else index[order[q.target]]
            matrix = matrix if q.source not in order else matrix[:, order[q.source]]
            count = kind.outputs // channels
            place = np.arange(count, dtype=np.int64)
            extent = (kind.inputs, channels, kind.inputs, count)
            return cls(extent, np.array([0, count], np.int64), place * channels, place, place, matrix.T.ravel())
        return cls._listed(kind, channels, order.get(q.source), order.get(q.target))

    @classmethod
    def _listed(cls, kind: Connectivity, channels: int, source: Array | None, target: Array | None) -> _Wired:
        one = with_weights(kind, np.arange(kind.weights.size, dtype=np.int64).reshape(kind.weights.shape)).listed()
        sources = np.arange(kind.inputs) if source is None else source
        taken = np.concatenate([np.zeros(0, np.int64), *(np.arange(one.indptr[i], one.indptr[i + 1]) for i in sources)])
        targets = one.targets.astype(np.int64)[taken]
        if target is not None:
            new = np.empty(len(target), np.int64)
            new[target] = np.arange(len(target))
            targets = new[targets]
        first = np.concatenate([[0], np.cumsum(np.diff(one.indptr)[sources])]).astype(np.int64)
        packing = one.weights.astype(np.int64)[taken]
        extent = (1, 1, 1, len(packing))
        return cls(extent, first, targets, targets // channels, np.arange(len(packing), dtype=np.int64), packing)


def taps(kind: Conv2d) -> tuple[Array, Array, Array]:
    """For each input position, its output positions and kernel elements: (first, out, kernel)."""
    _, height, width = kind.input_shape
    _, rows, columns = kind.output_shape
    k_h, k_w = kind.weights.shape[2:]
    first, out, kernel = [0], [], []
    for y in range(height):
        for x in range(width):
            for ky in range(k_h):
                oy, ry = divmod(y + kind.padding[0] - ky * kind.dilation[0], kind.stride[0])
                for kx in range(k_w):
                    ox, rx = divmod(x + kind.padding[1] - kx * kind.dilation[1], kind.stride[1])
                    if ry == rx == 0 and 0 <= oy < rows and 0 <= ox < columns:
                        out.append(oy * columns + ox)
                        kernel.append(ky * k_w + kx)
            first.append(len(out))
    return np.array(first, np.int64), np.array(out, np.int64), np.array(kernel, np.int64)


def _cores(members: Sequence[Member], order: Mapping[str, Array], home: Home | None) -> tuple[Array, Array, Array]:
    """Core of each neuron, hops between cores, and the read-out's cores; numbered among the cores in use."""
    nothing = np.zeros(0, np.int64)
    if home is None:
        return nothing, np.zeros((0, 0, 3), np.int64), nothing
    used = np.unique(np.concatenate([np.asarray(cores) for cores in home.core_of.values()]))
    distance = np.array([[home.arch.apart(int(a), int(b))[:3] for b in used] for a in used], np.int64)
    found = []
    for member in members:
        name = member.population.name
        if name not in home.core_of or member.population.external:
            found.append(np.full(member.population.size, -1, np.int64))
            continue
        cores = np.searchsorted(used, np.asarray(home.core_of[name])).astype(np.int64)
        found.append(cores[order[name]] if name in order else cores)
    readers = np.asarray(home.core_of[home.readers]) if home.readers else nothing
    return np.concatenate(found), distance, np.unique(np.searchsorted(used, readers)).astype(np.int64)
