"""What each pass changed: shifts, spikes that appear or vanish, and accuracies, by hand."""

from dataclasses import replace

import numpy as np

from neurodeploy.network.connectivity import Dense
from neurodeploy.verify.after_passes import Moved, measure, moved
from tests.placement.test_place import chain


def train(*times: int) -> np.ndarray:
    spikes = np.zeros((30, 1), bool)
    spikes[list(times)] = True
    return spikes


def test_shifts_by_hand() -> None:
    assert moved(train(3, 10), train(3, 10)) == Moved(0, 0, 0)
    assert moved(train(3, 10), train(4, 10)) == Moved(1, 0, 0)
    assert moved(train(3), train(6)) == Moved(1, 0, 0)
    assert moved(train(3), train(7)) == Moved(0, 1, 1), "four steps are too far"
    assert moved(train(3, 5), train(4)) == Moved(1, 0, 1), "a spike is matched once"
    assert moved(train(5), train(4, 20)) == Moved(1, 1, 0)
    found = moved(train(3, 5), train(4))
    assert found.different == int((train(3, 5) != train(4)).sum()) == 3


def test_neurons_are_told_apart() -> None:
    a, b = np.zeros((9, 2), bool), np.zeros((9, 2), bool)
    a[3, 0], b[3, 1] = True, True
    assert moved(a, b) == Moved(0, 1, 1)


def test_stages_are_compared_with_the_first() -> None:
    """Two inputs, two neurons that copy them; the second stage has them crossed."""
    network = chain(2, 2)
    population = network.populations[1]
    neuron = replace(population.neuron, dv=np.full(2, 4095, np.int32), threshold=np.full(2, 640, np.int32))
    straight = replace(
        network,
        populations=(network.populations[0], replace(population, neuron=neuron)),
        projections=(replace(network.projections[0], connectivity=Dense(np.array([[20, 0], [0, 20]], np.int16))),),
    )
    crossed = replace(
        straight,
        projections=(replace(network.projections[0], connectivity=Dense(np.array([[0, 20], [20, 0]], np.int16))),),
    )
    x = np.zeros((5, 2, 2), np.uint8)
    x[:, 0, 0] = x[:3, 1, 1] = 1
    first, second = measure([("a", straight), ("b", crossed)], {"": x}, np.array([0, 1]))
    assert (first.name, first.spikes, first.different, first.share, first.accuracy) == ("a", 8, 0, 0.0, 1.0)
    assert (second.spikes, second.different, second.share, second.accuracy) == (8, 16, 2.0, 0.0)
    assert (first.samples, first.undecided, first.silent) == (2, 0, 0)
    x[:, 1] = 0
    first, _ = measure([("a", straight), ("b", crossed)], {"": x}, np.array([0, 0]))
    assert (first.accuracy, first.undecided, first.silent) == (1.0, 1, 1), "silence is argmax's first class"
