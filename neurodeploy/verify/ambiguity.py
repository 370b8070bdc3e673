"""What a `.nir` file leaves open, and what it changes: each alternative is run beside what was assumed.

NIR says neither how and when a spike resets, nor whether equality spikes, nor what is kept of a state in a step, nor
when a recurrent bias starts (`Conventions`). The tools differ (`neurodeploy.nir_graph.tools`). Where the file's
metadata are silent, the float network is run on one random input under both readings, and the neuron-steps in which
they differ are counted. That is a measurement on noise, not a bound: on other inputs more or less may differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from neurodeploy.backends.reference.run import run_network
from neurodeploy.errors import NeurodeployError
from neurodeploy.lowering.lower import lower
from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Network
from neurodeploy.nir_graph.conventions import Conventions
from neurodeploy.nir_graph.nir_file import NirFile
from neurodeploy.nir_graph.shapes import delayed_edges, of_kind
from neurodeploy.nir_graph.tools import TOOLS
from neurodeploy.program.recording import Recording

STEPS, RATE = 50, 0.3
SMALL = 1 << 24
"""Neurons and stored weights, times steps, up to which the alternatives are run."""


@dataclass(frozen=True)
class Ambiguity:
    """One convention that the file does not say.

    Args:
        convention: its name, as the option that settles it.
        assumed: the reading that was taken.
        alternative: the other one, with who takes it in ``whose``.
        effect: what would differ, in a sentence.
        differing: neuron-steps that differ, of ``compared``; None where it was not run.
    """

    convention: str
    assumed: str
    alternative: str
    whose: str
    effect: str
    differing: int | None = None
    compared: int = 0


def alternatives(file: NirFile, conventions: Conventions) -> dict[str, dict[str, Any]]:
    """Each convention that was assumed -> the other reading: it and, where it needs them, others that go with it."""
    resetting = of_kind(file.graph, "LIF", "IF", "CubaLIF")
    leaking = of_kind(file.graph, "LIF", "LI", "CubaLIF", "CubaLI")
    late = "subtract" if "reset" in conventions.assumed else conventions.reset
    possible: dict[str, tuple[object, dict[str, Any]]] = {
        "reset": (resetting, {"reset": "subtract"}),
        "reset_time": (late != "none" and resetting, {"reset_time": "next", "reset": late}),
        "comparison": (resetting or of_kind(file.graph, "Threshold"), {"comparison": ">="}),
        "decay": (leaking, {"decay": "exponential"}),
        "recurrent_bias": (delayed_edges(file.graph), {"recurrent_bias": "after-delay"}),
    }
    return {name: other for name, (matters, other) in possible.items() if matters and name in conventions.assumed}


def whose(other: Mapping[str, Any]) -> str:
    """The tools whose row has these values, and a reset in its own step where they say nothing of it."""
    wanted = {"reset_time": "now", **other} if "reset" in other else other
    names = [tool.title.rsplit(" ", 1)[0] for tool in TOOLS.values() if wanted.items() <= tool.values.items()]
    text = ", ".join(names) or "an option of some tools"
    if wanted.get("reset") == "subtract" and wanted["reset_time"] == "now":
        text += "; not snnTorch, whose subtract is in the next step (--reset-time next)"
    return text


def ambiguities(file: NirFile, conventions: Conventions) -> tuple[Ambiguity, ...]:
    """The conventions that neither the options nor the file's metadata settled."""
    open_ = alternatives(file, conventions)
    if not open_:
        return ()
    network = lower(file, conventions)
    expected = run_network(network, noise(network)) if STEPS * work_of(network) <= SMALL else None
    return tuple(_compared(name, other, file, conventions, expected) for name, other in open_.items())


def work_of(network: Network) -> int:
    """Neurons and stored weights: what a step of a run costs."""
    weights = sum(p.connectivity.stored_weights() for p in network.projections)
    return weights + sum(p.size for p in network.populations)


def noise(network: Network) -> dict[str, Array]:
    """One sample of Bernoulli spikes of a fixed seed for each input, ``[time, 1, *shape]``."""
    rng = np.random.default_rng(0)
    return {p.name: (rng.random((STEPS, 1, *p.shape)) < RATE).astype(np.uint8) for p in network.inputs}


def spikes_of(network: Network, recording: Recording) -> dict[str, Array]:
    """Spikes of each layer, without the inputs, ``[time, batch, neurons]``."""
    names = [p.name for p in network.populations if p.spiking and not p.external]
    return {name: recording.spikes[name].dense() for name in names}


def _compared(
    name: str, other: Mapping[str, Any], file: NirFile, conventions: Conventions, expected: Recording | None
) -> Ambiguity:
    assumed = str(getattr(conventions, name))
    alternative = str(other[name])
    if name == "reset_time" and other["reset"] != conventions.reset:
        alternative += f" (--reset {other['reset']})"

    def said(effect: str, differing: int | None = None, compared: int = 0) -> Ambiguity:
        return Ambiguity(name, assumed, alternative, whose(other), effect, differing, compared)

    if expected is None:
        return said("the network is too large to try both here: compare `neurodeploy verify` with either option")
    try:
        network = lower(file, replace(conventions, **other))
    except NeurodeployError as error:
        return said(f"cannot be: {error.what}")
    before, after = (spikes_of(network, r) for r in (expected, run_network(network, noise(network))))
    compared = sum(a.size for a in before.values())
    if not any(a.any() for a in (*before.values(), *after.values())):
        return said("unknown: no neuron spikes on random input", None, compared)
    differing = sum(int((before[n] != after[n]).sum()) for n in before)
    if differing == 0:
        return said(f"nothing on random input ({compared:,} neuron-steps)", 0, compared)
    was, would = (sum(int(np.count_nonzero(a)) for a in arrays.values()) for arrays in (before, after))
    effect = f"{differing:,} of {compared:,} neuron-steps on random input; {would:,} spikes instead of {was:,}"
    return said(effect, differing, compared)
