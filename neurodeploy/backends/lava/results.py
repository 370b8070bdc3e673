"""Reads what a worker left behind, and aligns it to network time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from neurodeploy.network.arrays import Array
from neurodeploy.network.neurons import Source
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Events, Recording, learned_shapes

from .lower import Job


def read(program: Program, job: Job, folder: Path, given: Mapping[str, Array]) -> Recording:
    """Return the recording of a finished job whose results lie in ``folder``."""
    spikes: dict[str, Events] = {}
    states: dict[str, dict[str, Array]] = {}
    recorded = {entry["name"]: entry.get("states", ()) for entry in job.description["populations"]}
    for population in program.network.populations:
        name = population.name
        if isinstance(population.neuron, Source):
            train = given.get(name)
            if train is None:
                train = np.zeros((job.steps, job.samples, population.size), dtype=bool)
                train[population.neuron.start :] = True
            spikes[name] = Events.from_dense(train)
            continue
        stem = folder / job.files[name]
        if population.spiking:
            spikes[name] = _events(stem.with_suffix(".npz"), job, population.size)
        for state in recorded[name]:
            values = np.load(f"{stem}.{state}.npy", allow_pickle=False)
            by_sample = values.reshape(job.samples, job.steps, population.size)
            states.setdefault(state, {})[name] = np.ascontiguousarray(by_sample.transpose(1, 0, 2))
    learned = {name: _learned(folder / stem, program, name, job.samples) for name, stem in job.learned.items()}
    return Recording("lava", job.steps, job.samples, spikes, states, learned=learned)


def _learned(stem: Path, program: Program, name: str, samples: int) -> dict[str, Array]:
    """See `Recording.learned`."""
    projection = next(p for p in program.network.projections if p.name == name)
    found = {}
    for variable, shape in learned_shapes(projection.connectivity).items():
        rows = np.load(f"{stem}.{variable}.npy", allow_pickle=False)
        found[variable] = np.moveaxis(rows.reshape(samples, -1, *shape), 0, 1)
    return found


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
        payload = np.concatenate([np.ones(len(p), np.int64) if p.payload is None else p.payload for p in pieces])
        extent = (events.steps, samples, events.neurons)
        spikes[name] = _sorted(time, np.concatenate(moved), neuron, payload, extent)
    states = {
        state: {name: np.concatenate([part.states[state][name] for part in parts], axis=1) for name in values}
        for state, values in first.states.items()
    }
    learned = {
        name: {
            variable: np.concatenate([part.learned[name][variable] for part in parts], axis=1) for variable in values
        }
        for name, values in first.learned.items()
    }
    return Recording(first.backend, first.steps, samples, spikes, states, learned=learned)


def _events(path: Path, job: Job, neurons: int) -> Events:
    with np.load(path, allow_pickle=False) as data:
        row, neuron = np.repeat(np.arange(len(data["counts"])), data["counts"]), data["neurons"]
        payload = data.get("payloads")
    sample, step = np.divmod(row, job.steps)
    return _sorted(step, sample, neuron, payload, (job.steps, job.samples, neurons))


def _sorted(time: Array, sample: Array, neuron: Array, payload: Array | None, extent: tuple[int, int, int]) -> Events:
    order = np.lexsort((neuron, sample, time))
    time, sample, neuron = (values[order].astype(np.int32) for values in (time, sample, neuron))
    if payload is not None:
        payload = None if (payload == 1).all() else payload[order]
    return Events(time, sample, neuron, *extent, payload)
