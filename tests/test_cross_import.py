"""The graphs that every tool should read alike, each against arithmetic written out here, neuron by neuron.

The first twenty are those of the cross-import matrix, hand-written files with a step of 1e-4 s; then what the matrix
leaves out. `Cell` is NIR's differential equation by forward Euler for one neuron in plain floats; `conv` and `pool`
are loops over pixels. Nothing of neurodeploy takes part in what is expected. Compared are every spike and every
potential of every neuron: of the NIR reference, of the lowered network, and of hwsim in floats.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from neurodeploy.backends.reference.run import run_network
from neurodeploy.errors import InvalidInputError, UnsupportedError
from neurodeploy.hwsim import engine
from neurodeploy.lowering.lower import lower
from neurodeploy.network.network import Network
from neurodeploy.network.neurons import Source
from neurodeploy.nir_graph import interpreter as nir_reference
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.conventions import resolve
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Record
from tests import nirh5

DT = 1e-4
STEPS = 60
LEAST = 20
"""Spikes that every layer must send at least, so that nothing is proven by silence."""
RNG = np.random.default_rng(20)


@dataclass
class Cell:
    """One neuron; ``step`` returns what it sends: 0 or 1, or its potential if it has no threshold."""

    kind: str
    p: Mapping[str, float]
    v: float = 0.0
    i: float = 0.0

    def step(self, x: float) -> float:
        p = self.p
        if self.kind == "Threshold":
            self.v = x
            return float(x > p["threshold"])
        if self.kind in ("LIF", "LI"):
            self.v += DT / p["tau"] * (p["v_leak"] - self.v + p["r"] * x)
        elif self.kind in ("IF", "I"):
            self.v += DT * p["r"] * x
        else:
            self.i += DT / p["tau_syn"] * (p["w_in"] * x - self.i)
            self.v += DT / p["tau_mem"] * (p["v_leak"] - self.v + p["r"] * self.i)
        if "v_threshold" not in p:
            return self.v
        if self.v > p["v_threshold"]:
            self.v = p["v_reset"]
            return 1.0
        return 0.0


@dataclass
class Layer:
    """All neurons of one node, with what they sent and their potentials in every step."""

    node: Any
    sent: list[np.ndarray] = field(default_factory=list)
    v: list[np.ndarray] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)

    def step(self, x: np.ndarray) -> np.ndarray:
        kind = type(self.node).__name__
        if not self.cells:
            names = [n for n in vars(self.node) if n not in ("metadata", "input_type", "output_type")]
            values = {n: np.broadcast_to(getattr(self.node, n), x.shape).ravel() for n in names}
            self.cells = [Cell(kind, {n: float(a[k]) for n, a in values.items()}) for k in range(x.size)]
        self.sent.append(np.array([c.step(float(a)) for c, a in zip(self.cells, x.ravel(), strict=True)]))
        self.v.append(np.array([c.v for c in self.cells]))
        return self.sent[-1].reshape(x.shape)


def conv(x: np.ndarray, node: Any) -> np.ndarray:
    """Cross-correlation, one output pixel at a time."""
    weight, groups = node.weight, int(node.groups)
    (sy, sx), (py, px), (dy, dx) = (np.broadcast_to(a, 2) for a in (node.stride, node.padding, node.dilation))
    padded = np.pad(x, ((0, 0), (py, py), (px, px)))
    outputs, inputs, kh, kw = weight.shape
    height = (padded.shape[1] - dy * (kh - 1) - 1) // sy + 1
    width = (padded.shape[2] - dx * (kw - 1) - 1) // sx + 1
    y = np.zeros((outputs, height, width))
    for o in range(outputs):
        first = o // (outputs // groups) * inputs
        for row in range(height):
            for column in range(width):
                total = float(node.bias[o])
                for c in range(inputs):
                    for a in range(kh):
                        for b in range(kw):
                            total += weight[o, c, a, b] * padded[first + c, row * sy + a * dy, column * sx + b * dx]
                y[o, row, column] = total
    return y


def pool(x: np.ndarray, size: int, average: bool) -> np.ndarray:
    channels, height, width = (x.shape[0], x.shape[1] // size, x.shape[2] // size)
    y = np.zeros((channels, height, width))
    for c in range(channels):
        for row in range(height):
            for column in range(width):
                y[c, row, column] = x[c, row * size : (row + 1) * size, column * size : (column + 1) * size].sum()
    return y / size**2 if average else y


def lif(shape: Any, **p: Any) -> nir.LIF:
    values = {"tau": 10 * DT, "r": 1.0, "v_leak": 0.0, "v_threshold": 0.5, "v_reset": 0.0} | p
    return nir.LIF(**{k: np.broadcast_to(v, shape).copy() for k, v in values.items()})


def cuba(shape: Any, **p: Any) -> nir.CubaLIF:
    values = {"tau_syn": 5 * DT, "tau_mem": 10 * DT, "r": 1.0, "v_leak": 0.0, "v_threshold": 0.2, "v_reset": 0.0}
    return nir.CubaLIF(**{k: np.broadcast_to(v, shape).copy() for k, v in (values | {"w_in": 1.0} | p).items()})


def full(shape: Any, value: float) -> np.ndarray:
    return np.full(shape, value)


def conv2d(weight: np.ndarray, shape: Any = None, **p: Any) -> nir.Conv2d:
    options = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": np.zeros(len(weight))} | p
    return nir.Conv2d(input_shape=shape, weight=weight, **options)


Step = Callable[[dict[str, Layer], np.ndarray, int], None]


@dataclass(frozen=True)
class Case:
    """A graph, and one step of it in the arithmetic above (layers, input of this step, number of the step)."""

    nodes: dict[str, Any]
    step: Step
    edges: list[tuple[str, str]] | None = None


def chain(**nodes: Any) -> list[tuple[str, str]]:
    return list(itertools.pairwise(nodes))


N_IN, N = 12, 8
W, B = RNG.normal(size=(N, N_IN)) + 0.2, RNG.normal(size=N) * 0.3
W2 = RNG.normal(size=(N, N)) * 0.8
IN, OUT = nir.Input(np.array([N_IN])), nir.Output(np.array([N]))


def dense(neuron: Any, weight: np.ndarray = W, bias: np.ndarray | None = B) -> Case:
    """Affine (or Linear) and one layer of neurons."""

    def step(layers: dict[str, Layer], x: np.ndarray, t: int) -> None:
        total = np.array([sum(w * a for w, a in zip(row, x, strict=True)) for row in weight])
        layers["n"].step(total + (0 if bias is None else bias))

    layer = nir.Linear(weight) if bias is None else nir.Affine(weight, bias)
    return Case({"input": IN, "fc": layer, "n": neuron, "output": OUT}, step)


K1, K2 = RNG.normal(size=(3, 2, 3, 3)) * 0.7, RNG.normal(size=(5, 27)) * 0.7
KB = RNG.normal(size=3) * 0.2


def pooled(average: bool) -> Case:
    """Conv2d 2 x 8 x 8 -> 3 x 6 x 6, neurons, pooling by 2, Flatten, Linear, neurons."""
    kernel, first = conv2d(K1, (8, 8), bias=KB), lif((3, 6, 6), r=4.0)
    node = (nir.AvgPool2d if average else nir.SumPool2d)(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    nodes = {
        "input": nir.Input(np.array([2, 8, 8])),
        "conv": kernel,
        "n1": first,
        "pool": node,
        "flat": nir.Flatten({"input": np.array([3, 3, 3])}, 0, -1),
        "fc": nir.Linear(K2),
        "n": lif(5, r=6.0),
        "output": nir.Output(np.array([5])),
    }

    def step(layers: dict[str, Layer], x: np.ndarray, t: int) -> None:
        s = pool(layers["n1"].step(conv(x, kernel)), 2, average).ravel()
        layers["n"].step(np.array([sum(w * a for w, a in zip(row, s, strict=True)) for row in K2]))

    return Case(nodes, step)


def convolution(shape: tuple[int, int, int], out: tuple[int, int, int], weight: np.ndarray, **p: Any) -> Case:
    node = conv2d(weight, bias=RNG.normal(size=len(weight)) * 0.2, **p)
    nodes = {
        "input": nir.Input(np.array(shape)),
        "conv": node,
        "n": lif(out, r=5.0),
        "output": nir.Output(np.array(out)),
    }

    def step(layers: dict[str, Layer], x: np.ndarray, t: int) -> None:
        layers["n"].step(conv(x, node))

    return Case(nodes, step)


def residual() -> Case:
    nodes = {
        "input": IN, "fc": nir.Affine(W, B), "n1": lif(N, r=3.0), "fc2": nir.Linear(W2), "n": lif(N, r=3.0),
        "output": OUT,
    }  # fmt: skip

    def step(layers: dict[str, Layer], x: np.ndarray, t: int) -> None:
        s = layers["n1"].step(W @ x + B)
        layers["n"].step(W2 @ s + s)

    return Case(nodes, step, [*chain(**nodes), ("n1", "n")])


def recurrent() -> Case:
    """The spikes of the last step come back; a bias would act from step 0 on."""
    nodes = {"input": IN, "fc": nir.Affine(W, B), "n": lif(N, r=10.0), "rec": nir.Linear(W2), "output": OUT}

    def step(layers: dict[str, Layer], x: np.ndarray, t: int) -> None:
        before = layers["n"].sent[-1] if t else np.zeros(N)
        layers["n"].step(W @ x + B + W2 @ before)

    return Case(nodes, step, [("input", "fc"), ("fc", "n"), ("n", "rec"), ("rec", "n"), ("n", "output")])


SCALE = RNG.normal(size=N) + 1.5


def scaled() -> Case:
    nodes = {"input": IN, "fc": nir.Affine(W, B), "scale": nir.Scale(SCALE), "n": lif(N, r=2.0), "output": OUT}

    def step(layers: dict[str, Layer], x: np.ndarray, t: int) -> None:
        layers["n"].step(SCALE * (W @ x + B))

    return Case(nodes, step)


def delayed(steps: np.ndarray, behind: bool = False) -> Case:
    """A Delay between neurons and weights, or (``behind``) between weights with a bias and neurons."""
    fc, delay = nir.Affine(W2, B), nir.Delay(steps * DT)
    middle = {"fc2": fc, "delay": delay} if behind else {"delay": delay, "fc2": fc}
    nodes = {"input": IN, "fc": nir.Linear(W), "n1": lif(N, r=3.0), **middle, "n": lif(N, r=3.0), "output": OUT}

    def step(layers: dict[str, Layer], x: np.ndarray, t: int) -> None:
        layers["n1"].step(W @ x)
        sent = [W2 @ s + B if behind else s for s in layers["n1"].sent]
        late = np.array([sent[t - k][j] if t >= k else 0.0 for j, k in enumerate(steps)])
        layers["n"].step(late if behind else W2 @ late + B)

    return Case(nodes, step)


def leaky_between() -> Case:
    """An LI whose potential, not a spike, drives the next layer."""
    li = nir.LI(tau=full(N, 8 * DT), r=full(N, 2.0), v_leak=full(N, 0.1))
    nodes = {"input": IN, "fc": nir.Linear(W), "li": li, "fc2": nir.Linear(W2), "n": lif(N, r=2.0), "output": OUT}

    def step(layers: dict[str, Layer], x: np.ndarray, t: int) -> None:
        layers["n"].step(W2 @ layers["li"].step(W @ x))

    return Case(nodes, step)


def twice() -> Case:
    """Two ways from the same neurons through the same last layer."""
    a, b = RNG.normal(size=(2, N, N)) * 0.6
    nodes = {
        "input": IN, "fc": nir.Linear(W), "n1": lif(N, r=3.0), "a": nir.Linear(a), "b": nir.Linear(b),
        "join": nir.Affine(W2, B), "n": lif(N, r=2.0), "output": OUT,
    }  # fmt: skip
    edges = [("input", "fc"), ("fc", "n1"), ("n1", "a"), ("n1", "b"), ("a", "join"), ("b", "join"), ("join", "n")]

    def step(layers: dict[str, Layer], x: np.ndarray, t: int) -> None:
        s = layers["n1"].step(W @ x)
        layers["n"].step(W2 @ (a @ s + b @ s) + B)

    return Case(nodes, step, [*edges, ("n", "output")])


def nested() -> Case:
    """A graph inside the graph with a loop of its own."""
    inner = nir.NIRGraph(
        {"input": nir.Input(np.array([N])), "lif": lif(N, r=6.0), "rec": nir.Linear(W2), "output": OUT},
        [("input", "lif"), ("lif", "rec"), ("rec", "lif"), ("lif", "output")],
    )
    nodes = {"input": IN, "fc": nir.Affine(W, B), "cell": inner, "n": lif(N, r=5.0), "output": OUT}

    def step(layers: dict[str, Layer], x: np.ndarray, t: int) -> None:
        before = layers["cell.lif"].sent[-1] if t else np.zeros(N)
        layers["n"].step(layers["cell.lif"].step(W @ x + B + W2 @ before))

    return Case(nodes, step)


STEPS_EACH = np.array([0, 1, 2, 2, 5, 0, 3, 1])
HALF = np.linspace(0.2, 0.9, N)

MATRIX: dict[str, Case] = {
    "LIF, tau = 10 dt, r = tau / dt": dense(lif(N, r=10.0)),
    "LIF, tau = 10 dt, r = 1": dense(lif(N)),
    "LIF, r = 2.5": dense(lif(N, r=2.5)),
    "LIF, v_reset = -0.5": dense(lif(N, r=3.0, v_reset=-0.5)),
    "LIF, v_leak = 0.3": dense(lif(N, v_leak=0.3)),
    "LIF, heterogeneous tau": dense(lif(N, r=2.0, tau=np.linspace(3, 20, N) * DT)),
    "LIF, heterogeneous threshold": dense(lif(N, r=2.0, v_threshold=HALF)),
    "CubaLIF, snnTorch's": dense(cuba(N, r=10.0, w_in=5.0, v_threshold=1.0)),
    "CubaLIF, w_in = 1, r = 1": dense(cuba(N)),
    "IF, r = 1 / dt": dense(nir.IF(full(N, 1 / DT), full(N, 1.0), full(N, 0.0))),
    "LI read-out": dense(nir.LI(full(N, 10 * DT), full(N, 1.0), full(N, -0.2))),
    "Linear": dense(lif(N, r=2.0), bias=None),
    "Conv2d, AvgPool2d, Flatten": pooled(average=True),
    "Conv2d, SumPool2d, Flatten": pooled(average=False),
    "Conv2d, depthwise": convolution((4, 7, 7), (4, 5, 5), RNG.normal(size=(4, 1, 3, 3)), groups=4),
    "residual": residual(),
    "recurrent": recurrent(),
    "Scale": scaled(),
    "Delay, 2 dt": delayed(full(N, 2)),
    "Threshold": dense(nir.Threshold(HALF)),
}
MORE: dict[str, Case] = {
    "Conv2d, not square": convolution(
        (2, 9, 8), (3, 4, 7), RNG.normal(size=(3, 2, 3, 2)) * 0.7, stride=np.array([2, 1])
    ),
    "Conv2d, two groups, dilated": convolution(
        (4, 8, 7), (6, 6, 3), RNG.normal(size=(6, 2, 3, 3)) * 0.6, groups=2, dilation=np.array([1, 2])
    ),
    "Conv2d, padded": convolution((2, 5, 6), (3, 7, 6), RNG.normal(size=(3, 2, 3, 3)) * 0.6, padding=np.array([2, 1])),
    "LI between": leaky_between(),
    "I read-out": dense(nir.I(full(N, 200.0))),
    "CubaLI read-out": dense(nir.CubaLI(full(N, 5 * DT), full(N, 10 * DT), full(N, 3.0), full(N, 0.1), full(N, 2.0))),
    "Delay, each neuron its own": delayed(STEPS_EACH),
    "Delay behind a bias": delayed(full(N, 3), behind=True),
    "Delay behind a bias, each its own": delayed(STEPS_EACH, behind=True),
    "CubaLIF, delayed bias": dense(cuba(N, r=3.0, w_in=4.0)),
    "two ways": twice(),
    "nested": nested(),
}


def write(case: Case, path: Path) -> Path:
    """By the `nir` library where it can; a grouped convolution only as HDF5."""
    edges = chain(**case.nodes) if case.edges is None else case.edges
    if any(getattr(node, "groups", 1) != 1 for node in case.nodes.values()):
        ends = {"Input": "input_type", "Output": "output_type"}
        plain = {}
        for name, node in case.nodes.items():
            kind = type(node).__name__
            if kind in ends:
                plain[name] = {"type": kind, "shape": getattr(node, ends[kind])[kind.lower()]}
            else:
                parameters = {k: v for k, v in vars(node).items() if k not in ("metadata", "input_type", "output_type")}
                plain[name] = {"type": kind, **{k: v for k, v in parameters.items() if v is not None}}
        return nirh5.write(path, plain, edges)
    graph = nir.NIRGraph(case.nodes, edges, type_check=False)
    if any(type(node).__name__ == "Conv2d" for node in case.nodes.values()):
        nirh5.tell_input_shapes(graph)
    nir.write(path, graph)
    return path


def placed(network: Network) -> Program:
    cores = {p.name: np.zeros(p.size, np.int32) for p in network.populations if not isinstance(p.neuron, Source)}
    return Program(network, "no chip", cores)


def flat_nodes(nodes: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found = {}
    for name, node in nodes.items():
        if isinstance(node, nir.NIRGraph):
            found |= flat_nodes(node.nodes, f"{prefix}{name}.")
        elif type(node).__name__ in ("LIF", "IF", "LI", "I", "CubaLIF", "CubaLI", "Threshold"):
            found[prefix + name] = node
    return found


@pytest.mark.parametrize("name", [*MATRIX, *MORE])
def test_spikes_as_written_out(name: str, tmp_path: Path) -> None:
    case = (MATRIX | MORE)[name]
    shape = tuple(int(n) for n in case.nodes["input"].input_type["input"])
    x = (np.random.default_rng(7).random((STEPS, *shape)) < 0.3).astype(np.float64)
    layers = {key: Layer(node) for key, node in flat_nodes(case.nodes).items()}
    for t in range(STEPS):
        case.step(layers, x[t], t)

    file = nir_file.read(write(case, tmp_path / "net.nir"))
    conventions = resolve(file, dt=DT)
    inputs, network = {"": x[:, None]}, lower(file, conventions)
    assert len({p.name for p in network.projections}) == len(network.projections)
    found = {
        "NIR reference": nir_reference.run(file, inputs, conventions),
        "network": run_network(network, inputs, record=Record(("v",))),
        "hwsim": engine.run(placed(network), inputs, record=Record(("v",))),
    }
    for key, layer in layers.items():
        sent, v = np.array(layer.sent), np.array(layer.v)
        spiking = hasattr(layer.node, "v_threshold") or hasattr(layer.node, "threshold")
        for interpreter, recording in found.items():
            if spiking:
                assert LEAST < sent.sum() < sent.size
                np.testing.assert_array_equal(recording.spikes[key].dense()[:, 0], sent, interpreter)
            np.testing.assert_allclose(recording.states["v"][key][:, 0], v, atol=1e-9, err_msg=interpreter)
        assert np.abs(v).max() > 0.05


def test_the_matrix_has_twenty_graphs() -> None:
    assert len(MATRIX) == 20


def refused(case: Case, tmp_path: Path, dt: float = DT) -> str:
    with pytest.raises((InvalidInputError, UnsupportedError)) as caught:
        file = nir_file.read(write(case, tmp_path / "net.nir"))
        lower(file, resolve(file, dt=dt))
    return str(caught.value)


def test_a_delay_in_the_wrong_unit(tmp_path: Path) -> None:
    assert "node 'delay' has a delay that cannot be used" in refused(delayed(full(N, 2)), tmp_path, dt=1e-12)
    assert "node 'delay' has a delay that cannot be used" in refused(delayed(full(N, -1)), tmp_path)
