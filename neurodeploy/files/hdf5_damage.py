"""Looking at the places of an HDF5 file where libhdf5 trusts what it reads, before it does.

- Types: only numbers, truth values and strings. Sequences of unequal length and compounds crash on damaged files.
- Chunks: HDF5 unpacks a chunk to its end, whatever its declared size; so large ones are unpacked here with a limit.
- Heaps: strings of variable length lie in global heap collections ("GCOL", HDF5 file format 3.0, III.E): a header,
  then objects ``index (2), references (2), reserved (4), size (8)`` and their data, padded to 8 bytes; index 0 is the
  free rest, and its size includes its header. An object of impossible size makes libhdf5 loop for ever.
- Strings: each is 16 bytes, ``length (4), heap (8), index (4)`` (III.D), and HDF5 makes room for ``length`` before it
  looks into the heap; thousands of them may point to one text. So the lengths are looked at and added up.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neurodeploy.errors import InvalidInputError, UnsupportedError
from neurodeploy.network.arrays import Array

if TYPE_CHECKING:
    import h5py

FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}
GZIP, LZF = 1, 32000

SMALL_CHUNK = 1 << 16
"""Stored bytes of a compressed chunk up to which it is not tried: gzip makes 64 MiB of them at most."""
LARGEST_CHUNK = 1 << 26
"""Unpacked bytes of a chunk that is larger than its data."""
LARGEST_TEXT = 1 << 26
"""Bytes of all the strings of one data set."""


def check_heaps(file: h5py.File, path: Path) -> None:
    """Refuse a file with a heap that HDF5 would not find the end of.

    Raises:
        InvalidInputError: such a heap.
        UnsupportedError: a file whose sizes do not have 64 bits.
    """
    if tuple(file.id.get_create_plist().get_sizes()) != (8, 8):
        raise UnsupportedError(
            f"{path} is an unusual HDF5 file",
            found="addresses or sizes that do not have 8 bytes",
            hint="export the network again",
        )
    if not path.stat().st_size:
        return
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start, left = data.find(b"GCOL\x01\0\0\0"), len(data) // 16
        while start >= 0:
            walked = _heap_objects(data, start, left)
            if walked is None:
                raise InvalidInputError(
                    f"{path} is damaged",
                    found=f"strings in a heap at byte {start:,} whose sizes cannot be right",
                    hint="export the network again",
                )
            left -= walked
            if left < 0:
                raise InvalidInputError(
                    f"{path} has strings in more heaps than there is room for",
                    found=f"heaps that overlap, up to byte {start:,}",
                    hint="export the network again; if the file is from a stranger, do not trust it",
                )
            start = data.find(b"GCOL\x01\0\0\0", start + 1)


def _heap_objects(data: mmap.mmap, start: int, most: int) -> int | None:
    """How many objects a heap has, not looking further than ``most``; None where HDF5 would not find its end.

    Heaps of one file do not overlap, so all of them together have no more objects than fit into it.
    """
    if start + 16 > len(data):
        return 0
    (size,) = struct.unpack_from("<Q", data, start + 8)
    end, objects = start + size, 0
    if end > len(data):
        return 0  # HDF5 refuses it itself
    at = start + 16
    while at + 16 <= end and objects <= most:
        index, _, length = struct.unpack_from("<HH4xQ", data, at)
        need = 16 + (length + 7) // 8 * 8 if index else length
        if need == 0 or need > end - at:
            return None
        at, objects = at + need, objects + 1
    return objects


def check_dataset(item: h5py.Dataset, path: Path, where: str) -> None:
    """Refuse a data set that HDF5 could not read in bounded time and memory.

    Raises:
        InvalidInputError: it holds more than it declares.
        UnsupportedError: a type or compression that such files do not have.
    """
    from h5py import h5t

    kind = item.id.get_type()
    if not isinstance(kind, (h5t.TypeIntegerID, h5t.TypeFloatID, h5t.TypeStringID, h5t.TypeEnumID)):
        raise UnsupportedError(
            f"{path}: {where} holds something else than numbers and strings",
            found=type(kind).__name__.removeprefix("Type").removesuffix("ID").lower(),
            allowed="integers, floats, truth values, strings",
            hint="export the network again",
        )
    if item.chunks is not None:
        _check_chunks(item, path, where)
    if isinstance(kind, h5t.TypeStringID) and kind.is_variable_str() and item.size:
        _check_strings(item, path, where)


def _check_chunks(item: h5py.Dataset, path: Path, where: str) -> None:
    properties = item.id.get_create_plist()
    filters = [int(properties.get_filter(i)[0]) for i in range(properties.get_nfilters())]
    packers = [f for f in filters if f in (GZIP, LZF)]
    if any(f not in FILTERS for f in filters) or len(packers) > 1:
        raise UnsupportedError(
            f"{path}: {where} is compressed in an unusual way",
            found=", ".join(FILTERS.get(f, f"filter {f}") for f in filters),
            allowed=f"at most one of gzip and lzf; {', '.join(FILTERS.values())}",
            hint="export the network again",
        )
    nominal = int(np.prod([int(n) for n in item.chunks], dtype=object)) * item.dtype.itemsize
    if nominal > max(LARGEST_CHUNK, 2 * int(item.size or 0) * item.dtype.itemsize):
        raise InvalidInputError(
            f"{path}: {where} comes in chunks much larger than its data",
            found=f"{nominal:,} bytes for {int(item.size or 0):,} values",
            allowed=f"{LARGEST_CHUNK:,} bytes",
            hint="export the network again; if the file is from a stranger, do not trust it",
        )
    for index in range(item.id.get_num_chunks() if packers else 0):
        chunk = item.id.get_chunk_info(index)
        if chunk.size <= SMALL_CHUNK:
            continue
        if chunk.size > path.stat().st_size:
            raise _damaged(path, where, f"a chunk of {chunk.size:,} bytes")
        raw = item.id.read_direct_chunk(chunk.chunk_offset)[1]
        fits = chunk.size <= nominal + 64
        if packers == [GZIP] and chunk.filter_mask == 0:
            packed = zlib.decompressobj()
            try:
                fits = len(packed.decompress(raw, nominal + 1)) <= nominal and not packed.unconsumed_tail
            except zlib.error as error:
                raise _damaged(path, where, f"a compressed chunk: {error}") from error
        if not fits:
            raise InvalidInputError(
                f"{path}: {where} holds more than it declares",
                found=f"a chunk of {chunk.size:,} bytes that unpacks to more than {nominal:,}",
                hint="export the network again; if the file is from a stranger, do not trust it",
            )


def _check_strings(item: h5py.Dataset, path: Path, where: str) -> None:
    longest = min(LARGEST_TEXT, path.stat().st_size)
    total = 0
    for lengths in _lengths(item, path, where):
        total += int(lengths.sum(dtype=np.int64))
        if int(lengths.max(initial=0)) > longest or total > LARGEST_TEXT:
            raise InvalidInputError(
                f"{path}: {where} holds more text than a network needs",
                found=f"{total:,} bytes or more in a file of {path.stat().st_size:,}",
                allowed=f"{longest:,} bytes each, {LARGEST_TEXT:,} together",
                hint="export the network again; if the file is from a stranger, do not trust it",
            )


def _lengths(item: h5py.Dataset, path: Path, where: str) -> Iterator[Array]:
    """Lengths of the strings, a block at a time, without asking HDF5 for the strings."""
    from h5py import h5d

    properties = item.id.get_create_plist()
    filters = [int(properties.get_filter(i)[0]) for i in range(properties.get_nfilters())]
    layout = properties.get_layout()
    begins = item.file.id.get_create_plist().get_userblock() == 0
    if (
        layout not in (h5d.CONTIGUOUS, h5d.CHUNKED)
        or LZF in filters
        or not begins
        or properties.fill_value_defined() == 2
    ):
        raise UnsupportedError(
            f"{path}: {where} keeps its text in an unusual way",
            allowed="text written one after the other, or in chunks compressed by gzip",
            hint="export the network again",
        )
    if layout == h5d.CONTIGUOUS:
        offset = item.id.get_offset()
        if offset is not None and item.id.get_storage_size():
            with path.open("rb") as handle:
                handle.seek(offset)
                yield _first_words(handle.read(16 * int(item.size)))
        return
    for index in range(item.id.get_num_chunks()):
        chunk = item.id.get_chunk_info(index)
        if chunk.size > path.stat().st_size:
            raise _damaged(path, where, f"a chunk of {chunk.size:,} bytes")
        raw = item.id.read_direct_chunk(chunk.chunk_offset)[1]
        for position in reversed(range(len(filters))):
            if chunk.filter_mask >> position & 1:
                continue
            if filters[position] == 3:
                raw = raw[:-4]
            elif filters[position] == GZIP:
                try:
                    raw = zlib.decompressobj().decompress(raw, LARGEST_CHUNK)
                except zlib.error as error:
                    raise _damaged(path, where, f"a compressed chunk: {error}") from error
            else:  # shuffle: the first bytes of all strings, then the second bytes ...
                whole = np.frombuffer(raw[: len(raw) // 16 * 16], np.uint8)
                raw = whole.reshape(16, -1).T.tobytes()
        yield _first_words(raw)


def _first_words(raw: bytes) -> Array:
    return np.frombuffer(raw[: len(raw) // 16 * 16], "<u4")[::4]


def _damaged(path: Path, where: str, found: str) -> InvalidInputError:
    return InvalidInputError(f"{path}: {where} is damaged", found=found, hint="export the network again")
