"""The sidecar: a private virtual environment that holds Lava and what it needs, and nothing of the user's.

It is built in a folder beside its final place and renamed when it is complete, under a lock, so an interrupted set-up
leaves nothing and two at once do the work only once. A stamp inside tells which pins (``requirements.txt``) it holds.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from neurodeploy.errors import BackendError, MissingFileError, StorageError
from neurodeploy.files.atomic import atomic_path, make_folder, storage_errors

LAVA = "0.10.0"
STAMP = "neurodeploy-stamp.json"
HINT = "run `neurodeploy lava setup`"
ELSEWHERE = "let NEURODEPLOY_HOME name a folder that can be written to"
PIP_OPTIONS = (
    *("--quiet", "--no-input", "--disable-pip-version-check", "--retries=2", "--timeout=20"),
    *("--no-deps", "--ignore-requires-python", "--only-binary=:all:"),
)

_PROBE = """
import importlib.metadata as metadata, importlib.util as util, json, pathlib, platform
def version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
lava = util.find_spec("lava")
folders = list(lava.submodule_search_locations or ()) if lava else []
missing = [name for name in ("numpy", "scipy", "networkx", "asteval", "lava") if util.find_spec(name) is None]
local = util.find_spec("greenlet") is not None
print(json.dumps({
    "python": platform.python_version(), "lava": version("lava-nc"), "numpy": version("numpy"),
    "missing": missing, "local": local,
    "loihi": any(list(pathlib.Path(f, "utils").glob("loihi2_profiler*")) for f in folders),
}))
"""

_CHECK = """
import sys
sys.path[0] = sys.argv[1]
from worker import shim
shim.install()
import worker.build, lava.proc.conv.models
"""


@dataclass(frozen=True)
class LavaStatus:
    """What is known about the interpreter that would run Lava.

    Args:
        installed: Lava can be run.
        python: the interpreter.
        python_version, lava_version, numpy_version: as it reports them, None where unknown.
        loihi_extension: Intel's closed Loihi 2 extension is present.
        problem: why Lava cannot be run, None when it can.
        hint: what to do about it.
    """

    installed: bool
    python: Path
    python_version: str | None = None
    lava_version: str | None = None
    numpy_version: str | None = None
    loihi_extension: bool = False
    problem: str | None = None
    hint: str | None = None

    def as_json(self) -> dict[str, Any]:
        """All of it for scripts; what ``neurodeploy lava setup --json`` and ``status`` print."""
        return {**vars(self), "python": str(self.python)}


def lava_setup(
    *, force: bool = False, python: Path | str | None = None, tell: Callable[[str], None] | None = None
) -> LavaStatus:
    """Set Lava up: make or repair the sidecar, or use an interpreter of the user's own from now on; say how it is.

    Args:
        force: make the sidecar anew even if it is there.
        python: an interpreter that has lava-nc; ``sidecar`` goes back to the sidecar.
        tell: told what is being done, in a few words.

    Raises:
        BackendError: the interpreter has no lava-nc of the right version, or an installer failed.
        MissingFileError: there is no such interpreter.
        StorageError: the folder cannot be written to, or the disk is full.
    """
    if python:
        remember(None if str(python) == "sidecar" else python)
    if own_python() is None:
        setup(force=force, progress=tell, thorough=True)
    return status()


def sidecar_path() -> Path:
    """Return the folder of the sidecar for the running Python version, below ``NEURODEPLOY_HOME``.

    Raises:
        StorageError: there is no such folder, since the user has no home (in a container, say).
    """
    try:
        home = Path(os.environ.get("NEURODEPLOY_HOME") or "~/.cache/neurodeploy").expanduser()
    except RuntimeError as error:
        raise StorageError("there is no folder for Lava", found="this user has no home", hint=ELSEWHERE) from error
    return home / f"lava-{LAVA}-py{sys.version_info[0]}.{sys.version_info[1]}"


def sidecar_python() -> Path:
    """Return the sidecar's interpreter, whether or not it is there."""
    return sidecar_path() / "bin" / "python"


def own_python(python: Path | str | None = None) -> Path | None:
    """Return the user's own interpreter: named in the call, in ``NEURODEPLOY_LAVA_PYTHON``, or by `remember`."""
    named = python or os.environ.get("NEURODEPLOY_LAVA_PYTHON")
    if not named:
        with suppress(OSError):
            named = _choice().read_text(encoding="utf-8").strip()
    return Path(named).expanduser() if named else None


