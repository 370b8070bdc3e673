"""How fast an STDP network learns on hwsim, on Lava's own runtime, and on Lava's models stepped in one process.

    python benchmarks/learning_speed.py [--repeat 5] [--steps 1000] [--json out.json]

Inputs -> 100 integrate-and-fire neurons in integers, every synapse learning by pairwise STDP with stochastic rounding
(Lava's LearningDense on its side), inputs spiking at random in 10 % of the steps, one long sample. The weights at the
end are compared and must be equal on all three. Runs are interleaved. What is compared is CPU time, of all processes
of a back-end together (Lava's own runtime has one for each Process), for one step: the difference between a long and a
short run, by the steps between them, so that what starting costs is left out. Medians over the repeats.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
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
from neurodeploy.hwsim.engine import Simulator
from neurodeploy.network.connectivity import Dense
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.network.plasticity import stdp
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Recording
from tests.networks import placed

RATE = 0.1
NEURONS = 100
TICK = os.sysconf("SC_CLK_TCK")

Run = Callable[[dict[str, np.ndarray]], Recording]


def network(inputs: int, epoch: int) -> Program:
    """Inputs -> 100 neurons whose thresholds let some 10 to 20 of them spike in a step."""
    weights = (2 * np.random.default_rng(0).integers(0, 60, (NEURONS, inputs))).astype(np.int16)
    values = (4095, 400, 0, 64 * 230 * inputs // 8, 0, 0)
    neuron = Lif(*(np.full(NEURONS, value, np.int32) for value in values))
    rule = stdp(rate=0.25, tau_plus=10, tau_minus=10, epoch=epoch, seed=1)
    return placed(
        Network(
            "stdp",
            (Population("input", (inputs,), Source()), Population("neurons", (NEURONS,), neuron)),
            (Projection("learns", "input", "neurons", Dense(weights), rule=rule),),
            ("neurons",),
            1e-3,
            "loihi",
        )
    )


def cpu_seconds() -> float:
    """CPU time of this process, of its children that have ended, and of all workers with what they have started."""
    own = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    groups = {worker.process.pid for worker in pool._idle}
    return own + sum(_of_process(entry, groups) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _of_process(entry: Path, groups: set[int]) -> float:
    try:
        fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
    except OSError:  # it has ended
        return 0.0
    # user and system time, its own and its ended children's; see proc(5), counted from the third field
    return sum(map(int, fields[11:15])) / TICK if int(fields[2]) in groups else 0.0


def measured(run: Run, inputs: int, steps: int) -> tuple[float, float, Recording]:
    """CPU seconds, wall seconds and the result of one run."""
    x = {"": (np.random.default_rng(1).random((steps, 1, inputs)) < RATE).astype(np.uint8)}
    cpu, wall = cpu_seconds(), time.perf_counter()
    found = run(x)
    return cpu_seconds() - cpu, time.perf_counter() - wall, found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1000, help="of the long run; the short one has a fifth")
    parser.add_argument("--inputs", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--epochs", type=int, nargs="+", default=[1, 4], help="lengths of an epoch, in steps")
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    setup()
    figures = []
    for inputs in args.inputs:
        for epoch in args.epochs:
            figures.append(_compare(inputs, epoch, args.steps, args.repeat))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0 if all(f["equal"] for f in figures) else 1


def _compare(inputs: int, epoch: int, steps: int, repeat: int) -> dict[str, object]:
    program = network(inputs, epoch)
    simulator = Simulator(program, threads=1)
    runs: dict[str, Run] = {
        "hwsim": simulator.run,
        "lava": lambda x: lava.run(program, x, runtime="local"),
        "lava-stock": lambda x: lava.run(program, x, runtime="stock"),
    }
    # hwsim's step is too short for the clock of a short run: it runs ten times as many steps.
    lengths = {name: (steps // 5, steps) if name != "hwsim" else (2 * steps, 10 * steps) for name in runs}
    last = {name: measured(run, inputs, steps)[2] for name, run in runs.items()}  # compiles kernels, starts workers
    equal = all(np.array_equal(last[n].learned["learns"]["weights"], last["hwsim"].learned["learns"]["weights"])
                for n in runs)  # fmt: skip
    times: dict[str, dict[int, list[tuple[float, float]]]] = {n: {length: [] for length in lengths[n]} for n in runs}
    for _ in range(repeat):
        for name, run in runs.items():
            for length in lengths[name]:
                times[name][length].append(measured(run, inputs, length)[:2])
    step: dict[str, tuple[float, float]] = {}
    for name, (short, long) in lengths.items():
        cpu, wall = (
            (median(t[k] for t in times[name][long]) - median(t[k] for t in times[name][short])) / (long - short)
            for k in (0, 1)
        )
        step[name] = cpu, wall
    spikes = len(last["hwsim"].spikes["neurons"]) / steps
    print(
        f"{inputs} inputs x {NEURONS} neurons, epochs of {epoch}: {spikes:.1f} neurons spike in a step; "
        f"weights after {steps} steps {'equal' if equal else 'DIFFERENT'} on {', '.join(runs)}"
    )
    for name in runs:
        cpu, wall = step[name]
        ratio = (
            ""
            if name == "hwsim"
            else f"   {cpu / step['hwsim'][0]:7.1f} x hwsim (wall {wall / step['hwsim'][1]:.1f} x)"
        )
        print(f"  {name:10s} {1e6 * cpu:9.1f} us CPU a step, {1e6 * wall:9.1f} us wall{ratio}")
    return {
        "inputs": inputs, "neurons": NEURONS, "epoch": epoch, "steps": steps, "equal": equal, "spikes_a_step": spikes,
        "cpu_us_a_step": {name: 1e6 * value[0] for name, value in step.items()},
        "wall_us_a_step": {name: 1e6 * value[1] for name, value in step.items()},
    }  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
