"""A function of torch as an ONNX graph for any number of samples: traced operator by operator, each as ONNX says it.

It is traced for a number of samples that is a prime which no layer has, so that where it turns up in a shape it is the
number of samples, and the graph takes any. All numbers are float64, in which onnxruntime has every operator that is
used here (`onnx_operators`); where it has none, as for convolutions, it is said by others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, fx

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.arrays import Array

from ...torch_step.wide import in_float64
from ..operators import packet
from ..record import is_getitem

SAMPLES = 100_003
"""Number of samples for which a function is traced; a prime."""

OPSET, IR = 17, 9


@dataclass(frozen=True)
class Port:
    """An input or output of a graph.

    Args:
        name: of it.
        shape: of a sample in a step.
        steps: number of steps that it has, in front of the samples; 0 for a value without time.
    """

    name: str
    shape: tuple[int, ...]
    steps: int = 0

    @property
    def dims(self) -> tuple[int, ...]:
        """Of the tensor, with `SAMPLES`."""
        return (*((self.steps,) if self.steps else ()), SAMPLES, *self.shape)

    def said(self, timed: bool = False) -> Any:
        """As ONNX declares it."""
        names = [*((self.steps,) if self.steps else ("time",) if timed else ()), "batch", *self.shape]
        return helper.make_tensor_value_info(self.name, TensorProto.DOUBLE, names)


@dataclass(eq=False)
class Graph:
    """An ONNX graph that is being written.

    Args:
        name: of it.
        traced: the operators.
        takes: its inputs.
        operators: name of an operator of PyTorch -> what writes it.
        timed: whether it takes any number of steps in front of the samples, and computes each by itself.
    """

    name: str
    traced: fx.GraphModule
    takes: list[Port]
    operators: Mapping[str, Callable[[Graph, fx.Node], Any]]
    timed: bool = False
    _nodes: list[Any] = field(default_factory=list)
    _held: list[Any] = field(default_factory=list)
    _names: dict[fx.Node, Any] = field(default_factory=dict)
    _constants: dict[Any, str] = field(default_factory=dict)
    _values: dict[fx.Node, Any] = field(default_factory=dict)
    _samples: str = ""

    def run(self, gives: Sequence[Port]) -> None:
        """Write all operators."""
        inputs = iter(self.takes)
        for node in self.traced.graph.nodes:
            if node.op == "placeholder":
                port = next(inputs)
                self._names[node] = self._flat(port) if self.timed else port.name
            elif node.op == "get_attr":
                self._values[node] = getattr(self.traced, str(node.target)).detach()
            elif node.op == "call_function":
                if all(n in self._values for n in node.all_input_nodes) and not _of_samples(node):
                    args, named = fx.map_arg((node.args, dict(node.kwargs)), self._values.__getitem__)
                    with in_float64():
                        self._values[node] = node.target(*args, **named)
                    continue
                if is_getitem(node):
                    self._names[node] = self._names[node.args[0]][node.args[1]]
                    continue
                plain = packet(node).partition(".")[2]
                write = self.operators.get(plain.removesuffix("_") if writes(plain) else plain)
                if write is None or (writes(plain) and _shares(node.args[0])):
                    raise UnsupportedError(
                        f"{packet(node)} of the host cannot be said in ONNX", allowed=", ".join(sorted(self.operators))
                    )
                self._names[node] = write(self, node)
                if writes(plain):
                    self._names[node.args[0]] = self._names[node]
            elif node.op == "output":
                for port, value in zip(gives, node.args[0], strict=True):
                    self.add(*self._as_given(port, self.of(value)), name=port.name)

    def model(self, gives: Sequence[Port]) -> Any:
        """The whole."""
        graph = helper.make_graph(
            self._nodes, self.name, [port.said(self.timed) for port in self.takes],
            [port.said(self.timed) for port in gives], self._held,
        )  # fmt: skip
        made = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR, producer_name="neurodeploy"
        )
        onnx.checker.check_model(made)
        return made

    def _flat(self, port: Port) -> str:
        """An input whose steps are samples."""
        return self.add("Reshape", [port.name, self.constant(np.array([-1, *port.shape], np.int64))])

    def _as_given(self, port: Port, value: str) -> tuple[str, list[str]]:
        """What puts a value into an output: as it is, or with its steps again."""
        if not self.timed:
            return "Identity", [value]
        ends = [self.constant(np.array([n], np.int64)) for n in (0, 2)]
        lead = self.add("Slice", [self.add("Shape", [self.takes[0].name]), *ends])
        return "Reshape", [value, self.add("Concat", [lead, self.constant(np.array(port.shape, np.int64))], axis=0)]

    # Values

    def of(self, value: Any, kind: torch.dtype | None = None) -> str:
        """The name of an argument: of a node, or of a number, which becomes a constant of ``kind``."""
        if isinstance(value, fx.Node) and value in self._values:
            held_array = _array(self._values[value])
            return self.constant(held_array if kind is None else held_array.astype(_numpy(kind)))
        if isinstance(value, fx.Node):
            found: str = self._names[value]
            held = value.meta["val"].dtype
            return found if kind is None or kind == held else self.cast(found, kind)
        array = np.asarray(value)
        return self.constant(array.astype(_numpy(kind)) if kind is not None else array)

    def held(self, value: Any) -> Tensor:
        """The value of an argument that is constant.

        Raises:
            UnsupportedError: it is none.
        """
        if value not in self._values:
            raise UnsupportedError("an index that is computed from the input", allowed="constants")
        found: Tensor = self._values[value]
        return found

    def constant(self, array: Array) -> str:
        """The name of an array that stands in the graph."""
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = f"constant_{len(self._held)}"
            self._held.append(numpy_helper.from_array(np.array(array, order="C"), name))
            self._constants[key] = name
        return self._constants[key]

    def add(self, kind: str, inputs: Sequence[str], name: str = "", **attributes: Any) -> str:
        """An operator of ONNX with one result; its name."""
        made = name or f"{kind.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [made], **attributes))
        return made

    def two(self, kind: str, inputs: Sequence[str], **attributes: Any) -> tuple[str, str]:
        """An operator of ONNX with two results; their names."""
        made = (f"{kind.lower()}_{len(self._nodes)}", f"{kind.lower()}_{len(self._nodes)}_places")
        self._nodes.append(helper.make_node(kind, list(inputs), list(made), **attributes))
        return made

    def cast(self, name: str, kind: torch.dtype) -> str:
        """A value in another type."""
        return self.add("Cast", [name], to=_said(kind))

    def samples(self, times: int = 1) -> str:
        """So many times the number of samples, int64 ``[1]``."""
        if not self._samples:
            port = self.takes[0]
            place = 1 if port.steps else 0
            shape = self.add("Shape", [self._names[self._first()] if self.timed else port.name])
            self._samples = self.add("Gather", [shape, self.constant(np.array([place]))], axis=0)
        if times == 1:
            return self._samples
        return self.add("Mul", [self._samples, self.constant(np.array([times]))])

    def _first(self) -> fx.Node:
        found: fx.Node = next(n for n in self.traced.graph.nodes if n.op == "placeholder")
        return found

    def shape(self, dims: Sequence[int], *, free: bool = True) -> str:
        """A shape as int64, whatever the number of samples.

        Args:
            free: whether the dimension with the samples may be left open (Reshape).
        """
        places = [d for d, n in enumerate(dims) if n % SAMPLES == 0 and n]
        if free and len(places) == 1:
            return self.constant(np.array([-1 if d in places else int(n) for d, n in enumerate(dims)], np.int64))
        if not places:
            return self.constant(np.array([int(n) for n in dims], np.int64))
        parts = [self.samples(n // SAMPLES) if d in places else self.constant(np.array([int(n)], np.int64))
                 for d, n in enumerate(dims)]  # fmt: skip
        return self.add("Concat", parts, axis=0)


def writes(name: str) -> bool:
    """Whether an operator writes into what it is given, by its name."""
    return name.endswith("_") and not name.endswith("__")


def _shares(node: Any) -> bool:
    """Whether others may see what is written into a value."""
    made = node.op == "call_function" and torch.Tag.inplace_view not in node.target.tags
    views = any(one.alias_info is not None for one in node.target._schema.returns) if made else True
    return views and not writes(packet(node))


def _of_samples(node: fx.Node) -> bool:
    """Whether a constant has as many numbers as there are samples."""
    value = node.meta.get("val")
    return isinstance(value, Tensor) and any(int(n) % SAMPLES == 0 and n for n in value.shape)


def dims_of(value: Any) -> tuple[int, ...]:
    """Shape of a node's value, with `SAMPLES`."""
    return tuple(int(n) for n in value.meta["val"].shape)


def size_of(value: Any) -> int:
    """Numbers in a sample of it."""
    return math.prod(n for n in dims_of(value) if n % SAMPLES)


def _array(value: Tensor) -> Array:
    array: Array = value.detach().cpu().numpy()
    return (
        array.astype(np.float64)
        if array.dtype.kind == "f"
        else array.astype(np.int64)
        if array.dtype.kind in "iu"
        else array
    )


def _numpy(kind: torch.dtype) -> Any:
    return np.bool_ if kind == torch.bool else np.float64 if kind.is_floating_point else np.int64


def _said(kind: torch.dtype) -> int:
    """A type as ONNX numbers it; there are three: fractions, whole numbers and flags."""
    found: int = helper.np_dtype_to_tensor_dtype(np.dtype(_numpy(kind)))
    return found
