"""What the body of an ONNX Scan computes in a step: the shape of each of its values, told by the Scan itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Body:
    """The body of a Scan.

    Args:
        nodes: that it had.
        shown: of each value that they make, the output of the whole graph that tells its shape.
        taken: of each value that it takes, the value of the whole graph, and the axis of that along which a step lies;
            None for a state.
        given: shapes of its constants.
    """

    nodes: tuple[NodeProto, ...]
    shown: Mapping[str, str]
    taken: Mapping[str, tuple[str, int | None]]
    given: Mapping[str, Shape]

    def within(self, shapes: Mapping[str, Shape]) -> tuple[Mapping[str, Shape], int]:
        """The shapes of all values that its nodes know, and how many steps it takes.

        Args:
            shapes: of the whole graph.
        """
        found, steps = {**shapes, **self.given}, 0
        for name, (outer, axis) in self.taken.items():
            shape = shapes[outer]
            if axis is not None:
                steps = shape[axis]
                shape = tuple(size for at, size in enumerate(shape) if at != axis % len(shape))
            found[name] = shape
        return {**found, **{name: shapes[shown] for name, shown in self.shown.items()}}, steps


def opened(graph: GraphProto) -> dict[str, Body]:
    """Let each Scan of a graph put out the shapes of what its body computes; bodies by the Scan's first output.

    Args:
        graph: of a model with operators of set 9 or later; gets outputs of which each has a shape for each step.
    """
    from onnx import ValueInfoProto

    found: dict[str, Body] = {}
    for index, node in enumerate(graph.node):
        if node.op_type != "Scan":
            continue
        how: dict[str, Any] = {attribute.name: attribute for attribute in node.attribute}
        body: GraphProto = how["body"].g
        nodes = tuple(_copied(inner) for inner in body.node)
        scanned = how["num_scan_inputs"].i
        states = len(node.input) - scanned
        axes = list(how["scan_input_axes"].ints) if "scan_input_axes" in how else [0] * scanned
        taken = {
            inner.name: (outer, None if at < states else axes[at - states])
            for at, (inner, outer) in enumerate(zip(body.input, node.input, strict=True))
        }
        given = {tensor.name: tuple(tensor.dims) for tensor in body.initializer}
        shown = {value: f"{index}/shape of {value}" for inner in nodes for value in inner.output if value}
        for value, name in shown.items():
            body.node.add(op_type="Shape", input=[value], output=[name])
            body.output.append(ValueInfoProto(name=name))
            node.output.append(name)
            graph.output.append(ValueInfoProto(name=name))
        for what in ("scan_output_axes", "scan_output_directions"):
            if what in how:
                how[what].ints.extend([0] * len(shown))
        found[node.output[0]] = Body(nodes, shown, taken, given)
    return found


def _copied(node: NodeProto) -> NodeProto:
    made = type(node)()
    made.CopyFrom(node)
    return made
