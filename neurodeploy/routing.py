"""Who sends how many synapses to which core: the table from which placement, counts and timing are computed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurodeploy.connectivity import Array
from neurodeploy.network import Projection


@dataclass(frozen=True, eq=False)
class FanOut:
    """Synapses of each source neuron on each core, by source: entries ``indptr[i] : indptr[i + 1]``.

    Args:
        cores: core of each entry.
        synapses: stored synapses there.
        nonzero: those whose weight is not zero.
        indptr: ``[source neurons + 1]``.
    """

    cores: Array
    synapses: Array
    nonzero: Array
    indptr: Array


def fan_out(projection: Projection, core_of_target: Array) -> FanOut:
    """Table of a projection whose target neurons live on ``core_of_target`` (``[target neurons]``)."""
    from scipy.sparse import csr_array

    matrix = projection.connectivity.to_csr()
    targets = len(core_of_target)
    width = int(core_of_target.max(initial=0)) + 1
    home = csr_array(
        (np.ones(targets, np.int64), core_of_target.astype(np.int64), np.arange(targets + 1)), shape=(targets, width)
    )
    # One product counts both: every synapse adds 2^32, a non-zero one 1 more.
    both = csr_array(((1 << 32) + (matrix.data != 0).astype(np.int64), matrix.indices, matrix.indptr), matrix.shape)
    table = both @ home
    table.sort_indices()
    return FanOut(
        table.indices.astype(np.int64), table.data >> 32, table.data & 0xFFFFFFFF, table.indptr.astype(np.int64)
    )
