"""Damaged files: small valid ``.nir``, ``.net`` and ``.onnx`` files, and seeded mutations of them.

Some mutations know nothing of the format (bytes), some change what it says (shapes, types, links, edges, attributes).
The same ``(seed, index)`` gives the same file on every machine with the same libraries.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np

from tests import nirh5
from tests.nirh5 import affine, conv, inp, lif, linear, out

Rng = np.random.Generator
KINDS = ("Affine", "AvgPool2d", "Conv1d", "Conv2d", "CubaLIF", "Delay", "Flatten", "I", "IF", "Input", "LI", "LIF",
         "Linear", "NIRGraph", "Output", "Scale", "SumPool2d", "Threshold", "Exotic", "", "RF", "SDNN", "pool",
         "dense", "conv", "input", "flatten")  # fmt: skip
WHOLE = (0, -1, 1, 2, 3, 7, 255, 65_536, 2**31 - 1, 2**31, -(2**31), 2**62, -(2**63))
REAL = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-320, 1e300, -1e300, 0.5, 1e-3, -1.0, 3.0)


@dataclass(frozen=True)
class Mutant:
    """A damaged file: its format and the kind of mutation."""

    suffix: str
    kind: str
    data: bytes


@cache
def seeds(suffix: str) -> tuple[bytes, ...]:
    """Valid files of one format."""
    if suffix == ".onnx":
        from tests.mutants_onnx import models

        return models()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "seed"
        files = _nir_files(path) if suffix == ".nir" else _net_files(path)
        return tuple(files)


def _nir_files(path: Path) -> list[bytes]:
    rng = np.random.default_rng(1)
    w, rec, kernel = rng.normal(size=(5, 6)), rng.normal(size=(5, 5)), rng.normal(size=(4, 2, 3, 3))
    values = {"tau_syn": 4e-3, "tau_mem": 8e-3, "r": 2.0, "v_leak": 0.0, "v_threshold": 0.1, "w_in": 1.0}
    cuba = {"type": "CubaLIF", **{key: np.full(5, value) for key, value in values.items()}}
    rules = {"reset": "subtract", "reset_time": "next", "v_initial": 0.1, "module": "net.1"}
    mlp = {"input": inp(6), "fc": affine(w, np.ones(5)), "lif": lif(5), "output": out(5)}
    loop = {"input": inp(6), "fc": linear(w), "lif": cuba, "rec": linear(rec), "output": out(5)}
    image = {
        "input": inp(2, 7, 8), "conv": conv(kernel, np.zeros(4), stride=np.array([1, 2])), "n": lif((4, 5, 3)),
        "pool": {"type": "SumPool2d", "kernel_size": np.array([2, 1]), "stride": np.array([2, 1]),
                 "padding": np.array([0, 0])},
        "flat": {"type": "Flatten", "start_dim": 0, "end_dim": -1, "input_type": np.array([4, 2, 3])},
        "fc": linear(rng.normal(size=(3, 24))), "delay": {"type": "Delay", "delay": np.array([0, 1e-3, 2e-3])},
        "scale": {"type": "Scale", "scale": np.ones(3)}, "out": lif(3), "output": out(3),
    }  # fmt: skip
    nested = {"input": inp(6), "fc": linear(w), "cell": {"type": "NIRGraph", "nodes": {
        "input": inp(5), "lif": lif(5), "output": out(5)}}, "output": out(5)}  # fmt: skip
    edges = [("input", "fc"), ("fc", "lif"), ("lif", "rec"), ("rec", "lif"), ("lif", "output")]
    files = []
    for nodes, given in ((mlp, None), (loop, edges), (image, None), (nested, None)):
        nirh5.write(path, nodes, given)
        with h5py.File(path, "r+") as file:
            for key, value in {"dt": 1e-3, "reset": "hard"}.items():
                file[f"node/metadata/neurodeploy/{key}"] = value
            if nodes is mlp:
                for key, value in rules.items():
                    file[f"node/nodes/lif/metadata/neurodeploy/{key}"] = value
            if nodes is image:  # compressed, as nir writes it
                weight = file["node/nodes/fc/weight"][()]
                del file["node/nodes/fc/weight"]
                file["node/nodes/fc"].create_dataset("weight", data=weight, compression="gzip", shuffle=True)
        files.append(path.read_bytes())
    return files


def _net_files(path: Path) -> list[bytes]:
    from tests.lowering.test_lava_dl import layers, write

    slow = layers(1)
    slow[1]["delay"], slow[3]["delay"] = np.array([0.0, 3.0, 1.0]), 2
    return [write(path, content).read_bytes() for content in (layers(), slow, layers()[3:])]


def mutant(seed: int, index: int, suffix: str) -> Mutant:
    """The mutant with this number."""
    rng = np.random.default_rng((seed, index))
    files = seeds(suffix)
    data = files[int(rng.integers(len(files)))]
    if suffix == ".onnx":
        from tests.mutants_onnx import MUTATIONS as ONNX

        named: dict[str, Callable[[Rng, bytes], bytes]] = {**BYTES, **ONNX}
    else:
        named = {**BYTES, **{name: _in_hdf5(change) for name, change in HDF5.items()}}
    kind = str(rng.choice(list(named)))
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        data = named[kind](rng, data) if data else data
    return Mutant(suffix, kind, data)


def _flip(rng: Rng, data: bytes) -> bytes:
    array = np.frombuffer(data, np.uint8).copy()
    # Headers are a small part of a file; half of the flips aim there.
    end = len(array) if rng.random() < 0.5 else min(len(array), 4096)
    for _ in range(int(2 ** rng.integers(0, 7))):
        array[rng.integers(end)] ^= np.uint8(1 << rng.integers(8))
    return array.tobytes()


def _overwrite(rng: Rng, data: bytes) -> bytes:
    array = np.frombuffer(data, np.uint8).copy()
    start = int(rng.integers(len(array)))
    stop = start + int(2 ** rng.integers(0, 10))
    array[start:stop] = rng.choice([0, 255, rng.integers(256)])
    return array.tobytes()


def _truncate(rng: Rng, data: bytes) -> bytes:
    return data[: int(rng.integers(len(data)))]


def _splice(rng: Rng, data: bytes) -> bytes:
    a, b, c = sorted(int(i) for i in rng.integers(0, len(data), 3))
    return (data[:a] + data[b:c] + data[a:], data[:a] + data[b:], data[:b] + data[a:c] + data[c:])[rng.integers(3)]


BYTES: dict[str, Callable[[Rng, bytes], bytes]] = {
    "bytes flipped": _flip, "range overwritten": _overwrite, "truncated": _truncate, "spliced": _splice,
}  # fmt: skip


def _in_hdf5(change: Callable[[Rng, h5py.File], None]) -> Callable[[Rng, bytes], bytes]:
    def apply(rng: Rng, data: bytes) -> bytes:
        buffer = io.BytesIO(data)
        # HDF5 itself refuses some changes half-way; the file is what it is then.
        with h5py.File(buffer, "r+") as file, suppress(ValueError, TypeError, OSError, KeyError, RuntimeError):
            change(rng, file)
        return buffer.getvalue()

    return apply


def _items(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visit(names.append)
    return names


def _pick(rng: Rng, file: h5py.File, dataset: bool = True) -> str:
    names = [n for n in _items(file) if not dataset or isinstance(file.get(n), h5py.Dataset)]
    return str(rng.choice(names)) if names else "nothing"


def _put(file: h5py.File, name: str, value: Any, **options: Any) -> None:
    if name in file:
        del file[name]
    file.create_dataset(name, data=value, **options)


def _value(rng: Rng, file: h5py.File) -> None:
    name = _pick(rng, file)
    value = file[name][()] if name in file else 0
    if not isinstance(value, (np.ndarray, np.generic)) or np.asarray(value).dtype.kind not in "iuf":
        _put(file, name, str(rng.choice(KINDS)))
        return
    array = np.array(value)
    with np.errstate(over="ignore"):
        real = array.dtype.kind == "f"
        chosen = np.array(rng.choice(REAL if real else WHOLE), array.dtype if real else None)
    mask = rng.random(array.shape) < rng.choice([0.2, 1.0])
    _put(file, name, np.where(mask, chosen, array))


def _shape(rng: Rng, file: h5py.File) -> None:
    name = _pick(rng, file)
    value = np.asarray(file[name][()]) if name in file else np.zeros(3)
    if value.dtype.kind == "O":
        _put(file, name, np.array([["a", "b", "c"]], dtype=object), dtype=h5py.string_dtype())
        return
    flat = value.ravel()
    shapes: list[Callable[[], Any]] = [
        lambda: flat, lambda: value.T, lambda: value[None], lambda: flat[:1], lambda: flat[:0],
        lambda: flat[0] if value.size else value, lambda: np.repeat(flat, 3), lambda: np.resize(value, (2, 2)),
        lambda: value.reshape((1,) * 6 + value.shape), lambda: np.resize(value, (3, 5, 7)),
    ]  # fmt: skip
    _put(file, name, shapes[rng.integers(len(shapes))]())


def _dtype(rng: Rng, file: h5py.File) -> None:
    name = _pick(rng, file)
    value = np.asarray(file[name][()]) if name in file else np.zeros(3)
    if value.dtype.kind not in "iuf":
        _put(file, name, rng.choice([np.nan, 3.0]))
        return
    kinds = [
        "f2",
        "f4",
        ">f8",
        "i1",
        "u1",
        "i8",
        ">u2",
        "c8",
        "g",
        "?",
        "S3",
        "V5",
        "compound",
        "enum",
        "ragged",
        "text",
    ]
    kind = str(rng.choice(kinds))
    with np.errstate(all="ignore"):
        if kind == "compound":
            if name in file:
                del file[name]
            file.create_dataset(name, shape=value.shape, dtype=[("x", "f8"), ("y", h5py.string_dtype())])
        elif kind == "enum":
            _put(file, name, value.astype(np.int8), dtype=h5py.enum_dtype({"a": 0, "b": 1}, basetype="i1"))
        elif kind == "ragged":
            if name in file:
                del file[name]
            file.create_dataset(name, shape=(3,), dtype=h5py.vlen_dtype("f8"))
        elif kind == "text":
            _put(file, name, np.vectorize(str, otypes=[object])(value), dtype=h5py.string_dtype())
        else:
            _put(file, name, value.astype("V8").astype("V5") if kind == "V5" else value.astype(kind))


def _remove(rng: Rng, file: h5py.File) -> None:
    name = _pick(rng, file, dataset=False)
    if name in file:
        del file[name]


def _rename(rng: Rng, file: h5py.File) -> None:
    name, other = _pick(rng, file, dataset=False), _pick(rng, file, dataset=False)
    if name not in file:
        return
    parent, _, last = name.rpartition("/")
    new = f"{parent}/{rng.choice([other.rpartition('/')[2], 'x', 'a.b', last + '2', ' ', 'ä' * 300])}"
    if new not in file:
        file.move(name, new)


def _regroup(rng: Rng, file: h5py.File) -> None:
    """A group where data should be, data where a group should be, or one thing in the place of another."""
    name, other = _pick(rng, file, dataset=False), _pick(rng, file, dataset=False)
    if name not in file:
        return
    if rng.random() < 0.4 and not other.startswith(name) and not name.startswith(other):
        del file[name]
        file.copy(other, name)
        return
    was = isinstance(file[name], h5py.Dataset)
    del file[name]
    if was:
        file.create_group(name)
    else:
        file[name] = rng.choice([1.0, -1.0])


def _edges(rng: Rng, file: h5py.File) -> None:
    found = [n for n in _items(file) if n.endswith("edges") and isinstance(file[n], h5py.Dataset)]
    if not found:
        _remove(rng, file)
        return
    name = str(rng.choice(found))
    rows = np.atleast_2d(file[name][()])
    edges = np.array([[s.decode() if isinstance(s, bytes) else str(s) for s in row] for row in rows], dtype=object)
    inside = file.get(name.rpartition("edges")[0] + "nodes")
    nodes = [*(inside if inside is not None else []), "nobody", ""]
    choice = rng.integers(5)
    if choice == 0 or not edges.size:
        edges = rng.choice(nodes, size=(int(rng.integers(0, 40)), 2)).astype(object)
    elif choice == 1:
        edges = np.concatenate([edges, edges[rng.integers(len(edges), size=int(rng.integers(1, 30)))]])
    elif choice == 2:
        edges = np.delete(edges, rng.integers(len(edges)), axis=0)
    elif choice == 3:
        edges = edges[:, ::-1]
    else:
        edges[rng.integers(len(edges)), rng.integers(edges.shape[1])] = rng.choice(nodes)
    _put(file, name, edges, dtype=h5py.string_dtype())


def _link(rng: Rng, file: h5py.File) -> None:
    name, other = _pick(rng, file, dataset=False), _pick(rng, file, dataset=False)
    if name not in file:
        return
    parent = name.rpartition("/")[0] or "/"
    target = file.get(other, file)
    del file[name]
    match int(rng.integers(6)):
        case 0:
            file[name] = h5py.ExternalLink(str(rng.choice(["/etc/passwd", "other.h5", "."])), "/node")
        case 1:
            file[name] = h5py.SoftLink(str(rng.choice(["/" + other, "/nowhere", "/" + name, "/"])))
        case 2:
            file[name] = file[parent]  # a group inside itself
        case 3 if target:
            file[name] = target
        case 4:
            layout = h5py.VirtualLayout(shape=(4,), dtype="f8")
            layout[:] = h5py.VirtualSource("other.h5", "x", shape=(4,))
            file.create_virtual_dataset(name, layout)
        case _:
            file.create_dataset(name, shape=(64,), dtype="u1", external=[("/etc/passwd", 0, 64)])


def _bomb(rng: Rng, file: h5py.File) -> None:
    """Much data in few bytes: never written, compressed, in huge chunks, behind one string that stands often."""
    name = _pick(rng, file)
    if name in file:
        del file[name]
    match int(rng.integers(6)):
        case 0:
            file.create_dataset(
                name, shape=(1 << int(rng.integers(10, 20)), 1 << int(rng.integers(10, 20))), dtype="f8"
            )
        case 1:
            size = 1 << int(rng.integers(16, 24))
            file.create_dataset(
                name, data=np.zeros(size, rng.choice(["f8", "i1", "f2"])), compression="gzip", chunks=(size,)
            )
        case 2:
            chunk = 1 << int(rng.integers(20, 29))
            file.create_dataset(name, shape=(8,), maxshape=(None,), dtype="f8", chunks=(chunk,), compression="gzip")
        case 3:
            inflated(file, name, 1 << int(rng.integers(20, 28)))
        case 4:
            file.create_dataset(name, data=np.array([["x" * 4000, "y"]] * 500, dtype=object), dtype=h5py.string_dtype())
        case _:
            inside = file.require_group(name)
            for _ in range(int(rng.integers(2, 400))):
                inside = inside.create_group("nodes")


def inflated(file: h5py.File, name: str, size: int) -> None:
    """A chunk of a few values whose compressed bytes unpack to ``size`` bytes."""
    import zlib

    data = file.create_dataset(name, shape=(8,), chunks=(8,), dtype="f8", compression="gzip")
    data.id.write_direct_chunk((0,), zlib.compress(bytes(size), 9))


HDF5: dict[str, Callable[[Rng, h5py.File], None]] = {
    "values": _value, "shapes": _shape, "types of data": _dtype, "removed": _remove, "renamed": _rename,
    "groups and data swapped": _regroup, "edges": _edges, "links": _link, "size bombs": _bomb,
}  # fmt: skip
