"""`make install-check`: what a user is told to install can be installed. Minutes, and a network.

For each Python: an environment with the wheel and what it needs; the commands that `neurodeploy doctor` and every error
about a missing package print there are run with ``--dry-run``, as are those for an environment where even the needed
packages are missing. Last, nobody else may have our name on the index.

    python -m tests.install.check [--pythons 3.11 3.13]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from neurodeploy import __version__
from neurodeploy.packages.requirements import CONSTRAINTS, DISTRIBUTION
from tests.install import hints
from tests.install.building import wheel_of_checkout

ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
    "PIP_RETRIES": "0",  # an extra index that cannot be reached is a warning then
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}
LAZY = {"PIP_USE_FEATURE": "fast-deps"}
"""A dry run looks into wheels; this reads the part of them that says what they need, where the index allows it."""


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def found(version: str) -> str | None:
    """An interpreter of a version, on the PATH or where pyenv keeps them."""
    if version == f"{sys.version_info[0]}.{sys.version_info[1]}":
        return sys.executable
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [
        shutil.which(f"python{version}"),
        *map(str, sorted(root.glob(f"{version}.*/bin/python"), reverse=True)),
    ]
    for python in filter(None, candidates):
        done = subprocess.run([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True)
        if done.stdout.decode().strip() == version:
            return python
    return None


def run(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, env=ENVIRONMENT, cwd=cwd, check=False)


def environment(python: str, folder: Path) -> Path:
    """A fresh environment's Python."""
    subprocess.run([python, "-m", "venv", folder], check=True, env=ENVIRONMENT)
    return folder / "bin" / "python"


def collected(python: Path, work: Path, wrong: list[str]) -> dict[str, str]:
    """Every command that is printed in an environment that has what neurodeploy needs -> who prints it."""
    commands: dict[str, str] = {}
    doctor = run(python, "-m", "neurodeploy", "doctor", cwd=work)
    if doctor.returncode:
        wrong.append(f"doctor ends with {doctor.returncode}:\n{doctor.stdout}{doctor.stderr}")
    for command in hints.printed(doctor.stdout):
        commands.setdefault(command, "doctor")
    asked = run(python, Path(__file__).with_name("provoked.py"), cwd=work)
    if asked.returncode:
        wrong.append(f"what needs packages could not be asked for:\n{asked.stderr}")
        return commands
    messages = json.loads(asked.stdout)
    say(f"  {len(messages)} errors about missing packages")
    for what, message in messages.items():
        printed = hints.printed(message)
        if len(printed) != 1 or "Traceback" in message:
            wrong.append(f"{what} prints no command, or several: {message}")
        for command in printed:
            commands.setdefault(command, what)
    return commands


def bare(python: str, wheel: Path, folder: Path, wrong: list[str]) -> dict[str, str]:
    """Every command that is printed where even the needed packages are missing -> who prints it."""
    own = environment(python, folder / "bare")
    (packages,) = (folder / "bare").glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    doctor = run(own, "-m", "neurodeploy", "doctor", cwd=folder)
    if doctor.returncode != 2 or doctor.stderr:
        wrong.append(f"doctor without needed packages ends with {doctor.returncode}:\n{doctor.stderr}")
    broken = [command for command in hints.printed(doctor.stdout) if "numpy" in command]
    return dict.fromkeys(broken, "doctor, without needed packages")


def checked(version: str, python: str, wheel: Path) -> list[str]:
    """Check one Python, and return what is wrong."""
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        own = environment(python, folder / "env")
        done = run(own, "-m", "pip", "install", "--quiet", "-c", CONSTRAINTS, wheel, cwd=folder)
        if done.returncode:
            return [f"Python {version}: the wheel cannot be installed:\n{done.stderr}"]
        (folder / "work").mkdir()
        commands = collected(own, folder / "work", wrong) | bare(python, wheel, folder, wrong)
        say(f"Python {version} ({python}): {len(commands)} commands")
        for problem in wrong:
            say(f"  {problem}")
        for command, who in commands.items():
            problems = list(hints.problems(command))
            done = hints.tried(command, environment=LAZY)
            last = [line for line in done.stdout.splitlines() if line.startswith("Would install")]
            if done.returncode or not last:
                problems.append(done.stderr.strip()[-1500:] or "nothing would be installed")
            took = re.findall(r"\btorch-\S+", last[-1]) if last else []
            say(f"  {'FAILED' if problems else 'ok':<7}{who}: {command.replace(str(folder), '...')}", *took)
            wrong += [f"{who}: {command}: {problem}" for problem in problems]
    return [f"Python {version}: {problem}" for problem in wrong]


def stranger() -> list[str]:
    """What is wrong with our name on the index: it must be free, or hold this version."""
    done = run(sys.executable, "-m", "pip", "index", "versions", DISTRIBUTION, cwd=Path.cwd())
    if f"No matching distribution found for {DISTRIBUTION}" in done.stderr:
        say(f"{DISTRIBUTION}: nobody has that name on the index")
        return []
    if __version__ in re.split(r"[\s,()]+", done.stdout):
        say(f"{DISTRIBUTION}: on the index, with this version")
        return []
    return [f"{DISTRIBUTION} on the index is not ours, or the index cannot be reached:\n{done.stdout}{done.stderr}"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pythons", nargs="+", default=["3.11", "3.13"], help="versions; those that are there")
    asked = parser.parse_args().pythons
    there = {version: python for version in asked if (python := found(version))}
    for version in asked:
        if version not in there:
            say(f"Python {version}: not found, not checked")
    wrong = stranger() + ([] if there else ["no Python was checked"])
    with tempfile.TemporaryDirectory() as folder:
        wheel = wheel_of_checkout(Path(folder))
        for version, python in there.items():
            wrong += checked(version, python, wheel)
    say("\n".join(["", *wrong]) if wrong else "every command works")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
