"""PilotNet (158,509 neurons with its input, 14.5 million synapses) compiled for Loihi 2: time, memory, cores.

    python benchmarks/pilotnet.py network.net [mapping_cores.csv]

With lava-dl's trained network and the table of tiles of Intel's compiler; each compilation runs in a process of its
own.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from pathlib import Path

LIMIT_S, LIMIT_GIB = 20.0, 1.5


def compiled(net: str, tiling: str | None) -> tuple[float, float, list[tuple[str, int, int]]]:
    """CPU seconds, peak GiB, and for each layer its cores and the largest one's neurons."""
    import numpy as np

    from neurodeploy.compiler import compile_net
    from neurodeploy.hwsim.arch import load_architecture
    from neurodeploy.tiling import Tiling

    started = time.process_time()
    placement = {"tiling": Tiling.read(tiling)} if tiling else {}
    program = compile_net(net, load_architecture("loihi2"), placement=placement)
    seconds = time.process_time() - started
    layers = [
        (p.name, len(program.cores_of(p.name)), int(np.bincount(program.core_of[p.name]).max()))
        for p in program.network.populations
        if p.name in program.core_of
    ]
    unit = 1 if sys.platform == "darwin" else 1024
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30, layers


def main() -> None:
    if len(sys.argv) < 2 or not Path(sys.argv[1]).is_file():
        print("no network.net given: nothing to measure")
        return
    for title, tiling in (("free choice", None), ("74-core table", sys.argv[2] if len(sys.argv) > 2 else "")):
        if tiling == "":
            continue
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            seconds, gib, layers = pool.apply(compiled, (sys.argv[1], tiling))
        cores = sum(n for _, n, _ in layers)
        print(
            f"{title}: {cores} cores, {seconds:.1f} s of CPU (limit {LIMIT_S:.0f}), {gib:.2f} GiB (limit {LIMIT_GIB})"
        )
        for name, count, most in layers:
            print(f"  {name:<10} {count:>3} cores, at most {most:,} neurons each")


if __name__ == "__main__":
    main()
