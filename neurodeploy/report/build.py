"""From bills and timings to the parts of a report document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neurodeploy.hwsim.prices.pricing import Bill, Line, Missing
from neurodeploy.hwsim.timing.tiers import TERMS, Timing

from .document import Energy, EnergyLine, HostedStage, HostShare, HostTime, Latency, MissingLine, Term

if TYPE_CHECKING:
    from neurodeploy.hwsim.chips.arch import Architecture
    from neurodeploy.hwsim.cost import Hosted


def energy_of(bill: Bill) -> Energy:
    """Return the energy part of a network's results: the chip's lines, and a sum where it is of the whole network."""
    chip = bill.shares[0]
    return Energy(
        chip=bill.chip,
        total_pj=bill.total_pj if bill.whole else None,
        dynamic_pj=bill.dynamic_pj if bill.whole else None,
        static_pj=bill.static_pj,
        chip_pj=chip.pj,
        lines=tuple(line_of(line) for line in chip.lines),
        missing=tuple(missing_of(item) for item in chip.missing),
    )


def host_of(hosted: Hosted, bill: Bill) -> HostShare:
    """Return the host's part of a network's results."""
    often, time = hosted.work.counts(), hosted.time
    _, host, boundary = bill.shares
    notes = {term.label: term.note for term in time.terms}
    return HostShare(
        processor=hosted.processor.name,
        title=hosted.processor.title,
        stages=tuple(HostedStage.model_validate(s, from_attributes=True) for s in hosted.work.means()),
        bytes_to_host=often["bytes_to_host"],
        bytes_to_chip=often["bytes_to_chip"],
        barriers=often["host_barriers"],
        buffered=dict(hosted.work.buffers),
        energy=bill.said,
        host_pj=host.pj,
        boundary_pj=boundary.pj,
        lines=tuple(line_of(line) for line in (*host.lines, *boundary.lines)),
        missing=tuple(missing_of(item) for item in (*host.missing, *boundary.missing)),
        times=tuple(HostTime(label=label, ns=ns, note=notes.get(label, "")) for label, ns in time.rows()),
        total_ns=time.total_ns,
    )


def line_of(line: Line) -> EnergyLine:
    """Return a line of a bill as the documents have it."""
    return EnergyLine(
        component=line.component,
        kind=line.kind,
        part=line.part,
        label=line.label,
        count=line.count,
        count_unit=line.count_unit,
        price=line.price,
        price_unit=line.price_unit,
        energy_pj=line.energy_pj,
        source=line.source,
        confidence=line.confidence,
        bound=line.bound,
        note=line.note,
    )


def missing_of(item: Missing) -> MissingLine:
    """Return what a bill lacks as the documents have it."""
    return MissingLine(
        component=item.component,
        kind=item.kind,
        part=item.part,
        label=item.label,
        count=item.count,
        count_unit=item.count_unit,
        reason=item.reason,
    )


def latency_of(timing: Timing, arch: Architecture | None = None) -> Latency:
    """Return the latency part of a network's results; with ``arch`` it says what its clock is."""
    frequency = arch.clock.frequency if arch else None
    clock = "" if arch is None else "none (asynchronous)" if frequency is None else f"{frequency.value:g} MHz"
    return Latency(
        tier=timing.tier,
        mean_ns=tuple(timing.step_ns.mean(axis=1).tolist()),
        max_ns=tuple(timing.step_ns.max(axis=1).tolist()),
        inference_us=float(timing.inference_ns.mean()) / 1000,
        terms=tuple(Term(name=name, label=TERMS[name], ns=ns) for name, ns in timing.terms.items() if ns),
        dominant=timing.dominant,
        busiest_core=timing.busiest_core,
        busiest_share=min(timing.busiest_share, 1.0),
        tiles=timing.tiles,
        missing=tuple(TERMS.get(name, name) for name in timing.missing),
        clock=clock,
    )
