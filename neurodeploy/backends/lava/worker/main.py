"""The worker: runs one job after the other until the process that started it is gone.

A job is a folder with ``job.json`` and ``arrays.npz``; results are left there. The folder's name comes as a line on
stdin, and the answer is a line on what was stdout: ``ok``, or ``failed``, with the traceback of the ProcessModel that
raised in ``error.txt``. After a failure the worker is not used again: Lava's own clean-up would wait for ever.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from . import shim

IDLE_SECONDS = 600.0
"""After which a worker that nobody asks anything ends itself."""


def main() -> None:
    """Serve jobs."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)  # whatever prints goes to the log
        jobs: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_listen, args=(jobs,), daemon=True).start()
        shim.install()
        while True:
            try:
                folder = Path(jobs.get(timeout=IDLE_SECONDS))
            except queue.Empty:
                return
            answer = _answer(folder)
            answers.write(answer + "\n")
            answers.flush()
            sys.stderr.flush()
            if answer != "ok":
                os._exit(1)  # the client ends the process group


def _listen(jobs: queue.Queue[str]) -> None:
    """Read jobs; when the other end of the pipe closes, end the worker and all of Lava's processes.

    SIGTERM spares only the tracker that then returns the shared memory.
    """
    rest = b""
    while data := os.read(0, 1 << 16):  # not sys.stdin, whose lock a forked process would find taken for ever
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            jobs.put(os.fsdecode(line))
    os.killpg(os.getpgrp(), signal.SIGTERM)


def _answer(folder: Path) -> str:
    try:
        (folder / "begun").touch()
        _run(folder)
    except BaseException as error:
        from .runtimes import LavaError

        text = str(error) if isinstance(error, LavaError) else traceback.format_exc()
        (folder / "error.txt").write_text(text, encoding="utf-8")
        return "failed"
    return "ok"


def _run(folder: Path) -> None:
    from . import runtimes
    from .build import build

    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    with np.load(folder / "arrays.npz", allow_pickle=False) as stored:
        arrays: dict[str, Any] = dict(stored)
    graph = build(job, arrays, folder)

    def give_up(reason: str) -> None:
        (folder / "error.txt").write_text(reason, encoding="utf-8")
        os._exit(1)

    for process, written in graph.neurons.items():
        if written.exists():  # parts of the network that nothing connects are separate runs to Lava
            continue
        if job["runtime"] == "stock":
            runtimes.stock(process, graph.models, job["tag"], job["steps"], give_up)
        else:
            runtimes.local(process, graph.models, job["tag"], job["steps"])
