"""The image of a container: what its file asks for exists, and what it holds runs read-only, as anybody."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from neurodeploy.packages import requirements
from tests import nirgraphs
from tests.install.building import ROOT

FILE = ROOT / "Containerfile"
READ_ONLY = Path(__file__).with_name("read_only.sh")
SCRIPT = """
set -u
touch /free 2>/dev/null && echo "the root is not read-only"
python=$1
for call in "doctor" "compile net.nir --dt 0.001" "run net.ndp --input x.npy" "cost net.ndp --input x.npy"; do
  "$python" -m neurodeploy $call > out.txt 2> err.txt
  echo "$call: $?"
  grep -h -e Traceback -e "compiling kernels" -e "cannot be kept" out.txt err.txt
  grep -h "hwsim kernels.*ok" out.txt
done
"$python" -m neurodeploy --version
"""


def lines() -> list[str]:
    """The file's instructions, one each."""
    text = re.sub(r"^#.*\n", "", FILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [line for line in text.replace("\\\n", " ").splitlines() if line]


def test_what_the_containerfile_copies_exists_and_is_not_ignored() -> None:
    copied = [line.split()[1:-1] for line in lines() if line.startswith("COPY ") and "--from" not in line]
    names = [name for names in copied for name in names]
    kept = {line[1:] for line in (ROOT / ".containerignore").read_text().splitlines() if line.startswith("!")}
    assert "pyproject.toml" in names and {"neurodeploy", "models", "exporters", "hwsim"} <= set(names)
    for name in names:
        assert (ROOT / name).exists(), name
        assert name.split("/")[0] in kept, name
    assert (ROOT / ".dockerignore").read_bytes() == (ROOT / ".containerignore").read_bytes()


def test_its_extras_and_commands_exist_and_it_runs_as_nobody_in_particular() -> None:
    found = lines()
    assert [line for line in found if line.startswith("FROM ")][-1].endswith("python:${PYTHON}-slim")
    assert "ARG PYTHON=3.11" in found
    (extras,) = (line.split("=")[1] for line in found if line.startswith("ARG EXTRAS="))
    assert extras in requirements.extras()
    comment = re.search(r"^# What to install of (.*); and", FILE.read_text(), re.MULTILINE)
    assert comment and set(comment[1].split(", ")) <= set(requirements.extras())
    assert next(line for line in reversed(found) if line.startswith("USER ")) == "USER neurodeploy"
    assert any("--constraint /wheels/constraints.txt" in line and "whl/cpu" in line for line in found)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """The wheel's files, with the kernels that this checkout has compiled, as the image has them."""
    folder = tmp_path_factory.mktemp("image")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    for kernel in (ROOT / "hwsim").rglob("__pycache__/*.nb[ic]"):
        target = folder / "site" / "neurodeploy" / kernel.relative_to(ROOT)
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(kernel, target)
    subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
    return folder / "site"


def isolated(site: Path, work: Path, script: str, home: str = "HOME=/nonexistent") -> subprocess.CompletedProcess[str]:
    """A script in the emulated container; skips where that cannot be done."""
    if os.geteuid() != 0 or not shutil.which("setpriv") or not shutil.which("unshare"):
        pytest.skip("needs root, setpriv and unshare")
    command = ["unshare", "--mount", "sh", READ_ONLY, sys.executable, sys.prefix, sys.base_prefix, site, work]
    if subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/srv"], capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    environment = {**os.environ, "HOMELESS": home}
    return subprocess.run([*command, script], capture_output=True, text=True, env=environment, check=False)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder that a container mounts, with a network and inputs."""
    folder = tmp_path / "work"
    folder.mkdir()
    nirgraphs.write(nirgraphs.mlp(), folder / "net.nir")
    np.save(folder / "x.npy", (np.random.default_rng(0).random((20, 6, 12)) < 0.3).astype(np.uint8))
    folder.chmod(0o777)
    return folder


def test_it_runs_read_only_as_a_user_without_a_home(site: Path, work: Path) -> None:
    assert subprocess.run([sys.executable, "-m", "neurodeploy", "doctor", "--kernels"], cwd=ROOT).returncode == 0
    for kernel in (ROOT / "hwsim").rglob("__pycache__/*.nb[ic]"):  # in case they were compiled just now
        target = site / "neurodeploy" / kernel.relative_to(ROOT)
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(kernel, target)
    found = isolated(site, work, SCRIPT)
    said = [line for line in found.stdout.splitlines() if "│" not in line]
    wanted = [f"{call}: 0" for call in ("doctor", "compile net.nir --dt 0.001")]
    wanted += [f"{call}: 0" for call in ("run net.ndp --input x.npy", "cost net.ndp --input x.npy")]
    assert said[:-1] == wanted, found.stdout + found.stderr  # so no kernel was compiled: those of the image were read
    assert said[-1].startswith("neurodeploy 0.")
    assert "hwsim kernels" in found.stdout
    assert (work / "net.ndp").stat().st_uid == 65534


def test_kernels_that_the_image_lacks_are_kept_in_its_temporary_folder(site: Path, work: Path) -> None:
    script = (
        'cat > k.py; for i in 1 2; do "$1" -c "import logging; logging.basicConfig(level=20)\n'
        "import numpy as np\n"
        "from neurodeploy.hwsim.function import neuron_kernels as k\n"
        'print(k.list_events(np.array([[0, 1]], np.uint8), np.zeros(2, np.int64), np.zeros(2, np.int32)))"; done'
    )
    bare = work.parent / "bare"
    shutil.copytree(site, bare, ignore=shutil.ignore_patterns("*.nb[ic]"))
    for each in (bare, work.parent):
        subprocess.run(["chmod", "a+rX", each], check=True)
    found = isolated(bare, work, script, home="")
    assert found.stdout == "1\n1\n", found.stderr
    assert found.stderr.count("compiling kernels") == 1 and "kept in /tmp/neurodeploy-kernels-65534" in found.stderr


def test_without_a_home_lava_says_which_folder_it_lacks(site: Path, work: Path) -> None:
    for home in ("", "HOME=/nonexistent"):
        found = isolated(site, work, '"$1" -m neurodeploy lava setup; echo $?', home=home)
        assert found.stdout.splitlines()[-1] == "2", found.stderr
        assert found.stderr.count("error:") == 1 and "Traceback" not in found.stderr
        assert "NEURODEPLOY_HOME" in found.stderr
