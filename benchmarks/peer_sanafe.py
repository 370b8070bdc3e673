"""hwsim beside SANA-FE 2.2.9 (``pip install -e '.[bench]'``): the same networks, placement and coefficients.

    python benchmarks/peer_sanafe.py [--cases rand16 dvs ...] [--repeats 3] [--cycle]

For each network (`peer_cases.py`): whether energy and latency are equal step by step, then CPU time a step from
interleaved runs in one process, one thread each. ``core`` is hwsim's function, counts, core tier and bill beside
SANA-FE's timing model ``simple``; ``event`` adds the event tier, beside its ``detailed``. With ``--cycle``, step times
on the DVS network beside SANA-FE's flit-level model (a minute of CPU).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import peer_cases

from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.hwsim.counts.counts import Counter, Counts
from neurodeploy.hwsim.engine import Simulator
from neurodeploy.hwsim.prices.pricing import price
from neurodeploy.hwsim.timing.event_tier import Mesh
from neurodeploy.hwsim.timing.flit_tier import flit_timing
from neurodeploy.hwsim.timing.tiers import amounts, core_timing

ARCH = load_architecture(peer_cases.CHIP)
"""SANA-FE's layers take its dense synapses for convolutions too, so here kernels cost what dense synapses cost."""
for prices in (ARCH.energy, ARCH.latency):
    vars(prices)["synaptic_operation_kernel"] = prices.synaptic_operation


class Ours:
    """A case on hwsim. SANA-FE's step t is chip step t here: a population without inputs begins at chip step 1."""

    def __init__(self, case: peer_cases.Case) -> None:
        started = time.process_time()
        self.steps = case.steps
        self.simulator = Simulator(peer_cases.program(case), np.float32, threads=1)
        self.packed = time.process_time() - started
        self.counter = Counter(self.simulator.program, ARCH)
        self.mesh = Mesh(self.simulator, self.counter)
        self.built = time.process_time() - started

    def run(self, event: bool, steps: int | None = None) -> tuple[Counts, Any]:
        """Counts and timing of a run."""
        silence = {"": np.zeros(((steps or self.steps) + 1, 1, 1), np.uint8)}
        recording = self.simulator.run(silence, flags=event)
        counts = self.counter.count(recording)
        timing = core_timing(counts, ARCH)
        price(counts, ARCH, timing)
        return counts, self.mesh.time(recording, counts) if event else timing

    def bytes_per_synapse(self) -> float:
        """Of everything that grows with synapses: weights, targets, row starts, message tables."""
        flat = self.simulator.flat
        held = sum(pool.nbytes for pool in flat.pools)
        for routes in self.counter.routes:
            parts = (routes.first, routes.slot, routes.synapses, routes.words, routes.hops)
            held += sum(part.nbytes for part in parts)
        return held / sum(p.connectivity.to_csr().nnz for p in flat.network.projections)


def energy_j(counts: Counts, steps: int) -> np.ndarray[Any, Any]:
    """Energy of chip steps 1 .. steps, joules."""
    total = np.zeros(counts.core["updates"].shape[1])
    for name, often in amounts(counts, ARCH).items():
        total += often.sum(axis=(0, 2)) * (getattr(ARCH.energy, name).value or 0.0)
    for name, component in (("hops_east_west", "hop_east_west"), ("hops_north_south", "hop_north_south")):
        total += counts.fabric[name].sum(axis=1) * getattr(ARCH.energy, component).value
    return total[1 : steps + 1] * 1e-12


def quiet(call: Callable[[], Any]) -> Any:
    """SANA-FE prints its progress."""
    with contextlib.redirect_stdout(io.StringIO()):
        return call()


def clocked(call: Callable[[], Any]) -> float:
    """CPU seconds of a call."""
    started = time.process_time()
    quiet(call)
    return time.process_time() - started


def peer_steps(case: peer_cases.Case, model: str, steps: int) -> tuple[Any, Any]:
    """Energy (J) and time (s) of each step of a fresh chip."""
    chip, _alive = quiet(lambda: peer_cases.chip(case))
    results = [quiet(lambda: chip.sim(1, timing_model=model, processing_threads=1)) for _ in range(steps)]
    return np.array([r["energy"]["total"] for r in results]), np.array([r["sim_time"] for r in results])


