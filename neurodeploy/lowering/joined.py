"""MAX of currents while a graph is lowered: from a `Max` node to compartments in front of a neuron.

What stands behind a Max is, for each value j, ``y_j = max over k of g_jk c[index_jk]`` with gains g >= 0, since
``max(g a, g b) = g max(a, b)`` for these alone; 0 where there is no k. It reaches a neuron as a tree of compartments,
one for each pair (j, k), so what overlapping windows share is there once for each of them, with synapses of its own.
Where each value in front of the Max is wanted once, its connectivity stays as it is (a convolution too).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.arrays import Array
from neurodeploy.network.connectivity import Connectivity, Sparse
from neurodeploy.network.join import Join
from neurodeploy.network.network import TRAINS_EQUALLY

LARGEST = 1 << 28
"""Synapses of a connectivity whose compartments have to be listed one by one."""


@dataclass(frozen=True, eq=False)
class Path:
    """Everything that one source neuron sends along one way. ``connectivity`` None is the identity.

    ``delay`` counts Delay nodes and the step of a loop, ``looped`` the latter alone.
    """

    source: str
    delay: int
    connectivity: Connectivity | None
    nodes: tuple[str, ...]
    looped: int = 0


@dataclass(frozen=True, eq=False)
class Signal:
    """The value at a node's output: paths that sum up, constants that act from step ``start`` on, and the largest of
    several values."""

    paths: tuple[Path, ...]
    biases: tuple[tuple[Array, int], ...] = ()
    joined: Joined | None = None


@dataclass(frozen=True, eq=False)
class Joined:
    """Values that are the largest of several; see the module's docstring.

    Args:
        signal: in front of the Max.
        index: positions in it, ``[values, most of one]``; -1 for none.
        gain: of each, as `index`.
        node: name of the Max; of the last one of several.
        first: of the first one, behind `signal`.
    """

    signal: Signal
    index: Array
    gain: Array
    node: str
    first: str

    def scaled(self, gain: Array, name: str) -> Joined:
        """Each value times ``gain`` ``[values]``.

        Raises:
            UnsupportedError: a negative gain, behind which the largest is the smallest.
        """
        wrong = (gain < 0) & (self.index >= 0).any(axis=1)
        if wrong.any():
            raise UnsupportedError(
                f"node {name!r} turns the sign of what the Max {self.node!r} in front of it gives",
                found=f"a gain of {gain[wrong][0]:g}",
                allowed="gains of 0 or more: the largest of negated values is the smallest",
                hint=TRAINS_EQUALLY,
            )
        return replace(self, gain=self.gain * gain[:, None])

    def through(self, stage: Connectivity, name: str, what: str) -> Joined:
        """Behind a linear node that hands each value on to one place at most, scaled.

        Raises:
            UnsupportedError: it adds several up, or turns a sign.
        """
        matrix = stage.to_csr().tocsc()
        matrix.eliminate_zeros()
        counts = np.diff(matrix.indptr)
        joined = np.isin(matrix.indices, np.flatnonzero((self.index >= 0).any(axis=1)))
        ends = np.repeat(np.arange(stage.outputs), counts)
        if (np.bincount(ends[joined], minlength=stage.outputs) > 1).any():
            raise UnsupportedError(
                f"node {name!r} ({what}) adds up what the Max {self.node!r} in front of it gives",
                allowed="a neuron between them, or a scaling (the sum of largest currents is none of one neuron)",
                hint=TRAINS_EQUALLY,
            )
        taken, gain = np.full(stage.outputs, -1), np.zeros(stage.outputs)
        taken[ends[joined]], gain[ends[joined]] = matrix.indices[joined], matrix.data[joined]
        index = np.where(taken[:, None] >= 0, self.index[taken], -1)
        return replace(self, index=index, gain=self.gain[taken]).scaled(gain, name)


def behind_max(name: str, node: Any, arriving: Signal) -> Joined:
    """What a Max node gives.

    Raises:
        UnsupportedError: a Max of what another one and other currents add up to.
    """
    index = np.asarray(node.index).reshape(-1, np.shape(node.index)[-1])
    before = arriving.joined
    if before is None:
        return Joined(arriving, index, (index >= 0).astype(np.float64), name, name)
    if arriving.paths or arriving.biases:
        raise UnsupportedError(
            f"node {name!r} is a Max of what the Max {before.node!r} and other currents add up to",
            allowed="a neuron between them",
            hint=TRAINS_EQUALLY,
        )
    empty = np.asarray((before.index < 0).all(axis=1))
    if (empty[index] & (index >= 0)).any():  # a value without any is 0, and counts as such
        raise UnsupportedError(
            f"node {name!r} is a Max of values of which {before.node!r}, another Max, gives a part",
            allowed="a neuron between them",
            hint=TRAINS_EQUALLY,
        )
    there = (index >= 0)[:, :, None] & (before.index[index] >= 0)
    most = index.shape[1] * before.index.shape[1]
    flat = np.where(there, before.index[index], -1).reshape(len(index), most)
    gain = np.where(there, before.gain[index], 0.0).reshape(flat.shape)
    return replace(before, index=flat, gain=gain, node=name)


def both(parts: Sequence[Joined], name: str) -> Joined | None:
    """What several add up to, as branches that were concatenated do.

    Raises:
        UnsupportedError: two for one value: the sum of two MAX is none of one tree that is counted here.
    """
    if not parts:
        return None
    if len(parts) == 1:
        return parts[0]
    having = [(p.index >= 0).any(axis=1) for p in parts]
    if (np.sum(having, axis=0) > 1).any():
        raise UnsupportedError(
            f"node {name!r} adds up what {' and '.join(repr(p.node) for p in parts)} give, each a Max",
            allowed="one Max in front of a neuron",
            hint="put a neuron behind one of them; " + TRAINS_EQUALLY,
        )
    raise UnsupportedError(
        f"node {name!r} takes a part of its values from {' and a part from '.join(repr(p.node) for p in parts)}",
        allowed="one Max in front of a population",
        hint="give each branch neurons of its own, and concatenate behind them",
    )


@dataclass(frozen=True, eq=False)
class Trees:
    """The compartments of a population: which value in front of the Max each takes, and with which gain."""

    join: Join
    taken: Array
    gain: Array
    whole: bool

    @classmethod
    def of(cls, joined: Joined, size: int) -> Trees:
        """Of values of which there are ``size`` in front of the Max."""
        row, column = np.nonzero(joined.index >= 0)
        taken, each = joined.index[row, column], joined.gain[row, column]
        if len(taken) == size and len(np.unique(taken)) == size:
            at = np.argsort(taken)
            return cls(Join(row[at].astype(np.int32)), taken[at], each[at], True)
        return cls(Join(row.astype(np.int32)), taken, each, False)

    def connectivity(self, kind: Connectivity, name: str) -> Connectivity:
        """Synapses onto values in front of the Max as synapses onto compartments."""
        if self.whole:
            return kind.scaled(self.gain)
        if kind.synapses() * len(self.taken) > LARGEST * kind.outputs:
            raise UnsupportedError(
                f"node {name!r}: the synapses onto the compartments of its overlapping windows are too many to list",
                found=f"about {kind.synapses() * len(self.taken) // max(kind.outputs, 1):,}",
                allowed=f"{LARGEST:,}",
                hint=TRAINS_EQUALLY,
            )
        return Sparse.from_csr(kind.to_csr().tocsc()[:, self.taken].tocsr()).scaled(self.gain)

    def bias(self, value: Array, neurons: int) -> tuple[Array, Array | None]:
        """A constant in front of the Max: at the neurons ``[neurons]`` where it is one for each tree, else None there
        and at the compartments."""
        each = value[self.taken] * self.gain
        low = -self.join.largest(-each, neurons)
        if (each == low[self.join.parent]).all():
            return low, None
        return np.zeros(neurons), each

    def said(self, node: str, neurons: int) -> str:
        """What became of the Max, in words."""
        count, wanted = self.join.compartments, len(np.unique(self.taken))
        shared = (
            f", {wanted:,} of them different: windows that overlap have compartments each" if wanted < count else ""
        )
        return f"{node} is a MAX of {count:,} compartments in front of {neurons:,} neurons{shared}"
