"""How fast a network runs on Lava's own runtime, on Lava's models in one process, and on hwsim.

    python benchmarks/lava_runtimes.py [--repeat 5]

An MLP 784-256-10 and a convolutional network 1x28x28 -> 8c3s2 -> 16c3s2 -> 10, in integers and in floats, 100 steps,
13 % of the inputs spiking (the mean intensity of MNIST). Runs are interleaved; medians of wall time on this machine,
with what starting costs (compiling and, for Lava's own runtime, a process for each Process) and without: a step is the
difference between runs of 500 and of 100 steps, by 400. "Fresh" runs also start Python and import Lava, as separate
scripts would; otherwise the worker is kept. Ratios are what counts; the machine's load moves all of them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from neurodeploy.backends import lava
from neurodeploy.backends.lava import pool
from neurodeploy.backends.lava.setup import setup
from neurodeploy.hwsim import engine
from neurodeploy.network.connectivity import Connectivity, Conv2d, Dense, with_weights
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.program.program import Program
from tests.networks import placed

Run = Callable[[Program, dict[str, np.ndarray]], object]


RATE = 0.13


def chain(shape: tuple[int, ...], *kinds: Connectivity, integer: bool) -> Program:
    populations, projections = [Population("input", shape, Source())], []
    for index, kind in enumerate(kinds):
        size = kind.outputs
        values = (4095, 400, 50, 64 * 400, 0, 0) if integer else (1.0, 0.1, 50.0, 64.0 * 400, 0.0, 0.0)
        neuron = Lif(*(np.full(size, value, np.int32 if integer else float) for value in values))
        if not integer:
            kind = with_weights(kind, 64.0 * kind.weights)
        name = f"n{index}"
        projections.append(Projection(f"w{index}", populations[-1].name, name, kind))
        populations.append(Population(name, getattr(kind, "output_shape", (size,)), neuron))
    return placed(
        Network(
            "bench",
            tuple(populations),
            tuple(projections),
            (populations[-1].name,),
            1e-3,
            "loihi" if integer else "float",
        )
    )


def weights(*shape: int) -> np.ndarray:
    return (2 * np.random.default_rng(0).integers(-40, 60, shape)).astype(np.int16)


def mlp(integer: bool = True) -> Program:
    return chain((784,), Dense(weights(256, 784)), Dense(weights(10, 256)), integer=integer)


def conv(integer: bool = True) -> Program:
    first = Conv2d(weights(8, 1, 3, 3), (1, 28, 28), (2, 2), (1, 1))
    second = Conv2d(weights(16, 8, 3, 3), first.output_shape, (2, 2), (1, 1))
    return chain((1, 28, 28), first, second, Dense(weights(10, second.outputs)), integer=integer)


def timed(run: Run, program: Program, steps: int, samples: int) -> float:
    shape = (steps, samples, *program.network.inputs[0].shape)
    x = {"": (np.random.default_rng(1).random(shape) < RATE).astype(np.uint8)}
    begin = time.perf_counter()
    run(program, x)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    setup()
    runs: dict[str, Run] = {
        "stock": lambda p, x: lava.run(p, x, runtime="stock", expanded=0),
        "local, Conv": lambda p, x: lava.run(p, x, runtime="local", expanded=0),
        "local": lambda p, x: lava.run(p, x, runtime="local"),
        "hwsim": engine.run,
    }
    nets = [(f"{n} in {'integers' if i else 'floats'}", make(i)) for n, make in (("MLP", mlp), ("conv net", conv))
            for i in (True, False)]  # fmt: skip
    for name, program in nets:
        for run in runs.values():
            timed(run, program, 3, 1)  # compile kernels, start the worker
        short: dict[str, list[float]] = {key: [] for key in runs}
        long: dict[str, list[float]] = {key: [] for key in runs}
        for _ in range(args.repeat):
            for key, run in runs.items():
                short[key].append(timed(run, program, 100, 1))
                long[key].append(timed(run, program, 500, 1))
        step = {key: (median(long[key]) - median(short[key])) / 400 for key in runs}
        print(f"{name}: 100 steps, one sample")
        for key in runs:
            whole = median(short[key])
            ratio = f"{step['stock'] / step[key]:6.1f} x stock" if key != "stock" else ""
            print(f"  {key:12s} {1e3 * whole:8.1f} ms in all, {1e6 * step[key]:8.1f} us a step  {ratio}")
        print(f"  hwsim against local: {step['local'] / step['hwsim']:.1f} x a step")
        fresh = []
        for _ in range(3):
            pool.end_all()
            fresh.append(timed(runs["stock"], program, 100, 1))
        together = timed(runs["local"], program, 100, 100)
        alone = {"fresh stock": median(fresh), "stock": median(short["stock"]), "local": median(short["local"])}
        ratios = ", ".join(f"{100 * value / together:.1f} x {key}" for key, value in alone.items())
        print(f"  100 samples in one run on local: {together:.2f} s, against 100 runs: {ratios}")


if __name__ == "__main__":
    main()
