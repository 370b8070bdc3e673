"""Fixed linear maps of ANNs: each is what onnxruntime computes, as a layer, as spikes and as sigma-delta neurons."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from neurodeploy import conversion
from neurodeploy.backends.reference.run import run_network
from neurodeploy.cli import main
from neurodeploy.compiler import place
from neurodeploy.errors import UnsupportedError
from neurodeploy.exporters.ann import ann as spiking
from neurodeploy.exporters.ann import onnx_import, torch_ann
from neurodeploy.exporters.ann.ann_graph import Ann, evaluate, predict
from neurodeploy.exporters.ann.flat import flat
from neurodeploy.exporters.write_nir import write
from neurodeploy.hwsim import engine
from neurodeploy.lowering.lower import lower
from neurodeploy.network.connectivity import Conv2d, Dense
from neurodeploy.network.network import Network
from neurodeploy.nir_graph import interpreter as nir_reference
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.conventions import resolve
from neurodeploy.program.recording import Record, scores
from tests.exporters.test_onnx_import import B, W, agree, graph, normal

onnxruntime = pytest.importorskip("onnxruntime")

RNG = np.random.default_rng(1)


def scales(*values):
    return [("s", np.float32([1, 1, *values]))]


def resize(coordinates, nearest="floor", mode="nearest"):
    return [("Resize", ["x", "", "s"], {"mode": mode, "coordinate_transformation_mode": coordinates,
                                        "nearest_mode": nearest})]  # fmt: skip


def pool(**attributes):
    return [("AveragePool", ["x"], attributes)]


AROUND = ("p", np.array([0, 0, 1, 2, 0, 0, 2, 1]))
CASES = {
    "Conv, uneven and dilated": ([("Conv", ["x", "w"], {"pads": [0, 1, 2, 0], "dilations": [2, 2]})], [("w", W)]),
    "ConvTranspose": ([("ConvTranspose", ["x", "w", "b"], {"strides": [2, 3], "pads": [1, 0, 1, 0],
                                                           "output_padding": [1, 1]})],
                      [("w", normal(2, 4, 3, 3)), ("b", B)]),
    "ConvTranspose, grouped": ([("ConvTranspose", ["x", "w"], {"group": 2})], [("w", normal(2, 3, 3, 2))]),
    "pooling, padding left out": (pool(kernel_shape=[3, 3], pads=[1, 1, 1, 1]), []),
    "pooling, uneven padding": (pool(kernel_shape=[3, 2], pads=[1, 0, 0, 1], strides=[2, 1]), []),
    "pooling, ceil": (pool(kernel_shape=[4, 4], strides=[4, 4], ceil_mode=1), []),
    "pooling, ceil and padding": (pool(kernel_shape=[3, 4], strides=[2, 3], pads=[1, 1, 1, 1], ceil_mode=1), []),
    "pooling, SAME": (pool(kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_LOWER"), []),
    "mean over channels": ([("ReduceMean", ["x"], {"axes": [1]})], []),
    "mean over rows": ([("ReduceMean", ["x"], {"axes": [-1], "keepdims": 0})], []),
    "sum": ([("ReduceSum", ["x", "a"], {})], [("a", np.array([1, 3]))]),
    "linear along rows": ([("MatMul", ["x", "w"], {})], [("w", normal(6, 3))]),
    "linear along columns": ([("MatMul", ["w", "x"], {})], [("w", normal(5, 6))]),
    "Transpose": ([("Transpose", ["x"], {"perm": [0, 2, 3, 1]})], []),
    "Pad, Relu": ([("Pad", ["x", "p"], {}), ("Relu", ["t0"], {})], [AROUND]),
    "Pad with 0.5": ([("Pad", ["x", "p", "c"], {})], [AROUND, ("c", np.float32(0.5))]),
    "Pad, reflected": ([("Pad", ["x", "p"], {"mode": "reflect"})], [AROUND]),
    "Pad, edge": ([("Pad", ["x", "p"], {"mode": "edge"})], [AROUND]),
    "Pad at the end": ([("Relu", ["x"], {}), ("Pad", ["t0", "p"], {})], [AROUND]),
    "Concat": ([("Relu", ["x"], {}), ("Concat", ["x", "t0", "x"], {"axis": 1})], []),
    "Concat of rows": ([("Relu", ["x"], {}), ("Concat", ["t0", "x"], {"axis": 2})], []),
    "Slice": ([("Slice", ["x", "a", "b", "c", "d"], {})], [("a", np.array([5, 1])), ("b", np.array([-9, 5])),
                                                          ("c", np.array([2, 3])), ("d", np.array([-2, 1]))]),
    "Gather": ([("Gather", ["x", "a"], {"axis": 2})], [("a", np.array([3, 0, 3]))]),
    "DepthToSpace": ([("Conv", ["x", "w"], {}), ("DepthToSpace", ["t0"], {"blocksize": 2})], [("w", W)]),
    "Conv along rows": ([("Reshape", ["x", "s"], {}), ("Conv", ["t0", "w", "b"], {"pads": [0, 2], "strides": [2]})],
                        [("s", np.array([0, 2, 36])), ("w", normal(4, 2, 3)), ("b", B)]),
    "SpaceToDepth": ([("SpaceToDepth", ["x"], {"blocksize": 3})], []),
    "Unsqueeze": ([("Flatten", ["x"], {}), ("Unsqueeze", ["t0", "a"], {})], [("a", np.array([2]))]),
    "Reshape": ([("Reshape", ["x", "a"], {})], [("a", np.array([0, 4, 3, 6]))]),
    "Expand, Tile": ([("GlobalAveragePool", ["x"], {}), ("Expand", ["t0", "a"], {}), ("Tile", ["t1", "b"], {})],
                     [("a", np.array([1, 2, 3, 3])), ("b", np.array([1, 2, 1, 1]))]),
    "Add of shapes": ([("GlobalAveragePool", ["x"], {}), ("Add", ["x", "t0"], {}), ("Sub", ["t1", "t0"], {})], []),
    "CumSum": ([("CumSum", ["x", "a"], {"reverse": 1})], [("a", np.array(2))]),
    "Einsum": ([("Einsum", ["x", "w"], {"equation": "bchw,ow->bcho"})], [("w", normal(3, 6))]),
    "Where": ([("Where", ["m", "x", "c"], {})], [("m", normal(6, 6) > 0), ("c", np.float32(0.5))]),
    "Pow of 1": ([("Relu", ["x"], {}), ("Pow", ["t0", "a"], {})], [("a", np.float32(1))]),
    "Trilu": ([("Trilu", ["x"], {"upper": 0})], []),
    "an index computed from constants": (
        [("Range", ["a", "b", "c"], {}), ("Gather", ["x", "t0"], {"axis": 3})],
        [("a", np.array(1)), ("b", np.array(6)), ("c", np.array(2))],
    ),
    "Resize, cut off": (resize("asymmetric", mode="linear"), scales(1.5, 0.5)),
    **{f"Resize by {k} x {j}, {of}, {to}": (resize(of, to), scales(k, j))
       for k, j in ((2, 2), (3, 2), (4, 1))
       for of, to in (("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"),
                      ("half_pixel", "round_prefer_ceil"), ("pytorch_half_pixel", "round_prefer_floor"))},
    **{f"Resize by {k}, linear, {of}": (resize(of, mode="linear"), scales(k, 2))
       for k in (2, 3, 0.5) for of in ("asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners")},
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_every_map_is_what_onnxruntime_computes(name):
    agree(graph(*CASES[name]))


def test_the_parts_of_a_split_are_told_apart():
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Split", ["x"], ["a", "b", "c"], name="split", axis=2, num_outputs=3),
        helper.make_node("Sub", ["c", "a"], ["y"], name="sub"),
    ]
    values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2, 6, 6])]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    made = helper.make_graph(nodes, "split", values, [result])
    agree(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10))


def lowered(ann: Ann, x: np.ndarray, tmp_path, **how) -> tuple[Network, nir_file.NirFile]:
    write(spiking.convert(ann, x, **how), tmp_path / "net.nir")
    file = nir_file.read(tmp_path / "net.nir")
    return lower(file, resolve(file)), file


def sigma_delta_is_the_ann(ann: Ann, x: np.ndarray) -> Network:
    """With threshold 0 everything is sent, and the result is the ANN's."""
    network = conversion.convert(ann, x, relative_threshold=0.0)
    found = run_network(network, {"": conversion.encode(x, 2)}, record=Record(("v",)))
    expected = predict(ann, x).reshape(len(x), -1)
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(scores(network, found), expected, rtol=0, atol=1e-9 * scale)
    return network


