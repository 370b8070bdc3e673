"""`Max`, a node type of our own: the largest of several values. NIR has none; other tools refuse the file.

    y[j] = max over k of x[index[j, k]]

One node says any max pooling (of one to three dimensions, with stride, padding, dilation, ``ceil_mode``, adaptive or
global), the largest of channels, and of branches that were concatenated.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from neurodeploy.network.arrays import Array

if TYPE_CHECKING:
    import nir

NAME = "Max"


@cache
def max_class() -> type[nir.NIRNode]:
    """The class of the node; made on first use, since the ``nir`` library is slow to load."""
    from dataclasses import make_dataclass

    import nir

    def completed(node: Any) -> None:
        node.input_type = {"input": np.atleast_1d(node.input_shape)}
        node.output_type = {"output": np.array(np.shape(node.index)[:-1])}

    fields = [("index", np.ndarray), ("input_shape", np.ndarray)]
    namespace = {"__post_init__": completed, "__module__": __name__}
    return make_dataclass(NAME, fields, bases=(nir.NIRNode,), namespace=namespace, eq=False)


def max_node(index: Array, input_shape: tuple[int, ...], metadata: Mapping[str, Any] | None = None) -> Any:
    """A node of the graph.

    Args:
        index: whole numbers ``[*output shape, k]``: positions in the flattened input of one sample; -1 for none, where
            a window reaches over the border. Every output needs one position at least.
        input_shape: of one sample.
    """
    whole = np.asarray(index, np.int64)
    return max_class()(index=whole, input_shape=np.asarray(input_shape, np.int64), metadata=dict(metadata or {}))


def largest(x: Array, index: Array) -> Array:
    """What the node computes: ``[batch, *input shape] -> [batch, *output shape]``."""
    flat = np.concatenate([x.reshape(len(x), -1), np.full((len(x), 1), -np.inf, x.dtype)], axis=1)
    found: Array = flat[:, index].max(axis=-1)
    return found
