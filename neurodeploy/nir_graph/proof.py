"""The proof in a `.nir` file: the input on which it was proven against its model, and how often who spiked there.

It stands in our section of the graph's metadata: the sentence under ``proof``, everything else under ``proof_record``.
Whoever runs the file later, on a chip or in another arithmetic, can run the same input again and compare the rates.
"""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from neurodeploy.errors import InvalidInputError
from neurodeploy.files.hdf5 import plain
from neurodeploy.network.arrays import Array, Sealed, sole

from .metadata import put, section_of
from .nir_file import NirFile

if TYPE_CHECKING:
    import nir

STATEMENT, RECORD = "proof", "proof_record"
"""Keys of our section: the sentence, and what it rests on."""

LARGEST = 1 << 25
"""Most bytes of a sample that is kept in the file, before compression; a binary sample takes a bit for each entry."""

_KINDS = "biuf"
"""Kinds of numbers that a sample may hold (`numpy.dtype.kind`)."""


@dataclass(frozen=True)
class Unproven:
    """Part of a layer that the sample says nothing about.

    Args:
        layer: name of the population, or of the linear node.
        neurons: number of its neurons that stayed unproven.
        of: number of its neurons.
        why: in a few words.
    """

    layer: str
    neurons: int
    of: int
    why: str


@dataclass(frozen=True, eq=False)
class Proof(Sealed):
    """What an exported file was proven on.

    Args:
        statement: each comparison in words.
        sample: the input ``[time, batch, *shape]`` as it was given, or None where it is larger than `LARGEST`.
        shape: of the sample.
        digest: SHA-256 of the sample's type, shape and bytes; there also where the sample is not.
        rate: share of the sample's entries that are not 0.
        spikes: for each spiking population, by the name that `neurodeploy.lowering.lower` gives it, the spikes of each
            neuron (int64 ``[neurons]``), summed over steps and samples, as the original model sent them.
        unproven: what the sample left unproven.
        potentials: for each read-out, the potential of each neuron (float64 ``[neurons]``), summed over steps and
            samples, in the original model; empty in files of before they were kept.
    """

    statement: str
    sample: Array | None
    shape: tuple[int, ...]
    digest: str
    rate: float
    spikes: Mapping[str, Array]
    unproven: tuple[Unproven, ...] = field(default=())
    potentials: Mapping[str, Array] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        sample: Array,
        spikes: Mapping[str, Array],
        statement: str,
        unproven: Sequence[Unproven] = (),
        potentials: Mapping[str, Array] | None = None,
    ) -> Proof:
        """The proof of a comparison on ``sample``.

        Args:
            sample: ``[time, batch, *shape]``.
            spikes: of each neuron of each spiking population, ``[neurons]``.
            potentials: of each neuron of each read-out, ``[neurons]``.
        """
        rate = float(np.count_nonzero(sample) / sample.size) if sample.size else 0.0
        stored, _ = _packed(sample)
        return cls(
            statement,
            sample if len(stored) <= LARGEST else None,
            tuple(int(n) for n in sample.shape),
            digest_of(sample),
            rate,
            {name: np.asarray(counts, np.int64) for name, counts in spikes.items()},
            tuple(unproven),
            {name: np.asarray(v, np.float64) for name, v in (potentials or {}).items()},
        )

    @property
    def steps(self) -> int:
        """Number of time steps of the sample."""
        return self.shape[0]

    @property
    def samples(self) -> int:
        """Number of samples in its batch."""
        return self.shape[1]

    def store(self, graph: nir.NIRGraph) -> None:
        """Put the proof into the metadata of a graph, as `read` takes it."""
        record: dict[str, Any] = {
            "shape": np.array(self.shape, np.int64),
            "digest": self.digest,
            "rate": self.rate,
            "populations": json.dumps([[name, len(counts)] for name, counts in self.spikes.items()]),
            "spikes": np.concatenate([*self.spikes.values(), np.zeros(0, np.int64)]),
            "unproven": json.dumps([asdict(item) for item in self.unproven]),
        }
        if self.potentials:
            record["readouts"] = json.dumps([[name, len(v)] for name, v in self.potentials.items()])
            record["potentials"] = np.concatenate([*self.potentials.values()])
        if self.sample is not None:
            stored, binary = _packed(self.sample)
            record["type"] = self.sample.dtype.newbyteorder("<").str
            record["binary"] = int(binary)
            record["sample"] = np.frombuffer(zlib.compress(stored), np.uint8)
        put(graph, {STATEMENT: self.statement, RECORD: record})

    @staticmethod
    def read(file: NirFile) -> Proof | None:
        """The proof in a file; None where it holds none.

        Raises:
            InvalidInputError: the proof is damaged; names the file and what is wrong.
        """
        section = section_of(file.graph)
        if RECORD not in section:
            return None
        try:
            return _read(section)
        except (LookupError, ValueError, TypeError, OverflowError, AttributeError, zlib.error, RecursionError) as error:
            said = str(error).strip().split("\n")[0]
            raise InvalidInputError(
                f"{file.path} holds a damaged proof (proof_record in its metadata)",
                found=said or type(error).__name__,
                allowed="what neurodeploy export wrote there",
                hint="export the network again, or remove proof_record from the metadata",
            ) from error


