"""ANNs from ONNX: every operator computes what onnxruntime computes, or is refused by name; files of strangers."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from neurodeploy.errors import InvalidInputError, MissingFileError, UnsupportedError
from neurodeploy.exporters.ann import onnx_import, torch_ann
from neurodeploy.exporters.ann.ann_graph import predict

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

RNG = np.random.default_rng(0)
IMAGE = (2, 6, 6)


def constant(name, value):
    return numpy_helper.from_array(np.asarray(value), name)


def graph(nodes, constants=(), shape=IMAGE, output=None, opset=17, inputs=("x",)):
    """A model ``x -> y`` of single-output nodes ``(operator, inputs, attributes)``; the last one's result is y."""
    made = []
    for index, (operator, given, attributes) in enumerate(nodes):
        name = "y" if index == len(nodes) - 1 else f"t{index}"
        made.append(helper.make_node(operator, given, [name], name=f"{operator}_{index}", **attributes))
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", *shape]) for n in inputs]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, output)
    whole = helper.make_graph(made, "test", values, [result], [constant(*c) for c in constants])
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def agree(model, shape=IMAGE):
    x = RNG.normal(size=(5, *shape)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": x})
    ann = onnx_import.from_model(model)
    found = predict(ann, x)
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=1e-4, atol=1e-5)
    return ann


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


