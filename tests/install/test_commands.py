"""Install commands: what they name, for which interpreter, and that pip takes them."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

import neurodeploy as nd
from neurodeploy.errors import MissingPackageError
from neurodeploy.packages import commands, requirements
from tests.install import hints
from tests.install.building import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = hints.pins(requirements.CONSTRAINTS)


@pytest.fixture
def fresh() -> Iterator[None]:
    """What is declared is read anew."""
    requirements._declared.cache_clear()
    yield
    requirements._declared.cache_clear()


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("torch", "safetensors", "sinabs", "norse"):
        monkeypatch.setitem(sys.modules, name, None)


# --- what is declared ---------------------------------------------------------------------------------------------


def test_every_package_of_every_extra_is_pinned() -> None:
    lines = [*PROJECT["dependencies"], *(line for extra in PROJECT["optional-dependencies"].values() for line in extra)]
    names = {re.split(r"[\[<>=;\s]", line)[0].lower() for line in lines} - {requirements.DISTRIBUTION}
    assert sorted(names - set(PINS) - {"setuptools"}) == []
    assert set(commands.SINABS) <= set(PINS)


def test_pins_are_what_is_asked_for() -> None:
    for extra in ("", *requirements.BARE):
        for requirement in requirements.needed() if not extra else requirements.of_extra(extra):
            assert requirement.met_by(PINS[requirement.name]), requirement


def test_self_references_are_to_our_distribution_and_all_is_all() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert not re.search(r'"neurodeploy\[', text)
    everything = {r.name for r in requirements.of_extra("all")}
    # tonic's licence (GPL) asks more of those who pass it on than the others', so it is only had by its own name.
    chosen = [extra for extra in requirements.BARE if extra not in ("", "events")]
    assert everything == {r.name for extra in chosen for r in requirements.of_extra(extra)}
    assert set(requirements.EXTRA_OF.values()) <= set(requirements.extras())
    for module, extra in requirements.EXTRA_OF.items():
        assert module in {r.module for r in requirements.of_extra(extra)}


def test_names_for_a_copy_without_metadata_are_those_of_the_project(
    fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = {extra: {r.name for r in requirements.of_extra(extra)} for extra in requirements.BARE if extra}
    declared[""] = {r.name for r in requirements.needed()}
    assert declared == {extra: set(names.split()) for extra, names in requirements.BARE.items()}
    monkeypatch.setattr(requirements, "_of_checkout", lambda: None)
    monkeypatch.setattr(requirements, "_of_metadata", lambda: None)
    requirements._declared.cache_clear()
    assert [str(r) for r in requirements.of_extra("norse")] == ["torch", "safetensors", "norse"]


def test_metadata_say_the_same_as_the_project(
    fresh: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wheel: Path
) -> None:
    declared = {extra: requirements.of_extra(extra) for extra in requirements.BARE if extra}
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        archive.extractall(tmp_path / "site")
    assert name.startswith("neurodeploy_snn-")
    lines = metadata.PathDistribution((tmp_path / "site" / name).parent).requires
    monkeypatch.setattr(requirements, "_of_checkout", lambda: None)
    monkeypatch.setattr(metadata, "requires", lambda _: lines)
    requirements._declared.cache_clear()
    for extra, wanted in declared.items():
        found = requirements.of_extra(extra)
        assert {(r.name, *sorted(r.versions.split(",")), r.available) for r in found} == {
            (r.name, *sorted(r.versions.split(",")), r.available) for r in wanted
        }


@pytest.mark.parametrize(("platform", "version", "there"), [
    ("linux", "3.11.2", True), ("linux", "3.13.0", True), ("linux", "3.14.0", False), ("darwin", "3.11.2", False),
])  # fmt: skip
def test_markers_are_understood(platform: str, version: str, there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("platform.python_version", lambda: version)
    (kahypar,) = requirements.of_extra("partition")
    assert kahypar.available is there
    assert (commands.how_to_install("mtkahypar") is not None) is there
    monkeypatch.setitem(sys.modules, "mtkahypar", None)
    said = str(commands.missing("the order", "mtkahypar", otherwise="take --order spatial"))
    assert "take --order spatial" in said and ("no build of mtkahypar" in said) is not there


@pytest.mark.parametrize(("versions", "version", "met"), [
    (">=2.6", "2.13.0+cpu", True), (">=2.6", "2.5.1", False), (">=1.0.8,<2", "2.0", False), (">=1.0.8,<2", "1.1", True),
    ("==2.2.9", "2.2.9", True), (">=1.1", "1.1", True), ("", "0", True),
])  # fmt: skip
def test_versions_are_compared_by_number(versions: str, version: str, met: bool) -> None:
    assert requirements.Requirement("x", versions).met_by(version) is met


# --- the command --------------------------------------------------------------------------------------------------


def test_a_command_names_packages_and_the_interpreter_that_runs(without_torch: None) -> None:
    command = commands.how_to_install("norse")
    assert command is not None and list(hints.problems(command)) == []
    (call,) = hints.calls(command)
    names, options = hints.asked(call)
    assert call[:4] == [sys.executable, "-m", "pip", "install"]
    assert names == ["torch>=2.6", "safetensors>=0.5", "norse>=1.1"]
    assert options == {"-c": str(requirements.CONSTRAINTS), "--extra-index-url": hints.CPU_INDEX}
    assert "neurodeploy" not in {re.split(r"\W", name)[0] for name in names}


def test_an_interpreter_in_a_folder_with_a_space_can_be_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/my folder/it's/python")
    assert hints.calls(commands.how_to_install("onnx") or "")[0][0] == "/my folder/it's/python"
    assert shlex.split(commands.ours("lava", "setup")) == [
        "/my folder/it's/python",
        "-m",
        "neurodeploy",
        "lava",
        "setup",
    ]


def test_sinabs_comes_without_what_it_asks_for_and_behind_torch(
    without_torch: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = hints.calls(commands.how_to_install("sinabs") or "")
    assert hints.asked(first)[0] == ["torch>=2.6", "safetensors>=0.5"]
    assert hints.asked(second)[0] == ["sinabs", "pbr"] and "--no-deps" in second and "--no-deps" not in first
    monkeypatch.setattr(requirements, "is_there", lambda module: module != "sinabs")
    (only,) = hints.calls(commands.how_to_install("sinabs") or "")
    assert hints.asked(only)[0] == ["sinabs", "pbr"]


@pytest.mark.parametrize(("platform", "there", "index"), [
    ("linux", None, True), ("linux", "2.12.0+cpu", True), ("linux", "2.12.0+cu130", False), ("linux", "2.12.0", False),
    ("darwin", None, False),
])  # fmt: skip
def test_linux_gets_torch_without_cuda_unless_another_is_there(
    platform: str, there: str | None, index: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(requirements, "is_there", lambda module: module != "torch" or there is not None)
    monkeypatch.setattr(requirements, "version_of", lambda name: there)
    for module in ("torch", "norse"):
        assert ("--extra-index-url" in (commands.how_to_install(module) or "")) is index
    assert "--extra-index-url" not in (commands.how_to_install("onnx") or "")


def test_an_environment_that_uv_made_is_filled_by_uv(
    tmp_path: Path, without_torch: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyvenv.cfg").write_text("home = /usr/bin\nuv = 0.13.9\n")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setitem(sys.modules, "pip", None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    (call,) = hints.calls(commands.how_to_install("torch") or "")
    assert call[:5] == ["uv", "pip", "install", "--python", sys.executable]
    assert hints.asked(call)[1]["--torch-backend"] == "cpu"
    assert "--reinstall" in commands.reinstall("numba") and "--force" not in commands.reinstall("numba")
    (tmp_path / "pyvenv.cfg").write_text("home = /usr/bin\n")
    first, second = hints.calls(commands.how_to_install("torch") or "")
    assert first == [sys.executable, "-m", "ensurepip"] and second[:3] == [sys.executable, "-m", "pip"]


def test_a_python_of_the_system_is_left_alone(
    tmp_path: Path, without_torch: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "EXTERNALLY-MANAGED").write_text("[externally-managed]\n")
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    assert commands.afterwards() is None, "in an environment that does not matter"
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    made, filled = hints.calls(commands.how_to_install("torch") or "")
    assert made == [sys.executable, "-m", "venv", "--system-site-packages", "neurodeploy-env"]
    assert filled[:3] == ["neurodeploy-env/bin/python", "-m", "pip"]
    assert "from then on run neurodeploy-env/bin/python -m neurodeploy" in str(commands.missing("export", "torch"))


# --- errors -------------------------------------------------------------------------------------------------------


def test_only_packages_that_are_not_there_are_named(without_torch: None) -> None:
    for module, named in {"torch": True, "numpy": False, "timm": False}.items():
        with pytest.raises(ModuleNotFoundError) as caught, commands.naming("export"):
            raise ModuleNotFoundError(f"No module named {module!r}", name=f"{module}.nn")
        assert isinstance(caught.value, MissingPackageError) is named
    assert commands.how_to_install("timm") is None


def test_a_model_whose_framework_is_missing_is_told_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.py").write_text("import norse.torch\n")
    for name in [name for name in sys.modules if name.partition(".")[0] == "norse"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "norse", None)
    with pytest.raises(MissingPackageError, match=r"model.py needs the package 'norse'\n  found:   not installed"):
        nd.load_module(f"{tmp_path / 'model.py'}:net")


def test_the_back_end_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    from neurodeploy import backends

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    said = backends.missing("onnxruntime") or ""
    assert said.startswith("onnxruntime is not installed; to do: ")
    assert list(hints.problems(said.partition("to do: ")[2])) == []


# --- in an environment that has the wheel alone -------------------------------------------------------------------


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """The Python of an environment with pip and the wheel, and nothing that it needs."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", folder / "env"], check=True)
    (packages,) = (folder / "env").glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    return folder / "env" / "bin" / "python"


