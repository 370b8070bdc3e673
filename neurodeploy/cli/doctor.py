"""``neurodeploy doctor``: what is installed, what works, what to do."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
from importlib import metadata
from pathlib import Path

from neurodeploy import __version__

from . import EXTRAS, how_to_install
from .console import Console

Row = tuple[str, str, str, str]
"""What, what was found, ``ok`` / ``missing`` / ``broken``, what to do."""

_NEEDED = ("numpy", "scipy", "networkx", "h5py", "nir", "numba", "pydantic", "pyyaml", "jinja2", "rich")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="machine-readable")


def run(args: argparse.Namespace, console: Console) -> int:
    rows: list[Row] = [
        ("neurodeploy", __version__, "ok", ""),
        ("Python", f"{platform.python_version()} ({sys.executable})", "ok", ""),
        *(_package(name, None) for name in _NEEDED),
        *(
            _package("scikit-learn" if name == "sklearn" else name, how_to_install(name))
            for name in (*EXTRAS, "sinabs")
        ),
        _kernels(),
        _lava(),
        _chips(),
        _disk(),
    ]
    console.table(("what", "found", "state", "to do"), rows)
    broken = [row for row in rows if row[2] == "broken"]
    missing = [row[0] for row in rows if row[2] == "missing"]
    if broken:
        console.say(f"{len(broken)} thing(s) must be repaired: {', '.join(row[0] for row in broken)}")
    elif missing:
        console.say(f"everything needed works; not installed: {', '.join(missing)}")
    else:
        console.say("everything works")
    console.result([dict(zip(("what", "found", "state", "todo"), row, strict=True)) for row in rows])
    return 1 if broken else 0


def _package(name: str, install: str | None) -> Row:
    try:
        return (name, metadata.version(name), "ok", "")
    except metadata.PackageNotFoundError:
        if install is None:
            return (name, "not installed", "broken", "pip install neurodeploy -c constraints.txt")
        return (name, "not installed", "missing", install)


def _kernels() -> Row:
    try:
        import numpy as np

        from neurodeploy.hwsim.function import neuron_kernels

        events = neuron_kernels.list_events(np.array([[0, 1]], np.uint8), np.zeros(2, np.int64), np.zeros(2, np.int32))
        state = ("compiled and run", "ok", "") if events == 1 else ("wrong result", "broken", "reinstall numba")
    except Exception as error:  # whatever numba or llvm raise on this machine is the finding
        state = (str(error).split("\n")[0], "broken", "reinstall numba (pip install --force-reinstall numba)")
    return ("hwsim kernels", *state)


def _lava() -> Row:
    from neurodeploy.backends.lava.setup import status

    found = status()
    if not found.installed:
        return ("Lava", found.problem or "not set up", "missing", found.hint or "neurodeploy lava setup")
    text = f"{found.lava_version}, Python {found.python_version}, numpy {found.numpy_version} ({found.python})"
    chip = "with" if found.loihi_extension else "without"
    return ("Lava", f"{text}, {chip} Intel's Loihi 2 extension", "ok", "")


def _chips() -> Row:
    from neurodeploy.errors import NeurodeployError
    from neurodeploy.hwsim.chips.arch import available, load_architecture

    try:
        names = [load_architecture(name).name for name in available()]
    except NeurodeployError as error:
        return ("architecture files", error.what, "broken", "reinstall neurodeploy")
    return ("architecture files", ", ".join(names), "ok", "")


def _disk() -> Row:
    here = Path.cwd()
    free = shutil.disk_usage(here).free / 1e9
    if not os.access(here, os.W_OK):
        return ("current folder", f"{here} is not writable", "missing", "change to a folder you may write to")
    return ("current folder", f"{here}: {free:.1f} GB free", "ok" if free > 1 else "missing",
            "" if free > 1 else "free some space: the environments need about 2 GB")  # fmt: skip
