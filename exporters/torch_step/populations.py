"""Neurons that compute functions of spikes: thresholds on weighted sums, and the layers in front of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import nir
import numpy as np
from torch import fx

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.arrays import Array
from neurodeploy.nir_graph.metadata import put

from .capture import node_name
from .counts import Counts
from .fxgraph import module_of
from .layers import affine_per_channel, placed_channels
from .matrices import LARGEST
from .truth import Atom, Table, ladder, polynomial, separated
from .walking import Sum, Walking


class Populations:
    """Adds populations, and the linear layers in front of them, to a walk.

    Args:
        walk: that gets the nodes.
        most: name of a neuron node -> how many spikes it may send in a step.
    """

    def __init__(self, walk: Walking, most: Callable[[str], int]) -> None:
        self._walk = walk
        self._counts = Counts(walk.nodes, walk.edges, most)
        self._spread: dict[tuple[Atom, tuple[int, ...]], Sum] = {}

    def sent(self, name: str) -> tuple[int, ...]:
        """Shape of what a node sends."""
        return self._counts.shape(name)

    def _as_sum(self, node: fx.Node, table: Table) -> Sum:
        products = polynomial(table.values)
        if not table.atoms:
            raise UnsupportedError(
                "a constant stands in the place of a signal", found=f"{float(table.values):g}",
                allowed="what depends on the spikes of a layer",
            )  # fmt: skip
        if all(len(places) < 2 for places in products):
            factors = {table.atoms[s[0]]: c for s, c in products.items() if s}
            return self._affine(node, factors, products.get((), 0.0), table.shape)
        levels = table.levels
        steps = [table.at_least(float(level)) for level in levels[1:]]
        if sum(len(places) > 1 for places in products) >= len(steps) and all(separated(s.values) for s in steps):
            factors = {self._spikes(node, step): float(gain) for step, gain in zip(steps, np.diff(levels), strict=True)}
            return self._affine(node, factors, float(levels[0]), table.shape)
        factors = {}
        for places, coefficient in products.items():
            if places:
                one = table.atoms[places[0]]
                if len(places) > 1:
                    inputs = [(table.atoms[p], 1 / table.atoms[p].worth) for p in places]
                    one = self._threshold(node, inputs, len(places) - 0.5, table.shape)
                factors[one] = coefficient
        return self._affine(node, factors, products.get((), 0.0), table.shape)

    def _spikes(self, node: fx.Node, table: Table) -> Atom:
        """A population that spikes where a table is 1, or the spikes themselves that it is."""
        if len(table.atoms) == 1 and not bool(table.values[0]):
            return table.atoms[0] if table.atoms[0].worth == 1 else self._threshold(
                node, [(table.atoms[0], 1.0)], table.atoms[0].worth / 2, table.shape)  # fmt: skip
        found = separated(table.values)
        if found is None:
            return self._threshold(node, [(Atom(tuple(self._as_sum(node, table).items()), 1.0, table.shape), 1.0)], 0.5,
                                   table.shape)  # fmt: skip
        weights, level = found
        worth = {atom.worth for atom in table.atoms}
        unit = worth.pop() if len(worth) == 1 else 1.0
        inputs = [(atom, w * unit / atom.worth) for atom, w in zip(table.atoms, weights, strict=True) if w]
        return self._threshold(node, inputs, level * unit, table.shape)

    def _as_spikes(self, node: fx.Node, table: Table) -> Table:
        """The same values as a function of few populations: one for each value above the least."""
        levels = table.levels
        if len(table.atoms) < len(levels) or len(levels) < 2:
            return table
        atoms = [self._spikes(node, table.at_least(float(level))) for level in levels[1:]]
        shaped = [Atom(a.terms, a.worth, table.shape) for a in atoms]
        made = ladder(float(levels[0]), np.diff(levels), shaped, table.shape)
        return replace(made, values=made.values.to(table.values.dtype))

    def _threshold(
        self, node: fx.Node, inputs: Iterable[tuple[Atom, float]], level: float, shape: tuple[int, ...], name: str = ""
    ) -> Atom:
        """A population that spikes where a weighted sum of atoms is above a level."""
        terms: dict[str, float] = {}
        for atom, weight in inputs:
            for source, factor in self._spread_over(node, atom, shape).items():
                terms[source] = terms.get(source, 0.0) + weight * factor
        made = self._placed(node, nir.Threshold(np.full(shape, level)), terms, shape, name)
        return Atom(((made, 1.0),), 1.0, shape)

    def _affine(self, node: fx.Node, factors: Mapping[Atom, float], constant: float, shape: tuple[int, ...]) -> Sum:
        """A weighted sum of atoms (factors of their values in units) and a constant."""
        total: dict[str, float] = {}
        for atom, factor in factors.items():
            for name, own in self._spread_over(node, self._said(node, atom), shape).items():
                total[name] = total.get(name, 0.0) + own * factor / atom.worth
        if constant == 0:  # a matrix sends vectors, and so does then all that is added to it
            return total if len(set(map(self._counts.shape, total))) < 2 else self._vectors(node, total)
        vector = any(self._counts.shape(name) != shape for name in total)
        size = math.prod(shape)
        if vector and size * size > LARGEST:
            raise UnsupportedError("a constant added to a matrix that is too large", found=f"{size:,} values")
        made = (nir.Affine(np.eye(size), np.full(size, constant)) if vector
                else affine_per_channel(np.ones(shape[0]), np.full(shape[0], constant), shape))  # fmt: skip
        return {self._placed(node, made, total, (size,) if vector else shape): 1.0}

    def _said(self, node: fx.Node, atom: Atom) -> Atom:
        """The same atom, sent in the shape that it has, or as the vector of a matrix.

        NIR cannot give a vector the shape of an image; a population behind it can.
        """
        shapes = {self._counts.shape(name) for name, _ in atom.terms}
        matrix = all(isinstance(self._walk.nodes[name], (nir.Linear, nir.Affine)) for name, _ in atom.terms)
        if shapes == {atom.shape} or (matrix and shapes == {(math.prod(atom.shape),)}):
            return atom
        if len(atom.shape) == 1:
            return Atom(tuple(self._vectors(node, dict(atom.terms)).items()), atom.worth, atom.shape)
        return Atom(self._threshold(node, [(atom, 1.0)], atom.worth / 2, atom.shape).terms, 1.0, atom.shape)

    # Nodes

    def _placed(self, node: fx.Node, made: nir.NIRNode, terms: Sum, shape: tuple[int, ...], name: str = "") -> str:
        """Add a node that takes ``terms`` in ``shape``; returns its name."""
        walk, path = self._walk, module_of(node)
        name = walk.unique(name or self._base(node))
        if any(self._counts.shape(source) != shape for source in terms):
            terms = self._vectors(node, terms)
        put(made, {"module": path})
        walk.nodes[name], walk.modules[name], walk.makers[name] = made, path, node
        for source, factor in terms.items():
            if factor != 1.0:
                scale = walk.unique(f"{source}.scale")
                walk.nodes[scale] = nir.Scale(np.full(self._counts.shape(source), factor))
                walk.edges.append((source, scale))
                source = scale
            walk.edges.append((source, name))
        return name

    def _vectors(self, node: fx.Node, terms: Sum) -> Sum:
        """The same sum of vectors."""
        found: dict[str, float] = {}
        for source, factor in terms.items():
            shape, name = self._counts.shape(source), source
            if len(shape) > 1:
                name = self._walk.unique(f"{source}.flatten")
                made = nir.Flatten({"input": np.array(shape)}, 0, -1)
                self._walk.nodes[name], self._walk.makers[name] = made, node
                self._walk.edges.append((source, name))
            found[name] = found.get(name, 0.0) + factor
        return found

    def _base(self, node: fx.Node) -> str:
        path = module_of(node)
        return node_name(path if path in self._walk.leaves else f"{path}.{node.name}".lstrip("."))

    def _spread_over(self, node: fx.Node, atom: Atom, shape: tuple[int, ...]) -> Sum:
        """The terms of an atom, repeated along the dimensions in which it has length 1."""
        if math.prod(atom.shape) == math.prod(shape):
            return dict(atom.terms)
        if (atom, shape) not in self._spread:
            places = np.arange(math.prod(atom.shape)).reshape(atom.shape)
            images = len(shape) == 3 and all(self._counts.shape(name) == atom.shape for name, _ in atom.terms)
            name, channels = f"{self._base(node)}.repeated", shape[0]
            if images and atom.shape == (channels, 1, 1):
                size, taps = shape[1:], np.ones((channels, 1, *shape[1:]))
                conv = nir.Conv2d(
                    (1, 1), taps, (1, 1), (size[0] - 1, size[1] - 1), (1, 1), channels, np.zeros(channels)
                )
                made = self._placed(node, conv, dict(atom.terms), atom.shape, name)
            elif images and atom.shape == (1, *shape[1:]):
                conv = nir.Conv2d(
                    shape[1:], np.ones((channels, 1, 1, 1)), (1, 1), (0, 0), (1, 1), 1, np.zeros(channels)
                )
                made = self._placed(node, conv, dict(atom.terms), atom.shape, name)
            else:
                matrix = self._matrix(np.broadcast_to(places, shape)[..., None], math.prod(atom.shape))
                made = self._placed(node, matrix, dict(atom.terms), (math.prod(atom.shape),), name)
            self._spread[atom, shape] = {made: 1.0}
        return self._spread[atom, shape]

    @staticmethod
    def _matrix(index: Array, inputs: int) -> nir.NIRNode:
        """The sum of the values at each row's positions."""
        rows = index.reshape(-1, index.shape[-1])
        if len(rows) * inputs > LARGEST:
            raise UnsupportedError(
                "a join of spikes that NIR can only say as a matrix is too large",
                found=f"{inputs:,} x {len(rows):,} entries", allowed=f"{LARGEST:,}",
                hint="pool images (max_pool2d) or lines (max_pool1d) with channels, or make them smaller",
            )  # fmt: skip
        weight = np.zeros((len(rows), inputs + 1))
        np.add.at(weight, (np.arange(len(rows))[:, None], np.where(rows < 0, inputs, rows)), 1)
        return nir.Linear(weight[:, :inputs].copy())

    def _joined(self, node: fx.Node, parts: Sequence[tuple[Sum, tuple[int, ...]]]) -> tuple[Sum, tuple[int, ...]]:
        """Branches one after the other: as channels of images of one size, else as vectors."""
        images = len({shape[1:] for _, shape in parts}) == 1 and all(
            self._counts.shape(name) == shape for terms, shape in parts for name in terms
        )
        shapes = [shape if images else (math.prod(shape),) for _, shape in parts]
        total, first, result = sum(shape[0] for shape in shapes), 0, {}
        for (terms, _), shape in zip(parts, shapes, strict=True):
            placed = placed_channels(first, total, shape)
            result[self._placed(node, placed, terms, shape, f"{self._base(node)}.branch")] = 1.0
            first += shape[0]
        return result, (total, *shapes[0][1:])
