"""The Lava back-end against the stated arithmetic, and what it refuses.

The networks run on real Lava: the sidecar is made on the first run of these tests (about 15 s).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nir
import numpy as np
import pytest

from neurodeploy.backends import lava
from neurodeploy.backends.lava import client
from neurodeploy.backends.lava.lower import lower
from neurodeploy.backends.lava.setup import setup
from neurodeploy.backends.reference import run as reference
from neurodeploy.compiler import CompileOptions, compile
from neurodeploy.errors import BackendError, InvalidInputError, UnsupportedError
from neurodeploy.network.connectivity import Dense
from neurodeploy.network.network import Population, Projection
from neurodeploy.network.neurons import Lif, Product, Source
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Record, check_inputs
from tests import nirgraphs
from tests.backends.lava_networks import convolutional, expected, lif, mlp, one_sign, program, recurrent, small, trains
from tests.conformance import cases
from tests.conformance.compare import difference
from tests.networks import placed, random_network, random_spikes

BOTH = Record(("u", "v"))


@pytest.fixture(scope="module", autouse=True)
def sidecar() -> Path:
    return setup()


def assert_same(which: Program, inputs: dict[str, np.ndarray]) -> None:
    """Compare every state and spike of a run with `expected` and with the reference back-end."""
    told: list[tuple[int, int]] = []
    got = lava.run(which, inputs, record=BOTH, progress=lambda done, total: told.append((done, total)))
    truth, judge = expected(which, inputs), reference.run(which, inputs, record=BOTH)
    assert got.backend == "lava"
    assert told[-1][0] == told[-1][1]
    assert told == sorted(told)
    for population in which.network.populations:
        name = population.name
        if population.spiking:
            spikes = got.spikes[name]
            np.testing.assert_array_equal(spikes.dense(), truth["s"][name], err_msg=name)
            for field in ("time", "sample", "neuron"):  # the order of the events, too
                np.testing.assert_array_equal(getattr(spikes, field), getattr(judge.spikes[name], field))
            assert 0.02 < spikes.dense().mean() < 0.98 or isinstance(population.neuron, Source), name
        else:
            assert name not in got.spikes
        if isinstance(population.neuron, Lif):
            for state in ("u", "v"):
                np.testing.assert_array_equal(got.states[state][name], truth[state][name], err_msg=f"{state} {name}")
                np.testing.assert_array_equal(got.states[state][name], judge.states[state][name])
                assert np.any(got.states[state][name])


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("make", [mlp, convolutional, one_sign, recurrent])
def test_runs_bit_for_bit(make: Callable[[np.random.Generator], Program], seed: int) -> None:
    rng = np.random.default_rng(seed)
    which = make(rng)
    assert_same(which, trains(rng, which, steps=14, samples=4))


@pytest.mark.parametrize("seed", [0, 3, 5, 8])
def test_agrees_with_the_reference_on_the_shared_random_networks(seed: int) -> None:
    """All kinds of connectivity, extreme weights, thresholds and biases; the neurons made such as Lava has."""
    network = random_network(seed)
    populations = [
        replace(
            p,
            neuron=replace(
                p.neuron,
                reset="hard",
                reset_time="now",
                max_spikes=1,
                floor=None,
                comparison=">",
                initial=0 * p.neuron.initial,
            ),
        )
        if isinstance(p.neuron, Lif)
        else p
        for p in network.populations
    ]
    which = placed(replace(network, populations=tuple(populations)))
    inputs = {"input": random_spikes(network, seed)}
    got, judge = lava.run(which, inputs, record=BOTH), reference.run(which, inputs, record=BOTH)
    assert got.spikes.keys() == judge.spikes.keys()
    for name in got.spikes:
        np.testing.assert_array_equal(got.spikes[name].dense(), judge.spikes[name].dense(), err_msg=name)
    for state in ("u", "v"):
        assert got.states[state].keys() == judge.states[state].keys()
        for name in got.states[state]:
            np.testing.assert_array_equal(got.states[state][name], judge.states[state][name], err_msg=name)


@pytest.mark.parametrize("graph", [nirgraphs.mlp, nirgraphs.conv])
@pytest.mark.parametrize(
    "pipeline",
    ["quantise", "split-signs,encode,quantise{thresholds=8}", "split-signs,quantise{thresholds=any range=max}"],
)
def test_every_way_of_quantising_runs_bit_for_bit(
    graph: Callable[[], nir.NIRGraph], pipeline: str, tmp_path: Path
) -> None:
    """Weights of one sign with all 8 bits, thresholds that differ from neuron to neuron."""
    shape = (12,) if graph is nirgraphs.mlp else (1, 8, 8)
    x = (np.random.default_rng(0).random((25, 2, *shape)) < 0.3).astype(np.uint8)
    path = nirgraphs.write(graph(), tmp_path / "net.nir")
    compiled = compile(path, None, CompileOptions(conventions={"dt": 1e-3}, calibration={"": x}, passes=pipeline))
    network = compiled.program.network
    if "any" in pipeline:
        assert len(np.unique(network.by_name["lif1"].neuron.threshold)) > 1
    if "split" in pipeline:
        assert any((p.connectivity.weights & 1).any() for p in network.projections), "odd weights are used"
    got, judge = (run(compiled.program, {"": x}, record=BOTH) for run in (lava.run, reference.run))
    for population in network.populations:
        name = population.name
        if population.spiking:
            np.testing.assert_array_equal(got.spikes[name].dense(), judge.spikes[name].dense(), err_msg=name)
        if isinstance(population.neuron, Lif):
            for state in ("u", "v"):
                np.testing.assert_array_equal(got.states[state][name], judge.states[state][name], err_msg=name)


def test_uses_lavas_own_conv_where_it_is_exact() -> None:
    rng = np.random.default_rng(0)
    which = convolutional(rng)
    inputs = trains(rng, which, 6, 2)
    given = check_inputs(which.network, inputs)[2]
    for expanded, kind in ((0, "conv"), (1 << 20, "sparse")):
        job = lower(which, given, Record(), expanded=expanded)
        kinds = {entry["name"]: entry["kind"] for entry in job.description["projections"]}
        assert kinds == {"k1": kind, "k2": "sparse", "w": "dense"}  # k2 has a negative exponent
        got, truth = lava.run(which, inputs, record=BOTH, expanded=expanded), expected(which, inputs)
        for name in ("c1", "c2", "out"):
            np.testing.assert_array_equal(got.states["v"][name], truth["v"][name])


def test_large_convolutions_run_as_convolutions_in_floats() -> None:
    case = cases.build("Conv2d", "float")
    judge = reference.run(case.program, case.inputs, record=BOTH)
    for runtime in ("local", "stock"):
        found = lava.run(case.program, case.inputs, record=BOTH, expanded=0, runtime=runtime)
        assert difference(judge, found, integer=False) == ""


def test_shortest_run_and_parts_that_nothing_connects() -> None:
    """One step, fewer than the lag; a population of its own is a second run to Lava."""
    rng = np.random.default_rng(3)
    which = mlp(rng)
    alone = Population("alone", (3,), lif(3, bias=[100, 6402, 8000], dv=0))
    which = program([*which.network.populations, alone], list(which.network.projections))
    inputs = trains(rng, which, steps=1, samples=3)
    got, truth = lava.run(which, inputs, record=Record(("v",))), expected(which, inputs)
    for name in ("l1", "l2", "l3", "alone"):
        np.testing.assert_array_equal(got.spikes[name].dense(), truth["s"][name])
        np.testing.assert_array_equal(got.states["v"][name], truth["v"][name])
    assert got.spikes["alone"].neuron.tolist() == [1, 2] * 3
    assert "u" not in got.states


def test_large_inputs_are_cut_into_runs_of_few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    which = one_sign(rng)
    monkeypatch.setattr(client, "LARGEST_INPUT", 10 * 10 * 3)
    assert_same(which, trains(rng, which, steps=10, samples=5))


def test_readout_is_recorded_without_being_asked_for() -> None:
    rng = np.random.default_rng(5)
    which = convolutional(rng)
    inputs = trains(rng, which, steps=4, samples=1)
    got = lava.run(which, inputs)
    assert {state: set(values) for state, values in got.states.items()} == {"v": {"out"}}
    np.testing.assert_array_equal(got.states["v"]["out"], expected(which, inputs)["v"]["out"])


@pytest.mark.parametrize(
    ("which", "message"),
    [
        (small(threshold=6401), "the threshold of population 'out'"),
        (small(threshold=64 << 17), "threshold of population 'out'"),
        (small(bias=4097), "the bias of population 'out'"),
        (small(bias=4096 << 7), "the bias of population 'out'"),
        (small(du=4096), "du of population 'out'"),
        (small(256), "the weights of projection 'w'"),
        (small(exponent=8), "the weight exponent of projection 'w'"),
        (small(delay=64), "projection 'w' needs a longer delay"),
    ],
)
def test_refuses_what_lava_does_not_have(which: Program, message: str) -> None:
    with pytest.raises(UnsupportedError) as refused:
        lava.run(which, {"in": np.ones((2, 1, 1))})
    assert str(refused.value).startswith(message)
    assert refused.value.hint


def test_longest_delay_and_largest_registers() -> None:
    which = small(-255, delay=62, bias=4095 << 7, threshold=((1 << 17) - 1) << 6, dv=0)
    assert_states(which, {"in": np.ones((70, 1, 1), dtype=bool)})


def assert_states(which: Program, inputs: dict[str, np.ndarray]) -> None:
    got, truth = lava.run(which, inputs, record=BOTH), expected(which, inputs)
    for state in ("u", "v"):
        np.testing.assert_array_equal(got.states[state]["out"], truth[state]["out"])


def test_refuses_bad_time_outs() -> None:
    with pytest.raises(InvalidInputError, match="time-out"):
        lava.run(small(), {"in": np.ones((2, 1, 1))}, timeout=0)


def test_currents_that_pile_up_beyond_lavas_integers_are_an_error_and_not_a_wrong_result() -> None:
    """``du = 0`` forgets 1/4096 a step, and a step's wrap takes 2^24; what comes in is nearly 2^31."""
    populations = [Population("in", (100,), Source()), Population("out", (1,), lif(1, du=0))]
    wide = Dense(np.full((1, 100), 254, np.int16), 7)
    which = program(populations, [Projection("w", "in", "out", wide)])
    lava.run(which, {"in": np.ones((3, 1, 100), bool)})
    with pytest.raises(BackendError) as failed:
        lava.run(which, {"in": np.ones((30, 1, 100), bool)})
    assert "the current u of population 'out' has piled up" in str(failed.value)