def spiking_is_the_same_everywhere(ann: Ann, x: np.ndarray, tmp_path) -> None:
    """The file, read back, is run as NIR says it, as a float network, and on hwsim."""
    network, file = lowered(ann, x, tmp_path)
    inputs = {network.inputs[0].name: spiking.encode(x, 5)}
    record = Record(("v",))
    first = nir_reference.run(file, inputs, resolve(file))
    second, third = (
        run_network(network, inputs, record=record),
        engine.run(place(network, None, {}), inputs, record=record),
    )
    for population in network.populations:
        if population.external:
            continue
        v = [recording.states["v"][population.name] for recording in (first, second, third)]
        scale = max(1.0, np.abs(v[0]).max())
        np.testing.assert_allclose(v[1], v[0], rtol=0, atol=1e-9 * scale)
        np.testing.assert_allclose(v[2], v[1], rtol=0, atol=1e-9 * scale)
        if population.spiking:
            np.testing.assert_array_equal(third.spikes[population.name].dense(), second.spikes[population.name].dense())


class Neck(nn.Module):
    """A detection neck: a strided branch is brought back to its size and stands beside the other."""

    def __init__(self, **how) -> None:
        super().__init__()
        self.a, self.d = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.u, self.e, self.f = nn.Upsample(scale_factor=2, **how), nn.Conv2d(7, 3, 3, padding=1), nn.Linear(108, 3)

    def forward(self, x):
        a = F.relu(self.a(x))
        return self.f(F.relu(self.e(torch.cat([a, self.u(F.relu(self.d(a)))], 1))).flatten(1))


