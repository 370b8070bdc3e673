"""Pass ``encode``: each projection in the form that takes the least synaptic memory. Exact.

A matrix takes 8 bits a weight, zeros included; a list takes 18 bits a synapse (`neurodeploy.program.memory`), so a
matrix of which less than 8/18 is not zero becomes a list, and a list that holds more than that a matrix. A matrix with
nothing but zeros for some sources becomes a list too: the rest of it is full, and takes 8 bits a synapse. Shared
kernels stay as they are. The sums are the same; in floats they may be added up in another order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from neurodeploy.network.connectivity import Connectivity, Dense, Sparse
from neurodeploy.network.network import Network, Projection
from neurodeploy.program.memory import INDEX_BITS, WEIGHT_BITS, synapse_bytes

from .data import NOTHING, PassData


@dataclass(frozen=True)
class Encode:
    """Choose between matrices and lists of synapses; a note says what changed and what that saves."""

    name: ClassVar[str] = "encode"

    def apply(self, network: Network, data: PassData = NOTHING) -> Network:
        """See the module's docstring."""
        notes = dict(network.notes)
        projections = []
        for projection in network.projections:
            kind = projection.connectivity
            better = _smaller(projection)
            if better is not kind:
                share = np.count_nonzero(kind.weights) / (kind.inputs * kind.outputs)
                whole = np.arange(kind.outputs)
                changed = replace(projection, connectivity=better)
                bytes_before, bytes_after = (synapse_bytes(p, whole) for p in (projection, changed))
                form = "list" if isinstance(better, Sparse) else "matrix"
                notes[f"encode {projection.name}"] = (
                    f"stored as a {form}, in {bytes_after:,} bytes instead of {bytes_before:,}: {share:.0%} "
                    f"of its {kind.inputs:,} x {kind.outputs:,} pairs have a synapse"
                )
                projection = changed
            projections.append(projection)
        return replace(network, projections=tuple(projections), notes=notes)


def _smaller(projection: Projection) -> Connectivity:
    kind = projection.connectivity
    if isinstance(kind, Dense):
        synapses = np.count_nonzero(kind.weights)
        full = synapses == np.count_nonzero(kind.weights.any(axis=0)) * kind.outputs
        if synapses * (WEIGHT_BITS if full else WEIGHT_BITS + INDEX_BITS) >= kind.weights.size * WEIGHT_BITS:
            return kind
        matrix = kind.to_csr()
        matrix.eliminate_zeros()
        return replace(Sparse.from_csr(matrix), exponent=kind.exponent)
    matrix_bytes = -(-kind.inputs * kind.outputs * WEIGHT_BITS // 8)
    if isinstance(kind, Sparse) and synapse_bytes(projection, np.arange(kind.outputs)) > matrix_bytes:
        matrix = kind.to_csr()
        matrix.sum_duplicates()
        if matrix.nnz == kind.weights.size:  # two synapses between the same neurons stay two
            return Dense(np.ascontiguousarray(matrix.toarray().T), kind.exponent)
    return kind
