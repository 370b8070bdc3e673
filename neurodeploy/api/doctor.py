"""What is installed here, what works, and what to do. It works where anything that neurodeploy needs is missing."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from neurodeploy import __version__
from neurodeploy.files.tables import html_table
from neurodeploy.packages import commands, requirements

from .capabilities import NEEDS, Capability, capability

COLUMNS = ("what", "found", "state")
CAPABILITY_COLUMNS = ("what you can do here", "works", "lacks")

State = Literal["ok", "missing", "broken"]
"""``missing`` is what one can do without."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Args:
        what: its name.
        found: version, place or finding.
        state: whether it works.
        todo: what to do, for a package the command on one line; empty where it is in order.
    """

    what: str
    found: str
    state: State = "ok"
    todo: str = ""


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """What `doctor` found: what was looked at, and what can be done here."""

    checks: tuple[Check, ...]
    capabilities: tuple[Capability, ...] = ()

    @property
    def broken(self) -> tuple[Check, ...]:
        """What must be repaired."""
        return tuple(check for check in self.checks if check.state == "broken")

    @property
    def missing(self) -> tuple[Check, ...]:
        """What is optional and not there."""
        return tuple(check for check in self.checks if check.state == "missing")

    @property
    def todo(self) -> dict[str, str]:
        """What to do, each once, what must be done first; and for what it is."""
        found: dict[str, list[str]] = {}
        for check in (*self.broken, *self.missing):
            if check.todo:
                found.setdefault(check.todo, []).append(check.what)
        for done in self.capabilities:
            if done.todo and not self.broken:
                found.setdefault(done.todo, []).append(done.what)
        if len(self.missing) > 1 and not self.broken:
            found.setdefault(commands.how_to_install_all(), []).append("everything, sinabs and Lava apart")
        return {command: ", ".join(what) for command, what in found.items()}

    def as_json(self) -> dict[str, Any]:
        """All of it for scripts; what ``neurodeploy doctor --json`` prints."""
        return {
            "checks": [dict(vars(check)) for check in self.checks],
            "capabilities": [dict(vars(done)) for done in self.capabilities],
            "to_do": [{"what": what, "command": command} for command, what in self.todo.items()],
        }

    def rows(self) -> list[tuple[str, ...]]:
        """A row a check: see `COLUMNS`."""
        return [(check.what, check.found, check.state) for check in self.checks]

    def capability_rows(self) -> list[tuple[str, ...]]:
        """A row a capability: see `CAPABILITY_COLUMNS`."""
        return [(done.what, "yes" if done.works else "no", done.lacks) for done in self.capabilities]

    def __repr__(self) -> str:
        return f"<Diagnosis: {self}>"

    def __str__(self) -> str:
        if self.broken:
            return f"{len(self.broken)} thing(s) must be repaired: {', '.join(c.what for c in self.broken)}"
        if self.missing:
            return f"everything needed works; not installed: {', '.join(c.what for c in self.missing)}"
        return "everything works"

    def _repr_html_(self) -> str:
        done = html_table(CAPABILITY_COLUMNS, self.capability_rows(), "what works here")
        todo = html_table(("for", "to do"), [(what, command) for command, what in self.todo.items()])
        return html_table(COLUMNS, self.rows(), str(self)) + done + (todo if self.todo else "")


def doctor(*, compile_kernels: bool = False) -> Diagnosis:
    """Look at Python, packages, the compiled kernels, Lava, the chips' files and the current folder.

    Args:
        compile_kernels: compile now what `compile`, `run` and `cost` would compile when first used (10 to 60 s).
    """
    needed = [_needed(r) for r in requirements.needed()]
    kernels = _guarded("hwsim kernels", _all_kernels if compile_kernels else _kernels)
    lava = _guarded("Lava", _lava)
    checks = (
        Check("neurodeploy", __version__),
        Check("Python", f"{platform.python_version()} ({sys.executable})"),
        *needed,
        *(_optional(module) for module in (*requirements.EXTRA_OF, *commands.SINABS)),
        kernels,
        lava,
        _guarded("architecture files", _chips),
        _disk(),
    )
    hinders = ", ".join(check.what for check in (*needed, kernels) if check.state == "broken")
    without = (lava.found, lava.todo) if lava.state != "ok" else ("", "")
    return Diagnosis(checks, tuple(capability(what, hinders, without) for what in NEEDS))


def _needed(requirement: requirements.Requirement) -> Check:
    return _package(requirement, "broken", commands.how_to_install(requirement.module) or "")


def _optional(module: str) -> Check:
    """An optional package, and the command for its extra."""
    command = commands.how_to_install(module) or ""
    asked = {r.module: r for r in requirements.of_module(module)}.get(module, requirements.Requirement(module))
    found = _package(asked, "missing", command)
    return found if asked.available else Check(found.what, "no build for this machine and Python", "missing")


def _package(asked: requirements.Requirement, without: State, todo: str) -> Check:
    if not requirements.is_there(asked.module):
        return Check(asked.name, "not installed", without, todo)
    version = requirements.version_of(asked.name)
    if version and not asked.met_by(version):
        return Check(asked.name, f"{version}; needed: {asked.versions}", without, commands.install([asked]))
    return Check(asked.name, version or "of unknown version")


def _guarded(what: str, look: Callable[[], Check]) -> Check:
    """What was found, or the package without which one cannot look."""
    try:
        return look()
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        return Check(what, f"needs {name}, which is not installed", "broken", commands.how_to_install(name) or "")


def _all_kernels() -> Check:
    found = _kernels()
    if found.state == "ok":
        from .warming import warm

        warm()
        return Check(found.what, "all compiled and run")
    return found


def _kernels() -> Check:
    again = commands.reinstall("numba", "llvmlite")
    try:
        import numpy as np

        from neurodeploy.hwsim.function import neuron_kernels

        events = neuron_kernels.list_events(np.array([[0, 1]], np.uint8), np.zeros(2, np.int64), np.zeros(2, np.int32))
    except ModuleNotFoundError:
        raise
    except Exception as error:  # whatever numba or llvm raise on this machine is the finding
        return Check("hwsim kernels", str(error).split("\n")[0], "broken", again)
    if events != 1:
        return Check("hwsim kernels", "wrong result", "broken", again)
    return Check("hwsim kernels", "compiled and run")


def _lava() -> Check:
    from neurodeploy.backends.lava.setup import HINT, status

    found = status()
    if not found.installed:
        todo = commands.ours("lava", "setup") if found.hint == HINT else found.hint or ""
        return Check("Lava", found.problem or "not set up", "missing", todo)
    text = f"{found.lava_version}, Python {found.python_version}, numpy {found.numpy_version} ({found.python})"
    chip = "with" if found.loihi_extension else "without"
    return Check("Lava", f"{text}, {chip} Intel's Loihi 2 extension")


def _chips() -> Check:
    from neurodeploy.errors import NeurodeployError
    from neurodeploy.hwsim.chips.arch import available, load_architecture

    try:
        names = [load_architecture(name).name for name in available()]
    except NeurodeployError as error:
        return Check("architecture files", error.what, "broken", "reinstall neurodeploy")
    return Check("architecture files", ", ".join(names))


def _disk() -> Check:
    here = Path.cwd()
    free = shutil.disk_usage(here).free / 1e9
    if not os.access(here, os.W_OK):
        return Check("current folder", f"{here} is not writable", "missing", "change to a folder you may write to")
    found = f"{here}: {free:.1f} GB free"
    if free < 1:
        return Check("current folder", found, "missing", "free some space: the environments need about 2 GB")
    return Check("current folder", found)
