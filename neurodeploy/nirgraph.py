"""Questions about a NIR graph that both its interpreter and its lowering ask: shapes, order, which edges are delayed.

Loops. NIR does not say which edge of a loop carries the last step's value. Every framework that exports loops means
``z[t-1]``: the edge that leaves a neuron *backwards*. Backwards is told by the neurons' distance from the inputs
(fewest edges; the file's alphabetical order breaks ties, since HDF5 keeps no other): an edge out of a neuron is
delayed by one step if every neuron of its loop that it leads to is as near to the inputs as the neuron itself, or
nearer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np

from neurodeploy.errors import InvalidInputError, UnsupportedError

if TYPE_CHECKING:
    import nir

NEURONS = ("LIF", "IF", "LI", "I", "CubaLIF", "CubaLI", "Threshold")
"""Node types with a state or a threshold: they become populations."""

Edge = tuple[str, str]


def kind(node: Any) -> str:
    """The NIR type name of a node."""
    return type(node).__name__


def digraph(graph: nir.NIRGraph) -> nx.DiGraph[str]:
    """The graph's edges.

    Raises:
        InvalidInputError: an edge that names no node.
        UnsupportedError: a nested graph.
    """
    result: nx.DiGraph[str] = nx.DiGraph()
    result.add_nodes_from(sorted(graph.nodes))
    for name, node in graph.nodes.items():
        if kind(node) == "NIRGraph":
            raise UnsupportedError(
                f"node {name!r} is a graph inside the graph",
                allowed="a flat graph",
                hint="export the network without nesting",
            )
    for source, target in graph.edges:
        for end in (source, target):
            if end not in graph.nodes:
                raise InvalidInputError(
                    f"the edge {source} -> {target} names a node that is not there",
                    found=end,
                    allowed=", ".join(sorted(graph.nodes)),
                )
        result.add_edge(source, target)
    return result


def of_kind(graph: nir.NIRGraph, *kinds: str) -> list[str]:
    """Names of the nodes of these types, sorted."""
    return sorted(name for name, node in graph.nodes.items() if kind(node) in kinds)


def delayed_edges(graph: nir.NIRGraph) -> frozenset[Edge]:
    """The edges that carry the previous step's value; see the module's docstring.

    Raises:
        InvalidInputError: a loop without a neuron (an algebraic loop), or no input.
        UnsupportedError: an edge that leads both backwards and forwards.
    """
    edges = digraph(graph)
    sources = of_kind(graph, "Input")
    if not sources:
        raise InvalidInputError("the graph has no Input node", hint="add one, or export the network again")
    distance: Mapping[str, float] = nx.multi_source_dijkstra_path_length(edges, set(sources))
    neurons = set(of_kind(graph, *NEURONS))
    rank = {name: (distance.get(name, len(edges)), name) for name in neurons}
    loop_of = {name: index for index, loop in enumerate(nx.strongly_connected_components(edges)) for name in loop}
    linear = edges.subgraph(set(edges) - neurons)
    delayed = set()
    for neuron in sorted(neurons):
        for follower in edges.successors(neuron):
            if loop_of[follower] != loop_of[neuron]:
                continue
            if follower in neurons:
                reached = {follower}
            else:
                between = nx.descendants(linear, follower) | {follower}
                reached = {n for m in between for n in edges.successors(m) if n in neurons}
            backwards = {n for n in reached if rank[n] <= rank[neuron]}
            if backwards and reached - backwards:
                raise UnsupportedError(
                    f"the edge {neuron} -> {follower} leads both back into its loop and forwards",
                    found=f"back to {sorted(backwards)}, on to {sorted(reached - backwards)}",
                    hint="give the recurrent connection weights of its own",
                )
            if backwards:
                delayed.add((neuron, follower))
    edges.remove_edges_from(delayed)
    if not nx.is_directed_acyclic_graph(edges):
        loop = [edge[0] for edge in nx.find_cycle(edges)]
        raise InvalidInputError(
            "the graph has a loop without a neuron", found=" -> ".join([*loop, loop[0]]), hint="put a neuron into it"
        )
    return frozenset(delayed)


def order(graph: nir.NIRGraph, delayed: frozenset[Edge]) -> list[str]:
    """Nodes in the order in which one step computes them."""
    edges = digraph(graph)
    edges.remove_edges_from(delayed)
    return list(nx.lexicographical_topological_sort(edges))


def parameters_shape(node: Any) -> tuple[int, ...]:
    """Shape of a neuron node's parameters, broadcast against each other."""
    names = ("tau", "tau_mem", "tau_syn", "r", "v_leak", "v_threshold", "v_reset", "threshold", "w_in")
    return np.broadcast_shapes(*(np.shape(getattr(node, name)) for name in names if hasattr(node, name)))


