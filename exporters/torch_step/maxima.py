"""Where the largest of several currents may stand: directly in front of a neuron, whose membrane it then drives.

What is between them moves in front of the maximum where that is the same: a gain that is not negative and a constant,
both the same for all values of a window. The maximum itself is no sum, so that no weights can stand behind it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import nir
import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.arrays import Array
from neurodeploy.nir_graph.max_node import max_node

from .counts import Counts
from .layers import affine_per_channel, folded

_NEURONS = ("IF", "LIF", "I", "LI", "Threshold", "CubaLIF", "CubaLI")
_LINEAR = ("Linear", "Affine", "Conv1d", "Conv2d", "SumPool2d", "AvgPool2d", "Scale", "Flatten", "Max")


def settle(
    nodes: dict[str, Any],
    edges: list[tuple[str, str]],
    modules: dict[str, str],
    dt: float,
    makers: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Check where the maxima of a finished graph lead, in place; see the module's docstring.

    Args:
        modules: NIR node -> torch path.
        dt: seconds in a step.
        makers: NIR node -> the operator that it is; an error's ``at``.

    Raises:
        UnsupportedError: one that does not lead to neurons alone, or to neurons that filter what arrives.
    """
    if not any(type(node).__name__ == "Max" for node in nodes.values()):
        return
    _drop_unused(nodes, edges)
    waiting = [name for name, node in nodes.items() if type(node).__name__ == "Max"]
    settling = _Settling(nodes, edges, modules, dt, makers)
    while waiting:
        name = waiting.pop()
        for target in [b for a, b in edges if a == name]:
            waiting += settling.led(name, name, target)
    _drop_unused(nodes, edges)


def _drop_unused(nodes: dict[str, Any], edges: list[tuple[str, str]]) -> None:
    """Take away linear nodes that nothing receives."""
    while True:
        sending = {a for a, _ in edges}
        unused = {n for n, node in nodes.items() if n not in sending and type(node).__name__ in _LINEAR}
        if not unused:
            return
        for name in unused:
            del nodes[name]
        edges[:] = [(a, b) for a, b in edges if b not in unused]


