"""A stage whose last operator gates what it reads, as a stage that makes the gate and the product behind it.

What `export` leaves to the host often ends in a product of spikes with a gate that the same stage computes. Where the
output of its graph is such a product, in every step by itself or of each step of a phase, the stage is cut in front of
it: it gives the gate, as small as it is before it is repeated over the spikes, and reads no more than that takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from neurodeploy.network.host import HostInput, HostStage
from neurodeploy.network.network import Network, Population
from neurodeploy.network.neurons import Source

SAME = ("Identity", "Cast")
"""Operators that hand on what they get; a cast from a float to a float at least."""
FLOATS = (1, 11)
"""ONNX's numbers of float32 and float64."""


@dataclass(frozen=True, eq=False)
class Split:
    """A stage that makes a gate.

    Args:
        network: with the source of the gate, and the stage in place of the one that was split.
        factors: the gate and what it gates.
    """

    network: Network
    factors: tuple[HostInput, HostInput]


def split(network: Network, stage: HostStage) -> Split | None:
    """Cut a stage in front of its last product; None where there is none of the kind.

    Raises:
        MissingPackageError: onnx is not installed.
    """
    if len(stage.gives) != 1 or stage.when not in ("step", "phase"):
        return None
    graph = _Graph(stage)
    found = graph.gated()
    if found is None:
        return None
    read, gates, shape = found
    target = network.by_name[stage.gives[0].target]
    name = f"{target.name}.gate"
    while name in network.by_name:
        name += "'"
    made = graph.without(gates, shape)
    used = tuple(one for one in stage.takes if one.name in made.names)
    source = Population(name, shape, Source(), target.handle)
    gate = replace(stage.gives[0], target=name)
    cut = replace(stage, graph=made.bytes, takes=used, gives=(gate,))
    index = network.populations.index(target)
    populations = (*network.populations[:index], source, *network.populations[index:])
    stages = tuple(cut if one is stage else one for one in network.stages)
    changed = replace(network, populations=populations, stages=stages)
    factors = (HostInput("gate", name), HostInput("spikes", read.source))
    return Split(changed, factors)


@dataclass(frozen=True, eq=False)
class _Cut:
    bytes: Any
    names: frozenset[str]


class _Graph:
    """The graph of a stage, by what makes each of its values."""

    def __init__(self, stage: HostStage) -> None:
        import onnx

        self.stage = stage
        self.model = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(stage.graph.tobytes()))
        graph = self.model.graph
        self.made: Mapping[str, Any] = {name: node for node in graph.node for name in node.output}
        self.held = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
        self.inputs = {taken.name: taken for taken in stage.takes}
        known = [*graph.value_info, *graph.input, *graph.output]
        self.shapes = {
            one.name: [d.dim_value if d.HasField("dim_value") else None for d in one.type.tensor_type.shape.dim]
            for one in known
        }
        self.kinds = {one.name: one.type.tensor_type.elem_type for one in known}

    def plain(self, name: str) -> str:
        """The value that operators hand on as it is."""
        while name in self.made and self.made[name].op_type in SAME:
            before = self.made[name].input[0]
            if self.made[name].op_type == "Cast" and not {self.kinds.get(name), self.kinds.get(before)} <= {*FLOATS}:
                break
            name = before
        return name

    def gated(self) -> tuple[HostInput, list[str], tuple[int, ...]] | None:
        """What is gated, the gate of each step (of the one, of a stage of every step), and its shape."""
        last = self.plain(self.stage.gives[0].name)
        if self.stage.when == "step":
            found = [self._product(last, None)]
        else:
            node = self.made.get(last)
            if node is not None and node.op_type == "Reshape":
                node = self.made.get(self.plain(node.input[0]))
            if node is None or node.op_type != "Concat":
                return None
            found = [self._product(self.plain(name), step) for step, name in enumerate(node.input)]
        pairs = [one for one in found if one is not None]
        if not pairs or len(pairs) < len(found) or len({read.name for read, _, _ in pairs}) > 1:
            return None
        shapes = {shape for _, _, shape in pairs}
        return (pairs[0][0], [gate for _, gate, _ in pairs], shapes.pop()) if len(shapes) == 1 else None

    def _product(self, name: str, step: int | None) -> tuple[HostInput, str, tuple[int, ...]] | None:
        """The input and the gate of a product, and the shape of the gate."""
        node = self.made.get(name)
        if node is None or node.op_type != "Mul":
            return None
        for spikes, gate in (node.input, reversed(node.input)):
            read = self._reads(self.plain(spikes), step)
            if read is None or read.port != "spikes" or read.over != "steps":
                continue
            gate = self.plain(gate)
            while gate in self.made and self.made[gate].op_type == "Expand":
                gate = self.plain(self.made[gate].input[0])
            shape = [n for n in self.shapes.get(gate, [])[1:] if n is not None]
            whole = shape and len(shape) + 1 == len(self.shapes[gate])
            if gate in self.made and whole and self.kinds[gate] in FLOATS:
                return read, gate, tuple(shape)
        return None

    def _reads(self, name: str, step: int | None) -> HostInput | None:
        """The input that a value is, of a step."""
        if step is None:
            return self.inputs.get(name)
        node = self.made.get(name)
        if node is None or node.op_type != "Gather" or any(a.name == "axis" and a.i for a in node.attribute):
            return None
        at = self.held.get(node.input[1])
        if at is None or at.size != 1 or int(at.reshape(-1)[0]) != step:
            return None
        return self.inputs.get(self.plain(node.input[0]))

    def without(self, gates: list[str], shape: tuple[int, ...]) -> _Cut:
        """The graph that gives the gates."""
        import onnx
        from onnx import helper, numpy_helper

        graph, end = self.model.graph, self.stage.gives[0].name
        needed: set[str] = set()
        stack = list(gates)
        while stack:
            name = stack.pop()
            if name not in needed:
                needed.add(name)
                stack += [one for one in self.made[name].input if one] if name in self.made else []
        nodes = [node for node in graph.node if needed.intersection(node.output)]
        held = [one for one in graph.initializer if one.name in needed]
        steps = len(gates) if self.stage.when == "phase" else 0
        if steps:
            each = numpy_helper.from_array(np.array([1, -1, *shape], np.int64), "gate_shape")
            held.append(each)
            rows = [f"gate_{step}" for step in range(steps)]
            nodes += [helper.make_node("Reshape", [gate, "gate_shape"], [row])
                      for gate, row in zip(gates, rows, strict=True)]  # fmt: skip
            nodes.append(helper.make_node("Concat", rows, [end], axis=0))
        else:
            nodes.append(helper.make_node("Identity", gates, [end]))
        inputs = [one for one in graph.input if one.name in needed]
        kind = self.kinds[gates[0]]
        dims = [*((steps,) if steps else ()), "batch", *shape]
        made = helper.make_model(
            helper.make_graph(nodes, graph.name, inputs, [helper.make_tensor_value_info(end, kind, dims)], held),
            opset_imports=self.model.opset_import, ir_version=self.model.ir_version, producer_name="neurodeploy",
        )  # fmt: skip
        onnx.checker.check_model(made)
        return _Cut(np.frombuffer(made.SerializeToString(), np.uint8), frozenset(one.name for one in inputs))
