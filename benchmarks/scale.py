"""How far hwsim's functional pass goes on one machine: time of a step, cost of an event, memory.

    python benchmarks/scale.py [--steps 20]

1. A million neurons with 1.1 billion synapses in shared kernels (5 x 5 over 64 channels, and 3 x 3 back).
2. A million neurons with 200 million listed synapses, at random.
3. Networks of 10^4 to 10^8 listed synapses: with a fan-out of 100 (so a million neurons at the end), and with one that
   grows to 1,000. 5 % of the neurons fire in a step; the cost of everything, neurons included, by event (one neuron's
   spike and all its synapses) and by synaptic operation.

Each network runs in a process of its own, in integers, on one thread. What is left out: counts and timing.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from neurodeploy.hwsim.engine import Simulator
from neurodeploy.network.connectivity import Conv2d, Sparse
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.program.program import Program

PERIOD = 20


def clocks(size: int, rng: Any) -> Lif:
    """Neurons that fire every PERIOD steps, whatever small weights add to their bias."""
    ones = np.ones(size, np.int32)
    phase = rng.integers(0, PERIOD, size, dtype=np.int32) * 65536
    return Lif(ones * 4095, ones * 0, ones * 65536, ones * 65536 * (PERIOD - 1), ones * 0, phase)


def program(populations: list[Population], projections: list[Projection]) -> Program:
    network = Network(
        "scale", (Population("clock", (1,), Source()), *populations), tuple(projections), ("a",), 1e-3, "loihi"
    )
    return Program(network, "none", {p.name: np.zeros(p.size, np.int32) for p in populations})


def convolutions() -> Program:
    rng = np.random.default_rng(0)
    shape = (64, 90, 90)
    size = int(np.prod(shape))
    wide = Conv2d(rng.integers(-1, 2, (64, 64, 5, 5), dtype=np.int8), shape, padding=(2, 2))
    back = Conv2d(rng.integers(-1, 2, (64, 64, 3, 3), dtype=np.int8), shape, padding=(1, 1))
    populations = [Population(name, shape, clocks(size, rng)) for name in ("a", "b")]
    return program(populations, [Projection("ab", "a", "b", wide), Projection("bb", "b", "b", back, delay=1)])


def listed(size: int, fanout: int) -> Program:
    rng = np.random.default_rng(0)
    synapses = Sparse(
        rng.integers(-1, 2, size * fanout, dtype=np.int8), rng.integers(0, size, size * fanout, dtype=np.int32),
        np.arange(size + 1, dtype=np.int64) * fanout, size,
    )  # fmt: skip
    return program([Population("a", (size,), clocks(size, rng))], [Projection("aa", "a", "a", synapses, delay=1)])


def fan_out(kind: Any) -> float:
    """Mean synapses of a neuron."""
    if isinstance(kind, Conv2d):
        taps = [
            np.minimum(np.arange(n) + p, k - 1) - np.maximum(np.arange(n) + p - o + 1, 0) + 1
            for n, p, k, o in zip(
                kind.input_shape[1:], kind.padding, kind.weights.shape[2:], kind.output_shape[1:], strict=True
            )
        ]
        return float(np.outer(*taps).mean() * kind.weights.shape[0])
    return float(np.diff(kind.indptr).mean())


def measure(build: str, arguments: tuple[int, ...], steps: int) -> dict[str, float]:
    """Runs in a process of its own."""
    made = globals()[build](*arguments)
    started = time.process_time()
    simulator = Simulator(made, threads=1)
    packed = time.process_time() - started
    silence = {"": np.zeros((steps, 1, 1), np.uint8)}
    simulator.run({"": silence[""][:2]})
    times = []
    for _ in range(3):
        started = time.process_time()
        recording = simulator.run(silence)
        times.append(time.process_time() - started)
    fans = {p.source: 0.0 for p in made.network.projections}
    for projection in made.network.projections:
        fans[projection.source] += fan_out(projection.connectivity)
    events = sum(len(recording.spikes[name]) for name in fans)
    operations = sum(len(recording.spikes[name]) * fan for name, fan in fans.items())
    synapses = sum(fan_out(p.connectivity) * p.connectivity.inputs for p in made.network.projections)
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "neurons": sum(p.size for p in made.network.populations[1:]),
        "synapses": synapses,
        "packed": packed,
        "step": min(times) / steps,
        "event": min(times) / events,
        "operation": min(times) / operations,
        "held": sum(pool.nbytes for pool in simulator.flat.pools) / synapses,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30,
    }


def apart(build: str, arguments: tuple[int, ...], steps: int) -> dict[str, float]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (build, arguments, steps))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    steps = parser.parse_args().steps
    for title, build, arguments in (
        ("shared kernels", "convolutions", ()),
        ("listed synapses", "listed", (1_000_000, 200)),
    ):
        r = apart(build, arguments, steps)
        print(
            f"{title}: {r['neurons']:,.0f} neurons, {r['synapses']:,.0f} synapses ({r['held']:.2g} bytes each): "
            f"packed in {r['packed']:.1f} s ({r['synapses'] / r['packed'] / 1e6:.0f} M a second), "
            f"{r['step'] * 1e3:.1f} ms a step, {r['operation'] * 1e9:.2f} ns an operation, peak {r['peak']:.1f} GiB"
        )
    for title, sizes in (
        ("fan-out 100", [(100, 100), (1_000, 100), (10_000, 100), (100_000, 100), (1_000_000, 100)]),
        ("fan-out up to 1,000", [(100, 100), (316, 316), (1_000, 1_000), (10_000, 1_000), (100_000, 1_000)]),
    ):
        print(f"{title}:")
        events, costs = [], []
        for size, fanout in sizes:
            r = apart("listed", (size, fanout), max(steps, min(2000, 10_000_000 // (size * fanout // PERIOD))))
            events.append(r["event"])
            costs.append(r["operation"])
            print(
                f"  {r['synapses']:12,.0f} synapses, {r['neurons']:9,.0f} neurons: {r['step'] * 1e3:9.4f} ms a step, "
                f"{r['event'] * 1e9:7.0f} ns an event, {r['operation'] * 1e9:.2f} ns an operation"
            )
        print(
            f"  most over least: an operation {max(costs) / min(costs):.2f}, an event {max(events) / min(events):.2f}; "
            f"largest over smallest network: {costs[-1] / costs[0]:.2f}, {events[-1] / events[0]:.2f}"
        )


if __name__ == "__main__":
    main()
