"""The whole way of one network: every stage is another network here, so no figure can pass for another stage's.

Neurons forget within a step, so a neuron spikes with an input whenever its weight exceeds 1, the threshold. Of eight
samples, class c of which has spikes of input c alone (one in the even samples, two in the odd ones),

- the torch model is wrong about the last one only,
- the file answers the input, and is wrong about samples 2 and 4,
- the float network answers the other one, and is right about these two only,
- the Program's first neuron answers both and its second none: class 0 for all, which is right for four,
- one more back-end moves all spikes to the second neuron: class 1 for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import nir
import numpy as np
import pytest

from neurodeploy import backends
from neurodeploy.backends.reference import run as reference
from neurodeploy.compiler import Compiled, CompileOptions, compile
from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Events, Record, Recording
from neurodeploy.report.assess import assess
from neurodeploy.report.document import NetworkResult
from neurodeploy.verify.stages import Verified
from tests import nirgraphs

CLASSES = [0, 0, 0, 1, 1, 0, 1, 1]
LABELS = np.array([0, 0, 1, 1, 0, 0, 1, 1])
TORCH = [0, 0, 1, 1, 0, 0, 1, 0]
FEW = 3
NAMES = ("reference", "hwsim", "other")


def inputs() -> np.ndarray:
    x = np.zeros((2, 8, 2), np.uint8)
    for sample, which in enumerate(CLASSES):
        x[: 1 + sample % 2, sample, which] = 1
    return x


def compiled_from(weights: list[list[float]], path: Path) -> Compiled:
    nodes = {"fc": nir.Linear(np.array(weights)), "lif": nirgraphs.lif(2, tau=1e-3, threshold=1.0)}
    options = CompileOptions(conventions={"dt": 1e-3, "reset": "hard"}, calibration={"": np.ones((3, 4, 2), np.uint8)})
    nirgraphs.write(nirgraphs.sequence((2,), nodes), path)
    return compile(path, load_architecture("loihi1"), options)


@pytest.fixture
def compiled(tmp_path: Path) -> Compiled:
    file = compiled_from([[2, 0], [0, 2]], tmp_path / "file.nir")
    other = compiled_from([[0, 2], [2, 0]], tmp_path / "other.nir")
    chip = compiled_from([[2, 2], [0.25, 0.5]], tmp_path / "chip.nir")
    return replace(file, float_network=other.float_network, program=chip.program, stages=chip.stages)


def answering(classes: list[int], given: Mapping[str, np.ndarray]) -> Recording:
    """As the torch model: with every input spike, the neuron of the sample's answer."""
    x = next(iter(given.values()))
    spikes = np.zeros((*x.shape[:2], 2), bool)
    for sample, which in enumerate(classes[: x.shape[1]]):
        spikes[:, sample, which] = x[:, sample].any(axis=1)
    return Recording("torch", *x.shape[:2], {"input": Events.from_dense(x > 0), "lif": Events.from_dense(spikes)})


def other(
    program: Program, given: Mapping[str, np.ndarray], *, record: Record = Record(), progress: object = None
) -> Recording:
    """A back-end that moves all spikes to the second neuron."""
    del progress
    found = reference.run(program, given, record=record)
    sent = found.spikes["lif"]
    return replace(found, spikes={**found.spikes, "lif": replace(sent, neuron=np.ones_like(sent.neuron))})


@pytest.fixture
def found(compiled: Compiled, monkeypatch: pytest.MonkeyPatch) -> tuple[NetworkResult, Verified]:
    monkeypatch.setitem(backends.BUILTIN, "other", f"{__name__}:other")
    return assess(
        compiled, load_architecture("loihi1"), {"input": inputs()}, LABELS, name="n", description="d",
        model=lambda given: answering(TORCH, given), verified_samples=FEW, names=NAMES,
    )  # fmt: skip


def test_accuracies_that_stand_together_are_of_the_same_samples(found: tuple[NetworkResult, Verified]) -> None:
    """Every stage saw three samples, labelled 0, 0, 1; all but the other back-end saw all eight as well."""
    stages = {stage.name: (stage.accuracy, stage.samples) for stage in found[0].stages}
    assert stages == {
        "torch": (3 / 3, 3), "NIR": (2 / 3, 3), "float network": (1 / 3, 3), "integer network": (2 / 3, 3),
        "hwsim": (2 / 3, 3), "other": (1 / 3, 3),
    }  # fmt: skip
    assert [stage.name for stage in found[0].stages] == list(stages), "in the order of the pipeline"
    assert {stage.name: (stage.accuracy, stage.samples) for stage in found[0].stages_on_all} == {
        "torch": (7 / 8, 8), "NIR": (6 / 8, 8), "float network": (2 / 8, 8), "integer network": (4 / 8, 8),
        "hwsim": (4 / 8, 8),
    }  # fmt: skip
    few = {entry.stage: (entry.accuracy, entry.samples) for entry in found[1].accuracies}
    assert few == {
        "torch": (3 / 3, 3), "NIR": (2 / 3, 3), "float network": (1 / 3, 3), "integer network": (2 / 3, 3),
        "hwsim": (2 / 3, 3), "other": (1 / 3, 3),
    }  # fmt: skip