W, B = normal(4, 2, 3, 3), normal(4)
FLAT = ("Flatten", ["x"], {})
POSITIVE = np.abs(normal(2)) + 0.5
CASES = {
    "Conv": ([("Conv", ["x", "w", "b"], {"pads": [1, 1, 1, 1]})], [("w", W), ("b", B)]),
    "Conv strided, dilated": ([("Conv", ["x", "w"], {"strides": [2, 1], "dilations": [1, 2]})], [("w", W)]),
    "Conv grouped": ([("Conv", ["x", "w"], {"group": 2})], [("w", normal(4, 1, 3, 3))]),
    "Conv, uneven pads": ([("Conv", ["x", "w"], {"pads": [0, 1, 2, 0]})], [("w", W)]),
    "Conv, SAME_UPPER": ([("Conv", ["x", "w"], {"auto_pad": "SAME_UPPER", "strides": [2, 2]})], [("w", W)]),
    "Conv, SAME_LOWER": ([("Conv", ["x", "w"], {"auto_pad": "SAME_LOWER", "strides": [2, 2]})], [("w", W)]),
    "Pad, Conv": ([("Pad", ["x", "p"], {}), ("Conv", ["t0", "w"], {})],
                  [("p", np.array([0, 0, 1, 0, 0, 0, 2, 1])), ("w", W)]),
    "Gemm": ([FLAT, ("Gemm", ["t0", "w", "b"], {"transB": 1, "alpha": 0.5, "beta": 2.0})],
             [("w", normal(3, 72)), ("b", normal(3))]),
    "MatMul, Add": ([FLAT, ("MatMul", ["t0", "w"], {}), ("Add", ["t1", "b"], {})],
                    [("w", normal(72, 3)), ("b", normal(3))]),
    "Relu": ([("Relu", ["x"], {})], []),
    "Clip": ([("Clip", ["x", "a", "b"], {})], [("a", np.float32(0)), ("b", np.float32(0.7))]),
    "Clip below": ([("Clip", ["x", "a"], {})], [("a", np.float32(0))]),
    "AveragePool": ([("AveragePool", ["x"], {"kernel_shape": [2, 3], "strides": [2, 1]})], []),
    "AveragePool, padded": (
        [("AveragePool", ["x"], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1})], [],
    ),
    "AveragePool, uneven": (
        [("AveragePool", ["x"], {"kernel_shape": [3, 3], "pads": [0, 1, 1, 1], "count_include_pad": 1})], [],
    ),
    "GlobalAveragePool": ([("GlobalAveragePool", ["x"], {})], []),
    "ReduceMean": ([("ReduceMean", ["x"], {"axes": [2, 3], "keepdims": 0})], []),
    "BatchNormalization": ([("BatchNormalization", ["x", "g", "o", "m", "v"], {})],
                           [("g", normal(2)), ("o", normal(2)), ("m", normal(2)), ("v", POSITIVE)]),
    "residual Add": ([("Relu", ["x"], {}), ("Conv", ["t0", "w"], {"pads": [1, 1, 1, 1]}), ("Add", ["t0", "t1"], {})],
                     [("w", normal(2, 2, 3, 3))]),
    "Sum": ([("Relu", ["x"], {}), ("Neg", ["x"], {}), ("Sum", ["t0", "t1", "t0"], {})], []),
    "Sub": ([("Relu", ["x"], {}), ("Sub", ["t0", "x"], {})], []),
    "Sub from a constant": ([("Sub", ["a", "x"], {})], [("a", normal(2, 1, 1))]),
    "Mul, Div": ([("Mul", ["x", "a"], {}), ("Div", ["t0", "b"], {})],
                 [("a", normal(1, 2, 1, 1)), ("b", np.float32(3))]),
    "Reshape": ([("Reshape", ["x", "s"], {})], [("s", np.array([0, -1]))]),
    "Transpose that moves nothing": ([("Transpose", ["x"], {"perm": [0, 1, 2, 3]}), ("Relu", ["t0"], {})], []),
    "Squeeze": ([("GlobalAveragePool", ["x"], {}), ("Squeeze", ["t0", "a"], {}), ("Relu", ["t1"], {})],
                [("a", np.array([2, 3]))]),
    "Dropout, Identity": ([("Dropout", ["x"], {}), ("Identity", ["t0"], {}), ("Relu", ["t1"], {})], []),
    "MaxPool, Relu": ([("MaxPool", ["x"], {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 0, 1],
                                           "dilations": [1, 2], "ceil_mode": 1}), ("Relu", ["t0"], {})], []),
    "Relu, MaxPool": ([("Relu", ["x"], {}), ("MaxPool", ["t0"], {"kernel_shape": [3, 3], "strides": [2, 2],
                                                               "auto_pad": "SAME_UPPER"})], []),
    "GlobalMaxPool": ([("Conv", ["x", "w"], {}), ("Relu", ["t0"], {}), ("GlobalMaxPool", ["t1"], {})],
                      [("w", normal(3, 2, 3, 3))]),
    "two pools": ([("Relu", ["x"], {}), ("MaxPool", ["t0"], {"kernel_shape": [2, 2]}),
                   ("MaxPool", ["t1"], {"kernel_shape": [2, 2]}), ("Add", ["t2", "t2"], {})], []),
    "a ReLU that others read": ([("Relu", ["x"], {}), ("MaxPool", ["t0"], {"kernel_shape": [3, 3], "pads": [1] * 4}),
                                 ("Add", ["t0", "t1"], {})], []),
    "norm behind the pool": ([("Conv", ["x", "w"], {}), ("MaxPool", ["t0"], {"kernel_shape": [2, 2]}),
                              ("BatchNormalization", ["t1", "g", "o", "m", "v"], {}), ("Relu", ["t2"], {})],
                             [("w", normal(3, 2, 3, 3)), ("g", np.abs(normal(3))), ("o", normal(3)), ("m", normal(3)),
                              ("v", np.abs(normal(3)))]),
    "weights of int8": ([FLAT, ("DequantizeLinear", ["q", "s", "z"], {}), ("Gemm", ["t0", "t1"], {"transB": 1})],
                        [("q", RNG.integers(-128, 128, (3, 72)).astype(np.int8)), ("s", np.float32(0.01)),
                         ("z", np.int8(3))]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_every_operator_is_what_onnxruntime_computes(name):
    agree(graph(*CASES[name], opset=21 if "int8" in name else 17))


def test_softmax_behind_the_last_layer_does_not_change_the_decision():
    ann = onnx_import.from_model(
        graph([FLAT, ("Gemm", ["t0", "w"], {}), ("Softmax", ["t1"], {})], [("w", normal(72, 3))])
    )
    assert "Softmax behind the last layer is left out" in ann.notes["softmax"]
    assert [type(layer.operation).__name__ for layer in ann.layers] == ["Flatten", "Affine"]


REFUSED = {
    "MaxPool": ([("MaxPool", ["x"], {"kernel_shape": [2, 2]})], [], "pooling 'MaxPool_0'", "pool the data before"),
    "MaxPool of a sum": ([("Relu", ["x"], {}), ("Add", ["x", "t0"], {}), ("MaxPool", ["t1"], {"kernel_shape": [2, 2]}),
                          ("Neg", ["t2"], {})], [], "the max pooling", "put a ReLU beside it"),
    "MaxPool of 5 axes": ([FLAT, ("MaxPool", ["t0"], {"kernel_shape": [2, 2]})], [], "(MaxPool)", "of other axes"),
    "Sigmoid": ([("Sigmoid", ["x"], {})], [], "node 'Sigmoid_0' (Sigmoid)", "train with ReLU"),
    "LeakyRelu": ([("LeakyRelu", ["x"], {})], [], "(LeakyRelu)", "cannot be negative"),
    "Softmax inside": ([("Softmax", ["x"], {}), ("Relu", ["t0"], {})], [], "(Relu)", "as the last operator only"),
    "product of results": ([("Mul", ["x", "x"], {})], [], "(Mul)", "a product of two results"),
    "division by a result": ([("Div", ["a", "x"], {})], [("a", np.float32(1))], "(Div)", "a division by a result"),
    "Clip from -1": ([("Clip", ["x", "a"], {})], [("a", np.float32(-1))], "(Clip)", "from 0 (ReLU, ReLU6)"),
    "constants": ([("Erf", ["a"], {}), ("Mul", ["x", "t0"], {})], [("a", normal(1))], "(Erf)", "in a way that is not"),
    "weight from the input": ([("Relu", ["x"], {}), ("Conv", ["x", "t0"], {})], [], "(Conv)", "from the input"),
    "Conv on features": ([FLAT, ("Conv", ["t0", "w"], {})], [("w", W)], "(Conv)", "not over images"),
    "pooling features": ([FLAT, ("AveragePool", ["t0"], {"kernel_shape": [2, 2]})], [], "(AveragePool)", "over images"),
    "global pooling of features": ([FLAT, ("GlobalAveragePool", ["t0"], {})], [], "(GlobalAveragePool)", "over images"),
    "Gemm, transposed input": ([FLAT, ("Gemm", ["t0", "w"], {"transA": 1})], [("w", B)], "(Gemm)", "or trans"),
    "MatMul from the right": ([FLAT, ("MatMul", ["w", "t0"], {})], [("w", normal(3, 1))], "(MatMul)", "on the right"),
    "norm in training": ([("BatchNormalization", ["x", "g", "o", "m", "v"], {"training_mode": 1})],
                         [("g", normal(2)), ("o", normal(2)), ("m", normal(2)), ("v", POSITIVE)],
                         "(BatchNormalization)", "in training mode"),
    "Clip from 0 to 0": ([("Clip", ["x", "a", "a"], {})], [("a", np.float32(0))], "(Clip)", "clipping from 0 to 0"),
    "a square": ([("Einsum", ["x", "x"], {"equation": "bchw,bchw->bchw"})], [], "(Einsum)", "no synapse or neuron"),
    "a power": ([("Pow", ["x", "a"], {})], [("a", np.float32(2))], "(Pow)", "no synapse or neuron"),
    "dropout in training": ([("Dropout", ["x", "r", "t"], {})], [("r", np.float32(0.5)), ("t", np.array(True))],
                            "(Dropout)", "in training mode"),
    "another domain": ([("Mystery", ["x"], {"domain": "com.example"})], [], "(Mystery)", "of the domain 'com.example'"),
    "cubic": ([("Resize", ["x", "", "s"], {"mode": "cubic"})], [("s", np.float32([1, 1, 2, 2]))], "(Resize)",
              "nearest or linear"),
    "between two pixels": ([("Resize", ["x", "", "s"], {"nearest_mode": "floor"})], [("s", np.float32([1, 1, 3, 3]))],
                           "(Resize)", "on the border between two old ones"),
    "cropped": ([("Resize", ["x", "r", "s"], {"coordinate_transformation_mode": "tf_crop_and_resize"})],
                [("r", np.float32([0, 0, 0, 0, 1, 1, 1, 1])), ("s", np.float32([1, 1, 2, 2]))], "(Resize)", "tf_crop"),
    "the batch turned": ([("Transpose", ["x"], {"perm": [1, 0, 2, 3]})], [], "(Transpose)", "samples of a batch"),
    "concat of samples": ([("Concat", ["x", "x"], {"axis": 0})], [], "(Concat)", "samples of a batch"),
    "MaxPool behind a matrix": (
        [("Transpose", ["x"], {"perm": [0, 2, 3, 1]}), ("MaxPool", ["t0"], {"kernel_shape": [2, 2]})], [],
        "the max pooling", "average pooling",
    ),
    "far too large": ([("Resize", ["x", "", "s"], {})], [("s", np.float32([1, 1, 9e4, 9e4]))], "(Resize)",
                      "16,777,216"),
    "far too much": ([("Tile", ["x", "r"], {})], [("r", np.array([1, 1, 99999, 99999]))], "(Tile)", "16,777,216"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_the_name_of_the_node(name):
    nodes, constants, where, why = REFUSED[name]
    with pytest.raises(UnsupportedError) as caught:
        onnx_import.from_model(graph(nodes, constants))
    assert where in str(caught.value) and why in str(caught.value)


def test_attributes_that_ask_for_much_memory_are_refused_first():
    """A few bytes of attributes: 256 MB for a kernel grown over uneven padding."""
    side = 4096
    uneven = {"pads": [4000, 4000, 0, 0], "strides": [side] * 2}
    model = graph([("Conv", ["x", "w"], uneven)], [("w", normal(2, 1, 3, 3))], shape=(1, side, side))
    with pytest.raises(UnsupportedError, match="a kernel of 32,048,018 values for the padding"):
        onnx_import.from_model(model)


INVALID = {
    "channels": ([("Conv", ["x", "w"], {})], [("w", normal(4, 3, 3, 3))], "does not fit its input"),
    "bias": ([("Conv", ["x", "w", "b"], {})], [("w", W), ("b", normal(3))], "does not fit its input"),
    "features": ([FLAT, ("MatMul", ["t0", "w"], {})], [("w", normal(7, 3))], "does not fit its input"),
    "nan": ([FLAT, ("MatMul", ["t0", "w"], {})], [("w", np.full((72, 3), np.nan, np.float32))], "weight is not finite"),
    "zero": ([("Div", ["x", "a"], {})], [("a", np.float32(0))], "divides by zero"),
    "broadcast": ([("Mul", ["x", "a"], {})], [("a", normal(4, 1, 1))], "has parameters that do not fit"),
    "values": ([("Reshape", ["x", "s"], {})], [("s", np.array([-1, 71]))], "has parameters that do not fit"),
    "order": ([("Transpose", ["x"], {"perm": [0, 1, 2]})], [], "has parameters that do not fit"),
    "kernel": ([("AveragePool", ["x"], {"kernel_shape": [0, 2]})], [], "has parameters that do not fit"),
}


@pytest.mark.parametrize("name", INVALID)
def test_numbers_that_do_not_fit(name):
    nodes, constants, message = INVALID[name]
    with pytest.raises(InvalidInputError, match=rf"node '.*{message}"):
        onnx_import.from_model(graph(nodes, constants))


def test_no_layer_and_no_result():
    with pytest.raises(UnsupportedError, match="the network has no layer"):
        onnx_import.from_model(graph([("Identity", ["x"], {})]))
    with pytest.raises(UnsupportedError, match="the output 'y' is not the result of a layer"):
        onnx_import.from_model(graph([("Add", ["a", "a"], {})], [("a", normal(1))]))


def test_two_inputs_are_refused():
    with pytest.raises(UnsupportedError, match="does not have one input and one output"):
        onnx_import.from_model(graph([("Add", ["x", "z"], {})], inputs=("x", "z")))


def test_open_shapes_are_asked_for():
    model = graph([("Relu", ["x"], {})])
    for dimension in model.graph.input[0].type.tensor_type.shape.dim:
        dimension.dim_param = "n"
    with pytest.raises(InvalidInputError, match=r"the shape of the input 'x' is not known\n.*\n.*\n.*--shape 1,28,28"):
        onnx_import.from_model(model)
    assert onnx_import.from_model(model, IMAGE).input_shape == IMAGE
    with pytest.raises(InvalidInputError, match="the input 'x' has another shape"):
        onnx_import.from_model(graph([("Relu", ["x"], {})]), (3, 6, 6))


@pytest.mark.parametrize("dynamo", [False, True])
def test_a_torch_network_through_a_file(dynamo, tmp_path):
    if dynamo:
        pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU6(), nn.AvgPool2d(2), nn.Dropout(),
        nn.Conv2d(4, 8, 3, groups=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3), nn.Softmax(1),
    ).eval()  # fmt: skip
    with torch.no_grad():
        module[1].running_mean.uniform_(-1, 1)
        module[1].running_var.uniform_(0.5, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (torch.zeros(1, *IMAGE),), tmp_path / "net.onnx", dynamo=dynamo)
    x = torch.randn(7, *IMAGE)
    with torch.no_grad():
        expected = module[:-1](x).numpy()
    for ann in (onnx_import.load(tmp_path / "net.onnx"), torch_ann.from_torch(module, IMAGE)):
        np.testing.assert_allclose(predict(ann, x.numpy()), expected, rtol=1e-4, atol=1e-5)


def test_files_that_are_not_onnx(tmp_path):
    with pytest.raises(MissingFileError, match=r"none\.onnx"):
        onnx_import.load(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(InvalidInputError, match=r"text\.onnx is not an ONNX file"):
        onnx_import.load(tmp_path / "text.onnx")
    data = graph(*CASES["Gemm"]).SerializeToString()
    (tmp_path / "cut.onnx").write_bytes(data[: len(data) // 2])
    with pytest.raises(InvalidInputError, match=r"cut\.onnx"):
        onnx_import.load(tmp_path / "cut.onnx")


def test_a_tensor_that_claims_more_than_it_holds(tmp_path):
    model = graph(*CASES["Gemm"])
    model.graph.initializer[0].dims[0] = 1 << 40
    (tmp_path / "bomb.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InvalidInputError, match="tensor 'w' does not hold what its shape says"):
        onnx_import.load(tmp_path / "bomb.onnx")


def test_data_in_other_files(tmp_path):
    model = graph(*CASES["Gemm"], output=["batch", 3])
    x = normal(3, *IMAGE)
    expected = predict(onnx_import.from_model(model), x)
    onnx.save(model, tmp_path / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0)
    np.testing.assert_array_equal(predict(onnx_import.load(tmp_path / "net.onnx"), x), expected)
    (tmp_path / "net.data").rename(tmp_path / "other.data")
    with pytest.raises(MissingFileError, match="the data of 'w' is not there"):
        onnx_import.load(tmp_path / "net.onnx")
    outside = onnx.load(tmp_path / "net.onnx", load_external_data=False)
    (tmp_path / "model").mkdir()
    for tensor in outside.graph.initializer:
        tensor.external_data[0].value = "../other.data"
    (tmp_path / "model" / "net.onnx").write_bytes(outside.SerializeToString())
    with pytest.raises(InvalidInputError, match="the data of 'w' is outside the model's folder"):
        onnx_import.load(tmp_path / "model" / "net.onnx")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("length", "12", "the data of 'w' is cut off or of another size"),
        ("offset", "-4", "the data of 'w' is cut off or of another size"),
        ("offset", "far", "the data of 'w' has an unreadable place"),
        ("location", "/etc/hosts", "the data of 'w' is outside the model's folder"),
    ],
)
def test_data_that_is_not_where_it_should_be(key, value, message, tmp_path):
    model = graph(*CASES["Gemm"], output=["batch", 3])
    onnx.save(model, tmp_path / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0)
    wrong = onnx.load(tmp_path / "net.onnx", load_external_data=False)
    entries = {entry.key: entry for entry in wrong.graph.initializer[0].external_data}
    entries[key].value = value
    (tmp_path / "wrong.onnx").write_bytes(wrong.SerializeToString())
    with pytest.raises(InvalidInputError, match=message):
        onnx_import.load(tmp_path / "wrong.onnx")
    with pytest.raises(InvalidInputError, match=r"lies in another file|has an unreadable place"):
        onnx_import.onnx_file.parse((tmp_path / "wrong.onnx").read_bytes(), "bytes")


def test_an_empty_model(tmp_path):
    (tmp_path / "empty.onnx").write_bytes(onnx.ModelProto().SerializeToString())
    with pytest.raises(InvalidInputError, match=r"empty\.onnx is not an ONNX file"):
        onnx_import.load(tmp_path / "empty.onnx")


def test_functions_that_call_themselves(tmp_path):
    model = graph([("Loop", ["x"], {"domain": "own"})])
    body = helper.make_node("Loop", ["a"], ["b"], domain="own")
    model.functions.append(helper.make_function("own", "Loop", ["a"], ["b"], [body], [helper.make_opsetid("own", 1)]))
    model.opset_import.append(helper.make_opsetid("own", 1))
    (tmp_path / "f.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InvalidInputError, match=r"function 'Loop' calls itself|not valid ONNX"):
        onnx_import.load(tmp_path / "f.onnx")
