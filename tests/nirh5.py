"""NIR files written key by key, as other versions and tools leave them; the `nir` library is not asked."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Nodes = Mapping[str, Mapping[str, Any]]


def write(path: Path, nodes: Nodes, edges: Sequence[tuple[str, str]] | None = None, version: str = "1.0.8") -> Path:
    """Write a graph; without ``edges`` the nodes form a chain."""
    with h5py.File(path, "w") as file:
        file["version"] = version
        graph(file.create_group("node"), nodes, edges)
    return path


def graph(group: h5py.Group, nodes: Nodes, edges: Sequence[tuple[str, str]] | None = None) -> None:
    group["type"] = "NIRGraph"
    listed = list(itertools.pairwise(nodes)) if edges is None else list(edges)
    group.create_dataset("edges", data=np.array(listed, dtype=object).reshape(-1, 2), dtype=h5py.string_dtype())
    inside = group.create_group("nodes")
    for name, node in nodes.items():
        part = inside.create_group(name)
        if node.get("type") == "NIRGraph":
            graph(part, node["nodes"], node.get("edges"))
        else:
            for key, value in node.items():
                part[key] = value


def inp(*shape: int) -> dict[str, Any]:
    return {"type": "Input", "shape": np.array(shape)}


def out(*shape: int) -> dict[str, Any]:
    return {"type": "Output", "shape": np.array(shape)}


def linear(weight: np.ndarray) -> dict[str, Any]:
    return {"type": "Linear", "weight": weight}


def affine(weight: np.ndarray, bias: np.ndarray) -> dict[str, Any]:
    return {"type": "Affine", "weight": weight, "bias": bias}


def lif(shape, tau=5e-3, r=1.0, v_leak=0.0, v_threshold=0.4, v_reset=0.0) -> dict[str, Any]:
    values = {"tau": tau, "r": r, "v_leak": v_leak, "v_threshold": v_threshold, "v_reset": v_reset}
    return {"type": "LIF", **{key: np.broadcast_to(value, shape).copy() for key, value in values.items()}}


def conv(weight: np.ndarray, bias: np.ndarray, **options: Any) -> dict[str, Any]:
    given = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1} | options
    return {"type": "Conv2d", "weight": weight, "bias": bias, **given}


def tell_input_shapes(graph: Any) -> None:
    """Give convolutions the size of their input where the graph's Input tells it; `nir.write` cannot write None."""
    for source, target in graph.edges:
        node = graph.nodes[target]
        if type(node).__name__ == "Conv2d" and node.input_shape is None:
            node.input_shape = tuple(int(n) for n in graph.nodes[source].input_type["input"][1:])
