"""What a captured step does besides the operators that lead to its results: writes into views, neurons called twice.

`torch.export` gives an operator that writes (``y.mul_(2)``) as the new value of the tensor that it was called on. Other
tensors over the same memory (``y[:, :3] *= 2`` writes into ``y`` through a slice) are not told, so that a walk from the
results back would miss the write.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import fx

from neurodeploy.errors import UnsupportedError

from .capture import OPERATOR
from .fxgraph import where


def check_writes(graph: fx.Graph, needed: Collection[fx.Node], constant: Collection[fx.Node]) -> None:
    """Refuse writes that a walk from the results back would miss.

    Args:
        graph: one step.
        needed: the nodes that the results depend on.
        constant: nodes of which nothing arrives from the input; they are computed in the order of the graph.

    Raises:
        UnsupportedError: a write that reaches a result through another tensor than the one that it was called on.
    """
    writes: list[tuple[fx.Node, fx.Node]] = []
    for node in graph.nodes:
        if node in constant:
            continue
        for source in node.all_input_nodes if node in needed or node.op == "output" else ():
            line = _line(source)
            for write, owner in writes:
                if owner is line[-1] and write not in line and write is not node:
                    raise UnsupportedError(
                        f"{where(write)}: writes into a part of a layer's output in place",
                        found=str(write.target).rpartition(".")[0],
                        allowed="results as new tensors",
                        hint="write y = y * factor, with a factor for each neuron, in place of y[:, :3] *= 2",
                    )
        if _writes(node):
            writes.append((node, _line(node)[-1]))


def check_calls(graph: fx.Graph) -> None:
    """Refuse a step that calls a neuron layer more than once, used or not.

    Raises:
        UnsupportedError: names the layer.
    """
    called: set[str] = set()
    for node in graph.nodes:
        if str(node.target).startswith(OPERATOR):
            path = str(node.args[1])
            if path in called:
                raise UnsupportedError(
                    f"the neuron {path!r} is called more than once in a step",
                    allowed="once: forward computes one time step",
                    hint="move a loop over time out of forward, or use a neuron of its own for each place",
                )
            called.add(path)


def _line(node: fx.Node) -> list[fx.Node]:
    """The node, and those whose memory it shares, up to the one that made it."""
    found = [node]
    while _first(found[-1]) is not None and isinstance(found[-1].args[0], fx.Node):
        found.append(found[-1].args[0])
    return found


def _first(node: fx.Node) -> Any:
    """What the operator's schema says about the memory of its first argument."""
    given = node.target._schema.arguments if isinstance(node.target, torch._ops.OpOverload) else ()
    return given[0].alias_info if given and node.args else None


def _writes(node: fx.Node) -> bool:
    """Whether an operator writes into its first argument (dropout in evaluation mode writes what is there)."""
    first = _first(node)
    return first is not None and first.is_write and "dropout" not in str(node.target)
