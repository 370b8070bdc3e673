"""Runs a Program on Lava: writes the job, lets a worker run it (`pool`), and reads the results."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from neurodeploy.errors import InvalidInputError
from neurodeploy.files.atomic import storage_errors
from neurodeploy.network.arrays import Array
from neurodeploy.network.neurons import Source
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Record, Recording, check_inputs

from . import pool
from .lower import EXPANDED, Job, Runtime, lower
from .results import joined, read
from .setup import has_local_runtime, worker_command

Progress = Callable[[int, int], None]

LARGEST_INPUT = 1 << 26
"""Values of one source in one run; Lava holds them as 32-bit integers."""


def run(
    program: Program,
    inputs: Mapping[str, Array],
    *,
    record: Record = Record(),
    progress: Progress | None = None,
    timeout: float | None = None,
    python: Path | str | None = None,
    runtime: Runtime = "local",
    expanded: int = EXPANDED,
) -> Recording:
    """Run a Program in Lava's simulation; see `neurodeploy.backends.Backend`.

    Args:
        program: integers run in Lava's fixed point (bit-accurate with Loihi), floats in its floating point.
        inputs: for each input population ``[time, batch, *shape]``.
        record: states to keep.
        progress: called with ``(done, total)`` in network steps of single samples.
        timeout: seconds after which a run of the worker is stopped; estimated generously when not given. Inputs
            that are too large for one run are cut into several.
        python: an interpreter of the user's own that has Lava, instead of the sidecar's.
        runtime: ``"local"`` steps Lava's models in one process (``"stock"`` is used where a user's own interpreter has
            no greenlet); ``"stock"`` is Lava's own, with a process for each.
        expanded: convolutions of up to so many synapses run as Lava's Sparse, larger ones as its Conv (slower).

    Raises:
        InvalidInputError: inputs that do not match the Program.
        UnsupportedError: Lava cannot express the Program.
        BackendError: Lava is not set up, failed or did not end in time.
        StorageError: the temporary folder is full.
    """
    steps, samples, given = check_inputs(program.network, inputs)
    if timeout is not None and not timeout > 0:
        raise InvalidInputError("the time-out of a run is not positive", found=timeout, allowed="seconds above 0")
    command = worker_command(python)
    if runtime == "local" and not has_local_runtime(python):
        runtime = "stock"
    widest = max(p.size for p in program.network.populations if isinstance(p.neuron, Source))
    at_once = max(1, LARGEST_INPUT // (steps * widest))
    parts = []
    for first in range(0, samples, at_once):
        part = {name: train[:, first : first + at_once] for name, train in given.items()}
        job = lower(program, part, record, runtime, expanded)
        tell = _overall(progress, first, samples, job) if progress else None
        parts.append(_run_job(command, program, job, part, timeout, tell))
    return parts[0] if len(parts) == 1 else joined(parts)


def run_stock(
    program: Program,
    inputs: Mapping[str, Array],
    *,
    record: Record = Record(),
    progress: Progress | None = None,
) -> Recording:
    """Run a Program in Lava's own runtime: the back-end ``lava-stock``."""
    return replace(run(program, inputs, record=record, progress=progress, runtime="stock"), backend="lava-stock")


def _run_job(
    command: list[str],
    program: Program,
    job: Job,
    given: Mapping[str, Array],
    timeout: float | None,
    progress: Progress | None,
) -> Recording:
    with _temporary_folder() as folder:
        with storage_errors("write", folder):
            (folder / "job.json").write_text(json.dumps(job.description), encoding="utf-8")
            with (folder / "arrays.npz").open("wb") as handle:
                np.savez(handle, allow_pickle=False, **job.arrays)
        if job.files:
            limit = estimate(job) if timeout is None else timeout
            pool.run(command, folder, limit, job.chip_steps, _told(progress, job.chip_steps))
            if progress:
                progress(job.chip_steps, job.chip_steps)
        with storage_errors("read", folder):
            return read(program, job, folder, given)


def _told(progress: Progress | None, steps: int) -> Callable[[int], None] | None:
    return None if progress is None else lambda done: progress(done, steps)


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    with storage_errors("create a folder for", Path("the Lava job")):
        folder = Path(tempfile.mkdtemp(prefix="neurodeploy-lava-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _overall(progress: Progress, first: int, samples: int, job: Job) -> Progress:
    """Return a `Progress` for one part of the samples that reports on all of them."""

    def tell(done: int, total: int) -> None:
        progress(first * job.steps + done * job.samples * job.steps // total, samples * job.steps)

    return tell


def estimate(job: Job) -> float:
    """Return a time-out in seconds: ten times what jobs took on two busy cores (`stock`), two minutes for the start.

    A step took 0.25 ms for each Process, 2 ns for each value of a matrix or neuron, and in a Conv 50 us for each pair
    of channels and 20 ns for each synapse.
    """
    processes = len(job.description["populations"]) + len(job.description["projections"])
    values = sum(array.size for array in job.arrays.values() if array.dtype != bool)
    step = 0.25e-3 * processes + 2e-9 * values
    for entry in job.description["projections"]:
        if entry["kind"] == "conv":
            step += 50e-6 * entry["channel_pairs"] + 20e-9 * entry["synapses"]
    return 120 + 10 * job.chip_steps * step
