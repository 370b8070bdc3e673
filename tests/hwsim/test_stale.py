"""Compiled kernels do not outlive the sources that they call into; importing what is compiled touches no file."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from neurodeploy.hwsim.compiling import stale
from neurodeploy.hwsim.function import neuron_kernels as kernels

INNER = "from neurodeploy.hwsim.function.neuron_kernels import compiled\n\n\n@compiled\ndef inner():\n    return {}\n"
OUTER = (
    "from neurodeploy.hwsim.function.neuron_kernels import compiled\nfrom inner import inner\n\n\n"
    "@compiled\ndef outer():\n    return 10 * inner()\n"
)
Start = Callable[[], ModuleType]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Two files of kernels, one calling into the other; each call imports the second as a new process would."""
    monkeypatch.setattr(stale, "ROOT", tmp_path)
    # Python's own bytecode knows a source by its second and size, which these share.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "inner.py").write_text(INNER.format(1))
    (tmp_path / "outer.py").write_text(OUTER)

    def anew() -> ModuleType:
        monkeypatch.setattr(stale, "BEGUN_NS", time.time_ns() + 10**9)  # the files were written before
        stale.digest.cache_clear()
        stale._tidied.cache_clear()
        for name in ("inner", "outer"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module("outer")

    yield anew
    for name in ("inner", "outer"):
        sys.modules.pop(name, None)
    stale.digest.cache_clear()
    stale._tidied.cache_clear()


def cached(folder: Path) -> set[str]:
    return {path.name for path in (folder / "__pycache__").glob("*.nb[ic]")}


def hits(kernel: Any) -> int:
    return sum(kernel.stats.cache_hits.values())


def test_a_kernel_is_kept_and_one_that_calls_into_a_changed_file_is_made_again(start: Start, tmp_path: Path) -> None:
    module = start()
    assert cached(tmp_path) == set(), "importing keeps nothing"
    assert (module.outer(), hits(module.outer)) == (10, 0)
    first = cached(tmp_path)
    assert {name.partition("-")[0] for name in first} == {"inner.inner", "outer.outer"}
    module = start()
    assert (module.outer(), hits(module.outer)) == (10, 1)
    assert cached(tmp_path) == first

    module = tmp_path / "__pycache__" / "elsewhere.cpython-311.pyc"
    module.write_bytes(b"")
    foreign = tmp_path / "__pycache__" / "theirs.f-1.py311.1.nbc"
    foreign.write_bytes(b"")
    (tmp_path / "inner.py").write_text(INNER.format(2))
    changed = start()
    assert (changed.outer(), hits(changed.outer)) == (20, 0), "outer.py is as it was, what it calls is not"
    assert len(cached(tmp_path) - {foreign.name}) == len(first) and not cached(tmp_path) & first
    assert foreign.exists() and module.exists()

    (tmp_path / "inner.py").write_text(INNER.format(1))
    assert start().outer() == 10
    assert cached(tmp_path) - {foreign.name} == first, "the digest is of contents, not of times"


def test_sources_changed_after_their_import_are_not_mixed_with_kernels_on_disk(start: Start, tmp_path: Path) -> None:
    assert start().outer() == 10
    kept = cached(tmp_path)
    module = start()
    (tmp_path / "inner.py").write_text(INNER.format(3))
    os.utime(tmp_path / "inner.py", ns=(stale.BEGUN_NS + 1, stale.BEGUN_NS + 1))
    assert (module.outer(), hits(module.outer)) == (10, 0), "what was imported is run"
    assert cached(tmp_path) == kept, "and not kept, as it is not what stands in the files"


def test_a_new_file_in_a_subfolder_changes_the_digest(tmp_path: Path) -> None:
    def digest() -> str:
        stale.digest.cache_clear()
        return stale.digest(tmp_path)

    (tmp_path / "a.py").write_text("1")
    found = {digest()}
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.py").write_text("2")
    found.add(digest())
    (tmp_path / "sub" / "b.py").rename(tmp_path / "b.py")
    found.add(digest())
    (tmp_path / "notes.txt").write_text("no source")
    found.add(digest())
    assert len(found) == 3


@pytest.fixture
def homeless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files of a user who can write neither at home nor beside the source."""
    (tmp_path / "__pycache__").write_text("a file where the folder would be")
    monkeypatch.setenv("HOME", str(tmp_path / "outer.py"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "outer.py"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


def test_nothing_is_kept_where_nothing_can_be_written(start: Start, tmp_path: Path, homeless: Path) -> None:
    homeless.rmdir()
    module = start()
    assert module.outer() == 10
    assert module.outer.stats.cache_path is None
    assert (tmp_path / "__pycache__").is_file()


def test_without_another_folder_kernels_are_kept_among_temporary_files(start: Start, homeless: Path) -> None:
    module = start()
    assert module.outer() == 10
    (folder,) = homeless.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert list(folder.rglob("*.nbc")) and module.outer.stats.cache_path.startswith(str(folder))
    again = start()
    assert again.outer() == 10
    assert sum(again.outer.stats.cache_hits.values()) == 1


@pytest.mark.parametrize("left", ["a link", "open to all"])
def test_kernels_that_others_may_have_written_are_not_run(start: Start, homeless: Path, left: str) -> None:
    folder = homeless / f"neurodeploy-kernels-{os.geteuid()}"
    if left == "a link":
        (homeless / "theirs").mkdir()
        folder.symlink_to(homeless / "theirs")
    else:
        folder.mkdir()
        folder.chmod(0o777)
    module = start()
    assert module.outer() == 10
    assert module.outer.stats.cache_path is None


def test_kernels_beside_read_only_sources_are_read(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the image of a container has them; root may write anywhere, so the answer to that question is replaced."""
    assert start().outer() == 10
    monkeypatch.setattr("os.access", lambda path, mode: False)
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path / "empty"))
    module = start()
    assert module.outer() == 10
    assert sum(module.outer.stats.cache_hits.values()) == 1
    assert list((tmp_path / "empty").rglob("*.nbc")) == []


