"""What crosses the boundary of chip and host, who waits for whom and what is kept, by hand for each hybrid.

All populations have N = 6 neurons and a run T = 14 steps, so that a frame has 1 byte of spikes (6 bits), 9 bytes of
numbers of 12 bits, 18 bytes of potentials of 24, and 24 bytes of floats.
"""

from __future__ import annotations

import pytest

pytest.importorskip("onnx")

from dataclasses import replace

from neurodeploy.network.host import HostInput, HostOutput, HostStage
from neurodeploy.network.network import Network
from neurodeploy.network.neurons import Source
from neurodeploy.program.host_work import Wiring, barriers, buffers, crossings, frame_bytes, levels
from tests.conformance import hybrids
from tests.conformance.cases import N

T = hybrids.STEPS
SPIKES, NUMBERS, POTENTIALS, FLOATS = 1, 9, 18, 24
assert (N, T) == (6, 14)

CROSSING = {
    "attention between two phases": {
        ("first", "spikes", "host", 0): SPIKES, ("first", "spikes", "chip", 1): SPIKES,
        ("seen", "spikes", "chip", 1): NUMBERS,
    },
    "a gate in every step": {("first", "spikes", "host", 0): SPIKES, ("opened", "spikes", "chip", 0): NUMBERS},
    "an encoder before the first step": {("encoded", "spikes", "chip", 0): SPIKES},
    "a loop through the host": {("first", "spikes", "host", 0): SPIKES, ("held", "spikes", "chip", 0): NUMBERS},
    "a loop through two stages, one behind the other in each step": {
        ("first", "spikes", "host", 0): SPIKES, ("second", "spikes", "host", 0): SPIKES,
        ("held", "spikes", "chip", 0): NUMBERS, ("opened", "spikes", "chip", 0): NUMBERS,
    },
    "two phases, a gate, and a reader behind": {
        ("first", "spikes", "host", 0): SPIKES, ("second", "spikes", "host", 1): SPIKES,
        ("second", "potential", "host", 1): POTENTIALS, ("third", "spikes", "host", 2): SPIKES,
        ("first", "spikes", "chip", 2): SPIKES, ("seen", "spikes", "chip", 1): NUMBERS,
        ("again", "spikes", "chip", 2): NUMBERS, ("opened", "spikes", "chip", 2): NUMBERS,
    },
}  # fmt: skip
"""Frames of so many bytes, all T of them: what a stage reads and gives, and what synapses carry into a later phase."""

BARRIERS = {
    "attention between two phases": {0: 1, 1: 0},
    "a gate in every step": {0: T},
    "an encoder before the first step": {0: 0},  # nobody on the chip waits for what the host makes of the chip
    "a loop through the host": {0: T},
    "a loop through two stages, one behind the other in each step": {0: 2 * T},
    # The gate reads the second phase, and only the third hears it.
    "two phases, a gate, and a reader behind": {0: 1, 1: 1, 2: 1},
}

KEPT = {
    "attention between two phases": {"spikes of first": T * SPIKES, "made for seen": T * NUMBERS},
    "a gate in every step": {},
    "an encoder before the first step": {"made for encoded": T * SPIKES},
    "a loop through the host": {"made for held": NUMBERS},
    "a loop through two stages, one behind the other in each step": {"made for held": NUMBERS},
    "two phases, a gate, and a reader behind": {
        "spikes of first": T * SPIKES, "spikes of second": T * SPIKES, "potential of second": T * POTENTIALS,
        "spikes of third, summed over time": 4 * N, "made for seen": T * NUMBERS, "made for again": T * NUMBERS,
        "made for opened": T * NUMBERS,
    },
}  # fmt: skip


def network(name: str, arithmetic: str = "loihi") -> Network:
    return hybrids.build(name, arithmetic).program.network


def test_every_hybrid_is_worked_out() -> None:
    assert set(CROSSING) == set(BARRIERS) == set(KEPT) == set(hybrids.HYBRIDS)


@pytest.mark.parametrize("name", hybrids.HYBRIDS)
def test_what_crosses_the_boundary(name: str) -> None:
    found = crossings(network(name), T)
    assert {(c.population, c.port, c.to, c.phase): c.frame_bytes for c in found} == CROSSING[name]
    assert len(found) == len(CROSSING[name]), "each once"
    assert all(c.frames == T and c.bytes == T * c.frame_bytes for c in found)


@pytest.mark.parametrize("name", hybrids.HYBRIDS)
def test_who_waits_for_whom(name: str) -> None:
    assert barriers(network(name), T) == BARRIERS[name]


@pytest.mark.parametrize("name", hybrids.HYBRIDS)
def test_what_the_host_keeps(name: str) -> None:
    assert buffers(network(name), T) == KEPT[name]


def test_floats_cross_in_four_bytes_and_their_spikes_in_bits() -> None:
    floats = network("two phases, a gate, and a reader behind", "float")
    sizes = {(c.population, c.port): c.frame_bytes for c in crossings(floats, T)}
    assert sizes["first", "spikes"] == SPIKES
    assert sizes["second", "potential"] == sizes["seen", "spikes"] == FLOATS


def test_frames_are_packed_and_rounded_up_to_bytes() -> None:
    """Of 6 neurons: 3, 8 and 31 bits are 18, 48 and 186 bits."""
    whole = network("a gate in every step")
    source = whole.by_name["opened"]
    for bits, size in ((3, 3), (8, 6), (31, 24)):
        assert frame_bytes(whole, replace(source, neuron=Source(payload_bits=bits)), "spikes") == size


def test_one_value_for_all_steps_is_kept_once_and_sent_in_each() -> None:
    whole = network("attention between two phases")
    assert buffers(whole, T, frozenset({"seen"}))["made for seen"] == NUMBERS
    assert {c.population: c.frames for c in crossings(whole, T)}["seen"] == T


def test_what_two_stages_read_crosses_once() -> None:
    whole = network("a gate in every step")
    counted = HostStage(
        "counted", hybrids.any_stage("sum", (N,)), (HostInput("x", "first", over="sum"),), (HostOutput("y"),), "behind"
    )
    more = replace(whole, stages=(*whole.stages, counted))
    assert crossings(more, T) == crossings(whole, T)
    assert barriers(more, T) == {0: T + 1}, "and the user waits for the sum behind the last step"
    assert buffers(more, T) == {"spikes of first, summed over time": 4 * N}


def test_a_stage_that_reads_another_ones_values_costs_no_hand_over() -> None:
    """gate reads first; the next stage reads what gate made, and the chip hears only the latter."""
    whole = network("a gate in every step")
    source = replace(whole.by_name["opened"], name="twice")
    second = hybrids.stage("second gate", hybrids.gate(), "opened", "twice", "step")
    heard = tuple(replace(p, source="twice") if p.source == "opened" else p for p in whole.projections)
    order = (source, *whole.populations)
    more = replace(whole, populations=order, projections=heard, stages=(*whole.stages, second))
    assert levels(Wiring.of(more)) == {"gate": 1, "second gate": 1}
    assert barriers(more, T) == {0: T}
    assert {(c.population, c.to) for c in crossings(more, T)} == {("first", "host"), ("twice", "chip")}


def test_a_stage_of_the_users_input_alone_keeps_nobody_waiting() -> None:
    whole = network("a gate in every step")
    (gate,) = whole.stages
    early = replace(whole, stages=(replace(gate, takes=(HostInput("x", "input"),)),))
    assert barriers(early, T) == {0: 0}
    assert {(c.population, c.to) for c in crossings(early, T)} == {("opened", "chip")}, (
        "the input is the host's already"
    )
