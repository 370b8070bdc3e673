"""The event engine and torch's autograd: two ways to the same weights."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch

from neurodeploy.hwsim.event_learning.engine import OnChip, Samples
from neurodeploy.models import digits
from neurodeploy.network.event_rules import RULES, AdaptiveThreshold, EventRule, RuleName, Shape, build
from neurodeploy.network.network import Network
from tests.learning.autograd import EventNetwork, learn

TOLERANCE = 1e-10


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def furthest(first: Network, second: Network) -> float:
    """Largest difference of any weight."""
    pairs = zip(first.projections, second.projections, strict=True)
    return max(float(np.abs(p.connectivity.weights - q.connectivity.weights).max()) for p, q in pairs)


def both(network: Network, rule: EventRule, inputs: np.ndarray, labels: np.ndarray) -> tuple[OnChip, EventNetwork]:
    """Learn from the same samples on both sides."""
    chip, module = OnChip(network, rule, len(inputs)), EventNetwork(network, rule)
    chip.learn(Samples.of(inputs, labels))
    flat = torch.tensor(inputs.reshape(*inputs.shape[:2], -1))
    learn(module, flat, torch.tensor(labels), torch.arange(len(labels)))
    return chip, module


@pytest.mark.parametrize("each", ["layer", "neuron"])
@pytest.mark.parametrize("name", ["mpd-ed", "std-ed"])
def test_an_epoch_of_digits(name: RuleName, each: Literal["layer", "neuron"]) -> None:
    """All 1347 training samples, one after the other, thresholds moving: every weight equal to 1e-10."""
    source = digits.load()
    network = build(Shape(digits.SHAPE, (16,), 10), name, seed=3, gain=0.6)
    rule = EventRule(name, 0.05, adapt=AdaptiveThreshold(each=each))
    chip, module = both(network, rule, digits.latency(source.train_images, 16), source.train_labels)
    assert furthest(chip.network(), network) > 0.1
    assert furthest(chip.network(), module.network()) < TOLERANCE
    assert chip.thresholds[0] == pytest.approx(module.thresholds()[0], abs=TOLERANCE)
    assert (chip.thresholds[0] < 1).any()
    assert (len(np.unique(chip.thresholds[0])) > 1) == (each == "neuron")


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(
    ("hidden", "batch"), [((12, 9), 1), (((3, 3, 2), 8), 4), (((2, 3, 1), (4, 3, 2)), 1)], ids=["deep", "conv", "convs"]
)
def test_deep_and_convolutional(name: RuleName, hidden: tuple[int, ...], batch: int) -> None:
    """Errors handed down through several layers, shared kernels, batches, random spikes at every step."""
    random = np.random.default_rng(5)
    inputs = (random.random((12, 24, 2, 7, 6)) < 0.15).astype(np.uint8)
    labels = random.integers(0, 4, 24)
    network = build(Shape((2, 7, 6), hidden, 4), name, seed=1, gain=2.0)
    rule = EventRule(name, 0.1, batch=batch, adapt=AdaptiveThreshold(window=8))
    chip, module = both(network, rule, inputs, labels)
    moved = [
        np.abs(p.connectivity.weights - q.connectivity.weights).max()
        for p, q in zip(chip.network().projections, network.projections, strict=True)
    ]
    assert min(moved) > 1e-3
    assert furthest(chip.network(), module.network()) < TOLERANCE


@pytest.mark.parametrize("name", RULES)
def test_outputs(name: RuleName) -> None:
    """The probability of the label is torch's."""
    random = np.random.default_rng(6)
    inputs = (random.random((10, 8, 20)) < 0.3).astype(np.uint8)
    labels = random.integers(0, 3, 8)
    network = build(Shape((20,), (15,), 3), name, gain=2.0)
    found = OnChip(network, EventRule(name, 0.1), 10).infer(Samples.of(inputs, labels))
    wanted = EventNetwork(network, EventRule(name, 0.1))(torch.tensor(inputs)).softmax(dim=1).detach().numpy()
    assert found.right == pytest.approx(wanted[np.arange(8), labels], abs=1e-12)
    assert len(np.unique(found.right.round(6))) > 4
