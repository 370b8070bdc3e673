"""Packages of a reader's own, installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from neurodeploy.network import dispatch


def installed(folder: Path) -> None:
    """``pip install .`` of the page's package, into the page's folder, which is the first place where Python looks."""
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--no-index"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder), "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    dispatch.models.cache_clear()