def shapes(graph: nir.NIRGraph) -> dict[str, tuple[int, ...]]:
    """Output shape of every node for one sample, channels first.

    Raises:
        InvalidInputError: shapes that do not fit each other; the message names the node.
    """
    edges = digraph(graph)
    result: dict[str, tuple[int, ...]] = {}
    for name in order(graph, delayed_edges(graph)):
        node = graph.nodes[name]
        if kind(node) == "Input":
            result[name] = tuple(int(n) for n in np.atleast_1d(node.input_type["input"]))
            continue
        # A neuron that feeds back is not computed yet, but its parameters tell its shape.
        incoming = [result[p] if p in result else parameters_shape(graph.nodes[p]) for p in edges.predecessors(name)]
        if not incoming:
            raise InvalidInputError(f"node {name!r} has no input", hint="connect it, or remove it")
        if any(shape != incoming[0] for shape in incoming):
            raise InvalidInputError(f"node {name!r} adds inputs of different shapes", found=[list(s) for s in incoming])
        result[name] = _output_shape(name, node, incoming[0])
    return result


def _output_shape(name: str, node: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    what = kind(node)
    if what == "Output":
        return shape
    if what in NEURONS:
        own = parameters_shape(node)
        if own not in ((), (1,), shape) and np.prod(own) != np.prod(shape):
            raise _mismatch(name, shape, own)
        return shape
    if what in ("Affine", "Linear"):
        if shape[-1] != node.weight.shape[-1] or len(shape) != 1:
            raise _mismatch(name, shape, (int(node.weight.shape[-1]),))
        return (int(node.weight.shape[0]),)
    if what in ("Scale", "Delay"):
        parameter = node.scale if what == "Scale" else node.delay
        if np.broadcast_shapes(np.shape(parameter), shape) != shape:
            raise _mismatch(name, shape, np.shape(parameter))
        return shape
    if what == "Flatten":
        start, end = int(node.start_dim) % len(shape), int(node.end_dim) % len(shape)
        return (*shape[:start], int(np.prod(shape[start : end + 1])), *shape[end + 1 :])
    if what in ("Conv2d", "SumPool2d", "AvgPool2d"):
        if len(shape) != 3:
            raise _mismatch(name, shape, ("channels", "height", "width"))
        from neurodeploy.compose import spatial

        channels = int(node.weight.shape[1]) * int(node.groups) if what == "Conv2d" else shape[0]
        if channels != shape[0]:
            raise _mismatch(name, shape, (channels, *shape[1:]))
        return spatial(node, shape).output_shape
    raise UnsupportedError(
        f"node {name!r} of type {what} is not supported yet",
        allowed="Affine, Linear, Conv2d, SumPool2d, AvgPool2d, Scale, Flatten, Delay, " + ", ".join(NEURONS),
    )


def _mismatch(name: str, shape: tuple[int, ...], expected: tuple[Any, ...]) -> InvalidInputError:
    return InvalidInputError(
        f"node {name!r} does not fit its input",
        found=list(shape),
        allowed=list(expected),
        hint="check the shapes of the layers around it",
    )
