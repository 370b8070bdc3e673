"""hwsim beside a measured chip: Intel's PilotNet on Loihi 2, per core and per step (docs/explanation-silicon.md).

    python benchmarks/silicon.py FOLDER

FOLDER holds lava-dl's recording: ``network.net``, ``mapping_cores.csv``, ``activity_per_core_10000steps_digitised.csv``
and ``time_per_step_us_digitised.csv``. The network runs without input, as it did on the chip, placed by Intel's table.

1. Synaptic operations (of weights that are not zero) per core and step, beside the chip's counters. A tile at the right
   edge of a layer has as many columns as the others; those beyond the layer hold neurons that nobody reads, and they
   receive the operations of the last input columns like any other. Beside the plain comparison stands one with the
   position at which the published plot was read shifted by a few hundredths of a core, one number for all cores.
2. Time of each step: that of the core which fetches the most rows of weights, fitted to the first 64 steps and
   compared on the other 64.
3. Dynamic energy of a step, from loihi2's prices.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.compiler import compile_net
from neurodeploy.connectivity import Conv2d
from neurodeploy.hwsim.arch import load_architecture
from neurodeploy.hwsim.counts import Counter
from neurodeploy.hwsim.engine import Simulator
from neurodeploy.hwsim.timing import amounts
from neurodeploy.tiling import Tiling

Array = Any
PERIOD = 16
"""Steps after which the membranes are cleared, so after which everything repeats."""
MEASURED_UJ = (66.917, 68.346)
"""The two runs whose power agrees (2022-10-28 and 2023-01-10), uJ a step."""
SHIFT = 0.03
"""By how much of a core's width the plot was read to the right."""


def column(path: Path, name: str) -> Array:
    with path.open(encoding="utf-8") as file:
        return np.array([float(row[name] or "nan") for row in csv.DictReader(file)])


def surplus(kind: Conv2d, spikes: Array, columns: int) -> Array:
    """Operations that the columns beyond the right edge receive, ``[steps]``: ``columns`` of them."""
    k_w, stride, padding = kind.weights.shape[3], kind.stride[1], kind.padding[1]
    rows = Conv2d(
        (kind.weights != 0).astype(np.float32), (kind.input_shape[0], kind.input_shape[1], k_w),
        (kind.stride[0], 1), (kind.padding[0], 0),
    )  # fmt: skip
    total = np.zeros(len(spikes))
    for x in range(kind.output_shape[2], kind.output_shape[2] + columns):
        window = np.zeros((*spikes.shape[:3], k_w), np.float32)
        first = x * stride - padding
        here = spikes[:, :, :, first : first + k_w]
        window[..., : here.shape[3]] = here
        total += rows.apply(window.reshape(len(spikes), -1)).sum(axis=1)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    folder = parser.parse_args().folder
    if folder is None or not (folder / "network.net").is_file():
        print("no folder with Intel's recording given: nothing to compare with")
        return
    arch = load_architecture("loihi2")
    tiling = Tiling.read(folder / "mapping_cores.csv")
    program = compile_net(folder / "network.net", arch, placement={"tiling": tiling})
    network = program.network
    silence = np.zeros((PERIOD, 1, *network.inputs[0].shape), np.uint8)
    recording = Simulator(program).run({"": silence})
    counts = Counter(program, arch).count(recording)
    operations(folder, program, recording, counts)
    times(folder, program, counts)
    energy(counts, arch)


def wide(population: Any) -> bool:
    """Whether it is an image, whose tiles follow each other from left to right."""
    return len(population.shape) == 3 and population.shape[2] > 1


