"""Damaged files give a clear error or a valid network; the places where HDF5 itself would fail are refused before."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from benchmarks.fuzz_files import BAD, MEMORY_LIMIT, READERS, Outcome, Worker, fuzz, table
from neurodeploy.errors import InvalidInputError, NeurodeployError, UnsupportedError
from neurodeploy.lowering.lower import lower
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.conventions import resolve
from tests import nirh5
from tests.mutants import inflated, mutant, seeds
from tests.nirh5 import affine, inp, lif, out

NODES = {"input": inp(6), "fc": affine(np.ones((5, 6)), np.ones(5)), "lif": lif(5), "output": out(5)}


def test_several_hundred_damaged_files() -> None:
    outcomes = fuzz(360, 11, tuple(READERS))
    bad = [o for o in outcomes if o.outcome in BAD]
    assert not bad, "\n".join(f"{o.suffix} {o.kind} {o.outcome}: {o.detail}" for o in bad)
    assert len(outcomes) == 360
    assert max(o.peak for o in outcomes) < MEMORY_LIMIT
    good = Counter((o.suffix, o.outcome) for o in outcomes)
    for suffix in READERS:
        # Neither refusing everything nor accepting everything is an answer.
        assert good[suffix, "valid"] > 5
        assert good[suffix, "clear error"] > 50
    assert all(o.detail for o in outcomes if o.outcome == "clear error")


@pytest.mark.parametrize("suffix", list(READERS))
def test_the_seeds_are_valid_and_mutants_repeat(suffix: str, tmp_path: Path) -> None:
    for index, data in enumerate(seeds(suffix)):
        path = tmp_path / f"{index}{suffix}"
        path.write_bytes(data)
        READERS[suffix](path)
    assert mutant(3, 4, suffix).data == mutant(3, 4, suffix).data
    assert mutant(3, 4, suffix).data != mutant(3, 5, suffix).data


def test_the_table() -> None:
    lines = table([Outcome(".nir", "edges", "valid", "", 3 << 20, 0.1), Outcome(".nir", "edges", "hang", "x", 0, 10.0)])
    assert lines.splitlines()[1].split() == [".nir", "edges", "1", "0", "0", "0", "1", "0", "3"]


def test_bad_readers_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watcher itself: a reader that raises, ends, hangs or takes memory is not called good."""
    import benchmarks.fuzz_files as module

    script = tmp_path / "worker.py"
    script.write_text(
        "import os, sys, time\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "import benchmarks.fuzz_files as f\n"
        "def read(path):\n"
        "    name = path.stem\n"
        "    if name == 'raise': raise KeyError('x')\n"
        "    if name == 'end': os.abort()\n"
        "    if name == 'hang': time.sleep(60)\n"
        "    if name == 'grow': b'x' * (400 << 20)\n"
        "f.READERS['.nir'] = read\n"
        "f.worker()\n"
    )
    monkeypatch.setattr(module, "__file__", str(script))
    monkeypatch.setattr(module, "TIME_LIMIT", 3.0)
    monkeypatch.setattr(module, "MEMORY_LIMIT", 400 << 20)
    worker = Worker()
    asked = {name: worker.ask(Path(f"{name}.nir"))[0] for name in ("fine", "raise", "end", "hang", "grow", "again")}
    worker.stop()
    assert asked == {
        "fine": "valid", "raise": "traceback", "end": "crash", "hang": "hang", "grow": "memory", "again": "valid",
    }  # fmt: skip


def refusal(path: Path, kind: type[NeurodeployError]) -> str:
    with pytest.raises(kind) as caught:
        file = nir_file.read(path)
        lower(file, resolve(file, dt=1e-3))
    return str(caught.value)


def edited(tmp_path: Path, change: Callable[[h5py.File], None]) -> Path:
    path = nirh5.write(tmp_path / "net.nir", NODES)
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def unpacks_too_far(file: h5py.File) -> None:
    """112 KB in a chunk of 64 bytes that unpack to 112 MB."""
    del file["node/nodes/lif/tau"]
    inflated(file, "node/nodes/lif/tau", 112 << 20)


def large_chunks(file: h5py.File) -> None:
    del file["node/nodes/lif/tau"]
    file["node/nodes/lif"].create_dataset("tau", shape=(5,), maxshape=(None,), dtype="f4", chunks=(1 << 28,))


def sequences(file: h5py.File) -> None:
    del file["node/nodes/lif/tau"]
    file["node/nodes/lif"].create_dataset("tau", shape=(5,), dtype=h5py.vlen_dtype("f8"))


def packed_twice(file: h5py.File) -> None:
    from h5py import h5d, h5p, h5s, h5t

    del file["node/nodes/lif/tau"]
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_chunk((5,))
    properties.set_deflate(9)
    properties.set_filter(h5py.h5z.FILTER_LZF, 0)
    h5d.create(file.id, b"node/nodes/lif/tau", h5t.IEEE_F64LE, h5s.create_simple((5,)), properties)


