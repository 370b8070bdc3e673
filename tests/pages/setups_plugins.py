"""Packages of a reader's own, installed."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path

from neurodeploy.network import dispatch

from . import blocks


def installed(folder: Path) -> None:
    """``pip install .`` of the page's package, into the page's folder, which is the first place where Python looks."""
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--no-index"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder), "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    dispatch.models.cache_clear()
    with contextlib.suppress(ModuleNotFoundError):
        from neurodeploy.exporters import framework

        framework._registered.cache_clear()


def izhikevich(folder: Path) -> None:
    """The modules of tests/foreign/package."""
    for path in (blocks.ROOT / "tests" / "foreign" / "package").glob("*.py"):
        shutil.copy(path, folder)