def test_a_damaged_kernel_is_made_again(start: Start, tmp_path: Path) -> None:
    assert start().outer() == 10
    for path in (tmp_path / "__pycache__").glob("*.nb[ic]"):
        path.write_bytes(path.read_bytes()[:20])
    assert start().outer() == 10


def test_processes_that_start_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    script = (
        "import numpy as np\n"
        "from neurodeploy.hwsim.function import neuron_kernels as kernels\n"
        "print(kernels.list_events(np.array([[0, 1]], np.uint8), np.zeros(2, np.int64), np.zeros(2, np.int32)))"
    )
    left = tmp_path / stale.ROOT.name / "x.py311.sources-0.1.nbc"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", script]
    for round_ in range(2):
        processes = [
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(3)
        ]
        assert [process.communicate() for process in processes] == [("1\n", "")] * 3
        (folder,) = tmp_path.iterdir()
        assert not left.exists() and len(list(folder.glob("*.nbi"))) == len(list(folder.glob("*.nbc"))) == 1
        if round_ == 0:  # the second round finds kernels of other sources, and three processes remove them
            left = folder / left.name
            left.write_bytes(b"")
            for path in folder.glob("neuron_kernels.*"):
                path.unlink()


def test_every_compiled_function_is_kept_this_way() -> None:
    """Nobody may use ``numba.njit(cache=True)``: it writes at once, and outlives what it calls."""
    for path in stale.ROOT.rglob("*.py"):
        assert "cache=True" not in path.read_text().partition('"""\n\nfrom')[2], path
    assert isinstance(kernels.list_events._cache, stale.Kept)


AT_IMPORT = """
import importlib, pkgutil, os, sys
import numba, numpy, pydantic, scipy.sparse, h5py, networkx, nir, yaml  # they may do what they like
import neurodeploy
found, root = [], os.path.realpath(neurodeploy.__path__[0] + "/..")
OTHERS = ".py", ".pyc", "METADATA", "entry_points.txt"  # the last two are looked for by libraries
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
CHANGES = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.truncate", "os.utime", "os.chmod", "tempfile.mkstemp",
           "tempfile.mkdtemp", "shutil.rmtree", "os.putenv", "os.unsetenv", "subprocess.Popen", "os.system")
SEEN = ("glob.glob", "glob.glob/2", "os.scandir", "pathlib.Path.glob", "pathlib.Path.rglob")

def hook(event, args):
    if not watching:
        return
    if event == "open" and isinstance(args[0], (str, bytes)):
        path = os.path.realpath(os.fsdecode(args[0]))
        if args[2] & WRITES:
            found.append((event, path))
        elif path.startswith(root) and os.path.isfile(path) and not path.endswith(OTHERS):
            found.append((event, path))
    elif event in CHANGES or event in SEEN and str(args[0]).startswith(root):
        found.append((event, str(args[:1])))

watching = False
sys.addaudithook(hook)
watching = True
# Lava's worker runs in an interpreter of its own; exporters and models import other libraries, which take long.
LEFT_OUT = ("neurodeploy.__main__", "neurodeploy.backends.lava.worker.", "neurodeploy.backends.onnx.",
            "neurodeploy.conversion", "neurodeploy.exporters.", "neurodeploy.models.")
names = [m.name for m in pkgutil.walk_packages(neurodeploy.__path__, "neurodeploy.") if not m.name.startswith(LEFT_OUT)]
for name in names:
    importlib.import_module(name)
watching = False
print(len(names), found)
"""


def test_importing_touches_no_file() -> None:
    """No module reads, writes or deletes a file, looks for files or sets the environment when it is imported."""
    done = subprocess.run([sys.executable, "-B", "-c", AT_IMPORT], capture_output=True, text=True, check=True)
    count, _, found = done.stdout.partition(" ")
    assert int(count) > 100
    assert found.strip() == "[]"
