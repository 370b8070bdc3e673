"""What the Lava back-end does when things go wrong: it says what, and nothing of it is left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurodeploy.backends import lava
from neurodeploy.backends.lava import client
from neurodeploy.backends.lava.lower import lower
from neurodeploy.backends.lava.setup import setup, sidecar_path, status
from neurodeploy.errors import BackendError, MissingFileError
from tests.backends.lava_networks import expected, small


@pytest.fixture(scope="module", autouse=True)
def sidecar() -> Path:
    return setup()


def processes_with(text: str) -> list[int]:
    """Living processes that name ``text`` in their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line:
            found.append(int(entry.name))
    return found


@pytest.fixture
def own_temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of the test's own; the worker and all of Lava's processes have it in their command line."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def shared_memory() -> set[str]:
    return set(os.listdir("/dev/shm"))


def test_brings_the_traceback_out_of_a_process_model(own_temp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A float threshold passes Lava's compiler and raises in the LIF model's first step."""

    def spoil(*args: Any) -> Any:
        job = lower(*args)
        return replace(job, arrays={**job.arrays, "population1.vth": np.array([0.5, 1.5])})

    monkeypatch.setattr(client, "lower", spoil)
    before = shared_memory()
    with pytest.raises(BackendError, match="Lava failed") as failed:
        lava.run(small(), {"in": np.ones((3, 1, 1))})
    assert "scale_threshold" in str(failed.value.found)
    assert "TypeError" in str(failed.value.found)
    assert not processes_with(str(own_temp))
    assert not list(own_temp.iterdir())
    assert shared_memory() <= before


def test_time_out_leaves_nothing_behind(own_temp: Path) -> None:
    seen: list[int] = []

    def look(done: int, total: int) -> None:
        seen.append(len(processes_with(str(own_temp))))

    before = shared_memory()
    with pytest.raises(BackendError, match="did not finish in time") as failed:
        lava.run(small(), {"in": np.ones((200_000, 1, 1))}, timeout=3, progress=look)
    assert failed.value.hint
    assert max(seen) >= 4  # the worker and Lava's processes were there
    assert not processes_with(str(own_temp))
    assert not list(own_temp.iterdir())
    assert shared_memory() <= before


def test_notices_that_the_system_killed_a_process(own_temp: Path) -> None:
    """As the kernel does when memory is short; Lava itself would wait for ever."""

    def kill(done: int, total: int) -> None:
        os.kill(max(processes_with(str(own_temp))), signal.SIGKILL)

    with pytest.raises(BackendError, match="Lava failed") as failed:
        lava.run(small(), {"in": np.ones((200_000, 1, 1))}, timeout=30, progress=kill)
    assert "killed" in str(failed.value.found)
    assert not processes_with(str(own_temp))


def test_interpreter_that_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "python").write_text("not a program")
    with pytest.raises(BackendError, match="cannot start the Python"):
        lava.run(small(), {"in": np.ones((2, 1, 1))}, python=tmp_path / "python")


def test_interrupt_leaves_nothing_behind(own_temp: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lava.run(small(), {"in": np.ones((200_000, 1, 1))}, progress=interrupt)
    assert not processes_with(str(own_temp))
    assert not list(own_temp.iterdir())


def test_worker_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = (
        "import numpy as np; from neurodeploy.backends import lava; from tests.backends.lava_networks import small;"
        "lava.run(small(), {'in': np.ones((400_000, 1, 1))}, progress=lambda *_: print('running', flush=True))"
    )
    before = shared_memory()
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == b"running\n"
        assert processes_with(str(tmp_path))
        parent.kill()
    deadline = time.monotonic() + 5
    while (processes_with(str(tmp_path)) or not shared_memory() <= before) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not processes_with(str(tmp_path))
    assert shared_memory() <= before


def test_says_so_when_lava_is_not_set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURODEPLOY_HOME", str(tmp_path))
    with pytest.raises(BackendError, match="Lava is not set up") as refused:
        lava.run(small(), {"in": np.ones((2, 1, 1))})
    assert "neurodeploy lava setup" in str(refused.value.hint)
    assert not status().installed
    assert status().problem == "Lava is not set up"
    assert not list(tmp_path.iterdir())


def test_runs_on_the_interpreter_that_the_user_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    python = sidecar_path() / "bin" / "python"
    monkeypatch.setenv("NEURODEPLOY_HOME", str(tmp_path))
    monkeypatch.setenv("NEURODEPLOY_LAVA_PYTHON", str(python))
    assert status().installed
    assert status().python == python
    which, inputs = small(200), {"in": np.ones((6, 2, 1), dtype=bool)}
    assert lava.run(which, inputs).spikes["out"].dense().tolist() == expected(which, inputs)["s"]["out"].tolist()
    with pytest.raises(MissingFileError, match="no-such"):
        lava.run(small(), {"in": np.ones((2, 1, 1))}, python="/no-such/python")
    assert "does not run" in str(status("/usr/bin/env").problem)
