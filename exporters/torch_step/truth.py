"""Functions of binary spikes, as tables: the value for each combination of spikes that may arrive.

Any elementwise code on spikes, be it ``x * (1 - y)``, ``torch.where`` or ``(x + y > 0).float()``, is such a table: the
operators themselves are run on all combinations. What a table is made of decides how neurons compute it: a weighted sum
where it is one, one threshold where one separates its two values (AND, OR, NOT-AND, majority), else

    f(x) = sum over sets S of c_S AND(x_i, i in S)        (its multilinear polynomial, which every function has)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor

from neurodeploy.network.arrays import Array

MOST = 10
"""Different spikes that a table is made of, at most: it has ``2 ** MOST`` values."""

_WEIGHTS_TRIED = 4
"""Inputs up to which all small weights are tried for a threshold."""


@dataclass(frozen=True)
class Atom:
    """A value that is 0 or ``worth`` in each position.

    Args:
        terms: NIR node and factor, whose weighted sum it is.
        shape: of a sample, as the operator takes it; the nodes may send the same values in another shape.
    """

    terms: tuple[tuple[str, float], ...]
    worth: float
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Table:
    """A function of atoms.

    Args:
        values: ``[2] * atoms``, of any type: the value where each atom is 0 or its worth.
        shape: of a sample.
        ladder: whether each atom is 0 where the one before it is: each adds a step to the value.
    """

    atoms: tuple[Atom, ...]
    values: Tensor
    shape: tuple[int, ...]
    ladder: bool = False

    @property
    def levels(self) -> Array:
        """The different values, ascending, float64."""
        values = self.values.double().numpy()
        if self.ladder:
            count = values.ndim
            return np.array([values[(1,) * k + (0,) * (count - k)] for k in range(count + 1)])
        return np.unique(values)

    def at_least(self, level: float) -> Table:
        """Whether the value is ``level`` or more, as 0 and 1."""
        if self.ladder:
            atom = self.atoms[int(np.flatnonzero(self.levels == level)[0]) - 1]
            return Table((atom,), torch.tensor([0.0, 1.0], dtype=torch.float64), self.shape)
        return reduced(Table(self.atoms, (self.values.double() >= level).double(), self.shape))


def together(tables: Sequence[Table]) -> tuple[tuple[Atom, ...], list[Tensor]]:
    """All atoms of tables, and the values of each table for all their combinations, ``[2] * atoms``."""
    atoms = tuple(dict.fromkeys(atom for table in tables for atom in table.atoms))
    spread = []
    for table in tables:
        places = [atoms.index(atom) for atom in table.atoms]
        order = sorted(range(len(places)), key=places.__getitem__)
        lengths = [2 if i in places else 1 for i in range(len(atoms))]
        spread.append(table.values.permute(order).reshape(lengths).expand([2] * len(atoms)).clone())
    return atoms, spread


def ladder(base: float, gains: Array, atoms: Sequence[Atom], shape: tuple[int, ...]) -> Table:
    """``base``, and a gain for each atom that is sent, none without the one before it."""
    values = torch.full((), base, dtype=torch.float64)
    for gain in gains:
        values = values[..., None] + torch.tensor([0.0, float(gain)], dtype=torch.float64)
    return Table(tuple(atoms), values, shape, ladder=True)


def reduced(table: Table) -> Table:
    """Without the atoms that make no difference."""
    atoms: list[Atom] = []
    values = table.values
    for atom in table.atoms:
        silent, sent = values.select(len(atoms), 0), values.select(len(atoms), 1)
        if torch.equal(silent, sent):
            values = silent
        else:
            atoms.append(atom)
    return Table(tuple(atoms), values, table.shape)


def polynomial(values: Tensor) -> dict[tuple[int, ...], float]:
    """Places of the atoms in each product -> its coefficient, where that is not 0; ``()`` is the constant."""
    found = values.double().numpy().copy()
    for axis in range(found.ndim):
        moved = np.moveaxis(found, axis, 0)
        moved[1] -= moved[0]
    return {tuple(np.flatnonzero(place)): float(found[place]) for place in product((0, 1), repeat=found.ndim)
            if found[place]}  # fmt: skip


def separated(values: Tensor) -> tuple[tuple[int, ...], float] | None:
    """``(weights, threshold)`` with the weighted sum of atoms above it where values are true; None if none is found.

    The threshold lies in the middle between the sums on its two sides.
    """
    wanted = (values.double() > 0.5).numpy().reshape(-1)
    count = values.dim()
    inputs = np.array(list(product((0, 1), repeat=count)))
    if wanted.all() or not wanted.any():
        return None
    signs = np.sign(np.where(wanted[:, None], 2 * inputs - 1, 1 - 2 * inputs).sum(0))  # each atom's own influence
    tried = [tuple(int(n) for n in signs)]
    if count <= _WEIGHTS_TRIED:
        tried += sorted(product(range(-2, 3), repeat=count), key=lambda w: sum(map(abs, w)))
    for weights in tried:
        sums = inputs @ np.array(weights)
        low, high = sums[~wanted].max(), sums[wanted].min()
        if low < high:
            return weights, float(low + high) / 2
    return None
