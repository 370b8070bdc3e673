"""A few steps as a picture: a trace for Perfetto or chrome://tracing, and in words what a step waits for.

Each core has two tracks, what it sends and what it receives; every message is a slice on either of them, and an arrow
between the two. Times are those of the `event` tier, in us from the begin of the first step; steps stand end to end,
each followed by its barrier.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.files.atomic import atomic_path
from neurodeploy.program.recording import Recording

from ..counts.counts import Counts
from .event_tier import Mesh, Message
from .tiers import Timing

SLACK_NS = 1e-6


@dataclass(frozen=True)
class CriticalPath:
    """What ends a step: an unbroken stretch of work of one core.

    Args:
        core: that is done last.
        receiving: whether it is what it receives, rather than its own neurons and spikes.
        begin_ns, end_ns: of the stretch.
        messages: received in it.
        source: core that sent the message with which it begins; None for its own work, and for what the host sent.
        working_ns: of the step, without its barrier.
    """

    core: int
    receiving: bool
    begin_ns: float
    end_ns: float
    messages: int
    source: int | None
    working_ns: float

    def __str__(self) -> str:
        if not self.working_ns:
            return "the barrier alone, since no time of its cores' work was published"
        share = f"{(self.end_ns - self.begin_ns) / self.working_ns:.0%} of {self.working_ns / 1e3:.2f} us"
        if not self.receiving:
            return f"core {self.core} updates its neurons and sends their spikes until the end ({share})"
        if self.source is None:
            return f"core {self.core} works through what the host sent until the end ({share})"
        return (
            f"core {self.core} receives {self.messages:,} messages without a pause until the end ({share}), "
            f"the first of them from core {self.source}"
        )


def critical_path(
    mesh: Mesh, recording: Recording, counts: Counts, timing: Timing, step: int, sample: int = 0
) -> CriticalPath:
    """Say what a chip step waits for.

    Args:
        timing: of the event tier.
    """
    log = mesh.log(recording, counts, step, sample)
    row = int(timing.bound[step, sample])
    working = float(timing.step_ns[step, sample]) - mesh.arch.barrier_ns(timing.tiles)
    mine = np.flatnonzero(log.target == row)
    mine = mine[np.argsort(log.begun[mine], kind="stable")]
    core = counts.cores[row]
    if not len(mine) or log.done[mine[-1]] < working - SLACK_NS * max(1.0, working):
        queued = float(mesh.given(recording, counts)[1][step, sample, row])  # the host's spikes, there from the begin
        from_host = queued >= working - SLACK_NS * max(1.0, working)
        return CriticalPath(core, from_host, 0.0, working, 0, None, working)
    first = len(mine) - 1
    while first > 0 and log.begun[mine[first]] <= log.done[mine[first - 1]] + SLACK_NS:
        first -= 1
    chosen = mine[first:]
    source = counts.cores[int(log.source[chosen[0]])]
    return CriticalPath(
        core, True, float(log.begun[chosen[0]]), float(log.done[chosen[-1]]), len(chosen), source, working
    )


def write_timeline(
    path: Path | str,
    mesh: Mesh,
    recording: Recording,
    counts: Counts,
    timing: Timing,
    steps: Iterable[int],
    sample: int = 0,
) -> int:
    """Write a trace of some chip steps of one sample (JSON, Chrome's trace event format); return its messages.

    Raises:
        StorageError: the folder cannot be written to, or the disk is full.
    """
    events: list[dict[str, Any]] = [_named("process_name", 1, 0, "chip")]
    events.append(_named("thread_name", 1, 0, "steps"))
    for row, core in enumerate(counts.cores):
        for side, name in enumerate(("sends", "receives")):
            events.append(_named("thread_name", 1, 1 + 2 * row + side, f"core {core} {name}"))
    began, messages = 0.0, 0
    barrier = mesh.arch.barrier_ns(timing.tiles)
    for step in steps:
        length = float(timing.step_ns[step, sample])
        what = str(critical_path(mesh, recording, counts, timing, step, sample))
        events.append(_slice(f"step {step}", 0, began, length - barrier, {"waits for": what}))
        events.append(_slice("barrier", 0, began + length - barrier, barrier, {}))
        log = mesh.log(recording, counts, step, sample)
        events += _messages(mesh, log, counts, began, messages)
        messages += len(log.source)
        began += length
    with atomic_path(Path(path)) as file:
        file.write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ns"}), encoding="utf-8")
    return messages


def _messages(mesh: Mesh, log: Message, counts: Counts, began: float, number: int) -> Iterable[dict[str, Any]]:
    out = mesh.price["axon_out"]
    for n in range(len(log.source)):
        source, target = int(log.source[n]), int(log.target[n])
        name, index = mesh.neuron(int(log.neuron[n]))
        spike = f"{name}[{index}]"
        sends, receives = 1 + 2 * source, 2 + 2 * target
        ready, sent = float(log.ready[n]), float(log.sent[n])
        told = {"to core": counts.cores[target], "held up (ns)": round(sent - ready, 3)}
        yield _slice(spike, sends, began + ready - out, sent - ready + out, told)
        told = {"from core": counts.cores[source], "waited (ns)": round(float(log.begun[n] - log.arrived[n]), 3)}
        yield _slice(spike, receives, began + float(log.begun[n]), float(log.done[n] - log.begun[n]), told)
        flow = {"name": "message", "cat": "message", "id": number + n, "pid": 1}
        yield {**flow, "ph": "s", "tid": sends, "ts": (began + sent) / 1e3}
        yield {**flow, "ph": "f", "bp": "e", "tid": receives, "ts": (began + float(log.begun[n])) / 1e3}


def _named(kind: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": process, "tid": thread, "args": {"name": name}}


def _slice(name: str, thread: int, begin_ns: float, length_ns: float, told: dict[str, Any]) -> dict[str, Any]:
    return {
        "ph": "X", "name": name, "pid": 1, "tid": thread, "ts": begin_ns / 1e3, "dur": length_ns / 1e3, "args": told
    }  # fmt: skip
