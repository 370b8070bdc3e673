"""What a network costs of which the host computes a part: the chip phase by phase, the host, the boundary between them.

A run has been recorded (`neurodeploy.backends.host.run`), and what the host did in it counted
(`neurodeploy.backends.host.work`). Of the chip, each *phase* is counted as a Program of its own: the neurons of that
phase, with all that they hear of the user, of the host and of earlier phases as inputs. Its counts follow from the same
recording (the message tiers run it once more, to see every message), and the phases of a chip stand one behind the
other in time: chip steps of the second follow on those of the first. Neurons of other phases rest in between, and are
not paid for; static power is that of all used cores, all along.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Network, Population, check_registers
from neurodeploy.network.neurons import Source
from neurodeploy.program import likeness
from neurodeploy.program.host_work import HostWork, Wiring
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Events, Recording

from . import narrow_states
from .chips.arch import Architecture
from .chips.hosts import Host
from .cost import Cost, Hosted, Tier, check_tier, computed_with, measured
from .counts.counts import Counter, Counts
from .prices.pricing import bill_of_run, totals
from .timing.event_tier import Mesh
from .timing.host_time import HybridTime, host_terms
from .timing.tiers import Timing, counted_timing, tiles_of


@dataclass(frozen=True, eq=False)
class Ran:
    """A run of a network with host stages.

    Args:
        program: placed, with its stages.
        inputs: of the user, by input.
        recording: of hwsim, with the states that `Wiring.states` names.
        work: what the host did in it.
    """

    program: Program
    inputs: Mapping[str, Array]
    recording: Recording
    work: HostWork


def chip_side(program: Program, recording: Recording) -> tuple[Program, dict[str, Array]]:
    """The chip's part of a Program with host stages as one without, and all that it was fed in a run."""
    part = program.part(program.network.chip_part)
    return part, {p.name: recording.spikes[p.name].dense() for p in part.network.inputs}


def cost_hybrid(ran: Ran, arch: Architecture, host: Host, *, tier: Tier = "core", flits: int = 1) -> Cost:
    """Count, price and time a recorded run of a network with host stages.

    Args:
        ran: the run.
        arch: the chip, which must have the cores that the Program is placed on.
        host: the processor that computes the stages.
        tier, flits: as for `neurodeploy.hwsim.cost.cost`, of the chip in each phase.

    Raises:
        InvalidInputError: a core that the chip does not have, or a tier that cannot time it.
        UnsupportedError: integers that Loihi's registers do not hold.
    """
    check_tier(tier)
    program, samples = ran.program, ran.recording.samples
    check_registers(program.network)
    wiring = Wiring.of(program.network)
    recording = _with_messages(wiring, ran.recording)
    parts = [_phase(wiring, program, phase) for phase in wiring.chip_phases]
    found = [_measured(part, recording, arch, tier, flits) for part in parts]
    counts = joined(program, ran.recording, [counts for counts, _, _, _ in found])
    timing = followed(counts, arch, [(counts, timing) for counts, timing, _, _ in found])
    phases = zip(wiring.chip_phases, (timing for _, timing, _, _ in found), strict=True)
    often = {kind: n / samples for kind, n in totals(counts, arch, timing).items()} | ran.work.counts()
    time = HybridTime(
        {phase: float(one.inference_ns.mean()) if one.known else None for phase, one in phases},
        host_terms(often, host, arch, timing.tiles),
    )
    if time.total_ns is not None:
        often["host_ns"] = time.total_ns
    mesh: Mesh | None = None
    kept = ran.recording
    if len(found) == 1:
        _, _, mesh, one = found[0]
        kept = replace(kept, flags=one.flags)
    chip, fed = chip_side(program, ran.recording)
    beyond = narrow_states.said(narrow_states.found(chip, arch, fed), chip, arch, fed)
    return Cost(
        program, arch, kept, counts, bill_of_run(often, samples, arch, host), timing, mesh,
        tuple(likeness.unlike(program.provenance, ran.inputs)), computed_with(program, arch), tuple(beyond),
        hosted=Hosted(host, ran.work, time),
    )  # fmt: skip


def _with_messages(wiring: Wiring, recording: Recording) -> Recording:
    """The recording with the potentials as spikes that read-outs send into a later phase."""
    sent = {}
    for name in wiring.carried():
        neuron = wiring.network.by_name[name].neuron
        if not neuron.spiking:
            potential = recording.states["v"][name]
            sent[name] = Events.from_dense(potential >> neuron.send_shift if neuron.send_shift else potential)
    return replace(recording, spikes={**recording.spikes, **sent})


def _phase(wiring: Wiring, program: Program, phase: int) -> Program:
    """What the chip does in one phase, as a Program of its own; what it hears of others are its inputs."""
    network = wiring.network
    own = {p.name for p in network.populations if not p.external and wiring.phase[p.name] == phase}
    into = tuple(p for p in network.projections if p.target in own)
    heard = {p.source for p in into}
    populations = tuple(
        p if p.name in own or p.external else _replayed(network, p)
        for p in network.populations
        if p.name in own or p.name in heard
    )
    part = replace(
        network, populations=populations, projections=into, stages=(), answer=None,
        outputs=tuple(name for name in network.outputs if name in own),
    )  # fmt: skip
    return program.part(part)


