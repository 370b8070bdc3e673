"""What of a recording depends on its inputs, through memory that is written into, too."""

from __future__ import annotations

import torch
from torch import fx

from ..torch_step.fxgraph import is_random, module_of
from . import operators as kinds
from .operators import packet
from .pieces import COMPARISONS
from .record import Recorded, is_getitem, line_of
from .site import CALL


def dynamic(recorded: Recorded, inputs: set[fx.Node]) -> set[fx.Node]:
    """The nodes that depend on the inputs, or that something that does is written into."""
    nodes = list(recorded.graph.graph.nodes)
    roots: dict[fx.Node, fx.Node] = {}
    for node in nodes:
        first = _shares(node)
        roots[node] = roots[first] if first is not None else node
    found, size = set(inputs), -1
    while size != len(found):
        size = len(found)
        for node in nodes:
            neuron = str(node.target).startswith(CALL)
            if node.op == "placeholder" or neuron or is_random(node) or any(n in found for n in node.all_input_nodes):
                found.add(node)
                if node.op == "call_function" and kinds.writes(node) and node.args:
                    found.add(roots[node.args[0]])
    return found


def first_comparisons(recorded: Recorded, known: set[fx.Node]) -> set[fx.Node]:
    """Comparisons of constants, where the same line compares what depends on the inputs later: a state at its start."""
    kinds_of: dict[fx.Node, tuple[str, str, str, torch.Size]] = {}
    for node in recorded.graph.graph.nodes:
        value = node.meta.get("val")
        if packet(node) not in COMPARISONS or not isinstance(value, torch.Tensor):
            continue
        if value.dim() > 1 and isinstance(node.args[0], fx.Node):
            kinds_of[node] = (line_of(node), module_of(node), packet(node), value.shape)
    later = {kind for node, kind in kinds_of.items() if node in known and kind[0]}
    return {node for node, kind in kinds_of.items() if node not in known and kind in later}


def _shares(node: fx.Node) -> fx.Node | None:
    """The argument whose memory the result of an operator is."""
    if is_getitem(node):
        return node.args[0]  # type: ignore[return-value]
    if not isinstance(node.target, torch._ops.OpOverload) or not node.args:
        return None
    given = node.target._schema.arguments
    if given and given[0].alias_info is not None and isinstance(node.args[0], fx.Node):
        return node.args[0]
    return node.args[0] if packet(node) in kinds.MAY_SHARE and isinstance(node.args[0], fx.Node) else None
