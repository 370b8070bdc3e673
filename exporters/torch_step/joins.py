"""What joins layers by anything but a sum: products, logic and maxima of spikes, and maxima of currents.

Spikes are 0 or 1, so any elementwise code on them is a table (`truth`), which thresholds on weighted sums compute
exactly, and their maximum over a window is a threshold on its sum; each is a population of its own. The values of
layers that do not spike have no such table; a maximum of these is one node, `neurodeploy.nir_graph.max_node`, which
must lead to a neuron (`maxima`).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor, fx

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.arrays import Array
from neurodeploy.nir_graph.max_node import max_node

from .capture import BATCH
from .fxgraph import arguments, flat, is_random
from .known import PASSES, RESHAPES
from .layers import flatten
from .populations import Populations
from .truth import MOST, Atom, Table, ladder, reduced, together
from .walking import Sum, Walking
from .windows import LARGEST_OF, LEAST_OF, POOLS, Windows, windows

LEVELS = 8
"""Different values above the least that spikes added up may have where they are joined, at most."""

_CASTS = ("aten.to", "aten._to_copy", "aten.type_as", "aten.float", "aten.double", "aten.bool")
_LOGIC = ("aten.__and__", "aten.__or__", "aten.greater", "aten.less", "aten.greater_equal", "aten.less_equal",
          "aten.not_equal", "aten.multiply", "aten.subtract", "aten.masked_fill_", "aten.where")  # fmt: skip
"""Elementwise operators that torch does not tag as such."""

_LIKE = ("aten.zeros_like", "aten.ones_like", "aten.full_like")

_SUMS = ("aten.add", "aten.sub", "aten.rsub", "aten.subtract")
_FACTORS = ("aten.mul", "aten.div", "aten.multiply", "aten.neg")


class Joins(Populations):
    """The values of a walk that are no sums.

    Args:
        walk: that gets the nodes.
        constants: of its step.
        most: name of a neuron node -> how many spikes it may send in a step.
    """

    def __init__(self, walk: Walking, constants: Mapping[fx.Node, Tensor], most: Callable[[str], int]) -> None:
        super().__init__(walk, most)
        self._constants = constants
        self.tables: dict[fx.Node, Table] = {}
        self.taken: set[fx.Node] = set()

    def takes(self, node: fx.Node) -> bool:
        """Whether an operator joins spikes, or takes a maximum; its value is kept then.

        Raises:
            UnsupportedError: it does, and cannot be said.
        """
        if self._takes(node):
            self.taken.add(node)
        return node in self.taken

    def _takes(self, node: fx.Node) -> bool:
        if node.target is operator.getitem:
            return self._item(node)
        name = str(node.target).rpartition(".")[0]
        if not isinstance(node.target, torch._ops.OpOverload) or (is_random(node) and name not in PASSES):
            return False
        given = arguments(node)
        if name in POOLS or (name in (*LARGEST_OF, *LEAST_OF) and "other" not in given):
            self._pooled(node, name, given)
            return True
        plain = name.removesuffix("_")
        signals = [a for a in _nodes(node) if a not in self._constants]
        linear = name in PASSES or name in _CASTS or name in RESHAPES or plain in (*_SUMS, *_FACTORS)
        linear &= plain != "aten.rsub"  # 1 - x, which is a gate of spikes
        if any(map(self._walk.waits, signals)) and (linear and (len(signals) < 2 or plain in _SUMS)):
            return False
        if name in RESHAPES:
            return self._viewed(node)
        if name in _LIKE:
            return self._filled(node)
        if plain in _SUMS and len(signals) == 2 and not any(s in self.tables for s in signals):
            return False
        if plain in _FACTORS and len(signals) == 1 and not any(s in self.tables for s in signals):
            return False
        if name in PASSES or name in _CASTS or name in _LOGIC or torch.Tag.pointwise in node.target.tags:
            if self._elementwise(node, signals):
                return True
            if name in ("aten.maximum", "aten.max") and len(signals) == 2:
                self._larger(node, signals)
                return True
            self._refuse_gates(node, plain, signals)
        return False

    def sum_of(self, node: fx.Node) -> Sum:
        """The value of an operator that was taken, as a weighted sum of nodes; populations are made where it is none.

        Raises:
            UnsupportedError: a constant.
        """
        return self._as_sum(node, self.tables[node])

    # Elementwise operators

    def _elementwise(self, node: fx.Node, signals: Sequence[fx.Node]) -> bool:
        numbers = {c: _number(self._constants[c]) for c in _nodes(node) if c in self._constants}
        if not signals or any(n is None for n in numbers.values()):
            return False
        plain = str(node.target).rpartition(".")[0].removesuffix("_") in _SUMS
        found = [self._table_of(s, levels=1 if plain else LEVELS) for s in signals]
        if any(table is None for table in found):
            return False
        tables = [table for table in found if table is not None]
        if len({_value_of(s).dim() for s in signals}) > 1:
            raise UnsupportedError(
                "spikes joined to spikes of another number of dimensions",
                found=[list(_value_of(s).shape) for s in signals],
                allowed="the same number of dimensions, of length 1 where they are repeated",
                hint="give the smaller one dimensions of length 1 (gate[:, :, None, None])",
            )
        if len({atom for table in tables for atom in table.atoms}) > MOST:
            tables = [self._as_spikes(s, table) for s, table in zip(signals, tables, strict=True)]
        atoms, grids = together(tables)
        if len(atoms) > MOST:
            raise UnsupportedError(
                "too many layers of spikes are joined", found=len(atoms), allowed=f"{MOST} in one expression",
                hint="put neurons between",
            )  # fmt: skip
        values = dict(zip(signals, (grid.reshape(-1) for grid in grids), strict=True))
        args, named = fx.map_arg((node.args, dict(node.kwargs)), lambda n: values[n].clone() if n in values
                                 else numbers[n])  # fmt: skip
        target: Any = node.target
        try:
            made = target(*args, **named)
        except Exception:  # types that torch does not take together
            return False
        if not isinstance(made, Tensor) or not bool(torch.isfinite(made.double()).all()):
            return False
        self.tables[node] = reduced(Table(atoms, made.expand(2 ** len(atoms)).reshape([2] * len(atoms)), _shape(node)))
        return True

    def _filled(self, node: fx.Node) -> bool:
        """A constant of the shape of a layer, whatever that sends."""
        target: Any = node.target
        made = target(torch.zeros(1, dtype=torch.float64), *node.args[1:])
        self.tables[node] = Table((), made.reshape(()), _shape(node))
        return True

    def _viewed(self, node: fx.Node) -> bool:
        """Another shape of a table, or of spikes where NIR cannot say the shape but the join behind does not mind."""
        source, shape = next(a for a in _nodes(node)), tuple(_value_of(node).shape)
        if source in self._constants or shape[:1] != (BATCH,):
            return False
        table = self.tables.get(source) if source not in self._walk.sums else None
        if table is None:
            try:
                flatten(_shape(source), shape, BATCH)
                return False
            except UnsupportedError:
                table = self._table_of(source, levels=1)
        if table is None:
            terms = self._walk.sums.get(source, {})
            matrices = all(isinstance(self._walk.nodes[name], (nir.Linear, nir.Affine)) for name in terms)
            if terms and matrices:  # vectors, of whatever shape
                self._walk.sums[node] = terms
            return bool(terms) and matrices
        if any(math.prod(atom.shape) != math.prod(table.shape) for atom in table.atoms):
            table = self._as_spikes(source, table)
        atoms = tuple(Atom(atom.terms, atom.worth, shape[1:]) for atom in table.atoms)
        self.tables[node] = Table(atoms, table.values, shape[1:], table.ladder)
        return True

    def _item(self, node: fx.Node) -> bool:
        source, place = node.args[0], node.args[1]
        assert isinstance(source, fx.Node)
        if source not in self.tables and source not in self._walk.sums:
            return False
        if place != 0:
            raise UnsupportedError(
                "the positions of maxima are used", found=str(source.target),
                allowed="the maxima themselves", hint="unpooling by indices waits; use nearest upsampling",
            )  # fmt: skip
        if source in self.tables:
            self.tables[node] = self.tables[source]
        if source in self._walk.sums:
            self._walk.sums[node] = self._walk.sums[source]
        return True

    def _table_of(self, source: fx.Node, levels: int = LEVELS) -> Table | None:
        """What a value is as a function of spikes; None where it is none, or has more ``levels`` above 0."""
        if source in self.tables:
            return self.tables[source]
        if source not in self._walk.sums and not self._walk.waits(source):
            return None
        try:
            terms, shape = self._walk.sum_of(source), _shape(source)
        except UnsupportedError:  # no sum of nodes
            return None
        counted = {name: self._counts.of(name) for name in terms}
        if any(count is None for count in counted.values()):
            return None
        whole = self._counts.sum_of(terms)
        if whole is not None and whole[1].max() <= 1:
            found = Table((Atom(tuple(sorted(terms.items())), whole[0], shape),),
                          torch.tensor([0.0, whole[0]], dtype=torch.float64), shape)  # fmt: skip
        else:
            tops = {name: int(count[1].max()) for name, count in counted.items() if count is not None}
            if not tops or max(tops.values()) > levels or sum(tops.values()) > MOST:
                return None
            atoms: list[Atom] = []
            values = torch.zeros((), dtype=torch.float64)
            for name, count in counted.items():
                assert count is not None
                for atom in self._binary(source, name, count[0], tops[name], shape):
                    atoms.append(atom)
                    step = torch.tensor([0.0, terms[name] * count[0]], dtype=torch.float64)
                    values = values[..., None] + step
            found = Table(tuple(atoms), values, shape, ladder=len(counted) == 1 and min(terms.values()) > 0)
        self.tables[source] = found
        return found

    def _binary(self, source: fx.Node, name: str, unit: float, top: int, shape: tuple[int, ...]) -> list[Atom]:
        """Atoms that add up to what a node sends in units: itself, or whether it sends 1, 2 ... at least."""
        itself = Atom(((name, 1.0),), unit, shape)
        if top == 1:
            return [itself]
        return [self._threshold(source, [(itself, 1.0)], (level - 0.5) * unit, shape, f"{name}.at_least_{level}")
                for level in range(1, top + 1)]  # fmt: skip

    # Maxima

    def _pooled(self, node: fx.Node, name: str, given: Mapping[str, Any]) -> None:
        source = next(a for a in _nodes(node) if a not in self._constants)
        least = name in LEAST_OF
        before, after = _shape(source), tuple(int(n) for n in _value_of(node).shape[1:])
        over = windows(name, given, before, after)
        if name in POOLS:
            self._check(node, source, over)
        table = self._table_of(source)
        if table is None and least:
            raise UnsupportedError(
                "the least of several values", found=name, allowed="the least of spikes, the largest of currents",
                hint="compute it of spikes: put the neuron in front",
            )  # fmt: skip
        if table is None:
            self._largest(node, [(self._walk.sum_of(source), before)], over.index)
            return
        values = -table.values.double() if least else table.values.double()
        table = Table(table.atoms, values, table.shape, table.ladder and not least)
        levels = table.levels
        if len(levels) < 2 or len(levels) > LEVELS + 1:
            raise UnsupportedError(
                "the maximum of a sum of spikes with too many values", found=len(levels),
                allowed=f"2 to {LEVELS + 1} different values", hint="pool the spikes in front of the sum",
            )  # fmt: skip
        atoms = tuple(self._any(node, table.at_least(float(level)), over) for level in levels[1:])
        found = ladder(float(levels[0]), np.diff(levels), atoms, after)
        if least:
            found = Table(atoms, -found.values, after)
        logical = name in ("aten.any", "aten.all")
        self.tables[node] = replace(found, values=found.values.bool()) if logical else found

    def _any(self, node: fx.Node, table: Table, over: Windows) -> Atom:
        """A population that spikes where anything in the window is 1: a threshold on the window's sum."""
        flags = table.values.reshape(-1) > 0.5
        worths = {atom.worth for atom in table.atoms}
        if not bool(flags[0]) and bool(flags[1:].all()) and len(worths) == 1:
            atoms, unit = table.atoms, worths.pop()
        else:
            atoms, unit = (self._spikes(node, table),), 1.0
        terms: dict[str, float] = {}
        for atom in atoms:
            for name, factor in self._spread_over(node, atom, over.before).items():
                terms[name] = terms.get(name, 0.0) + factor
        summing = over.summing() if all(self._counts.shape(name) == over.before for name in terms) else None
        if summing is None:
            summing = self._matrix(over.index, math.prod(over.before))
            middle = self._placed(node, summing, terms, (math.prod(over.before),), f"{self._base(node)}.sum")
        else:
            middle = self._placed(node, summing, terms, over.before, f"{self._base(node)}.sum")
        made = self._placed(node, nir.Threshold(np.full(over.after, unit / 2)), {middle: 1.0}, over.after)
        return Atom(((made, 1.0),), 1.0, over.after)

    def _larger(self, node: fx.Node, signals: Sequence[fx.Node]) -> None:
        """The larger of two layers' values."""
        shapes = {_shape(signal) for signal in signals}
        if len(shapes) > 1:
            raise UnsupportedError(
                "the larger of values of different shapes", found=[list(shape) for shape in shapes],
                allowed="layers of one shape",
            )  # fmt: skip
        shape = shapes.pop()
        index = np.arange(math.prod(shape)).reshape(*shape, 1)
        self._largest(node, [(self._walk.sum_of(signal), shape) for signal in signals],
                      np.concatenate([index, index + math.prod(shape)], axis=-1))  # fmt: skip

    def _largest(self, node: fx.Node, branches: Sequence[tuple[Sum, tuple[int, ...]]], index: Array) -> None:
        """One Max node of branches that follow each other; a maximum of maxima is one maximum."""
        parts: list[tuple[Sum, tuple[int, ...], Array]] = []
        for terms, shape in branches:
            (name, factor), *others = terms.items()
            inner: Any = self._walk.nodes[name]
            if type(inner).__name__ == "Max" and factor > 0 and not others:
                before = {a: factor for a, b in self._walk.edges if b == name}
                rows = inner.index.reshape(-1, inner.index.shape[-1])
                parts.append((before, tuple(map(int, inner.input_shape)), rows))
            else:
                parts.append((terms, shape, np.arange(math.prod(shape))[:, None]))
        wide = max(part[2].shape[1] for part in parts)
        rows, first = [], 0
        for _, shape, inside in parts:
            padded = np.pad(inside, ((0, 0), (0, wide - inside.shape[1])), constant_values=-1)
            rows.append(np.where(padded < 0, -1, padded + first))
            first += math.prod(shape)
        table = np.concatenate([*rows, np.full((1, wide), -1)])
        whole = table[index].reshape(*index.shape[:-1], -1)
        if len(parts) == 1:
            terms, shape = parts[0][:2]
        else:
            terms, shape = self._joined(node, [(terms, shape) for terms, shape, _ in parts])
        if all(self._counts.shape(name) == shape for name in terms):
            made = self._placed(node, max_node(whole, shape), terms, shape)
        else:
            made = self._placed(node, max_node(whole, (math.prod(shape),)), terms, (math.prod(shape),))
        self._walk.sums[node] = {made: 1.0}

    def _check(self, node: fx.Node, source: fx.Node, over: Windows) -> None:
        """The windows must be those of the operator."""
        x = torch.randn((1, *over.before), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        target: Any = node.target
        made = target(*fx.map_arg(node.args, lambda n: x if n is source else n), **node.kwargs)
        made = made[0] if isinstance(made, tuple) else made
        padded = np.append(x.numpy().reshape(-1), -np.inf)
        if made.shape[1:] != over.after or (padded[over.index].max(-1) != made[0].numpy()).any():
            raise UnsupportedError(f"{node.target} with windows that are not known", found=str(node.args[1:]))

    def _refuse_gates(self, node: fx.Node, plain: str, signals: Sequence[fx.Node]) -> None:
        """Products of what is not spikes."""
        if plain not in ("aten.mul", "aten.multiply") or len(signals) < 2:
            return
        analogue = [s for s in signals if self._table_of(s) is None]
        names = [name for s in analogue for name in self._walk.sums.get(s, {})]
        if not names:  # potentials, which are refused by themselves
            return
        raise UnsupportedError(
            "a product of two layers of which one does not send binary spikes",
            found=f"{', '.join(names)} sends values, not spikes of one a step",
            allowed="products of spikes (x * y, x * (1 - y), gates), which are thresholds; products with constants",
            hint="put a spiking neuron behind the factor that is a current or a potential",
        )


def _nodes(node: fx.Node) -> list[fx.Node]:
    return list(dict.fromkeys(a for a in flat((node.args, tuple(node.kwargs.values()))) if isinstance(a, fx.Node)))


def _value_of(node: fx.Node) -> Tensor:
    value = node.meta["val"]
    found: Tensor = value[0] if isinstance(value, (tuple, list)) else value
    return found


def _shape(node: fx.Node) -> tuple[int, ...]:
    """Shape of a sample."""
    shape = tuple(int(n) for n in _value_of(node).shape)
    if shape[:1] != (BATCH,):
        raise UnsupportedError("the batch dimension is not kept", found=list(shape), allowed="[batch, ...]")
    return shape[1:]


def _number(value: Tensor) -> Tensor | None:
    """A constant that is the same number everywhere, as one; None for others."""
    flat_ = value.detach().reshape(-1)
    if not len(flat_) or bool((flat_ != flat_[0]).any()):
        return None
    return flat_[0].double() if flat_.is_floating_point() else flat_[0].clone()
