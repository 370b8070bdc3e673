"""hwsim beside a measured chip: Intel's PilotNet on Loihi 2, per core and per step (docs/explanation-silicon.md).

    python benchmarks/silicon.py FOLDER [--plot NOTEBOOK]

FOLDER holds lava-dl's recording: ``network.net``, ``mapping_cores.csv``, ``activity_per_core_10000steps_digitised.csv``
and ``time_per_step_us_digitised.csv``. The network runs without input, as it did on the chip, placed by Intel's table.
The digitised values are a coarser reading of the published plots; with ``--plot``, those that
``benchmarks/read_pilotnet_plot.py`` reads stand beside them (that takes a minute and needs matplotlib).

1. Synaptic operations (of weights that are not zero) per core and step, beside the chip's counters. A tile at the right
   edge of a layer has as many columns as the others; those beyond the layer hold neurons that nobody reads, and they
   receive the operations of the last input columns like any other. Beside the plain comparison with the digitised
   values stands one with the position at which they were read shifted by a few hundredths of a core, one number for
   all. With a plot, also the neuron updates: the chip counts two a neuron and one more for each that spikes.
2. Time of each step: that of the core which fetches the most rows of weights, fitted to the first 64 steps and
   compared on the other 64. Left out: the first 16, in which the chip starts (not every layer has been cleared once),
   and the last one, which is not a whole step.
3. Dynamic energy of a step, from loihi2's prices.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.compiler import CompileOptions, compile
from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.hwsim.counts.counts import Counter
from neurodeploy.hwsim.engine import Simulator
from neurodeploy.hwsim.timing.tiers import amounts
from neurodeploy.network.connectivity import Conv2d
from neurodeploy.placement.tiling import Tiling

Array = Any
PERIOD = 16
"""Steps after which the membranes are cleared, so after which everything repeats."""
MEASURED_UJ = (66.917, 68.346)
"""The two runs whose power agrees (2022-10-28 and 2023-01-10), uJ a step."""
SHIFT = 0.03
"""By how much of a core's width the digitised values were read to the right."""
START = 16
"""Steps in which the chip starts."""


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
    parser.add_argument("--plot", type=Path, metavar="NOTEBOOK", help="lava-dl's pilotnet_snn/benchmark.ipynb")
    chosen = parser.parse_args()
    folder = chosen.folder
    if folder is None or not (folder / "network.net").is_file():
        print("no folder with Intel's recording given: nothing to compare with")
        return
    arch = load_architecture("loihi2")
    tiling = Tiling.read(folder / "mapping_cores.csv")
    program = compile(folder / "network.net", arch, CompileOptions(tiling=tiling)).program
    network = program.network
    silence = np.zeros((PERIOD, 1, *network.inputs[0].shape), np.uint8)
    recording = Simulator(program).run({"": silence})
    counts = Counter(program, arch).count(recording)
    ops = {"digitised": column(folder / "activity_per_core_10000steps_digitised.csv", "syn_ops")}
    steps = {"digitised": column(folder / "time_per_step_us_digitised.csv", "time_us")}
    if chosen.plot:
        import read_pilotnet_plot as plot

        found = plot.pictures(chosen.plot)
        counters, note = plot.activity(found["activity"])
        print(f"operations read from the plot: {note}")
        ops["plot"], ops["updates"] = counters[:2]
        steps["plot"], note = plot.time_per_step(found["time"])
        print(f"times read from the plot: {note}")
    operations(ops, program, recording, counts)
    times(steps, program, counts)
    energy(counts, arch)


def wide(population: Any) -> bool:
    """Whether it is an image, whose tiles follow each other from left to right."""
    return len(population.shape) == 3 and population.shape[2] > 1


