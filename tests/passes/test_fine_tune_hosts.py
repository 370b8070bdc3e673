"""Fine-tuning of networks with host stages: each part follows the float network, chip and host together judge."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("torch")

from neurodeploy.backends.reference.run import run_network
from neurodeploy.compiler import limits_of
from neurodeploy.errors import UnsupportedError
from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.network.network import Network
from neurodeploy.passes import PassData
from neurodeploy.passes.fine_tune.fine_tune import FineTune, _Tuning
from neurodeploy.passes.quantise.quantise import Quantise
from tests.conformance import hybrids

CHIP = limits_of(load_architecture("loihi2"))
ALL = [name for name in hybrids.HYBRIDS if name != "a gate in every step"]


def coarse(name: str) -> tuple[Network, Network, PassData]:
    """A float network, its integers with weights of 4 bits, and what a compilation hands to fine-tune."""
    case = hybrids.build(name, "float")
    limits = replace(CHIP, registers=replace(CHIP.registers, weight_bits=4))
    data = PassData(case.inputs, limits=limits)
    integer = Quantise(rounding="nearest").apply(case.program.network, data)
    return case.program.network, integer, replace(data, teacher=case.program.network)


@pytest.mark.parametrize("name", ALL)
def test_the_torch_twin_fed_with_the_host_is_the_reference(name: str) -> None:
    """Where the host sends what it sent for these integers."""
    import torch

    from neurodeploy.backends.host.run import messages
    from neurodeploy.network.host import on_chip
    from neurodeploy.passes.fine_tune.trainable import Weights, run

    _, network, data = coarse(name)
    assert data.calibration is not None
    expected = run_network(network, data.calibration)
    sent = dict(data.calibration)
    for fed, values in expected.hosted.items():
        if fed in on_chip(network):
            sent[fed] = messages(network, network.by_name[fed], values)
    inputs = {n: torch.from_numpy(np.asarray(x)).double() for n, x in sent.items()}
    found = run(network, Weights(network).synapses, inputs)
    for population in (p for p in network.populations if not p.external):
        values = expected.spikes[population.name].dense()
        np.testing.assert_array_equal(found[population.name, "spikes"].detach().numpy(), values)


@pytest.mark.parametrize("name", ["attention between two phases", "a loop through the host"])
def test_moves_are_judged_by_chip_and_host_together(name: str) -> None:
    teacher, network, data = coarse(name)
    tuned = FineTune(iterations=4).apply(network, data)
    assert len(tuned.stages) == len(network.stages)
    said = re.search(r"on 3 samples held out, ([\d.]+)% of", tuned.notes["fine-tune"])
    assert said is not None and data.calibration is not None
    floats, before = run_network(teacher, data.calibration), run_network(network, data.calibration)
    neurons = [p.name for p in network.populations if not p.external]
    differ = sum(int((floats.spikes[n].dense() != before.spikes[n].dense()).sum()) for n in neurons)
    share = 100 * differ / sum(len(floats.spikes[n]) for n in neurons)
    assert differ > 0 and float(said.group(1)) == pytest.approx(share, abs=0.01)
    tuning = _Tuning(FineTune(), network, teacher, data.calibration, data)
    assert tuning._judge(tuned)[0] <= tuning._judge(network)[0]
    moved = any(
        (a.connectivity.weights != b.connectivity.weights).any()
        for a, b in zip(network.projections, tuned.projections, strict=True)
    )
    assert moved == (tuning._judge(tuned)[0] < tuning._judge(network)[0])
    assert moved or name != "attention between two phases"


def test_refusals_name_the_stage_or_the_population() -> None:
    _, network, data = coarse("two phases, a gate, and a reader behind")
    labels = replace(data, labels=np.zeros(3, np.int64))
    with pytest.raises(UnsupportedError, match="answer the host stage 'votes' gives"):
        FineTune(iterations=1).apply(network, labels)
    assert "fine-tune" in FineTune(iterations=1).apply(network, data).notes
    case = hybrids.build("a gate in every step", "float")
    data = PassData(case.inputs, teacher=case.program.network)
    with pytest.raises(UnsupportedError, match="fine-tune does not know the neurons of population 'gated'"):
        FineTune().apply(Quantise().apply(case.program.network, data), data)
