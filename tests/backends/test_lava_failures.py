"""What the Lava back-end does when things go wrong: it says what, and nothing of it is left running."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurodeploy.backends import lava
from neurodeploy.backends.lava import client, pool
from neurodeploy.backends.lava import setup as sidecar_setup
from neurodeploy.backends.lava.lower import Runtime, lower
from neurodeploy.backends.lava.setup import setup, sidecar_path, status
from neurodeploy.errors import BackendError, MissingFileError, StorageError
from neurodeploy.program.recording import Record
from tests.backends.lava_networks import expected, mlp, small, trains


@pytest.fixture(scope="module", autouse=True)
def sidecar() -> Path:
    return setup()


RUNTIMES: tuple[Runtime, ...] = ("local", "stock")


def processes_in(folder: Path) -> list[int]:
    """Living processes that work in a folder: the worker, and Lava's, which inherit that from it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
            if state not in "ZX" and (entry / "cwd").readlink() == folder:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.fixture
def own_temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder of the test's own, in which its workers work."""
    pool.end_all()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    pool.end_all()


def shared_memory() -> set[str]:
    return set(os.listdir("/dev/shm"))


LONG = {"in": np.ones((200_000, 1, 1))}
"""Minutes of work."""


def assert_the_next_job_works(runtime: Runtime) -> None:
    which, inputs = small(200), {"in": np.ones((6, 2, 1), dtype=bool)}
    found = lava.run(which, inputs, runtime=runtime)
    assert found.spikes["out"].dense().tolist() == expected(which, inputs)["s"]["out"].tolist()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_brings_the_traceback_out_of_a_process_model(
    own_temp: Path, monkeypatch: pytest.MonkeyPatch, runtime: Runtime
) -> None:
    """A float threshold passes Lava's compiler and raises in the LIF model's first step."""

    def spoil(*args: Any) -> Any:
        job = lower(*args)
        return replace(job, arrays={**job.arrays, "population1.vth": np.array([0.5, 1.5])})

    before = shared_memory()
    with monkeypatch.context() as spoilt:
        spoilt.setattr(client, "lower", spoil)
        with pytest.raises(BackendError, match="Lava failed") as failed:
            lava.run(small(), {"in": np.ones((3, 1, 1))}, runtime=runtime)
    assert "scale_threshold" in str(failed.value.found)
    assert "TypeError" in str(failed.value.found)
    assert not processes_in(own_temp)
    assert not list(own_temp.iterdir())
    assert shared_memory() <= before
    assert_the_next_job_works(runtime)


MUTE = """
import dataclasses
from worker import build
from lava.proc.lif.models import PyLifModelBitAcc
class Mute(PyLifModelBitAcc):
    def run_spk(self):
        self.a_in.recv()
build.KINDS["LIF"] = dataclasses.replace(build.KINDS["LIF"], fixed=Mute)
"""


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_message_that_is_never_sent(own_temp: Path, monkeypatch: pytest.MonkeyPatch, runtime: Runtime) -> None:
    """Lava would wait for ever. In one process it is seen at once; else the time-out ends it."""
    which = mlp(np.random.default_rng(0))
    inputs = trains(np.random.default_rng(0), which, steps=5, samples=1)
    shim = "from worker import shim; shim.install()\n"
    start = pool.START.replace("from worker.main", f"exec({(shim + MUTE)!r}); from worker.main")
    begin = time.monotonic()
    with monkeypatch.context() as muted:
        muted.setattr(pool, "START", start)
        with pytest.raises(BackendError) as failed:
            lava.run(which, inputs, runtime=runtime, timeout=4)
    if runtime == "local":
        assert "deadlock:" in str(failed.value.found)
        assert "wait for messages that no Process sends" in str(failed.value.found)
    else:
        assert "did not finish in time" in str(failed.value)
    assert time.monotonic() - begin < 10
    assert not processes_in(own_temp)
    assert_the_next_job_works(runtime)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_time_out_leaves_nothing_behind(own_temp: Path, runtime: Runtime) -> None:
    seen: list[int] = []

    def look(done: int, total: int) -> None:
        seen.append(len(processes_in(own_temp)))

    before, begin = shared_memory(), time.monotonic()
    with pytest.raises(BackendError, match="did not finish in time") as failed:
        lava.run(small(), LONG, timeout=3, progress=look, runtime=runtime)
    assert time.monotonic() - begin < 6
    assert failed.value.hint
    assert max(seen) >= (1 if runtime == "local" else 4)  # the worker and Lava's processes were there
    assert not processes_in(own_temp)
    assert not list(own_temp.iterdir())
    assert shared_memory() <= before
    assert_the_next_job_works(runtime)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_notices_that_the_system_killed_a_process(own_temp: Path, runtime: Runtime) -> None:
    """As the kernel does when memory is short; Lava itself would wait for ever."""

    def kill(done: int, total: int) -> None:
        os.kill(max(processes_in(own_temp)), signal.SIGKILL)

    begin = time.monotonic()
    with pytest.raises(BackendError, match="Lava failed") as failed:
        lava.run(small(), LONG, timeout=30, progress=kill, runtime=runtime)
    assert time.monotonic() - begin < 15
    assert ("SIGKILL" if runtime == "local" else "killed") in str(failed.value.found)
    assert not processes_in(own_temp)
    assert_the_next_job_works(runtime)


