"""From counts to the report: every number of `network_result` against arithmetic beside it or in `tests.by_hand`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from neurodeploy.compiler import Compiled
from neurodeploy.hwsim import engine
from neurodeploy.hwsim.chips.arch import Architecture, load_architecture
from neurodeploy.network.connectivity import Dense
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Source
from neurodeploy.program.program import CoreUse, Program
from neurodeploy.program.recording import Record, Recording
from neurodeploy.report.collect import network_result
from neurodeploy.report.document import Core, Layer, NetworkResult
from neurodeploy.verify.compare import Divergence, Pair
from neurodeploy.verify.stages import Accuracy
from tests import by_hand
from tests.networks import placed, random_network, random_spikes

LABELS = np.array([7, 1])


def compiled(program: Program) -> Compiled:
    """A compiled network of which nothing but the Program is looked at."""
    nothing: Any = None
    return Compiled(nothing, nothing, program.network, program)


def result(
    program: Program, recording: Recording, arch: Architecture, labels: np.ndarray | None = None, **more: Any
) -> NetworkResult:
    given = {"pairs": (), "accuracies": (), "name": "n", **more}
    return network_result(compiled(program), arch, recording, labels, **given)


@pytest.fixture(scope="module")
def found() -> NetworkResult:
    program = by_hand.program()
    recording = engine.run(program, {"input": by_hand.spikes()})
    return result(program, recording, by_hand.chip(), LABELS, name="hand", description="by hand")


def test_layers_are_means_over_samples(found: NetworkResult) -> None:
    """Spikes, operations and active neurons of both samples: (first + second) / 2, counted in `tests.by_hand`."""
    first, hidden, out = found.layers
    assert first == Layer(
        name="input", handle="input", kind="input", shape=(3,), neurons=3, cores=0, synapses=0,
        events_per_inference=(5 + 2) / 2, rate=7 / 2 / 3 / 3, sops=0, nonzero_sops=0, updates=0, active_updates=0,
        events_per_step=(1 / 2, (2 + 1) / 2, (2 + 1) / 2), sops_per_step=(0, 0, 0),
    )  # fmt: skip
    # Each input spike walks its column of four weights. Not 0: two of i0, two of i1, one of i2, so 2 + 4 + 3 and 1 + 2.
    assert hidden == Layer(
        name="hidden", handle="net.1", kind="dense", shape=(2, 1, 2), neurons=4, cores=2, synapses=12,
        events_per_inference=(6 + 2) / 2, rate=4 / 3 / 4, sops=4 * 7 / 2, nonzero_sops=(9 + 3) / 2,
        updates=4 * 3, active_updates=((2 + 3 + 3) + (0 + 1 + 2)) / 2,
        events_per_step=((1 + 0) / 2, (3 + 1) / 2, (2 + 1) / 2), sops_per_step=(4 / 2, (8 + 4) / 2, (8 + 4) / 2),
    )  # fmt: skip
    # Each hidden spike walks two weights, one of them 0; one more operation through the skip in step 2 of both samples.
    assert out == Layer(
        name="out", handle="net.3", kind="dense + sparse", shape=(2,), neurons=2, cores=1, synapses=8 + 2,
        events_per_inference=(5 + 3) / 2, rate=4 / 3 / 2, sops=(12 + 1 + 4 + 1) / 2,
        nonzero_sops=(6 + 1 + 2 + 1) / 2, updates=2 * 3, active_updates=(5 + 3) / 2,
        events_per_step=(1 / 2, (2 + 1) / 2, (2 + 2) / 2), sops_per_step=(2 / 2, (6 + 2) / 2, (4 + 1 + 2 + 1) / 2),
    )  # fmt: skip


def test_a_neuron_that_still_holds_something_is_active_too() -> None:
    """Weight 4 of 5: it arrives in step 0, is still there in step 1, in which nothing does, and gone in step 2."""
    network = Network(
        "one",
        (Population("input", (1,), Source()), Population("n", (1,), by_hand.lif(1))),
        (Projection("p", "input", "n", Dense(np.array([[4]], np.int16))),),
        ("n",),
        1e-3,
        "loihi",
    )
    program = Program(network, "loihi1", {"n": np.zeros(1, np.int32)})
    recording = engine.run(program, {"input": np.array([[[1]], [[0]], [[0]]], np.uint8)})
    assert int(recording.touched["n"].sum()) == 1
    found = result(program, recording, by_hand.chip())
    assert (found.layers[1].active_updates, found.layers[1].updates) == (2, 3)


def test_energy_is_counts_times_prices_and_says_what_it_lacks(found: NetworkResult) -> None:
    energy = found.energy
    assert energy is not None
    lines = {line.component: line for line in energy.lines}
    time_ns = (127.6 + 86.4) / 2 + 5 * (113 + 2 * 352 / 31)  # worked out in the test of latency
    assert {name: (line.count, line.count_unit) for name, line in lines.items()} == {
        "synaptic_operation": ((20 + 12 + 8 + 4) / 2, "SOP"),
        "synaptic_operation_list": (1, "SOP"),
        "neuron_update_active": ((8 + 5 + 3 + 3) / 2, "updates"),
        "neuron_update_inactive": (6 * 5 - 19 / 2, "updates"),
        # From core 0 two hops, from core 5 one: h0 and h1 spike 4 and 1 times, h2 and h3 2 and 1 times.
        "hop_east_west": ((2 * 4 + 2 + 2 * 1 + 1) / 2, "hops"),
        "hop_north_south": (0, "hops"),
        "within_tile_spike": (0, "messages"),
        "static": (pytest.approx(3 * time_ns), "core ns"),
    }
    prices = {
        "synaptic_operation": 23.6, "synaptic_operation_list": 23.6, "neuron_update_active": 81, "static": 0.82,
        "neuron_update_inactive": 52, "hop_east_west": 3, "hop_north_south": 4, "within_tile_spike": 1.7,
    }  # fmt: skip
    assert {name: line.price for name, line in lines.items()} == prices
    units = {name: line.price_unit for name, line in lines.items()}
    assert units.pop("static") == "mW" and set(units.values()) == {"pJ"}
    assert all(line.energy_pj == pytest.approx(line.count * line.price) for line in energy.lines)
    dynamic = 22 * 23.6 + 23.6 + 9.5 * 81 + 20.5 * 52 + 6.5 * 3
    static = 3 * time_ns * 0.82
    assert energy.chip == "loihi1"
    assert (energy.dynamic_pj, energy.static_pj) == pytest.approx((dynamic, static))
    assert energy.total_pj == pytest.approx(dynamic + static)
    missing = {item.component: (item.label, item.count) for item in energy.missing}
    assert missing == {
        # Input spikes go to cores 0 and 5, those of i1 and i2 also to core 9 if it can still act on them in the run.
        "axon_in": ("messages received", (2 * 5 + 1 + 6 + 2 * 2 + 1 + 2) / 2),
        "spike_out": ("spikes", (6 + 5 + 2 + 3) / 2),
        "axon_out": ("messages sent", (6 + 2) / 2),
        "barrier": ("barrier between steps", 5),
        "host_message": ("input and output through the host", (2 * 5 + 1 + 2 * 2 + 1) / 2),
    }
    prices = load_architecture("loihi1").energy
    assert all(item.reason == getattr(prices, item.component).note and item.count_unit for item in energy.missing)


def test_lines_of_the_bill_keep_where_their_price_is_from(found: NetworkResult) -> None:
    assert found.energy is not None
    operation = found.energy.lines[0]
    price = load_architecture("loihi1").energy.synaptic_operation
    assert (operation.component, operation.kind, operation.part) == ("synaptic_operation", "sops", "inference")
    assert (operation.source, operation.confidence, operation.note) == (price.source, price.confidence, price.note)
    assert (operation.label, operation.bound) == ("synaptic operations", "minimum")


def test_latency_by_hand(found: NetworkResult) -> None:
    """A core of two neurons takes 3.5 sops + 8.4 active + 5.3 (2 - active) = 10.6 + 3.5 sops + 3.1 active.

    Operations and active neurons in chip steps 0 to 4; core 9 walks the list of the skip in step 1:

        sample 0   core 0   2 4   4 0 0   0 1 2 1 0      sample 1   core 0   0 2   2 0 0   0 0 0 1 0
                   core 5   2 4   4 0 0   0 1 1 2 0                 core 5   0 2   2 0 0   0 0 1 1 0
                   core 9   0 2+1 6 4 0   0 0 1 2 2                 core 9   0 0+1 2 2 0   0 0 0 1 2

    The slowest cores are 0, 0, 9, 9, 9 and 0, 0, 5, 9, 9 (the first of those that are equal).
    """
    latency = found.latency
    assert latency is not None
    first = np.array([10.6 + 7, 10.6 + 14 + 3.1, 10.6 + 21 + 3.1, 10.6 + 14 + 6.2, 10.6 + 6.2])
    second = np.array([10.6, 10.6 + 7, 10.6 + 7 + 3.1, 10.6 + 7 + 3.1, 10.6 + 6.2])
    assert (first.sum(), second.sum()) == pytest.approx((127.6, 86.4))
    barrier = 113 + 2 * 352 / 31  # three tiles
    assert latency.mean_ns == pytest.approx((first + second) / 2 + barrier)
    assert latency.max_ns == pytest.approx(np.maximum(first, second) + barrier)
    assert latency.inference_us == pytest.approx((107 + 5 * barrier) / 1000)
    # Of the slowest cores: operations 2 4 6 4 0 and 0 2 2 2 0, active 0 1 1 2 2 and 0 0 1 1 2 of 2 in each of 5 steps.
    assert {term.name: (term.label, term.ns) for term in latency.terms} == {
        "synaptic_operation": ("synaptic operations", pytest.approx((16 + 6) / 2 * 3.5)),
        "neuron_update_active": ("active neuron updates", pytest.approx((6 + 4) / 2 * 8.4)),
        "neuron_update_inactive": ("inactive neuron updates", pytest.approx((4 + 6) / 2 * 5.3)),
        "barrier": ("barrier between steps", pytest.approx(5 * barrier)),
    }
    assert (latency.tier, latency.dominant, latency.tiles) == ("core", "barrier", 3)
    assert latency.busiest_core == 9
    assert latency.busiest_share == pytest.approx((first[2:].sum() + second[3:].sum()) / (127.6 + 86.4))
    assert latency.missing == ("messages received", "spikes", "messages sent")
    assert latency.clock == "none (asynchronous)"


def test_a_clock_is_told() -> None:
    program = by_hand.program()
    recording = engine.run(program, {"input": by_hand.spikes()})
    content = by_hand.chip().model_dump()
    content["clock"]["frequency"] = {"value": 62.5, "unit": "MHz", "source": "this test", "confidence": "assumed"}
    latency = result(program, recording, Architecture.model_validate(content)).latency
    assert latency is not None
    assert latency.clock == "62.5 MHz"


def test_cores_hold_what_the_program_says_and_do_what_was_counted(found: NetworkResult) -> None:
    limits = {"neurons_limit": 1024, "synapse_limit": 131072, "axons_in_limit": 400, "axons_out_limit": 500}
    held = {"neurons": 2, **limits}
    # Cores 0 and 5 walk two weights for each of 5 and 2 input spikes; core 9 what the layer out does.
    assert found.cores == (
        Core(core=0, tile=0, synapse_bytes=11, axons_in=3, axons_out=4, populations=("hidden",), sops=7, **held),
        Core(core=5, tile=1, synapse_bytes=12, axons_in=5, axons_out=6, populations=("hidden",), sops=7, **held),
        Core(core=9, tile=2, synapse_bytes=13, axons_in=7, axons_out=8, populations=("out",), sops=9, **held),
    )


def test_a_core_of_the_second_chip_a_shared_core_and_a_bias_axon() -> None:
    """128 cores on 32 tiles a chip: core 133 is core 5 of the second chip, on its tile 1."""
    hidden, out = by_hand.lif(3), by_hand.lif(2)
    network = Network(
        "two chips",
        (
            Population("input", (2,), Source()), Population("always", (1,), Source(always_on=True)),
            Population("hidden", (3,), hidden), Population("alone", (2,), out),
        ),
        (
            Projection("a", "input", "hidden", Dense(np.full((3, 2), 6, np.int16))),
            Projection("b", "always", "hidden", Dense(np.full((3, 1), 2, np.int16))),
        ),
        ("hidden",),
        1e-3,
        "loihi",
    )  # fmt: skip
    cores = {
        "always": np.array([0], np.int32), "hidden": np.array([0, 133, 133], np.int32),
        "alone": np.array([133, 133], np.int32),
    }  # fmt: skip
    use = (CoreUse(133, 3, 0, 0, 0), CoreUse(0, 1, 0, 0, 0))
    program = Program(network, "loihi1", cores, use, {"chips": "2"})
    recording = engine.run(program, {"input": np.ones((4, 1, 2), np.uint8)})
    chip = by_hand.chip(axons_in_per_core=None, axons_out_per_core=None)
    found = result(program, recording, chip)
    assert [(core.core, core.tile) for core in found.cores] == [(133, 33), (0, 0)]
    assert [core.populations for core in found.cores] == [("hidden", "alone"), ("always", "hidden")]
    assert [(core.axons_in_limit, core.axons_out_limit) for core in found.cores] == [(None, None)] * 2
    assert [layer.kind for layer in found.layers] == ["input", "bias axon", "dense", "unconnected"]
    assert [layer.synapses for layer in found.layers] == [0, 0, 6 + 3, 0]
    # Two inputs and one source spike in every step; each spike reaches two neurons on core 133 and one on core 0.
    assert found.layers[1].rate == 1
    assert [core.sops for core in found.cores] == [4 * (1 + 2) * 2, 4 * (1 + 2)]
    assert found.energy is not None
    assert "between_chips" in {item.component for item in found.energy.missing}
    assert found.energy.missing[0].kind


def test_the_raster_is_the_first_sample(found: NetworkResult) -> None:
    raster = found.raster
    assert raster is not None
    assert (raster.sample, raster.label, raster.steps) == (0, 7, 3)
    assert raster.predicted == 0, "o0 spikes three times, o1 twice; in the second sample it is the other way round"
    shown = {p.name: (p.neurons, list(zip(p.times, p.indices, strict=True))) for p in raster.populations}
    assert shown == {
        "input": (3, [(0, 0), (1, 0), (1, 1), (2, 0), (2, 2)]),
        "hidden": (4, [(0, 0), (1, 0), (1, 1), (1, 2), (2, 0), (2, 3)]),
        "out": (2, [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1)]),
    }


def test_without_labels_the_raster_has_none() -> None:
    program = by_hand.program()
    raster = result(program, engine.run(program, {"input": by_hand.spikes()[:, ::-1]}), by_hand.chip()).raster
    assert raster is not None
    assert (raster.label, raster.predicted) == (None, 1), "samples the other way round"


def test_where_it_came_from_and_what_was_noted(found: NetworkResult) -> None:
    assert (found.name, found.description) == ("hand", "by hand")
    source = found.source
    assert (source.framework, source.file, source.sha256) == ("snntorch", "net.nir", "abc")
    assert source.versions == {"snntorch": "0.9.1", "nir": "1.0.6", "neurodeploy": "0.1.0"}
    assert (source.dt, source.steps) == (2e-3, 3)
    assert found.notes == {"pool1": "folded into the weights"}
    program = replace(by_hand.program(), provenance={})
    bare = result(program, engine.run(program, {"input": by_hand.spikes()}), by_hand.chip())
    assert (bare.source.framework, bare.source.versions, bare.source.file) == ("NIR file", {}, "")


def test_pairs_and_accuracies_are_told_as_they_were_found() -> None:
    program = by_hand.program()
    recording = engine.run(program, {"input": by_hand.spikes()})
    place = Divergence("hidden", "net.1", 2, 1, 3, 0.5, None)
    pairs = (
        Pair("a", "b", True, 2, 36, (9, 8), 3, 4, 0.25, place, {}),
        Pair("b", "c", False, 2, 36, (8, 8), 0, None, 0.0, None, {}),
    )
    accuracies = (Accuracy("a", 0.25, 4, 2, 1), Accuracy("b", None, 4), Accuracy("a", 0.5, 9, 0, 0))
    found = result(program, recording, by_hand.chip(), pairs=pairs, accuracies=accuracies)
    first, second = (pair.model_dump() for pair in found.pairs)
    assert first == {
        "first": "a", "second": "b", "exact_by_design": True, "equal": False, "samples": 2, "compared": 36,
        "spikes_different": 3, "states_different": 4, "not_finite": 0, "spike_distance": 0.25, "verdict": "failed",
        "divergence": {
            "population": "hidden", "handle": "net.1", "step": 2, "sample": 1, "neuron": 3, "first_v": 0.5,
            "second_v": None,
        },
    }  # fmt: skip
    assert (second["first"], second["second"], second["exact_by_design"]) == ("b", "c", False)
    assert (second["equal"], second["verdict"], second["states_different"]) == (True, "equal", None)
    assert second["divergence"] is None
    assert [tuple(stage.model_dump().values()) for stage in found.stages] == [
        ("a", 0.25, 4, 2, 1),
        ("b", None, 4, None, None),
    ]
    assert [tuple(stage.model_dump().values()) for stage in found.stages_on_all] == [("a", 0.5, 9, 0, 0)]


def test_potentials_are_those_of_the_run_that_recorded_them() -> None:
    """Of both samples only h2 keeps something: 4 * 64 in steps 0 and 2 of the first, and in step 2 of the second."""
    program = by_hand.program()
    recording = engine.run(program, {"input": by_hand.spikes()})
    states = engine.run(program, {"input": by_hand.spikes()}, record=Record(("v",)))
    boxes = {(s.layer, s.what): s for s in result(program, recording, by_hand.chip(), states=states).spreads}
    assert (boxes["hidden", "potential"].values, boxes["hidden", "potential"].box) == (3, (256,) * 5)
    without = result(program, recording, by_hand.chip()).spreads
    assert "potential" not in {s.what for s in without}


@pytest.mark.parametrize("seed", [2, 5, 8, 11])
def test_layers_and_cores_of_random_networks_against_a_walk_over_every_synapse(seed: int) -> None:
    program = placed(random_network(seed, "loihi"), cores=5)
    network, samples = program.network, 3
    program = replace(program, use=tuple(CoreUse(core, 1, 0, 0, 0) for core in program.cores))
    run = engine.run(program, {"input": random_spikes(network, seed, steps=7, samples=samples)})
    sops = {p.name: np.zeros(7) for p in network.populations}
    nonzero = dict.fromkeys(sops, 0)
    on_core = dict.fromkeys(program.cores, 0)
    for p in network.projections:
        matrix, home = p.connectivity.to_csr(), program.core_of[p.target]
        for t, i in zip(run.spikes[p.source].time, run.spikes[p.source].neuron, strict=True):
            if t + p.delay < 7:
                row = slice(matrix.indptr[i], matrix.indptr[i + 1])
                sops[p.target][t + p.delay] += len(matrix.indices[row]) / samples
                nonzero[p.target] += np.count_nonzero(matrix.data[row])
                for target in matrix.indices[row]:
                    on_core[int(home[target])] += 1
    found = result(program, run, load_architecture("loihi1"))
    assert sum(layer.sops for layer in found.layers) > 0
    for layer in found.layers:
        population = network.by_name[layer.name]
        assert layer.sops_per_step == pytest.approx(sops[layer.name])
        assert (layer.sops, layer.nonzero_sops) == pytest.approx(
            (sops[layer.name].sum(), nonzero[layer.name] / samples)
        )
        assert layer.synapses == sum(p.connectivity.to_csr().nnz for p in network.into(layer.name))
        if layer.name in run.spikes:
            events = run.spikes[layer.name]
            assert layer.events_per_inference == pytest.approx(len(events) / samples)
            assert layer.rate == pytest.approx(len(events) / samples / population.size / 7)
            assert layer.events_per_step == pytest.approx(np.bincount(events.time, minlength=7) / samples)
    assert {core.core: core.sops for core in found.cores} == pytest.approx(
        {core: number / samples for core, number in on_core.items()}
    )
