"""What a Program costs on a chip: one run, what it counted, its bill and its times, for people and as JSON.

Where the host computes a part of the network, `neurodeploy.hwsim.hybrid` counts the chip's part phase by phase, and the
result names what chip, host and boundary cost; a sum that lacked one of them is not given.

Every mean is over samples, and a sample is counted over all its steps. The counts of a layer are those of the network's
steps; the counts of a core, and the totals, are those of chip steps, of which there are more while the pipeline fills
(`neurodeploy.hwsim.counts.counts`), so updates of layers add up to less than the total.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from neurodeploy.errors import InvalidInputError
from neurodeploy.files.tables import html_table
from neurodeploy.network.arrays import Array
from neurodeploy.network.network import check_registers
from neurodeploy.program import likeness, overflow
from neurodeploy.program.count_kinds import BY_NAME
from neurodeploy.program.host_work import HostWork
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Recording

from . import narrow_states
from .chips.arch import Architecture
from .chips.computed import named
from .chips.embedded import arithmetic_of
from .chips.hosts import Host
from .counts.counts import Counter, Counts
from .engine import Simulator
from .prices.pricing import Bill, price
from .timing.event_tier import Mesh
from .timing.flit_tier import flit_timing
from .timing.host_time import HybridTime, microseconds
from .timing.tiers import Timing, counted_timing
from .timing.timeline import CriticalPath, critical_path, write_timeline

Tier = Literal["core", "link", "event", "flit"]
"""A model of time; see docs/explanation-hwsim.md."""

TIERS: tuple[Tier, ...] = ("core", "link", "event", "flit")
"""Models of time, from the one that sees least of a chip to the one that sees most."""


@dataclass(frozen=True)
class Hosted:
    """The share of the host in a network's cost.

    Args:
        processor: whose prices and times were taken.
        work: what it did, in exact integers.
        time: of chip, host and boundary, one after another.
    """

    processor: Host
    work: HostWork
    time: HybridTime

    COLUMNS = ("host stage", "when", "runs", "MACs", "other operations", "reads", "gives")

    def rows(self) -> list[tuple[str, ...]]:
        """The stages, each count the mean of a sample; see `COLUMNS`."""
        return [
            (
                s.name, s.when, f"{s.runs:,}", f"{s.macs:,.1f}",
                ", ".join(f"{n:,.1f} {kind}" for kind, n in s.operations.items()) or "-",
                f"{s.bytes_read:,.0f} B", f"{s.bytes_given:,.0f} B",
            )
            for s in self.work.means()
        ]  # fmt: skip

    def said(self) -> tuple[str, ...]:
        """What crosses the boundary, who waits for whom, and what is kept, in a sentence each."""
        often = self.work.counts()
        kept = ", ".join(f"{what} {size:,} B" for what, size in self.work.buffers.items())
        to_host, to_chip = often["bytes_to_host"], often["bytes_to_chip"]
        return (
            f"over the boundary: {to_host:,.0f} B to the host, {to_chip:,.0f} B to the chip",
            f"barriers of chip and host: {often['host_barriers']:,.0f}",
            f"the host keeps {often['host_buffered']:,.0f} B" + (f": {kept}" if kept else ""),
        )

    def as_json(self) -> dict[str, Any]:
        """For scripts; means per sample."""
        return {
            "processor": self.processor.name,
            "title": self.processor.title,
            "stages": [dict(vars(stage)) for stage in self.work.means()],
            "crossings": [{**vars(c), "bytes": c.bytes} for c in self.work.crossings],
            "barriers": {str(phase): n for phase, n in self.work.barriers.items()},
            "buffers": dict(self.work.buffers),
            "time": self.time.as_json(),
        }


@dataclass(frozen=True, eq=False)
class Cost:
    """What `cost` found.

    Args:
        program: that ran.
        arch: the chip whose prices and times were taken.
        recording: of the run.
        counts: what it did, in exact integers.
        bill: energy, in pJ per sample.
        timing: of each step, in ns.
        mesh: of the tiers that follow messages.
        unlike: how the input is unlike what the network was proven on.
        arithmetic: with which it ran, in words.
        beyond: which states went beyond the chip's bits (`neurodeploy.hwsim.narrow_states`).
        not_held: what the chip has not that the Program needs, in words; empty where nobody looked.
        hosted: what the host does of it; None where the chip computes all. Counts and timing are those of the chip,
            phase after phase.
    """

    program: Program
    arch: Architecture
    recording: Recording
    counts: Counts
    bill: Bill
    timing: Timing
    mesh: Mesh | None = None
    unlike: tuple[str, ...] = ()
    arithmetic: str = ""
    beyond: tuple[str, ...] = ()
    not_held: tuple[str, ...] = ()
    hosted: Hosted | None = None

    COLUMNS = ("of a sample", "count", "price", "nJ", "price is")

    def __repr__(self) -> str:
        steps, samples = self.recording.steps, self.recording.samples
        what = f"{self.program.network.name} on {self.arch.name}"
        if self.hosted:
            what += f" with {self.hosted.processor.title}"
            return f"<Cost of {what}: {samples} samples, {steps} steps; {self.bill.said}>"
        return f"<Cost of {what}: {samples} samples, {steps} steps>"

    def rows(self) -> list[tuple[str, ...]]:
        """What is counted and paid for, and the time, each the mean of a sample; see `COLUMNS`."""
        found = [
            (line.label, f"{line.count:,.1f}", f"{line.price:g} {line.price_unit}", f"{line.energy_pj / 1e3:,.3f}",
             line.confidence)
            for line in self.bill.lines
            if line.count
        ]  # fmt: skip
        tier = f"{self.timing.tier} tier"
        if self.hosted:
            found += [(f"energy of the {s.title}", "", "", _nanojoules(s.pj), s.lacks and f"without {s.lacks}")
                      for s in self.bill.shares]  # fmt: skip
            found.append(("energy", "", "", _nanojoules(self.bill.total_pj), ""))
            found += [(f"time, {label}", microseconds(ns), "", "", "") for label, ns in self.hosted.time.rows()]
            return [*found, (f"time ({tier})", microseconds(self.hosted.time.total_ns), "", "", "")]
        found.append(("energy", "", "", _nanojoules(self.bill.total_pj if self.bill.known else None), ""))
        time = microseconds(float(self.timing.inference_ns.mean())) if self.timing.known else "not published"
        return [*found, (f"time ({tier})", time, "", "", "")]

    def _repr_html_(self) -> str:
        return html_table(self.COLUMNS, self.rows(), repr(self), self.warnings())

    def warnings(self) -> list[str]:
        """What may make these counts those of another network: an odd input, integers that left their range."""
        recording, network = self.recording, self.program.network
        left = overflow.said(recording.left, network, recording.steps, recording.samples)
        return [*self.unlike, *left, *self.beyond]

    def totals(self) -> dict[str, float]:
        """Every kind of the whole chip, mean per sample, chip steps where cores count it."""
        counts = self.counts
        found = self._means({name: array.sum(axis=0) for name, array in counts.layer.items()})
        found |= self._means({name: array.sum(axis=0) for name, array in {**counts.core, **counts.learning}.items()})
        found |= self._means(counts.fabric)
        found["inactive_updates"] = found["updates"] - found["active_updates"]
        found["barriers"] = float(len(self.timing.step_ns))
        if self.timing.known:
            found["used_core_ns"] = len(counts.cores) * float(self.timing.inference_ns.mean())
        if self.hosted:
            found |= self.hosted.work.counts()
        return {name: found[name] for name in BY_NAME if name in found}

    def layers(self) -> dict[str, dict[str, float]]:
        """Kinds that populations count, by population, mean per sample."""
        return {
            population: self._means({name: array[row] for name, array in self.counts.layer.items()})
            for row, population in enumerate(self.counts.populations)
        }

    def cores(self) -> dict[int, dict[str, float]]:
        """Kinds that cores count, by core, mean per sample."""
        found = {}
        for row, core in enumerate(self.counts.cores):
            own = {name: array[row] for name, array in {**self.counts.core, **self.counts.learning}.items()}
            own["inactive_updates"] = own["updates"] - own["active_updates"]
            found[core] = self._means(own)
        return found

    def _means(self, counts: Mapping[str, Array]) -> dict[str, float]:
        """From ``[steps, samples]`` to the mean of the samples' sums, in the table's order."""
        return {name: int(counts[name].sum()) / self.recording.samples for name in BY_NAME if name in counts}

    @property
    def inference_ns(self) -> float | None:
        """Mean time of a sample, ns; None where it, or that of the host, was not published."""
        if self.hosted:
            return self.hosted.time.total_ns
        return float(self.timing.inference_ns.mean()) if self.timing.known else None

    @cached_property
    def slowest_step(self) -> tuple[int, CriticalPath] | None:
        """The slowest chip step of the first sample and what it waits for; only the event tier knows."""
        if self.mesh is None or self.timing.tier != "event" or not self.timing.known:
            return None
        step = int(self.timing.step_ns[:, 0].argmax())
        return step, critical_path(self.mesh, self.recording, self.counts, self.timing, step)

    def write_timeline(self, path: Path | str) -> tuple[range, int]:
        """Write the slowest step of the first sample and its neighbours as a trace; which steps, how many messages.

        Raises:
            StorageError: the folder cannot be written to, or the disk is full.
            InvalidInputError: another tier, or a network of several phases, of which none is followed.
        """
        slowest = self.slowest_step
        if slowest is None or self.mesh is None:
            phases = f", {len(self.hosted.time.phases)} phase(s)" if self.hosted else ""
            raise InvalidInputError(
                "a timeline shows the event tier, of networks of one phase", found=f"{self.timing.tier} tier{phases}",
                hint="leave --timeline out",
            )  # fmt: skip
        steps = range(max(slowest[0] - 1, 0), min(slowest[0] + 2, len(self.timing.step_ns)))
        return steps, write_timeline(path, self.mesh, self.recording, self.counts, self.timing, steps)

    def as_json(self) -> dict[str, Any]:
        """Everything for scripts; see ``docs/reference-cli.md``, section cost."""
        bill, timing, totals = self.bill, self.timing, self.totals()
        return {
            "chip": self.arch.name,
            "extends": list(self.arch.extends),
            "arithmetic": self.arithmetic,
            "samples": self.recording.samples,
            "steps": self.recording.steps,
            "chip_steps": len(timing.step_ns),
            "per": "sample",
            "kinds": {name: {"label": BY_NAME[name].label, "unit": BY_NAME[name].unit} for name in totals},
            "counts": {
                "total": totals,
                "layers": self.layers(),
                "cores": {str(core): counts for core, counts in self.cores().items()},
            },
            "energy_pj": {line.component: line.energy_pj for line in bill.lines},
            "total_pj": bill.total_pj if bill.known and bill.whole else None,
            "missing": {item.component: item.count for item in bill.missing},
            **({"total": bill.said, "host": self.hosted.as_json()} if self.hosted else {}),
            "bill": bill.as_json(),
            "out_of_range": self.recording.left,
            "warnings": self.warnings(),
            **self._times(),
            "not_held": list(self.not_held),
        }

    def _times(self) -> dict[str, Any]:
        timing, slowest = self.timing, self.slowest_step
        known, cores = timing.known, zip(self.counts.cores, timing.core_ns, strict=True)
        found: dict[str, Any] = {
            "tier": timing.tier,
            "step_ns": {
                "mean": float(timing.step_ns.mean()) if known else None,
                "slowest": float(timing.step_ns.max()) if known else None,
            },
            "inference_ns": self.inference_ns,
            "terms_ns": {name: None if name in timing.missing else ns for name, ns in timing.terms.items()},
            "core_ns": {str(core): float(ns) if timing.cores_known else None for core, ns in cores},
            "times_missing": list(timing.missing),
            "busiest_core": timing.busiest_core if known else None,
        }
        if self.counts.learning:
            found["learning"] = {name: self.totals()[name] for name in self.counts.learning}
        if slowest is not None:
            found["slowest_step"] = {"step": slowest[0], "waits_for": str(slowest[1])}
        return found


def cost(
    program: Program,
    inputs: Mapping[str, Array],
    arch: Architecture,
    *,
    tier: Tier = "core",
    flits: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Cost:
    """Run a placed Program on some samples and count, price and time what it does.

    Args:
        program: placed on a chip.
        inputs: spikes by input, ``[time, batch, *shape]``; see `neurodeploy.backends.Backend`.
        arch: the chip, which must have the cores that the Program is placed on.
        tier: how much of the chip the times see.
        flits: of a message, in the flit tier.
        progress: called with samples done and all samples.

    Raises:
        InvalidInputError: inputs that do not match, a core that the chip does not have, or a tier that cannot time it.
        UnsupportedError: integers that Loihi's registers do not hold.
    """
    check_registers(program.network)
    counts, timing, mesh, recording = measured(program, inputs, arch, tier, flits, progress)
    unlike = tuple(likeness.unlike(program.provenance, inputs))
    bill = price(counts, arch, timing)
    beyond = narrow_states.said(narrow_states.found(program, arch, inputs), program, arch, inputs)
    arithmetic = computed_with(program, arch)
    return Cost(program, arch, recording, counts, bill, timing, mesh, unlike, arithmetic, tuple(beyond))


def measured(
    program: Program,
    inputs: Mapping[str, Array],
    arch: Architecture,
    tier: Tier,
    flits: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Counts, Timing, Mesh | None, Recording]:
    """Run a Program of the chip alone, count and time it; as `cost`."""
    check_tier(tier)
    counter, simulator = Counter(program, arch), Simulator(program)
    recording = simulator.run(inputs, progress=progress, flags=tier in ("event", "flit"))
    counts = counter.count(recording, links=tier == "link")
    mesh = Mesh(simulator, counter) if tier in ("event", "flit") else None
    if mesh is not None:
        timing = mesh.time(recording, counts) if tier == "event" else flit_timing(mesh, recording, counts, flits)
    else:
        timing = counted_timing(counts, arch, tier)
    return counts, timing, mesh, recording


def check_tier(tier: str) -> None:
    """Refuse a tier that is none.

    Raises:
        InvalidInputError: names those that there are.
    """
    if tier not in TIERS:
        raise InvalidInputError("there is no such tier of timing", found=tier, allowed=", ".join(TIERS))


def computed_with(program: Program, arch: Architecture) -> str:
    """The arithmetic of a Program that is priced for a chip, for people."""
    if arch.name == program.chip:
        return named(program.network.arithmetic, arch)
    return f"{arithmetic_of(program)} ({program.chip}); priced for {arch.title}"


def _nanojoules(pj: float | None) -> str:
    return "not published" if pj is None or math.isnan(pj) else f"{pj / 1e3:,.3f}"
