"""Multiply-accumulates and other operations of host stages, against arithmetic beside them; and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper

from neurodeploy import backends
from neurodeploy.backends.host.work import Shaped, host_work, multiplications, other_operations
from neurodeploy.errors import UnsupportedError
from neurodeploy.network.host import HostInput, HostOutput, HostStage
from neurodeploy.program.host_work import HostWork, Wiring
from neurodeploy.program.recording import Record
from tests.conformance import hybrids
from tests.conformance.cases import N

T, B = hybrids.STEPS, hybrids.SAMPLES
ATTENTION = {"Transpose": 3 * T * N, "Softmax": T * T}
"""Three transpositions of T x N, and a weight for each pair of steps."""
GATE = {"ReduceMean": T * N, "Sub": T * N, "Sigmoid": T * N}
"""A mean of N numbers, and two operations on each, in every step."""


def ran(name: str, arithmetic: str = "loihi") -> HostWork:
    case = hybrids.build(name, arithmetic)
    record = Record(Wiring.of(case.program.network).states())
    return host_work(case.program, case.inputs, backends.get("reference")(case.program, case.inputs, record=record))


@pytest.mark.parametrize("arithmetic", ["loihi", "float"])
@pytest.mark.parametrize(
    ("name", "macs", "operations"),
    [
        # softmax(q k) q: T x T scores of N products each, and T x N sums over T steps.
        ("attention between two phases", {"attention": 2 * T * T * N}, {"attention": ATTENTION}),
        ("a gate in every step", {"gate": 0}, {"gate": GATE}),
        (
            "an encoder before the first step", {"encoder": 0},
            {"encoder": dict.fromkeys(("Mul", "ReduceMean", "Greater", "Cast"), T * N)},
        ),
        ("a loop through the host", {"hold": 0}, {"hold": GATE}),
        (
            "a loop through two stages, one behind the other in each step", {"hold": 0, "gate": 0},
            {"hold": GATE, "gate": GATE},
        ),
        (
            "two phases, a gate, and a reader behind",
            {"votes": 0, "late": 2 * T * T * N, "early": 2 * T * T * N, "gate": 0},
            {
                "votes": {"Tanh": T * N, "ReduceMean": T * N, "Add": N, "Softmax": N, "sum over time": T * N},
                "late": ATTENTION, "early": ATTENTION, "gate": GATE,
            },
        ),
    ],
)  # fmt: skip
def test_work_of_the_hybrids(
    name: str, arithmetic: str, macs: dict[str, int], operations: dict[str, dict[str, int]]
) -> None:
    """Sums over B samples, of each the same."""
    work = ran(name, arithmetic)
    assert {s.name: s.macs for s in work.stages} == {stage: B * n for stage, n in macs.items()}
    each = {s.name: {kind: n / B for kind, n in s.operations.items()} for s in work.stages}
    assert each == operations
    assert {s.name: s.runs for s in work.stages} == {s.name: T if s.when == "step" else 1 for s in work.stages}
    often = work.counts()
    assert often["host_macs"] == sum(macs.values())
    assert often["host_operations"] == sum(sum(kinds.values()) for kinds in operations.values())


def test_bytes_of_each_stage_alone() -> None:
    """Frames of 1 byte (spikes), 9 (numbers of 12 bits) and 18 (potentials), T of each."""
    found = {s.name: (s.phase, s.reads / B, s.gives / B) for s in ran("two phases, a gate, and a reader behind").stages}
    assert found == {
        "votes": (2, T * (1 + 18), 0), "late": (1, T, 9 * T), "early": (0, T, 9 * T), "gate": (1, T, 9 * T),
    }  # fmt: skip
    assert [(s.phase, s.reads) for s in ran("an encoder before the first step").stages] == [(-1, 0)]


def node_counts(
    kind: str, takes: dict[str, tuple[int, ...]], gives: int = 1, weights: dict[str, Any] | None = None, **how: Any
) -> tuple[int, int]:
    """MACs and other operations of one node, whose inputs are of these shapes."""
    floats = {name: shape for name, shape in takes.items() if name not in (weights or {})}
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in floats.items()]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    names = ["y", *(f"y{i}" for i in range(1, gives))]
    node = helper.make_node(kind, list(takes), names, **how)
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in (weights or {}).items()]
    graph = helper.make_graph([node], "one", inputs, outputs, held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    stage = HostStage(
        "one", np.frombuffer(model.SerializeToString(), np.uint8),
        tuple(HostInput(name, "p") for name in floats), (HostOutput("y"),), "behind",
    )  # fmt: skip
    shaped = Shaped(stage)
    shapes = shaped({name: np.ones(shape) for name, shape in floats.items()})
    return multiplications(shaped.nodes[0], shapes), other_operations(shaped.nodes[0], shapes)


@pytest.mark.parametrize(
    ("kind", "takes", "how", "macs"),
    [
        ("MatMul", {"a": (2, 3, 4), "b": (4, 5)}, {}, 2 * 3 * 5 * 4),
        ("MatMul", {"a": (7,), "b": (7,)}, {}, 7),
        ("Gemm", {"a": (3, 4), "b": (4, 5), "c": (5,)}, {}, 3 * 5 * 4),
        ("Gemm", {"a": (4, 3), "b": (5, 4)}, {"transA": 1, "transB": 1}, 3 * 5 * 4),
        # 4 channels of 6 x 6 by 3 x 3 kernels over 2 channels, in two groups: 8 channels of 4 x 4.
        ("Conv", {"x": (1, 4, 6, 6), "w": (8, 2, 3, 3)}, {"group": 2}, 8 * 4 * 4 * 2 * 9),
        # Padding counts: 6 x 6 again.
        ("Conv", {"x": (1, 2, 6, 6), "w": (8, 2, 3, 3)}, {"pads": [1, 1, 1, 1]}, 8 * 6 * 6 * 2 * 9),
        ("ConvTranspose", {"x": (1, 3, 5, 5), "w": (3, 2, 2, 2)}, {"strides": [2, 2]}, 3 * 5 * 5 * 2 * 4),
        ("Einsum", {"a": (2, 3, 4), "b": (2, 4, 5)}, {"equation": "bij,bjk->bik"}, 2 * 3 * 4 * 5),
        ("Einsum", {"a": (2, 3, 4), "b": (4, 5)}, {"equation": "...j,jk->...k"}, 2 * 3 * 4 * 5),
        ("Einsum", {"a": (3,), "b": (4,), "c": (5,)}, {"equation": "i,j,k->ijk"}, 2 * 3 * 4 * 5),
        ("Einsum", {"a": (3, 4)}, {"equation": "ij->ji"}, 0),
        # 6 steps, 2 samples, 3 inputs, 4 units: four gates of (3 + 4) weights a unit.
        ("LSTM", {"x": (6, 2, 3), "w": (1, 16, 3), "r": (1, 16, 4)}, {"hidden_size": 4}, 6 * 2 * 16 * (3 + 4)),
        ("GRU", {"x": (6, 2, 3), "w": (1, 12, 3), "r": (1, 12, 4)}, {"hidden_size": 4}, 6 * 2 * 12 * (3 + 4)),
    ],
)  # fmt: skip
def test_products_are_counted_by_shapes(
    kind: str, takes: dict[str, tuple[int, ...]], how: dict[str, Any], macs: int
) -> None:
    assert node_counts(kind, takes, **how)[0] == macs


@pytest.mark.parametrize(
    ("kind", "takes", "how", "operations"),
    [
        ("Softmax", {"x": (3, 5)}, {}, 15),
        ("Add", {"x": (3, 5), "b": (5,)}, {}, 15),
        ("ReduceMean", {"x": (3, 5)}, {"axes": [1]}, 15),
        ("GlobalAveragePool", {"x": (1, 2, 4, 4)}, {}, 32),
        ("MaxPool", {"x": (1, 2, 4, 4)}, {"kernel_shape": [2, 2], "strides": [2, 2]}, 2 * 4 * 4),
        ("Flatten", {"x": (3, 5)}, {}, 0),
        ("Transpose", {"x": (3, 5)}, {"perm": [1, 0]}, 15),
    ],
)
def test_other_operations_are_counted_by_elements(
    kind: str, takes: dict[str, tuple[int, ...]], how: dict[str, Any], operations: int
) -> None:
    assert node_counts(kind, takes, **how) == (0, operations)


def test_weights_in_the_graph_count_as_any_operand() -> None:
    held = {"w": np.ones((4, 5), np.float32)}
    assert node_counts("MatMul", {"a": (3, 4), "w": (4, 5)}, weights=held)[0] == 3 * 4 * 5


def scanning(turned: bool = False, nested: bool = False, opset: int = 17) -> HostStage:
    """5 steps of h <- x w + h, 2 samples of 3 numbers; y is 2 h of each step. Time stands first, or second."""
    value, double = helper.make_tensor_value_info, TensorProto.FLOAT
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["xw"]), helper.make_node("Add", ["xw", "h"], ["next"]),
        helper.make_node("Mul", ["next", "two"], ["y"]),
    ]  # fmt: skip
    if nested:
        inner = helper.make_graph(
            [helper.make_node("Add", ["s", "e"], ["sum"])], "inner", [value(n, double, []) for n in "se"],
            [value("sum", double, [])],
        )  # fmt: skip
        flat = helper.make_node("Reshape", ["x", "all"], ["each"])
        again = helper.make_node("Scan", ["two", "each"], ["total"], body=inner, num_scan_inputs=1)
        nodes = [flat, again, *nodes[:2], helper.make_node("Mul", ["next", "total"], ["y"])]
    body = helper.make_graph(
        nodes, "body", [value(name, double, [2, 3]) for name in ("h", "x")],
        [value(name, double, [2, 3]) for name in ("next", "y")],
        [numpy_helper.from_array(np.float32(2), "two"), numpy_helper.from_array(np.array([-1]), "all")],
    )  # fmt: skip
    axes = {"scan_input_axes": [-2], "scan_output_axes": [1]} if turned else {}
    scan = helper.make_node("Scan", ["start", "given"], ["last", "made"], body=body, num_scan_inputs=1, **axes)
    shape = [2, 5, 3] if turned else [5, 2, 3]
    held = {"w": np.ones((3, 3)), "start": np.zeros((2, 3))}
    graph = helper.make_graph(
        [scan], "scanning", [value("given", double, shape)], [value("made", double, shape)],
        [numpy_helper.from_array(v.astype(np.float32), name) for name, v in held.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    return HostStage(
        "scanning", np.frombuffer(model.SerializeToString(), np.uint8), (HostInput("given", "p"),),
        (HostOutput("made"),), "behind",
    )  # fmt: skip


@pytest.mark.parametrize("turned", [False, True])
def test_a_scan_counts_its_body_in_every_step(turned: bool) -> None:
    """5 steps: a matrix product of 2 x 3 sums of 3 products, a sum and a product of 2 x 3 numbers."""
    shaped = Shaped(scanning(turned))
    shapes = shaped({"given": np.ones((2, 5, 3) if turned else (5, 2, 3))})
    assert shaped.counted(shapes) == (5 * 6 * 3, {"Add": 5 * 6, "Mul": 5 * 6})
    assert shapes["made"] == ((2, 5, 3) if turned else (5, 2, 3))


@pytest.mark.parametrize("how", [{"nested": True}, {"opset": 8}])
def test_a_scan_in_a_scan_and_an_old_one_are_refused(how: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError, match="'scanning' multiplies") as caught:
        Shaped(scanning(**how))
    assert caught.value.found == "Scan"


@pytest.mark.parametrize("kind", ["Loop", "FusedMatMul"])
def test_what_nobody_can_count_is_refused_by_name(kind: str) -> None:
    """A loop multiplies as often as its data tell, and another package's operators as they like: never 0."""
    domain = "" if kind == "Loop" else "com.microsoft"
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"]), helper.make_node("MatMul", ["v", "v"], ["u"])], "body",
        [value("i", TensorProto.INT64, []), value("c", TensorProto.BOOL, []), value("v", TensorProto.FLOAT, [2, 2])],
        [value("d", TensorProto.BOOL, []), value("u", TensorProto.FLOAT, [2, 2])],
    )  # fmt: skip
    if kind == "Loop":
        nodes = [helper.make_node("Loop", ["m", "", "x"], ["y"], body=body)]
    else:
        nodes = [helper.make_node(kind, ["x", "x"], ["y"], domain=domain)]
    graph = helper.make_graph(
        nodes, "one", [value("x", TensorProto.FLOAT, [2, 2])], [value("y", TensorProto.FLOAT, [2, 2])],
        [numpy_helper.from_array(np.int64(3), "m")] if kind == "Loop" else [],
    )  # fmt: skip
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=sets, ir_version=9)
    stage = HostStage(
        "odd", np.frombuffer(model.SerializeToString(), np.uint8), (HostInput("x", "p"),), (HostOutput("y"),), "behind"
    )
    with pytest.raises(UnsupportedError, match="'odd' multiplies") as caught:
        Shaped(stage)
    assert kind in str(caught.value.found)
