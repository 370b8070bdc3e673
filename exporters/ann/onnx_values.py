"""What an ONNX graph says in its tensors, attributes and names, checked: small questions of `onnx_import`."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

from neurodeploy.errors import InvalidInputError
from neurodeploy.network.arrays import Array

LARGEST = 1 << 24
"""Values of the largest layer, and of the largest constant that is computed."""


KNOWN = (
    "Abs", "Add", "And", "Cast", "Ceil", "Clip", "Concat", "ConstantOfShape", "DequantizeLinear", "Div", "Equal", "Exp",
    "Expand", "Flatten", "Floor", "Gather", "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Log",
    "MatMul", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Pow", "QuantizeLinear", "Range", "Reciprocal",
    "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "Relu", "Reshape", "Round", "Sigmoid", "Sign",
    "Size", "Slice", "Softmax", "Sqrt", "Squeeze", "Sub", "Tanh", "Tile", "Transpose", "Unsqueeze", "Where",
)  # fmt: skip
"""Operators that are computed when all their inputs are known."""

HINT = "replace it by linear layers and ReLU, or compute it in the code around the network"
HINTS = {
    "Softmax": "keep it behind the last layer only, where it does not change the decision",
    "Sigmoid": "train with ReLU: a spike rate can follow no other curve",
    "Tanh": "train with ReLU: a spike rate can follow no other curve",
    "Gelu": "train with ReLU: a spike rate can follow no other curve",
    "Swish": "train with ReLU: a spike rate can follow no other curve",
    "HardSwish": "train with ReLU: a spike rate can follow no other curve",
    "LeakyRelu": "train with ReLU: a spike rate cannot be negative",
    "Resize": "resize by a whole factor (torch.nn.Upsample: nearest or bilinear)",
    "Upsample": "resize by a whole factor (torch.nn.Upsample: nearest or bilinear)",
    "QuantizeLinear": "quantise the weights only; activations become spikes",
    "DequantizeLinear": "quantise the weights only; activations become spikes",
}
"""Operator -> what to do about it."""


@dataclass(frozen=True)
class Ref:
    """The result of a layer, ``shape`` with the batch; what `Pad` put around it; what ended it (Softmax)."""

    layer: str
    shape: tuple[int, ...]
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    final: str = ""


def array(tensor: onnx.TensorProto) -> Array:
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except Exception as error:  # unknown types, sizes that do not fit
        raise InvalidInputError(f"tensor {tensor.name!r} cannot be read", found=first_line(error)) from error


def computed(node: NodeProto, given: list[Array], versions: Iterable[onnx.OperatorSetIdProto]) -> Array:
    """The result of a node whose inputs are all known."""
    return given[0] if node.op_type == "Identity" else outcomes(node, given, versions)[0]


def size_of(node: NodeProto, given: Sequence[Array]) -> int:
    """A bound of how many values a node makes of known ones."""
    match node.op_type:
        case "ConstantOfShape":
            return math.prod(int(n) for n in given[0].ravel())
        case "Range":
            start, limit, step = (float(value.ravel()[0]) for value in given)
            return int(min(abs((limit - start) / step) if step else math.inf, 2 * LARGEST))
        case "Tile" | "Expand":
            return given[0].size * math.prod(max(int(n), 1) for n in given[1].ravel())
        case "MatMul":
            return given[0].size * max(given[1].size, 1)
        case "Gather":
            return given[0].size * max(given[1].size, 1)
        case "QuantizeLinear" | "DequantizeLinear" | "Concat" | "Reshape" | "Slice":
            return sum(value.size for value in given)
        case _ if len(given) > 1 and node.op_type not in ("Squeeze", "Unsqueeze") and "Reduce" not in node.op_type:
            return math.prod(np.broadcast_shapes(*(value.shape for value in given)))
        case _:
            return sum(value.size for value in given)


def outcomes(
    node: NodeProto, given: Sequence[Array | None], versions: Iterable[onnx.OperatorSetIdProto]
) -> list[Array]:
    """All results of a node for these inputs (None for one that is left out), by onnx's own reference."""
    from onnx.reference import ReferenceEvaluator

    names = ["" if value is None else f"x{i}" for i, value in enumerate(given)]
    known = {name: value for name, value in zip(names, given, strict=True) if value is not None}
    alone = NodeProto()
    alone.CopyFrom(node)
    alone.input[:], alone.output[:] = names, [f"y{i}" for i in range(len(node.output))]
    inputs = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), list(v.shape))
        for n, v in known.items()
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in alone.output]
    graph = helper.make_graph([alone], "known", inputs, outputs)
    model = helper.make_model(graph, opset_imports=list(versions))
    results: Any = ReferenceEvaluator(model).run(None, known)
    return [np.asarray(result) for result in results]


