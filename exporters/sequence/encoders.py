"""Encoders: what a module does with its input in front of the network that no chip does, as drawing spikes at random.

They stay on the host: the network begins behind them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from ..torch_step.fxgraph import is_random
from . import operators as kinds
from .operators import packet
from .record import Recorded, line_of
from .site import CALL

_LINEAR = frozenset(
    f"aten.{n}"
    for n in ["add", "sub", "rsub", "mul", "div", "neg", "add_", "sub_", "mul_", "div_", "dropout", "dropout_"]
)
"""Elementwise operators that a network may begin with."""

_PRODUCTS = frozenset(("aten.mul", "aten.div"))

_COMPARISONS = frozenset(f"aten.{n}" for n in ("gt", "ge", "lt", "le", "heaviside"))

_WEIGHTED = frozenset(
    f"aten.{n}" for n in ["linear", "conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d", "batch_norm"]
)

_CODES = frozenset(
    f"aten.{n}"
    for n in ["cumsum", "cumprod", "sort", "argsort", "topk", "multinomial", "scatter", "scatter_", "one_hot"]
)
"""Operators of encoders that are not elementwise."""


def encoders_of(recorded: Recorded) -> list[tuple[fx.Node, str]]:
    """The last operators of encoders, in order, each with a name for messages; none where the network takes the input.

    An operator belongs to an encoder where it draws random numbers, compares or is not linear, and nothing of it
    depends on a neuron or on a layer with weights.
    """
    before: set[fx.Node] = {recorded.sample}
    encoding: set[fx.Node] = set()
    layers: set[fx.Node] = set()
    for node in recorded.graph.graph.nodes:
        if node.op != "call_function":
            continue
        name, sources = packet(node), node.all_input_nodes
        plain = name.removesuffix("_")
        if str(node.target).startswith(CALL) or name in _WEIGHTED or any(s in layers for s in sources):
            layers.add(node)
            continue
        drawn = is_random(node) and name not in kinds.SAME and name not in kinds.SAME_IN_PLACE
        if not drawn and not any(s in before for s in sources):
            continue
        before.add(node)
        if drawn or name in _CODES or (plain in kinds.ELEMENTWISE and name not in _LINEAR and plain not in kinds.SAME):
            encoding.add(node)
        elif not kinds.moves(node) and any(s in encoding for s in sources) and any(map(is_random, sources)):
            encoding.add(node)  # noise that is added, say
        elif plain in _PRODUCTS and len(set(sources) & before) > 1 and any(s in encoding for s in sources):
            encoding.add(node)  # a sign times a spike, say
    if not encoding:
        return []
    last = [
        node for node in encoding
        if not any(other in encoding for other in _followers(node, before))
    ]  # fmt: skip
    order = {node: i for i, node in enumerate(recorded.graph.graph.nodes)}
    return [(node, f"{packet(node)} ({line_of(node)})") for node in sorted(last, key=order.__getitem__)]


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


def draws(recorded: Recorded) -> bool:
    """Whether the encoders draw random numbers."""
    stack, seen = [node for node, _ in encoders_of(recorded)], set()
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(node.all_input_nodes)
    return any(is_random(node) for node in seen)


def encode(recorded: Recorded, sample: Tensor, seed: int) -> list[Tensor]:
    """What the encoders give for a sample, in order, with the random numbers that follow ``seed``."""
    nodes = [node for node, _ in encoders_of(recorded)]
    wanted: set[fx.Node] = set()
    stack = list(nodes)
    while stack:
        node = stack.pop()
        if node not in wanted:
            wanted.add(node)
            stack.extend(node.all_input_nodes)
    values: dict[fx.Node, Any] = {}
    left = set(nodes)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for node in recorded.graph.graph.nodes:
            if node is recorded.sample:
                values[node] = sample
            elif node.op == "get_attr":
                values[node] = getattr(recorded.graph, str(node.target))
            elif node.op == "call_function" and (node in wanted or is_random(node)):
                target: Any = node.target
                args, named = fx.map_arg((node.args, dict(node.kwargs)), values.__getitem__)
                values[node] = target(*args, **named)
            left.discard(node)
            if not left:
                break
    return [values[node] for node in nodes]


def compares(recorded: Recorded) -> str:
    """Where an encoder compares what is computed from the input, in front of the network: the line, or empty."""
    before: set[fx.Node] = {recorded.sample}
    for node in recorded.graph.graph.nodes:
        if node.op != "call_function" or not any(source in before for source in node.all_input_nodes):
            continue
        if str(node.target).startswith(CALL) or packet(node) in _WEIGHTED:
            continue
        before.add(node)
        if packet(node) in _COMPARISONS:
            return line_of(node) or "forward"
    return ""
