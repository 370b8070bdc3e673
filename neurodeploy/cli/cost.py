"""``neurodeploy cost``: what a Program costs on its chip: operations, energy, time, and what a step waits for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from . import options
from .console import Console

if TYPE_CHECKING:
    from neurodeploy.hwsim.cost import Cost, Hosted, Tier


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("program", type=Path, help="a placed Program (.ndp)")
    parser.add_argument(
        "-i", "--input", action="append", required=True, metavar="[NAME=]X.npy", help="spikes, [time, batch, *shape]"
    )
    parser.add_argument(
        "--chip", help="prices and times of this chip (name or .yaml; default: the one it was placed for)"
    )
    options.host(parser)
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
    options.input_axis(parser)
    parser.add_argument("--json", action="store_true", help="machine-readable")


def run(args: argparse.Namespace, console: Console) -> int:
    from neurodeploy.api.model import placed
    from neurodeploy.errors import InvalidInputError

    program = placed(args.program)
    arch = program.priced(args.chip)
    inputs = options.over_time(options.load_inputs(args.input), program.network, args.input_axis, console)
    if args.timeline and args.tier not in ("core", "event"):
        raise InvalidInputError(
            "a timeline shows the event tier",
            found=f"--tier {args.tier}",
            hint="leave --tier out, or give --tier event",
        )
    tier: Tier = "event" if args.timeline else args.tier
    found = program.cost(inputs, tier, chip=args.chip, host=args.host, flits=args.flits, input_axis=0)
    console.say(f"arithmetic: {found.arithmetic}")
    for need in found.not_held:
        console.say(f"{arch.name} cannot run this Program as it is: {need}")
    _learning(console, found)
    if found.hosted is not None:
        console.table(found.hosted.COLUMNS, found.hosted.rows(), title="computed by the host, in an inference")
        for line in found.hosted.said():
            console.say(line)
    _energy(console, found)
    _time(console, found)
    if found.hosted is not None:
        _hosted_time(console, found.hosted)
    console.warn(*found.warnings())
    slowest = found.slowest_step
    if slowest is not None:
        console.say(f"slowest step of the first sample: chip step {slowest[0]}: {slowest[1]}")
    if args.timeline:
        steps, messages = found.write_timeline(args.timeline)
        console.say(f"wrote {args.timeline}: chip steps {steps[0]} to {steps[-1]}, {messages:,} messages")
    if console.json:
        console.result(found.as_json())
    return 0


def _learning(console: Console, found: Cost) -> None:
    from neurodeploy.program.count_kinds import label

    totals = found.totals()
    rows = [(label(name), f"{totals[name]:,.1f}") for name in found.counts.learning]
    if rows:
        console.table(("learning in an inference", "count"), rows)


def _energy(console: Console, found: Cost) -> None:
    bill = found.bill
    rows: list[tuple[object, ...]] = [
        (
            line.label,
            f"{line.count:,.1f}",
            f"{line.price:g} {line.price_unit}",
            f"{line.energy_pj / 1e3:,.3f}",
            line.confidence,
        )
        for line in bill.lines
        if line.count
    ]
    if found.hosted is not None:
        rows += [
            (share.title, "", "", "not published" if share.pj is None else f"{share.pj / 1e3:,.3f}", "")
            for share in bill.shares
        ]
    if bill.known and bill.whole:
        rows.append(("sum", "", "", f"{bill.total_pj / 1e3:,.3f}", ""))
    else:
        rows.append(("sum" if found.hosted else "energy", "", "", "not published", ""))
    title = found.arch.title + (f", host: {found.hosted.processor.title}" if found.hosted else "")
    console.table(("energy of an inference", "count", "price", "nJ", "price is"), rows, title=title)
    if found.hosted is not None:
        console.say(f"energy of an inference: {bill.said}")
        for share in bill.shares:
            if share.lacks:
                console.say(f"not published of the {share.title}: {share.lacks}")
    elif bill.missing:
        lacking = ", ".join(m.label + ("" if m.count is None else f" ({m.count:,.1f})") for m in bill.missing)
        console.say(f"not in the sum, since no price was published: {lacking}")


def _hosted_time(console: Console, hosted: Hosted) -> None:
    from neurodeploy.hwsim.timing.host_time import microseconds

    time = hosted.time
    rows = [(label, microseconds(ns)) for label, ns in time.rows()]
    console.table(("time of an inference", "chip and host"), [*rows, ("sum", microseconds(time.total_ns))])
    for term in time.terms:
        if term.ns is not None and term.note:
            console.say(f"{term.label}: {term.note}")


def _time(console: Console, found: Cost) -> None:
    from neurodeploy.hwsim.timing.tiers import TERMS

    timing, clock = found.timing, found.arch.clock.frequency
    if not timing.known:
        lacking = ", ".join(TERMS.get(name, name) for name in timing.missing)
        console.say(f"time: not published for {found.arch.title} (none of: {lacking})")
        return
    rows: list[tuple[object, ...]] = [
        (TERMS[name], f"{ns / 1e3:,.3f}") for name, ns in timing.terms.items() if abs(ns) > 0
    ]
    rows.append(("sum", f"{timing.inference_ns.mean() / 1e3:,.3f}"))
    of = "the chip in an inference" if found.hosted else "an inference"
    columns = (f"time of {of} ({timing.tier} tier)", "us")
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
    shares = timing.core_ns / (timing.inference_ns.mean() or 1.0)
    busy = sorted(zip(shares, found.counts.cores, strict=True), reverse=True)
    if steps and busy and timing.cores_known:
        console.say("busiest cores: " + ", ".join(f"{core} ({share:.0%})" for share, core in busy[:5]))
