"""Compiled kernels that are older than a source they were made from.

numba keeps compiled functions beside their source and compiles anew when *that file* has changed, but not when a
function that it calls, or that was inlined into it, has changed in another file. So whenever any source below this
folder is not what it was, all of them are compiled anew.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

STAMP = "kernels.stamp"


def drop_stale(folder: Path) -> bool:
    """Remove a folder's compiled kernels if its sources have changed since they were made; whether it did.

    Where nothing may be written there, numba keeps nothing there either.
    """
    cache, mark = folder / "__pycache__", hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        found = path.stat()
        mark.update(f"{path.relative_to(folder)} {found.st_size} {found.st_mtime_ns}\n".encode())
    stamp = cache / STAMP
    try:
        if stamp.is_file() and stamp.read_text() == mark.hexdigest():
            return False
        cache.mkdir(exist_ok=True)
        for path in folder.rglob("*.nb[ic]"):
            path.unlink(missing_ok=True)
        stamp.write_text(mark.hexdigest())
    except OSError:
        return False
    return True
