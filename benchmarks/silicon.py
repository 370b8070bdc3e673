"""hwsim beside a measured chip: Intel's PilotNet on Loihi 2, per core and per step (docs/explanation-silicon.md).

    python benchmarks/silicon.py FOLDER [--plot NOTEBOOK] [--record]

FOLDER holds lava-dl's recording: ``network.net``, ``mapping_cores.csv``, ``activity_per_core_10000steps_digitised.csv``
and ``time_per_step_us_digitised.csv``. The network runs without input, as it did on the chip, placed by Intel's table.
The digitised values are a coarser reading of the published plots; with ``--plot``, those that
``benchmarks/read_pilotnet_plot.py`` reads stand beside them (that takes some minutes and needs matplotlib).
``--record`` keeps what is printed in docs/recorded/silicon.txt, where the page's figures are looked up.

1. Synaptic operations (of weights that are not zero) per core and step, beside the chip's counters. A tile at the right
   edge of a layer has as many columns as the others; those beyond the layer hold neurons that nobody reads, and they
   receive the operations of the last input columns like any other. Beside the plain comparison with the digitised
   values stands one with the position at which they were read shifted by a few hundredths of a core, one number for
   all. With a plot, also a line for each layer, and the neuron updates: the chip counts two a neuron and one more for
   each that spikes.
2. Time of each step: that of the core which fetches the most rows of weights, fitted to the first 64 steps and
   compared on the other 64. Left out: the first 16, in which the chip starts (not every layer has been cleared once),
   and the last one, which is not a whole step. Then what the busiest step of a layer has, and how the last step and the
   first ones stand beside the others.
3. Dynamic energy of a step, from loihi2's prices and, in a line, from SANA-FE's for Loihi 1.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np
from recorded import recorded

from neurodeploy.compiler import CompileOptions, compile
from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.hwsim.counts.counts import Counter
from neurodeploy.hwsim.engine import Simulator
from neurodeploy.hwsim.timing.tiers import amounts
from neurodeploy.network.connectivity import Conv2d
from neurodeploy.placement.tiling import Tiling
from neurodeploy.program.memory import WEIGHT_BITS

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
    parser.add_argument("--record", action="store_true", help="keep what is printed in docs/recorded/silicon.txt")
    chosen = parser.parse_args()
    folder = chosen.folder
    if folder is None or not (folder / "network.net").is_file():
        print("no folder with Intel's recording given: nothing to compare with")
        return
    with recorded("silicon" if chosen.record else None):
        beside(folder, chosen.plot)


def beside(folder: Path, notebook: Path | None) -> None:
    """All three parts."""
    arch = load_architecture("loihi2")
    tiling = Tiling.read(folder / "mapping_cores.csv")
    program = compile(folder / "network.net", arch, CompileOptions(tiling=tiling)).program
    network = program.network
    placed = [p for p in network.populations if p.name in program.core_of]
    neurons, synapses = sum(p.size for p in placed), sum(q.connectivity.synapses() for q in network.projections)
    cores = len(np.unique(np.concatenate([program.core_of[p.name] for p in placed])))
    print(f"{neurons:,} neurons, {synapses / 1e6:.1f} million synapses, {cores} cores")
    silence = np.zeros((PERIOD, 1, *network.inputs[0].shape), np.uint8)
    recording = Simulator(program).run({"": silence})
    counts = Counter(program, arch).count(recording)
    ops = {"digitised": column(folder / "activity_per_core_10000steps_digitised.csv", "syn_ops")}
    steps = {"digitised": column(folder / "time_per_step_us_digitised.csv", "time_us")}
    if notebook:
        import read_pilotnet_plot as plot

        found = plot.pictures(notebook)
        counters, note = plot.activity(found["activity"])
        print(f"operations read from the plot: {note}")
        ops["plot"], ops["updates"] = counters[:2]
        steps["plot"], note = plot.time_per_step(found["time"])
        print(f"times read from the plot: {note}")
    operations(ops, program, recording, counts)
    times(steps, program, counts, arch)
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
    beyond = dict.fromkeys(range(len(measured)), 0.0)
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
                beyond[at] = surplus(kinds[0].connectivity, spikes.astype(np.float32), each - last).sum() / PERIOD
                simulated[at] += beyond[at]
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
    edges = [core for core, more in beyond.items() if more]
    print("of a core at an edge, operations of columns beyond it: " + ", ".join(
        f"{names[core]} {beyond[core] / simulated[core]:.1%}" for core in edges
    ))  # fmt: skip
    if exact is not None:
        print("in short: simulated, counted (plot), off")
        for name in ("conv2", "conv3", "conv4", "conv5"):
            mine = [core for core in range(len(names)) if names[core] == name]
            whole = [core for core in mine if core not in edges]
            least, most = exact[whole].min(), exact[whole].max()
            said = f"{least:,.0f}" + (f" to {most:,.0f}" if round(most) > round(least) else "")
            off = simulated[whole].mean() / exact[whole].mean() - 1
            tiles = f"{len(whole)} whole tile{'s' * (len(whole) > 1)}"
            print(f"  {name}, {tiles}: {simulated[whole[0]]:,.0f}; {said}; {off:+.2%}")
            for core in set(mine) - set(whole):
                off = simulated[core] / exact[core] - 1
                print(f"  {name}, edge: {simulated[core]:,.0f}; {exact[core]:,.0f}; {off:+.2%}")
        print("neuron updates per core and step, two a neuron, one a spike (first and last core of a layer)")
        for core, name in enumerate(names):
            if name.startswith(("conv", "input")) and names[core - 1 : core + 2].count(name) == 2:
                counted = ops["updates"][core] / 1e4
                print(
                    f"  {core:4}  {name:6} {updates[core]:10,.0f} {counted:9,.0f}  {updates[core] / counted - 1:+7.2%}"
                )


def aside(error: Array, value: Array) -> str:
    return f"{error.mean() / value.mean():.2%} of the mean, {(error / value).mean():.2%} of each"


def times(steps: dict[str, Array], program: Any, counts: Any, arch: Any) -> None:
    """Part 2."""
    # All populations repeat with the same period, each from its own lag on.
    words = counts.core["words"][:, :, 0]
    folded = sum(np.pad(part, ((0, 0), (0, PERIOD - part.shape[1]))) for part in (words[:, :PERIOD], words[:, PERIOD:]))
    busiest = np.asarray(folded).max(axis=0)
    print(
        f"time of a step, fitted (least squares of the relative error) to steps {START} to 63 and compared on steps 64 "
        "to 126"
    )
    each, start = 0.0, 0
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
                    best = constants, error, shift
            assert best is not None
            constants, error, shift = best
            if not offset:
                each, start = constants[0], shift
            print(
                f"  {source}: {constants[0] * 1e3:.2f} ns a fetch"
                + "".join(f" {c:+.2f} us" for c in constants[1:])
                + f": off by {aside(error[half:-1], measured[half:-1])}; "
                f"with the last one ({measured[-1]:.1f} us) {aside(error[half:], measured[half:])}"
            )
            if not offset:
                fetches = busiest[(np.arange(START, len(measured) - 1) + shift) % PERIOD]
                low, high = (
                    1e3 * (measured[START:-1] / fetches)[fetches == end].mean()
                    for end in (fetches.min(), fetches.max())
                )
                print(f"    from {low:.1f} ns each in the shortest steps to {high:.1f} ns in the longest")
    rows = {core: row for row, core in enumerate(counts.cores)}
    for name in ("conv2", "conv3", "conv4", "conv5"):
        chosen = [rows[int(core)] for core in np.unique(program.core_of[name])]
        sops, fetched = (counts.core[key][chosen][:, :, 0] for key in ("nonzero_sops", "words"))
        at = np.unravel_index(sops.argmax(), sops.shape)
        time = fetched[at] * each
        lasted = measured[START + (at[1] - start - START) % PERIOD : -1 : PERIOD]
        channels = program.network.by_name[name].shape[0]
        row = -(-channels * WEIGHT_BITS // arch.word_bits)
        narrow = -(-channels * WEIGHT_BITS // 64)
        print(
            f"  {name}: at most {sops[at]:,.0f} operations in a step, {time:.1f} us, "
            f"{time / sops[at] * 1e3:.2f} ns each; such a step lasts {lasted.mean():.1f} us\n"
            f"    {fetched[at] // row:,} rows of {channels} weights: {row} fetches each, or {narrow} words of 64 bits, "
            f"{fetched[at] // row * narrow:,} in all"
        )
    for source, measured in steps.items():
        like = measured[START:-1][(np.arange(START, len(measured) - 1) - len(measured) + 1) % 4 == 0]
        print(
            f"  {source}: step {len(measured) - 1} takes {measured[-1]:.1f} us, every fourth before it "
            f"{like.min():.1f} to {like.max():.1f} us"
        )
        later = np.array([measured[step + PERIOD : -1 : PERIOD].mean() for step in range(START)])
        for step in range(START):
            print(
                f"    step {step}: {measured[step]:.1f} us, later ones like it {later[step]:.1f} us, "
                f"{measured[step] / later[step] - 1:+.1%}"
            )


def energy(counts: Any, arch: Any) -> None:
    """Part 3."""
    updates, active = counts.core["updates"][:, 0, 0].sum(), counts.core["active_updates"].sum() / PERIOD
    fabric = {
        "within_tile_spike": "within_tile",
        "hop_east_west": "hops_east_west",
        "hop_north_south": "hops_north_south",
    }

    often = {name: values.sum() / PERIOD for name, values in amounts(counts, arch).items()}
    often |= {"neuron_update_active": active, "neuron_update_inactive": updates - active}
    often |= {component: counts.fabric[name].sum() / PERIOD for component, name in fabric.items()}

    def bill(chip: Any) -> dict[str, tuple[float, float]]:
        priced = {name: (count, getattr(chip.energy, name).value) for name, count in often.items()}
        return {name: (count, price) for name, (count, price) in priced.items() if count and price}

    def total(priced: dict[str, tuple[float, float]]) -> float:
        return sum(count * price for count, price in priced.values()) / 1e6

    operations = sum(count for name, count in often.items() if name.startswith("synaptic_operation"))
    print(f"dynamic energy of a step, from the prices of loihi2 ({operations / 1e6:.2f} million synaptic operations)")
    for name, (count, price) in bill(arch).items():
        print(f"  {name:26} {count:12,.0f} x {price:5} pJ = {count * price / 1e6:7.3f} uJ")
    print(f"  the same counts at the prices of sanafe-loihi: {total(bill(load_architecture('sanafe-loihi'))):.1f} uJ")
    sum_ = total(bill(arch))
    print(f"  sum {sum_:.1f} uJ; measured " + ", ".join(f"{m:.1f} uJ ({sum_ / m - 1:+.1%})" for m in MEASURED_UJ))


if __name__ == "__main__":
    main()
