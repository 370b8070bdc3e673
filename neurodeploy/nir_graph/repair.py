"""Making shapes fit that almost do: a batch dimension of 1, a Flatten that counts it, parameters given once."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodeploy.errors import NeurodeployError

from .nodes import DEFAULTS, NEURON_PARAMETERS, make

Edge = tuple[str, str]


def fit(nodes: dict[str, Any], edges: list[Edge], repairs: list[str]) -> dict[str, Any]:
    """The nodes as repaired, and as they were where nothing helps (the lowering then says what does not fit).

    Args:
        repairs: gets a sentence for each repair.
    """
    from .shapes import shapes

    class Graph:
        def __init__(self, nodes: dict[str, Any]) -> None:
            self.nodes, self.edges = nodes, edges

    def shapes_of(candidate: dict[str, Any]) -> dict[str, tuple[int, ...]] | None:
        try:
            return shapes(Graph(candidate))
        except NeurodeployError:
            return None

    found = shapes_of(nodes)
    if found is None:
        for steps in ((_unbatched,), (_unshifted,), (_unbatched, _unshifted)):
            candidate, said = dict(nodes), []
            for step in steps:
                said += step(candidate)
            found = shapes_of(candidate) if said else None
            if found is not None:
                nodes = candidate
                repairs += said
                break
    if found is None:
        return nodes
    result = dict(nodes)
    for name, node in nodes.items():
        if type(node).__name__ in NEURON_PARAMETERS:
            result[name] = _spread(name, node, found[name], repairs)
    return result


def _unbatched(nodes: dict[str, Any]) -> list[str]:
    said = []
    for name, node in nodes.items():
        if type(node).__name__ == "Input":
            shape = np.asarray(node.input_type["input"])
            if len(shape) > 1 and shape[0] == 1:
                nodes[name] = make("Input", node.metadata, input_type={"input": shape[1:]})
                said.append(
                    f"node {name!r}: has the shape {shape.tolist()}; the leading 1 was read as a batch and dropped"
                )
    return said


def _unshifted(nodes: dict[str, Any]) -> list[str]:
    said = []
    for name, node in nodes.items():
        if type(node).__name__ == "Flatten" and node.start_dim > 0:
            end = node.end_dim - 1 if node.end_dim > 0 else node.end_dim
            dims = {"start_dim": node.start_dim - 1, "end_dim": end}
            nodes[name] = make("Flatten", node.metadata, input_type={"input": None}, **dims)
            said.append(
                f"node {name!r}: start_dim {node.start_dim} does not fit what follows; read as counted with a batch, "
                f"so {node.start_dim - 1} here"
            )
    return said


def _spread(name: str, node: Any, shape: tuple[int, ...], repairs: list[str]) -> Any:
    """The neuron with one value of each parameter for each neuron."""
    kind = type(node).__name__
    values, once = {}, []
    for parameter in NEURON_PARAMETERS[kind]:
        value = np.asarray(getattr(node, parameter))
        values[parameter] = value
        if value.shape == shape:
            continue
        if value.size == 1:
            values[parameter] = np.broadcast_to(value.reshape(()), shape)
            if parameter not in DEFAULTS or np.any(value != DEFAULTS[parameter]):
                once.append(parameter)
        elif value.shape == shape[:1] and len(shape) > 1 and shape[0] != shape[-1]:
            values[parameter] = np.broadcast_to(value.reshape(-1, *[1] * (len(shape) - 1)), shape)
            repairs.append(f"node {name!r}: {parameter} has one value per channel; used for the whole channel")
        elif value.size == np.prod(shape):
            values[parameter] = value.reshape(shape)
        else:
            values[parameter] = np.broadcast_to(value, shape)
            found = f"{parameter} has the shape {list(value.shape)}"
            repairs.append(f"node {name!r}: {found}; stretched to {list(shape)} as numpy does")
    if once:
        repairs.append(f"node {name!r}: {', '.join(once)} given once; used for all {int(np.prod(shape))} neurons")
    changed = any(values[p] is not getattr(node, p) for p in values)
    return make(kind, node.metadata, **values) if changed else node
