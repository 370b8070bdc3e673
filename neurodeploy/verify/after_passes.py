"""A network after each pass of the compiler, measured on the same samples: is it still the same, and as accurate?

Spikes are compared neuron by neuron and step by step with those of the first stage, the float network; a difference is
a *shift* where the same neuron has an unmatched spike of its own within `REACH` steps, and a spike that *appears* or
*vanishes* otherwise. Spikes are matched from the earliest on, each with the nearest that is still free.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Network
from neurodeploy.program import overflow
from neurodeploy.program.recording import Recording, differing

from . import losses
from .stages import accuracy_of

REACH = 3
"""Largest shift of a spike, in steps."""


@dataclass(frozen=True)
class Measured:
    """One stage.

    Args:
        spikes: sent by neurons, all samples.
        different: neuron-steps in which it spikes and the float network does not, or the other way round.
        share: of the float network's spikes.
        accuracy, samples, undecided, silent: where there are labels; see `neurodeploy.verify.stages.Accuracy`.
        left: what `neurodeploy.program.overflow.said` says of it.
    """

    name: str
    spikes: int
    different: int
    share: float
    accuracy: float | None
    samples: int = 0
    undecided: int | None = None
    silent: int | None = None
    left: tuple[str, ...] = ()


@dataclass(frozen=True)
class Moved:
    """How spikes differ: by a shift in time, or because they appear or vanish. A shift is two neuron-steps."""

    shifted: int
    appeared: int
    vanished: int

    @property
    def different(self) -> int:
        """Neuron-steps that differ."""
        return 2 * self.shifted + self.appeared + self.vanished


def measure(stages: Sequence[tuple[str, Network]], inputs: Mapping[str, Array], labels: Array | None) -> list[Measured]:
    """Run every stage on ``inputs``, ``[time, batch, *shape]``, with ``labels`` ``[batch]``."""
    found: list[Measured] = []
    first: Recording | None = None
    for name, network in stages:
        recording = run(network, inputs)
        first = first or recording
        neurons = [p.name for p in network.populations if p.spiking and not p.external]
        total = sum(len(first.spikes[n]) for n in neurons)
        different = sum(differing(network.by_name[n], first, recording) for n in neurons)
        right = accuracy_of(name, network, recording, labels)
        spikes = sum(len(recording.spikes[n]) for n in neurons)
        share = different / max(total, 1)
        seen = (right.accuracy, right.samples, right.undecided, right.silent)
        left = overflow.said(recording.left, network, recording.steps, recording.samples)
        found.append(Measured(name, spikes, different, share, *seen, tuple(left)))
    return found


def warnings(found: Sequence[Measured]) -> list[str]:
    """What the last stage has lost beside the first, and which of its integers left their range."""
    first, last = found[0], found[-1]
    said = losses.warnings(first.spikes, last.different, first.accuracy, last.accuracy)
    names = [stage.name for stage in found]
    floats = found[: names.index("quantise")] if "quantise" in names else found
    lossy = next((stage for stage in floats if stage.different), None)
    if said and lossy is not None:
        said.append(f"{floats[-1].different:,} neuron-steps differ before there are integers, from {lossy.name} on")
    return [*said, *last.left]


def run(network: Network, inputs: Mapping[str, Array]) -> Recording:
    """Run a network that is not placed on hwsim."""
    from neurodeploy import backends
    from neurodeploy.compiler import place

    return backends.get("hwsim")(place(network, None, {}), inputs)


def moved(first: Array, second: Array) -> Moved:
    """Compare spikes ``[time, ...]`` of the same neurons."""
    a, b = (np.asarray(x, dtype=bool).reshape(len(x), -1) for x in (first, second))
    shifted = appeared = vanished = 0
    for neuron in np.flatnonzero((a != b).any(axis=0)):
        lost = np.flatnonzero(a[:, neuron] & ~b[:, neuron]).tolist()
        new = np.flatnonzero(b[:, neuron] & ~a[:, neuron]).tolist()
        for time in lost:
            near = min(new, key=lambda other: abs(other - time), default=None)
            if near is not None and abs(near - time) <= REACH:
                new.remove(near)
                shifted += 1
            else:
                vanished += 1
        appeared += len(new)
    return Moved(shifted, appeared, vanished)