def remember(python: Path | str | None) -> None:
    """Use the user's own interpreter from now on, or with None the sidecar again.

    Raises:
        BackendError: it does not run, or has no lava-nc of the right version.
        MissingFileError: there is no such file.
        StorageError: the choice cannot be written down.
    """
    if python is None:
        with storage_errors("remove", _choice()):
            _choice().unlink(missing_ok=True)
        return
    worker_command(python)
    make_folder(_choice().parent)
    with atomic_path(_choice()) as temporary:
        temporary.write_text(f"{Path(python).expanduser().absolute()}\n", encoding="utf-8")


def _choice() -> Path:
    """Where the choice of the user's own interpreter is kept."""
    return sidecar_path().with_name("lava-python.txt")


def setup(force: bool = False, progress: Callable[[str], None] | None = None, thorough: bool = False) -> Path:
    """Make the sidecar unless it is there, and return its interpreter.

    Args:
        force: make it anew even if it looks complete.
        thorough: make it anew also if it looks complete but Lava cannot be imported (takes half a second to know).
        progress: told what is being done, in a few words.

    Raises:
        BackendError: an installer failed, for example without a network.
        StorageError: the folder cannot be written to, or the disk is full.
    """
    tell = progress or (lambda _: None)
    final = sidecar_path()
    if thorough and _is_complete(final) and not _imports(final):
        tell("the sidecar is damaged")
        force = True
    if not force and _is_complete(final):
        return sidecar_python()
    try:
        make_folder(final.parent)
    except StorageError as error:
        raise StorageError(error.what, found=error.found, hint=ELSEWHERE) from error
    with _lock(final.with_name(final.name + ".lock"), tell):
        if not force and _is_complete(final):  # another process made it while this one waited
            return sidecar_python()
        fresh = final.with_name(final.name + ".part")
        with storage_errors("replace", fresh):
            _remove(fresh)
        try:
            _fill(fresh, tell)
            with storage_errors("replace", final):
                _remove(final)
                os.rename(fresh, final)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    tell("Lava is ready")
    return sidecar_python()


def status(python: Path | str | None = None) -> LavaStatus:
    """Report on Lava without running it (about 0.1 s).

    Args:
        python: the user's own interpreter, instead of the sidecar's.
    """
    own = own_python(python)
    try:
        interpreter = own or sidecar_python()
    except StorageError as error:
        return LavaStatus(False, Path("python"), problem=f"{error.what}: {error.found}", hint=error.hint)
    hint = f"install lava-nc=={LAVA} for that interpreter, or name another" if own else HINT
    if not own and not sidecar_path().exists():
        return LavaStatus(False, interpreter, problem="Lava is not set up", hint=hint)
    try:
        found = _probe(interpreter, isolated=own is None)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return LavaStatus(False, interpreter, problem=f"the interpreter of Lava does not run: {error}", hint=hint)
    problem = None
    if found["missing"]:
        problem = f"packages are missing: {', '.join(found['missing'])}"
    elif found["lava"] != LAVA:
        problem = f"the version of lava-nc is {found['lava'] or 'unknown'}, not {LAVA}"
    elif not own and not _is_complete(sidecar_path()):
        problem = "the sidecar was made by another version of neurodeploy, or is damaged"
    return LavaStatus(
        installed=problem is None,
        python=interpreter,
        python_version=found["python"],
        lava_version=found["lava"],
        numpy_version=found["numpy"],
        loihi_extension=found["loihi"],
        problem=problem,
        hint=hint if problem else None,
    )


def worker_command(python: Path | str | None = None) -> list[str]:
    """Return the command that starts the interpreter for Lava; the sidecar's ignores the user's Python settings.

    Raises:
        BackendError: Lava is not set up, or the user's own interpreter has another one or none.
        MissingFileError: the interpreter that the user named is not there.
    """
    own = own_python(python)
    if own:
        if not own.is_file():
            raise MissingFileError(
                f"the Python for Lava, {own}, does not exist",
                hint="correct --lava-python or NEURODEPLOY_LAVA_PYTHON, or leave them out to use the sidecar",
            )
        changed = own.stat().st_mtime
        if _checked.get(own) != changed:
            found = status(own)
            if found.problem:
                raise BackendError(f"the Python for Lava, {own}, cannot be used", found=found.problem, hint=found.hint)
            _checked[own] = changed
        return [str(own)]
    if not _is_complete(sidecar_path()):
        raise BackendError("Lava is not set up", found=f"nothing complete in {sidecar_path()}", hint=HINT)
    return [str(sidecar_python()), "-E", "-s"]