def test_a_worker_that_died_between_jobs_is_replaced(own_temp: Path) -> None:
    assert_the_next_job_works("local")
    (worker,) = processes_in(own_temp)
    assert_the_next_job_works("local")
    assert processes_in(own_temp) == [worker]  # it is kept
    os.kill(worker, signal.SIGKILL)
    assert_the_next_job_works("local")
    (other,) = processes_in(own_temp)
    assert other != worker


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_two_jobs_at_once(own_temp: Path, runtime: Runtime) -> None:
    results: list[Any] = [None, None, None]
    which = [small(200), small(90), small(250)]
    inputs = {"in": np.ones((60, 2, 1), dtype=bool)}

    def run(index: int) -> None:
        results[index] = lava.run(which[index], inputs, runtime=runtime).spikes["out"].dense()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index in range(3):
        np.testing.assert_array_equal(results[index], expected(which[index], inputs)["s"]["out"])
    assert 1 <= pool.idle() <= pool.KEPT


def test_a_full_disk(own_temp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(np, "savez", full)
        with pytest.raises(StorageError, match="cannot write"):
            lava.run(small(), {"in": np.ones((3, 1, 1))})
    assert not list(own_temp.iterdir())
    assert_the_next_job_works("local")


def test_a_full_disk_in_the_worker(own_temp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker may write files of one kilobyte at most."""
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024)); " + pool.START
    with monkeypatch.context() as broken:
        broken.setattr(pool, "START", limited)
        with pytest.raises(BackendError, match="Lava failed"):
            lava.run(small(), {"in": np.ones((2000, 2, 1))}, record=Record(("v",)), timeout=30)
    assert not processes_in(own_temp)
    assert_the_next_job_works("local")


def test_interpreter_that_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "python").write_text("not a program")
    with pytest.raises(BackendError, match="the Python for Lava"):
        lava.run(small(), {"in": np.ones((2, 1, 1))}, python=tmp_path / "python")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_interrupt_leaves_nothing_behind(own_temp: Path, runtime: Runtime) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lava.run(small(), LONG, progress=interrupt, runtime=runtime)
    assert not processes_in(own_temp)
    assert not list(own_temp.iterdir())
    assert_the_next_job_works(runtime)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_worker_ends_when_its_parent_is_killed(tmp_path: Path, runtime: Runtime) -> None:
    script = (
        "import numpy as np; from neurodeploy.backends import lava; from tests.backends.lava_networks import small;"
        f"lava.run(small(), {{'in': np.ones((400_000, 1, 1))}}, runtime='{runtime}', "
        "progress=lambda *_: print('running', flush=True))"
    )
    before = shared_memory()
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == b"running\n"
        assert processes_in(tmp_path)
        parent.kill()
    deadline = time.monotonic() + 5
    while (processes_in(tmp_path) or not shared_memory() <= before) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not processes_in(tmp_path)
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
    assert sidecar_setup.has_local_runtime()
    with pytest.raises(MissingFileError, match="no-such"):
        lava.run(small(), {"in": np.ones((2, 1, 1))}, python="/no-such/python")
    assert "does not run" in str(status("/usr/bin/env").problem)


def fake_python(path: Path, version: str, *, local: bool = True) -> Path:
    """An interpreter that says that it has some lava-nc."""
    found = {"python": "3.10.13", "lava": version, "numpy": "1.26.4", "missing": [], "local": local, "loihi": False}
    path.write_text(f"#!/bin/sh\necho '{json.dumps(found)}'\n")
    path.chmod(0o755)
    return path


def test_a_wrong_version_of_lava_is_refused(tmp_path: Path) -> None:
    old = fake_python(tmp_path / "python", "0.9.0")
    with pytest.raises(BackendError, match="cannot be used") as refused:
        lava.run(small(), {"in": np.ones((2, 1, 1))}, python=old)
    assert "the version of lava-nc is 0.9.0, not 0.10.0" in str(refused.value.found)
    assert "install lava-nc==0.10.0" in str(refused.value.hint)


def test_the_choice_of_an_own_python_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = sidecar_path() / "bin" / "python"
    monkeypatch.setenv("NEURODEPLOY_HOME", str(tmp_path / "home"))
    with pytest.raises(BackendError, match="cannot be used"):
        sidecar_setup.remember(fake_python(tmp_path / "old", "0.9.0"))
    assert sidecar_setup.own_python() is None
    sidecar_setup.remember(python)
    assert sidecar_setup.own_python() == python
    assert status().installed
    assert_the_next_job_works("local")
    sidecar_setup.remember(None)
    assert sidecar_setup.own_python() is None
    assert status().problem == "Lava is not set up"


def test_without_greenlet_lavas_own_runtime_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[str] = []

    def note(*args: Any) -> Any:
        used.append(args[3])
        return lower(*args)

    monkeypatch.setattr(client, "lower", note)
    python = fake_python(tmp_path / "python", "0.10.0", local=False)
    with pytest.raises(BackendError, match="Lava failed"):  # it is no Python
        lava.run(small(), {"in": np.ones((2, 1, 1))}, python=python)
    assert used == ["stock"]


def test_the_users_own_numpy_does_not_get_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ``PYTHONPATH`` and a ``numpy`` of another version there say, the sidecar's own are used."""
    pool.end_all()
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text("raise ImportError('the wrong numpy')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONSTARTUP", "/no/such")
    for runtime in RUNTIMES:
        assert_the_next_job_works(runtime)
    pool.end_all()
