"""Verification: one input through every stage, each compared with its neighbour, neuron by neuron, step by step.

Where equality is exact by design (hwsim against Lava's fixed point, say) anything else is a failure, and so is
silence: two networks that never spike prove nothing. Where it is not (quantisation) the difference is measured.

*Spike distance* of two stages: the number of (neuron, step) in which only one of them spikes, divided by the spikes of
both together; 0 when they are the same, 1 when they share no spike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Network
from neurodeploy.program.recording import Recording

Verdict = Literal["equal", "measured", "failed", "silent"]

FLOAT_TOLERANCE = 1e-9
"""Largest difference of two float64 potentials, relative to the largest potential, that is rounding."""


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline.

    Args:
        name: as the report shows it.
        run: from inputs ``{population: [time, batch, *shape]}`` to a recording with the states ``v``.
        exact: whether it must equal the stage before it, and in what: spikes and states, or nothing.
        integer: whether its potentials are integers (compared without tolerance).
    """

    name: str
    run: Callable[[Mapping[str, Array]], Recording]
    exact: bool
    integer: bool


@dataclass(frozen=True)
class Divergence:
    """The first place where two stages differ, and both potentials there (None where a stage does not record them)."""

    population: str
    handle: str
    step: int
    sample: int
    neuron: int
    first_v: float | None
    second_v: float | None


@dataclass(frozen=True)
class Pair:
    """Two neighbouring stages compared; see `neurodeploy.report.document.Pair` for the fields.

    Args:
        spikes: of the first and of the second.
        per_layer: for each population ``(spikes of the first, of the second, neuron-steps that differ)``.
    """

    first: str
    second: str
    exact_by_design: bool
    samples: int
    compared: int
    spikes: tuple[int, int]
    spikes_different: int
    states_different: int | None
    spike_distance: float
    divergence: Divergence | None
    per_layer: Mapping[str, tuple[int, int, int]]

    @property
    def equal(self) -> bool:
        """No spike and no comparable potential differs."""
        return self.spikes_different == 0 and not self.states_different

    @property
    def verdict(self) -> Verdict:
        """What the comparison says; see the module's docstring."""
        if not any(self.spikes):
            return "silent"
        if self.equal:
            return "equal"
        return "failed" if self.exact_by_design else "measured"

    @property
    def passed(self) -> bool:
        """Neither a failure nor silence."""
        return self.verdict in ("equal", "measured")


def verify(
    stages: Sequence[Stage],
    inputs: Mapping[str, Array],
    network: Network,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[dict[str, Recording], list[Pair]]:
    """Run every stage on the same inputs and compare each with the one before it.

    Args:
        stages: in the order of the pipeline.
        network: for the names and handles of the populations.
        progress: called with ``(stage, done, stages)``.

    Returns:
        The recording of each stage, and one pair for each two neighbours.
    """
    recordings: dict[str, Recording] = {}
    pairs: list[Pair] = []
    for index, stage in enumerate(stages):
        if progress:
            progress(stage.name, index, len(stages))
        recordings[stage.name] = stage.run(inputs)
        if index:
            before = stages[index - 1]
            pair = compare(
                recordings[before.name],
                recordings[stage.name],
                network,
                exact=stage.exact,
                integer=(before.integer, stage.integer),
                tolerance=0.0 if stage.integer else FLOAT_TOLERANCE,
            )
            pairs.append(replace(pair, first=before.name, second=stage.name))
    if progress:
        progress("", len(stages), len(stages))
    return recordings, pairs


def compare(
    first: Recording,
    second: Recording,
    network: Network,
    *,
    exact: bool = True,
    integer: tuple[bool, bool] = (False, False),
    tolerance: float = 0.0,
) -> Pair:
    """Compare two recordings of the same input over all neurons that both have; inputs and bias axons are left out.

    Args:
        exact: whether they must be equal.
        integer: whether the potentials of the first and of the second are in integer units; only potentials of the
            same kind are compared; where they differ in kind, a divergence gives both in float units.
        tolerance: on potentials, relative to the largest potential of the population.
    """
    divergences: list[tuple[int, int, Divergence]] = []
    compared = different = states_different = 0
    total = (0, 0)
    per_layer = {}
    for order, population in enumerate(network.populations):
        name = population.name
        spiking = name in first.spikes and name in second.spikes
        states = integer[0] == integer[1] and name in first.states.get("v", {}) and name in second.states.get("v", {})
        if population.external or not (spiking or states):
            continue
        compared += first.steps * first.samples * population.size
        off = np.zeros((first.steps, first.samples, population.size), dtype=bool)
        if spiking:
            a, b = first.spikes[name].dense().astype(np.int64), second.spikes[name].dense().astype(np.int64)
            off = a != b
            per_layer[name] = (int(a.sum()), int(b.sum()), int(off.sum()))
            total = total[0] + int(a.sum()), total[1] + int(b.sum())
            different += int(off.sum())
        if states:
            v, w = first.states["v"][name], second.states["v"][name]
            # What is no number differs from everything.
            state_off = ~(np.abs(v.astype(np.float64) - w) <= tolerance * max(1.0, float(np.abs(v).max(initial=0))))
            states_different += int(state_off.sum())
            off |= state_off
        if off.any():
            step, sample, neuron = (int(i) for i in np.unravel_index(int(np.argmax(off)), off.shape))
            at = step, sample, neuron
            scales = [population.scales[neuron] if integer[0] != integer[1] and each else 1.0 for each in integer]
            potentials = _potential(first, name, at, scales[0]), _potential(second, name, at, scales[1])
            divergences.append((step, order, Divergence(name, str(population.handle), *at, *potentials)))
    return Pair(
        first.backend,
        second.backend,
        exact,
        first.samples,
        compared,
        total,
        different,
        states_different if integer[0] == integer[1] else None,
        different / sum(total) if any(total) else 0.0,
        min(divergences, key=lambda item: item[:2])[2] if divergences else None,
        per_layer,
    )


def _potential(recording: Recording, name: str, at: tuple[int, int, int], scale: float) -> float | None:
    states = recording.states.get("v", {})
    return float(states[name][at]) / scale if name in states else None
