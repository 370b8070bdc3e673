"""How long a network runs of which the host computes a part: the chip phase by phase, the host, and what they wait for.

All of it follows one after another,

    T = sum over phases of the chip's time + what the host computes + bytes over the boundary + barriers with the host,

as if nothing overlapped. Where a stage runs within the steps of a phase, the chip's cores before and behind it work one
after another, too, while the tiers of timing see them side by side, so the chip's share is a lower bound. A barrier
with the host takes no less than the chip's own over the same tiles; what it takes beyond that was not published. A time
that nobody published is none, and so is the sum then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from neurodeploy.program.count_kinds import BY_NAME, Side

from ..chips.arch import Architecture
from ..chips.hosts import Host


@dataclass(frozen=True)
class HostTerm:
    """A part of the time of a sample.

    Args:
        kind: of what was counted (`neurodeploy.program.count_kinds`).
        count: mean per sample.
        ns: mean per sample; None where no time was published.
        note: what the time leaves out, or why there is none.
    """

    kind: str
    count: float
    ns: float | None
    note: str

    @property
    def label(self) -> str:
        """In words."""
        return BY_NAME[self.kind].label

    @property
    def side(self) -> Side:
        """Of the host, or of the boundary."""
        return BY_NAME[self.kind].side


@dataclass(frozen=True)
class HybridTime:
    """The time of a sample, in ns.

    Args:
        phases: what the chip takes for each of its phases; None where no time was published.
        terms: of host and boundary; only what happened.
    """

    phases: Mapping[int, float | None]
    terms: tuple[HostTerm, ...]

    @property
    def chip_ns(self) -> float | None:
        """All phases of the chip."""
        known = [ns for ns in self.phases.values() if ns is not None]
        return math.fsum(known) if len(known) == len(self.phases) else None

    def side_ns(self, side: Side) -> float | None:
        """What a side takes; None where something of it was not published."""
        if side == "chip":
            return self.chip_ns
        own = [term.ns for term in self.terms if term.side == side]
        known = [ns for ns in own if ns is not None]
        return math.fsum(known) if len(known) == len(own) else None

    @property
    def total_ns(self) -> float | None:
        """The sum; None where a part of it was not published."""
        sides: tuple[Side, ...] = ("chip", "host", "boundary")
        parts = [self.side_ns(side) for side in sides]
        known = [ns for ns in parts if ns is not None]
        return math.fsum(known) if len(known) == len(parts) else None

    def rows(self) -> list[tuple[str, float | None]]:
        """Every part in words and its ns, in the order of a table."""
        chip = [(f"chip, phase {phase}" if len(self.phases) > 1 else "chip", ns) for phase, ns in self.phases.items()]
        return [*chip, *((term.label, term.ns) for term in self.terms)]

    @property
    def said(self) -> str:
        """In words: a sum in us, or each part, where one is not published."""
        if self.total_ns is not None:
            return microseconds(self.total_ns)
        return " + ".join(f"{label}{':' if ns is None else ''} {microseconds(ns)}" for label, ns in self.rows())

    def as_json(self) -> dict[str, Any]:
        """For scripts; ns per sample, None for what was not published."""
        return {
            "phases_ns": {str(phase): ns for phase, ns in self.phases.items()},
            "chip_ns": self.chip_ns,
            "host_ns": self.side_ns("host"),
            "boundary_ns": self.side_ns("boundary"),
            "total_ns": self.total_ns,
            "terms_ns": {term.kind: term.ns for term in self.terms},
            "notes": {term.kind: term.note for term in self.terms if term.note},
        }


def microseconds(ns: float | None) -> str:
    """A time for people."""
    return "not published" if ns is None else f"{ns / 1e3:,.3f} us"


def host_terms(often: Mapping[str, float], host: Host, arch: Architecture, tiles: int) -> tuple[HostTerm, ...]:
    """What host and boundary take of the time of a sample.

    Args:
        often: counts of the host, mean per sample.
        tiles: of the chip that hold a used core.
    """
    times = {"host_macs": host.latency.mac, "host_operations": host.latency.operation}
    times |= {"bytes_to_host": host.latency.byte_to_host, "bytes_to_chip": host.latency.byte_to_chip}
    found = [
        HostTerm(kind, often[kind], None if time.value is None else often[kind] * time.value, time.note)
        for kind, time in times.items()
        if often.get(kind)
    ]
    barriers = often.get("host_barriers", 0.0)
    if barriers:
        known = arch.barrier.latency is not None
        note = "at least: the chip's own barrier; what the host adds was not published" if known else arch.barrier.note
        found.append(HostTerm("host_barriers", barriers, barriers * arch.barrier_ns(tiles) if known else None, note))
    return tuple(found)
