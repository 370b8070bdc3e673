"""One job from start to end: read ``job.json`` and ``arrays.npz`` in a folder, run them, leave the results there.

A failure is written to ``error.txt`` with the traceback of the ProcessModel that raised. The worker ends itself and
all of Lava's processes when the process that started it is gone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import numpy as np

from . import shim

NOTICE_SECONDS = 5.0
"""In which Lava notices a process that ended with an exception."""

GONE = "one of Lava's processes was killed by the system (out of memory, or the disk of the temporary folder is full?)"


def main(name: str) -> None:
    """Run the job in the folder ``name``."""
    folder = Path(name)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        shim.install()
        _run(folder)
    except BaseException:
        (folder / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
        sys.stderr.flush()
        os._exit(1)  # Lava's own clean-up waits for ever after an error; the client ends the process group


def _end_with_parent() -> None:
    """End the worker's process group when the other end of the pipe on stdin closes.

    SIGTERM spares only the tracker that then returns the shared memory.
    """
    while os.read(0, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGTERM)


def _run(folder: Path) -> None:
    from .build import build

    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
        graph = build(job, arrays, folder)
    for process, written in graph.neurons.items():
        if not written.exists():  # parts of the network that nothing connects are separate runs to Lava
            _run_connected(process, graph.models, job["steps"], folder)


def _run_connected(process: Any, models: dict[Any, Any], steps: int, folder: Path) -> None:
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg

    config = Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map=models)
    finished = threading.Event()
    threading.Thread(target=_watch, args=(process, finished, folder), daemon=True).start()
    try:
        process.run(condition=RunSteps(num_steps=steps), run_cfg=config)
    except RuntimeError as error:
        raise RuntimeError("\n".join(_tracebacks(process)) or str(error)) from None
    finally:
        finished.set()
    process.stop()


def _watch(process: Any, finished: threading.Event, folder: Path) -> None:
    """Give up when one of Lava's processes is gone: Lava waits for ever for one that the system has killed."""
    with suppress(ValueError, OSError):  # Lava itself has noticed, and closes them
        while not finished.wait(0.5):
            if wait([actor.sentinel for actor in _actors(process)], 0) and not finished.wait(NOTICE_SECONDS):
                (folder / "error.txt").write_text(GONE, encoding="utf-8")
                os._exit(1)


def _tracebacks(process: Any) -> list[str]:
    """Return what Lava's processes raised; its runtime keeps that to itself."""
    found = (getattr(actor, "exception", None) for actor in _actors(process))
    return [str(item[1]) for item in found if item]


def _actors(process: Any) -> list[Any]:
    infrastructure = getattr(getattr(process, "runtime", None), "_messaging_infrastructure", None)
    return list(getattr(infrastructure, "actors", ()))
