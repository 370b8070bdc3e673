"""What is installed here, what works, and what to do."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from neurodeploy import __version__
from neurodeploy.files.tables import html_table

from .extras import EXTRAS, how_to_install

COLUMNS = ("what", "found", "state", "to do")
NEEDED = ("numpy", "scipy", "networkx", "h5py", "nir", "numba", "pydantic", "pyyaml", "jinja2", "rich")
"""Packages without which nothing works."""

State = Literal["ok", "missing", "broken"]
"""``missing`` is what one can do without."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Args:
        what: its name.
        found: version, place or finding.
        state: whether it works.
        todo: what to do; empty where it is in order.
    """

    what: str
    found: str
    state: State = "ok"
    todo: str = ""


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """What `doctor` found."""

    checks: tuple[Check, ...]

    @property
    def broken(self) -> tuple[Check, ...]:
        """What must be repaired."""
        return tuple(check for check in self.checks if check.state == "broken")

    @property
    def missing(self) -> tuple[Check, ...]:
        """What is optional and not there."""
        return tuple(check for check in self.checks if check.state == "missing")

    def as_json(self) -> list[dict[str, str]]:
        """All checks for scripts; what ``neurodeploy doctor --json`` prints."""
        return [dict(vars(check)) for check in self.checks]

    def rows(self) -> list[tuple[str, ...]]:
        """A row a check: see `COLUMNS`."""
        return [(check.what, check.found, check.state, check.todo) for check in self.checks]

    def __repr__(self) -> str:
        return f"<Diagnosis: {self}>"

    def __str__(self) -> str:
        if self.broken:
            return f"{len(self.broken)} thing(s) must be repaired: {', '.join(c.what for c in self.broken)}"
        if self.missing:
            return f"everything needed works; not installed: {', '.join(c.what for c in self.missing)}"
        return "everything works"

    def _repr_html_(self) -> str:
        return html_table(COLUMNS, self.rows(), str(self))


def doctor() -> Diagnosis:
    """Look at Python, packages, the compiled kernels, Lava, the chips' files and the current folder."""
    optional = {"scikit-learn" if name == "sklearn" else name: how_to_install(name) for name in (*EXTRAS, "sinabs")}
    return Diagnosis((
        Check("neurodeploy", __version__),
        Check("Python", f"{platform.python_version()} ({sys.executable})"),
        *(_package(name, None) for name in NEEDED),
        *(_package(name, install) for name, install in optional.items()),
        _kernels(),
        _lava(),
        _chips(),
        _disk(),
    ))  # fmt: skip


def _package(name: str, install: str | None) -> Check:
    try:
        return Check(name, metadata.version(name))
    except metadata.PackageNotFoundError:
        if install is None:
            return Check(name, "not installed", "broken", "pip install neurodeploy -c constraints.txt")
        return Check(name, "not installed", "missing", install)


def _kernels() -> Check:
    try:
        import numpy as np

        from neurodeploy.hwsim.function import neuron_kernels

        events = neuron_kernels.list_events(np.array([[0, 1]], np.uint8), np.zeros(2, np.int64), np.zeros(2, np.int32))
    except Exception as error:  # whatever numba or llvm raise on this machine is the finding
        said = str(error).split("\n")[0]
        return Check("hwsim kernels", said, "broken", "reinstall numba (pip install --force-reinstall numba)")
    if events != 1:
        return Check("hwsim kernels", "wrong result", "broken", "reinstall numba")
    return Check("hwsim kernels", "compiled and run")


def _lava() -> Check:
    from neurodeploy.backends.lava.setup import status

    found = status()
    if not found.installed:
        return Check("Lava", found.problem or "not set up", "missing", found.hint or "neurodeploy lava setup")
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
