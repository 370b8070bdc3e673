"""From the HDF5 of a `.nir` file to a flat graph of NIR nodes, read as tolerantly as is safe.

The `nir` library refuses files that mean something clear: parameters given once for all neurons, missing defaults,
grouped convolutions, graphs inside graphs, edges that stand twice. Here each of them is repaired, and every repair is
a sentence in `Tolerant.repairs` that names the node, what was found and what was assumed. What is not clear is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurodeploy.errors import InvalidInputError, UnsupportedError
from neurodeploy.files.hdf5 import damaged, text

from .nodes import KNOWN_NODES, NEEDS, NEURON_PARAMETERS, NodeReader, make, read_metadata

if TYPE_CHECKING:
    import h5py

Edge = tuple[str, str]


@dataclass(eq=False)
class Tolerant:
    """What the file holds: nodes by name, how often each edge stands, the graph's metadata, and the repairs."""

    nodes: dict[str, Any] = field(default_factory=dict)
    edges: Counter[Edge] = field(default_factory=Counter)
    metadata: dict[str, Any] = field(default_factory=dict)
    repairs: list[str] = field(default_factory=list)


def load(file: h5py.File, path: Path) -> Tolerant:
    """Read the graph under ``/node``.

    Raises:
        InvalidInputError: no NIR graph, an unknown node, or parameters without a clear meaning.
        UnsupportedError: a nested graph with several inputs or outputs.
    """
    if "node" not in file or "nodes" not in file["node"]:
        raise InvalidInputError(
            f"{path} is HDF5 but not a NIR graph",
            found=f"top-level groups: {', '.join(file) or 'none'}",
            allowed="a group /node with nodes and edges, as nir.write makes it",
        )
    result = Tolerant()
    reader = _Reader(path, result.repairs, result)
    level = reader.graph(file["node"], "")
    result.metadata = read_metadata(file["node"])
    result.nodes, result.edges = level.nodes, level.edges
    reader.close_passages()
    reader.complete_ends()
    reader.count_edges()
    return result


@dataclass(eq=False)
class _Level:
    """One graph of the nesting, flattened; ``inputs`` and ``outputs`` are the nodes where edges to it end."""

    nodes: dict[str, Any]
    edges: Counter[Edge]
    inputs: list[str]
    outputs: list[str]


class _Passage:
    """The Input or Output of a nested graph: edges go through it."""


