"""Small valid ``.onnx`` files, and mutations that change what they say. See `tests.mutants`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

Rng = np.random.Generator
OPERATORS = ("Gemm", "MatMul", "Relu", "Conv", "AveragePool", "GlobalAveragePool", "Add", "Mul", "Flatten", "Reshape",
             "BatchNormalization", "Transpose", "Concat", "Softmax", "MaxPool", "Gather", "Slice", "Cast", "Pad",
             "Clip", "Constant", "Loop", "If", "Scan", "Nonsense", "")  # fmt: skip
SIZES = (0, -1, 1, 2, 5, 1024, 2**31 - 1, 2**40, -(2**63), 2**63 - 1)

ATTRIBUTES = {
    "Conv": {"kernel_shape": "ints", "strides": "ints", "pads": "ints", "dilations": "ints", "group": "int",
             "auto_pad": "text"},
    "AveragePool": {"kernel_shape": "ints", "strides": "ints", "pads": "ints", "ceil_mode": "int",
                    "count_include_pad": "int", "auto_pad": "text"},
    "Gemm": {"alpha": "float", "beta": "float", "transA": "int", "transB": "int"},
    "BatchNormalization": {"epsilon": "float", "momentum": "float", "training_mode": "int"},
    "Reshape": {"allowzero": "int"},
}  # fmt: skip


@cache
def models() -> tuple[bytes, ...]:
    """A perceptron, and a convolutional network with batch normalisation, pooling and a residual sum."""
    rng = np.random.default_rng(0)

    def tensors(**values: np.ndarray) -> list[TensorProto]:
        return [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in values.items()]

    def model(nodes: list, shape: list[int], initializers: list, outputs: int) -> bytes:
        ends = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *s])
            for name, s in (("x", shape), ("y", [outputs]))
        ]
        graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], initializers)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(made)
        data: bytes = made.SerializeToString()
        return data

    node = helper.make_node
    mlp = model(
        [node("Gemm", ["x", "w", "b"], ["h"], transB=1), node("Relu", ["h"], ["r"]), node("Gemm", ["r", "v"], ["y"])],
        [6], tensors(w=rng.normal(size=(5, 6)), b=rng.normal(size=5), v=rng.normal(size=(5, 3))), 3,
    )  # fmt: skip
    kernel, side = rng.normal(size=(4, 2, 3, 3)), rng.normal(size=(4, 4, 1, 1))
    shape = numpy_helper.from_array(np.array([0, -1], np.int64), "shape")
    cnn = model(
        [
            node("Conv", ["x", "k"], ["c"], pads=[1, 1, 1, 1]),
            node("BatchNormalization", ["c", "g", "o", "m", "s"], ["n"]),
            node("Relu", ["n"], ["r"]),
            node("Conv", ["r", "e"], ["d"]),
            node("Add", ["d", "r"], ["a"]),
            node("Relu", ["a"], ["q"]),
            node("AveragePool", ["q"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Reshape", ["p", "shape"], ["f"]),
            node("MatMul", ["f", "w"], ["y"]),
        ],
        [2, 6, 6],
        [*tensors(k=kernel, e=side, g=np.ones(4), o=np.zeros(4), m=np.zeros(4), s=np.ones(4),
                  w=rng.normal(size=(36, 3))), shape], 3,
    )  # fmt: skip
    return mlp, cnn


def _in_model(change: Callable[[Rng, ModelProto], None]) -> Callable[[Rng, bytes], bytes]:
    def apply(rng: Rng, data: bytes) -> bytes:
        model = ModelProto()
        model.ParseFromString(data)
        change(rng, model)
        changed: bytes = model.SerializeToString()
        return changed

    return apply


def _tensor(rng: Rng, model: ModelProto) -> None:
    if not model.graph.initializer:
        return
    tensor = model.graph.initializer[int(rng.integers(len(model.graph.initializer)))]
    match int(rng.integers(6)):
        case 0 if tensor.dims:
            tensor.dims[int(rng.integers(len(tensor.dims)))] = int(rng.choice(SIZES))
        case 1:
            tensor.data_type = int(rng.integers(0, 25))
        case 2:
            tensor.raw_data = tensor.raw_data[: int(rng.integers(len(tensor.raw_data) + 1))]
        case 3:
            array = np.frombuffer(tensor.raw_data[: len(tensor.raw_data) // 4 * 4], np.float32).copy()
            array[rng.random(array.shape) < 0.3] = rng.choice([np.nan, np.inf, 1e38, -1e38, 0])
            tensor.raw_data = array.tobytes()
        case 4:
            tensor.data_location = TensorProto.EXTERNAL
            place = str(
                rng.choice(
                    ["../../../etc/passwd", "/etc/passwd", "", "x.bin", "\udc80".encode("utf-8", "replace").decode()]
                )
            )
            tensor.external_data.add(key="location", value=place)
        case _:
            tensor.dims.append(int(rng.choice(SIZES)))


def _node(rng: Rng, model: ModelProto) -> None:
    nodes = model.graph.node
    if not nodes:
        return
    node = nodes[int(rng.integers(len(nodes)))]
    names = [name for n in nodes for name in (*n.input, *n.output)] + ["nobody", ""]
    match int(rng.integers(7)):
        case 0:
            node.op_type = str(rng.choice(OPERATORS))
        case 1 if node.input:
            node.input[int(rng.integers(len(node.input)))] = str(rng.choice(names))
        case 2:
            node.input.append(str(rng.choice(names)))
        case 3:
            del node.input[:]
        case 4 if node.output:
            node.output[0] = str(rng.choice(names))
        case 5:
            nodes.remove(node)
        case _:
            node.domain = str(rng.choice(["", "ai.onnx.ml", "nobody"]))


def _attribute(rng: Rng, model: ModelProto) -> None:
    """An attribute that the operator knows, with another value; now and then one that it does not know."""
    nodes = [node for node in model.graph.node if node.op_type in ATTRIBUTES]
    if not nodes:
        return
    node = nodes[int(rng.integers(len(nodes)))]
    known = ATTRIBUTES[node.op_type if rng.random() < 0.9 else str(rng.choice(list(ATTRIBUTES)))]
    name = str(rng.choice(list(known)))
    for index, attribute in enumerate(node.attribute):
        if attribute.name == name:
            del node.attribute[index]
            break
    likely = rng.random() < 0.6
    numbers = [int(n) for n in rng.choice((0, 1, 2, 3) if likely else SIZES, size=4)]
    length = 4 if name == "pads" else 2
    values: dict[str, object] = {
        "ints": numbers[:length] if likely else numbers[: int(rng.integers(1, 5))],
        "int": numbers[0],
        "float": float(rng.choice([np.nan, 0.0, -1.0, 1e30, 0.5])),
        "text": str(rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET", "ELSE"])),
    }
    node.attribute.append(helper.make_attribute(name, values[known[name]]))


def _ends(rng: Rng, model: ModelProto) -> None:
    graph = model.graph
    ends = graph.input if rng.random() < 0.7 else graph.output
    if not ends:
        return
    end = ends[int(rng.integers(len(ends)))]
    dims = end.type.tensor_type.shape.dim
    match int(rng.integers(5)):
        case 0 if dims:
            dims[int(rng.integers(len(dims)))].dim_value = int(rng.choice(SIZES))
        case 1:
            dims.add().dim_value = int(rng.choice(SIZES))
        case 2:
            del dims[:]
        case 3:
            end.name = "other"
        case _:
            end.type.tensor_type.elem_type = int(rng.integers(0, 25))


def _model(rng: Rng, model: ModelProto) -> None:
    match int(rng.integers(5)):
        case 0:
            model.opset_import[0].version = int(rng.choice([0, 1, 5, 13, 99, -1]))
        case 1:
            model.ir_version = int(rng.choice([0, 1, 99, -1]))
        case 2 if model.graph.initializer:
            model.graph.initializer.pop()
        case 3:  # a function that calls itself
            function = helper.make_function(
                "d", "f", ["x"], ["y"], [helper.make_node("f", ["x"], ["y"], domain="d")],
                [helper.make_opsetid("", 17), helper.make_opsetid("d", 1)],
            )  # fmt: skip
            model.functions.append(function)
            model.opset_import.add(domain="d", version=1)
            if model.graph.node:
                model.graph.node[0].op_type, model.graph.node[0].domain = "f", "d"
        case _:
            order = rng.permutation(len(model.graph.node))
            nodes = [onnx.NodeProto.FromString(model.graph.node[int(i)].SerializeToString()) for i in order]
            del model.graph.node[:]
            model.graph.node.extend(nodes)


MUTATIONS: dict[str, Callable[[Rng, bytes], bytes]] = {
    "tensors": _in_model(_tensor), "nodes": _in_model(_node), "attributes": _in_model(_attribute),
    "inputs and outputs": _in_model(_ends), "versions and order": _in_model(_model),
}  # fmt: skip