def constant(attributes: Mapping[str, Any]) -> Array:
    (value,) = attributes.values()
    return array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def input_shape(value: onnx.ValueInfoProto, sample_shape: tuple[int, ...] | None) -> tuple[int, ...]:
    """Shape of the input with the batch, 1 where that is open."""
    dims = value.type.tensor_type.shape.dim
    shape = [d.dim_value if d.HasField("dim_value") else None for d in dims]
    if sample_shape is not None:
        fits = not shape or (
            len(shape) == len(sample_shape) + 1
            and all(a in (None, b) for a, b in zip(shape[1:], sample_shape, strict=True))
        )
        if not fits or any(n < 1 for n in sample_shape):
            raise InvalidInputError(
                f"the input {value.name!r} has another shape", found=["batch", *shape[1:]], allowed=list(sample_shape)
            )
        shape = [shape[0] if shape else None, *sample_shape]
    if len(shape) < 2 or len(shape) > 8 or any(n is None for n in shape[1:]):
        raise InvalidInputError(
            f"the shape of the input {value.name!r} is not known",
            found=["?" if n is None else n for n in shape] or "nothing",
            allowed="[batch, ...] with numbers behind the batch",
            hint="give the shape of a sample (--shape 1,28,28)",
        )
    full = tuple(int(n or 1) for n in shape)
    if any(n < 1 for n in full) or math.prod(full[1:]) > LARGEST:
        raise InvalidInputError(f"the input {value.name!r} has an unusable shape", found=list(full))
    return full


def pair(values: Any) -> tuple[int, int]:
    """Two positive numbers of an attribute; (1, 1) if it is not given."""
    pair = [1, 1] if values is None else [int(value) for value in values]
    if len(pair) != 2 or min(pair) < 1:
        raise ValueError(f"{pair} is not two positive numbers")
    return pair[0], pair[1]


def extent(
    size: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, int], padding: tuple[int, int], dilation: Any
) -> tuple[int, int]:
    found = [(size[a] + 2 * padding[a] - dilation[a] * (kernel[a] - 1) - 1) // stride[a] + 1 for a in (0, 1)]
    return found[0], found[1]


def module_of(node: NodeProto) -> str:
    """Path of the torch module, as torch's exporters leave it in the node; empty if there is none."""
    said = {entry.key: entry.value for entry in node.metadata_props}.get("pkg.torch.onnx.name_scopes")
    if said:
        try:
            scopes = ast.literal_eval(said)
            return str(scopes[-2]) if len(scopes) > 1 else ""
        except (ValueError, SyntaxError, IndexError, TypeError, MemoryError, RecursionError):
            return ""
    if not node.name.startswith("/"):
        return ""
    path: list[str] = []
    for part in node.name.split("/")[1:-1]:
        if path and part.startswith(f"{path[-1]}."):
            path.pop()
        path.append(part)
    return ".".join(path)


def plain_name(name: str) -> str:
    """A name that NIR and HDF5 take."""
    return name.strip("/").replace("/", ".").replace("\0", "")


def first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
