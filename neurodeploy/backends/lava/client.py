"""Runs a Program on Lava: one worker process a run, watched from here and gone afterwards, however the run ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from neurodeploy.backends.lava.lower import Job, lower
from neurodeploy.backends.lava.results import joined, read
from neurodeploy.backends.lava.setup import HINT, worker_command
from neurodeploy.connectivity import Array
from neurodeploy.errors import BackendError, InvalidInputError
from neurodeploy.neurons import Source
from neurodeploy.program import Program
from neurodeploy.recording import Record, Recording, check_inputs
from neurodeploy.storage import storage_errors

Progress = Callable[[int, int], None]

LARGEST_INPUT = 1 << 26
"""Values of one source in one run; Lava holds them as 32-bit integers."""

START = "import sys; sys.path[0] = sys.argv[1]; from worker.main import main; main(sys.argv[2])"
POLL_SECONDS = 0.02
GRACE_SECONDS = 1.0
"""For Lava's processes to end, and to return their shared memory, before they are killed."""

LONGEST_TRACE = 4000


def run(
    program: Program,
    inputs: Mapping[str, Array],
    *,
    record: Record = Record(),
    progress: Progress | None = None,
    timeout: float | None = None,
    python: Path | str | None = None,
) -> Recording:
    """Run a Program in Lava's bit-accurate simulator; see `neurodeploy.backends.Backend`.

    Args:
        program: with an integer network.
        inputs: for each input population ``[time, batch, *shape]`` of 0 and 1.
        record: states to keep.
        progress: called with ``(done, total)`` in network steps of single samples.
        timeout: seconds after which a run of the worker is stopped; estimated generously when not given. Inputs
            that are too large for one run are cut into several.
        python: an interpreter of the user's own that has Lava, instead of the sidecar's.

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
    widest = max(p.size for p in program.network.populations if isinstance(p.neuron, Source))
    at_once = max(1, LARGEST_INPUT // (steps * widest))
    parts = []
    for first in range(0, samples, at_once):
        part = {name: train[:, first : first + at_once] for name, train in given.items()}
        job = lower(program, part, record)
        tell = _overall(progress, first, samples, job) if progress else None
        parts.append(_run_job(command, program, job, part, timeout, tell))
    return parts[0] if len(parts) == 1 else joined(parts)


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
            _work(command, folder, job, estimate(job) if timeout is None else timeout, progress)
        with storage_errors("read", folder):
            return read(program, job, folder, given)


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
    """Return a time-out in seconds: ten times what jobs took on two busy cores, and two minutes for the start.

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


def _work(command: list[str], folder: Path, job: Job, timeout: float, progress: Progress | None) -> None:
    """Start a worker and wait for it; nothing of it is left when this returns or raises."""
    worker = _started([*command, "-c", START, str(Path(__file__).parent), str(folder)], folder)
    try:
        deadline, done = time.monotonic() + timeout, 0
        while worker.poll() is None:
            if time.monotonic() > deadline:
                raise BackendError(
                    "Lava did not finish in time",
                    found=f"more than {timeout:g} s, at chip step {_reported(folder)} of {job.chip_steps}",
                    hint="raise the time-out, or run fewer samples or steps at once",
                )
            time.sleep(POLL_SECONDS)
            if progress and (reported := _reported(folder)) > done:
                done = reported
                progress(done, job.chip_steps)
        if worker.returncode:
            raise BackendError("Lava failed while running the network", found=_reason(folder, worker.returncode))
        if progress:
            progress(job.chip_steps, job.chip_steps)
    finally:
        _end(worker)


def _started(command: list[str], folder: Path) -> subprocess.Popen[bytes]:
    with storage_errors("write", folder), (folder / "log.txt").open("wb") as log:
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,  # its closing tells the worker that this process is gone
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                start_new_session=True,
            )
        except OSError as error:
            raise BackendError(
                "cannot start the Python that runs Lava", found=f"{command[0]}: {error.strerror}", hint=HINT
            ) from error


def _end(worker: subprocess.Popen[bytes]) -> None:
    """End the worker and every process that Lava started for it."""
    for number in (int(signal.SIGTERM), int(signal.SIGKILL)):
        deadline = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < deadline and _group_lives(worker.pid):
            if number:
                with suppress(ProcessLookupError):
                    os.killpg(worker.pid, number)
                number = 0  # once is enough
            time.sleep(POLL_SECONDS)
            worker.poll()
    if worker.stdin:
        with suppress(OSError):
            worker.stdin.close()
    worker.wait()


def _group_lives(group: int) -> bool:
    """Whether a process of a group still runs; one that ended but that nobody has collected does not count."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    found = False
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, owner = path.read_text(errors="replace").rpartition(")")[2].split()[:3]
            if int(owner) == group and state not in "ZX":
                return True
            found = True
    return not found  # no /proc on this system: believe killpg


def _reported(folder: Path) -> int:
    with suppress(OSError, ValueError):
        return int((folder / "progress").read_text(encoding="ascii"))
    return 0


def _reason(folder: Path, code: int) -> str:
    """What went wrong in the worker: the traceback from inside Lava, or the end of its output."""
    for name in ("error.txt", "log.txt"):
        with suppress(OSError):
            text = (folder / name).read_text(encoding="utf-8", errors="replace").strip()
            if text:
                return text[-LONGEST_TRACE:]
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
    return f"the worker ended with {how} and said nothing" + (" (out of memory?)" if code == -9 else "")
