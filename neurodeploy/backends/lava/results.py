"""Reads what a worker left behind, and aligns it to network time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from neurodeploy.backends.lava.lower import Job, chip_time
from neurodeploy.connectivity import Array
from neurodeploy.program import Program
from neurodeploy.recording import Events, Recording


def read(program: Program, job: Job, folder: Path, given: Mapping[str, Array]) -> Recording:
    """Return the recording of a finished job whose results lie in ``folder``."""
    spikes: dict[str, Events] = {}
    states: dict[str, dict[str, Array]] = {}
    recorded = {entry["name"]: entry.get("states", ()) for entry in job.description["populations"]}
    for index, population in enumerate(program.network.populations):
        name = population.name
        if name not in job.files:
            train = given.get(name)
            if train is None:  # an always-on source
                train = _aligned(job.arrays[f"population{index}.data"], job, job.lag[name])
            spikes[name] = Events.from_dense(train)
            continue
        stem = folder / job.files[name]
        if population.spiking:
            spikes[name] = _events(stem.with_suffix(".npz"), job, job.lag[name], population.size)
        for state in recorded[name]:
            values = np.load(f"{stem}.{state}.npy", mmap_mode="r", allow_pickle=False)
            states.setdefault(state, {})[name] = _aligned(values, job, job.lag[name])
    return Recording("lava", job.steps, job.samples, spikes, states)


def joined(parts: Sequence[Recording]) -> Recording:
    """Return one recording of the samples of all parts."""
    first = parts[0]
    samples = sum(part.samples for part in parts)
    begins = np.cumsum([0, *(part.samples for part in parts[:-1])])
    spikes = {}
    for name, events in first.spikes.items():
        pieces = [part.spikes[name] for part in parts]
        moved = [piece.sample + begin for piece, begin in zip(pieces, begins, strict=True)]
        time, neuron = np.concatenate([p.time for p in pieces]), np.concatenate([p.neuron for p in pieces])
        spikes[name] = _sorted(time, np.concatenate(moved), neuron, events.steps, samples, events.neurons)
    states = {
        state: {name: np.concatenate([part.states[state][name] for part in parts], axis=1) for name in values}
        for state, values in first.states.items()
    }
    return Recording(first.backend, first.steps, samples, spikes, states)


def _events(path: Path, job: Job, lag: int, neurons: int) -> Events:
    with np.load(path, allow_pickle=False) as data:
        chip_step, neuron = np.repeat(np.arange(len(data["counts"])), data["counts"]), data["neurons"]
    sample, time_step = np.divmod(chip_step - lag, job.slot)
    kept = (sample >= 0) & (sample < job.samples) & (time_step < job.steps)
    return _sorted(time_step[kept], sample[kept], neuron[kept], job.steps, job.samples, neurons)


def _sorted(time: Array, sample: Array, neuron: Array, steps: int, samples: int, neurons: int) -> Events:
    order = np.lexsort((neuron, sample, time))
    time, sample, neuron = (values[order].astype(np.int32) for values in (time, sample, neuron))
    return Events(time, sample, neuron, steps, samples, neurons)


def _aligned(values: Array, job: Job, lag: int) -> Array:
    """``[chip steps, neurons]`` to ``[time, batch, neurons]``."""
    return np.asarray(values[chip_time(job.steps, job.samples, job.slot, lag)])
