"""Placement stays within the limits, and says which one a network exceeds."""

import numpy as np
import pytest

from neurodeploy.connectivity import Conv2d, Dense, Sparse
from neurodeploy.errors import DoesNotFitError
from neurodeploy.memory import synapse_bytes
from neurodeploy.network import Network, Population, Projection
from neurodeploy.neurons import Lif, Source
from neurodeploy.passes.place import Limits, Place
from tests.networks import random_network

LOIHI = Limits("loihi1", 128, 1024, 131072, 4096, 4096)


def lif(size: int) -> Lif:
    zero = np.zeros(size, np.int32)
    return Lif(zero + 4095, zero, zero, zero + 640, zero, zero)


def dense_net(inputs: int, outputs: int) -> Network:
    kind = Dense(np.full((outputs, inputs), 2, np.int16))
    return Network(
        "net",
        (Population("in", (inputs,), Source()), Population("fc", (outputs,), lif(outputs))),
        (Projection("p", "in", "fc", kind),),
        ("fc",),
        1e-3,
        "loihi",
    )


def test_cores_are_filled_to_the_first_limit() -> None:
    # 1000 inputs at a byte a synapse: 131 neurons fill 131,072 bytes.
    program = Place(LOIHI).apply(dense_net(1000, 300))
    assert [u.neurons for u in program.use] == [131, 131, 38]
    assert [u.synapse_bytes for u in program.use] == [131000, 131000, 38000]
    assert [u.axons_in for u in program.use] == [1000, 1000, 1000]


def test_fewer_neurons_per_core_on_request() -> None:
    program = Place(LOIHI, max_neurons_per_core=100).apply(dense_net(10, 250))
    assert [u.neurons for u in program.use] == [100, 100, 50]


def test_images_are_dealt_by_position() -> None:
    kind = Conv2d(np.full((4, 1, 1, 1), 2, np.int16), (1, 4, 4))
    network = Network(
        "net",
        (Population("in", (1, 4, 4), Source()), Population("c", (4, 4, 4), lif(64))),
        (Projection("p", "in", "c", kind),),
        ("c",),
        1e-3,
        "loihi",
    )
    program = Place(LOIHI, max_neurons_per_core=16).apply(network)
    cores = program.core_of["c"].reshape(4, 4, 4)
    # Sixteen neurons are four positions with four channels each: a row of the image to a core.
    np.testing.assert_array_equal(cores, np.broadcast_to(np.arange(4)[None, :, None], (4, 4, 4)))
    assert [u.axons_in for u in program.use] == [4, 4, 4, 4], "each core hears only its own row"


@pytest.mark.parametrize("seed", range(8))
def test_every_limit_holds_on_random_networks(seed: int) -> None:
    limits = Limits("small", 1000, 7, 4000, 500, 4096)
    program = Place(limits).apply(random_network(seed))
    placed = sum(p.size for p in program.network.populations if isinstance(p.neuron, Lif))
    assert sum(u.neurons for u in program.use) == placed
    for use in program.use:
        assert use.neurons <= 7
        assert use.synapse_bytes <= 4000


def test_memory_by_hand() -> None:
    population = Population("in", (2, 4, 4), Source())
    conv = Conv2d(np.zeros((3, 2, 3, 3), np.int16), (2, 4, 4), padding=(1, 1))
    both = np.array([0, 1, 16 + 3])  # neurons of channels 0 and 1
    assert synapse_bytes(Projection("p", "in", "c", conv), both) == 2 * 2 * 9
    sparse = Sparse(np.ones(3, np.int16), np.array([0, 1, 1], np.int32), np.array([0, 2, 3]), 2)
    assert synapse_bytes(Projection("p", "in", "c", sparse), np.array([1])) == -(-2 * 18 // 8)
    assert population.size == 32


def refusal(limits: Limits, network: Network) -> str:
    with pytest.raises(DoesNotFitError) as caught:
        Place(limits).apply(network)
    return str(caught.value)


def test_refusals_say_need_have_where_and_what_to_do() -> None:
    assert refusal(LOIHI, dense_net(200_000, 1)) == (
        "one neuron of 'fc' needs more bytes of synapse memory than a core of loihi1 has\n"
        "  found:   needs 200,000\n  allowed: 131,072 per core\n  to do:   prune the layer or reduce its fan-in"
    )
    assert refusal(LOIHI, dense_net(5_000, 1)) == (
        "one neuron of 'fc' needs more input axons than a core of loihi1 has\n"
        "  found:   needs 5,000\n  allowed: 4,096 per core\n"
        "  to do:   reduce the number of neurons that feed this layer"
    )
    assert "needs 3 cores\n  allowed: 2 cores" in refusal(Limits("tiny", 2, 100, 200), dense_net(4, 150))
    assert refusal(Limits("tiny", 2, 100), dense_net(2, 250)) == (
        "the network does not fit on one tiny\n  found:   250 neurons; the largest: fc 250\n"
        "  allowed: 200 (2 cores of 100)\n"
        "  to do:   use a smaller network or another chip (--chip); --chip none runs it without placing it"
    )