def compare(name: str, repeats: int) -> tuple[float, float]:
    """Print one case; return how many times faster the two tiers are."""
    case = peer_cases.CASES[name]()
    ours = Ours(case)
    counts, timing = ours.run(False)
    energy, latency = peer_steps(case, "simple", case.steps)
    own = timing.step_ns[1 : case.steps + 1, 0] * 1e-9
    synapses = sum(p.connectivity.to_csr().nnz for p in ours.simulator.flat.network.projections)
    print(f"{name}: {synapses:,} synapses, {case.steps} steps")
    print(
        f"  equal: energy within {np.abs(energy_j(counts, case.steps) / energy - 1).max():.1e}, "
        f"latency within {np.abs(own / latency - 1).max():.1e} of every step (relative)"
    )
    print(
        f"  ready to run in {ours.built:.2f} s of CPU; weights, targets and message tables: "
        f"{ours.bytes_per_synapse():.1f} bytes a synapse"
    )
    chip, _alive = quiet(lambda: peer_cases.chip(case))
    ratios = []
    for tier, model, event in (("core", "simple", False), ("event", "detailed", True)):
        ours.run(event)
        quiet(lambda model=model: chip.sim(2, timing_model=model, processing_threads=1))
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(repeats):
            times[0].append(
                clocked(lambda model=model: chip.sim(case.steps, timing_model=model, processing_threads=1)) / case.steps
            )
            times[1].append(
                statistics.median(clocked(lambda event=event: ours.run(event)) for _ in range(3)) / (case.steps + 1)
            )
        theirs, mine = (statistics.median(values) * 1e3 for values in times)
        ratios.append(theirs / mine)
        print(
            f"  {tier:5} {mine:8.4f} ms a step; SANA-FE {model:8} {theirs:9.3f} ms: {theirs / mine:.0f} times as fast"
        )
    return ratios[0], ratios[1]


def beside_cycle(steps: int = 128) -> None:
    """Step times on the DVS network beside SANA-FE's flit-level model."""
    case = peer_cases.CASES["dvs"]()
    ours = Ours(case)
    _, cycle = peer_steps(case, "cycle", steps)
    found = {"hwsim core": ours.run(False, steps)[1], "hwsim event": ours.run(True, steps)[1]}
    recording = ours.simulator.run({"": np.zeros((steps + 1, 1, 1), np.uint8)}, flags=True)
    found["hwsim flit"] = flit_timing(ours.mesh, recording, ours.counter.count(recording))
    rows = {name: timing.step_ns[1 : steps + 1, 0] * 1e-9 for name, timing in found.items()}
    rows["SANA-FE detailed"] = peer_steps(case, "detailed", steps)[1]
    print(f"dvs, {steps} steps, beside SANA-FE's flit-level model (BookSim):")
    for name, row in rows.items():
        error = row / cycle - 1
        print(
            f"  {name:17} mean {error.mean():+.2%}, mean absolute {np.abs(error).mean():.2%}, "
            f"total {row.sum() / cycle.sum() - 1:+.2%}, correlation {np.corrcoef(row, cycle)[0, 1]:.4f}"
        )


def empty_chip_mb() -> float:
    """Memory of an idle Loihi of 128 cores, beyond Python, its libraries, compiled kernels and the network itself."""
    Ours(peer_cases.random_case("small", 1, 0.05, 0, 1, fanout=1)).run(True)
    case = peer_cases.random_case("empty", 128, 0.05, 0, 1, fanout=0)
    case.layers[0].bias = np.zeros(128 * 1024)
    case.layers[0].initial = np.zeros(128 * 1024)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    Ours(case).run(True)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / (
        2**20 if sys.platform == "darwin" else 2**10
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="*", default=list(peer_cases.CASES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cycle", action="store_true")
    args = parser.parse_args()
    try:
        import sanafe  # noqa: F401
    except ImportError:
        print("sanafe is not installed: nothing to compare with (pip install -e '.[bench]')")
        return
    print(f"an idle chip of 128 cores and 131,072 neurons: {empty_chip_mb():.0f} MB")
    ratios = [compare(name, args.repeats) for name in args.cases]
    core, event = (statistics.median(column) for column in zip(*ratios, strict=True))
    print(f"median: core {core:.0f} times SANA-FE's simple, event {event:.0f} times its detailed")
    if args.cycle:
        beside_cycle()


if __name__ == "__main__":
    main()