_checked: dict[Path, float] = {}
"""Interpreters of the user's that were found to be in order, and when they were changed last."""


def has_local_runtime(python: Path | str | None = None) -> bool:
    """Whether the interpreter has what the runtime ``local`` needs (greenlet); the sidecar has."""
    own = own_python(python)
    return own is None or bool(_probe(own, isolated=False)["local"])


def _imports(folder: Path) -> bool:
    """Whether Lava can be imported in a sidecar."""
    command = [str(folder / "bin" / "python"), "-E", "-s", "-c", _CHECK, str(Path(__file__).parent)]
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _requirements() -> Path:
    return Path(str(files("neurodeploy.backends.lava") / "requirements.txt"))


def _pins() -> str:
    return hashlib.sha256(_requirements().read_bytes()).hexdigest()


def _is_complete(folder: Path) -> bool:
    """Whether a sidecar was finished with these pins and its main parts are still there."""
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
        parts = [folder / "bin" / "python", *(folder / part for part in stamp["parts"])]
        return bool(stamp["pins"] == _pins()) and all(part.exists() for part in parts)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _fill(folder: Path, tell: Callable[[str], None]) -> None:
    """Make a complete sidecar in ``folder``; the stamp comes last."""
    tell("making a virtual environment")
    _install([sys.executable, "-m", "venv", str(folder)], "make a virtual environment")
    python = folder / "bin" / "python"
    tell(f"installing lava-nc {LAVA}")
    pip = [str(python), "-E", "-s", "-m", "pip", "install", *PIP_OPTIONS, "-r", str(_requirements())]
    _install(pip, "install Lava")
    tell("checking the installation")
    _install([str(python), "-E", "-s", "-c", _CHECK, str(Path(__file__).parent)], "import Lava")
    with storage_errors("write", folder):
        packages = next(folder.glob("lib/python*/site-packages")).relative_to(folder)
        parts = [str(packages / name) for name in ("lava/magma", "numpy/__init__.py", "scipy/__init__.py")]
        parts += [str(packages / name / "__init__.py") for name in ("networkx", "asteval", "greenlet")]
        (folder / STAMP).write_text(json.dumps({"pins": _pins(), "parts": parts}), encoding="utf-8")


def _install(command: list[str], action: str) -> None:
    """Run one step of the set-up.

    Raises:
        BackendError, StorageError: it failed; the message carries the end of its output.
    """
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise BackendError(f"cannot {action}", found=f"{command[0]}: {error.strerror}", hint=HINT) from error
    if done.returncode == 0:
        return
    output = (done.stderr.strip() or done.stdout.strip()).splitlines()
    problem = "\n           ".join([line for line in output if line.lower().startswith("error")] or output[-8:])
    whole = done.stdout + done.stderr
    if any(sign in whole for sign in ("No space left", "Permission denied", "Read-only file system")):
        raise StorageError(f"cannot {action}", found=problem, hint="free some space, or set NEURODEPLOY_HOME elsewhere")
    hint = "check the network, or name a reachable index in PIP_INDEX_URL, then run `neurodeploy lava setup` again"
    if "ensurepip" in whole:
        hint = "install your system's package for virtual environments (Debian: python3-venv), then run it again"
    raise BackendError(f"cannot {action}", found=problem or f"exit status {done.returncode}", hint=hint)


def _remove(folder: Path) -> None:
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
    else:
        folder.unlink(missing_ok=True)


@contextmanager
def _lock(path: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock on ``path``; the system frees it when this process ends, however it ends."""
    try:
        import fcntl
    except ImportError as error:
        raise BackendError("Lava does not run on this system", allowed="Linux or macOS") from error
    with storage_errors("lock", path), path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("waiting for another process that is setting up Lava")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _probe(python: Path, isolated: bool) -> dict[str, Any]:
    command = [str(python), *(["-E", "-s"] if isolated else []), "-c", _PROBE]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found
