"""Worker processes: started when a job needs one, kept for the next, gone when this process is, however it ends.

A worker is the leader of a process group of its own, to which Lava's processes belong, too; ending it is ending the
group. It ends itself when its stdin closes. One worker runs one job at a time; two jobs at once have two workers.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from neurodeploy.errors import BackendError
from neurodeploy.files.atomic import storage_errors

from .setup import HINT

START = "import sys; sys.path[0] = sys.argv[1]; from worker.main import main; main()"
POLL_SECONDS = 0.02
GRACE_SECONDS = 1.0
"""For Lava's processes to end, and to return their shared memory, before they are killed."""

KEPT = 2
"""Idle workers that are kept."""

LONGEST_TRACE = 4000

_idle: list[Worker] = []
_lock = threading.Lock()


class WorkerGone(Exception):
    """A kept worker had ended before it began the job."""


class Worker:
    """One worker process.

    Args:
        command: the interpreter and its options.

    Raises:
        BackendError: it cannot be started.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.command, self.owner, self.reused = tuple(command), os.getpid(), False
        with storage_errors("create a log for", Path("the Lava worker")):
            self.log = tempfile.TemporaryFile(prefix="neurodeploy-lava-log-")  # noqa: SIM115
        try:
            self.process = subprocess.Popen(
                [*command, "-c", START, str(Path(__file__).parent)],
                stdin=subprocess.PIPE,  # its closing tells the worker that this process is gone
                stdout=subprocess.PIPE,
                stderr=self.log,
                cwd=tempfile.gettempdir(),
                start_new_session=True,
            )
        except OSError as error:
            self.log.close()
            raise BackendError(
                "cannot start the Python that runs Lava", found=f"{command[0]}: {error.strerror}", hint=HINT
            ) from error

    def run(self, folder: Path, timeout: float, steps: int, tell: Callable[[int], None] | None) -> None:
        """Run the job in ``folder``.

        Args:
            folder: with the job.
            timeout: in seconds.
            steps: of the job, for messages.
            tell: called with the step that is reached, now and then.

        Raises:
            WorkerGone: it had ended before.
            BackendError: the job failed, the worker ended, or the time is over; the worker is of no more use.
        """
        assert self.process.stdin and self.process.stdout
        deadline, done = time.monotonic() + timeout, 0
        before = self.log.tell()
        with suppress(OSError):  # a worker that has ended is found below
            self.process.stdin.write(f"{folder}\n".encode())
            self.process.stdin.flush()
        # Lava's processes have the pipe, too: it may stay open when the worker has ended.
        while not self._said() and self.alive():
            if time.monotonic() > deadline:
                raise BackendError(
                    "Lava did not finish in time",
                    found=f"more than {timeout:g} s, at chip step {_reported(folder)} of {steps}",
                    hint="raise the time-out, or run fewer samples or steps at once",
                )
            if tell and (reported := _reported(folder)) > done:
                done = reported
                tell(done)
        answer = self.process.stdout.readline().strip() if self._said() else b""
        if answer != b"ok":
            if self.reused and not (folder / "begun").exists():
                raise WorkerGone
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(GRACE_SECONDS)
            raise BackendError("Lava failed while running the network", found=self._reason(folder, before))

    def _said(self) -> bool:
        """Whether the worker has answered within a moment."""
        assert self.process.stdout
        return bool(select.select([self.process.stdout], [], [], 10 * POLL_SECONDS)[0])

    def alive(self) -> bool:
        """Whether it can take another job."""
        return self.process.poll() is None

    def end(self) -> None:
        """End the worker and every process that Lava started for it."""
        group = self.process.pid
        for number in (int(signal.SIGTERM), int(signal.SIGKILL)):
            deadline = time.monotonic() + GRACE_SECONDS
            while time.monotonic() < deadline and _group_lives(group):
                if number:
                    with suppress(ProcessLookupError):
                        os.killpg(group, number)
                    number = 0  # once is enough
                time.sleep(POLL_SECONDS)
                self.process.poll()
        for stream in (self.process.stdin, self.process.stdout, self.log):
            if stream:
                with suppress(OSError):
                    stream.close()
        self.process.wait()

    def _reason(self, folder: Path, before: int) -> str:
        """What went wrong: the traceback from inside Lava, or the end of what was printed."""
        with suppress(OSError):
            text = (folder / "error.txt").read_text(encoding="utf-8", errors="replace").strip()
            if text:
                return text[-LONGEST_TRACE:]
        with suppress(OSError):
            self.log.seek(before)
            if text := self.log.read().decode(errors="replace").strip():
                return text[-LONGEST_TRACE:]
        code = self.process.poll()
        how = f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit status {code}"
        return f"the worker ended with {how} and said nothing" + (" (out of memory?)" if code == -9 else "")


def run(
    command: Sequence[str], folder: Path, timeout: float, steps: int, tell: Callable[[int], None] | None = None
) -> None:
    """Run a job on an idle worker, or on a new one; arguments and errors as of `Worker.run`.

    However this ends, no job goes on: a worker that failed, or whose caller was interrupted, is ended.
    """
    worker = _take(tuple(command))
    try:
        worker.run(folder, timeout, steps, tell)
    except WorkerGone:
        worker.end()
        run(command, folder, timeout, steps, tell)
        return
    except BaseException:
        worker.end()
        raise
    worker.reused = True
    with _lock:
        if len(_idle) < KEPT:
            _idle.append(worker)
            return
    worker.end()


def _take(command: tuple[str, ...]) -> Worker:
    with _lock:
        # A process that was forked has its parent's list, but not its workers.
        _idle[:] = [worker for worker in _idle if worker.owner == os.getpid()]
        for worker in [w for w in _idle if w.command == command]:
            _idle.remove(worker)
            if worker.alive():
                return worker
            worker.end()
    return Worker(command)


@atexit.register
def end_all() -> None:
    """End all idle workers."""
    with _lock:
        mine = [worker for worker in _idle if worker.owner == os.getpid()]
        _idle.clear()
    for worker in mine:
        worker.end()


def idle() -> int:
    """How many workers wait for a job."""
    return len(_idle)


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
