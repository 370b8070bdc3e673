"""PilotNet (158,509 neurons with its input, 14.5 million synapses) compiled for Loihi 2: time, memory, cores, work.

    python benchmarks/pilotnet.py network.net [mapping_cores.csv] [--steps N]

With lava-dl's trained network and the table of tiles of Intel's compiler; each compilation runs in a process of its
own. For the table, what a core holds stands beside the table's own columns: ``Neurons_per_core``, and
``Synapses_mem`` in words of 64 bits. Its axons are not comparable (a convolution needs one or two there, since Loihi 2
makes up the rest from coordinates; here every source neuron has one). Then N steps without input run on hwsim, as in
lava-dl's recorded run on the chip, and the synaptic operations a step of the busiest core of each layer are printed,
those of weights that are not zero.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import resource
import sys
import time
from pathlib import Path
from typing import Any

LIMIT_S, LIMIT_GIB = 20.0, 1.5


def compiled(net: str, tiling: str | None, steps: int) -> tuple[float, float, list[dict[str, Any]]]:
    """CPU seconds, peak GiB, and for each layer its cores and the largest use of one."""
    from neurodeploy.compiler import CompileOptions, compile
    from neurodeploy.hwsim.chips.arch import load_architecture
    from neurodeploy.placement.tiling import Tiling

    arch = load_architecture("loihi2")
    started = time.process_time()
    placement = {"tiling": Tiling.read(tiling)} if tiling else {}
    program = compile(net, arch, CompileOptions(**placement)).program
    seconds = time.process_time() - started
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
    busiest = work(program, arch, steps)
    layers = []
    for population in program.network.populations:
        if population.name in program.core_of:
            here = set(program.cores_of(population.name))
            use = [u for u in program.use if u.core in here]
            layers.append(
                {"name": population.name, "cores": len(here), "sops": busiest[population.name]}
                | {key: max(getattr(u, key) for u in use) for key in ("neurons", "synapse_bytes", "axons_in")}
            )
    return seconds, peak, layers


def work(program: Any, arch: Any, steps: int) -> dict[str, float]:
    """Non-zero synaptic operations a step of the busiest core of each layer, without input."""
    import numpy as np

    from neurodeploy.hwsim import engine
    from neurodeploy.hwsim.counts.counts import count

    silence = np.zeros((steps, 1, *program.network.inputs[0].shape), np.uint8)
    counts = count(program, engine.run(program, {"": silence}), arch)
    sops = dict(zip(counts.cores, counts.core["nonzero_sops"].sum(axis=(1, 2)) / steps, strict=True))
    return {name: max(float(sops[core]) for core in program.cores_of(name)) for name in program.core_of}


def columns(tiling: str) -> list[dict[str, str]]:
    """Rows of the table, from the input on."""
    with Path(tiling).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))[::-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("net", type=Path, nargs="?")
    parser.add_argument("tiling", nargs="?")
    parser.add_argument("--steps", type=int, default=32)
    args = parser.parse_args()
    if args.net is None or not args.net.is_file():
        print("no network.net given: nothing to measure")
        return
    for title, tiling in (("free choice", None), ("74-core table", args.tiling)):
        if title != "free choice" and tiling is None:
            continue
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            seconds, gib, layers = pool.apply(compiled, (str(args.net), tiling, args.steps))
        cores = sum(layer["cores"] for layer in layers)
        print(
            f"{title}: {cores} cores, {seconds:.1f} s of CPU (limit {LIMIT_S:.0f}), {gib:.2f} GiB (limit {LIMIT_GIB})"
        )
        rows = columns(tiling) if tiling else [{}] * len(layers)
        for layer, row in zip(layers, rows, strict=True):
            neurons = f" ({int(row['Neurons_per_core']):,} in the table)" if row else ""
            memory = f" ({8 * int(row['Synapses_mem']):,} in the table)" if row else ""
            print(
                f"  {layer['name']:<8} {layer['cores']:>3} cores of at most {layer['neurons']:,} neurons{neurons}, "
                f"{layer['synapse_bytes']:,} bytes of synapses{memory}, {layer['axons_in']:,} axons in; "
                f"{layer['sops']:,.0f} SOPs a step"
            )


if __name__ == "__main__":
    main()
