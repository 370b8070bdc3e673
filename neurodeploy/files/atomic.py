"""Writing files so that nothing half-written is ever left behind."""

from __future__ import annotations

import errno
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from neurodeploy.errors import InvalidInputError, MissingFileError, StorageError

_HINTS = {
    errno.ENOSPC: "free some space or write to another disk",
    errno.EACCES: "choose a folder you may write to, or change its permissions",
    errno.EPERM: "choose a folder you may write to, or change its permissions",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.ENOTDIR: "a part of the path is a file, not a folder: choose another path",
    errno.EISDIR: "the path is a folder: give a file name inside it",
}


_SPECIAL = {
    "pipe (FIFO)": Path.is_fifo,
    "socket": Path.is_socket,
    "character device": Path.is_char_device,
    "block device": Path.is_block_device,
}


_POINTER, _POINTER_SIZE = b"version https://git-lfs.github.com/spec/", 1024
"""How a pointer of Git LFS begins, and its largest size in bytes (its specification)."""


_PART = re.compile(r"\.(.+)\.\w{8}\.part")
"""Name of a temporary file of `atomic_path`."""


@contextmanager
def storage_errors(action: str, path: Path) -> Iterator[None]:
    """Turn any ``OSError`` inside the block into a `StorageError` that names ``path``, or what it is to replace."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        hint = _HINTS.get(error.errno or 0, "check the path and the disk, then run the command again")
        wanted = _PART.fullmatch(path.name)
        shown = path.with_name(wanted[1]) if wanted else path
        raise StorageError(f"cannot {action} {shown}", found=error.strerror or str(error), hint=hint) from error


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it onto ``path`` only if the block succeeds.

    The temporary file is removed on any failure, Ctrl-C included. Through a symbolic link its target is written.

    Raises:
        StorageError: the folder cannot be written to, the disk is full, or ``path`` is a device, a pipe or a socket,
            which a rename would destroy.
    """
    path = _target(Path(path))
    make_folder(path.parent)
    with storage_errors("write", path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(descriptor)
        temporary = Path(name)
        try:
            yield temporary
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def _target(path: Path) -> Path:
    """What a link leads to, and only what may be replaced by a file."""
    with storage_errors("write", path):
        target = path
        if path.is_symlink():
            target = Path(os.path.realpath(path))
            if target.is_symlink():  # only of a circle a link is left
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if target.exists() and not (target.is_file() or target.is_dir()):
            kind = next((name for name, of in _SPECIAL.items() if of(target)), "special file")
            raise StorageError(
                f"cannot write {path}",
                found=f"a {kind}",
                allowed="a regular file, or a name that is free",
                hint="choose another name, and copy the file to where it should go",
            )
    return target


def make_folder(folder: Path) -> None:
    """Create ``folder`` and its parents.

    Raises:
        StorageError: it cannot be created.
    """
    with storage_errors("create the folder", folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from error


def write_text(path: Path | str, text: str) -> None:
    """Write ``text`` atomically in UTF-8; what is no character (a lone surrogate) is written as its escape."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path | str, value: Any, default: Callable[[Any], Any] | None = None) -> None:
    """Write ``value`` atomically as indented JSON."""
    write_text(path, json.dumps(value, indent=2, default=default, allow_nan=False) + "\n")


def existing_file(path: Path | str, kind: str) -> Path:
    """Return ``path`` if it is a readable file.

    Raises:
        MissingFileError: there is no such file, or it is a folder.
        StorageError: it may not be read.
        InvalidInputError: it is a pointer of Git LFS, which stands where the file should.
    """
    path = Path(path)
    if path.is_dir():
        raise MissingFileError(f"{path} is a folder, not {kind}", hint=f"give the path of {kind}")
    if not path.exists():
        raise MissingFileError(f"{path} does not exist", allowed=kind, hint="check the spelling and the current folder")
    with storage_errors("read", path), path.open("rb") as handle:
        head = handle.read(_POINTER_SIZE) if path.is_file() else b""
    if head.startswith(_POINTER):
        size = next((line[5:] for line in head.decode("utf-8", "replace").splitlines() if line[:5] == "size "), "")
        raise InvalidInputError(
            f"{path} is a pointer of Git LFS, not {kind}",
            found="the text that Git keeps in place of a large file" + (f" of {size} bytes" if size else ""),
            allowed=kind,
            hint="fetch the file itself: run git lfs install and git lfs pull in its repository, or download it",
        )
    return path
