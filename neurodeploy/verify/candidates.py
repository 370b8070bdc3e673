"""The conventions of every tool, run on one file: what each would make of it, and how that differs from
those in force.

So the owner of a file sees whether the question who wrote it matters, and how much. It is measured on one input, given
or random, and is no bound for others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neurodeploy.backends.reference.run import run_network
from neurodeploy.errors import NeurodeployError
from neurodeploy.lowering.lower import lower
from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Network
from neurodeploy.nir_graph.conventions import Conventions, resolve
from neurodeploy.nir_graph.nir_file import NirFile
from neurodeploy.nir_graph.tools import TOOLS
from neurodeploy.nir_graph.writers import against
from neurodeploy.program.recording import check_inputs

from .ambiguity import SMALL, noise, spikes_of, work_of

IN_FORCE = "in force"
TOO_LARGE = "too large to try here: compile it and run it"


@dataclass(frozen=True)
class Candidate:
    """One reading of a file.

    Args:
        tool: as ``--as`` names it, or `IN_FORCE` for the conventions in force.
        dt: length of a step in seconds, None where it cannot be.
        against: what speaks against this tool having written the file; empty for nothing.
        spikes: of each layer, over all steps and samples.
        differing: neuron-steps that differ from `IN_FORCE`, of ``compared``; None where there is nothing to compare.
        why_not: why it was not run; empty if it was.
    """

    tool: str
    dt: float | None = None
    against: str = ""
    spikes: Mapping[str, int] = field(default_factory=dict)
    differing: int | None = None
    compared: int = 0
    why_not: str = ""


def candidates(
    file: NirFile,
    conventions: Conventions | None,
    options: Mapping[str, Any],
    inputs: Mapping[str, Array] | None = None,
) -> tuple[Candidate, ...]:
    """Run a file in the conventions of every tool, after those in force.

    Args:
        conventions: those in force; None where there is no time step, so that nothing can be assumed.
        options: the user's, which hold for every tool.
        inputs: ``[time, batch, *shape]``; random spikes without.

    Raises:
        InvalidInputError: the inputs do not match the network.
    """
    result: list[Candidate] = []
    before: dict[str, Array] | None = None
    small = True
    if conventions is not None:
        first, before = _tried(IN_FORCE, "", lower(file, conventions), inputs, None)
        result.append(first)
        small = before is not None
    for tool in TOOLS:
        if tool == options.get("tool"):
            continue
        reason = against(tool, file)
        if not small:  # to lower it again and again would take as long
            result.append(Candidate(tool, None, reason, why_not=TOO_LARGE))
            continue
        try:
            network = lower(file, resolve(file, **{**options, "tool": tool}))
        except NeurodeployError as error:
            result.append(Candidate(tool, None, reason, why_not=error.what))
            continue
        tried, spikes = _tried(tool, reason, network, inputs, before)
        result.append(tried)
        small = spikes is not None
    return tuple(result)


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that puts layer 10 after layer 9."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name) if part]


def _cut(network: Network, inputs: Mapping[str, Array] | None) -> dict[str, Array] | None:
    """The inputs, of so few samples that a run is short; None where a single one is too many."""
    used = noise(network) if inputs is None else check_inputs(network, inputs)[2]
    steps = next(iter(used.values())).shape[0]
    samples = SMALL // (steps * work_of(network))
    return {name: x[:, :samples] for name, x in used.items()} if samples else None


def _tried(
    tool: str, reason: str, network: Network, inputs: Mapping[str, Array] | None, before: Mapping[str, Array] | None
) -> tuple[Candidate, dict[str, Array] | None]:
    used = _cut(network, inputs)
    if used is None:
        return Candidate(tool, network.dt, reason, why_not=TOO_LARGE), None
    spikes = spikes_of(network, run_network(network, used))
    differing = None
    if before is not None:
        differing = sum(int(np.count_nonzero(before[name] != a)) for name, a in spikes.items())
    counts = {name: int(spikes[name].sum()) for name in sorted(spikes, key=_natural)}
    compared = sum(a.size for a in spikes.values())
    return Candidate(tool, network.dt, reason, counts, differing, compared), spikes
