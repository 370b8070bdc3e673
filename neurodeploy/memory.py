"""Synaptic memory of a core: what the synapses of one projection onto it take, in bytes.

- Dense: one 8-bit weight a synapse; the target follows from the position in the row.
- Sparse: an 8-bit weight and a 10-bit target index (1,024 compartments a core) a synapse.
- Conv2d: the kernels of the channels on the core, once: all positions share them (Loihi's shared synapses, as NxTF
  uses them; Rueckauer et al., ACM TECS 21(3), 2022). Assumed: the index of the shared pattern costs nothing.
"""

from __future__ import annotations

import numpy as np

from neurodeploy.connectivity import Array, Conv2d, Dense, Sparse
from neurodeploy.network import Projection

WEIGHT_BITS, INDEX_BITS = 8, 10

ENCODINGS = {Dense: "dense", Sparse: "sparse", Conv2d: "shared kernel"}
"""Name of the encoding of each connectivity kind."""


def synapse_bytes(projection: Projection, targets: Array) -> int:
    """Bytes that the synapses onto the target neurons ``targets`` (flat indices) take on their core."""
    kind = projection.connectivity
    if isinstance(kind, Dense):
        return -(-len(targets) * kind.inputs * WEIGHT_BITS // 8)
    if isinstance(kind, Conv2d):
        plane = kind.output_shape[1] * kind.output_shape[2]
        channels = len(np.unique(targets // plane))
        return -(-channels * int(np.prod(kind.weights.shape[1:])) * WEIGHT_BITS // 8)
    listed = kind.targets if isinstance(kind, Sparse) else kind.to_csr().indices
    fan_in = np.bincount(listed, minlength=kind.outputs)
    return -(-int(fan_in[targets].sum()) * (WEIGHT_BITS + INDEX_BITS) // 8)


def encoding(projection: Projection) -> str:
    """How the chip stores a projection."""
    return ENCODINGS.get(type(projection.connectivity), "sparse")
