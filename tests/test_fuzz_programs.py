"""Programs with fields changed by somebody who knows the format are refused, or run equally everywhere.

`benchmarks/fuzz_programs.py` does the same with as many as one likes, and with checks of every index compiled in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurodeploy.errors import InvalidInputError
from neurodeploy.network.connectivity import Connectivity, Conv2d, Dense, Sparse
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Product, SigmaDelta, Source
from neurodeploy.program.program import CoreUse, Program
from tests.program_mutants import check_mutant

CASES, CHUNK = 400, 50


@pytest.mark.parametrize("first", range(0, CASES, CHUNK))
def test_changed_programs_are_refused_or_run_equally(first: int) -> None:
    results = []
    for seed in range(first, first + CHUNK):
        try:
            results.append(check_mutant(seed))
        except Exception as error:
            raise AssertionError(f"mutant {seed}: {type(error).__name__}: {error}") from error
    assert results.count("equal") >= CHUNK // 12, "what means the same must still run"


N = 4
ONE = np.ones(1)


def lif(**changes: Any) -> Lif:
    one = np.full(N, 64, np.int64)
    return replace(Lif(one * 63, one, one * 0, one * 10, one * 0, one * 0), **changes)


def network(kind: Connectivity | None = None, neuron: Any = None, arithmetic: Any = "loihi", **more: Any) -> Network:
    layer = {"name": "l", "shape": (N,), "neuron": neuron or lif(), **more.pop("population", {})}
    populations = (Population("in", (6,), Source()), Population(**layer))
    kind = kind or Dense(np.full((N, 6), 2, np.int16))
    projection = Projection("p", "in", "l", kind, **more.pop("projection", {}))
    return Network("n", populations, (projection,), ("l",), **{"dt": 1e-3, "arithmetic": arithmetic, **more})


def sparse(targets: list[int], indptr: list[int], count: int = N, **more: Any) -> Sparse:
    return Sparse(np.full(len(targets), 2, np.int16), np.array(targets, np.int32), np.array(indptr), count, **more)


WRONG: dict[str, Callable[[], object]] = {
    "a target that does not exist": lambda: sparse([0, 1, N], [0, 1, 2, 3]),
    "a negative target": lambda: sparse([0, -1, 1], [0, 1, 2, 3]),
    "row starts that descend": lambda: sparse([0, 1, 2], [0, 2, 1, 3]),
    "row starts beyond the end": lambda: sparse([0, 1, 2], [0, 1, 2, 4]),
    "row starts that do not begin": lambda: sparse([0, 1, 2], [1, 1, 2, 3]),
    "no row starts": lambda: sparse([], []),
    "fewer targets than weights": lambda: Sparse(np.ones(3), np.zeros(2, np.int32), np.array([0, 3]), 2),
    "targets in floats": lambda: Sparse(np.ones(2), np.zeros(2), np.array([0, 2]), 2),
    "a kernel larger than its image": lambda: Conv2d(np.ones((1, 1, 5, 5)), (1, 3, 3)),
    "groups that do not divide": lambda: Conv2d(np.ones((3, 1, 1, 1)), (2, 3, 3), groups=2),
    "channels that do not fit": lambda: Conv2d(np.ones((2, 2, 1, 1)), (3, 3, 3)),
    "a stride of nothing": lambda: Conv2d(np.ones((1, 1, 1, 1)), (1, 3, 3), stride=(0, 1)),
    "negative padding": lambda: Conv2d(np.ones((1, 1, 1, 1)), (1, 3, 3), padding=(-1, 0)),
    "weights of one axis": lambda: Dense(np.ones(3)),
    "weights that are texts": lambda: Dense(np.array([["a"]])),
    "weights that are complex": lambda: Dense(np.array([[1j]])),
    "NaN among the weights": lambda: Dense(np.array([[np.nan]])),
    "an exponent beyond any chip's": lambda: Dense(np.ones((1, 1)), 400),
    "an exponent that is no number": lambda: Dense(np.ones((1, 1)), None),  # type: ignore[arg-type]
    "broken weights in integers": lambda: network(Dense(np.full((N, 6), 0.5))),
    "an exponent in floats": lambda: network(Dense(np.ones((N, 6)), 2), lif(), "float"),
    "a product that leaves 32 bits": lambda: network(Dense(np.full((N, 6), 1 << 12, np.int32), 20)),
    "a delay before the past": lambda: network(projection={"delay": -1}),
    "a bias of another length": lambda: network(None, lif(), "float", projection={"bias": np.ones(N + 1)}),
    "an empty shape": lambda: network(population={"shape": ()}),
    "NaN in a parameter": lambda: network(neuron=lif(bias=np.full(N, np.nan)), arithmetic="float"),
    "a parameter of another length": lambda: network(neuron=lif(bias=np.zeros(N + 1, np.int64))),
    "a parameter beyond 32 bits": lambda: network(neuron=lif(bias=np.full(N, 1 << 40))),
    "a decay beyond its register": lambda: network(neuron=lif(du=np.full(N, 5000))),
    "a decay below nothing": lambda: network(neuron=lif(dv=np.full(N, -1))),
    "a reset that nobody knows": lambda: lif(reset="softly"),
    "a number for a text": lambda: lif(comparison=1),
    "several spikes of a threshold of 0": lambda: network(neuron=lif(max_spikes=5, threshold=np.zeros(N, np.int64))),
    "a source that something reaches": lambda: network(neuron=Source()),
    "a source that begins after all": lambda: Network(
        "n", (Population("in", (1,), Source(start=1 << 40)),), (), (), 1e-3
    ),
    "no spikes at most": lambda: network(neuron=lif(max_spikes=0)),
    "a shift of 200": lambda: network(neuron=Product(np.zeros(N, np.int64), shift=200)),
    "a shift in floats": lambda: network(neuron=SigmaDelta(np.zeros(N), np.zeros(N), send_shift=3), arithmetic="float"),
    "half an adaptive threshold": lambda: network(neuron=lif(threshold_jump=np.zeros(N, np.int64))),
    "a negative refractory time": lambda: network(neuron=lif(refractory=np.full(N, -1))),
    "messages of 99 bits": lambda: Network("n", (Population("in", (1,), Source(payload_bits=99)),), (), (), 1e-3),
    "a time step of 0": lambda: network(dt=0.0),
    "a time step of NaN": lambda: network(dt=float("nan")),
    "another arithmetic": lambda: network(arithmetic="decimal"),
    "a scale of 0": lambda: network(population={"scale": 0.0}),
    "cores below nothing": lambda: Program(network(), "loihi1", {"l": np.full(N, -1)}),
    "cores in floats": lambda: Program(network(), "loihi1", {"l": np.zeros(N)}),
    "cores of nobody": lambda: Program(network(), "loihi1", {"l": np.zeros(N, int), "x": np.zeros(N, int)}),
    "a core without end": lambda: Program(network(), "loihi1", {"l": np.full(N, 1 << 40)}),
    "a use that is no number": lambda: CoreUse("0", 1, 2, 3, 4),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("what", WRONG)
def test_the_constructors_refuse(what: str) -> None:
    with pytest.raises(InvalidInputError):
        WRONG[what]()


def test_what_is_right_is_taken(tmp_path: Path) -> None:
    kinds = (sparse([0, 3, 1, 1, 2, 0], [0, 1, 2, 3, 4, 5, 6]), Dense(np.full((N, 6), 2, np.int16), -8))
    for kind in kinds:
        program = Program(network(kind), "loihi1", {"l": np.zeros(N, np.int32)})
        program.save(tmp_path / "a.ndp")
        assert Program.load(tmp_path / "a.ndp").network.projections[0].connectivity.inputs == 6
