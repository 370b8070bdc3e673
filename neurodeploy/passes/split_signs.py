"""Pass ``split-signs``: excitatory and inhibitory synapses apart, for one bit more and an exponent of their own. Exact.

    I = W s = W+ s + W- s,    W+ = max(W, 0),    W- = min(W, 0)

Loihi keeps weights of both signs as even numbers from -256 to 254, weights of one sign as all 8-bit numbers
(`neurodeploy.network.loihi_ranges`), with one exponent a projection. A trained layer whose inhibition is ten times
stronger than its excitation has hardly a level left for the latter; split, each part fills its 8 bits. The price: a
dense matrix becomes two sparse ones (18 bits a synapse instead of 8, `neurodeploy.program.memory`), a convolution
kernel is stored twice, and a spike sends two messages to a core that holds both parts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_array

from neurodeploy.errors import InvalidInputError
from neurodeploy.network.arrays import Array
from neurodeploy.network.connectivity import Connectivity, Conv2d, Sparse, with_weights
from neurodeploy.network.network import Network, Projection

from .data import NOTHING, PassData


@dataclass(frozen=True)
class SplitSigns:
    """Split every projection that has weights of both signs; its bias stays with the first part."""

    name: ClassVar[str] = "split-signs"

    def apply(self, network: Network, data: PassData = NOTHING) -> Network:
        """See the module's docstring.

        Raises:
            InvalidInputError: the network is not in floats.
        """
        if network.arithmetic != "float":
            raise InvalidInputError(
                "signs are split before quantisation", found=network.arithmetic, allowed="a float network"
            )
        projections: list[Projection] = []
        notes = dict(network.notes)
        taken = {p.name for p in network.projections}
        for projection in network.projections:
            weights = projection.connectivity.weights
            if not (weights.min(initial=0) < 0 < weights.max(initial=0)):
                projections.append(projection)
                continue
            both = [_part(projection.connectivity, np.maximum), _part(projection.connectivity, np.minimum)]
            for index, (sign, kind) in enumerate(zip("+-", both, strict=True)):
                name = f"{projection.name} {sign}"
                while name in taken:
                    name += sign
                taken.add(name)
                bias = projection.bias if index == 0 else None
                projections.append(replace(projection, name=name, connectivity=kind, bias=bias))
            notes[f"split-signs {projection.name}"] = (
                f"{(weights > 0).sum():,} excitatory weights up to {weights.max():.3g} and {(weights < 0).sum():,} "
                f"inhibitory ones down to {weights.min():.3g}, each with an exponent of its own"
            )
        return replace(network, projections=tuple(projections), notes=notes)


def _part(kind: Connectivity, keep: np.ufunc) -> Connectivity:
    """The synapses of one sign: a kernel keeps its zeros, lists and matrices list what is left."""
    weights: Array = keep(kind.weights, 0)
    if isinstance(kind, Conv2d):
        return with_weights(kind, weights)
    matrix: csr_array = with_weights(kind, weights).to_csr()
    matrix.eliminate_zeros()
    return Sparse.from_csr(matrix)
