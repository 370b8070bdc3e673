"""Networks of which the host computes a part, one for each schedule, in integers and floats."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from neurodeploy.errors import InvalidInputError
from neurodeploy.network.answer import Answer, Returned, Series
from neurodeploy.network.connectivity import Dense
from neurodeploy.network.expressions import OverTime
from neurodeploy.network.host import HostInput, HostOutput, HostStage, When
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Neuron, Product, Source
from tests.conformance.cases import N, dense, lif
from tests.conformance.programs import Case, random_case
from tests.networks import placed

STEPS, SAMPLES = 14, 3
UNIT = 64
"""Messages of the host for 1, in integer networks."""


def graph(nodes: Sequence[tuple[Any, ...]], takes: dict[str, list[Any]], gives: dict[str, list[Any]]) -> np.ndarray:
    """An ONNX model in float64, as the bytes of a stage.

    Args:
        nodes: operator, inputs, outputs (names in a line), and attributes.
        takes, gives: names and shapes.
    """
    from onnx import TensorProto, helper

    made = [helper.make_node(op, i.split(), o.split(), **(more[0] if more else {})) for op, i, o, *more in nodes]
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.DOUBLE, shape) for name, shape in values.items()]
        for values in (takes, gives)
    ]
    model = helper.make_model(
        helper.make_graph(made, "stage", *ends), opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    )
    return np.frombuffer(model.SerializeToString(), np.uint8)


SEQUENCE, STEP = ["time", "batch", N], ["batch", N]


def attention() -> np.ndarray:
    """Every step looks at all steps, later ones too: softmax(x x^T) x."""
    nodes = [
        ("Transpose", "x", "q", {"perm": [1, 0, 2]}),
        ("Transpose", "x", "k", {"perm": [1, 2, 0]}),
        ("MatMul", "q k", "scores"),
        ("Softmax", "scores", "weights", {"axis": -1}),
        ("MatMul", "weights q", "mixed"),
        ("Transpose", "mixed", "y", {"perm": [1, 0, 2]}),
    ]
    return graph(nodes, {"x": SEQUENCE}, {"y": SEQUENCE})


def gate() -> np.ndarray:
    """A sigmoid of each sample's own spikes less their mean."""
    nodes = [
        ("ReduceMean", "x", "mean", {"axes": [1], "keepdims": 1}),
        ("Sub", "x mean", "off"),
        ("Sigmoid", "off", "y"),
    ]
    return graph(nodes, {"x": STEP}, {"y": STEP})


def encoder() -> np.ndarray:
    """Spikes where an image, squared, is above its sample's mean over time."""
    nodes = [
        ("Mul", "x x", "square"),
        ("ReduceMean", "square", "mean", {"axes": [0], "keepdims": 1}),
        ("Greater", "square mean", "above"),
        ("Cast", "above", "y", {"to": 11}),
    ]
    return graph(nodes, {"x": SEQUENCE}, {"y": SEQUENCE})


def votes() -> np.ndarray:
    """Softmax of the spikes of all steps and of the last potential's tanh."""
    nodes = [
        ("Tanh", "v", "bent"),
        ("ReduceMean", "bent", "mean", {"axes": [0], "keepdims": 0}),
        ("Add", "counts mean", "sum"),
        ("Softmax", "sum", "y", {"axis": -1}),
    ]
    return graph(nodes, {"counts": STEP, "v": SEQUENCE}, {"y": STEP})


def stage(name: str, model: np.ndarray, takes: str, gives: str, when: When, **more: int) -> HostStage:
    """A stage that reads the spikes of one population as x and feeds one with y."""
    return HostStage(name, model, (HostInput("x", takes),), (HostOutput("y", gives, **more),), when)


HYBRIDS: dict[str, Callable[[np.random.Generator, bool], tuple[list[Any], tuple[HostStage, ...]]]] = {}


def hybrid(name: str) -> Callable[[Any], Any]:
    """Register one."""
    return lambda build: HYBRIDS.setdefault(name, build)