def operations(ops: dict[str, Array], program: Any, recording: Any, counts: Any) -> None:
    """Part 1."""
    network = program.network
    measured = ops["digitised"] / 1e4
    found = dict(zip(counts.cores, counts.core["nonzero_sops"].sum(axis=(1, 2)) / PERIOD, strict=True))
    rows = {core: row for row, core in enumerate(counts.cores)}
    simulated, names, updates = np.zeros(len(measured)), [""] * len(measured), np.zeros(len(measured))
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
            # Those of the neurons beyond the edge included, but not their spikes.
            spiking = counts.core["events_out"][rows[core]].sum() / PERIOD
            updates[at] = 2 * counts.core["updates"][rows[cores[0]], 0, 0] + spiking
            if kinds and index == len(cores) - 1:
                each = int((home.reshape(population.shape)[0, 0] == cores[0]).sum())
                last = int((home.reshape(population.shape)[0, 0] == core).sum())
                source = network.by_name[kinds[0].source]
                spikes = recording.spikes[source.name].dense()[:, 0].reshape(PERIOD, *source.shape)
                simulated[at] += surplus(kinds[0].connectivity, spikes.astype(np.float32), each - last).sum() / PERIOD
            at += 1
    read = simulated + SHIFT * (np.roll(simulated, -1) - simulated)
    print("synaptic operations of non-zero weights, per core and step")
    exact = ops["plot"] / 1e4 if "plot" in ops else None
    print(
        "  core  layer   simulated  measured   off     off, reading shifted"
        + ("   plot      off" if "plot" in ops else "")
    )
    for core, name in enumerate(names):
        if name in ("conv2", "conv3", "conv4", "conv5"):
            off, shifted = simulated[core] / measured[core] - 1, read[core] / measured[core] - 1
            line = f"  {core:4}  {name:6} {simulated[core]:10,.0f} {measured[core]:9,.0f}  {off:+6.1%}  {shifted:+6.1%}"
            if exact is not None:
                line += f" {exact[core]:19,.0f}  {simulated[core] / exact[core] - 1:+7.2%}"
            print(line)
    if exact is not None:
        print("neuron updates per core and step, two a neuron, one a spike (first and last core of a layer)")
        for core, name in enumerate(names):
            if name.startswith(("conv", "input")) and names[core - 1 : core + 2].count(name) == 2:
                counted = ops["updates"][core] / 1e4
                print(
                    f"  {core:4}  {name:6} {updates[core]:10,.0f} {counted:9,.0f}  {updates[core] / counted - 1:+7.2%}"
                )


def aside(error: Array, value: Array) -> str:
    return f"{error.mean() / value.mean():.2%} of the mean, {(error / value).mean():.2%} of each"


def times(steps: dict[str, Array], program: Any, counts: Any) -> None:
    """Part 2."""
    # All populations repeat with the same period, each from its own lag on.
    words = counts.core["words"][:, :, 0]
    folded = sum(np.pad(part, ((0, 0), (0, PERIOD - part.shape[1]))) for part in (words[:, :PERIOD], words[:, PERIOD:]))
    busiest = np.asarray(folded).max(axis=0)
    print(
        f"time of a step, fitted (least squares of the relative error) to steps {START} to 63 and compared on steps 64 "
        "to 126"
    )
    each = 0.0
    for source, measured in steps.items():
        half = len(measured) // 2
        fitted = slice(START, half)
        for offset in (False, True):
            best = None
            for shift in range(PERIOD):
                fetches = busiest[(np.arange(len(measured)) + shift) % PERIOD]
                design = np.stack([fetches, np.ones(len(fetches))], axis=1)[:, : 1 + offset]
                relative = (design / measured[:, None])[fitted]
                constants = np.linalg.lstsq(relative, np.ones(len(relative)), rcond=None)[0]
                error = np.abs(design @ constants - measured)
                if best is None or (error / measured)[fitted].mean() < (best[1] / measured)[fitted].mean():
                    best = constants, error
            assert best is not None
            constants, error = best
            if not offset:
                each = constants[0]
            print(
                f"  {source}: {constants[0] * 1e3:.2f} ns a fetch"
                + "".join(f" {c:+.2f} us" for c in constants[1:])
                + f": off by {aside(error[half:-1], measured[half:-1])}; "
                f"with the last one ({measured[-1]:.1f} us) {aside(error[half:], measured[half:])}"
            )
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
