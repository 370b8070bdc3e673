"""Random networks for property tests: every neuron and connectivity kind, extreme weights and states."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neurodeploy.network.connectivity import Connectivity, Conv2d, Dense, Sparse
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import UNLIMITED, Lif, Source
from neurodeploy.program.program import Program

IMAGE = (2, 6, 5)


def random_network(seed: int, arithmetic: str = "loihi", slow: bool = True) -> Network:
    """Input -> 1 to 4 populations, with skips, delays and recurrence; the same network for the same seed.

    ``slow``: some neurons have a refractory time or an adaptive threshold (in floats).
    """
    rng = np.random.default_rng(seed)
    populations = [Population("input", IMAGE, Source())]
    if rng.random() < 0.3:
        populations.append(Population("always", (1,), Source(always_on=True, start=int(rng.integers(0, 3)))))
    projections: list[Projection] = []
    layers = int(rng.integers(1, 5))
    for index in range(layers):
        earlier = list(populations)
        source = earlier[-1] if earlier[-1].name != "always" else earlier[0]
        kind, shape = random_connectivity(rng, source.shape, arithmetic)
        name = f"layer{index}"
        population = Population(name, shape, random_neuron(rng, int(np.prod(shape)), arithmetic))
        populations.append(population)
        projections.append(Projection(f"{source.name}-{name}", source.name, name, kind))
        if rng.random() < 0.4:
            other = earlier[int(rng.integers(len(earlier)))]
            kind = dense(rng, other.size, population.size, arithmetic)
            projections.append(
                Projection(f"{other.name}-{name}-skip", other.name, name, kind, delay=int(rng.integers(0, 4)))
            )
        if rng.random() < 0.4:
            kind = dense(rng, population.size, population.size, arithmetic)
            projections.append(Projection(f"{name}-{name}", name, name, kind, delay=int(rng.integers(1, 4))))
    if rng.random() < 0.3:
        last = populations[-1]
        populations.append(Population("readout", (3,), random_neuron(rng, 3, arithmetic, spiking=False)))
        projections.append(Projection("to readout", last.name, "readout", dense(rng, last.size, 3, arithmetic)))
    if not slow:
        none = {"refractory": None, "threshold_decay": None, "threshold_jump": None}
        populations = [
            replace(p, neuron=replace(p.neuron, **none)) if isinstance(p.neuron, Lif) else p for p in populations
        ]
    return Network("random", tuple(populations), tuple(projections), (populations[-1].name,), 1e-3, arithmetic)


def weights(rng: np.random.Generator, shape: tuple[int, ...], arithmetic: str) -> np.ndarray:
    values = rng.normal(size=shape)
    values[rng.random(shape) < 0.2] = 0
    if arithmetic == "float":
        return values
    reach = rng.choice([10, 60, 256])
    return (2 * np.rint(np.clip(values * reach / 2, -128, 127))).astype(np.int16)


def exponent(rng: np.random.Generator, arithmetic: str) -> int:
    return int(rng.choice([0, 0, 0, 2, 7, -1, -3, -8])) if arithmetic == "loihi" else 0


def dense(rng: np.random.Generator, inputs: int, outputs: int, arithmetic: str) -> Dense:
    return Dense(weights(rng, (outputs, inputs), arithmetic), exponent(rng, arithmetic))


def random_connectivity(
    rng: np.random.Generator, shape: tuple[int, ...], arithmetic: str
) -> tuple[Connectivity, tuple[int, ...]]:
    size = int(np.prod(shape))
    choice = rng.choice(["dense", "sparse", "conv"] if len(shape) == 3 else ["dense", "sparse"])
    if choice == "conv":
        groups = int(rng.choice([1, shape[0]]))
        out = groups * int(rng.integers(1, 4))
        kernel = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
        kind = Conv2d(
            weights(rng, (out, shape[0] // groups, *kernel), arithmetic),
            (shape[0], shape[1], shape[2]),
            stride=(int(rng.integers(1, 3)), int(rng.integers(1, 3))),
            padding=(kernel[0] - 1, kernel[1] - 1),
            dilation=(1, int(rng.integers(1, 3))) if shape[2] > 4 else (1, 1),
            groups=groups,
            exponent=exponent(rng, arithmetic),
        )
        return kind, kind.output_shape
    outputs = int(rng.integers(1, 12))
    if choice == "dense":
        return dense(rng, size, outputs, arithmetic), (outputs,)
    matrix = Dense(weights(rng, (outputs, size), arithmetic)).to_csr()
    matrix.eliminate_zeros()
    sparse = Sparse.from_csr(matrix)
    return Sparse(sparse.weights, sparse.targets, sparse.indptr, outputs, exponent(rng, arithmetic)), (outputs,)


def random_neuron(rng: np.random.Generator, size: int, arithmetic: str, spiking: bool = True) -> Lif:
    reset = str(rng.choice(["hard", "hard", "subtract", "none"]))
    comparison = str(rng.choice([">", ">="]))
    times = {"hard": ["now", "now", "next", "gate"], "subtract": ["now", "next", "once"], "none": ["now"]}
    reset_time = str(rng.choice(times[reset])) if spiking else "now"
    max_spikes = int(rng.choice([1, 1, 3, UNLIMITED])) if reset_time == "now" and spiking else 1
    floor = None if rng.random() < 0.7 else -np.abs(rng.normal(size=size))
    # Drawn apart, so that all else of a seed is what it was without this rule.
    clears = (reset, reset_time) == ("hard", "now") and spiking and bool(rng.spawn(1)[0].random() < 0.3)
    if arithmetic == "float":
        fraction = rng.choice([0.0, 0.3, 1.0])
        return Lif(
            du=np.full(size, rng.choice([0.0, 0.5, 1.0])),
            dv=np.full(size, fraction),
            bias=rng.normal(size=size) * rng.choice([0, 0.2]),
            threshold=np.abs(rng.normal(size=size)) + 0.3,
            reset_to=rng.normal(size=size) * rng.choice([0, 0.1]),
            initial=rng.normal(size=size) * rng.choice([0, 0.2]),
            reset=reset,
            reset_time=reset_time,
            comparison=comparison,
            spiking=spiking,
            max_spikes=max_spikes,
            floor=floor,
            reset_current=clears,
            **(_slow(rng, size) if reset_time == "now" and spiking else {}),
        )
    high = int(rng.choice([1 << 8, 1 << 12, 1 << 17]))
    return Lif(
        du=np.full(size, rng.choice([0, 100, 2048, 4095]), np.int32),
        dv=rng.integers(0, 4096, size).astype(np.int32) if rng.random() < 0.5 else np.zeros(size, np.int32),
        bias=rng.integers(-4096, 4096, size).astype(np.int32) * int(rng.choice([0, 1, 128])),
        threshold=rng.integers(1, high, size).astype(np.int32) << 6,
        reset_to=np.zeros(size, np.int32),
        initial=rng.integers(-1000, 1000, size).astype(np.int32) * int(rng.choice([0, 1])),
        reset=reset,
        reset_time=reset_time,
        comparison=comparison,
        spiking=spiking,
        max_spikes=max_spikes,
        floor=None if floor is None else np.rint(floor * 5000).astype(np.int32),
        reset_current=clears,
    )


def _slow(rng: np.random.Generator, size: int) -> dict[str, np.ndarray]:
    slow = {}
    if rng.random() < 0.3:
        slow["refractory"] = rng.integers(0, 4, size).astype(np.int32)
    if rng.random() < 0.3:
        slow["threshold_decay"], slow["threshold_jump"] = rng.random(size), np.abs(rng.normal(size=size))
    return slow


def placed(network: Network, cores: int = 3) -> Program:
    """Neurons dealt round over a few cores."""
    core_of = {p.name: np.arange(p.size, dtype=np.int32) % cores for p in network.populations if p.name != "input"}
    return Program(network, "loihi1", core_of)


def random_spikes(network: Network, seed: int, steps: int = 12, samples: int = 3, rate: float = 0.3) -> np.ndarray:
    rng = np.random.default_rng(seed + 10_000)
    return (rng.random((steps, samples, *network.by_name["input"].shape)) < rate).astype(np.uint8)
