"""hwsim's functional pass alone: beside Brian2's C++ standalone, beside bare loops, on two threads.

    python benchmarks/function_speed.py [--steps 400] [--brian2 PYTHON]

1. rblk16 (`peer_cases.py`: 16,384 clocks, 2.1 million synapses, 5 % of them fire in a step), one thread, beside the
   same network in Brian2 2.9.0 (an environment of its own, and a C++ compiler), runs alternating.
2. What a bare loop over arrays of 32 bits reaches here and now, in three shapes: rblk16, the same with targets
   spread over 131,072 neurons, and 3 x 3 convolutions over 64 contiguous channels; beside hwsim's kernel on the same
   events, and the whole functional pass on such networks, neurons included.
3. Two samples on two threads beside one thread.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import peer_cases

from neurodeploy.hwsim.engine import Simulator
from neurodeploy.hwsim.function.delivery import deliver
from neurodeploy.network.connectivity import Conv2d, Sparse
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.program.program import Program

Array = Any


def clocks(name: str, shape: tuple[int, ...], synapses: Any, period: int = 20) -> Program:
    """Neurons that fire in turn, in integers, with synapses of weight 0 onto themselves or the next population."""
    size = int(np.prod(shape))
    ones = np.ones(size, np.int32)
    phase = np.random.default_rng(1).integers(0, period, size).astype(np.int32)
    lif = Lif(ones * 4095, ones * 0, ones * 64, ones * 64 * (period - 1), ones * 0, phase * 64)
    populations = [Population("clock", (1,), Source()), Population("pop", shape, lif)]
    recurrent = synapses.outputs == size and not isinstance(synapses, Conv2d)
    if not recurrent:
        still = Lif(ones * 4095, ones * 0, ones * 0, ones * (1 << 20), ones * 0, ones * 0)
        populations.append(Population("next", shape, still))
    target = "pop" if recurrent else "next"
    projection = Projection("p", "pop", target, synapses, delay=int(recurrent))
    network = Network(name, tuple(populations), (projection,), (target,), 1e-3, "loihi")
    return Program(network, "none", {p.name: np.zeros(p.size, np.int32) for p in populations[1:]})


def listed(size: int, fanout: int, blocked: int = 0) -> Sparse:
    rng = np.random.default_rng(1)
    targets = rng.integers(0, size, (size, fanout), dtype=np.int32)
    if blocked:
        core = rng.integers(0, size // 1024, (size, blocked), dtype=np.int32)
        targets = np.repeat(core, fanout // blocked, axis=1) * 1024 + targets % 1024
    return Sparse(np.zeros(size * fanout, np.int8), targets.ravel(), np.arange(size + 1, dtype=np.int64) * fanout, size)


@numba.njit(error_model="numpy")
def bare_rows(events: Array, targets: Array, weights: Array, fanout: int, into: Array) -> None:
    for e in range(len(events)):
        at = np.int64(events[e]) * fanout
        for k in range(fanout):
            into[targets[at + k]] += weights[at + k]


@numba.njit(error_model="numpy")
def bare_taps(events: Array, kernel: Array, height: int, width: int, into: Array) -> None:
    """Nine taps of 64 contiguous channels an event, well inside the image."""
    for e in range(len(events)):
        channel, place = events[e] // (height * width), events[e] % (height * width)
        for a in range(3):
            for b in range(3):
                row = kernel[channel, a, b]
                at = (place + a * width + b) * 64
                here = into[at : at + 64]
                for k in range(64):
                    here[k] += row[k]


def best(call: Callable[[], Any], repeats: int = 5) -> float:
    """Least CPU seconds of a call."""
    call()
    times = []
    for _ in range(repeats):
        started = time.process_time()
        call()
        times.append(time.process_time() - started)
    return min(times)


def delivered(program: Program, drawn: list[Array]) -> float:
    """CPU seconds in which hwsim's kernel delivers these lists of events."""
    flat = Simulator(program).flat
    weights, rows, targets, phases, _ = flat.pools
    into = np.zeros(program.network.projections[0].connectivity.outputs, np.int32)
    none = np.zeros(0, np.int32)

    def all_of_them() -> None:
        for events in drawn:
            deliver(flat.projections[0], events, none, False, weights, rows, targets, phases, into)

    return best(all_of_them)


def whole(program: Program, steps: int = 100) -> float:
    """Synaptic operations in a CPU second of the whole functional pass, neurons included."""
    simulator = Simulator(program, threads=1)
    silence = {"": np.zeros((steps, 1, 1), np.uint8)}
    run = simulator.run(silence)
    fan = np.diff(program.network.projections[0].connectivity.to_csr().indptr)
    return float(fan[run.spikes["pop"].neuron].sum()) / best(lambda: simulator.run(silence))


