"""Which nodes of a NIR graph send spikes, or sums of spikes: small whole numbers times one unit, never below 0."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from neurodeploy.network import compose
from neurodeploy.network.arrays import Array
from neurodeploy.nir_graph.host_nodes import FROM_HOST, shape_of

Count = tuple[float, Array]
"""The unit, and the most that each position, flattened, may be in it: 0, 1 ... that many units."""

_SPIKING = ("IF", "LIF", "CubaLIF")
_LINEAR = ("Linear", "Affine", "Conv1d", "Conv2d", "SumPool2d", "AvgPool2d")

_MANY = 1 << 10
"""Beyond it a sum of spikes is like any number."""


class Counts:
    """What the nodes of a graph that is being built send.

    Args:
        nodes, edges: of the graph; a node's arriving edges do not change once it was asked for.
        most: name of a neuron node -> how many spikes it may send in a step.
    """

    def __init__(self, nodes: Mapping[str, Any], edges: Sequence[tuple[str, str]], most: Callable[[str], int]) -> None:
        self._nodes, self._edges, self._most = nodes, edges, most
        self._known: dict[str, tuple[Any, Count | None]] = {}
        self._shapes: dict[str, tuple[Any, tuple[int, ...]]] = {}

    def of(self, name: str) -> Count | None:
        """What a node sends; None where it may be anything."""
        node = self._nodes[name]
        if name not in self._known or self._known[name][0] is not node:  # a layer may be folded into another
            self._known[name] = (node, self._count(name))
        return self._known[name][1]

    def sum_of(self, terms: Mapping[str, float]) -> Count | None:
        """What a weighted sum of nodes is; None where it may be anything, or below 0."""
        parts = [(factor, self.of(name)) for name, factor in terms.items()]
        units = [factor * count[0] for factor, count in parts if count is not None]
        if len(units) != len(parts) or not units or min(units) <= 0:
            return None
        unit = min(units)
        total: Array = np.zeros(1)
        for own, (_, count) in zip(units, parts, strict=True):
            times = round(own / unit)
            if abs(own / unit - times) > 1e-9 or count is None:
                return None
            total = total + times * count[1]
        return (unit, total) if total.max() <= _MANY else None

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a sample that a node sends; of a matrix it is a vector."""
        node = self._nodes[name]
        if name not in self._shapes or self._shapes[name][0] is not node:
            self._shapes[name] = (node, self._sent(name, node))
        return self._shapes[name][1]

    def _sent(self, name: str, node: Any) -> tuple[int, ...]:
        kind = type(node).__name__
        if kind == "Input":
            return tuple(int(n) for n in np.atleast_1d(node.input_type["input"]))
        if kind == FROM_HOST:
            return shape_of(node)
        if kind in ("Linear", "Affine"):
            return (len(node.weight),)
        if kind == "Max":
            return tuple(int(n) for n in node.index.shape[:-1])
        own = next((getattr(node, p) for p in ("threshold", "v_threshold", "scale", "delay", "r", "tau")
                    if hasattr(node, p)), None)  # fmt: skip
        if own is not None:
            return tuple(np.shape(own))
        before = self.shape(next(a for a, b in self._edges if b == name))
        if kind == "Flatten":
            start, end = int(node.start_dim) % len(before), int(node.end_dim) % len(before)
            return (*before[:start], math.prod(before[start : end + 1]), *before[end + 1 :])
        size = compose.spatial(node, before).output_shape
        return (size[0], size[2]) if kind == "Conv1d" else tuple(size)

    def _count(self, name: str) -> Count | None:
        node, kind = self._nodes[name], type(self._nodes[name]).__name__
        if kind in _SPIKING or kind == "Threshold":
            most = 1 if kind == "Threshold" else self._most(name)
            return (1.0, np.full(math.prod(self.shape(name)), most)) if most <= _MANY else None
        if kind not in (*_LINEAR, "Scale", "Flatten", "Delay"):
            return None
        arriving = self.sum_of({a: 1.0 for a, b in self._edges if b == name})
        if arriving is None or kind in ("Flatten", "Delay"):
            return arriving
        unit, top = arriving
        if np.any(getattr(node, "bias", 0)):
            return None
        before = self.shape(next(a for a, b in self._edges if b == name))
        stage = None if kind in ("Scale", "Linear", "Affine") else compose.spatial(node, before)
        weights = np.asarray(node.scale if kind == "Scale" else node.weight if stage is None else stage.weights)
        used = weights[weights != 0]
        if not used.size or used.min() <= 0 or used.max() - used.min() > 1e-12 * used.max():
            return None
        gain = float(used.reshape(-1)[0])
        if kind == "Scale":
            total = top * (np.broadcast_to(weights, self.shape(name)).reshape(-1) != 0)
        elif stage is None:
            total = (weights != 0).astype(np.float64) @ top
        else:
            total = np.rint(stage.apply(top[None].astype(np.float64))[0] / gain)
        return (unit * gain, total) if total.max() <= _MANY else None