def run(python: Path, *words: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [python, "-m", "neurodeploy", *words], capture_output=True, text=True, env=kept, cwd=python.parent, check=False
    )


def test_doctor_reports_everything_that_is_missing_and_each_hint_can_be_run(bare: Path) -> None:
    found = run(bare, "doctor")
    assert found.returncode == 2 and found.stderr == "", found.stderr
    for name in (*requirements.BARE[""].split(), "torch", "norse", "sinabs"):
        assert re.search(rf"^{name}  not installed  (broken|missing)$", found.stdout, re.MULTILINE), name
    printed = hints.printed(found.stdout)
    assert len(printed) >= 8
    for command in printed:
        assert list(hints.problems(command)) == []
        assert command.startswith(str(bare))
    said = json.loads(run(bare, "doctor", "--json").stdout)
    assert [entry["command"] for entry in said["to_do"] if " install " in entry["command"]] == printed
    assert not any(done["works"] for done in said["capabilities"])
    assert run(bare, "--version").stdout.startswith("neurodeploy 0.")


def test_a_command_names_what_it_lacks(bare: Path) -> None:
    found = run(bare, "compile", "net.nir")
    assert found.returncode == 2 and "Traceback" not in found.stderr
    assert "error: compile needs the package 'numpy'\n  found:   not installed\n  to do:   " in found.stderr
    assert [list(hints.problems(command)) for command in hints.printed(found.stderr)] == [[]]


def test_pip_takes_a_hint(bare: Path) -> None:
    (command,) = (c for c in hints.printed(run(bare, "doctor").stdout) if c.endswith("'onnxruntime>=1.20'"))
    done = hints.tried(command, "--no-deps", "--only-binary=:all:")
    if done.returncode and re.search(r"NewConnection|ConnectTimeout|Max retries|Temporary failure", done.stderr):
        pytest.skip("no index can be reached")
    assert done.returncode == 0, done.stderr
    assert f"onnx-{PINS['onnx']}" in done.stdout
