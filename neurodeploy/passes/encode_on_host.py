"""Pass ``encode-on-host``: neurons that hear inputs alone make the first spikes on the host. Exact.

Most spiking networks are fed with real numbers (pixels), in every step the same: their first layer multiplies, and its
neurons make the first spikes (direct coding). On a chip that layer is the only one that needs graded spikes, and
inputs that are no whole numbers have none. Here it becomes a stage before the first step (`HostStage`): its population
is a source of the same name that the host feeds, and inputs that nobody else on the chip hears are read by the host
alone. The graph is in float64 (`neurodeploy.backends.onnx.encoder`), so that the spikes are those of the float network,
in front of `quantise` and behind it.

Inputs that were 0 or 1 on all calibration samples are spikes already: what hears nothing else stays on the chip.
Without samples all that hears inputs alone moves. What stays stands in the notes with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.arrays import Array
from neurodeploy.network.host import HostInput, HostOutput, HostStage, fed
from neurodeploy.network.network import Network, Population
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.packages.commands import naming
from neurodeploy.program.recording import check_inputs
from neurodeploy.program.schedule import schedule

from .data import NOTHING, PassData


@dataclass(frozen=True)
class EncodeOnHost:
    """Let the host compute what hears inputs alone; a note says what moved, and why the rest did not."""

    name: ClassVar[str] = "encode-on-host"

    def apply(self, network: Network, data: PassData = NOTHING) -> Network:
        """See the module's docstring.

        Raises:
            InvalidInputError: calibration samples that do not match the network.
            MissingPackageError: onnx is not installed.
        """
        if network.arithmetic != "float":
            why = "left alone: its integers would be others; run encode-on-host before quantise"
        elif any(p.rule is not None for p in network.projections):
            why = "left alone: its synapses learn, from spikes of the chip"
        else:
            why = ""
        if why:
            return replace(network, notes={**network.notes, self.name: why})
        given = check_inputs(network, data.calibration)[2] if data.calibration is not None else {}
        spikes = {name for name, values in given.items() if _binary(values)}
        whole, notes = network, dict(network.notes)
        inputs = {p.name for p in network.inputs}
        for population in whole.populations:
            if not inputs & {p.source for p in whole.into(population.name)}:
                continue
            why = _why_not(whole, population, spikes)
            if not why:
                network, why = _moved(network, population)
            heard = ", ".join(repr(source) for source in _sources(whole, population.name))
            notes[f"{self.name} {population.name}"] = (
                f"left on the chip: {why}" if why else
                f"the host computes its {population.size:,} neurons from {heard}, and sends their spikes"
            )  # fmt: skip
        return replace(network, notes=notes)


def _binary(values: Array) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def _sources(network: Network, name: str) -> tuple[str, ...]:
    """What a population hears, each once."""
    return tuple(dict.fromkeys(p.source for p in network.into(name)))


def _why_not(network: Network, population: Population, spikes: set[str]) -> str:
    """Why a population that hears an input stays on the chip; empty where it can move."""
    name, hosts = population.name, fed(network.stages)
    sources = _sources(network, name)
    if name in network.heard:
        return "the user reads it"
    if not population.spiking:
        return "it sends its potential, not spikes"
    if any(t.source == name and t.port == "potential" for stage in network.stages for t in stage.takes):
        return "a host stage reads its potential"
    for source in sources:
        if source in hosts:
            return f"the host stage {hosts[source].name!r} feeds {source!r}"
        if network.by_name[source] not in network.inputs:
            what = "itself" if source == name else repr(source)
            return f"it hears {what}, too, which is no input"
    if set(sources) <= spikes:
        return f"{' and '.join(map(repr, sources))} are spikes already, 0 or 1 in calibration"
    if type(population.neuron) is not Lif:
        return f"no ONNX function computes its neurons ({population.neuron.label})"
    return ""


def _moved(network: Network, population: Population) -> tuple[Network, str]:
    """The network with a population on the host; or as it was, and why."""
    with naming("encode-on-host"):
        from neurodeploy.backends.onnx.encoder import encoder

    name, sources = population.name, _sources(network, population.name)
    try:
        model = encoder(network, name, sources)
    except UnsupportedError as error:
        return network, error.what
    takes = tuple(HostInput(f"x{index}", source) for index, source in enumerate(sources))
    stage = HostStage(
        _free(network, f"encode {name}"), np.frombuffer(model.SerializeToString(deterministic=True), np.uint8),
        takes, (HostOutput("y", name),), "before",
    )  # fmt: skip
    source = replace(population, neuron=Source(), join=None)
    moved = replace(
        network, populations=tuple(source if p is population else p for p in network.populations),
        projections=tuple(p for p in network.projections if p.target != name), stages=(*network.stages, stage),
    )  # fmt: skip
    try:
        schedule(moved)
    except UnsupportedError as error:  # a layer less in front of a loop may leave it too few steps for its own hops
        return network, f"without it, {error.what}"
    return moved, ""


def _free(network: Network, name: str) -> str:
    taken: Mapping[str, object] = {**network.by_name, **{stage.name: stage for stage in network.stages}}
    while name in taken:
        name += "'"
    return name
