"""The command that installs what is missing, as it works for the Python that runs, wherever that came from.

It names the packages and not an extra of neurodeploy, so that it means the same in a checkout, from a wheel, and
whoever owns a name on an index; and it runs in no other environment than that of the Python that asks.
"""

from __future__ import annotations

import shlex
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from neurodeploy.errors import MissingPackageError, NeurodeployError

from . import requirements
from .requirements import CONSTRAINTS, Requirement

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
"""Where PyTorch offers its builds without CUDA; those for macOS have none anyway."""

SINABS = ("sinabs", "pbr")
"""Without what they ask for: sinabs pins nir to 1.0.4 and wants a chip's driver, and runs without both."""

FRESH = "neurodeploy-env"
"""Folder of the environment that is made where the system's Python must not be changed."""


def how_to_install(module: str) -> str | None:
    """The command, on one line, that installs a package by the name that Python imports.

    None for one that neurodeploy has no use for, and for one without a build for this machine.
    """
    if module in SINABS:
        torch = requirements.of_extra("torch")
        first = [] if all(requirements.is_there(r.module) for r in torch) else [torch]
        return _joined([*(_install(r) for r in first), _install([Requirement(name) for name in SINABS], "--no-deps")])
    wanted = [r for r in requirements.of_module(module) if r.available]
    return install(wanted) if wanted else None


def install(wanted: Sequence[Requirement]) -> str:
    """The command, on one line, that installs packages."""
    return _joined([_install(wanted)])


def reinstall(*names: str) -> str:
    """The command, on one line, that installs packages anew that are there and do not work."""
    return _joined([_install([Requirement(name) for name in names], "--no-deps", *_again())])


def how_to_install_all() -> str:
    """The command that installs all that is optional, sinabs apart."""
    everything = {r.name: r for extra in requirements.BARE if extra for r in requirements.of_extra(extra)}
    return install([r for r in everything.values() if r.available])


def ours(*words: str) -> str:
    """A command of neurodeploy, for the Python that runs."""
    return shlex.join([sys.executable, "-m", "neurodeploy", *words])


def afterwards() -> str | None:
    """What to do differently once the command has run, in words; None for nothing."""
    if not _managed():
        return None
    return f"this Python belongs to the system; from then on run {FRESH}/bin/python -m neurodeploy"


def missing(who: str, module: str, otherwise: str | None = None) -> MissingPackageError:
    """The error of who needs a package that is not installed.

    Args:
        who: what needs it.
        module: as it is imported.
        otherwise: what can be done without it.
    """
    command = how_to_install(module)
    known = next((r for r in requirements.of_module(module) if r.module == module), None)
    if command is None and known is not None:
        command = f"there is no build of {module} for this machine and Python" + (f"; {otherwise}" if otherwise else "")
        return MissingPackageError(f"{who} needs the package {module!r}", found="not installed", hint=command)
    said = [command, afterwards(), otherwise and f"or {otherwise}"]
    hint = "\n           ".join(line for line in said if line)
    return MissingPackageError(f"{who} needs the package {module!r}", found="not installed", hint=hint)


@contextmanager
def naming(who: str) -> Iterator[None]:
    """Within it, or in a function that it decorates, a package of ours that is not there is named with its command.

    Raises:
        MissingPackageError: the package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if isinstance(error, NeurodeployError) or not lacks(module):
            raise
        raise missing(who, module) from error


def lacks(module: str) -> bool:
    """Whether a package is not there that neurodeploy needs or can use."""
    ours = module in SINABS or bool(requirements.of_module(module))
    return ours and not requirements.is_there(module)


def _install(wanted: Sequence[Requirement], *options: str) -> str:
    """One call of an installer, without what has to come before all of them."""
    words = [*_installer(), "install", *(["--python", _python()] if _uv() else []), *options]
    if CONSTRAINTS.is_file():
        words += ["-c", str(CONSTRAINTS)]
    if any(r.name == "torch" for r in wanted) and _takes_cpu_torch():
        words += ["--torch-backend", "cpu"] if _uv() else ["--extra-index-url", CPU_INDEX]
    return shlex.join([*words, *map(str, wanted)])


def _joined(calls: Sequence[str]) -> str:
    first = []
    if _managed():
        first = [shlex.join([sys.executable, "-m", "venv", "--system-site-packages", FRESH])]
    elif not _has_pip() and not _uv():
        first = [shlex.join([sys.executable, "-m", "ensurepip"])]
    return " && ".join([*first, *calls])


def _installer() -> list[str]:
    return ["uv", "pip"] if _uv() else [_python(), "-m", "pip"]


def _again() -> list[str]:
    return ["--reinstall"] if _uv() else ["--force-reinstall"]


def _python() -> str:
    return f"{FRESH}/bin/python" if _managed() else sys.executable


def _has_pip() -> bool:
    return requirements.is_there("pip")


def _uv() -> bool:
    """Whether uv has to install: there is no pip here, since uv made the environment, and uv is what there is."""
    if _managed() or _has_pip():
        return False
    try:
        made = (Path(sys.prefix) / "pyvenv.cfg").read_text(encoding="utf-8")
    except OSError:
        made = ""
    return "\nuv = " in f"\n{made}" or shutil.which("uv") is not None


def _managed() -> bool:
    """Whether the Python that runs is the system's, and asks not to be changed (PEP 668)."""
    in_environment = sys.prefix != sys.base_prefix
    return not in_environment and (Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED").is_file()


def _takes_cpu_torch() -> bool:
    """On Linux, unless a build of torch that computes elsewhere is there already."""
    there = requirements.version_of("torch") if requirements.is_there("torch") else None
    return sys.platform == "linux" and (there is None or there.endswith("+cpu"))
