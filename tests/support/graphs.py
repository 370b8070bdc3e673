"""Small NIR graphs, one for each form of a node and each rule of a neuron."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import nir
import numpy as np
import onnx.parser

from neurodeploy.network.host import HostInput, HostOutput, HostStage
from neurodeploy.nir_graph.host_nodes import from_host, stage_node
from neurodeploy.nir_graph.max_node import max_node
from neurodeploy.nir_graph.metadata import put
from tests import nirgraphs
from tests.random_pooling import windows

DT = 1e-3
N = 6
IMAGE = (2, 6, 6)


@dataclass(frozen=True, eq=False)
class Case:
    """A row about a graph.

    Args:
        build: makes the graph, from numbers that are drawn for it alone.
        conventions: given beside the step.
        spikes: whether something in it must spike.
        steps: of a run.
    """

    build: Callable[[Draw], nir.NIRGraph]
    conventions: Mapping[str, Any] = field(default_factory=dict)
    spikes: bool = True
    steps: int = 25


class Draw:
    """Random numbers, the same for each case whatever else runs."""

    def __init__(self, seed: int = 5) -> None:
        self.rng = np.random.default_rng(seed)

    def normal(self, *shape: int) -> np.ndarray:
        """Both signs, more of them positive."""
        return self.rng.normal(size=shape) + 0.3

    def affine(self, outputs: int, inputs: int) -> nir.Affine:
        """A layer with small biases."""
        return nir.Affine(self.normal(outputs, inputs), 0.1 * self.normal(outputs))

    def linear(self, outputs: int, inputs: int) -> nir.Linear:
        """A layer without."""
        return nir.Linear(self.normal(outputs, inputs))

    def conv(self, channels: int = 4, kernel: tuple[int, int] = (3, 3), **more: Any) -> nir.Conv2d:
        """A convolution of two channels of an image."""
        settings = {"stride": 1, "padding": 1, "dilation": 1, "groups": 1} | more
        weight = 0.5 * self.normal(channels, 2 // settings["groups"], *kernel)
        return nir.Conv2d(settings.pop("input_shape", IMAGE[1:]), weight, bias=0.1 * self.normal(channels), **settings)

    def conv1(self, **more: Any) -> nir.Conv1d:
        """A convolution of two channels of eight values."""
        settings = {"stride": 1, "padding": 1, "dilation": 1, "groups": 1} | more
        return nir.Conv1d(8, self.normal(4, 2 // settings["groups"], 3), bias=0.1 * self.normal(4), **settings)


def full(value: float, *shape: int) -> np.ndarray:
    return np.full(shape or (N,), value)


def lif(*shape: int, **changed: Any) -> nir.LIF:
    values = {"tau": 5e-3, "r": 5.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0} | changed
    return nir.LIF(**{name: value + full(0.0, *shape) for name, value in values.items()})


def cuba(kind: type = nir.CubaLIF, **changed: Any) -> Any:
    values = {"tau_syn": 4e-3, "tau_mem": 6e-3, "r": 6.0, "v_leak": 0.0}
    values |= {"v_threshold": 1.0, "v_reset": 0.0} if kind is nir.CubaLIF else {}
    return kind(**{name: value + full(0.0) for name, value in (values | changed).items()})


def ruled(node: nir.NIRNode, **rules: Any) -> nir.NIRNode:
    """The node with rules in its metadata."""
    put(node, rules)
    return node


def behind(*nodes: tuple[str, nir.NIRNode], shape: tuple[int, ...] = (4,)) -> nir.NIRGraph:
    return nirgraphs.sequence(shape, dict(nodes))


def alone(draw: Draw, node: nir.NIRNode) -> nir.NIRGraph:
    """A neuron behind a linear layer, heard by nobody."""
    return behind(("fc", draw.affine(N, 4)), ("node", node))


def heard(draw: Draw, node: nir.NIRNode) -> nir.NIRGraph:
    """A neuron between two linear layers, then a LIF."""
    return behind(("fc", draw.affine(N, 4)), ("node", node), ("fc2", draw.linear(N, N)), ("out", lif(N)))


def image(*nodes: tuple[str, nir.NIRNode], after: tuple[int, ...], shape: tuple[int, ...] = IMAGE) -> nir.NIRGraph:
    return behind(*nodes, ("lif", lif(*after)), shape=shape)


def pool(draw: Draw, kind: type, size: int = 2, stride: int = 2, padding: int = 0) -> nir.NIRGraph:
    side = (6 + 2 * padding - size) // stride + 1
    pooling = kind(*(np.array([n, n]) for n in (size, stride, padding)))
    conv = draw.conv(3, (2, 2), padding=0, input_shape=(side, side))
    return image(("pool", pooling), ("conv", conv), after=(3, side - 1, side - 1))


def pooled(draw: Draw, neuron: Callable[[], nir.NIRNode]) -> nir.NIRGraph:
    largest = max_node(windows((4, 6, 6), (2, 2), (2, 2), (0, 0), (1, 1)), (4, 6, 6))
    return behind(("conv", draw.conv()), ("max", largest), ("lif", neuron()), shape=IMAGE)


def cuba_image() -> nir.CubaLIF:
    shape = (4, 3, 3)
    values = {"tau_syn": 4e-3, "tau_mem": 6e-3, "r": 6.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0}
    return nir.CubaLIF(**{name: full(value, *shape) for name, value in values.items()})


def delayed(draw: Draw, steps: Any, size: int = N) -> nir.NIRGraph:
    return behind(
        ("fc", draw.linear(size, 4)), ("lif", lif(size)), ("delay", nir.Delay(DT * np.asarray(steps, float))),
        ("fc2", draw.linear(N, size)), ("out", lif(N)),
    )  # fmt: skip


def flattened(draw: Draw) -> nir.NIRGraph:
    return behind(
        ("conv", draw.conv()), ("lif", lif(4, 6, 6)),
        ("flatten", nir.Flatten({"input": np.array([4, 6, 6])}, start_dim=0, end_dim=-1)),
        ("fc", nir.Linear(0.2 * draw.normal(5, 144))), ("out", lif(5)), shape=IMAGE,
    )  # fmt: skip


def nested(draw: Draw, inputs: int = 1) -> nir.NIRGraph:
    """A graph inside a graph, with one or two inputs."""
    inner = behind(("w", draw.linear(N, N)), ("lif", lif(N)), shape=(N,))
    if inputs > 1:
        inner = nir.NIRGraph(
            {**inner.nodes, "second": nir.Input(np.array([N]))}, [*inner.edges, ("second", "w")], type_check=False
        )
    return behind(("fc", draw.linear(N, 4)), ("first", lif(N)), ("inner", inner))


def several(draw: Draw) -> nir.NIRGraph:
    """Two inputs and two outputs."""
    first = behind(("fc", draw.affine(N, 4)), ("lif", lif(N)), ("fc2", draw.linear(N, N)), ("out", lif(N)))
    more = {"second": nir.Input(np.array([3])), "w": draw.linear(N, 3), "early": nir.Output(np.array([N]))}
    edges = [*first.edges, ("second", "w"), ("w", "out"), ("lif", "early")]
    return nir.NIRGraph({**first.nodes, **more}, edges, type_check=False)


def looped(draw: Draw, neuron: nir.NIRNode, delay: Any = None) -> nir.NIRGraph:
    """What the last layer sends comes back to the first, one step later or more."""
    first = behind(("fc", draw.affine(N, 4)), ("lif", lif(N)), ("fc2", draw.linear(N, N)), ("node", neuron))
    back: dict[str, nir.NIRNode] = {"back": nir.Linear(0.3 * draw.normal(N, N))}
    if delay is not None:
        back = {"delay": nir.Delay(DT * np.asarray(delay, float)), **back}
    path = ["node", *back, "lif"]
    return nir.NIRGraph({**first.nodes, **back}, [*first.edges, *itertools.pairwise(path)], type_check=False)


def own_loop(draw: Draw) -> nir.NIRGraph:
    first = behind(("fc", draw.affine(N, 4)), ("lif", lif(N)))
    back = {"back": nir.Linear(0.3 * draw.normal(N, N))}
    return nir.NIRGraph({**first.nodes, **back}, [*first.edges, ("lif", "back"), ("back", "lif")], type_check=False)


GRAPHS = {
    "step": """<ir_version: 9, opset_import: ["" : 17]>
