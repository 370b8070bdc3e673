"""Nodes, constants and neuron functions of an ONNX graph that is being written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

import neurodeploy
from neurodeploy.errors import BackendError
from neurodeploy.network.arrays import Array
from neurodeploy.network.neurons import Lif

from .neuron import DOMAIN, IR_VERSION, OPSET, function, function_name, parameters

Shape = Sequence[str | int]


@dataclass(eq=False)
class Nodes:
    """What a graph consists of so far.

    Args:
        number: its floats, float32 or float64.
        listed: nodes in order.
        constants: initialisers by name.
        functions: neurons whose functions it calls, by name of the function.
        size: bytes of the constants.
        taken: names of all values, those of graphs around it and in it included.
    """

    number: np.dtype[Any]
    listed: list[NodeProto] = field(default_factory=list)
    constants: dict[str, TensorProto] = field(default_factory=dict)
    functions: dict[str, Lif] = field(default_factory=dict)
    size: int = 0
    taken: set[str] = field(default_factory=set)
    _names: dict[tuple[str, str], str] = field(default_factory=dict)
    _held: dict[str, list[tuple[str, Array]]] = field(default_factory=dict)

    def inner(self) -> Nodes:
        """For a graph in this one, whose values need names of their own."""
        return Nodes(self.number, taken=self.taken)

    def unique(self, owner: str, suffix: str) -> str:
        """``owner.suffix``, with underscores behind it if another value is called so."""
        key = (owner, suffix)
        if key not in self._names:
            self._names[key] = self._free(f"{owner}.{suffix}" if suffix else owner)
        return self._names[key]

    def _free(self, name: str) -> str:
        while name in self.taken or f"{name}.next" in self.taken:
            name += "_"
        self.taken.add(name)
        return name

    def state(self, owner: str, suffix: str) -> str:
        """As `unique`, of a value that goes from step to step; the next one is called ``NAME.next``."""
        name = self.unique(owner, suffix)
        self.taken.add(f"{name}.next")
        return name

    def add(self, operator: str, *inputs: str, outputs: list[str] | None = None, **attributes: Any) -> str:
        """Append a node and return its first output."""
        results = outputs or [self.unique(f"t{len(self.listed)}", operator.lower())]
        domain = DOMAIN if operator in self.functions else ""
        self.listed.append(helper.make_node(operator, list(inputs), results, results[0], domain=domain, **attributes))
        return results[0]

    def constant(self, name: str, values: Array) -> str:
        """Store an initialiser, once where it is asked for again, and return its name."""
        held = self._held.setdefault(name, [])
        for key, other in held:
            if other.dtype == values.dtype and np.array_equal(other, values):
                return key
        key = self._free(name)
        held.append((key, values))
        self.constants[key] = numpy_helper.from_array(np.asarray(values, order="C"), key)
        self.size += values.nbytes
        return key

    def whole(self, name: str, *values: int) -> str:
        """A constant of whole numbers, ``[values]``."""
        return self.constant(name, np.array(values, np.int64))

    def neuron(self, population: str, neuron: Lif, takes: Sequence[str], gives: Sequence[str]) -> None:
        """One step of a population.

        Args:
            takes: its current, its ``u`` where it is filtered, and its ``v``.
            gives: what it sends, and the next ``u`` and ``v``.
        """
        operator = function_name(neuron)
        self.functions.setdefault(operator, neuron)
        values = parameters(neuron, self.number).items()
        named = [self.constant(f"{population}.{key}", value) for key, value in values]
        self.add(operator, *takes, *named, outputs=list(gives))

    @property
    def type(self) -> int:
        """ONNX's number of its floats."""
        return int(helper.np_dtype_to_tensor_dtype(self.number))

    def value(self, name: str, shape: Shape, kind: int | None = None) -> Any:
        """An input or output of the graph, of floats where no ``kind`` is given."""
        return helper.make_tensor_value_info(name, kind or self.type, list(shape))


def finished(graph: GraphProto, neurons: Iterable[Lif], of: str, said: dict[str, str] | None = None) -> ModelProto:
    """The model of a graph, checked.

    Args:
        neurons: whose functions it calls.
        of: name of what it computes, for the message.
        said: metadata.

    Raises:
        BackendError: it is not valid.
    """
    model = helper.make_model(
        graph, functions=[function(neuron) for neuron in neurons],
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)],
        producer_name="neurodeploy", producer_version=neurodeploy.__version__, ir_version=IR_VERSION,
    )  # fmt: skip
    if said:
        helper.set_model_props(model, said)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise BackendError(
            f"the ONNX model of {of!r} is not valid", found=str(error), hint="report this as a bug"
        ) from error
    return model


def prefix(graph: GraphProto, with_it: str) -> None:
    """Rename every value of a graph without subgraphs."""
    for node in graph.node:
        node.input[:] = [with_it + name for name in node.input]
        node.output[:] = [with_it + name for name in node.output]
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = with_it + value.name