def source(name: str, integer: bool, graded: bool = True) -> Population:
    """What the host feeds: numbers of 12 bits, or spikes."""
    bits = 12 if integer and graded else 1
    return Population(name, (N,), Source(payload_bits=bits), scale=float(UNIT) if integer and graded else 1.0)


def layer(name: str, neuron: Neuron) -> Population:
    return Population(name, (N,), neuron)


def synapses(rng: np.random.Generator, integer: bool, a: str, b: str, graded: bool = False, **more: Any) -> Projection:
    """Dense; those of numbers with weights so much smaller, in integers."""
    kind = dense(rng, integer)
    if graded and integer:
        kind = Dense((kind.weights // UNIT * 2).astype(np.int16))
    return Projection(f"{a}-{b}", a, b, kind, **more)


@hybrid("attention between two phases")
def _attention(rng: np.random.Generator, integer: bool) -> Any:
    parts = [
        layer("input", Source()), layer("first", lif(rng, integer)), source("seen", integer),
        layer("second", lif(rng, integer)), synapses(rng, integer, "input", "first"),
        synapses(rng, integer, "seen", "second", graded=True), synapses(rng, integer, "first", "second"),
    ]  # fmt: skip
    return parts, (stage("attention", attention(), "first", "seen", "phase"),)


@hybrid("a gate in every step")
def _gate(rng: np.random.Generator, integer: bool) -> Any:
    """Spikes times a gate: a product whose second factor comes from the host."""
    threshold = np.full(N, 1 if integer else 0.1)
    one = Dense(np.eye(N).astype(np.int16 if integer else np.float64))
    product = Product(threshold.astype(np.int32) if integer else threshold)
    parts = [
        layer("input", Source()), layer("first", lif(rng, integer)), source("opened", integer),
        layer("gated", product), layer("second", lif(rng, integer)), synapses(rng, integer, "input", "first"),
        Projection("first-gated", "first", "gated", one), Projection("gate", "opened", "gated", one, port=1),
        synapses(rng, integer, "gated", "second", graded=True),
    ]  # fmt: skip
    return parts, (stage("gate", gate(), "first", "opened", "step"),)


@hybrid("an encoder before the first step")
def _encoder(rng: np.random.Generator, integer: bool) -> Any:
    image = Population("image", (N,), Source(payload_bits=8 if integer else 1))
    parts = [
        image, source("encoded", integer, graded=False), layer("first", lif(rng, integer)),
        synapses(rng, integer, "encoded", "first"),
    ]  # fmt: skip
    return parts, (stage("encoder", encoder(), "image", "encoded", "before"),)


@hybrid("a loop through the host")
def _loop(rng: np.random.Generator, integer: bool) -> Any:
    parts = [
        layer("input", Source()), source("held", integer), layer("first", lif(rng, integer)),
        synapses(rng, integer, "input", "first"), synapses(rng, integer, "held", "first", graded=True),
    ]  # fmt: skip
    return parts, (stage("hold", gate(), "first", "held", "step", delay=1),)


@hybrid("a loop through two stages, one behind the other in each step")
def _two(rng: np.random.Generator, integer: bool) -> Any:
    parts = [
        layer("input", Source()), source("held", integer), layer("first", lif(rng, integer)), source("opened", integer),
        layer("second", lif(rng, integer)), synapses(rng, integer, "input", "first"),
        synapses(rng, integer, "held", "first", graded=True), synapses(rng, integer, "opened", "second", graded=True),
        synapses(rng, integer, "input", "second"),
    ]  # fmt: skip
    return parts, (
        stage("hold", gate(), "second", "held", "step", delay=1), stage("gate", gate(), "first", "opened", "step"),
    )  # fmt: skip


@hybrid("two phases, a gate, and a reader behind")
def _all(rng: np.random.Generator, integer: bool) -> Any:
    parts = [
        layer("input", Source()), layer("first", lif(rng, integer)), source("seen", integer),
        layer("second", lif(rng, integer)), source("again", integer), source("opened", integer),
        layer("third", lif(rng, integer)), synapses(rng, integer, "input", "first"),
        synapses(rng, integer, "seen", "second", graded=True), synapses(rng, integer, "again", "third", graded=True),
        synapses(rng, integer, "opened", "third", graded=True), synapses(rng, integer, "first", "third", delay=1),
    ]  # fmt: skip
    takes = (HostInput("counts", "third", over="sum"), HostInput("v", "second", "potential"))
    return parts, (
        HostStage("votes", votes(), takes, (HostOutput("y"),), "behind"),
        stage("late", attention(), "second", "again", "phase"), stage("early", attention(), "first", "seen", "phase"),
        stage("gate", gate(), "second", "opened", "step"),
    )  # fmt: skip


def build(name: str, arithmetic: str) -> Case:
    """The Program and input of one."""
    rng = np.random.default_rng(11)
    parts, stages = HYBRIDS[name](rng, arithmetic == "loihi")
    populations = tuple(p for p in parts if isinstance(p, Population))
    projections = tuple(p for p in parts if isinstance(p, Projection))
    last = next(p.name for p in reversed(populations) if isinstance(p.neuron, Lif))
    network = Network("hybrid", populations, projections, (last,), 1e-3, arithmetic, stages=stages)  # type: ignore[arg-type]
    if any(s.when == "behind" for s in stages):
        read = OverTime(Series("y", "value", (N,)), "last")
        network = replace(network, answer=Answer((Returned(read),)))
    inputs = {}
    for population in network.inputs:
        shape = (STEPS, SAMPLES, *population.shape)
        spikes = (rng.random(shape) < 0.4).astype(np.uint8)
        inputs[population.name] = rng.integers(0, 100, shape) if population.name == "image" else spikes
    return Case(placed(network), inputs)


def any_stage(kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """A graph for populations of any shape: over all steps, over their sum, or in each step."""
    steps, step = ["time", "batch", *shape], ["batch", *shape]
    if kind == "sum":
        return graph([("Tanh", "x", "y")], {"x": step}, {"y": step})
    given = steps if kind == "phase" else step
    axes = [0] if kind == "phase" else list(range(1, len(step)))
    nodes = [
        ("ReduceMean", "x", "mean", {"axes": axes, "keepdims": 1}),
        ("Sub", "x mean", "off"),
        ("Sigmoid", "off", "y"),
    ]
    return graph(nodes, {"x": given}, {"y": given})


def random_hybrid(seed: int, arithmetic: str) -> Case:
    """A random program with one to three stages between any populations, none of which waits for itself."""
    rng = np.random.default_rng([seed, 9])
    case, integer = random_case(seed, arithmetic), arithmetic == "loihi"
    network = replace(case.program.network, answer=None)
    readable = [p for p in network.populations if p.spiking and not p.neuron.always_on]
    neurons = [p for p in network.populations if not p.external]
    while not network.stages:
        for index in range(rng.integers(1, 4)):
            read, heard = (some[rng.integers(len(some))] for some in (readable, neurons))
            kind = ("phase", "sum", "step")[rng.integers(3)]
            name, bits = f"host{index}", 8 if integer else 1
            fed = Population(name, read.shape, Source(payload_bits=bits), scale=16.0 if integer else 1.0)
            shape = (heard.size, read.size)
            weights = (2 * rng.integers(-3, 4, shape)).astype(np.int16) if integer else 0.2 * rng.normal(size=shape)
            back = Projection(f"back{index}", name, heard.name, Dense(weights), delay=int(rng.integers(0, 3)))
            added = HostStage(
                f"stage{index}", any_stage(kind, read.shape),
                (HostInput("x", read.name, over="sum" if kind == "sum" else "steps"),),
                (HostOutput("y", name, int(rng.integers(0, 3)) if kind == "step" else 0),),
                "step" if kind == "step" else "phase",
            )  # fmt: skip
            with contextlib.suppress(InvalidInputError):  # it would wait for itself
                network = replace(
                    network, populations=(fed, *network.populations), projections=(*network.projections, back),
                    stages=(*network.stages, added),
                )  # fmt: skip
    return Case(placed(network), case.inputs)
