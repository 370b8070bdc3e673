"""Synaptic memory of a core: what the synapses of one projection onto it take, in bytes.

A chip of this family keeps the synapses of a core in one of three encodings. With ``w`` = 8 bits a weight and ``i``
bits for the index of a neuron on its core (10 for the 1,024 of Loihi 1, 13 for the 8,192 of Loihi 2),

    matrix          w for every pair of a source that reaches the core and a neuron there
    list            w + i for every synapse
    shared kernel   w for every weight of the kernels of the channels on the core, once for all positions (Loihi's
                    shared synapses, as NxTF uses them; Rueckauer et al., ACM TECS 21(3), 2022)

and the smallest is taken, projection by projection and core by core, of those that store the same synapses: a matrix
in place of a list only where every pair has a synapse, so that memory and synaptic operations tell of the same
synapses. (To drop the zeros of a matrix is the pass ``encode``'s business.)

Assumed: the index of a shared kernel costs nothing; every weight takes 8 bits, and lists are not padded to the words
of 64 bits of the memory. Intel's compiler for Loihi 2 does pad, and gives small weights fewer bits: its table for
PilotNet (``benchmarks/pilotnet.py`` prints it beside this model) has 0.6 to 1.0 times this model's bytes for
convolutions and 2 to 8 times for the fully connected layers, which are small.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurodeploy.network.arrays import Array
from neurodeploy.network.connectivity import Conv2d, Dense, Sparse
from neurodeploy.network.network import Projection

from .routing import fan_in, sources_of

WEIGHT_BITS, INDEX_BITS = 8, 10
MATRIX, LIST, KERNEL = "dense", "sparse", "shared kernel"
"""Names of the encodings."""


@dataclass(frozen=True)
class Stored:
    """How a core stores the synapses of one projection.

    Args:
        encoding: `MATRIX`, `LIST` or `KERNEL`.
        bytes: that they take.
    """

    encoding: str
    bytes: int


def stored(projection: Projection, targets: Array, index_bits: int = INDEX_BITS) -> Stored:
    """The smallest encoding of the synapses onto the target neurons ``targets`` (flat indices) of one core."""
    kind = projection.connectivity
    if isinstance(kind, Dense):
        return Stored(MATRIX, _bytes(len(targets) * kind.inputs * WEIGHT_BITS))
    if isinstance(kind, Conv2d):
        plane = kind.output_shape[1] * kind.output_shape[2]
        channels = len(np.unique(targets // plane))
        kernels = channels * int(np.prod(kind.weights.shape[1:])) * WEIGHT_BITS
        synapses = int(fan_in(projection, targets).sum())
        if kernels <= synapses * WEIGHT_BITS:
            return Stored(KERNEL, _bytes(kernels))
        each = _each(projection, targets, synapses, index_bits)
        if kernels <= synapses * each:
            return Stored(KERNEL, _bytes(kernels))
    else:
        synapses = int(fan_in(projection, targets).sum())
        each = _each(projection, targets, synapses, index_bits)
    return Stored(MATRIX if each == WEIGHT_BITS else LIST, _bytes(synapses * each))


def synapse_bytes(projection: Projection, targets: Array, index_bits: int = INDEX_BITS) -> int:
    """Bytes that the synapses onto the target neurons ``targets`` (flat indices) take on their core."""
    return stored(projection, targets, index_bits).bytes


def neuron_bytes(projection: Projection, index_bits: int = INDEX_BITS) -> Array:
    """Bytes that each target neuron takes on a core that holds no other, ``[target neurons]``.

    Its synapses are a matrix of one column, unless a source has two of them: then a list.
    """
    kind = projection.connectivity
    each: Array | int = WEIGHT_BITS
    if isinstance(kind, Sparse):
        each = np.where(_twice(kind), WEIGHT_BITS + index_bits, WEIGHT_BITS)
    bits = fan_in(projection, np.arange(kind.outputs)) * each
    return np.asarray(-(-bits // 8))


def encoding(projection: Projection) -> str:
    """How a core that holds the whole target population stores a projection."""
    return stored(projection, np.arange(projection.connectivity.outputs)).encoding


def _bytes(bits: int) -> int:
    return -(-bits // 8)


def _each(projection: Projection, targets: Array, synapses: int, index_bits: int) -> int:
    """Bits a synapse: of a matrix where there is one for every pair, else of a list."""
    kind = projection.connectivity
    full = synapses == sources_of(projection, targets) * len(targets)
    if full and isinstance(kind, Sparse):
        full = not _twice(kind)[targets].any()
    return WEIGHT_BITS if full else WEIGHT_BITS + index_bits


def _twice(kind: Sparse) -> Array:
    """Target neurons onto which a source has more than one synapse, bool ``[target neurons]``."""
    source = np.repeat(np.arange(kind.inputs, dtype=np.int64), np.diff(kind.indptr))
    pairs, count = np.unique(source * kind.outputs + kind.targets, return_counts=True)
    found = np.zeros(kind.outputs, bool)
    found[pairs[count > 1] % kind.outputs] = True
    return found
