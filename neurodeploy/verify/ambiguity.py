"""What a `.nir` file leaves open, and what it changes: each alternative is run beside what was assumed.

NIR says neither how a spike resets, nor whether equality spikes, nor when a recurrent bias starts (`Conventions`); the
tools differ. Where the file's metadata are silent, the float network is run on one random input under both readings,
and the neuron-steps in which they differ are counted. That is a measurement on noise, not a bound: on other inputs more
or less may differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from neurodeploy.backends.reference.run import run_network
from neurodeploy.errors import NeurodeployError
from neurodeploy.lowering.lower import lower
from neurodeploy.network.network import Network
from neurodeploy.network.neurons import Source
from neurodeploy.nir_graph.conventions import Conventions
from neurodeploy.nir_graph.nir_file import NirFile
from neurodeploy.nir_graph.shapes import delayed_edges, of_kind
from neurodeploy.program.recording import Recording

ALTERNATIVES: Mapping[str, tuple[str, str]] = {
    "reset": ("subtract", "snnTorch's default, sinabs, spyx, rockpool"),
    "comparison": (">=", "SpikingJelly, sinabs"),
    "recurrent_bias": ("after-delay", "norse"),
}
"""For each convention that may be assumed, the other reading and whose it is."""

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


def ambiguities(file: NirFile, conventions: Conventions) -> tuple[Ambiguity, ...]:
    """The conventions that neither the options nor the file's metadata settled."""
    spiking = of_kind(file.graph, "LIF", "IF", "CubaLIF", "Threshold")
    resetting = of_kind(file.graph, "LIF", "IF", "CubaLIF")
    matters = {"reset": resetting, "comparison": spiking, "recurrent_bias": delayed_edges(file.graph)}
    open_ = [
        name for name in ALTERNATIVES if matters[name] and name not in conventions.given and name not in file.metadata
    ]
    if not open_:
        return ()
    network = lower(file, conventions)
    work = sum(p.size for p in network.populations)
    work += sum(p.connectivity.stored_weights() for p in network.projections)
    expected = _run(network) if STEPS * work <= SMALL else None
    return tuple(_compared(name, file, conventions, expected) for name in open_)


def _compared(name: str, file: NirFile, conventions: Conventions, expected: Recording | None) -> Ambiguity:
    other, whose = ALTERNATIVES[name]
    assumed = str(getattr(conventions, name))

    def said(effect: str, differing: int | None = None, compared: int = 0) -> Ambiguity:
        return Ambiguity(name, assumed, other, whose, effect, differing, compared)

    if expected is None:
        return said("the network is too large to try both here: compare `neurodeploy verify` with either option")
    changes: dict[str, Any] = {name: other}
    try:
        network = lower(file, replace(conventions, **changes))
    except NeurodeployError as error:
        return said(f"cannot be: {error.what}")
    found = _run(network)
    names = [p.name for p in network.populations if p.spiking and not isinstance(p.neuron, Source)]
    before = {n: expected.spikes[n].dense() for n in names}
    after = {n: found.spikes[n].dense() for n in names}
    compared = sum(a.size for a in before.values())
    if not any(a.any() for a in (*before.values(), *after.values())):
        return said("unknown: no neuron spikes on random input", None, compared)
    differing = sum(int((before[n] != after[n]).sum()) for n in names)
    if differing == 0:
        return said(f"nothing on random input ({compared:,} neuron-steps)", 0, compared)
    was, would = (sum(int(np.count_nonzero(a)) for a in arrays.values()) for arrays in (before, after))
    effect = f"{differing:,} of {compared:,} neuron-steps on random input; {would:,} spikes instead of {was:,}"
    return said(effect, differing, compared)


def _run(network: Network) -> Recording:
    rng = np.random.default_rng(0)
    inputs = {p.name: (rng.random((STEPS, 1, *p.shape)) < RATE).astype(np.uint8) for p in network.inputs}
    return run_network(network, inputs)