def ceilings() -> None:
    rng = np.random.default_rng(2)
    print("synaptic operations a second, one thread: a bare loop, hwsim's kernel, and the whole functional pass")

    def show(name: str, operations: int, bare: float, kernel: float, passed: float) -> None:
        print(
            f"  {name:16} {operations / bare / 1e9:5.2f} G bare, {operations / kernel / 1e9:5.2f} G kernel "
            f"({kernel / bare:.2f} times the time), {passed / 1e9:5.2f} G with neurons"
        )

    for name, size, blocked in (("rblk16", 16384, 4), ("131,072 neurons", 131072, 0)):
        synapses = listed(size, 128, blocked)
        into, weights = np.zeros(size, np.int32), np.zeros(size * 128, np.int32)
        drawn = [np.sort(rng.choice(size, size // 20, replace=False)).astype(np.int32) for _ in range(10)]

        def bare(drawn: Any = drawn, synapses: Any = synapses, weights: Any = weights, into: Any = into) -> None:
            for events in drawn:
                bare_rows(events, synapses.targets, weights, 128, into)

        program = clocks(name, (size,), synapses)
        show(name, size // 20 * 128 * 10, best(bare), delivered(program, drawn), whole(program))
    shape = (64, 32, 32)
    program = clocks("conv", shape, Conv2d(np.ones((64, 64, 3, 3), np.int8), shape, padding=(1, 1)))
    into, taps = np.zeros(64 * 36 * 36, np.int32), np.ones((64, 3, 3, 64), np.int8)
    inside = np.arange(65536).reshape(shape)[:, 1:-1, 1:-1].ravel()
    drawn = [np.sort(rng.choice(inside, 3276, replace=False)).astype(np.int32) for _ in range(10)]

    def bare_image() -> None:
        for events in drawn:
            bare_taps(events, taps, 32, 32, into)

    show("3x3x64 conv", 3276 * 576 * 10, best(bare_image), delivered(program, drawn), whole(program))


def beside_brian2(python: str, steps: int) -> None:
    case = peer_cases.CASES["rblk16"]()
    layer, synapses = case.layers[0], case.kinds[0]
    assert layer.initial is not None
    with tempfile.TemporaryDirectory() as folder:
        arrays, project = Path(folder) / "arrays.npz", Path(folder) / "project"
        np.savez(arrays, initial=layer.initial, targets=synapses.targets.reshape(16384, -1), threshold=layer.threshold)
        script = Path(__file__).parent / "brian2_build.py"
        built = subprocess.run(
            [python, script, arrays, project, str(steps)],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": ""},
        )
        if built.returncode:
            print(f"Brian2 was not built: {built.stderr.strip().splitlines()[-1]}")
            return
        simulator = Simulator(peer_cases.program(case), np.float32, threads=1)
        silence = {"": np.zeros((steps, 1, 1), np.uint8)}
        simulator.run(silence)
        rows = []
        for _ in range(5):
            started = time.perf_counter()
            simulator.run(silence)
            mine = (time.perf_counter() - started) / steps
            subprocess.run([project / "main"], cwd=project, check=True, capture_output=True)
            told = (project / "results" / "last_run_info.txt").read_text().split()
            rows.append((mine * 1e3, float(told[0]) / steps * 1e3))
    mine, theirs = (statistics.median(column) for column in zip(*rows, strict=True))
    print(
        f"rblk16, one thread: hwsim {mine:.3f} ms a step, Brian2 C++ standalone {theirs:.3f} ms: "
        f"{theirs / mine:.1f} times as fast"
    )


def two_threads() -> None:
    program = clocks("rblk16", (16384,), listed(16384, 128, 4))
    silence = {"": np.zeros((400, 2, 1), np.uint8)}
    times = []
    for threads in (1, 2):
        simulator = Simulator(program, threads=threads)
        simulator.run(silence)
        runs = []
        for _ in range(5):
            started = time.perf_counter()
            simulator.run(silence)
            runs.append(time.perf_counter() - started)
        times.append(min(runs))
    print(
        f"two samples of rblk16: one thread {times[0]:.3f} s, two threads {times[1]:.3f} s: "
        f"{times[0] / times[1]:.2f} times as fast"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--brian2", metavar="PYTHON", help="a Python with Brian2 (2.9.0 needs numpy < 2.4)")
    args = parser.parse_args()
    ceilings()
    two_threads()
    if args.brian2:
        beside_brian2(args.brian2, args.steps)


if __name__ == "__main__":
    main()
