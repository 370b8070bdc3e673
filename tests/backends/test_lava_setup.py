"""Making the sidecar: once, whole or not at all."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from neurodeploy.backends.lava import setup as module
from neurodeploy.backends.lava.setup import setup, sidecar_path, status
from neurodeploy.errors import BackendError, StorageError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("NEURODEPLOY_LAVA_PYTHON", raising=False)
    monkeypatch.setenv("NEURODEPLOY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def fill_with(made: list[str]) -> Callable[[Path, Callable[[str], None]], None]:
    """A stand-in for the installation, of the same outline: slow, and the stamp last."""

    def fill(folder: Path, tell: Callable[[str], None]) -> None:
        made.append(folder.name)
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "python").symlink_to("/bin/false")
        (folder / "numpy").mkdir()
        time.sleep(0.3)
        (folder / module.STAMP).write_text(f'{{"pins": "{module._pins()}", "parts": ["numpy"]}}')

    return fill


def test_real_sidecar_is_made_once_and_reported() -> None:
    python = setup()
    begin = time.monotonic()
    assert setup() == python
    assert time.monotonic() - begin < 1
    found = status()
    assert found.installed
    assert found.problem is None
    assert found.hint is None
    assert (found.lava_version, found.loihi_extension) == ("0.10.0", False)
    assert (found.numpy_version or "").startswith("2.3.")


def test_two_at_once_make_it_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(module, "_fill", fill_with(made))
    told: list[str] = []
    both = [threading.Thread(target=setup, kwargs={"progress": told.append}) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert len(made) == 1
    assert "waiting" in " ".join(told)
    assert not list(home.glob("*.part"))


def test_makes_it_anew_when_asked_damaged_or_of_other_pins(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(module, "_fill", fill_with(made))
    setup()
    setup(force=True)
    assert len(made) == 2
    shutil.rmtree(sidecar_path() / "numpy")
    setup()
    assert len(made) == 3
    monkeypatch.setattr(module, "_pins", lambda: "other")
    setup()
    setup()
    assert len(made) == 4
    (sidecar_path() / module.STAMP).write_text("{")
    assert not status().installed
    setup()
    assert len(made) == 5


@pytest.mark.parametrize("error", [BackendError("no"), KeyboardInterrupt()])
def test_failure_leaves_nothing_half_made(home: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(folder: Path, tell: Callable[[str], None]) -> None:
        folder.mkdir()
        (folder / "something").touch()
        raise error

    monkeypatch.setattr(module, "_fill", fail)
    with pytest.raises(type(error)):
        setup()
    assert [path.suffix for path in home.iterdir()] == [".lock"]
    assert status().problem == "Lava is not set up"


def test_no_package_index_is_said_in_plain_words(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(home), "PIP_CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BackendError, match="cannot install Lava") as refused:
        setup()
    assert "lava-nc" in str(refused.value.found)
    assert "network" in str(refused.value.hint)
    assert not sidecar_path().exists()
    assert not list(home.glob("*.part"))


def test_home_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("NEURODEPLOY_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(StorageError, match="cannot create the folder"):
        setup()
