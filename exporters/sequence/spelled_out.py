"""Operators of a recording that are several in one, spelled out: attention, and products by their indices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from .operators import packet
from .site import CALL
from .terms import flat

_ATTENTION = "aten.scaled_dot_product_attention"
_SPELLED = frozenset({_ATTENTION, *(
    f"aten.{name}" for name in (
        "einsum", "tensordot", "inner", "outer", "dot", "vdot", "bilinear", "baddbmm", "addbmm", "linalg_multi_dot",
    )
)})  # fmt: skip


def spell_out(graph: fx.Graph) -> None:
    """Put what they are made of in the place of such operators on several values that depend on the input, in place."""
    moving: set[fx.Node] = set()
    for node in list(graph.nodes):
        sources = [one for one in flat((node.args, tuple(node.kwargs.values()))) if one in moving]
        if node.op == "placeholder" or str(node.target).startswith(CALL) or sources:
            moving.add(node)
        if node.op == "call_function" and packet(node) in _SPELLED and len(sources) > 1:
            made = _made(node)
            if made is not None:
                moving.update(_put(graph, node, made))
    graph.lint()


def _function(node: fx.Node) -> Callable[..., Any] | None:
    target: Any = node.target
    if packet(node) == "aten.bilinear":
        return _bilinear
    if packet(node) != _ATTENTION:
        return lambda *args, **named: target(*args, **named)
    given = dict(zip(("query", "key", "value", "attn_mask", "dropout_p", "is_causal"), node.args, strict=False))
    given |= node.kwargs
    if given.get("dropout_p", 0.0):
        return None

    def attention(*args: Any, **named: Any) -> Any:
        found = torch.ops.aten._scaled_dot_product_attention_math(*args, **named)
        return found[0]

    return attention


def _bilinear(first: Tensor, second: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    found = torch.einsum("...i,oij,...j->...o", first, weight, second)
    return found if bias is None else found + bias


def _made(node: fx.Node) -> fx.GraphModule | None:
    """The operator as a graph of its tensors, in order; None where it draws random numbers."""
    function = _function(node)
    if function is None:
        return None
    tensors = node.all_input_nodes

    def run(*values: Tensor) -> Any:
        of = dict(zip(tensors, values, strict=True))
        args, named = fx.map_arg((node.args, dict(node.kwargs)), of.__getitem__)
        return function(*args, **named)

    with torch.no_grad():
        return make_fx(run, tracing_mode="fake")(
            *(torch.empty(tuple(n.meta["val"].shape), dtype=n.meta["val"].dtype) for n in tensors)
        )


def _put(graph: fx.Graph, node: fx.Node, made: fx.GraphModule) -> list[fx.Node]:
    """Copy a graph in front of the operator that it stands for, and take that out; what was put there."""
    values: dict[fx.Node, Any] = dict(
        zip((n for n in made.graph.nodes if n.op == "placeholder"), node.all_input_nodes, strict=True)
    )
    owner: Any = graph.owning_module
    kept = {key: node.meta[key] for key in ("custom", "nn_module_stack") if key in node.meta}
    with graph.inserting_before(node):
        for inner in made.graph.nodes:
            if inner.op == "output":
                node.replace_all_uses_with(fx.map_arg(inner.args[0], values.__getitem__))
            elif inner.op == "get_attr":
                name = f"_spelled_{node.name}_{inner.target}"
                owner.register_buffer(name, getattr(made, str(inner.target)), persistent=False)
                values[inner] = graph.get_attr(name)
                values[inner].meta = {**inner.meta, **kept}
            elif inner.op == "call_function":
                values[inner] = graph.node_copy(inner, values.__getitem__)
                values[inner].meta = {**inner.meta, **kept}
    graph.erase_node(node)
    return [one for one in values.values() if isinstance(one, fx.Node)]
