"""The wheel holds ordinary folders and works outside the repository."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.install import building

SCRIPT = """
import pathlib, sys
import neurodeploy, neurodeploy.models.registry, neurodeploy.exporters, neurodeploy.hwsim.engine
from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.backends.lava.setup import status
from neurodeploy.cli import main
home = pathlib.Path(neurodeploy.__file__).parent
assert home.parent == pathlib.Path(sys.argv[1]), home
for name in ("models", "exporters", "hwsim"):
    assert (home / name).is_dir() and not (home / name).is_symlink()
assert load_architecture("loihi1").cores == 128
status()
assert (home / "report" / "template.html").is_file()
assert (home / "backends" / "lava" / "requirements.txt").is_file()
assert (home / "py.typed").is_file()
assert (home / "constraints.txt").is_file()
sys.exit(main(["--version"]))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheel and sdist, built from a copy so that the checkout stays clean."""
    return building.built(tmp_path_factory.mktemp("build"))


def test_the_wheel_works_outside_the_repository(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    assert wheel.name.startswith("neurodeploy_snn-0.")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert {name.split("/")[0] for name in names if "dist-info" not in name} == {"neurodeploy"}
        assert "neurodeploy/hwsim/chips/archs/loihi1.yaml" in names
        assert not any(name.startswith(("tests/", "hwsim/")) for name in names)
        archive.extractall(tmp_path / "site")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path / "site"],
        cwd=tmp_path, env={"PYTHONPATH": str(tmp_path / "site"), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("neurodeploy 0.")


def test_the_source_distribution_holds_ordinary_folders(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        members = {member.name.partition("/")[2]: member for member in archive}
    assert members["neurodeploy/hwsim/engine.py"].isfile()
    assert not any(member.issym() for member in members.values())
