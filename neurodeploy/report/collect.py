"""From a compiled network and its run to one network's part of the report document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NotRequired, TypedDict, Unpack

import numpy as np

from neurodeploy.compiler import Compiled
from neurodeploy.hwsim.chips.computed import named, registers_of
from neurodeploy.hwsim.counts.counts import Counts, count
from neurodeploy.hwsim.prices.pricing import price
from neurodeploy.hwsim.timing.tiers import core_timing
from neurodeploy.network.arrays import Array
from neurodeploy.network.host import fed
from neurodeploy.network.network import Population
from neurodeploy.program import overflow
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Recording, decisions

from . import document
from .build import energy_of, host_of, latency_of
from .diagram.parts import diagram
from .numerics import spreads

if TYPE_CHECKING:
    from neurodeploy.hwsim.chips.arch import Architecture
    from neurodeploy.hwsim.cost import Cost
    from neurodeploy.verify.compare import Pair
    from neurodeploy.verify.stages import Accuracy


class Title(TypedDict):
    """What a network is called in the report."""

    name: str
    description: NotRequired[str]


def network_result(
    compiled: Compiled,
    arch: Architecture,
    recording: Recording,
    labels: Array | None,
    pairs: Sequence[Pair],
    accuracies: Sequence[Accuracy],
    states: Recording | None = None,
    cost: Cost | None = None,
    **title: Unpack[Title],
) -> document.NetworkResult:
    """Count, price and time a recorded run, and gather everything for the report.

    Args:
        recording: of hwsim on the Program, over all samples.
        labels: classes ``[batch]``, None where unknown.
        accuracies: of the stages on common samples, the first ones, and those on all samples.
        states: of the integer network with its potentials, for the box plots.
        cost: of the same run, of a network with host stages (`neurodeploy.hwsim.hybrid`).
    """
    program = compiled.program
    if cost is not None:
        counts, timing, bill = cost.counts, cost.timing, cost.bill
    else:
        counts = count(program, recording, arch)
        timing = core_timing(counts, arch)
        bill = price(counts, arch, timing)
    facts = program.provenance
    stages = tuple(
        document.Stage(name=a.stage, accuracy=a.accuracy, samples=a.samples, undecided=a.undecided, silent=a.silent)
        for a in accuracies
    )
    common = min((stage.samples for stage in stages), default=0)
    return document.NetworkResult(
        name=title["name"],
        description=title.get("description", ""),
        arithmetic=named(program.network.arithmetic, arch),
        source=document.Source(
            framework=facts.get("framework", "NIR file"),
            versions=_versions(facts),
            file=facts.get("source", ""),
            sha256=facts.get("sha256", ""),
            dt=program.network.dt,
            steps=recording.steps,
        ),
        stages=tuple(stage for stage in stages if stage.samples == common),
        stages_on_all=tuple(stage for stage in stages if stage.samples != common),
        pairs=tuple(_pair(pair) for pair in pairs),
        layers=tuple(_layer(program, population, counts) for population in program.network.populations),
        energy=energy_of(bill) if bill.known else None,
        latency=latency_of(timing, arch) if timing.known else None,
        host=host_of(cost.hosted, bill) if cost is not None and cost.hosted is not None else None,
        diagram=diagram(program.network) if program.network.stages else None,
        cores=_cores(program, counts, arch),
        raster=_raster(program, recording, labels),
        spreads=spreads(compiled, states, registers_of(arch)),
        warnings=tuple(overflow.said(recording.left, program.network, recording.steps, recording.samples)),
        notes=_notes(program),
    )


def _notes(program: Program) -> dict[str, str]:
    """What was assumed or done on the way, and the rule by which the network decides."""
    answer = program.network.answer
    return ({"answer": answer.described()} if answer else {}) | {
        str(k): str(v) for k, v in program.network.notes.items()
    }


def _versions(facts: Mapping[str, str]) -> dict[str, str]:
    named = {"neurodeploy": "neurodeploy", "nir": "nir", "framework_version": facts.get("framework", "framework")}
    return {name: facts[key] for key, name in named.items() if facts.get(key)}


def _pair(pair: Pair) -> document.Pair:
    divergence = None
    if pair.divergence is not None:
        divergence = document.Divergence(**vars(pair.divergence))
    return document.Pair(
        first=pair.first,
        second=pair.second,
        exact_by_design=pair.exact_by_design,
        equal=pair.equal,
        samples=pair.samples,
        compared=pair.compared,
        spikes_different=pair.spikes_different,
        states_different=pair.states_different,
        not_finite=pair.not_finite,
        spike_distance=pair.spike_distance,
        verdict=pair.verdict,
        divergence=divergence,
    )


def _layer(program: Program, population: Population, counts: Counts) -> document.Layer:
    """One population; counts are means over samples."""
    row = counts.populations.index(population.name)
    per_step = {key: values[row].mean(axis=1) for key, values in counts.layer.items()}
    incoming = program.network.into(population.name)
    if population.name in fed(program.network.stages):
        kind = "from the host"
    elif population.external:
        kind = population.neuron.label
    else:
        kind = " + ".join(dict.fromkeys(type(p.connectivity).__name__.lower() for p in incoming)) or "unconnected"
    sent = per_step["events_out"]
    return document.Layer(
        name=population.name,
        handle=str(population.handle),
        kind=kind,
        shape=population.shape,
        neurons=population.size,
        cores=len(program.cores_of(population.name)),
        synapses=sum(p.connectivity.synapses() for p in incoming),
        events_per_inference=float(sent.sum()),
        rate=float(sent.mean() / population.size),
        sops=float(per_step["sops"].sum()),
        nonzero_sops=float(per_step["nonzero_sops"].sum()),
        updates=float(per_step["updates"].sum()),
        active_updates=float(per_step["active_updates"].sum()),
        events_per_step=tuple(sent.tolist()),
        sops_per_step=tuple(per_step["sops"].tolist()),
    )


def _cores(program: Program, counts: Counts, arch: Architecture) -> tuple[document.Core, ...]:
    sops = counts.core["sops"].sum(axis=1).mean(axis=1)
    limits = arch.limits
    return tuple(
        document.Core(
            core=use.core,
            tile=arch.chip_of(use.core) * arch.mesh.tiles + arch.tile_of(use.core % arch.cores),
            neurons=use.neurons,
            neurons_limit=limits.neurons_per_core.value,
            synapse_bytes=use.synapse_bytes,
            synapse_limit=limits.synapse_bytes_per_core.value,
            axons_in=use.axons_in,
            axons_in_limit=limits.axons_in_per_core.value if limits.axons_in_per_core else None,
            axons_out=use.axons_out,
            axons_out_limit=limits.axons_out_per_core.value if limits.axons_out_per_core else None,
            populations=tuple(
                name for name, cores in program.core_of.items() if bool((np.asarray(cores) == use.core).any())
            ),
            sops=float(sops[counts.cores.index(use.core)]),
        )
        for use in program.use
    )


def _raster(program: Program, recording: Recording, labels: Array | None) -> document.Raster:
    """Spikes of the first sample."""
    decision = decisions(program.network, recording)
    populations = []
    for name, events in recording.spikes.items():
        first = events.sample == 0
        populations.append(
            document.RasterPopulation(
                name=name,
                neurons=events.neurons,
                times=tuple(events.time[first].tolist()),
                indices=tuple(events.neuron[first].tolist()),
            )
        )
    return document.Raster(
        sample=0,
        label=None if labels is None else int(labels[0]),
        predicted=int(decision.predicted[0]),
        undecided=bool(decision.tied[0] | decision.silent[0]),
        steps=recording.steps,
        populations=tuple(populations),
    )