def operations(folder: Path, program: Any, recording: Any, counts: Any) -> None:
    """Part 1."""
    network = program.network
    measured = column(folder / "activity_per_core_10000steps_digitised.csv", "syn_ops") / 1e4
    found = dict(zip(counts.cores, counts.core["nonzero_sops"].sum(axis=(1, 2)) / PERIOD, strict=True))
    simulated, names = np.zeros(len(measured)), [""] * len(measured)
    at = 0
    for population in network.populations[::-1]:  # the table and the plot begin with the output
        if population.name not in program.core_of:
            continue
        home = program.core_of[population.name]
        cores = list(
            dict.fromkeys(home.reshape(population.shape)[0, 0].tolist() if wide(population) else home.tolist())
        )
        kinds = [q for q in network.into(population.name) if isinstance(q.connectivity, Conv2d)]
        for index, core in enumerate(cores):
            simulated[at], names[at] = found[core], population.name
            if kinds and index == len(cores) - 1:
                each = int((home.reshape(population.shape)[0, 0] == cores[0]).sum())
                last = int((home.reshape(population.shape)[0, 0] == core).sum())
                source = network.by_name[kinds[0].source]
                spikes = recording.spikes[source.name].dense()[:, 0].reshape(PERIOD, *source.shape)
                simulated[at] += surplus(kinds[0].connectivity, spikes.astype(np.float32), each - last).sum() / PERIOD
            at += 1
    read = simulated + SHIFT * (np.roll(simulated, -1) - simulated)
    print("synaptic operations of non-zero weights, per core and step")
    print("  core  layer   simulated  measured   off     off, reading shifted")
    for core, name in enumerate(names):
        if name in ("conv2", "conv3", "conv4", "conv5"):
            off, shifted = simulated[core] / measured[core] - 1, read[core] / measured[core] - 1
            print(f"  {core:4}  {name:6} {simulated[core]:10,.0f} {measured[core]:9,.0f}  {off:+6.1%}  {shifted:+6.1%}")


def times(folder: Path, program: Any, counts: Any) -> None:
    """Part 2."""
    measured = column(folder / "time_per_step_us_digitised.csv", "time_us")
    # All populations repeat with the same period, each from its own lag on.
    words = counts.core["words"][:, :, 0]
    folded = sum(np.pad(part, ((0, 0), (0, PERIOD - part.shape[1]))) for part in (words[:, :PERIOD], words[:, PERIOD:]))
    busiest, half = np.asarray(folded).max(axis=0), len(measured) // 2
    fits = {}
    for offset in (False, True):
        for shift in range(PERIOD):
            fetches = busiest[(np.arange(len(measured)) + shift) % PERIOD]
            design = np.stack([fetches, np.ones(len(fetches))], axis=1)[:, : 1 + offset]
            constants = np.linalg.lstsq(design[8:half], measured[8:half], rcond=None)[0]
            error = np.abs(design @ constants - measured)
            if offset not in fits or error[8:half].mean() < fits[offset][1][8:half].mean():
                fits[offset] = constants, error
    print("time of a step, fitted to steps 8 to 63 (the plot crowds the first ones) and compared on steps 64 to 127")
    for constants, error in fits.values():
        held, value = error[half:], measured[half:]
        print(
            f"  {constants[0] * 1e3:.2f} ns a fetch"
            + "".join(f" {c:+.2f} us" for c in constants[1:])
            + f": off by {held.mean() / value.mean():.2%} in the mean "
            f"({held[:-1].mean() / value[:-1].mean():.2%} without the last one, which the plot cuts off)"
        )
    each = fits[False][0][0]
    rows = {core: row for row, core in enumerate(counts.cores)}
    for name in ("conv2", "conv3", "conv4", "conv5"):
        chosen = [rows[int(core)] for core in np.unique(program.core_of[name])]
        sops, fetched = (counts.core[key][chosen][:, :, 0] for key in ("nonzero_sops", "words"))
        at = np.unravel_index(sops.argmax(), sops.shape)
        time = fetched[at] * each
        print(
            f"  {name}: at most {sops[at]:,.0f} operations in a step, {time:.1f} us, "
            f"{time / sops[at] * 1e3:.2f} ns each"
        )


def energy(counts: Any, arch: Any) -> None:
    """Part 3."""
    updates, active = counts.core["updates"][:, 0, 0].sum(), counts.core["active_updates"].sum() / PERIOD
    often = {name: values.sum() / PERIOD for name, values in amounts(counts, arch).items()}
    often |= {"neuron_update_active": active, "neuron_update_inactive": updates - active}
    for component, name in (
        ("within_tile_spike", "within_tile"),
        ("hop_east_west", "hops_east_west"),
        ("hop_north_south", "hops_north_south"),
    ):  # fmt: skip
        often[component] = counts.fabric[name].sum() / PERIOD
    print("dynamic energy of a step, from the prices of loihi2")
    total = 0.0
    for component, count in often.items():
        figure = getattr(arch.energy, component).value
        if count and figure:
            total += count * figure / 1e6
            print(f"  {component:26} {count:12,.0f} x {figure:5} pJ = {count * figure / 1e6:7.3f} uJ")
    print(f"  sum {total:.1f} uJ; measured " + ", ".join(f"{m:.1f} uJ ({total / m - 1:+.1%})" for m in MEASURED_UJ))


if __name__ == "__main__":
    main()
