"""A folder in which a case of `cases` runs commands, and what they answer."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]


class Skipped(Exception):
    """What this machine lacks."""


@dataclass(frozen=True)
class Ran:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """All that it said, in one line of words."""
        return " ".join((self.out + self.err).split())

    @property
    def refused(self) -> bool:
        """One message, exit code 2, no traceback."""
        return self.code == 2 and "error:" in self.err and "Traceback" not in self.err

    def json(self) -> Any:
        """Its machine-readable result."""
        return json.loads(self.out)


class Bench:
    """A folder to work in, with the files of a case."""

    def __init__(self, case: Path, work: Path) -> None:
        self.case, self.work = case, work
        for file in case.iterdir():
            if file.is_file():
                shutil.copy(file, work)
        given = case / "expected.json"
        self.expected: dict[str, Any] = json.loads(given.read_text()) if given.is_file() else {}

    def run(self, *args: object, **env: str) -> Ran:
        """``neurodeploy ...`` in the folder."""
        return self.python("-m", "neurodeploy", *args, **env)

    def python(self, *args: object, **env: str) -> Ran:
        """This Python with neurodeploy in it, in the folder."""
        paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [sys.executable, *map(str, args)], cwd=self.work, capture_output=True, text=True, timeout=600, check=False,
            env={**os.environ, "PYTHONPATH": paths, **env},
        )  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr)

    def made(self, *args: object) -> Ran:
        """A command that must work for the case to mean anything."""
        ran = self.run(*args)
        if ran.code != 0:
            raise AssertionError(f"`{' '.join(map(str, args))}` ends with {ran.code}: {ran.text[-600:]}")
        return ran

    def spikes(self, file: str, population: str, shape: tuple[int, ...]) -> np.ndarray:
        """Spikes of a recording, ``[time, samples, neurons]``."""
        held = np.load(self.work / file)
        dense = np.zeros(shape, np.int64)
        at = tuple(held[f"spikes/{population}/{key}"] for key in ("time", "sample", "neuron"))
        dense[at] = 1
        return dense

    def array(self, file: str) -> np.ndarray:
        """An array of the folder."""
        return np.asarray(np.load(self.work / file))

    def net(self, path: str = "net.nir", neurons: int = 6) -> tuple[str, str, str]:
        """A small network of two layers, an input and its labels."""
        import nir

        rng = np.random.default_rng(0)
        o = np.ones
        lif = [nir.LIF(o(n) * 0.01, o(n) * 10, o(n) * 0, o(n), o(n) * 0) for n in (neurons, 4)]
        nodes = {
            "input": nir.Input({"input": np.array([5])}), "w": nir.Linear(rng.normal(size=(neurons, 5))), "a": lif[0],
            "u": nir.Linear(rng.normal(size=(4, neurons)) * 2), "b": lif[1],
            "output": nir.Output({"output": np.array([4])}),
        }  # fmt: skip
        names = list(nodes)
        nir.write(self.work / path, nir.NIRGraph(nodes, list(itertools.pairwise(names))))
        np.save(self.work / "x_net.npy", (rng.random((30, 8, 5)) < 0.5).astype(np.uint8))
        np.save(self.work / "y_net.npy", rng.integers(0, 4, 8))
        return path, "x_net.npy", "y_net.npy"
