"""Questions about a NIR graph that both its interpreter and its lowering ask: shapes, order, which edges are delayed.

Loops. NIR does not say which edge of a loop carries the last step's value. Every framework that exports loops means
``z[t-1]``: the edge that leaves a neuron *backwards*. Backwards is told by the neurons' distance from the inputs
(fewest edges; the file's alphabetical order breaks ties, since HDF5 keeps no other): an edge out of a neuron is
delayed by one step if every neuron of its loop that it leads to is as near to the inputs as the neuron itself, or
nearer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np

from neurodeploy.errors import InvalidInputError, UnsupportedError

from .host_nodes import FROM_HOST, STAGE, shape_of, stage_of

if TYPE_CHECKING:
    import nir

    from neurodeploy.network.connectivity import Conv2d
    from neurodeploy.network.host import HostStage

NEURONS = ("LIF", "IF", "LI", "I", "CubaLIF", "CubaLI", "Threshold")
"""Node types with a state or a threshold: they become populations."""

Edge = tuple[str, str]

LARGEST = 1 << 22
"""Values that one node may put out. Larger shapes come from damaged files; the largest chips hold a million neurons."""


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
    edges.remove_edges_from(_into_stages(graph))
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


def stages(graph: nir.NIRGraph) -> tuple[HostStage, ...]:
    """The stages of a host in a graph, in the order in which a step computes them.

    Raises:
        InvalidInputError: one whose edges are not those of what it takes and gives; the message names it.
    """
    found = {name: stage_of(name, graph.nodes[name]) for name in of_kind(graph, STAGE)}
    edges = digraph(graph)
    for name, stage in found.items():
        around = (
            (set(edges.predecessors(name)), {one.source for one in stage.takes}),
            (set(edges.successors(name)), {one.target for one in stage.gives if one.target}),
        )
        for there, named in around:
            if there != named:
                raise InvalidInputError(
                    f"the edges of the host stage {name!r} are not those of what it takes and gives",
                    found=sorted(there), allowed=sorted(named), hint="export the network again",
                )  # fmt: skip
    fed = {one.target for stage in found.values() for one in stage.gives}
    if alone := sorted(set(of_kind(graph, FROM_HOST)) - fed):
        raise InvalidInputError(f"no host stage feeds {alone[0]!r}", hint="export the network again")
    loops = nx.condensation(edges)  # a host in a loop runs in every step
    members = {number: sorted(loops.nodes[number]["members"]) for number in loops}
    after = [name for loop in nx.lexicographical_topological_sort(loops, key=members.get) for name in members[loop]]
    return tuple(found[name] for name in after if name in found)


def _into_stages(graph: nir.NIRGraph) -> list[Edge]:
    """Edges that end in a host stage: what it sends is given, within a step."""
    return [(a, b) for a, b in graph.edges if kind(graph.nodes[b]) == STAGE]


def order(graph: nir.NIRGraph, delayed: frozenset[Edge]) -> list[str]:
    """Nodes in the order in which one step computes them."""
    edges = digraph(graph)
    edges.remove_edges_from(delayed)
    edges.remove_edges_from(_into_stages(graph))
    return list(nx.lexicographical_topological_sort(edges))


def parameters_shape(node: Any) -> tuple[int, ...]:
    """Shape of a neuron node's parameters, broadcast against each other."""
    names = ("tau", "tau_mem", "tau_syn", "r", "v_leak", "v_threshold", "v_reset", "threshold", "w_in")
    found = {name: np.shape(getattr(node, name)) for name in names if hasattr(node, name)}
    try:
        return np.broadcast_shapes(*found.values())
    except ValueError as error:
        raise InvalidInputError(
            f"the parameters of a {kind(node)} node do not fit each other",
            found=", ".join(f"{name} {list(shape)}" for name, shape in found.items()),
            allowed="one value for each neuron, or one for all",
        ) from error


def shapes(graph: nir.NIRGraph) -> dict[str, tuple[int, ...]]:
    """Output shape of every node for one sample, channels first.

    Raises:
        InvalidInputError: shapes that do not fit each other; the message names the node.
    """
    edges = digraph(graph)
    result: dict[str, tuple[int, ...]] = {}
    waiting = order(graph, delayed_edges(graph))
    while waiting:
        later = []
        for name in waiting:
            node = graph.nodes[name]
            if kind(node) == STAGE:
                result[name] = ()
                continue
            if kind(node) == FROM_HOST:
                result[name] = _small(name, shape_of(node))
                continue
            if kind(node) == "Input":
                result[name] = _small(name, tuple(int(n) for n in np.atleast_1d(node.input_type["input"])))
                continue
            before = list(edges.predecessors(name))
            if not before:
                raise InvalidInputError(f"node {name!r} has no input", hint="connect it, or remove it")
            known = [result[p] for p in before if p in result]
            # A neuron that feeds back is not computed yet, but its parameters or those of the next node tell its shape.
            guess = known[0] if known else _fed_back(node, [graph.nodes[p] for p in before])
            if guess is None:
                later.append(name)
            else:
                result[name] = _small(name, _output_shape(name, node, guess))
        if len(later) == len(waiting):
            raise InvalidInputError(
                f"the shape of node {later[0]!r} cannot be told from the graph",
                hint="give the neurons of the loop one value of each parameter for each neuron",
            )
        waiting = later
    for name in graph.nodes:
        incoming = [result[p] for p in edges.predecessors(name)]
        if kind(graph.nodes[name]) != STAGE and any(shape != incoming[0] for shape in incoming):
            raise InvalidInputError(f"node {name!r} adds inputs of different shapes", found=[list(s) for s in incoming])
    return result


