"""MAX of currents in front of a neuron: compartments of its own, of which the largest current reaches the soma.

With what arrives at the soma ``a`` (port 0, as everywhere) and at the compartments of neuron j ``c_k`` (port 1), what
the neuron computes with (`neurodeploy.network.neurons`) is

    I_j = a_j + max over the compartments k of neuron j of c_k,     a_j where it has none

and in Loihi's integers ``I_j = a_j + max wrap(c_k)``, where a compartment's current has the 24 bits of a state: shifted
up by the ``s`` bits by which the neuron shifts what arrives, it is wrapped once into (-M, M], M = 2^23.

That is a dendritic tree of Loihi: a compartment passes its current on to its parent, which takes the larger of that and
its own. Compartments here have no decay, so their current is that of the step. With decay the tree would filter first
and take the MAX then, which is not the filter of the MAX: ``max(f * a, f * b)`` where ``f * max(a, b)`` was trained.
So a neuron behind a join has no filter of its current either (`Neuron.joins`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neurodeploy.errors import InvalidInputError

from .arrays import Array, Sealed, sole
from .schema import check_numbers, check_within

PORT = 1
"""Of a population with a join: at which what arrives ends in compartments."""


@dataclass(frozen=True, eq=False)
class Join(Sealed):
    """Which neuron each compartment belongs to.

    Args:
        parent: int32 ``[compartments]``, index of the neuron; in any order, and some neurons may have none.
    """

    parent: Array

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers("the parents of compartments", self.parent, 1, whole=True)
        if not self.parent.size:
            raise InvalidInputError("a join has no compartments", allowed="one or more")
        check_within("the parents of compartments", self.parent, 0, (1 << 31) - 1)

    @property
    def compartments(self) -> int:
        """How many there are."""
        return len(self.parent)

    @cached_property
    def _order(self) -> tuple[Array, Array, Array]:
        """Compartments neuron by neuron, where each neuron's begin, and these neurons."""
        order = np.argsort(self.parent, kind="stable")
        neurons, first = np.unique(self.parent[order], return_index=True)
        return sole(order), sole(first), sole(neurons)

    @cached_property
    def firsts(self) -> Array:
        """The first compartment of each neuron that has any."""
        order, first, _ = self._order
        return sole(order[first])

    def sizes(self, neurons: int) -> Array:
        """Compartments of each neuron, ``[neurons]``."""
        return np.bincount(self.parent, minlength=neurons)

    def largest(self, currents: Array, neurons: int) -> Array:
        """``[..., compartments] -> [..., neurons]``; 0 for neurons without compartments."""
        order, first, having = self._order
        found = np.zeros((*currents.shape[:-1], neurons), currents.dtype)
        found[..., having] = np.maximum.reduceat(currents[..., order], first, axis=-1)
        return found

    def table(self, neurons: int) -> Array:
        """Compartments of each neuron, ``[neurons, most of one]``; -1 for none."""
        order, _, _ = self._order
        sizes = self.sizes(neurons)
        column = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        found = np.full((neurons, int(sizes.max(initial=1))), -1)
        found[self.parent[order], column] = order
        return found

    def of(self, neurons: Array) -> Array:
        """Compartments of these neurons."""
        wanted = np.zeros(int(max(self.parent.max(), neurons.max(initial=0))) + 1, bool)
        wanted[neurons] = True
        return np.flatnonzero(wanted[self.parent])