def digest_of(sample: Array) -> str:
    """SHA-256 of an array's type, shape and bytes in little-endian C order, in hexadecimal."""
    plain_order = np.ascontiguousarray(sample, sample.dtype.newbyteorder("<"))
    head = f"{plain_order.dtype.str} {list(sample.shape)} ".encode()
    return hashlib.sha256(head + plain_order.tobytes()).hexdigest()


def _packed(sample: Array) -> tuple[bytes, bool]:
    """The sample's bytes and False, or its bits and True where it holds nothing but 0 and 1."""
    whole = np.ascontiguousarray(sample, sample.dtype.newbyteorder("<"))
    spikes = whole == 1
    if whole.tobytes() == spikes.astype(whole.dtype).tobytes():  # -0.0 is a 0 that a bit does not give back
        return np.packbits(spikes).tobytes(), True
    return whole.tobytes(), False


def _unpacked(data: bytes, binary: bool, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """The sample again; no more is unpacked than its shape says."""
    entries = math.prod(shape)
    size = -(-entries // 8) if binary else entries * dtype.itemsize
    _expect(size <= LARGEST, f"a sample of {size:,} bytes; up to {LARGEST:,} are kept")
    unpacking = zlib.decompressobj()
    stored = unpacking.decompress(data, size + 1)
    _expect(len(stored) == size and unpacking.eof, f"a sample that is not the {size:,} bytes of its shape")
    flat = np.frombuffer(stored, np.uint8 if binary else dtype)
    flat = np.unpackbits(flat, count=entries).astype(dtype) if binary else flat.astype(dtype.newbyteorder("="))
    return sole(flat.reshape(shape).astype(dtype.newbyteorder("="), copy=False))


def _read(section: Mapping[str, Any]) -> Proof:
    """The proof of our section; anything wrong is a `ValueError` or what Python raises."""
    record, statement = section[RECORD], plain(section.get(STATEMENT))
    _expect(isinstance(record, Mapping), "proof_record that is not a group")
    _expect(isinstance(statement, str), "no sentence under proof")
    shape = tuple(_count(n, "the shape") for n in _array(record, "shape", 1))
    _expect(len(shape) >= 3 and min(shape) >= 1, f"a sample of shape {list(shape)}")
    digest = str(_text(record, "digest"))
    rate = float(plain(record["rate"]))
    _expect(0 <= rate <= 1, f"a rate of {rate}")
    counts = _array(record, "spikes", 1)
    _expect(counts.dtype.kind in "iu", "spike counts that are not whole numbers")
    _expect(not len(counts) or int(counts.min()) >= 0, "spike counts below 0")
    spikes = _by_population(record, "populations", counts.astype(np.int64), "spike counts")
    potentials = {}
    if "readouts" in record or "potentials" in record:
        values = _array(record, "potentials", 1).astype(np.float64)
        _expect(bool(np.isfinite(values).all()), "potentials that are not finite")
        potentials = _by_population(record, "readouts", values, "potentials")
    unproven = tuple(
        Unproven(str(item["layer"]), _count(item["neurons"], "neurons"), _count(item["of"], "of"), str(item["why"]))
        for item in json.loads(_text(record, "unproven"))
    )
    sample = None
    if "sample" in record:
        dtype = np.dtype(_text(record, "type"))
        _expect(dtype.kind in _KINDS and dtype.itemsize <= 8, f"a sample of type {dtype}")
        data = _array(record, "sample", 1)
        _expect(data.dtype == np.uint8, f"packed bytes of type {data.dtype}")
        binary = plain(record["binary"])
        _expect(binary in (0, 1), f"binary {binary!r}")
        sample = _unpacked(data.tobytes(), bool(binary), dtype, shape)
        _expect(digest_of(sample) == digest, "a sample that is not the one of its digest")
        share = np.count_nonzero(sample) / sample.size
        _expect(math.isclose(rate, share, rel_tol=1e-9), f"a rate of {rate} for a sample with {share}")
    return Proof(statement, sample, shape, digest, rate, spikes, unproven, potentials)


def _by_population(record: Mapping[str, Any], key: str, values: Array, what: str) -> dict[str, Array]:
    """One number for each neuron, by the names and sizes that stand under ``key``."""
    found: dict[str, Array] = {}
    first = 0
    for name, neurons in json.loads(_text(record, key)):
        size = _count(neurons, "the number of neurons")
        _expect(isinstance(name, str) and name not in found, f"the population {name!r}")
        _expect(first + size <= len(values), f"fewer {what} than neurons")
        found[name] = values[first : first + size]
        first += size
    _expect(first == len(values), f"{what} that are not one for each neuron")
    return found


def _expect(good: bool, found: str) -> None:
    if not good:
        raise ValueError(found)


def _text(record: Mapping[str, Any], key: str) -> str:
    value = plain(record[key])
    _expect(isinstance(value, str), f"{key} that is not text")
    return str(value)


def _array(record: Mapping[str, Any], key: str, rank: int) -> Array:
    value = np.asarray(record[key])
    _expect(value.ndim == rank and value.dtype.kind in _KINDS, f"{key} that is not {rank}-dimensional numbers")
    return value


def _count(value: Any, what: str) -> int:
    whole = int(value)
    _expect(whole == value and whole >= 0, f"{value} in {what}")
    return whole
