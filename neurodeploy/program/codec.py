"""Lossless storage of the frozen dataclasses: a ZIP of ``header.json`` and plain ``.npy`` arrays.

Only the types that the caller knows are ever built, and arrays are read without pickle, so a file from a stranger can
do no harm beyond being refused. Times and order in the archive are fixed: equal objects give equal bytes.
"""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.errors import InvalidInputError, NeurodeployError, UnsupportedError
from neurodeploy.files.atomic import atomic_path, existing_file, storage_errors
from neurodeploy.network.schema import LATER as LATER

LARGEST_HEADER = 64 << 20
"""Bytes of the names and options of a file; some 100,000 populations take so many."""

_EPOCH = (1980, 1, 1, 0, 0, 0)
DAMAGED = (
    zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, LookupError, TypeError, ValueError, EOFError,
    AttributeError, OSError,
)  # fmt: skip
"""What a damaged file raises, beside what the dataclasses themselves refuse."""


def save(value: Any, path: Path, kind: str, version: int, types: Iterable[type]) -> None:
    """Write ``value``, made of the dataclasses ``types``, atomically.

    Raises:
        UnsupportedError: it holds another type, which `load` would not know.
        StorageError: the folder cannot be written to, or the disk is full.
    """
    arrays: list[np.ndarray[Any, Any]] = []
    header = {"format": kind, "version": version, "value": encode(value, arrays, frozenset(types))}
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        _add(archive, "header.json", json.dumps(header, indent=1, allow_nan=False).encode())
        for index, array in enumerate(arrays):
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, array, allow_pickle=False)
            _add(archive, f"arrays/{index}.npy", buffer.getvalue())


def load(path: Path, kind: str, version: int, find: Callable[[str], type]) -> Any:
    """Read what `save` wrote.

    Args:
        find: gives the dataclass of a name, or refuses it; nothing else is ever built.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: another kind of file, a damaged one, or a newer version.
    """
    existing_file(path, f"a {kind} file")
    with storage_errors("read", path), path.open("rb") as handle:
        try:
            with zipfile.ZipFile(handle) as archive:
                _check_sizes(archive)
                header = json.loads(archive.read("header.json"))
                found = header["format"], header["version"]
                if found[0] == kind and found[1] <= version:
                    members = {name for name in archive.namelist() if name.startswith("arrays/")}
                    arrays = [_read_array(archive, f"arrays/{index}.npy") for index in range(len(members))]
                    return decode(header["value"], arrays, find)
        except NeurodeployError as error:
            raise InvalidInputError(f"{path} is not a valid {kind}", found=error.what, hint=error.hint) from error
        except DAMAGED as error:
            raise InvalidInputError(
                f"{path} is damaged or not a {kind}",
                found=f"{type(error).__name__}: {error}",
                hint="write it again, or fetch it again if it was downloaded",
            ) from error
    if found[0] != kind:
        raise InvalidInputError(f"{path} is another kind of file", found=found[0], allowed=kind)
    raise InvalidInputError(
        f"{path} was written by a newer neurodeploy",
        found=f"format version {found[1]}",
        allowed=f"format version {version} or older",
        hint="upgrade neurodeploy, or compile the network again with this one",
    )


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, date_time=_EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, data, compresslevel=4)


def _check_sizes(archive: zipfile.ZipFile) -> None:
    """Look at sizes before anything is unpacked.

    Raises:
        InvalidInputError: the header or all arrays together are larger than they may be.
    """
    header = archive.getinfo("header.json").file_size
    total, there = sum(member.file_size for member in archive.infolist()), physical_memory()
    for what, size, most in (("its header", header, LARGEST_HEADER), ("it", total, there)):
        if size > most:
            raise InvalidInputError(
                f"{what} would take {size / 2**20:,.0f} MiB unpacked, more than the {most / 2**20:,.0f} MiB there are"
            )


def physical_memory() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray[Any, Any]:
    with archive.open(name) as member:
        version = np.lib.format.read_magic(member)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, _, dtype = read(member)
        need, have = math.prod(shape) * dtype.itemsize, archive.getinfo(name).file_size - member.tell()
        if need != have or dtype.hasobject:
            raise ValueError(f"{name} holds {have} bytes, and says {need}")
    with archive.open(name) as member:
        array = np.lib.format.read_array(member, allow_pickle=False)
    array.flags.writeable = False
    return array


def name_of(kind: type) -> str:
    """What a dataclass is called in a file: its name, behind ``stored_under`` where others may have that name."""
    return f"{getattr(kind, 'stored_under', '')}{kind.__name__}"


def encode(value: Any, arrays: list[np.ndarray[Any, Any]], types: frozenset[type]) -> Any:
    """What JSON holds of ``value``, made of the dataclasses ``types``; its arrays are added to ``arrays``.

    Raises:
        UnsupportedError: it holds another dataclass, which `decode` would not know.
    """
    if is_dataclass(value) and not isinstance(value, type):
        if type(value) not in types:
            raise UnsupportedError(
                f"a {type(value).__name__} cannot be stored",
                found=f"{type(value).__module__}.{type(value).__qualname__}",
                allowed=", ".join(sorted(kind.__name__ for kind in types)),
                hint="a neuron model of another package needs an entry point (docs/howto-add-a-neuron-model.md)",
            )
        told = [
            item
            for item in fields(value)
            if LATER not in item.metadata or _said(getattr(value, item.name), item.default)
        ]
        entry = {item.name: encode(getattr(value, item.name), arrays, types) for item in told}
        return {"type": name_of(type(value)), "fields": entry}
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, (tuple, list)):
        return [encode(item, arrays, types) for item in value]
    if isinstance(value, Mapping):
        return {"map": {str(key): encode(item, arrays, types) for key, item in value.items()}}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"cannot store a {type(value).__name__}")


def _said(value: Any, default: Any) -> bool:
    """Whether a field that older files lack is written: where it is not the default."""
    return isinstance(value, np.ndarray) or bool(value != default)


def decode(value: Any, arrays: list[np.ndarray[Any, Any]], find: Callable[[str], type]) -> Any:
    """What `encode` wrote; ``find`` gives the dataclass of a name, or refuses it. What is damaged raises `DAMAGED`."""
    if isinstance(value, list):
        return tuple(decode(item, arrays, find) for item in value)
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays[value["array"]]
    if "map" in value:
        return {key: decode(item, arrays, find) for key, item in value["map"].items()}
    if "float" in value:
        return float(value["float"])
    return find(value["type"])(**{key: decode(item, arrays, find) for key, item in value["fields"].items()})