class Beside(nn.Module):
    """Branches beside each other only: what was a convolution stays one."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.d = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
        self.e, self.f = nn.Conv2d(7, 2, 3, padding=1), nn.Linear(72, 3)

    def forward(self, x):
        a = F.relu(self.a(x))
        return self.f(F.relu(self.e(torch.cat([a, F.relu(self.d(a))], 1))).flatten(1))


NECKS = {"nearest": {}, "bilinear": {"mode": "bilinear"},
         "corners": {"mode": "bilinear", "align_corners": True}}  # fmt: skip


@pytest.mark.parametrize("kind", [*NECKS, "beside"])
def test_a_torch_network_with_branches_is_the_same_as_spikes_and_sigma_delta(kind, tmp_path):
    torch.manual_seed(0)
    module = Beside() if kind == "beside" else Neck(**NECKS[kind])
    ann = torch_ann.from_torch(module, (1, 6, 6))
    x = RNG.random((6, 1, 6, 6)).astype(np.float32)
    with torch.no_grad():
        expected = module(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(predict(ann, x), expected, rtol=1e-4, atol=1e-5)
    network = sigma_delta_is_the_ann(ann, x)
    kinds = [type(p.connectivity) for p in network.projections]
    assert Dense in kinds and (kind != "beside" or kinds.count(Conv2d) == 4)
    spiking_is_the_same_everywhere(ann, x, tmp_path)


def test_convert_makes_both_kinds_of_file_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "neck.py").write_text(
        "import torch\nfrom torch import nn\nclass Up(nn.Module):\n"
        "    def __init__(s):\n        super().__init__(); torch.manual_seed(0)\n"
        "        s.c, s.u = nn.Conv2d(1, 2, 3, stride=2, padding=1), nn.Upsample(scale_factor=2)\n"
        "        s.f = nn.Linear(72, 3)\n"
        "    def forward(s, x): return s.f(torch.relu(s.u(s.c(x))).flatten(1))\n"
    )
    np.save("x.npy", RNG.random((5, 1, 6, 6)).astype(np.float32))
    for to, name in (("spiking", "up.nir"), ("sigma-delta", "up.ndp")):
        assert main(["convert", "neck.py:Up", "--calibration", "x.npy", "--to", to, "-o", name]) == 0
        assert (tmp_path / name).stat().st_size > 0


def random_graph(rng):
    """A random chain of linear maps and ReLUs, sometimes with a branch beside it that is put back."""
    nodes, constants, shape, name, last = [], [], [2, 4, 4], "x", None

    def put(operator, *more, **attributes):
        nonlocal name
        nodes.append((operator, [name, *more], attributes))
        name = f"t{len(nodes) - 1}"

    def known(value):
        constants.append((f"c{len(constants)}", value))
        return constants[-1][0]

    for _ in range(rng.integers(3, 8)):
        c, h, w = shape
        match rng.integers(0, 11):
            case 0:
                out = int(rng.integers(1, 4))
                weight = known(rng.normal(size=(out, c, 3, 3)).astype(np.float32) / 3)
                put("Conv", weight, known(rng.normal(size=out).astype(np.float32)), pads=[1, 1, 1, 1])
                shape = [out, h, w]
            case 1:
                put("Relu")
            case 2 if h * w <= 36:
                k, j = (int(n) for n in rng.integers(1, 3, 2))
                mode = ["nearest", "linear"][rng.integers(2)]
                put("Resize", "", known(np.float32([1, 1, k, j])), mode=mode, nearest_mode="floor",
                    coordinate_transformation_mode="asymmetric" if mode == "nearest" else "half_pixel")  # fmt: skip
                shape = [c, h * k, w * j]
            case 3:
                order = [int(n) for n in rng.permutation(3)]
                put("Transpose", perm=[0, *(n + 1 for n in order)])
                shape = [shape[n] for n in order]
            case 4 if min(h, w) >= 2:
                put("AveragePool", kernel_shape=[2, 2], strides=[2, 2], pads=[1, 0, 0, 1], ceil_mode=0)
                shape = [c, (h - 1) // 2 + 1, (w - 1) // 2 + 1]
            case 5:
                put("Pad", known(np.array([0, 0, 1, 0, 0, 0, 0, 1])))
                shape = [c, h + 1, w + 1]
            case 6 if h >= 2:
                put("Slice", known(np.array([1])), known(np.array([h])), known(np.array([2])))
                shape = [c, h - 1, w]
            case 7 if c * h * w <= 128:
                axis = int(rng.integers(1, 4))
                nodes.append(("Neg", [name], {}))
                nodes.append(("Concat", [f"t{len(nodes) - 1}", name], {"axis": axis}))
                name = f"t{len(nodes) - 1}"
                shape[axis - 1] *= 2
            case 8 if last is not None and last[1] == shape and last[0] != name:
                put("Add", last[0])
            case 9:
                put("Mul", known(rng.normal(size=(c, 1, 1)).astype(np.float32)))
            case _:
                last = (name, list(shape))
    put("Flatten")
    weight = known((rng.normal(size=(3, int(np.prod(shape)))) / np.sqrt(np.prod(shape))).astype(np.float32))
    put("Gemm", weight, known(rng.normal(size=3).astype(np.float32)), transB=1)
    return graph(nodes, constants, shape=(2, 4, 4))


@pytest.mark.parametrize("seed", range(25))
def test_random_chains_of_maps(seed, tmp_path):
    rng = np.random.default_rng(seed)
    model = random_graph(rng)
    ann = agree(model, (2, 4, 4))
    x = rng.random((3, 2, 4, 4))
    made = flat(ann)
    np.testing.assert_allclose(predict(made, x), predict(ann, x), rtol=0, atol=1e-9)
    assert all(values.shape[1:] == made.shape_of(name) for name, values in evaluate(made, x).items())
    sigma_delta_is_the_ann(ann, x)
    if seed % 3 == 0:
        spiking_is_the_same_everywhere(ann, x, tmp_path)


def test_a_map_that_is_too_large_names_its_layer(tmp_path):
    nodes = [("Resize", ["x", "", "s"], {"nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"})]
    ann = onnx_import.from_model(graph(nodes, scales(2, 2), shape=(1, 64, 64)))
    with pytest.raises(UnsupportedError, match=r"the layer 'Resize_0' is too large(.*\n)*.*make the image smaller"):
        spiking.convert(ann, RNG.random((2, 1, 64, 64)))


@pytest.mark.parametrize("nodes", [[("MatMul", ["x", "w"], {})], [("MatMul", ["w", "x"], {})]])
def test_a_matrix_that_does_not_fit_is_refused(nodes):
    with pytest.raises(UnsupportedError, match="MatMul"):
        onnx_import.from_model(graph(nodes, [("w", RNG.random((5, 3)).astype(np.float32))], shape=(2, 4, 4)))
