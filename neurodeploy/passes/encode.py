"""Pass ``encode``: each projection in the form that takes the least synaptic memory. Exact.

A matrix takes 8 bits a weight, zeros included; a list takes 18 bits a synapse (`neurodeploy.memory`), so a matrix of
which less than 8/18 is not zero becomes a list, and a list that holds more than that a matrix. Shared kernels stay as
they are. The sums are the same; in floats they may be added up in another order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from neurodeploy.connectivity import Connectivity, Dense, Sparse
from neurodeploy.memory import INDEX_BITS, WEIGHT_BITS
from neurodeploy.network import Network


@dataclass(frozen=True)
class Encode:
    """Choose between matrices and lists of synapses; a note says what changed and what that saves."""

    name: ClassVar[str] = "encode"

    def apply(self, network: Network) -> Network:
        """See the module's docstring."""
        notes = dict(network.notes)
        projections = []
        for projection in network.projections:
            kind = projection.connectivity
            better = _smaller(kind)
            if better is not kind:
                share = np.count_nonzero(kind.weights) / (kind.inputs * kind.outputs)
                form = "list" if isinstance(better, Sparse) else "matrix"
                notes[f"encode {projection.name}"] = (
                    f"stored as a {form}, in {_bits(better) // 8:,} bytes instead of {_bits(kind) // 8:,}: {share:.0%} "
                    f"of its {kind.inputs:,} x {kind.outputs:,} pairs have a synapse"
                )
                projection = replace(projection, connectivity=better)
            projections.append(projection)
        return replace(network, projections=tuple(projections), notes=notes)


def _smaller(kind: Connectivity) -> Connectivity:
    if isinstance(kind, Dense):
        if np.count_nonzero(kind.weights) * (WEIGHT_BITS + INDEX_BITS) >= _bits(kind):
            return kind
        matrix = kind.to_csr().copy()
        matrix.eliminate_zeros()
        return replace(Sparse.from_csr(matrix), exponent=kind.exponent)
    if isinstance(kind, Sparse) and _bits(kind) > kind.inputs * kind.outputs * WEIGHT_BITS:
        matrix = kind.to_csr().copy()
        matrix.sum_duplicates()
        if matrix.nnz == kind.weights.size:  # two synapses between the same neurons stay two
            return Dense(np.ascontiguousarray(matrix.toarray().T), kind.exponent)
    return kind


def _bits(kind: Connectivity) -> int:
    each = WEIGHT_BITS if isinstance(kind, Dense) else WEIGHT_BITS + INDEX_BITS
    return kind.weights.size * each
