"""Verification: one input through every stage, each compared with its neighbour, neuron by neuron, step by step.

Where equality is exact by design (hwsim against Lava's fixed point, say) anything else is a failure, and so is
silence: two networks that never spike prove nothing (those of read-outs alone are compared in their potentials). Where
it is not (quantisation) the difference is measured.
A potential or message that is infinite or not a number equals nothing, itself included, and fails every comparison.

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
        not_finite: neuron-steps in which a potential or message of either is infinite or not a number.
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
    not_finite: int = 0

    @property
    def equal(self) -> bool:
        """No spike and no comparable potential differs, and all are numbers."""
        return self.spikes_different == 0 and not self.states_different and not self.not_finite

    @property
    def verdict(self) -> Verdict:
        """What the comparison says; see the module's docstring."""
        if self.not_finite:
            return "failed"
        if not any(self.spikes) and self.per_layer:
            return "silent"
        if not any(self.spikes) and self.states_different is None:
            return "measured"  # read-outs alone, in integers and in floats: there is nothing that could be equal
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
    compared = different = states_different = not_finite = 0
    total = (0, 0)
    per_layer = {}
    same = integer[0] == integer[1]
    for order, population in enumerate(network.populations):
        name = population.name
        v, w = (recording.states.get("v", {}).get(name) for recording in (first, second))
        spiking = name in first.spikes and name in second.spikes
        if population.external or not (spiking or (v is not None and w is not None)):
            continue
        compared += first.steps * first.samples * population.size
        bad = _not_finite(v) | _not_finite(w)
        off = np.zeros((first.steps, first.samples, population.size), dtype=bool)
        if spiking:
            a, b = first.spikes[name].dense(), second.spikes[name].dense()
            bad = bad | _not_finite(a) | _not_finite(b)
            off = _differ(a, b, tolerance) if same else (a != 0) != (b != 0)
            sent = int(np.count_nonzero(a)), int(np.count_nonzero(b))
            per_layer[name] = (*sent, int(off.sum()))
            total = total[0] + sent[0], total[1] + sent[1]
            different += int(off.sum())
        if same and v is not None and w is not None:
            state_off = _differ(v, w, tolerance)
            states_different += int(state_off.sum())
            off = off | state_off
        not_finite += int(np.sum(bad))
        off = off | bad
        if off.any():
            step, sample, neuron = (int(i) for i in np.unravel_index(int(np.argmax(off)), off.shape))
            at = step, sample, neuron
            scales = [1.0 if same or not each else population.scales[neuron] for each in integer]
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
        states_different if same else None,
        different / sum(total) if any(total) else 0.0,
        min(divergences, key=lambda item: item[:2])[2] if divergences else None,
        per_layer,
        not_finite,
    )


def _not_finite(values: Array | None) -> Array:
    """Where values are infinite or not numbers; nowhere in those that cannot be."""
    if values is None or values.dtype.kind != "f":
        return np.zeros((), bool)
    bad: Array = ~np.isfinite(values)
    return bad


def _differ(a: Array, b: Array, tolerance: float) -> Array:
    """Where two arrays differ by more than so much of the largest value; what is not finite differs from everything."""
    if a.dtype.kind in "biu" and b.dtype.kind in "biu":
        a, b = a.astype(np.int64), b.astype(np.int64)
        return np.asarray(np.abs(a - b) > tolerance * max(1, int(np.abs(a).max(initial=0))))
    a, b = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(a) & np.isfinite(b)
    largest = max(1.0, float(np.abs(a).max(initial=0.0, where=finite)))
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(~finite | ~(np.abs(a - b) <= tolerance * largest))


def _potential(recording: Recording, name: str, at: tuple[int, int, int], scale: float) -> float | None:
    states = recording.states.get("v", {})
    return float(states[name][at]) / scale if name in states else None