REFUSED: dict[str, tuple[Callable[[h5py.File], None], type[NeurodeployError], str]] = {
    "a chunk that unpacks too far": (unpacks_too_far, InvalidInputError, "that unpacks to more than 64"),
    "chunks of two gigabytes": (large_chunks, InvalidInputError, "comes in chunks much larger than its data"),
    "sequences": (sequences, UnsupportedError, "/node/nodes/lif/tau holds something else than numbers and strings"),
    "packed twice": (packed_twice, UnsupportedError, "found:   gzip, lzf"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_hdf5_reads_it(case: str, tmp_path: Path) -> None:
    change, kind, text = REFUSED[case]
    assert text in refusal(edited(tmp_path, change), kind)


def test_a_heap_without_end(tmp_path: Path) -> None:
    """libhdf5 reads this file's first string for ever: an object of the heap that takes 2^64 - 8 bytes."""
    path = nirh5.write(tmp_path / "net.nir", NODES)
    data = bytearray(path.read_bytes())
    heap = data.index(b"GCOL\x01\0\0\0")
    data[heap + 24 : heap + 32] = (2**64 - 8).to_bytes(8, "little")
    path.write_bytes(data)
    assert f"strings in a heap at byte {heap:,} whose sizes cannot be right" in refusal(path, InvalidInputError)


def test_one_long_string_that_stands_everywhere(tmp_path: Path) -> None:
    """500 edges whose names are one text of 1 MB in the file: 1 GB if all of them were read at once."""
    path = nirh5.write(tmp_path / "net.nir", NODES)
    with h5py.File(path, "r+") as file:
        del file["node/edges"]
        # HDF5 writes a text for each of them, so the references of the first are copied over the others by hand.
        edges = file["node"].create_dataset("edges", shape=(500, 2), dtype=h5py.string_dtype())
        edges[0, 0] = "x" * (1 << 20)
        file.flush()
        where = edges.id.get_offset()
    data = bytearray(path.read_bytes())
    data[where : where + 16_000] = bytes(data[where : where + 16]) * 1000
    path.write_bytes(data)
    assert "/node/edges holds more text than a network needs" in refusal(path, InvalidInputError)


def test_a_text_of_four_gigabytes(tmp_path: Path) -> None:
    """HDF5 would make room for it before it looks; in the data as they stand, and in a compressed chunk."""
    path = nirh5.write(tmp_path / "net.nir", NODES)
    with h5py.File(path) as file:
        where = file["node/nodes/lif/type"].id.get_offset()
    data = bytearray(path.read_bytes())
    data[where : where + 4] = b"\xff" * 4
    path.write_bytes(data)
    assert "/node/nodes/lif/type holds more text than a network needs\n  found:   4,294,967,295" in refusal(
        path, InvalidInputError
    )
    names = [("input", "fc"), ("fc", "lif"), ("lif", "output")]

    def compressed(file: h5py.File, length: bytes) -> None:
        del file["node/edges"]
        options = {"compression": "gzip", "shuffle": True, "chunks": (3, 2)}
        edges = file["node"].create_dataset("edges", data=names, dtype=h5py.string_dtype(), **options)
        file.flush()
        raw = edges.id.read_direct_chunk((0, 0))[1]
        rows = np.frombuffer(zlib.decompress(raw), np.uint8).reshape(16, 6).copy()
        if length:
            rows[:4, 5] = np.frombuffer(length, np.uint8)
            edges.id.write_direct_chunk((0, 0), zlib.compress(rows.tobytes()), 0)

    good = edited(tmp_path, lambda file: compressed(file, b""))
    assert nir_file.read(good).graph.edges == names
    bad = edited(tmp_path, lambda file: compressed(file, b"\0\0\0\xf0"))
    assert "/node/edges holds more text than a network needs" in refusal(bad, InvalidInputError)


def test_compression_is_no_crime(tmp_path: Path) -> None:
    """Large, compressed and well-behaved data are read, also where HDF5's own limit on a chunk is tried."""
    values = np.random.default_rng(0).normal(size=(300, 600))
    path = nirh5.write(
        tmp_path / "net.nir", {**NODES, "input": inp(600), "fc": affine(values, np.ones(300)), "lif": lif(300)}
    )
    with h5py.File(path, "r+") as file:
        del file["node/nodes/fc/weight"]
        weight = file["node/nodes/fc"].create_dataset(
            "weight", data=values, chunks=values.shape, compression="gzip", shuffle=True, fletcher32=True
        )
        assert weight.id.get_chunk_info(0).size > 1 << 20
        assert len(zlib.compress(values.tobytes())) > 1 << 20
    np.testing.assert_array_equal(nir_file.read(path).graph.nodes["fc"].weight, values)


LIF = "node/nodes/lif/metadata/neurodeploy"
METADATA: dict[str, tuple[str, object, str]] = {
    "two resets": ("node/metadata/neurodeploy/reset", np.array([1.0, 2.0]), "unknown reset"),
    "a reset of a neuron in numbers": (f"{LIF}/reset", np.ones(3), "unknown reset in its"),
    "words for an initial potential": (f"{LIF}/v_initial", "high", "v_initial cannot be"),
    "an initial potential of others": (f"{LIF}/v_initial", np.ones(4), "v_initial has the"),
    "two floors": (f"{LIF}/v_floor", np.ones(2), "v_floor cannot be used"),
}  # fmt: skip


@pytest.mark.parametrize("case", METADATA)
def test_metadata_that_make_no_sense(case: str, tmp_path: Path) -> None:
    where, value, text = METADATA[case]
    assert text in refusal(edited(tmp_path, lambda file: file.__setitem__(where, value)), InvalidInputError)


def test_metadata_that_are_no_group(tmp_path: Path) -> None:
    path = edited(tmp_path, lambda file: file.__setitem__(LIF, 1.0))
    file = nir_file.read(path)
    assert lower(file, resolve(file, dt=1e-3)).populations
