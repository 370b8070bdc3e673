"""Placement stays within the limits, and says which one a network exceeds."""

from dataclasses import replace

import numpy as np
import pytest

from neurodeploy.errors import DoesNotFitError
from neurodeploy.network.connectivity import Conv2d, Dense
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.placement.arrange import arrange, cost, distances
from neurodeploy.placement.place import Limits, Place
from neurodeploy.program.limits import Mesh
from neurodeploy.program.program import Program
from neurodeploy.program.routing import fan_out
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
    # Sixteen neurons are four positions with four channels each: a square of the image to a core.
    square = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]])
    np.testing.assert_array_equal(cores, np.broadcast_to(square, (4, 4, 4)))
    assert [u.axons_in for u in program.use] == [4, 4, 4, 4], "each core hears only its own square"
    by_channel = Place(LOIHI, max_neurons_per_core=16, order="sequential").apply(network)
    assert [u.axons_in for u in by_channel.use] == [16, 16, 16, 16], "each core hears the whole image"


@pytest.mark.parametrize("seed", range(8))
def test_every_limit_holds_on_random_networks(seed: int) -> None:
    limits = Limits("small", 1000, 7, 4000, 500, 4096)
    program = Place(limits).apply(random_network(seed))
    placed = sum(p.size for p in program.network.populations if isinstance(p.neuron, Lif))
    assert sum(u.neurons for u in program.use) == placed
    for use in program.use:
        assert use.neurons <= 7
        assert use.synapse_bytes <= 4000


def refusal(limits: Limits, network: Network) -> str:
    with pytest.raises(DoesNotFitError) as caught:
        Place(limits).apply(network)
    return str(caught.value)


def test_refusals_say_need_have_where_and_what_to_do() -> None:
    assert refusal(LOIHI, dense_net(200_000, 1)) == (
        "one neuron of 'fc' needs more synapse memory than a core of loihi1 has\n"
        "  found:   needs 200,000 bytes\n  allowed: 131,072 per core\n"
        "  to do:   prune 35 % of its synapses, or reduce its fan-in"
    )
    assert refusal(LOIHI, dense_net(5_000, 1)) == (
        "one neuron of 'fc' needs more input axons than a core of loihi1 has\n"
        "  found:   needs 5,000 axons\n  allowed: 4,096 per core\n"
        "  to do:   let at most 4,096 neurons feed it, for example by pooling or a smaller kernel"
    )
    assert refusal(Limits("tiny", 2, 100, 200), dense_net(4, 150)) == (
        "the network does not fit on one tiny\n  found:   needs 3 cores; most of them for fc (3)\n"
        "  allowed: 2 cores\n  to do:   use 2 chips (--chips 2), or a smaller network"
    )
    assert refusal(Limits("tiny", 2, 100), dense_net(2, 250)) == (
        "the network does not fit on one tiny\n  found:   250 neurons; the largest: fc 250\n"
        "  allowed: 200 (2 cores of 100)\n"
        "  to do:   use at least 2 chips (--chips 2), another chip (--chip) or a smaller network; --chip none runs it "
        "without placing it"
    )


def chain(*sizes: int) -> Network:
    """Layers of the given sizes, each fully connected to the next."""
    populations = [Population("in", (sizes[0],), Source())]
    projections = []
    for index, size in enumerate(sizes[1:]):
        populations.append(Population(f"l{index}", (size,), lif(size)))
        kind = Dense(np.full((size, populations[-2].size), 2, np.int16))
        projections.append(Projection(f"p{index}", populations[-2].name, f"l{index}", kind))
    return Network("chain", tuple(populations), tuple(projections), (populations[-1].name,), 1e-3, "loihi")


def test_layers_share_cores_when_asked_or_when_they_would_not_fit() -> None:
    network = chain(5, 40, 40, 30)
    assert len(Place(LOIHI).apply(network).use) == 3
    shared = Place(LOIHI, share=True).apply(network)
    assert [u.neurons for u in shared.use] == [110]
    few = Place(Limits("few", 2, 80)).apply(network)
    assert [u.neurons for u in few.use] == [80, 30], "three layers do not fit on two cores, unless they share"


def test_a_core_has_few_thresholds() -> None:
    network = chain(5, 40)
    population = network.populations[1]
    neuron = replace(population.neuron, threshold=np.repeat([640, 1280, 1920, 2560], 10).astype(np.int32))
    network = replace(network, populations=(network.populations[0], replace(population, neuron=neuron)))
    program = Place(Limits("few", 9, 100, thresholds=2)).apply(network)
    assert [u.neurons for u in program.use] == [20, 20]
    for core in (0, 1):
        assert len(np.unique(neuron.threshold[program.core_of["l0"] == core])) == 2


def test_a_core_that_sends_to_too_many_is_cut_further() -> None:
    """1,000 neurons, each to the six cores of the next layer, are 6,000 axons: two cores of 500 have 3,000 each."""
    network = chain(4, 1000, 700)
    program = Place(LOIHI).apply(network)
    assert sorted(np.bincount(program.core_of["l0"])[list(program.cores_of("l0"))]) == [500, 500]
    assert len(program.cores_of("l1")) == 6
    assert sorted(u.axons_out for u in program.use) == [0] * 6 + [3000] * 2
    tight = replace(LOIHI, axons_out=5)
    with pytest.raises(
        DoesNotFitError, match=r"one neuron, of l0, sends to too many destinations\n  found:   6 output"
    ):
        Place(replace(tight, cores=2000)).apply(network)
    with pytest.raises(DoesNotFitError, match="does not fit on one loihi1\n  found:   needs 1006 cores"):
        Place(replace(tight, axons_out=6)).apply(network)


