"""The wheel of this checkout, built from a copy so that the checkout stays clean."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def copy_of_checkout(folder: Path) -> Path:
    """What git knows or would know of the checkout, links as links, in ``folder/source``."""
    files = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, files):
        source, target = ROOT / name, folder / "source" / name
        if source.is_symlink() or source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_symlink():
                target.symlink_to(source.readlink())
            else:
                target.write_bytes(source.read_bytes())
    return folder / "source"


def built(folder: Path, *which: str) -> Path:
    """The folder with what ``python -m build`` makes: the source distribution and the wheel, or what is named."""
    source = copy_of_checkout(folder)
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", *which, "--outdir", folder / "dist", source],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder / "dist"


def wheel_of_checkout(folder: Path) -> Path:
    """The wheel alone."""
    (wheel,) = built(folder, "--wheel").glob("*.whl")
    return wheel
