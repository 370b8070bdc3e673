"""Opening HDF5 files of strangers: nothing outside the file is touched, nothing larger than plausible is read.

A file is refused before any of its data is read if it links elsewhere (external links and data, virtual data sets,
soft links), if a group stands in several places, or if it declares more data than its bytes could hold: HDF5's
compression reaches 1032:1 at most, and data that was never written takes no space at all.

libhdf5 trusts what it reads: on damaged files it unpacks chunks beyond their size, loops for ever over a broken heap of
strings, or crashes on sequences of unequal length. `neurodeploy.files.hdf5_damage` looks at these places first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurodeploy.errors import InvalidInputError, NeurodeployError, UnsupportedError
from neurodeploy.network.arrays import Array

from .atomic import existing_file, storage_errors
from .hdf5_damage import check_dataset, check_heaps

if TYPE_CHECKING:
    import h5py

RATIO = 1100
"""Declared bytes for each byte of the file that are still believed."""

LARGE, LARGE_RATIO = 1 << 30, 20
"""From this many declared bytes on (as 64-bit numbers), only `LARGE_RATIO` times the file's size is believed."""

_DAMAGE = (OSError, LookupError, RuntimeError, ValueError, TypeError, AttributeError, OverflowError, MemoryError)
"""What h5py raises on a damaged file."""


def digest(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        StorageError: it cannot be read.
    """
    with storage_errors("read", path), path.open("rb") as handle:
        return file_digest(handle, "sha256").hexdigest()


@contextmanager
def opened(path: Path, *, kind: str, suffix: str, allowed: str, needs: str) -> Iterator[h5py.File]:
    """Yield an HDF5 file that is safe to read; what h5py raises inside becomes an `InvalidInputError`.

    Args:
        kind: of the content ("a NIR graph").
        suffix: of such files (".nir").
        allowed: what would have been accepted instead of another kind of file.
        needs: what would have been accepted instead of a damaged one.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: not HDF5, truncated, damaged, or it declares more data than it can hold.
        UnsupportedError: it links to other files or within itself.
    """
    import h5py

    path = existing_file(path, f"a {suffix} file")
    try:
        file = h5py.File(path, "r")
    except (*_DAMAGE, SystemError) as error:
        truncated = "truncated" in str(error)
        raise InvalidInputError(
            f"{path} is {'a truncated' if truncated else 'not an'} HDF5 file",
            found=first_line(error) if truncated else f"{path.stat().st_size} bytes that do not start as HDF5 does",
            allowed=allowed,
            hint="export or copy the file again" if truncated else f"check that this is the {suffix} file you meant",
        ) from error
    with file:
        try:
            check_heaps(file, path)
            _check(file, path)
            yield file
        except NeurodeployError:
            raise
        except _DAMAGE as error:
            raise damaged(path, kind, needs, f"{type(error).__name__}: {first_line(error)}") from error


def damaged(path: Path, kind: str, allowed: str, found: str) -> InvalidInputError:
    """The error for a file of the right kind that cannot be read."""
    return InvalidInputError(
        f"{path} is damaged or not {kind}", found=found, allowed=allowed, hint="export the network again"
    )


def first_line(error: BaseException) -> str:
    """The first line of an exception's text, for ``found``."""
    return str(error).strip().split("\n")[0] or type(error).__name__


def text(value: Any) -> str:
    """A string from what HDF5 gave back: bytes, str, or an array of one of them."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def plain(value: Any) -> Any:
    """A string, number, bool or array from what HDF5 gave back."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.item() if hasattr(value, "item") and getattr(value, "size", 1) == 1 else value


def numbers(value: Any) -> Array | None:
    """A numeric array in the machine's byte order, or None if the value is not numeric."""
    array = np.asarray(value)
    if array.dtype.kind not in "iufb":
        return None
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        return array.astype(np.float64)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _check(file: h5py.File, path: Path) -> None:
    import h5py

    seen: set[int] = set()
    total = 0
    waiting: list[tuple[h5py.Group, str]] = [(file, "/")]
    while waiting:
        group, prefix = waiting.pop()
        address = int(h5py.h5o.get_info(group.id).addr)
        if address in seen:
            raise InvalidInputError(
                f"{path}: the group {prefix} stands in several places of the file",
                allowed="every group in one place",
                hint="export the network again",
            )
        seen.add(address)
        for key in group:
            _check_link(path, f"{prefix}{key}", group.get(key, getlink=True))
            item = group[key]
            if isinstance(item, h5py.Group):
                waiting.append((item, f"{prefix}{key}/"))
            elif isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual:
                    raise UnsupportedError(
                        f"{path} keeps the data of {prefix}{key} in another file",
                        allowed="a file that holds all its own data",
                        hint="export the network again into one file",
                    )
                total += int(item.size or 0) * max(item.dtype.itemsize, 8)
                _check_size(path, f"{prefix}{key}", total)
                check_dataset(item, path, f"{prefix}{key}")


def _check_link(path: Path, where: str, link: Any) -> None:
    import h5py

    if isinstance(link, h5py.ExternalLink):
        raise UnsupportedError(
            f"{path} links to another file at {where}",
            found=link.filename,
            allowed="a file that holds all its own data",
            hint="export the network again into one file",
        )
    if not isinstance(link, h5py.HardLink):
        raise UnsupportedError(
            f"{path} has a soft link at {where}",
            found=getattr(link, "path", type(link).__name__),
            allowed="a file that holds its data where it is named",
            hint="export the network again",
        )


def _check_size(path: Path, where: str, total: int) -> None:
    size = path.stat().st_size
    allowed = max(RATIO * size, 1 << 20)
    if total > allowed or (total > LARGE and total > LARGE_RATIO * size):
        allowed = min(allowed, LARGE_RATIO * size) if total > LARGE else allowed
        raise InvalidInputError(
            f"{path} declares more data than it can hold, up to {where}",
            found=f"{total:,} bytes declared in a file of {size:,}",
            allowed=f"up to {allowed:,}",
            hint="export the network again; if the file is from a stranger, do not trust it",
        )