def _replayed(network: Network, population: Population) -> Population:
    """A population of an earlier phase as an input: its messages come from the host."""
    neuron, bits = population.neuron, 1
    if neuron.graded(network.arithmetic):
        bits = min(32, max(2, neuron.largest_message(network.arithmetic).bit_length() + 1))
    return replace(population, neuron=Source(payload_bits=bits), join=None)


def _measured(
    part: Program, recording: Recording, arch: Architecture, tier: Tier, flits: int
) -> tuple[Counts, Timing, Mesh | None, Recording]:
    """Counts and times of a phase; the message tiers run it."""
    if tier in ("event", "flit"):
        fed = {p.name: recording.spikes[p.name].dense() for p in part.network.inputs}
        return measured(part, fed, arch, tier, flits)
    counts = Counter(part, arch).count(recording, links=tier == "link")
    return counts, counted_timing(counts, arch, tier), None, recording


def joined(program: Program, recording: Recording, phases: Sequence[Counts]) -> Counts:
    """The counts of all phases as those of one run: chip steps follow on each other, layers add up.

    Args:
        program: with all populations.
        recording: of the whole run, for the spikes of what no phase hears.
        phases: in their order.
    """
    names = tuple(p.name for p in program.network.populations)
    cores = tuple(sorted({core for counts in phases for core in counts.cores}))
    layer = {}
    for kind in phases[0].layer:
        rows = np.zeros((len(names), recording.steps, recording.samples), np.int64)
        for counts in phases:
            for name, values in zip(counts.populations, counts.layer[kind], strict=True):
                at = names.index(name)
                rows[at] = np.maximum(rows[at], values) if kind == "events_out" else rows[at] + values
        layer[kind] = rows
    counted = {name for counts in phases for name in counts.populations}
    for name in recording.spikes.keys() - counted:
        events = recording.spikes[name]
        cell = events.time.astype(np.int64) * events.samples + events.sample
        sent = np.bincount(cell, minlength=recording.steps * recording.samples)
        layer["events_out"][names.index(name)] = sent.reshape(recording.steps, recording.samples)

    def by_core(counts: Counts, values: Array) -> Array:
        wide = np.zeros((len(cores), *values.shape[1:]), values.dtype)
        wide[[cores.index(core) for core in counts.cores]] = values
        return wide

    def all_cores(part: str) -> dict[str, Array]:
        kinds = dict.fromkeys(kind for counts in phases for kind in getattr(counts, part))
        return {
            kind: np.concatenate(
                [
                    by_core(counts, getattr(counts, part).get(kind, np.zeros_like(counts.core["updates"])))
                    for counts in phases
                ],
                axis=1,
            )
            for kind in kinds
        }

    fabric = {kind: np.concatenate([counts.fabric[kind] for counts in phases]) for kind in phases[0].fabric}
    links = [counts.links for counts in phases if counts.links is not None]
    return Counts(
        names, cores, layer, all_cores("core"), fabric, phases[0].chips,
        np.concatenate(links, axis=1) if links else None, all_cores("learning"),
    )  # fmt: skip


def followed(counts: Counts, arch: Architecture, phases: Sequence[tuple[Counts, Timing]]) -> Timing:
    """The times of all phases as those of one run, steps following on each other.

    Args:
        counts: of all phases; see `joined`.
        phases: counts and times of each, in their order.
    """
    first = phases[0][1]
    rows = [np.array([*(counts.cores.index(core) for core in own.cores), -1]) for own, _ in phases]
    bound = np.concatenate([row[timing.bound] for row, (_, timing) in zip(rows, phases, strict=True)])
    working = np.concatenate([timing.step_ns - arch.barrier_ns(timing.tiles) for _, timing in phases])
    core_ns = np.zeros(len(counts.cores))
    for row, (_, timing) in zip(rows, phases, strict=True):
        core_ns[row[:-1]] += timing.core_ns
    missing = tuple(dict.fromkeys(name for _, timing in phases for name in timing.missing))
    waited = np.bincount(bound[bound >= 0], weights=working[bound >= 0], minlength=len(counts.cores))
    known = len(waited) and bound.size and (core_ns.any() or not missing)
    return Timing(
        tier=first.tier,
        step_ns=np.concatenate([timing.step_ns for _, timing in phases]),
        inference_ns=np.sum([timing.inference_ns for _, timing in phases], axis=0),
        terms={name: sum(timing.terms[name] for _, timing in phases) for name in first.terms},
        core_ns=core_ns,
        busiest_core=counts.cores[int(waited.argmax())] if known else None,
        busiest_share=float(waited.max() / working.sum()) if known and working.sum() else 0.0,
        tiles=tiles_of(counts, arch),
        missing=missing,
        bound=bound,
    )