@dataclass(eq=False)
class _Reader(NodeReader):
    result: Tolerant

    def graph(self, group: h5py.Group, prefix: str, depth: int = 0) -> _Level:
        """Read a graph; the names of its nodes get ``prefix``."""
        if depth > 50:
            raise UnsupportedError(f"{self.path} nests graphs more than 50 deep")
        level = _Level({}, Counter(), [], [])
        inner: dict[str, _Level] = {}
        for plain_name, item in _named(group["nodes"]):
            name = prefix + plain_name
            kind = text(item["type"][()]) if "type" in item else "none (the node has no type)"
            if kind not in KNOWN_NODES:
                raise InvalidInputError(
                    f"{self.path}: node {name!r} is of an unknown type",
                    found=kind,
                    allowed=", ".join(KNOWN_NODES),
                    hint="rebuild the network from nodes that NIR defines, or upgrade neurodeploy",
                )
            if kind == "NIRGraph":
                inner[name] = self.graph(item, name + ".", depth + 1)
                continue
            if kind in ("Input", "Output"):
                (level.inputs if kind == "Input" else level.outputs).append(name)
            passage = bool(prefix) and kind in ("Input", "Output")
            level.nodes[name] = _Passage() if passage else self.node(name, kind, item)
        for name, nested in inner.items():
            self.inline(name, nested, level)
        for source, target in self.edge_list(group):
            source, target = prefix + source, prefix + target
            source = self.port(inner, source, "output") if source in inner else source
            target = self.port(inner, target, "input") if target in inner else target
            level.edges[source, target] += 1
        return level

    def inline(self, name: str, nested: _Level, level: _Level) -> None:
        clash = sorted(set(nested.nodes) & set(level.nodes))
        if clash:
            raise self.invalid(name, "is a graph whose nodes clash with others", clash[0], "names of their own")
        level.nodes.update(nested.nodes)
        level.edges.update(nested.edges)
        kept = sorted(n for n, node in nested.nodes.items() if not isinstance(node, _Passage))
        shown = ", ".join(kept[:3]) + (", ..." if len(kept) > 3 else "")
        self.repaired(name, f"is a graph inside the graph; its {len(kept)} nodes were put in its place ({shown})")

    def port(self, inner: Mapping[str, _Level], name: str, side: str) -> str:
        level = inner[name]
        ends = level.inputs if side == "input" else level.outputs
        if not ends:
            busy = {edge[1 if side == "input" else 0] for edge in level.edges}
            ends = [n for n in level.nodes if n not in busy]
        if len(ends) != 1:
            raise UnsupportedError(
                f"{self.path}: the nested graph {name!r} has {len(ends)} {side}s, so an edge to it is ambiguous",
                found=sorted(ends)[:8],
                allowed=f"one {side}",
                hint="export the network without nesting",
            )
        return ends[0]

    def edge_list(self, group: h5py.Group) -> list[Edge]:
        if "edges" not in group:
            raise damaged(self.path, "a NIR graph", NEEDS, f"no edges in {group.name}")
        edges = np.asarray(group["edges"][()])
        if not edges.size:
            return []
        if edges.ndim != 2 or edges.shape[1] != 2 or edges.dtype.kind not in "OSU":
            raise damaged(self.path, "a NIR graph", NEEDS, f"edges of shape {list(edges.shape)} and type {edges.dtype}")
        return [(text(a), text(b)) for a, b in edges]

    def close_passages(self) -> None:
        """Join the edges that meet in the Input or Output of a nested graph."""
        nodes, edges = self.result.nodes, self.result.edges
        for name in [n for n, node in nodes.items() if isinstance(node, _Passage)]:
            before = {a: count for (a, b), count in edges.items() if b == name}
            after = {b: count for (a, b), count in edges.items() if a == name}
            if name in before:
                raise self.invalid(name, "feeds itself without a neuron", f"{name} -> {name}", "a neuron in every loop")
            for edge in [e for e in edges if name in e]:
                del edges[edge]
            for source, incoming in before.items():
                for target, outgoing in after.items():
                    edges[source, target] += incoming * outgoing
            del nodes[name]

    def complete_ends(self) -> None:
        """Add the only Input or Output that the graph can have, where it has none."""
        nodes, edges = self.result.nodes, self.result.edges
        kinds = {type(node).__name__ for node in nodes.values()}
        if "Input" not in kinds:
            roots = [n for n in nodes if not any(b == n for _, b in edges)]
            shape = _input_shape(nodes[roots[0]]) if len(roots) == 1 else None
            if shape is not None:
                name = _fresh("input", nodes)
                nodes[name] = make("Input", input_type={"input": np.array(shape)})
                edges[name, roots[0]] += 1
                self.repaired(name, f"the graph has no Input; added one of shape {list(shape)} before {roots[0]!r}")
        if "Output" not in kinds:
            leaves = [n for n in nodes if not any(a == n for a, _ in edges)]
            if len(leaves) == 1 and type(nodes[leaves[0]]).__name__ != "Input":
                name = _fresh("output", nodes)
                nodes[name] = make("Output", output_type={"output": np.array([1])})
                edges[leaves[0], name] += 1
                self.repaired(name, f"the graph has no Output; added one behind {leaves[0]!r}")

    def count_edges(self) -> None:
        """An edge that stands n times adds n times: a Scale by n says the same."""
        nodes, edges = self.result.nodes, self.result.edges
        for (source, target), count in sorted(edges.items()):
            if count > 1 and source in nodes and target in nodes:
                name = _fresh(f"{source} x{count} {target}", nodes)
                nodes[name] = make("Scale", scale=np.array(float(count)))
                del edges[source, target]
                edges[source, name] = edges[name, target] = 1
                self.repaired(name, f"the edge {source} -> {target} stands {count} times; all of them count")


def _named(group: h5py.Group, prefix: str = "") -> Iterator[tuple[str, h5py.Group]]:
    """Nodes of a graph. A name with a slash became groups in groups; they are joined again."""
    for key in group:
        item = group[key]
        if not hasattr(item, "keys"):
            continue
        if "type" not in item and len(item) and all(hasattr(item[k], "keys") for k in item):
            yield from _named(item, f"{prefix}{key}/")
        else:
            yield prefix + key, item


def _fresh(name: str, nodes: Mapping[str, Any]) -> str:
    while name in nodes:
        name += "_"
    return name


def _input_shape(node: Any) -> tuple[int, ...] | None:
    """The shape that a node takes, if it says so itself."""
    kind = type(node).__name__
    shape: tuple[int, ...] | None = None
    if kind in ("Affine", "Linear"):
        shape = (node.weight.shape[1],)
    elif kind == "Conv2d" and node.input_shape is not None:
        shape = (node.weight.shape[1] * node.groups, *node.input_shape)
    elif kind in ("Scale", "Delay"):
        shape = np.shape(getattr(node, kind.lower()))
    elif kind == "Max" or (kind == "Flatten" and node.input_type["input"] is not None):
        shape = tuple(int(n) for n in node.input_type["input"])
    elif kind in NEURON_PARAMETERS:
        try:
            shape = np.broadcast_shapes(*(np.shape(getattr(node, p)) for p in NEURON_PARAMETERS[kind]))
        except ValueError:
            return None
    return shape or None
