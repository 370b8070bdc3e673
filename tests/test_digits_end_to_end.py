"""The two trained networks, all the way: accuracy, and the same spikes and states on every back-end, Lava included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from neurodeploy import backends
from neurodeploy.backends import lava
from neurodeploy.backends.lava.setup import setup
from neurodeploy.compiler import Compiled, CompileOptions, compile, place
from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.models import registry
from neurodeploy.nir_graph import interpreter as nir_reference
from neurodeploy.program.recording import Record, Recording
from neurodeploy.verify.export_proof import export_proven
from neurodeploy.verify.stages import accuracy_of, torch_runner, verify_program

SAMPLES = 60


@dataclass(frozen=True, eq=False)
class Case:
    model: registry.Model
    module: object
    accuracy: float
    compiled: Compiled
    inputs: np.ndarray
    labels: np.ndarray


@pytest.fixture(scope="module", params=["digits-mlp", "digits-conv"])
def case(request: pytest.FixtureRequest, trained: Callable, tmp_path_factory: pytest.TempPathFactory) -> Case:
    model, found = registry.load(request.param), trained(request.param)
    data = model.data()
    path = tmp_path_factory.mktemp("nir") / f"{model.name}.nir"
    export_proven(found.module, data.inputs[:, :SAMPLES], model.dt, path)
    calibration = {"": model.calibration(64).inputs}
    compiled = compile(path, load_architecture("loihi1"), CompileOptions(calibration=calibration))
    return Case(model, found.module, found.accuracy, compiled, data.inputs, data.labels)


def test_torch_reaches_its_target(case: Case) -> None:
    assert len(case.labels) == 450, "a quarter of the digits, held out"
    assert case.accuracy >= {"digits-mlp": 0.95, "digits-conv": 0.96}[case.model.name]


def test_the_chip_loses_at_most_a_point(case: Case) -> None:
    program = case.compiled.program
    assert program.network.arithmetic == "loihi"
    run = backends.get("hwsim")(program, {"": case.inputs})
    found = accuracy_of("hwsim", program.network, run, case.labels)
    assert found.samples == 450
    assert found.accuracy >= case.accuracy - 0.01


@pytest.fixture(scope="module")
def runs(case: Case) -> dict[str, Recording]:
    setup()
    few = {"": case.inputs[:, :SAMPLES]}
    return {
        name: backends.get(name)(case.compiled.program, few, record=Record(("u", "v")))
        for name in ("reference", "hwsim", "lava")
    }


@pytest.mark.parametrize("other", ["hwsim", "lava"])
def test_every_spike_and_state_is_the_same(case: Case, runs: dict[str, Recording], other: str) -> None:
    """Compared here array by array, not by our own `verify`."""
    expected, found = runs["reference"], runs[other]
    layers = [p for p in case.compiled.program.network.populations if p.name in expected.states["v"]]
    assert len(layers) == {"digits-mlp": 2, "digits-conv": 3}[case.model.name]
    for population in layers:
        for state in ("u", "v"):
            ours, theirs = expected.states[state][population.name], found.states[state][population.name]
            assert ours.shape == (case.model.steps, SAMPLES, population.size)
            assert np.abs(ours).max() > 0
            np.testing.assert_array_equal(theirs, ours, err_msg=f"{state} of {population.name} on {other}")
        if population.spiking:
            ours, theirs = expected.spikes[population.name].dense(), found.spikes[population.name].dense()
            assert ours.any(axis=(0, 2)).all(), f"{population.name} spikes in every sample"
            np.testing.assert_array_equal(theirs, ours, err_msg=f"spikes of {population.name} on {other}")


def test_lava_in_floats_equals_the_nir_reference(case: Case) -> None:
    """All neurons of the trained network, every spike and potential; its layers have biases."""
    setup()
    program = place(case.compiled.float_network, None, {})
    few = {"": case.inputs[:, :20]}
    truth = nir_reference.run(case.compiled.file, few, case.compiled.conventions)
    found = lava.run(program, few, record=Record(("v",)))
    for population in program.network.populations[1:]:
        name = population.name
        assert np.any(population.neuron.bias) or any(p.bias is not None for p in program.network.into(name))
        np.testing.assert_allclose(found.states["v"][name], truth.states["v"][name], atol=1e-5, err_msg=name)
        if population.spiking:
            np.testing.assert_array_equal(found.spikes[name].dense(), truth.spikes[name].dense(), err_msg=name)
            assert len(found.spikes[name]) > 100


def test_the_whole_pipeline_passes(case: Case) -> None:
    few = {case.compiled.program.network.inputs[0].name: case.inputs[:, :SAMPLES]}
    verified = verify_program(
        case.compiled,
        few,
        case.labels[:SAMPLES],
        model=torch_runner(case.module, case.compiled.float_network),
        names=("reference", "hwsim"),
    )
    verdicts = {(p.first, p.second): p.verdict for p in verified.pairs}
    assert verdicts == {
        ("torch", "NIR"): "equal",
        ("NIR", "float network"): "equal",
        ("float network", "integer network"): "measured",
        ("integer network", "hwsim"): "equal",
    }
    (quantised,) = (p for p in verified.pairs if p.verdict == "measured")
    assert 0 < quantised.spike_distance < 0.15


def test_handles_lead_back_to_the_torch_modules(case: Case) -> None:
    modules = dict(case.module.named_modules())
    for population in case.compiled.program.network.populations[1:]:
        assert population.handle.module in modules
    for projection in case.compiled.program.network.projections:
        assert projection.handle.module in modules


def test_a_wrong_file_is_noticed(case: Case, tmp_path: Path) -> None:
    """Break one weight of the exported file: torch and NIR must no longer be equal."""
    import h5py

    from neurodeploy.lowering.lower import lower
    from neurodeploy.nir_graph import nir_file
    from neurodeploy.nir_graph.conventions import resolve
    from neurodeploy.verify.compare import verify
    from neurodeploy.verify.stages import stages_of

    source = case.compiled.file
    path = tmp_path / "broken.nir"
    path.write_bytes(source.path.read_bytes())
    name = next(n for n, node in source.graph.nodes.items() if hasattr(node, "weight"))
    with h5py.File(path, "r+") as file:
        weight = file[f"node/nodes/{name}/weight"]
        weight[...] = weight[...] * 1.001
    file = nir_file.read(path)
    network = lower(file, resolve(file))
    broken = Compiled(file, resolve(file), network, case.compiled.program)
    stages = stages_of(broken, torch_runner(case.module, network), ())
    _, pairs = verify(stages, {network.inputs[0].name: case.inputs[:, :SAMPLES]}, network)
    assert [p.verdict for p in pairs] == ["failed", "equal"]
    assert pairs[0].divergence is not None
