"""The table of what a host computes: operators of ONNX, and in which numbers onnxruntime has them, by running each."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from neurodeploy.backends.host.graph import Graph
from neurodeploy.errors import BackendError
from neurodeploy.exporters.sequence.hosted.onnx_operators import OPERATORS
from neurodeploy.network.arrays import Array
from neurodeploy.network.host import HostInput, HostOutput, HostStage

from .tables import Table

KINDS = {"float64": TensorProto.DOUBLE, "float32": TensorProto.FLOAT, "int64": TensorProto.INT64,
         "int32": TensorProto.INT32}  # fmt: skip

X = np.arange(2 * 3 * 4 * 4).reshape(2, 3, 4, 4) % 5 + 1
"""What each gets, in its own type."""

_INT = partial(np.array, dtype=np.int64)

_ALONE = (
    "Abs", "Ceil", "Cos", "Erf", "Exp", "Floor", "Identity", "Log", "Neg", "Reciprocal", "Relu", "Round", "Sigmoid",
    "Sign", "Sin", "Sqrt", "Tanh", "Transpose",
)  # fmt: skip
_OF_TWO = (
    "Add", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "MatMul", "Max", "Min", "Mul", "Pow",
    "Sub",
)  # fmt: skip
_AXES, _AXIS = ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd"), ("ArgMax", "ArgMin", "LogSoftmax", "Softmax")

CASES: Mapping[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    **{name: ((), {}) for name in _ALONE}, **{name: (("x",), {}) for name in _OF_TWO},
    **{name: ((), {"axes": [1]}) for name in _AXES}, **{name: ((), {"axis": 1}) for name in _AXIS},
    "AveragePool": ((), {"kernel_shape": [2, 2]}), "MaxPool": ((), {"kernel_shape": [2, 2]}),
    "Conv": (("weights",), {}), "Concat": (("x",), {"axis": 1}), "CumSum": ((_INT(1),), {}),
    "Expand": ((_INT([2, 3, 4, 4]),), {}), "Gather": ((_INT([0, 2]),), {"axis": 1}),
    "GatherElements": ((np.zeros((2, 3, 4, 4), np.int64),), {"axis": 1}), "Pad": ((_INT([0] * 7 + [1]),), {}),
    "ReduceSum": ((_INT([1]),), {}), "Reshape": ((_INT([2, -1]),), {}),
    "Slice": ((_INT([0]), _INT([2]), _INT([1])), {}), "TopK": ((_INT([2]),), {"axis": 1}),
    "Where": (("flags", "x"), {}),
}  # fmt: skip
"""Operator -> what it gets beside ``x``, and its attributes."""


def _given(what: Any, kind: int, held: list[Any]) -> str:
    if isinstance(what, str) and what == "x":
        return "x"
    number = helper.tensor_dtype_to_np_dtype(kind)
    array: Array = (np.ones((2, 3, 1, 1), number) if isinstance(what, str) and what == "weights"
                    else np.ones((2, 3, 4, 4), bool) if isinstance(what, str) else what)  # fmt: skip
    name = f"held_{len(held)}"
    held.append(helper.make_tensor(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape, array.ravel()))
    return name


def runs(operator: str, kind: int) -> bool:
    """Whether a stage that is this operator runs."""
    more, attributes = CASES[operator]
    held: list[Any] = []
    names = [_given(one, kind, held) for one in more]
    names = [names[0], "x", *names[1:]] if operator == "Where" else ["x", *names]
    outputs = ["y", "places"] if operator == "TopK" else ["y"]
    node = helper.make_node(operator, names, outputs, **attributes)
    graph = helper.make_graph(
        [node], "one", [helper.make_tensor_value_info("x", kind, ["batch", 3, 4, 4])],
        [helper.make_empty_tensor_value_info("y")], held,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    stage = HostStage("one", np.frombuffer(model.SerializeToString(), np.uint8), (HostInput("x", "x"),),
                      (HostOutput("y"),), "behind")  # fmt: skip
    try:
        Graph(stage)({"x": X.astype(np.float64)})
    except BackendError:
        return False
    return True


def _cells(operator: str) -> list[str]:
    return ["yes" if runs(operator, kind) else "-" for kind in KINDS.values()]


def _torch() -> list[str]:
    return [", ".join(f"`{name}`" for name in sorted(OPERATORS))]


TABLES = (
    Table("reference-host.md", "host operators", ("operator", *KINDS),
          {f"`{name}`": partial(_cells, name) for name in sorted(CASES)}),
    Table("reference-host.md", "torch on the host", ("of PyTorch", "once modules are spelled out"),
          {"operators": _torch}),
)  # fmt: skip