def test_several_chips() -> None:
    network = chain(5, 30, 30, 30)
    limits = Limits("tiny", 2, 30)
    program = Place(limits, chips=2).apply(network)
    assert sorted(u.core for u in program.use) == [0, 1, 2]
    with pytest.raises(DoesNotFitError, match="does not fit on one tiny"):
        Place(limits).apply(network)


def conv_net() -> Network:
    """2 x 12 x 12 -> 8 x 12 x 12 -> 8 x 12 x 12."""
    rng = np.random.default_rng(0)

    def kind(c_in: int) -> Conv2d:
        return Conv2d(2 * rng.integers(1, 9, (8, c_in, 3, 3)).astype(np.int16), (c_in, 12, 12), padding=(1, 1))

    populations = (
        Population("in", (2, 12, 12), Source()),
        Population("a", (8, 12, 12), lif(1152)),
        Population("b", (8, 12, 12), lif(1152)),
    )
    projections = Projection("p", "in", "a", kind(2)), Projection("q", "a", "b", kind(8))
    return Network("conv", populations, projections, ("b",), 1e-3, "loihi")


def messages(program: Program) -> int:
    """Messages to other cores when every neuron on the chip spikes once."""
    total = 0
    for projection in program.network.projections:
        if projection.source in program.core_of:
            table = fan_out(projection, program.core_of[projection.target])
            own = np.repeat(program.core_of[projection.source], np.diff(table.indptr))
            total += int((table.cores != own).sum())
    return total


def test_orders_by_the_messages_they_cause() -> None:
    def of(order: str) -> int:
        return messages(Place(LOIHI, max_neurons_per_core=300, order=order).apply(conv_net()))

    spatial, sequential, shuffled = of("spatial"), of("sequential"), of("random")
    assert spatial < sequential < shuffled


def test_a_hypergraph_partition_is_as_good_and_fits() -> None:
    pytest.importorskip("mtkahypar")
    place = Place(LOIHI, max_neurons_per_core=300, order="hypergraph", seed=3)
    program = place.apply(conv_net())
    assert max(u.neurons for u in program.use) <= 300
    assert messages(program) < messages(Place(LOIHI, max_neurons_per_core=300, order="sequential").apply(conv_net()))
    again = place.apply(conv_net())
    for name, cores in program.core_of.items():
        np.testing.assert_array_equal(cores, again.core_of[name])


@pytest.mark.parametrize("order", ["spatial", "sequential", "random"])
@pytest.mark.parametrize("share", [False, True])
def test_every_order_places_every_neuron_once(order: str, share: bool) -> None:
    for seed in range(4):
        network = random_network(seed)
        limits = Limits("small", 2000, 9, 4000, 500, 4096, mesh=Mesh(8, 4))
        program = Place(limits, order=order, share=share, seed=seed).apply(network)
        neurons = {p.name: p.size for p in network.populations if isinstance(p.neuron, Lif)}
        assert sum(u.neurons for u in program.use) == sum(neurons.values())
        assert {n: len(program.core_of[n]) for n in neurons} == neurons
        assert all(u.neurons <= 9 and u.synapse_bytes <= 4000 for u in program.use)


def test_arrangement_brings_neighbours_together() -> None:
    """A scrambled ring of sixteen parts on a mesh of 4 x 4 tiles of one core: every link can be one hop, 16 x 2."""
    rng = np.random.default_rng(0)
    ring = rng.permutation(16)
    traffic = np.zeros((16, 16))
    traffic[ring, np.roll(ring, 1)] = 2.0
    apart = distances(16, 4, 1, 1)
    at = arrange(traffic, apart, seed=1)
    assert sorted(at) == list(range(16))
    assert cost(traffic, apart, at) == 32
    assert cost(traffic, apart, np.arange(16)) > 60
    np.testing.assert_array_equal(at, arrange(traffic, apart, seed=1))


def test_distances_by_hand() -> None:
    """Two tiles side by side, two below, two cores each: cores 0 and 7 are one hop east and one south apart."""
    apart = distances(8, 2, 2, 1)
    assert apart[0].tolist() == [0, 0, 1, 1, 1, 1, 2, 2]
    two = distances(8, 2, 2, 2)
    assert two[0, 8:].tolist() == [6.0] * 8, "another chip is further than anything on this one"


def test_layers_that_share_are_cut_along_the_same_lines() -> None:
    """Images of 12 x 12 and 6 x 6 on four cores: each holds the same quarter of both."""
    network = conv_net()
    half = Conv2d(np.full((4, 8, 2, 2), 2, np.int16), (8, 12, 12), stride=(2, 2))
    network = replace(
        network,
        populations=(*network.populations, Population("c", (4, 6, 6), lif(144))),
        projections=(*network.projections, Projection("r", "b", "c", half)),
        outputs=("c",),
    )
    program = Place(Limits("four", 4, 650), share=True).apply(network)
    assert len(program.use) == 4
    a, c = program.core_of["a"].reshape(8, 12, 12), program.core_of["c"].reshape(4, 6, 6)
    np.testing.assert_array_equal(a[:4, ::2, ::2], c)
    alone = Place(Limits("many", 9, 650)).apply(network)
    assert messages(program) < 0.7 * messages(alone)
