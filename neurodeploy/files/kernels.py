"""Where compiled kernels are kept when numba finds no folder for them: a folder of this user's among temporary files.

numba looks at ``NUMBA_CACHE_DIR``, beside the source and in the user's cache, and gives up where it cannot write: in a
container that is read-only, or for a user without a home.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def kept(make: Callable[[], T]) -> T:
    """What ``make`` makes, which asks numba for a folder; asked again with a temporary folder where numba has none.

    Raises:
        RuntimeError: numba's own: nothing can be written anywhere.
    """
    try:
        return make()
    except RuntimeError:
        folder = temporary_folder()
        if folder is None:
            raise
    from numba.core import config as numba_config

    config: Any = numba_config
    before = config.CACHE_DIR
    config.CACHE_DIR = str(folder)
    try:
        return make()
    finally:
        config.CACHE_DIR = before


def temporary_folder() -> Path | None:
    """A folder that belongs to this user, which nobody else may write to, as what lies there is run; None for none."""
    try:
        folder = Path(tempfile.gettempdir()) / f"neurodeploy-kernels-{os.geteuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    private = found.st_uid == os.geteuid() and not found.st_mode & 0o077
    return folder if stat.S_ISDIR(found.st_mode) and private else None