def test_sums_beyond_32_bits_are_refused() -> None:
    populations = [Population("in", (1100,), Source()), Population("out", (1,), lif(1))]
    which = program(populations, [Projection("w", "in", "out", Dense(np.full((1, 1100), 254, np.int16), 7))])
    with pytest.raises(UnsupportedError, match="could leave the 32 bits") as refused:
        lava.run(which, {"in": np.ones((2, 1, 1100))})
    assert "up to 35" in str(refused.value.found)


def test_a_product_that_rounds_down_to_minus_one_is_counted_among_the_messages() -> None:
    """``(2 * -2) >> 10`` is -1, not 0."""
    one = np.full((1100, 1), 2, np.int16)
    populations = [
        Population("in", (1,), Source()),
        Population("gate", (1100,), Product(np.zeros(1100, np.int32), 10)),
        Population("out", (1,), lif(1)),
    ]
    projections = [
        Projection("a", "in", "gate", Dense(one)),
        Projection("b", "in", "gate", Dense(-one), port=1),
        Projection("w", "gate", "out", Dense(np.full((1, 1100), 254, np.int16), 7)),
    ]
    with pytest.raises(UnsupportedError, match="could leave the 32 bits"):
        lava.run(program(populations, projections), {"in": np.ones((2, 1, 1))})