one (double[batch, 6] x) => (double[batch, 6] y) {
    total = ReduceMean <axes = [1]> (x)
    gate = Sigmoid (total)
    y = Mul (x, gate)
}""",
    "phase": """<ir_version: 9, opset_import: ["" : 17]>
one (double[time, batch, 6] x) => (double[time, batch, 6] y) {
    weights = Softmax <axis = 0> (x)
    y = Add (weights, x)
}""",
    "behind": """<ir_version: 9, opset_import: ["" : 17]>
one (double[time, batch, 6] x) => (double[batch, 6] y) {
    y = ReduceMean <axes = [0], keepdims = 0> (x)
}""",
}
"""What a host computes: gates by the mean of a step; a softmax over time; a mean of all steps."""


def hosted(draw: Draw, when: Any) -> nir.NIRGraph:
    """A neuron that a host reads, and one that it feeds."""
    model = onnx.parser.parse_model(GRAPHS[when])
    graph = np.frombuffer(model.SerializeToString(), np.uint8)
    given = HostOutput("y", "" if when == "behind" else "fed")
    stage = HostStage("stage", graph, (HostInput("x", "first"),), (given,), when)
    nodes = {
        "input": nir.Input(np.array([4])), "fc": draw.affine(N, 4), "first": lif(N), "stage": stage_node(stage),
        "fc2": draw.linear(N, N), "node": lif(N), "output": nir.Output(np.array([N])),
    }  # fmt: skip
    edges = [("input", "fc"), ("fc", "first"), ("first", "stage"), ("fc2", "node"), ("node", "output")]
    if when == "behind":
        return nir.NIRGraph(nodes, [*edges, ("first", "fc2")], type_check=False)
    edges += [("stage", "fed"), ("fed", "fc2")]
    return nir.NIRGraph(nodes | {"fed": from_host((N,))}, edges, type_check=False)


NODES: Mapping[str, Case] = {
    "`HostStage`, `FromHost`, in every step": Case(lambda d: hosted(d, "step")),
    "`HostStage`, between phases": Case(lambda d: hosted(d, "phase")),
    "`HostStage`, behind the last step": Case(lambda d: hosted(d, "behind")),
    "`Input`, `Output`, two of each": Case(several),
    "`Linear`": Case(lambda d: behind(("fc", d.linear(N, 4)), ("lif", lif(N)))),
    "`Affine`": Case(lambda d: behind(("fc", d.affine(N, 4)), ("lif", lif(N)))),
    "`Scale`": Case(
        lambda d: behind(("fc", d.linear(N, 4)), ("scale", nir.Scale(d.rng.random(N) + 0.5)), ("lif", lif(N)))
    ),
    "`Conv1d`": Case(lambda d: image(("conv", d.conv1()), after=(4, 8), shape=(2, 8))),
    "`Conv1d`, `groups`": Case(lambda d: image(("conv", d.conv1(groups=2)), after=(4, 8), shape=(2, 8))),
    "`Conv1d`, `dilation`, `stride`": Case(
        lambda d: image(("conv", d.conv1(dilation=2, stride=2, padding=2)), after=(4, 4), shape=(2, 8))
    ),
    "`Conv2d`": Case(lambda d: image(("conv", d.conv()), after=(4, 6, 6))),
    "`Conv2d`, `groups`": Case(lambda d: image(("conv", d.conv(groups=2)), after=(4, 6, 6))),
    "`Conv2d`, `dilation`, `stride`": Case(
        lambda d: image(("conv", d.conv(dilation=2, stride=2, padding=2)), after=(4, 3, 3))
    ),
    "`Conv2d`, image and kernel not square": Case(
        lambda d: image(
            ("conv", d.conv(kernel=(3, 2), padding=(1, 0), stride=(2, 1), input_shape=(7, 5))),
            after=(4, 4, 4), shape=(2, 7, 5),
        )
    ),
    "`Conv2d`, `padding` \"same\"": Case(lambda d: image(("conv", d.conv(padding="same")), after=(4, 6, 6))),
    "`SumPool2d`": Case(lambda d: pool(d, nir.SumPool2d)),
    "`AvgPool2d`": Case(lambda d: pool(d, nir.AvgPool2d)),
    "`AvgPool2d`, windows that overlap, padding": Case(lambda d: pool(d, nir.AvgPool2d, 3, 2, 1)),
    "`Max`, in front of `LIF`": Case(lambda d: pooled(d, lambda: lif(4, 3, 3))),
    "`Max`, in front of `CubaLIF`": Case(lambda d: pooled(d, cuba_image)),
    "`Flatten`": Case(flattened),
    "`Delay`": Case(lambda d: delayed(d, [0, 1, 1, 2, 3, 3])),
    "`Delay` of 0 and 62 steps": Case(lambda d: delayed(d, [0, 0, 0, 62, 62, 62]), steps=70),
    "`Delay` of 0 and 63 steps": Case(lambda d: delayed(d, [0, 0, 0, 63, 63, 63]), steps=70),
    "`Delay`, 65 different ones": Case(lambda d: delayed(d, np.arange(66) % 65, 66)),
    "`LIF`": Case(lambda d: heard(d, lif(N))),
    "`IF`": Case(lambda d: heard(d, nir.IF(full(1e3), full(1.0), full(0.0)))),
    "`CubaLIF`": Case(lambda d: heard(d, cuba())),
    "`Threshold`": Case(lambda d: heard(d, nir.Threshold(full(0.8)))),
    "`LI`, an output": Case(lambda d: alone(d, nir.LI(full(5e-3), full(5.0), full(0.0))), spikes=False),
    "`LI`, feeding on": Case(lambda d: heard(d, nir.LI(full(5e-3), full(5.0), full(0.0)))),
    "`LI`, feeding back on a layer before": Case(lambda d: looped(d, nir.LI(full(5e-3), full(5.0), full(0.0)))),
    "`I`, an output": Case(lambda d: alone(d, nir.I(full(1e3))), spikes=False),
    "`I`, feeding on": Case(lambda d: heard(d, nir.I(full(20.0)))),
    "`CubaLI`, an output": Case(lambda d: alone(d, cuba(nir.CubaLI)), spikes=False),
    "`CubaLI`, feeding on": Case(lambda d: heard(d, cuba(nir.CubaLI))),
    "a loop of a layer on itself": Case(own_loop),
    "a loop over two layers": Case(lambda d: looped(d, lif(N))),
    "a loop over two layers, with a `Delay` of 1 step": Case(lambda d: looped(d, lif(N), [1] * N)),
    "`NIRGraph` in a graph": Case(nested),
    "`NIRGraph` with two inputs in a graph": Case(lambda d: nested(d, 2)),
}  # fmt: skip
"""Row -> graph: every node, in its forms."""


def each(low: float, high: float) -> np.ndarray:
    """Another value for each neuron."""
    return np.linspace(low, high, N)


def rule(node: Callable[[], nir.NIRNode] | None = None, conventions: Mapping[str, Any] | None = None, **rules: Any):
    """A neuron with rules in its metadata, or in conventions of the whole graph."""
    return Case(lambda d: heard(d, ruled((node or (lambda: lif(N)))(), **rules)), conventions or {}, steps=20)


RULES: Mapping[str, Case] = {
    "hard reset to 0": rule(),
    "hard reset to another potential": rule(lambda: lif(N, v_reset=-0.3)),
    "parameters of each neuron": rule(lambda: lif(N, tau=each(3e-3, 9e-3), v_threshold=each(0.6, 1.2))),
    "`v_leak` other than 0": rule(lambda: lif(N, v_leak=0.2)),
    "`reset: subtract`": rule(reset="subtract"),
    "`reset: none`": rule(reset="none"),
    "`reset_time: next`, hard": rule(reset_time="next"),
    "`reset_time: next`, subtract": rule(reset="subtract", reset_time="next"),
    "`reset_time: gate`": rule(reset_time="gate"),
    "`reset_time: once`": rule(reset="subtract", reset_time="once"),
    "`max_spikes` 3": rule(reset="subtract", max_spikes=3),
    "`v_floor`": rule(v_floor=-0.2),
    "`v_initial`": rule(v_initial=each(-0.5, 0.5)),
    "`comparison: >=`": rule(comparison=">="),
    "`refractory`, one time": rule(refractory=2),
    "`refractory`, of each neuron": rule(refractory=np.arange(N) % 3 + 1),
    "adaptive threshold": rule(threshold_decay=0.1, threshold_jump=0.4),
    "`reset_current`": rule(cuba, reset_current=True),
    "`decay: exponential`": rule(conventions={"decay": "exponential"}),
    "`arrival: next-step`": rule(conventions={"arrival": "next-step"}),
}
"""Row -> graph: every rule that a file can say of a neuron."""

MODELS: Mapping[str, str] = {
    "ternary spikes": "ternary",
    "[sigma-delta](howto-sigma-delta.md)": "sigma-delta",
    "sigma-delta, heard by `LIF`": "sigma-delta, heard by LIF",
    "delta, sigma-delta that loses its remainders, sigma": "delta, sigma-delta that loses its remainders, sigma",
    "graded ReLU": "graded ReLU",
    "product gate": "product gate",
    "synapses that learn (STDP)": "STDP",
    "synapses that learn, three-factor rule": "three-factor rule",
}
"""Row -> case of `tests.conformance.cases`: what is in programs, and no node of NIR."""
