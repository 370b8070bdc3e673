"""Random integer networks for the Lava tests, and a statement of their arithmetic that shares no code with neurodeploy.

`expected` follows section 4 of the notes on lava-nc 0.10.0 (``proc/lif/models.py``, ``utils/weightutils.py``) one
neuron vector at a time; connectivity is taken as a plain matrix.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from neurodeploy.network.connectivity import Conv2d, Dense, Sparse
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.program.program import Program

M = 2**23


def lif(size: int, *, du: Any = 4095, dv: Any = 300, bias: Any = 0, threshold: Any = 6400, spiking: bool = True) -> Lif:
    values = [np.broadcast_to(np.asarray(value, dtype=np.int64), (size,)).copy() for value in (du, dv, bias, threshold)]
    return Lif(*values, np.zeros(size, np.int64), np.zeros(size, np.int64), spiking=spiking)


def program(populations: list[Population], projections: list[Projection], arithmetic: Any = "loihi") -> Program:
    network = Network("test", tuple(populations), tuple(projections), (populations[-1].name,), 1e-3, arithmetic)
    homes = {p.name: np.zeros(p.size, np.int32) for p in populations if p not in network.inputs}
    return Program(network, "test", homes)


def small(weights: Any = 20, *, delay: int = 0, exponent: int = 0, **neuron: Any) -> Program:
    """One source, one synapse, one neuron."""
    changed = {key: neuron.pop(key) for key in ("reset", "comparison", "reset_to", "initial") if key in neuron}
    populations = [Population("in", (1,), Source()), Population("out", (1,), replace(lif(1, **neuron), **changed))]
    kind = Dense(np.full((1, 1), weights), exponent)
    return program(populations, [Projection("w", "in", "out", kind, delay)])


def even(rng: np.random.Generator, *shape: int, low: int = -100, high: int = 120) -> np.ndarray:
    return (2 * rng.integers(low // 2, high // 2, shape)).astype(np.int16)


def sparse(rng: np.random.Generator, inputs: int, outputs: int, values: np.ndarray) -> Sparse:
    """About a third of all synapses, with weights drawn from ``values``."""
    rows = [np.flatnonzero(rng.random(outputs) < 0.35) for _ in range(inputs)]
    targets = np.concatenate(rows).astype(np.int32)
    indptr = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    return Sparse(rng.choice(values, len(targets)).astype(np.int16), targets, indptr, outputs)


def mlp(rng: np.random.Generator) -> Program:
    """Three layers whose biases make them spike on their own, and early."""
    sizes = (12, 20, 15, 8)
    populations = [Population("in", (12,), Source())]
    projections = []
    for layer, (before, size) in enumerate(pairwise(sizes), start=1):
        neuron = lif(
            size,
            du=rng.choice([4095, 2047, 500]),
            dv=rng.integers(0, 1000),
            bias=rng.integers(-1500, 4000, size) if layer < 3 else 32 * rng.integers(-4000, 4000, size),
            threshold=64 * rng.integers(100, 200),
        )
        populations.append(Population(f"l{layer}", (size,), neuron))
        weights = Dense(even(rng, size, before), exponent=int(rng.integers(-2, 2)))
        projections.append(Projection(f"w{layer}", populations[-2].name, f"l{layer}", weights))
    return program(populations, projections)


def convolutional(rng: np.random.Generator) -> Program:
    """Lava's Conv, a convolution with a negative exponent, parameters of each neuron, a read-out."""
    first = Conv2d(even(rng, 4, 1, 3, 2), (2, 9, 7), (2, 1), (1, 0), (1, 2), groups=2, exponent=1)
    second = Conv2d(even(rng, 6, 4, 3, 3), first.output_shape, (1, 1), (1, 1), exponent=-1)
    mixed = lif(
        first.outputs,
        du=rng.integers(2000, 4096, first.outputs),
        dv=rng.integers(0, 900, first.outputs),
        threshold=64 * rng.integers(50, 300, first.outputs),
        bias=rng.integers(-200, 900, first.outputs),
    )
    populations = [
        Population("in", first.input_shape, Source()),
        Population("c1", first.output_shape, mixed),
        Population("c2", second.output_shape, lif(second.outputs, bias=300, threshold=64 * 130)),
        Population("out", (5,), lif(5, du=1000, dv=200, bias=rng.integers(-300, 300, 5), threshold=0, spiking=False)),
    ]
    projections = [
        Projection("k1", "in", "c1", first),
        Projection("k2", "c1", "c2", second),
        Projection("w", "c2", "out", Dense(even(rng, 5, second.outputs))),
    ]
    return program(populations, projections)


