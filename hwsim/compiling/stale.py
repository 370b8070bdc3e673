"""Compiled kernels on disk: kept from one process to the next, but not longer than the sources they were made from.

numba keeps compiled functions beside their source and compiles anew when *that file* has changed, but not when a
function that it calls, or that was inlined into it, has changed in another file. So the name of whatever is kept ends
in a digest of all sources of hwsim, and kernels of other sources are not even looked for; they are removed when the
first new one is written. A file is whole or not there, and one that another process has removed is made again, so
processes that start at once do not disturb each other.

Decorating a function does nothing of this, unlike ``numba.njit(cache=True)``, which creates a folder and tries whether
it can write there: whether there is a kernel on disk is asked when the function is first called or compiled into
another. Where numba finds no folder that it can write to, kernels are kept among temporary files; where nothing can be
written, nothing is kept. Kernels beside sources that are read-only, as the image of a container has them, are read.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from numba.core import caching
from numba.core.caching import CompileResultCacheImpl, FunctionCache, NullCache

from neurodeploy import hwsim
from neurodeploy.files import kernels

ROOT = Path(hwsim.__path__[0])
BEGUN_NS = time.time_ns()
"""When this process began to import the sources."""
MARK = ".sources-"
COMPILING = "neurodeploy.compiling"
"""Name of the logger that says when kernels are compiled and kept."""

_DAMAGED = (OSError, EOFError, pickle.UnpicklingError)

_log = logging.getLogger(__name__)


@cache
def digest(root: Path) -> str:
    """Return a digest of all sources below a folder; it is taken once in a process."""
    mark = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        content = path.read_bytes()
        mark.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return mark.hexdigest()[:16]


def untouched(root: Path) -> bool:
    """Whether the sources on disk are still those that this process imported."""
    return all(path.stat().st_mtime_ns <= BEGUN_NS for path in root.rglob("*.py"))


def drop_stale(folder: Path, kept: str) -> int:
    """Remove the kernels of other sources than those of the digest ``kept`` from a folder; how many files."""
    stale = [path for path in folder.glob(f"*{MARK}*.nb[ic]") if f"{MARK}{kept}." not in path.name]
    for path in stale:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:  # it stays, and nobody reads it
            _log.info("cannot remove %s: %s", path, error)
    return len(stale)


@cache
def _warn(reason: str) -> None:
    """Say once in a process why every run will take longer."""
    _log.warning(
        "compiled kernels cannot be kept, so every process compiles them anew (10 to 60 s): %s. "
        "To keep them, let NUMBA_CACHE_DIR name a folder that can be written to.",
        reason,
    )


@cache
def _tell(folder: Path | None = None) -> None:
    """Say once in a process what takes so long, and where kernels are kept if that is a makeshift."""
    makeshift = folder is not None and folder.parent == kernels.temporary_folder()
    where = f"; kept in {folder.parent}, NUMBA_CACHE_DIR names a folder that lasts" if folder and makeshift else ""
    logging.getLogger(COMPILING).info("compiling kernels, once for this version and machine (10 to 60 s)%s", where)


class _Named(CompileResultCacheImpl):
    """numba's names of files, with the digest of all sources."""

    def get_filename_base(self, fullname: str, abiflags: str) -> str:
        base = super().get_filename_base(fullname, abiflags)  # type: ignore[no-untyped-call]
        return f"{base}{MARK}{digest(ROOT)}"


class _OnDisk(FunctionCache):
    _impl_class = _Named


_BESIDE: Any = getattr(caching, "InTreeCacheLocator", None) or getattr(caching, "_InTreeCacheLocator", None)
"""numba's name for kernels beside their source; it had an underscore before numba 0.62."""


class _Beside(_Named):
    """Kernels beside their source, to be read only."""

    def __init__(self, function: Callable[..., Any]) -> None:
        class Reading(_BESIDE):  # type: ignore[misc]
            def ensure_cache_path(self) -> None:
                """Nothing is written."""

        self._locator_classes = [Reading]
        super().__init__(function)  # type: ignore[no-untyped-call]


class _ReadOnly(FunctionCache):
    _impl_class = _Beside


class Kept(NullCache):
    """What numba asks for a function's compiled forms; looks at the disk when first asked."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    @cached_property
    def _disk(self) -> Any:
        try:
            if untouched(ROOT):
                return kernels.kept(lambda: _OnDisk(self._function))  # type: ignore[no-untyped-call]
        except (OSError, RuntimeError) as error:  # numba's own where it finds no folder that it can write to
            _warn(str(error))
        return NullCache()

    @cached_property
    def _read_only(self) -> Any:
        """Where somebody else left kernels for us: beside the source, and we may not write there."""
        beside = Path(self._function.__code__.co_filename).with_name("__pycache__")
        if _BESIDE is None or not beside.is_dir() or os.access(beside, os.W_OK) or not untouched(ROOT):
            return NullCache()
        return _ReadOnly(self._function)  # type: ignore[no-untyped-call]

    @property
    def cache_path(self) -> Any:
        return self._disk.cache_path

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            found = self._disk.load_overload(sig, target_context)
            if found is None:
                found = self._read_only.load_overload(sig, target_context)
            if found is None and self._disk.cache_path is not None:
                _tell(Path(self._disk.cache_path))
            return found
        except _DAMAGED as error:
            _log.info("a compiled kernel cannot be read and is made again: %s", error)
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        if self._disk.cache_path is None or not untouched(ROOT):
            return
        try:
            _tidied(Path(self._disk.cache_path))
            self._disk.save_overload(sig, data)
        except _DAMAGED as error:  # the disk is full, or was taken away
            _log.info("a compiled kernel is not kept: %s", error)

    def flush(self) -> None:
        self._disk.flush()


@cache
def _tidied(folder: Path) -> int:
    return drop_stale(folder, digest(ROOT))
