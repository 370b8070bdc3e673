"""SpikingJelly's own layer classes, in both step modes: the same spikes as the module, or a message that says why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.verify.export_proof import export_proven

pytest.importorskip("spikingjelly")

from spikingjelly.activation_based import functional, layer, neuron

IMAGE = (2, 6, 6)
EXACT = {
    "Linear": (lambda: layer.Linear(6, 5), (6,)),
    "Conv1d": (lambda: layer.Conv1d(2, 3, 3), (2, 9)),
    "Conv2d": (lambda: layer.Conv2d(2, 4, 3, groups=2), IMAGE),
    "BatchNorm1d": (lambda: nn.Sequential(layer.Linear(6, 5), layer.BatchNorm1d(5)), (6,)),
    "BatchNorm2d": (lambda: nn.Sequential(layer.Conv2d(2, 3, 3), layer.BatchNorm2d(3)), IMAGE),
    "AvgPool2d": (lambda: layer.AvgPool2d(2), IMAGE),
    "AdaptiveAvgPool2d": (lambda: layer.AdaptiveAvgPool2d(3), IMAGE),
    "Flatten": (lambda: nn.Sequential(layer.Flatten(), layer.Linear(72, 4)), IMAGE),
    "Dropout": (lambda: nn.Sequential(layer.Linear(6, 5), layer.Dropout(0.5)), (6,)),
    "Dropout2d": (lambda: nn.Sequential(layer.Conv2d(2, 3, 3), layer.Dropout2d(0.5)), IMAGE),
    "ConvTranspose2d": (lambda: layer.ConvTranspose2d(2, 3, 3, stride=2), (2, 4, 4)),
    "Upsample": (lambda: layer.Upsample(scale_factor=2), (2, 4, 4)),
    "SeqToANNContainer": (lambda: layer.SeqToANNContainer(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)), IMAGE),
    "MultiStepContainer": (lambda: layer.MultiStepContainer(nn.Linear(6, 5)), (6,)),
}  # fmt: skip
REFUSED = {
    "MaxPool2d": (
        lambda: nn.Sequential(layer.MaxPool2d(2), layer.Conv2d(2, 3, 3)), IMAGE, "the largest values of the input",
    ),
    "GroupNorm": (
        lambda: nn.Sequential(layer.Conv2d(2, 4, 3), layer.GroupNorm(2, 4)), IMAGE, "aten.group_norm cannot be",
    ),
    "SynapseFilter": (lambda: layer.SynapseFilter(tau=5.0), (6,), "SynapseFilter"),
}  # fmt: skip


def network(made: nn.Module, step_mode: str) -> nn.Module:
    torch.manual_seed(0)
    for parameter in made.parameters():
        parameter.data.uniform_(-1, 1.2)
    for module in made.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 1.5)
    net = nn.Sequential(made, neuron.LIFNode(tau=2.0, v_threshold=0.3, detach_reset=True)).eval()
    functional.set_step_mode(net, step_mode)
    return net


@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize("name", EXACT)
def test_exact(name: str, step_mode: str, tmp_path: Path) -> None:
    if "Container" in name and step_mode == "s":
        pytest.skip("the container takes a sequence, which a neuron in step mode s takes for one step")
    make, shape = EXACT[name]
    x = (np.random.default_rng(0).random((30, 3, *shape)) < 0.4).astype(np.uint8)
    returned, pair, *_ = export_proven(network(make(), step_mode), x, 1e-3, tmp_path / "net.nir").pairs
    assert returned.equal
    assert pair.equal
    assert pair.spikes[0] > 20


@pytest.mark.parametrize("name", ["SeqToANNContainer", "MultiStepContainer"])
def test_a_sequence_given_to_a_neuron_of_one_step(name: str, tmp_path: Path) -> None:
    make, shape = EXACT[name]
    x = np.ones((30, 3, *shape), np.uint8)
    said = r"the neuron '1' (is not called once in each step|mixes the samples of a batch, or several steps)"
    with pytest.raises(UnsupportedError, match=said):
        export_proven(network(make(), "s"), x, 1e-3, tmp_path / "net.nir", time_axis=0)
    assert not (tmp_path / "net.nir").exists()


@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, step_mode: str, tmp_path: Path) -> None:
    make, shape, message = REFUSED[name]
    x = np.zeros((3, 1, *shape), np.uint8)
    with pytest.raises(UnsupportedError) as caught:
        export_proven(network(make(), step_mode), x, 1e-3, tmp_path / "net.nir", host="none")
    assert message in str(caught.value)
    assert not (tmp_path / "net.nir").exists()