class _Settling:
    def __init__(
        self,
        nodes: dict[str, Any],
        edges: list[tuple[str, str]],
        modules: dict[str, str],
        dt: float,
        makers: Mapping[str, Any],
    ) -> None:
        self.nodes, self.edges, self.modules, self.dt, self.makers = nodes, edges, modules, dt, makers
        self.counts = Counts(nodes, edges, lambda name: 1)

    def led(self, largest: str, name: str, target: str) -> list[str]:
        """Follow one edge of a maximum, through reshapes; returns maxima whose edges are new."""
        node, kind = self.nodes[target], type(self.nodes[target]).__name__
        if kind in _NEURONS:
            if kind.startswith("Cuba") and (np.asarray(node.tau_syn) > self.dt * (1 + 1e-9)).any():
                raise self._refusal(
                    largest, f"the synaptic current of {target!r} decays over several steps: the maximum of filtered "
                    "currents is not the filtered maximum",
                )  # fmt: skip
            return []
        if kind == "Flatten":
            return [
                new for after in [b for a, b in self.edges if a == target] for new in self.led(largest, target, after)
            ]
        scaling = _scaling(node, self.counts.shape(name))
        if scaling is None:
            said = "the network's output" if kind == "Output" else f"{target!r} ({kind})"
            raise self._refusal(largest, f"it leads to {said}")
        if name != largest:
            raise self._refusal(largest, f"{target!r} scales it behind a reshape")
        return [self._moved(largest, target, *scaling)]

    def _moved(self, largest: str, target: str, gain: Array, offset: Array) -> str:
        """A maximum with what scaled it in front; its edges go where those of the scaling did."""
        node, others = self.nodes[largest], [a for a, b in self.edges if b == target and a != largest]
        rows = node.index.reshape(-1, node.index.shape[-1])
        size = math.prod(int(n) for n in node.input_shape)
        gains, offsets = (self._each(largest, target, value, rows, size) for value in (gain, offset))
        if (gain < 0).any():
            raise self._refusal(
                largest, f"{target!r} multiplies it by {gain.min():g}: a factor below 0 makes it a minimum"
            )
        made = self._fresh(f"{largest}.scaled")
        self.nodes[made] = max_node(node.index, tuple(node.input_shape), node.metadata)
        self.modules[made] = self.modules.get(largest, "")
        before = [a for a, b in self.edges if b == largest]
        shape = self.counts.shape(before[0])
        if offsets.any() and not others:
            added = self._front(made, before, gains.reshape(shape), offsets.reshape(shape), largest)
            self.edges += [(added, made)]
        else:
            for source in before:
                scale = self._fresh(f"{source}.scale")
                self.nodes[scale] = nir.Scale(gains.reshape(shape))
                self.edges += [(source, scale), (scale, made)]
        self.edges.remove((largest, target))
        self.edges += [(made, b) for a, b in self.edges if a == target]
        if not others:
            self.edges[:] = [(a, b) for a, b in self.edges if a != target]
            del self.nodes[target]
        if not any(a == largest for a, _ in self.edges):
            self.edges[:] = [(a, b) for a, b in self.edges if b != largest]
            del self.nodes[largest]
            self.edges[:] = [(largest if a == made else a, largest if b == made else b) for a, b in self.edges]
            self.nodes[largest] = self.nodes.pop(made)
            made = largest
        return made

    def _front(self, made: str, before: list[str], gain: Array, offset: Array, largest: str) -> str:
        """A layer that scales and adds, in front of a maximum; taken into the one there where that is all it is for."""
        shape = gain.shape
        flat = [value.reshape(shape[0], -1) for value in (gain, offset)]
        name = self._fresh(f"{made}.affine")
        if all((value == value[:, :1]).all() for value in flat):
            per = (flat[0][:, 0].copy(), flat[1][:, 0].copy())
            alone = len(before) == 1 and sum(a == before[0] for a, _ in self.edges) == 1
            taken = folded(self.nodes[before[0]], *per) if alone else None
            if taken is not None:
                taken.metadata = self.nodes[before[0]].metadata
                self.nodes[before[0]] = taken
                return before[0]
            self.nodes[name] = affine_per_channel(per[0], per[1], shape)
        else:
            raise self._refusal(largest, "a constant of its own for each position is added to it")
        self.edges += [(source, name) for source in before]
        return name

    def _each(self, largest: str, target: str, value: Array, rows: Array, size: int) -> Array:
        """A factor of each input, from that of each output; the same for all outputs that it reaches."""
        found = np.full(size + 1, np.nan)
        spread = np.broadcast_to(value.reshape(-1, 1), rows.shape)
        found[rows] = spread
        inside = rows >= 0
        if (found[rows][inside] != spread[inside]).any():
            raise self._refusal(largest, f"{target!r} scales the values of one window differently")
        return np.asarray(np.nan_to_num(found[:-1]))

    def _fresh(self, base: str) -> str:
        name, number = base, 1
        while name in self.nodes:
            number += 1
            name = f"{base}_{number}"
        return name

    def _refusal(self, largest: str, found: str) -> UnsupportedError:
        refused = self._said(largest, found)
        refused.at = self.makers.get(largest)
        return refused

    def _said(self, largest: str, found: str) -> UnsupportedError:
        sources = [a for a, b in self.edges if b == largest]
        if sources and all(type(self.nodes[source]).__name__ == "Input" for source in sources):
            return UnsupportedError(
                f"{largest!r}: the largest values of the input", found=found,
                allowed="a maximum of the input directly in front of a neuron",
                hint="pool the frames before they are handed to the network, as part of their preprocessing, or use "
                "average pooling",
            )  # fmt: skip
        return UnsupportedError(
            f"{largest!r}: the largest of several currents is not directly in front of a neuron", found=found,
            allowed="conv -> max pool -> neuron without a decaying synaptic current; max pooling of a neuron's spikes",
            hint="put the neuron in front of the pooling (the largest of spikes is exact), or train with average "
            "pooling or a stride in its place",
        )  # fmt: skip


def _scaling(node: Any, shape: tuple[int, ...]) -> tuple[Array, Array] | None:
    """Gain and constant of each value, flattened; None for anything but a scaling of each value by itself."""
    kind, size = type(node).__name__, math.prod(shape)
    if kind == "Scale":
        return np.broadcast_to(node.scale, shape).reshape(-1).astype(np.float64), np.zeros(size)
    if kind in ("Linear", "Affine"):
        gain = np.diag(node.weight)
        if node.weight.shape != (size, size) or np.count_nonzero(node.weight) != np.count_nonzero(gain):
            return None
        return gain.astype(np.float64), np.asarray(getattr(node, "bias", np.zeros(size)), np.float64)
    if kind in ("Conv1d", "Conv2d") and int(node.groups) == len(node.weight) == shape[0] and node.weight[0].size == 1:
        flat = [np.atleast_1d(v) for v in (node.stride, node.padding)]
        if (flat[0] == 1).all() and (flat[1] == 0).all():
            channels = np.stack([node.weight.reshape(-1), np.asarray(node.bias)]).astype(np.float64)
            gain, offset = np.repeat(channels, size // shape[0], axis=1)
            return gain, offset
    return None
