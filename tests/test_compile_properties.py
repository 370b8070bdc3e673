"""Random networks compile, save, load and run equally on reference and hwsim, in integers and in floats.

`benchmarks/fuzz_compile.py` runs the same checks on as many as one likes.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy import passes
from neurodeploy.backends.reference import run as reference
from neurodeploy.backends.reference.run import run_network
from neurodeploy.compiler import CompileOptions, compile
from neurodeploy.errors import DoesNotFitError, NeurodeployError, UnsupportedError
from neurodeploy.hwsim import engine
from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.hwsim.counts.counts import count
from neurodeploy.network.network import Network
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.nir_graph import interpreter as nir_reference
from neurodeploy.placement.place import Place
from neurodeploy.program.limits import Limits, Mesh
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Record
from tests import nirgraphs
from tests.networks import random_network
from tests.random_nir import random_graph

STATES = Record(("u", "v"))
architecture = cache(load_architecture)
PIPELINES = (
    "quantise", "prune,encode,quantise", "split-signs,encode,quantise{thresholds=any}",
    "quantise{thresholds=3 range=max rounding=nearest}", "encode,quantise{range=percentile}",
)  # fmt: skip


def random_inputs(network: Network, seed: int, steps: int = 10, samples: int = 2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {p.name: (rng.random((steps, samples, *p.shape)) < 0.35).astype(np.uint8) for p in network.inputs}


def random_place(network: Network, seed: int) -> Place:
    """Limits so tight that layers are split, but no neuron is left over."""
    rng = np.random.default_rng(seed)
    order = str(rng.choice(["spatial", "sequential", "random"]))
    limits = Limits("loihi1", 128, int(rng.choice([9, 60, 1024])), mesh=Mesh(8, 4))
    return Place(limits, order=order, share=bool(rng.random() < 0.5), chips=9, seed=seed)


def check_program(program: Program, folder: Path, seed: int) -> None:
    """Saved and loaded it is the same, and it runs equally on the reference and on hwsim."""
    first, second = folder / "a.ndp", folder / "b.ndp"
    program.save(first)
    loaded = Program.load(first)
    loaded.save(second)
    assert first.read_bytes() == second.read_bytes()
    x = random_inputs(program.network, seed)
    a, b, c = reference.run(program, x, record=STATES), engine.run(program, x, record=STATES), engine.run(loaded, x)
    integer = program.network.arithmetic == "loihi"
    for population in program.network.populations:
        name = population.name
        if population.spiking:
            np.testing.assert_array_equal(a.spikes[name].dense(), b.spikes[name].dense(), err_msg=name)
            np.testing.assert_array_equal(a.spikes[name].dense(), c.spikes[name].dense(), err_msg=name)
        if isinstance(population.neuron, Source):
            continue
        for key in ("u", "v"):
            if name in a.states.get(key, {}):
                found = np.asarray(b.states[key][name], np.float64)
                expected = np.asarray(a.states[key][name], np.float64)
                if integer:
                    np.testing.assert_array_equal(expected, found, err_msg=f"{name} {key}")
                else:
                    size = max(1.0, float(np.abs(expected).max(initial=0)))
                    np.testing.assert_allclose(expected, found, atol=1e-9 * size, err_msg=f"{name} {key}")
    if all(p.spiking or not any(q.source == p.name for q in program.network.projections)
           for p in program.network.populations):  # fmt: skip
        counts = count(program, b, architecture("loihi1"))
        for name in ("sops", "nonzero_sops"):
            assert counts.core[name].sum() == counts.layer[name].sum()
        sent = counts.core["messages_out"].sum() + counts.fabric["host_messages"].sum()
        assert counts.core["messages_in"].sum() == sent == counts.layer["messages_out"].sum()


def check_network(seed: int, arithmetic: str) -> None:
    network = random_network(seed, arithmetic)
    with tempfile.TemporaryDirectory() as folder:
        check_program(random_place(network, seed).apply(network), Path(folder), seed)


def check_quantised(seed: int) -> str:
    """A float network through a random pipeline; ``"equal"``, or why it was refused."""
    network = random_network(seed, "float", slow=False)
    rng = np.random.default_rng(seed)
    data = passes.PassData(random_inputs(network, seed + 1) if rng.random() < 0.7 else None, teacher=network)
    try:
        for step in passes.parse(str(rng.choice(PIPELINES))):
            network = step.build().apply(network, data)
    except UnsupportedError as error:
        return error.what
    assert network.arithmetic == "loihi"
    for population in network.populations:
        if isinstance(population.neuron, Lif):
            assert np.abs(population.neuron.bias).max() <= 4095 << 7
            assert population.neuron.threshold.max() <= 1 << 23
    for projection in network.projections:
        w = projection.connectivity.weights
        mixed = w.min(initial=0) < 0 < w.max(initial=0)
        assert -256 <= w.min(initial=0) <= w.max(initial=0) <= 255
        assert not mixed or not (w & 1).any()
        assert -8 <= projection.connectivity.exponent <= 7
    with tempfile.TemporaryDirectory() as folder:
        check_program(random_place(network, seed).apply(network), Path(folder), seed)
    return "equal"


def check_file(seed: int) -> str:
    """A NIR file, read, lowered, compiled in integers and floats; ``"equal"``, or why it was refused."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = nirgraphs.write(random_graph(seed), Path(folder) / "net.nir")
        options = {"dt": 1e-3, "reset": str(rng.choice(["hard", "subtract"])), "comparison": ">"}
        options["recurrent_bias"] = "after-delay"
        try:
            floats = compile(path, None, CompileOptions(conventions=options, integer=False))
            x = random_inputs(floats.float_network, seed)
            few = x if rng.random() < 0.7 else None
            arch = architecture(str(rng.choice(["loihi1", "loihi2"])))
            placement = {"max_neurons_per_core": int(rng.choice([13, 200])), "share": bool(rng.random() < 0.5)}
            integers = compile(
                path,
                arch,
                CompileOptions(conventions=options, calibration=few, passes=str(rng.choice(PIPELINES)), **placement),
            )
        except (UnsupportedError, DoesNotFitError) as error:
            return error.what
        a = nir_reference.run(floats.file, x, floats.conventions)
        b = run_network(floats.float_network, x, record=STATES)
        for population in floats.float_network.populations:
            if population.spiking and population.name in a.spikes:
                np.testing.assert_array_equal(
                    a.spikes[population.name].dense(), b.spikes[population.name].dense(), err_msg=population.name
                )
        check_program(floats.program, Path(folder), seed)
        check_program(integers.program, Path(folder), seed)
    return "equal"


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.sampled_from(["loihi", "float"]))
def test_networks_are_placed_saved_loaded_and_run_equally(seed: int, arithmetic: str) -> None:
    check_network(seed, arithmetic)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.integers(0, 10**6))
def test_float_networks_become_integers_that_run_equally(seed: int) -> None:
    check_quantised(seed)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(0, 10**6))
def test_nir_files_compile_and_run_equally(seed: int) -> None:
    check_file(seed)


def test_most_random_networks_are_not_refused() -> None:
    """Else the tests above would prove little."""
    refused = [why for check in (check_quantised, check_file) for seed in range(25) if (why := check(seed)) != "equal"]
    assert len(refused) <= 15, refused


def test_a_difference_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = random_network(3)
    program = random_place(network, 3).apply(network)
    first = program.network.projections[0]
    other = replace(first, connectivity=replace(first.connectivity, weights=-first.connectivity.weights))
    changed = replace(network, projections=(other, *network.projections[1:]))
    monkeypatch.setattr(reference, "run", lambda p, x, record: run_network(changed, x, record=record))
    with pytest.raises(AssertionError):
        check_program(program, tmp_path, 3)


__all__ = ["NeurodeployError", "check_file", "check_network", "check_quantised"]
