"""Linear layers in every order compile to what they mean: 200 of the cases of `tests.layer_orders`.

`benchmarks/fuzz_layers.py` runs the same checks on as many as one likes.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neurodeploy.backends.reference.run import run_network
from neurodeploy.compiler import CompileOptions, compile
from neurodeploy.network.connectivity import Dense, Sparse, with_weights
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.passes.quantise.quantise import Quantise
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Record
from tests.layer_checks import UNIT, check_order, check_weights, digest
from tests.layer_orders import KINDS, order
from tests.networks import placed, random_spikes
from tests.test_compile_properties import architecture

CASES, CHUNK = 200, 8


@pytest.mark.parametrize("first", range(0, CASES, CHUNK))
def test_layers_in_every_order_compile_to_what_they_mean(first: int) -> None:
    results = []
    for case in range(first, first + CHUNK):
        try:
            results.append(check_order(case)[0])
        except Exception as error:
            kinds = ", then ".join(" -> ".join((*stage, "neuron")) for stage in order(case))
            raise AssertionError(f"case {case}: {kinds}: {error}") from error
    # Else it would prove little.
    assert sum(result == "equal" for result in results) >= CHUNK - 3, results


def test_every_pair_of_layers_stands_before_a_neuron() -> None:
    stages = [stage for case in range(CASES) for stage in order(case)]
    assert {stage[-2:] for stage in stages if len(stage) > 1} == set(itertools.product(KINDS, repeat=2))
    assert {stage for stage in stages if len(stage) == 1} == {(kind,) for kind in KINDS}
    assert sum(len(stage) == 3 for stage in stages) >= CASES // 3


def test_every_triple_of_layers_is_a_case_of_the_fuzzer() -> None:
    firsts = {order(case)[0] for case in range(2 * len(KINDS) ** 3)}
    assert set(itertools.product(KINDS, repeat=3)) <= firsts
    assert set(itertools.product(KINDS, repeat=2)) <= firsts


def listed(seed: int, twice: bool) -> tuple[Network, Network]:
    """One network with its lists of synapses sorted by target, and as somebody else may have written them."""
    rng = np.random.default_rng(seed)
    sizes = {"input": 12, "hidden": 10, "out": 6}
    populations = [Population("input", (12,), Source())]
    for name in ("hidden", "out"):
        zero = np.zeros(sizes[name])
        neuron = Lif(zero + 1, zero + 0.1, zero, zero + 0.8, zero, zero)
        populations.append(Population(name, (sizes[name],), neuron))
    both: list[list[Projection]] = [[], []]
    for source, target in (("input", "hidden"), ("hidden", "out"), ("input", "out")):
        weights = rng.normal(size=(sizes[target], sizes[source]))
        weights[rng.random(weights.shape) < 0.4] = 0
        matrix = Dense(weights).to_csr()
        matrix.eliminate_zeros()
        rows = np.repeat(np.arange(sizes[source]), np.diff(matrix.indptr))
        targets, values = matrix.indices, matrix.data
        if twice:  # a second synapse of a weight of its own, which nearly undoes the largest one or adds to it
            again = rng.random(len(rows)) < 0.3
            again[np.abs(values).argmax()] = True
            rows, targets = np.concatenate([rows, rows[again]]), np.concatenate([targets, targets[again]])
            values = np.concatenate([values, values[again] * rng.choice([-0.9, 0.5], again.sum())])
        sorting, mixing = np.lexsort((values, targets, rows)), np.lexsort((rng.random(len(rows)), rows))
        indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=sizes[source]))])
        for projections, index in zip(both, (sorting, mixing), strict=True):
            kind = Sparse(values[index], targets[index].astype(np.int32), indptr, sizes[target])
            projections.append(Projection(f"{source} -> {target}", source, target, kind))
    ends = tuple(populations), ("out",), 1e-3
    first, second = (Network("listed", ends[0], tuple(p), *ends[1:]) for p in both)
    return first, second


def check_synapses(before: Network, after: Network, steps: float) -> None:
    """As `check_weights`, each of two synapses between the same neurons for itself."""
    for first, second in zip(before.projections, after.projections, strict=True):
        kind, found = first.connectivity, second.connectivity
        assert isinstance(kind, Sparse)
        assert isinstance(found, Sparse)
        np.testing.assert_array_equal(kind.targets, found.targets)
        both = kind.weights.min() < 0 < kind.weights.max()
        unit, high = (2 if both else 1) * UNIT * 2.0**found.exponent, 127 if both else 255
        wanted = kind.weights * after.by_name[second.target].scales[kind.targets] / unit
        assert np.abs(wanted).max() <= 2 * high * (1 + 1e-9), f"{first.name}: clipped too much"
        off = np.abs(found.weights * (UNIT * 2.0**found.exponent / unit) - np.clip(wanted, -high - both, high))
        assert off.max() <= steps + 1e-6, f"{first.name}: off by {off.max():.3f} steps"


@pytest.mark.parametrize("pipeline", ["quantise{rounding=nearest}", "split-signs,encode,quantise", "prune,quantise"])
@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("calibrated", [False, True])
def test_lists_in_any_order_compile_to_the_same(tmp_path: Path, pipeline: str, twice: bool, calibrated: bool) -> None:
    """A Program in floats whose rows are not sorted, or have a target twice, as another tool may write it."""
    networks = listed(3, twice)
    x = {"input": random_spikes(networks[0], 3)}
    results = []
    for name, network in zip(("sorted", "mixed"), networks, strict=True):
        path, written = tmp_path / f"{name}.ndp", digest(network)
        placed(network).save(path)
        options = CompileOptions(passes=pipeline, calibration=x if calibrated else None)
        made = compile(path, architecture("loihi1"), options)
        program, stages = made.program, made.stages
        assert digest(stages[0][1]) == digest(Program.load(path).network) == written
        compensated = calibrated and "nearest" not in pipeline
        if twice:
            check_synapses(stages[-2][1], stages[-1][1], steps=np.inf if compensated else 0.5)
        else:
            check_weights(stages[-2][1], stages[-1][1], x if compensated else None, clipped=2)
        results.append(run_network(program.network, x, record=Record(("u", "v"))))
    for name in ("hidden", "out"):
        first, second = (r.spikes[name].dense() for r in results)
        assert first.any()
        np.testing.assert_array_equal(first, second, err_msg=name)
        for state in ("u", "v"):
            np.testing.assert_array_equal(*(r.states[state][name] for r in results), err_msg=f"{state} of {name}")


def test_a_permutation_of_weights_would_be_seen() -> None:
    """The fault that these tests were written for: a list whose weights are sorted, and its targets not."""
    network, _ = listed(3, twice=False)
    integers = Quantise(range="max", rounding="nearest").apply(network)
    first = integers.projections[0]
    kind = first.connectivity
    moved = replace(first, connectivity=with_weights(kind, np.roll(kind.weights, 1), kind.exponent))
    check_weights(network, integers, None, clipped=1)
    with pytest.raises(AssertionError, match="instead of"):
        check_weights(network, replace(integers, projections=(moved, *integers.projections[1:])), None, clipped=1)
