"""Programs on disk with one to three fields changed, by somebody who knows the format: `check_mutant`.

A mutant is refused with one clear message, or it runs, equally on the reference and on hwsim. Nothing else is right:
no other exception, no crash, no access out of bounds (`benchmarks/fuzz_programs.py --bounds` compiles the checks in).
"""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.backends.reference import run as reference
from neurodeploy.errors import NeurodeployError
from neurodeploy.hwsim import engine
from neurodeploy.network.network import Network
from neurodeploy.program.program import Program
from tests.conformance.compare import EVERYTHING, difference
from tests.conformance.programs import learning_case, random_case

NUMBERS = (
    -1, 0, 1, 2, 3, 7, 64, 4096, 1 << 16, (1 << 23) + 1, 1 << 31, -(1 << 31), 1 << 40, -(1 << 63), 1 << 63, 1 << 70,
)  # fmt: skip
OTHERS = (
    None, True, "", "next", 0.5, -1e300, {"float": "nan"}, {"float": "inf"}, [], {}, {"map": {}}, {"array": 0},
    {"array": 10**6}, {"array": -1}, [1, 2], {"type": "Source", "fields": {}}, {"type": "Popen", "fields": {}},
)  # fmt: skip
DTYPES = (
    "int8", "int16", "int32", "int64", "uint8", "uint32", "uint64", "float16", "float32", "float64", "bool",
    "complex64", "U3", "S3", ">i4", ">f8", "datetime64[s]",
)  # fmt: skip
HUGE = 1e100
MOST = 20_000
"""Neurons, and steps of a delay, of a mutant that is run."""


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of everything in a header."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from leaves(item, (*path, key))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


class Mutant:
    """The parts of a file while they are changed."""

    def __init__(self, program: Program, rng: np.random.Generator, folder: Path) -> None:
        self.rng, self.path = rng, folder / "mutant.ndp"
        program.save(self.path)
        with zipfile.ZipFile(self.path) as archive:
            self.header = json.loads(archive.read("header.json"))
            names = sorted((n for n in archive.namelist() if n.startswith("arrays/")), key=lambda n: int(n[7:-4]))
            self.arrays = [np.lib.format.read_array(io.BytesIO(archive.read(n))) for n in names]
        self.done: list[str] = []

    def change(self) -> None:
        """One change, in the header or in an array."""
        if self.rng.random() < 0.5 and self.arrays:
            self._array(int(self.rng.integers(len(self.arrays))))
        else:
            self._header()

    def write(self) -> None:
        with zipfile.ZipFile(self.path, "w") as archive:
            archive.writestr("header.json", json.dumps(self.header))
            for index, array in enumerate(self.arrays):
                buffer = io.BytesIO()
                np.lib.format.write_array(buffer, array, allow_pickle=False)
                archive.writestr(f"arrays/{index}.npy", buffer.getvalue())

    def some(self, values: Any) -> Any:
        return values[int(self.rng.integers(len(values)))]

    def _header(self) -> None:
        paths = [p for p in leaves(self.header["value"]) if p]
        path = self.some(paths)
        holder, key = at(self.header["value"], path[:-1]), path[-1]
        old = holder[key]
        what = str(self.some(["drop", "copy", "number", "number", "other", "swap", "double"]))
        if what == "drop":
            del holder[key]
        elif what == "copy":  # what stands somewhere else
            holder[key] = json.loads(json.dumps(at(self.header["value"], self.some(paths)))) if path in paths else None
        elif what == "number" or (what == "swap" and not isinstance(old, list)):
            holder[key] = int(self.some(NUMBERS)) if self.rng.random() < 0.7 or not isinstance(old, int) else old + 1
        elif what == "swap":
            holder[key] = old[::-1]
        elif what == "double" and isinstance(old, list):
            holder[key] = [*old, *old]
        else:
            holder[key] = self.some(OTHERS)
        self.done.append(f"{what} {'.'.join(map(str, path))}: {json.dumps(old)[:60]}")

    def _array(self, index: int) -> None:
        array = self.arrays[index].copy()
        what = str(
            self.some(["element", "element", "all", "dtype", "shorter", "longer", "shape", "swap", "order", "empty"])
        )
        if what in ("element", "all") and array.size and array.dtype.kind in "iuf":
            limits = [np.nan, np.inf, -np.inf, 1e300, -1.0, 0.5] if array.dtype.kind == "f" else []
            value = self.some([*NUMBERS, *limits])
            if array.dtype.kind in "iu":
                info = np.iinfo(array.dtype)
                value = min(max(int(value), int(info.min)), int(info.max))
            flat = array.reshape(-1)
            flat[slice(None) if what == "all" else int(self.rng.integers(array.size))] = value
        elif what == "dtype":
            kind = np.dtype(str(self.some(DTYPES)))
            array = np.zeros(array.shape, kind) if kind.kind in "USM" else array.astype(kind)
        elif what == "shorter":
            array = array[: len(array) // 2]
        elif what == "longer":
            array = np.concatenate([array, array[:1]])
        elif what == "shape":
            array = self.some([array.reshape(-1), array[None], array.T, array.reshape(-1, 1)])
        elif what == "swap":
            other = int(self.rng.integers(len(self.arrays)))
            array, self.arrays[other] = self.arrays[other], array
        elif what == "order":
            array = self.rng.permutation(array)
        elif what == "empty":
            array = array[:0]
        self.arrays[index] = array
        self.done.append(f"{what} array {index} {self.arrays[index].dtype}{list(self.arrays[index].shape)}")


def small(network: Network) -> bool:
    """Whether it is run; what is large is slow, not wrong."""
    delays = max((p.delay for p in network.projections), default=0)
    return sum(p.size for p in network.populations) <= MOST and delays <= MOST


def check_mutant(seed: int) -> str:
    """``"equal"``, ``"large"``, or the message with which it was refused; anything else is an error."""
    rng = np.random.default_rng([seed, 7])
    arithmetic = "loihi" if rng.random() < 0.7 else "float"
    case = learning_case(seed % 40, arithmetic) if rng.random() < 0.15 else random_case(seed % 400, arithmetic)
    with tempfile.TemporaryDirectory() as folder, np.errstate(all="ignore"):
        mutant = Mutant(case.program, rng, Path(folder))
        for _ in range(int(rng.choice([1, 1, 2, 3]))):
            mutant.change()
        mutant.write()
        try:
            program = Program.load(mutant.path)
        except NeurodeployError as error:
            if str(mutant.path) not in error.what:
                raise AssertionError(f"the message does not name the file: {error}; {mutant.done}") from error
            return f"on load: {error.found or error.what}"
        if not small(program.network):
            return "large"
        x = {p.name: (rng.random((6, 2, *p.shape)) < 0.4).astype(np.uint8) for p in program.network.inputs}
        try:
            judge = reference.run(program, x, record=EVERYTHING)
            found = engine.run(program, x, record=EVERYTHING)
        except NeurodeployError as error:
            return f"on run: {error.what}"
        if any(
            not np.isfinite(a).all() or np.abs(a).max(initial=0) > HUGE
            for s in judge.states.values()
            for a in s.values()
        ):
            return "overflow"  # of floats, where every order of operations gives another NaN
        wrong = difference(judge, found, program.network.arithmetic == "loihi")
        assert not wrong, f"{wrong}; {mutant.done}"
        return "equal"
