"""One small program for each thing that a back-end may be asked for, in integers and floats.

The names are those of the table in ``docs/reference-lava.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from neurodeploy.network.connectivity import Connectivity, Conv2d, Dense, Sparse, with_weights
from neurodeploy.network.join import Join
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import UNLIMITED, Lif, Neuron, Product, Relu, SigmaDelta, Source
from neurodeploy.network.plasticity import LearningRule, Trace, reward_modulated, stdp
from tests.conformance.programs import Case
from tests.networks import placed

Build = Callable[[np.random.Generator, bool], list[Population | Projection]]

CASES: dict[str, Build] = {}
N = 6


def case(name: str) -> Callable[[Build], Build]:
    """Register a case."""

    def register(build: Build) -> Build:
        CASES[name] = build
        return build

    return register


def build(name: str, arithmetic: str) -> Case:
    """The program and input of a case."""
    rng = np.random.default_rng(7)
    parts = CASES[name](rng, arithmetic == "loihi")
    populations = tuple(p for p in parts if isinstance(p, Population))
    projections = tuple(p for p in parts if isinstance(p, Projection))
    readers = [p.name for p in populations if not isinstance(p.neuron, Source)]
    network = Network("case", populations, projections, (readers[-1],), 1e-3, arithmetic)  # type: ignore[arg-type]
    inputs = {}
    for population in network.inputs:
        shape = (14, 3, *population.shape)
        inputs[population.name] = (rng.random(shape) < 0.4).astype(np.uint8)
    return Case(placed(network), inputs)


def weights(rng: np.random.Generator, integer: bool, *shape: int) -> np.ndarray:
    """Both signs, more of them positive."""
    values = rng.normal(size=shape) + 0.35
    return (2 * np.rint(np.clip(values * 40, -128, 127))).astype(np.int16) if integer else values


def dense(rng: np.random.Generator, integer: bool, targets: int = N, sources: int = N) -> Dense:
    return Dense(weights(rng, integer, targets, sources))


def lif(rng: np.random.Generator, integer: bool, size: int = N, **changed: Any) -> Lif:
    """A LIF with bias; ``changed`` in floats, which integers get 5000 times as large (fractions 4096 times)."""
    one = np.ones(size)
    values: dict[str, Any] = {
        "du": one, "dv": 0.2 * one, "bias": 0.1 * rng.normal(size=size), "threshold": one, "reset_to": 0 * one,
        "initial": 0 * one,
    }  # fmt: skip
    values |= changed
    if integer:
        for name, value in values.items():
            if name in ("du", "dv", "threshold_decay"):
                values[name] = np.clip(np.rint(value * 4096) - (name == "du"), 0, 4095).astype(np.int32)
            elif name == "refractory":
                values[name] = value.astype(np.int32)
            elif isinstance(value, np.ndarray):
                step = 64 if name in ("threshold", "lower") else 1
                values[name] = (np.rint(value * 5120 / step) * step).astype(np.int32)
    return Lif(**values)


def chain(*neurons: Neuron, kind: Connectivity | None = None, rng: np.random.Generator, integer: bool) -> list[Any]:
    """in -> each population in turn, densely but for the first if ``kind`` is given."""
    shape = (N,) if not isinstance(kind, Conv2d) else kind.input_shape
    first = (N,) if not isinstance(kind, Conv2d) else kind.output_shape
    parts: list[Any] = [Population("in", shape, Source())]
    for index, neuron in enumerate(neurons):
        size = first if index == 0 else (N,)
        before = [p for p in parts if isinstance(p, Population)][-1]
        population = Population(f"n{index}", size, neuron)
        synapses = kind if index == 0 and kind is not None else dense(rng, integer, population.size, before.size)
        parts += [population, Projection(f"w{index}", before.name, population.name, synapses)]
    return parts


def plain(name: str, **changed: Any) -> None:
    """Register a chain of two populations of one neuron, and something that hears it."""

    @case(name)
    def build(rng: np.random.Generator, integer: bool) -> list[Any]:
        drawn = {key: value(rng) if callable(value) else value for key, value in changed.items()}
        ones = {k: v * np.ones(N) if isinstance(v, (float, np.ndarray)) else v for k, v in drawn.items()}
        neurons = [lif(rng, integer, **ones) for _ in range(2)]
        return chain(*neurons, lif(rng, integer), rng=rng, integer=integer)


plain("LIF")
plain("LIF, parameters of each neuron", dv=lambda r: r.random(N), threshold=lambda r: 0.5 + r.random(N))
plain("IF", dv=0.0)
plain("CubaLIF", du=0.4)
plain("reset potential", reset_to=lambda r: 0.2 * r.normal(size=N))
plain("initial potential", initial=lambda r: r.normal(size=N))
plain("soft reset", reset="subtract")
plain("reset in the next step", reset="subtract", reset_time="next")
plain("gated reset", reset_time="gate")
plain("fires at equality", comparison=">=")
plain("several spikes a step", reset="subtract", max_spikes=UNLIMITED)
plain("floor", floor=-0.1)
plain("refractory", refractory=lambda r: np.full(N, 2))
plain("refractory, of each neuron", refractory=lambda r: r.integers(0, 4, N))
plain("ternary", lower=-0.8)
plain("adaptive threshold", threshold_decay=0.1, threshold_jump=0.4)
plain("reset of the current", du=0.3, dv=0.0, reset_current=True)
plain("reset of the current, refractory", du=0.3, refractory=lambda r: r.integers(0, 4, N), reset_current=True)
plain("reset of the current, ternary", du=0.3, lower=-0.8, reset_current=True)


@case("LI read-out")
def _readout(rng: np.random.Generator, integer: bool) -> list[Any]:
    return chain(lif(rng, integer), lif(rng, integer, spiking=False), rng=rng, integer=integer)


@case("LI that feeds on")
def _feeding(rng: np.random.Generator, integer: bool) -> list[Any]:
    shift = {"send_shift": 8} if integer else {}
    li = lif(rng, integer, spiking=False, **shift)
    return chain(li, lif(rng, integer), rng=rng, integer=integer)


@case("MAX of currents")
def _largest(rng: np.random.Generator, integer: bool) -> list[Any]:
    kind = Conv2d(weights(rng, integer, 2, 1, 3, 3), (1, 6, 6), padding=(1, 1))
    parts = chain(lif(rng, integer, 18), lif(rng, integer), kind=kind, rng=rng, integer=integer)
    window = np.arange(18).reshape(2, 3, 3).repeat(2, 1).repeat(2, 2).ravel().astype(np.int32)
    parts[1], parts[2] = replace(parts[1], shape=(2, 3, 3), join=Join(window)), replace(parts[2], port=1)
    return [*parts[:4], replace(parts[4], connectivity=dense(rng, integer, N, 18))]


@case("MAX of currents, and currents beside it")
def _largest_and_more(rng: np.random.Generator, integer: bool) -> list[Any]:
    parts = chain(lif(rng, integer), lif(rng, integer, spiking=False), rng=rng, integer=integer)
    join = Join(np.array([5, 0, 0, 1, 1, 1, 2, 3, 3, 3], np.int32))  # neuron 4 has no compartment
    parts[1], parts[3] = replace(parts[1], join=join), replace(parts[3], join=join)
    for source, target in (("in", "n0"), ("n0", "n1")):
        kind = dense(rng, integer, 10)
        parts.append(Projection(f"onto {target}", source, target, kind, delay=1, port=1))
    return parts


@case("MAX of currents that wrap")
def _largest_wrapped(rng: np.random.Generator, integer: bool) -> list[Any]:
    parts = chain(lif(rng, integer), lif(rng, integer), rng=rng, integer=integer)
    whole = rng.choice([-254, 200, 254], (12, N)).astype(np.int16)  # 2^17 is what a current holds
    far = Dense(whole, 7) if integer else Dense(whole / 200)
    parts[1] = replace(parts[1], join=Join(np.arange(12, dtype=np.int32) // 2))
    return [*parts, *(Projection(name, "in", "n0", far, port=1) for name in ("far", "as far"))]


@case("rectifier behind a MAX")
def _rectified(rng: np.random.Generator, integer: bool) -> list[Any]:
    relu = Relu(_graded(0.1 * rng.normal(size=N), integer), _graded(np.full(N, 0.3), integer))
    parts = chain(relu, lif(rng, integer), rng=rng, integer=integer)
    parts[1] = replace(parts[1], join=Join(np.array([0, 1, 2, 2, 4, 4, 5, 3], np.int32)))
    parts[2] = replace(parts[2], connectivity=dense(rng, integer, 8), port=1)
    return _narrow(parts)


def _graded(value: np.ndarray, integer: bool) -> np.ndarray:
    return np.rint(value * 100).astype(np.int32) if integer else value


@case("sigma-delta")
def _sigma_delta(rng: np.random.Generator, integer: bool) -> list[Any]:
    bias, threshold = _graded(rng.normal(size=N), integer), _graded(np.full(N, 0.5), integer)
    shift = 6 if integer else 0
    first, second = (SigmaDelta(bias, threshold, kind, shift) for kind in ("relu", "identity"))  # type: ignore[arg-type]
    return _narrow(chain(first, second, rng=rng, integer=integer))


@case("sigma-delta, heard by LIF")
def _sigma_delta_and_lif(rng: np.random.Generator, integer: bool) -> list[Any]:
    bias, threshold = _graded(rng.normal(size=N), integer), _graded(np.full(N, 0.5), integer)
    parts = chain(SigmaDelta(bias, threshold, "relu", 6 if integer else 0), lif(rng, integer), rng=rng, integer=integer)
    if integer:
        parts[-1] = replace(parts[-1], connectivity=replace(parts[-1].connectivity, exponent=-4))
    return parts


@case("delta, sigma-delta that loses its remainders, sigma")
def _delta(rng: np.random.Generator, integer: bool) -> list[Any]:
    nothing, threshold = _graded(np.zeros(N), integer), _graded(np.full(N, 0.1), integer)
    delta = SigmaDelta(nothing, threshold, "identity", 3 * integer, accumulate=False)
    lossy = SigmaDelta(_graded(rng.normal(size=N), integer), threshold, "relu", 3 * integer, "lost")
    return _narrow(chain(delta, lossy, SigmaDelta(nothing, nothing, "identity"), rng=rng, integer=integer))


@case("graded ReLU")
def _relu(rng: np.random.Generator, integer: bool) -> list[Any]:
    threshold = _graded(np.full(N, 0.2), integer)
    stock = Relu(0 * threshold, threshold)
    own = Relu(_graded(rng.normal(size=N), integer), _graded(rng.random(N), integer))
    return _narrow(chain(stock, own, rng=rng, integer=integer))


@case("product gate")
def _product(rng: np.random.Generator, integer: bool) -> list[Any]:
    threshold = _graded(np.full(N, 0.1), integer)
    parts = chain(Product(threshold // 5 if integer else threshold, 0), lif(rng, integer), rng=rng, integer=integer)
    parts.append(Population("gate", (N,), Source()))
    parts.append(Projection("gate", "gate", "n0", dense(rng, integer), port=1))
    order = [p for p in parts if isinstance(p, Population)]
    parts = [order[-1], *[p for p in parts if p is not order[-1]]]
    small = {"w0": 1, "gate": 1}
    return _narrow(
        [
            replace(p, connectivity=with_weights(p.connectivity, p.connectivity.weights // 16 * 2))
            if isinstance(p, Projection) and p.name in small and integer
            else p
            for p in parts
        ]
    )


def _narrow(parts: list[Any]) -> list[Any]:
    """Weights of the second hop shifted down, so that graded messages stay within 32 bits."""
    return [
        replace(p, connectivity=replace(p.connectivity, exponent=-8))
        if isinstance(p, Projection) and p.connectivity.weights.dtype == np.int16 and p.source.startswith("n")
        else p
        for p in parts
    ]


def synapses(name: str, make: Callable[[np.random.Generator, bool], Connectivity]) -> None:
    """Register a case about one kind of synapses."""

    @case(name)
    def build(rng: np.random.Generator, integer: bool) -> list[Any]:
        kind = make(rng, integer)
        return chain(lif(rng, integer, kind.outputs), lif(rng, integer), kind=kind, rng=rng, integer=integer)


def _sparse(rng: np.random.Generator, integer: bool) -> Sparse:
    values = weights(rng, integer, N, N)
    values[rng.random((N, N)) < 0.5] = 0
    matrix = Dense(values).to_csr()
    matrix.eliminate_zeros()
    return Sparse.from_csr(matrix)


def _conv(rng: np.random.Generator, integer: bool, groups: int = 1) -> Conv2d:
    kernel = weights(rng, integer, 4, 2 // groups, 3, 2)
    return Conv2d(kernel, (2, 7, 6), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=groups)


def _pool(rng: np.random.Generator, integer: bool) -> Conv2d:
    ones = np.full((2, 1, 2, 2), 100, np.int16) if integer else np.full((2, 1, 2, 2), 0.6)
    return Conv2d(ones, (2, 6, 6), stride=(2, 2), groups=2)


synapses("Sparse", _sparse)
synapses("Conv2d", _conv)
synapses("Conv2d, grouped", lambda rng, integer: _conv(rng, integer, 2))
synapses("pooling", _pool)


def tied(name: str, *extra: tuple[str, str, int]) -> None:
    """Register three layers with further projections ``(source, target, delay)``."""

    @case(name)
    def build(rng: np.random.Generator, integer: bool) -> list[Any]:
        parts = chain(*(lif(rng, integer) for _ in range(3)), rng=rng, integer=integer)
        for source, target, delay in extra:
            parts.append(Projection(f"{source}>{target}", source, target, dense(rng, integer), delay))
        return parts


tied("skip connection", ("in", "n2", 0))
tied("delays", ("in", "n1", 3), ("n0", "n2", 2))
tied("recurrent", ("n1", "n1", 1))
tied("loop over two layers", ("n1", "n0", 2))


@case("several inputs and outputs")
def _several(rng: np.random.Generator, integer: bool) -> list[Any]:
    parts = chain(lif(rng, integer), lif(rng, integer), rng=rng, integer=integer)
    parts.insert(0, Population("second", (4,), Source()))
    return [*parts, Projection("from second", "second", "n1", dense(rng, integer, N, 4), delay=1)]


@case("bias axon")
def _always(rng: np.random.Generator, integer: bool) -> list[Any]:
    parts = chain(lif(rng, integer), lif(rng, integer), rng=rng, integer=integer)
    parts.insert(0, Population("always", (1,), Source(always_on=True, start=2)))
    return [*parts, Projection("bias", "always", "n1", dense(rng, integer, N, 1))]


def learns(name: str, rule: LearningRule, recurrent: bool = False) -> None:
    """Register a case in which ``in -> n0`` learns, or ``n0 -> n0``; its neurons are also driven by another input."""

    @case(name)
    def build(rng: np.random.Generator, integer: bool) -> list[Any]:
        drive = Population("drive", (N,), Source())
        neurons = Population("n0", (N,), lif(rng, integer, bias=np.zeros(N)))
        start = weights(rng, integer, N, N) // 2 * 2 if integer else 0.3 * rng.normal(size=(N, N))
        source, delay = ("n0", 1) if recurrent else ("in", 0)
        parts: list[Any] = [Population("in", (N,), Source()), drive]
        if rule.factors == 3:
            parts.append(Population("reward", (1,), Source()))
        parts += [neurons, Projection("learns", source, "n0", Dense(start), delay, rule=rule)]
        parts.append(Projection("drives", "drive", "n0", dense(rng, integer)))
        if rule.factors == 3:
            parts.append(Projection("rewards", "reward", "n0", dense(rng, integer, N, 1), port=1))
        if recurrent:
            parts.append(Projection("in", "in", "n0", dense(rng, integer)))
        return parts


learns("STDP", stdp(rate=0.25, epoch=2, seed=3))
learns("STDP, recurrent", stdp(rate=0.125, epoch=1, seed=5), recurrent=True)
learns(
    "triplet STDP",
    LearningRule(
        "2^-2*y0*x1-2^-2*x0*y1+2^-4*y0*x1*y2", x1=Trace(16, 8), y1=Trace(16, 8), y2=Trace(16, 30), epoch=3, seed=1
    ),
)
learns("three-factor rule", reward_modulated(rate=0.5, epoch=2, seed=9))