def test_pairs_are_of_the_verified_samples(found: tuple[NetworkResult, Verified]) -> None:
    """Three samples of one input, with 1, 2 and 1 spikes: four spikes of each stage, in 2 x 3 x 2 neuron-steps.

    Torch answers the third sample with the other neuron: one spike here and one there, of 4 + 4. All else differs
    wholly, or not at all.
    """
    pairs = {(pair.first, pair.second): pair for pair in found[0].pairs}
    assert {names: (p.spikes_different, p.spike_distance, p.verdict) for names, p in pairs.items()} == {
        ("torch", "NIR"): (2, 2 / 8, "failed"),
        ("NIR", "float network"): (8, 1, "failed"),
        ("float network", "integer network"): (8, 1, "measured"),
        ("integer network", "hwsim"): (0, 0, "equal"),
        ("hwsim", "other"): (8, 1, "failed"),
    }
    assert {(pair.samples, pair.compared) for pair in pairs.values()} == {(3, 12)}
    assert [pair.exact_by_design for pair in pairs.values()] == [True, True, False, True, True]
    first = pairs["torch", "NIR"].divergence
    assert first is not None
    assert (first.population, first.handle, first.step, first.sample, first.neuron) == ("lif", "lif", 0, 2, 0)
    assert (first.first_v, first.second_v) == (None, 0), "torch recorded none; the neuron has spiked and is reset"
    assert pairs["integer network", "hwsim"].divergence is None
    assert not found[1].passed


def test_counts_and_raster_are_of_all_samples_on_hwsim(found: tuple[NetworkResult, Verified]) -> None:
    """Samples have one and two spikes in turn, each of which walks two weights and makes the first neuron spike."""
    result = found[0]
    source, lif = result.layers
    assert (source.events_per_inference, source.events_per_step) == (1.5, (1, 0.5))
    assert (lif.events_per_inference, lif.events_per_step, lif.sops) == (1.5, (1, 0.5), 3)
    assert (lif.synapses, lif.kind) == (4, "dense")
    assert sum(core.sops for core in result.cores) == 3
    assert result.energy is not None
    operations = next(line for line in result.energy.lines if line.component == "synaptic_operation")
    assert operations.count == 3
    assert result.raster is not None
    assert (result.raster.label, result.raster.predicted) == (0, 0)
    assert [(p.name, p.times, p.indices) for p in result.raster.populations] == [
        ("input", (0,), (0,)), ("lif", (0,), (0,))
    ]  # fmt: skip
    assert (result.name, result.description) == ("n", "d")
    assert (result.source.file, result.source.steps) == ("chip.nir", 2)


def test_potentials_are_of_the_verified_samples(found: tuple[NetworkResult, Verified], compiled: Compiled) -> None:
    """The second neuron never spikes and holds its weight from the only input of these samples, in units of 64.

    Of the step before, a 4,096th is left.
    """
    potential = next(s for s in found[0].spreads if s.what == "potential")
    quiet = compiled.program.network.projections[0].connectivity.weights[1]
    assert 1.5 * quiet[0] < quiet[1]
    assert 64 * int(quiet[0]) <= potential.box[4] <= 64 * int(quiet[0]) * (1 + 2 / 4096)


def test_without_labels_nothing_is_right_or_wrong(compiled: Compiled) -> None:
    told: list[str] = []
    result, verified = assess(
        compiled, load_architecture("loihi1"), {"input": inputs()}, None, name="n", verified_samples=2,
        names=("reference", "hwsim"), tell=lambda stage, done, total: told.append(stage),
    )  # fmt: skip
    assert {(s.accuracy, s.samples, s.undecided) for s in result.stages} == {(None, 2, None)}
    assert {(s.accuracy, s.samples, s.undecided) for s in result.stages_on_all} == {(None, 8, None)}
    assert [stage.name for stage in result.stages] == ["NIR", "float network", "integer network", "hwsim"]
    assert result.raster is not None
    assert result.raster.label is None
    assert {pair.samples for pair in verified.pairs} == {2}
    assert [stage for stage in told if stage.endswith("all samples")] == [
        f"{stage}, all samples" for stage in ("NIR", "float network", "integer network", "hwsim")
    ]