def _fed_back(node: Any, before: list[Any]) -> tuple[int, ...] | None:
    """Shape of what arrives only from neurons that are not computed yet, if the parameters tell it."""
    for neuron in before:
        shape = parameters_shape(neuron) if kind(neuron) in NEURONS else ()
        if np.prod(shape) != 1:
            return shape
    return (int(node.weight.shape[-1]),) if kind(node) in ("Affine", "Linear") else None


def _small(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    size = 1
    for length in shape:
        size *= length
    if size > LARGEST or any(length < 1 for length in shape):
        raise InvalidInputError(
            f"node {name!r} has a shape that cannot be used",
            found=list(shape),
            allowed=f"1 to {LARGEST:,} values",
            hint="check the shapes of the layers before it",
        )
    return shape


def _output_shape(name: str, node: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    what = kind(node)
    if what == "Output":
        declared = [int(n) for n in np.atleast_1d(node.output_type["output"])]
        # Some tools leave the size open, as 1.
        if math.prod(declared) not in (1, math.prod(shape)):
            raise InvalidInputError(
                f"the output {name!r} says another size than what arrives there",
                found=f"{declared}, and {list(shape)} arrive",
                allowed=list(shape),
                hint="export the network again; one of the two is not what was meant",
            )
        return shape
    if what in NEURONS:
        own = parameters_shape(node)
        per_channel = len(own) == 1 and len(shape) > 1 and own[0] == shape[0] != shape[-1]
        if np.prod(own) not in (1, np.prod(shape)) and not per_channel and not _stretches(own, shape):
            raise _mismatch(name, shape, own)
        # NIR cannot unfold a vector: behind a matrix that makes an image, the neuron's parameters say its shape.
        return own if len(shape) == 1 < len(own) and np.prod(own) == shape[0] else shape
    if what in ("Affine", "Linear"):
        if shape[-1] != node.weight.shape[-1] or len(shape) != 1:
            raise _mismatch(name, shape, (int(node.weight.shape[-1]),))
        return (int(node.weight.shape[0]),)
    if what in ("Scale", "Delay"):
        parameter = node.scale if what == "Scale" else node.delay
        if not _stretches(np.shape(parameter), shape):
            raise _mismatch(name, shape, np.shape(parameter))
        return shape
    if what == "Max":
        if math.prod(shape) != math.prod(int(n) for n in node.input_shape):
            raise _mismatch(name, shape, tuple(int(n) for n in node.input_shape))
        return tuple(int(n) for n in node.index.shape[:-1])
    if what == "Flatten":
        start, end = _dimensions(name, node, shape)
        return (*shape[:start], int(np.prod(shape[start : end + 1])), *shape[end + 1 :])
    if what in ("Conv1d", "Conv2d", "SumPool2d", "AvgPool2d"):
        expected = ("channels", "length") if what == "Conv1d" else ("channels", "height", "width")
        if len(shape) != len(expected):
            raise _mismatch(name, shape, expected)
        from neurodeploy.network.compose import spatial

        channels = int(node.weight.shape[1]) * int(node.groups) if what.startswith("Conv") else shape[0]
        if channels != shape[0]:
            raise _mismatch(name, shape, (channels, *shape[1:]))
        try:
            size = spatial(node, shape)
        except InvalidInputError as error:
            raise InvalidInputError(
                f"node {name!r} does not fit its input",
                found=f"input {list(shape)}; {error.what}: {error.found}",
                allowed=error.allowed,
                hint="check the kernel, stride and padding against the shape before it",
            ) from error
        if min(size.output_shape) < 1 or size.outputs > LARGEST or _padded(size) > 4 * LARGEST:
            raise InvalidInputError(
                f"node {name!r} does not fit its input",
                found=f"input {list(shape)}, kernel {list(size.weights.shape[2:])}, padding {list(size.padding)}, "
                f"dilation {list(size.dilation)}: output {list(size.output_shape)}",
                allowed=f"an output of 1 to {LARGEST:,} values",
                hint="check the kernel, stride and padding against the shape before it",
            )
        return size.output_shape if what != "Conv1d" else (size.output_shape[0], size.output_shape[2])
    raise UnsupportedError(
        f"node {name!r} of type {what} is not supported yet",
        allowed="Affine, Linear, Conv1d, Conv2d, SumPool2d, AvgPool2d, Max, Scale, Flatten, Delay, "
        + ", ".join(NEURONS),
    )


def _padded(conv: Conv2d) -> int:
    channels, height, width = conv.input_shape
    return channels * (height + 2 * conv.padding[0]) * (width + 2 * conv.padding[1])


def _stretches(own: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether parameters of one shape can be stretched to another, as numpy does."""
    try:
        return np.broadcast_shapes(own, shape) == shape
    except ValueError:
        return False


def _dimensions(name: str, node: Any, shape: tuple[int, ...]) -> tuple[int, int]:
    """First and last dimension that a Flatten joins."""
    rank = len(shape)
    start, end = int(node.start_dim), int(node.end_dim)
    if not (-rank <= start < rank and -rank <= end < rank and start % rank <= end % rank):
        raise InvalidInputError(
            f"node {name!r} flattens dimensions that are not there",
            found=f"{start} to {end} of the shape {list(shape)}",
            allowed=f"{-rank} to {rank - 1}, the first before the last",
            hint="NIR counts dimensions without the batch",
        )
    return start % rank, end % rank


def _mismatch(name: str, shape: tuple[int, ...], expected: tuple[Any, ...]) -> InvalidInputError:
    return InvalidInputError(
        f"node {name!r} does not fit its input",
        found=list(shape),
        allowed=list(expected),
        hint="check the shapes of the layers around it",
    )
