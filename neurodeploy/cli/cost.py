"""``neurodeploy cost``: what a Program costs on its chip: operations, energy, time, and what a step waits for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import options
from .console import Console

if TYPE_CHECKING:
    from neurodeploy.hwsim.counts.counts import Counts
    from neurodeploy.hwsim.timing.tiers import Timing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("program", type=Path, help="a placed Program (.ndp)")
    parser.add_argument(
        "-i", "--input", action="append", required=True, metavar="[NAME=]X.npy", help="spikes, [time, batch, *shape]"
    )
    parser.add_argument(
        "--chip", help="prices and times of this chip (name or .yaml; default: the one it was placed for)"
    )
    parser.add_argument(
        "--tier", choices=("core", "link", "event", "flit"), default="core",
        help="how much of the chip the times see: slowest core, busiest link, every message, or every cycle of its "
        "network (default: core)",
    )  # fmt: skip
    parser.add_argument(
        "--flits",
        type=options.positive,
        default=1,
        metavar="N",
        help="flits of a message, in the flit tier (default: 1)",
    )
    parser.add_argument(
        "--timeline", type=Path, metavar="T.json",
        help="write the slowest step of the first sample and its neighbours, for ui.perfetto.dev (event tier)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="machine-readable")


def run(args: argparse.Namespace, console: Console) -> int:
    from neurodeploy.compiler import NO_CHIP
    from neurodeploy.errors import InvalidInputError
    from neurodeploy.hwsim.chips.arch import load_architecture
    from neurodeploy.hwsim.chips.embedded import architecture_of
    from neurodeploy.hwsim.counts.counts import Counter
    from neurodeploy.hwsim.engine import Simulator
    from neurodeploy.hwsim.prices.pricing import price
    from neurodeploy.hwsim.timing import event_tier, timeline
    from neurodeploy.hwsim.timing.flit_tier import flit_timing
    from neurodeploy.hwsim.timing.tiers import core_timing, link_timing
    from neurodeploy.program.program import Program

    program = Program.load(args.program)
    if program.chip == NO_CHIP and not program.chip_file:
        raise InvalidInputError(
            f"{args.program} is placed on no chip", hint="compile it for one: neurodeploy compile ... --chip loihi1"
        )
    arch = load_architecture(args.chip) if args.chip else architecture_of(program)
    inputs = options.load_inputs(args.input)
    if args.timeline and args.tier not in ("core", "event"):
        raise InvalidInputError(
            "a timeline shows the event tier",
            found=f"--tier {args.tier}",
            hint="leave --tier out, or give --tier event",
        )
    tier = "event" if args.timeline else args.tier
    counter, simulator = Counter(program, arch), Simulator(program)
    with console.progress("hwsim") as progress:
        recording = simulator.run(inputs, progress=progress, flags=tier in ("event", "flit"))
    counts = counter.count(recording, links=tier == "link")
    mesh = event_tier.Mesh(simulator, counter) if tier in ("event", "flit") else None
    if mesh is not None:
        timing = mesh.time(recording, counts) if tier == "event" else flit_timing(mesh, recording, counts, args.flits)
    else:
        timing = link_timing(counts, arch) if tier == "link" else core_timing(counts, arch)
    bill = price(counts, arch, timing)
    result: dict[str, Any] = {
        "chip": arch.name,
        "extends": list(arch.extends),
        "samples": recording.samples,
        "steps": recording.steps,
        "energy_pj": {line.component: line.energy_pj for line in bill.lines},
        "total_pj": bill.total_pj,
        "missing": {item.component: item.count for item in bill.missing},
        "tier": timing.tier,
        "step_ns": {"mean": float(timing.step_ns.mean()), "slowest": float(timing.step_ns.max())},
        "inference_ns": float(timing.inference_ns.mean()),
        "times_missing": list(timing.missing),
        "busiest_core": timing.busiest_core,
    }
    if counts.learning:
        result["learning"] = {name: float(a.sum()) / recording.samples for name, a in counts.learning.items()}
        _learning(console, result["learning"])
    _energy(console, bill, arch.title)
    _time(console, counts, timing, arch)
    if mesh is not None and tier == "event":
        step = int(timing.step_ns[:, 0].argmax())
        path = timeline.critical_path(mesh, recording, counts, timing, step)
        console.say(f"slowest step of the first sample: chip step {step}: {path}")
        result["slowest_step"] = {"step": step, "waits_for": str(path)}
        if args.timeline:
            steps = range(max(step - 1, 0), min(step + 2, len(timing.step_ns)))
            messages = timeline.write_timeline(args.timeline, mesh, recording, counts, timing, steps)
            console.say(f"wrote {args.timeline}: chip steps {steps[0]} to {steps[-1]}, {messages:,} messages")
    console.result(result)
    return 0


def _learning(console: Console, work: dict[str, float]) -> None:
    names = {
        "visited": "synapses visited", "changed": "synapses changed", "products": "products computed",
        "x_impulses": "impulses of sources' traces", "x_decays": "decays of sources' traces",
        "y_impulses": "impulses of targets' traces", "y_decays": "decays of targets' traces",
    }  # fmt: skip
    console.table(("learning in an inference", "count"), [(names[name], f"{n:,.1f}") for name, n in work.items()])


def _energy(console: Console, bill: Any, title: str) -> None:
    from neurodeploy.hwsim.prices.pricing import LABELS

    rows: list[tuple[object, ...]] = [
        (
            LABELS[line.component],
            f"{line.count:,.1f}",
            f"{line.price:g} {line.price_unit}",
            f"{line.energy_pj / 1e3:,.3f}",
            line.confidence,
        )
        for line in bill.lines
        if line.count
    ]
    rows.append(("sum", "", "", f"{bill.total_pj / 1e3:,.3f}", ""))
    console.table(("energy of an inference", "count", "price", "nJ", "price is"), rows, title=title)
    if bill.missing:
        lacking = ", ".join(
            LABELS[m.component] + ("" if m.count is None else f" ({m.count:,.1f})") for m in bill.missing
        )
        console.say(f"not in the sum, since no price was published: {lacking}")


def _time(console: Console, counts: Counts, timing: Timing, arch: Any) -> None:
    from neurodeploy.hwsim.timing.tiers import TERMS

    clock = arch.clock.frequency
    rows: list[tuple[object, ...]] = [
        (TERMS[name], f"{ns / 1e3:,.3f}") for name, ns in timing.terms.items() if abs(ns) > 0
    ]
    rows.append(("sum", f"{timing.inference_ns.mean() / 1e3:,.3f}"))
    columns = (f"time of an inference ({timing.tier} tier)", "us")
    if clock is not None:
        rows = [(*row, f"{float(str(row[1]).replace(',', '')) * clock.value:,.0f}") for row in rows]
        columns = (*columns, f"cycles at {clock.value:g} MHz")  # type: ignore[assignment]
    console.table(columns, rows)
    if timing.missing:
        console.say("taken as 0, since no time was published: " + ", ".join(TERMS.get(n, n) for n in timing.missing))
    mean, slowest = timing.step_ns.mean() / 1e3, timing.step_ns.max() / 1e3
    console.say(
        f"a step takes {mean:,.3f} us in the mean, {slowest:,.3f} us at most; "
        + ("asynchronous chip" if clock is None else f"{clock.value:g} MHz")
    )
    steps = len(timing.step_ns)
    busy = sorted(zip(timing.core_ns / (timing.inference_ns.mean() or 1.0), counts.cores, strict=True), reverse=True)
    if steps and busy:
        console.say("busiest cores: " + ", ".join(f"{core} ({share:.0%})" for share, core in busy[:5]))
