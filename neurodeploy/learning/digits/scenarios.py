"""A deployed network goes on learning on the chip: a new class comes, or its sensor has shifted.

The network is trained beforehand on two thirds of the training samples (surrogate gradient, or STD-ED for its own kind
of neuron), its weights are brought to the bits that the chip has, and it is deployed. Then the last third comes, one
sample after the other, in a world that has changed: with a class that it has never seen, or with every image moved by a
pixel. The chip learns from a sample only where its answer is not sure enough, in one pass, its weights rounded
stochastically.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from neurodeploy.errors import InvalidInputError
from neurodeploy.hwsim.event_learning.engine import OnChip, Samples
from neurodeploy.models import digits
from neurodeploy.network.arrays import Array
from neurodeploy.network.event_rules import RuleName
from neurodeploy.network.network import Network
from neurodeploy.program.recording import Decisions

from ..setup import Setup, dataset, network

SCENARIOS: Mapping[str, str] = {
    "new-class": "Trained and deployed without the digit 9; then all ten digits come.",
    "shifted-sensor": "Trained and deployed with upright images; then each comes moved by a pixel to the right.",
}
NEW_CLASS = 9
FIELD = 3
"""Every so many-th training sample is kept for the field."""
PORTION = 25
"""Samples between two looks at the accuracy."""
FIELD_RATE = 0.5
"""Learning rate in the field, against that of the training."""


@dataclass(frozen=True, eq=False)
class Adapted:
    """What happened.

    Args:
        samples: that had come at each look, the first before any.
        accuracies: at each look, by the part of the test set.
        undecided: of its samples, those whose classes scored alike.
        tested: samples of each part.
        counts: between two looks, ``[looks - 1, layers + 1, KINDS]``.
        changed: the part of the test set that is new.
        layers: names of the rows of counts.
    """

    samples: Array
    accuracies: tuple[dict[str, float], ...]
    undecided: tuple[dict[str, int], ...]
    tested: dict[str, int]
    counts: Array
    changed: str
    layers: tuple[str, ...]


def adapt(scenario: str, setup: Setup) -> Adapted:
    """Train, deploy, and learn on the chip.

    Args:
        scenario: of `SCENARIOS`.
        setup: rule (MPD-ED or STD-ED), code, steps, seed, epochs of the training, weight bits, and from which samples
            to learn in the field (`Setup.skip`).

    Raises:
        InvalidInputError: an unknown scenario, or a rule that does not learn on the chip; no weight bits.
    """
    if scenario not in SCENARIOS:
        raise InvalidInputError("unknown scenario", found=scenario, allowed=", ".join(SCENARIOS))
    if setup.rule not in ("mpd-ed", "std-ed"):
        raise InvalidInputError("this rule does not adapt a network", found=setup.rule, allowed="mpd-ed, std-ed")
    if setup.weight_bits is None:
        raise InvalidInputError("a deployed network has integer weights", hint="give weight_bits")
    source = digits.load()
    field = np.arange(len(source.train_labels)) % FIELD == 0
    images, labels = source.train_images, source.train_labels
    shift = scenario == "shifted-sensor"
    at_home = ~field & (shift | (labels != NEW_CLASS))
    trained = _trained(setup, _samples(setup, images[at_home], labels[at_home]))
    chip = OnChip(trained, setup.event_rule, setup.steps)
    moved = _moved if shift else np.asarray
    stream = _samples(setup, moved(images[field]), labels[field])
    tests = _tests(setup, source.test_images, source.test_labels, shift)
    order = np.random.default_rng((setup.seed, 1)).permutation(len(stream))
    looks, seen, counts = [_look(chip, tests)], [0], []
    for at in range(0, len(order), PORTION):
        part = order[at : at + PORTION]
        counts.append(chip.learn(stream, part, FIELD_RATE).counts.sum(axis=0))
        seen.append(at + len(part))
        looks.append(_look(chip, tests))
    return Adapted(
        np.array(seen),
        tuple({name: found.accuracy(tests[name].labels) for name, found in look.items()} for look in looks),
        tuple({name: found.undecided for name, found in look.items()} for look in looks),
        {name: len(samples) for name, samples in tests.items()},
        np.array(counts),
        next(iter(tests)),
        chip.layers,
    )


def _trained(setup: Setup, samples: Samples) -> Network:
    """The network as it leaves the workshop, in floats."""
    name: RuleName = "std-ed" if setup.rule == "std-ed" else "bptt"
    at_home = replace(setup, rule=name, weight_bits=None, skip=0.0)
    chip = OnChip(network(at_home, dataset(at_home)), at_home.event_rule, setup.steps)
    for epoch in range(setup.epochs):
        chip.learn(samples, setup.order(epoch, len(samples)), setup.rate(epoch))
    return chip.network()


def _samples(setup: Setup, images: Array, labels: Array) -> Samples:
    return Samples.of(digits.encode(setup.code, images, setup.steps), labels)


def _moved(images: Array) -> Array:
    """One pixel to the right; what was on the left is dark."""
    moved = np.zeros_like(images)
    moved[:, :, 1:] = images[:, :, :-1]
    return moved


def _tests(setup: Setup, images: Array, labels: Array, shift: bool) -> dict[str, Samples]:
    """Parts of the test set, that which has changed first."""
    if shift:
        return {
            "shifted images": _samples(setup, _moved(images), labels),
            "upright images": _samples(setup, images, labels),
        }
    new = labels == NEW_CLASS
    return {
        f"digit {NEW_CLASS}": _samples(setup, images[new], labels[new]),
        "the other digits": _samples(setup, images[~new], labels[~new]),
        "all digits": _samples(setup, images, labels),
    }


def _look(chip: OnChip, tests: Mapping[str, Samples]) -> dict[str, Decisions]:
    return {name: chip.decisions(samples) for name, samples in tests.items()}
