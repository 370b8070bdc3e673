"""Questions about the nodes of a graph that `torch.export` made."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from neurodeploy.errors import UnsupportedError

from .capture import BATCH
from .wide import in_float64, wider


@dataclass(eq=False)
class Step:
    """One captured step.

    Args:
        graph: of ATen operators; every node's shape stands in its ``meta["val"]``, with a batch of `BATCH`.
        constants: what depends on nothing but parameters.
        inputs: placeholders that are fed from outside -> name of the source: ``input`` is the user's, others a host's.
    """

    graph: fx.Graph
    constants: dict[fx.Node, Tensor]
    inputs: dict[str, str]

    @staticmethod
    def of(program: torch.export.ExportedProgram) -> Step:
        """The step that `torch.export` captured."""
        return Step(program.graph, constants(program), dict.fromkeys(program.graph_signature.user_inputs, "input"))


def constants(program: torch.export.ExportedProgram) -> dict[fx.Node, Tensor]:
    """Values of all nodes that depend on nothing but parameters, buffers and constants.

    What is computed from them is computed here, operator by operator, in float64 as in the proof; parameters that are
    used as they are keep their type. Random numbers are no constants.
    """
    given = placed(program)
    found, values = dict(given), dict[fx.Node, Any]()

    def value(node: fx.Node) -> Any:
        if node not in values:  # a copy: operators may write into it
            tensor = given[node].detach().clone()
            values[node] = tensor.double() if tensor.is_floating_point() else tensor
        return values[node]

    with torch.no_grad(), in_float64():
        for node in program.graph.nodes:
            if node.op == "call_function" and _foldable(node, {*given, *values}):
                try:
                    args, named = fx.map_arg((node.args, dict(node.kwargs)), value)
                    target: Any = node.target
                    values[node] = target(*map(wider, args), **{name: wider(item) for name, item in named.items()})
                except Exception:  # an operator that does not take float64: whoever needs the value will say so
                    continue
                if isinstance(values[node], Tensor):
                    found[node] = values[node]
    return found


def _foldable(node: fx.Node, known: set[fx.Node]) -> bool:
    target: Any = node.target
    if not isinstance(target, torch._ops.OpOverload):
        return target is operator.getitem and known.issuperset(node.all_input_nodes)
    ours = target.namespace == "neurodeploy"
    return not ours and not is_random(node) and known.issuperset(node.all_input_nodes)


def is_random(node: fx.Node) -> bool:
    """Whether an operator draws random numbers."""
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())


def placed(program: torch.export.ExportedProgram) -> dict[fx.Node, Tensor]:
    """Values of the parameters, buffers and constants among the graph's placeholders."""
    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    lifted = signature.inputs_to_lifted_tensor_constants
    found: dict[fx.Node, Tensor] = {}
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in names:
            name = names[node.name]
            found[node] = program.state_dict[name] if name in program.state_dict else program.constants[name]
        elif node.op == "placeholder" and node.name in lifted:
            found[node] = program.constants[lifted[node.name]]
    return found


def arguments(node: fx.Node) -> dict[str, Any]:
    """The operator's arguments by name, defaults included."""
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    given = {a.name: a.default_value for a in schema if a.has_default_value()}
    given.update({a.name: value for a, value in zip(schema, node.args, strict=False)})
    return {**given, **node.kwargs}


def applied(node: fx.Node, source: fx.Node, known: Mapping[fx.Node, Tensor]) -> Callable[[Tensor], Tensor]:
    """An operator as a function of ``source``, in float64, its constants put in.

    Raises:
        UnsupportedError: it takes other layers besides.
    """
    if any(other is not source and other not in known for other in node.all_input_nodes):
        raise UnsupportedError(f"{node.target} of two layers", allowed="one layer, and constants")
    target: Any = node.target

    def apply(given: Tensor) -> Tensor:
        def value(other: fx.Node) -> Tensor:
            constant = given if other is source else known[other]
            return constant.double() if constant.is_floating_point() else constant

        args, named = fx.map_arg((node.args, dict(node.kwargs)), value)
        result: Tensor = target(*args, **named)
        return result

    return apply


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Shape of one sample of a value."""
    shape = tuple(int(n) for n in node.meta["val"].shape)
    if not shape or shape[0] != BATCH:
        raise UnsupportedError(
            "the batch dimension is not kept",
            found=list(shape),
            allowed="[batch, ...]",
            hint="flatten from dimension 1",
        )
    return shape[1:]


def ancestors(results: list[fx.Node]) -> set[fx.Node]:
    """The nodes that the results depend on, themselves included."""
    seen: set[fx.Node] = set()
    stack = list(results)
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(node.all_input_nodes)
    return seen


def flat(value: Any) -> list[Any]:
    """All that nested tuples and lists hold, in order."""
    return [x for item in value for x in flat(item)] if isinstance(value, (tuple, list)) else [value]


def module_of(node: fx.Node) -> str:
    """Path of the module that an operator belongs to; empty for the outermost."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return str(stack[-1][0]).partition("@")[0] if stack else ""


def leaves(nodes: Iterable[fx.Node]) -> set[str]:
    """Paths of the modules of these operators that hold no other module with one of them in it."""
    paths = {module_of(node) for node in nodes} - {""}
    return {path for path in paths if not any(other.startswith(f"{path}.") for other in paths)}


def kind_of(node: fx.Node) -> str:
    """Class name of that module."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return str(stack[-1][1]).rpartition(".")[2] if stack else ""


def where(node: fx.Node) -> str:
    """How a message names an operator: the line of the user's code, where that is known, and the module."""
    line = str(node.meta.get("custom", {}).get("line", ""))
    named = f"module {module_of(node) or '(outermost)'!r} ({kind_of(node) or 'operator'} {node.name})"
    return f"{line}: {named}" if line else named
