"""Encoders: what a module does with its input in front of the network that no chip does, as drawing spikes at random.

They stay on the host: the network begins behind them.
"""

from __future__ import annotations

from torch import fx

from ..torch_step.fxgraph import is_random
from . import operators as kinds
from .operators import packet
from .record import CALL, Recorded, line_of

_SIGNALS = frozenset(
    f"aten.{n}"
    for n in [
        "linear",
        "conv1d",
        "conv2d",
        "conv_transpose1d",
        "conv_transpose2d",
        "batch_norm",
        "addmm",
        "mm",
        "matmul",
        "add",
        "sub",
        "rsub",
        "mul",
        "div",
        "neg",
        "avg_pool1d",
        "avg_pool2d",
        "adaptive_avg_pool1d",
        "adaptive_avg_pool2d",
        "add_",
        "sub_",
        "mul_",
        "div_",
        "pad",
        "constant_pad_nd",
    ]
)
"""Operators that a network may begin with."""


def encoders_of(recorded: Recorded) -> list[tuple[fx.Node, str]]:
    """The last operators of encoders, in order, each with a name for messages; none where the network takes the input.

    An operator belongs to an encoder where it draws random numbers, compares or is not linear, and nothing of it
    depends on a neuron.
    """
    before: set[fx.Node] = {recorded.sample}
    drawn: set[fx.Node] = set()
    encoding: set[fx.Node] = set()
    for node in recorded.graph.graph.nodes:
        if node.op != "call_function":
            continue
        sources = node.all_input_nodes
        if is_random(node) and not _passes(node):
            drawn.add(node)
        elif str(node.target).startswith(CALL) or not sources:
            continue
        reached = [s for s in sources if s in before or s in drawn]
        others = [s for s in sources if s not in before and s not in drawn and s.op == "call_function"]
        if not reached and node not in drawn:
            continue
        if any(_from_neuron(s) for s in others):
            continue
        before.add(node)
        name = packet(node)
        plain = kinds.moves(node) or name in kinds.CONSTANT or name in _SIGNALS
        if node in drawn or not plain or (any(s in encoding for s in sources) and any(s in drawn for s in sources)):
            encoding.add(node)
    if not encoding:
        return []
    last = [
        node for node in encoding
        if not any(other in encoding for other in _followers(node, before))
    ]  # fmt: skip
    order = {node: i for i, node in enumerate(recorded.graph.graph.nodes)}
    return [(node, f"{packet(node)} ({line_of(node)})") for node in sorted(last, key=order.__getitem__)]


def _passes(node: fx.Node) -> bool:
    return packet(node) in kinds.SAME


def _from_neuron(node: fx.Node) -> bool:
    stack, seen = [node], set()
    while stack:
        one = stack.pop()
        if one in seen:
            continue
        seen.add(one)
        if str(one.target).startswith(CALL):
            return True
        stack.extend(one.all_input_nodes)
    return False


def _followers(node: fx.Node, within: set[fx.Node]) -> list[fx.Node]:
    found: dict[fx.Node, None] = {}
    stack = list(node.users)
    while stack:
        one = stack.pop()
        if one in found or one not in within:
            continue
        found[one] = None
        stack.extend(one.users)
    return list(found)