def one_sign(rng: np.random.Generator) -> Program:
    """Odd excitatory and odd inhibitory weights that meet in one population; listed synapses; a skip over two hops."""
    excitatory = sparse(rng, 10, 16, np.arange(1, 256))
    inhibitory = Dense(-rng.integers(0, 256, (16, 6)).astype(np.int16), exponent=-3)
    populations = [
        Population("a", (10,), Source()),
        Population("b", (6,), Source()),
        Population("hidden", (16,), lif(16, bias=700, threshold=64 * 250)),
        Population("out", (7,), lif(7, du=3000, dv=100, bias=-300, threshold=64 * 300)),
    ]
    projections = [
        Projection("exc", "a", "hidden", excitatory),
        Projection("inh", "b", "hidden", inhibitory),
        Projection("on", "hidden", "out", sparse(rng, 16, 7, np.arange(-60, 120, 2))),
        Projection("skip dense", "a", "out", Dense(even(rng, 7, 10))),
        Projection("skip sparse", "b", "out", sparse(rng, 6, 7, np.arange(-60, 120, 2))),
    ]
    return program(populations, projections)


def recurrent(rng: np.random.Generator) -> Program:
    """Loops with delays 1 and 3, a loop over two layers, a bias axon; biases spike before the first input arrives."""
    bias = 2000 * rng.integers(0, 4, 9)
    populations = [
        Population("in", (8,), Source()),
        Population("axon", (1,), Source(always_on=True, start=2)),
        Population("one", (9,), lif(9, du=3000, bias=bias, threshold=6400)),
        Population("two", (9,), lif(9, du=3500, dv=100, bias=bias[::-1], threshold=6400)),
    ]
    projections = [
        Projection("w", "in", "one", Dense(even(rng, 9, 8))),
        Projection("x", "one", "two", Dense(even(rng, 9, 9))),
        Projection("bias", "axon", "two", Dense(np.full((9, 1), 20, np.int16))),
        Projection("loop 1", "one", "one", Dense(even(rng, 9, 9))),
        Projection("loop 2", "two", "two", sparse(rng, 9, 9, np.arange(-60, 120, 2))),
        Projection("back", "two", "one", Dense(even(rng, 9, 9))),
        Projection("late", "in", "two", sparse(rng, 8, 9, np.arange(-60, 120, 2))),
    ]
    delays = {"loop 1": 1, "loop 2": 3, "back": 2, "late": 2}
    projections = [Projection(p.name, p.source, p.target, p.connectivity, delays.get(p.name, 0)) for p in projections]
    return program(populations, projections)


def trains(rng: np.random.Generator, which: Program, steps: int, samples: int) -> dict[str, np.ndarray]:
    return {p.name: rng.random((steps, samples, p.size)) < 0.3 for p in which.network.inputs}


def decayed(x: np.ndarray, d: np.ndarray) -> np.ndarray:
    return np.sign(x) * (np.abs(x) * (4096 - d) // 4096)


def expected(which: Program, inputs: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """``u``, ``v`` and ``s`` of every population, each ``[time, batch, neurons]``."""
    network = which.network
    steps, samples = next(iter(inputs.values())).shape[:2]
    s = {p.name: np.zeros((steps, samples, p.size), np.int64) for p in network.populations}
    u = {p.name: np.zeros((steps + 1, samples, p.size), np.int64) for p in network.populations}
    v = {p.name: np.zeros((steps + 1, samples, p.size), np.int64) for p in network.populations}
    matrix = {p.name: p.connectivity.to_csr().toarray().astype(np.int64) for p in network.projections}
    for t in range(steps):
        for population in network.populations:
            name, n = population.name, population.neuron
            if isinstance(n, Source):
                s[name][t] = (t >= n.start) if n.always_on else inputs[name][t]
                continue
            a = np.zeros((samples, population.size), np.int64)
            for p in network.into(name):
                if t >= p.delay:
                    a += np.floor((s[p.source][t - p.delay] @ matrix[p.name]) * 2.0**p.connectivity.exponent).astype(
                        int
                    )
            new = decayed(u[name][t], n.du + 1) + 64 * a
            new = np.where(new > M, new - 2 * M, np.where(new <= -M, new + 2 * M, new))
            potential = np.clip(decayed(v[name][t], n.dv) + new + n.bias, 1 - M, M - 1)
            s[name][t] = (potential > n.threshold) & n.spiking
            u[name][t + 1], v[name][t + 1] = new, np.where(s[name][t], 0, potential)
    return {"u": {k: x[1:] for k, x in u.items()}, "v": {k: x[1:] for k, x in v.items()}, "s": s}
