"""Cost of chip and host together: phases against the chip's part as a whole, shares and sums by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from neurodeploy.api.program import Program
from neurodeploy.compiler import place
from neurodeploy.errors import InvalidInputError
from neurodeploy.hwsim.chips.arch import Architecture, load_architecture
from neurodeploy.hwsim.chips.hosts import FOLDER, Host, load_host
from neurodeploy.hwsim.cost import TIERS, Cost, cost
from neurodeploy.hwsim.hybrid import Ran, chip_side, cost_hybrid
from neurodeploy.program.host_work import Wiring
from neurodeploy.program.schedule import schedule
from neurodeploy.report.hybrid import run_hybrid
from tests.conformance import hybrids
from tests.conformance.cases import N
from tests.networks import placed

T, B = hybrids.STEPS, hybrids.SAMPLES
ALL = "two phases, a gate, and a reader behind"


def ran(name: str, arithmetic: str = "loihi", chip: str = "loihi2") -> Ran:
    case = hybrids.build(name, arithmetic)
    return run_hybrid(place(case.program.network, load_architecture(chip), {}), case.inputs)


def costs(name: str, host: str | Host = "x86", chip: str | Architecture = "loihi1", **how: Any) -> Cost:
    arch = load_architecture(chip) if isinstance(chip, str) else chip
    return cost_hybrid(ran(name), arch, load_host(host) if isinstance(host, str) else host, **how)


def own_host(**prices: float | None) -> Host:
    """A host of which all is priced, but for what is given as None."""
    content = yaml.safe_load((FOLDER / "none.yaml").read_text())
    for group in ("energy", "latency"):
        for key, figure in content[group].items():
            value = prices.get(f"{group}_{key}", 2.0 if group == "energy" else 0.5)
            content[group][key] = {**figure, "value": value, "confidence": "assumed", "source": "this test"}
    content["static_power"] |= {"value": 3.0, "confidence": "assumed"}
    return Host.model_validate(content | {"name": "own", "title": "Own board"})


def priced_chip(**energies: float) -> Architecture:
    content = load_architecture("loihi1").model_dump()
    for name, value in energies.items():
        content["energy"][name] = {"value": value, "unit": "pJ", "source": "this test", "confidence": "assumed"}
    return Architecture.model_validate(content)


def everything(found: Cost) -> dict[str, np.ndarray]:
    """Sums over cores and steps."""
    return {name: array.sum(axis=(0, 1)) for name, array in found.counts.core.items()}


@pytest.mark.parametrize("name", [n for n in hybrids.HYBRIDS if "phase" not in n])
def test_of_one_phase_the_chips_share_is_its_part_fed_with_what_the_host_sent(name: str) -> None:
    whole = ran(name)
    found = cost_hybrid(whole, load_architecture("loihi1"), load_host("x86"))
    chip, fed = chip_side(whole.program, whole.recording)
    alone = cost(chip, fed, load_architecture("loihi1"))
    assert {k: v for k, v in found.totals().items() if k in alone.totals()} == alone.totals()
    assert found.bill.shares[0].pj == pytest.approx(alone.bill.total_pj)
    assert found.hosted is not None and found.hosted.time.chip_ns == pytest.approx(alone.timing.inference_ns.mean())
    assert alone.bill.total_pj > 0


@pytest.mark.parametrize("name", [n for n in hybrids.HYBRIDS if "phase" in n])
def test_phases_add_up_to_what_the_chip_does_and_each_has_its_own_steps(name: str) -> None:
    """Each neuron belongs to one phase, so operations and active updates are those of the whole; steps are not."""
    whole = ran(name)
    found = cost_hybrid(whole, load_architecture("loihi1"), load_host("x86"))
    chip, fed = chip_side(whole.program, whole.recording)
    alone = cost(chip, fed, load_architecture("loihi1"))
    mine, theirs = everything(found), everything(alone)
    for kind in ("sops", "nonzero_sops", "active_updates", "touched_updates", "changed_updates", "events_out", "words"):
        np.testing.assert_array_equal(mine[kind], theirs[kind], kind)
    phases = Wiring.of(whole.program.network).chip_phases
    assert len(phases) == (3 if name == ALL else 2)
    # One layer a phase, so T + 1 chip steps each; every one ends with a barrier, and updates the neurons of its phase.
    assert len(found.timing.step_ns) == found.totals()["barriers"] == len(phases) * (T + 1)
    assert found.totals()["updates"] == len(phases) * (T + 1) * N
    assert found.timing.inference_ns.mean() == pytest.approx(found.timing.step_ns.sum(axis=0).mean())
    assert found.hosted is not None
    assert sum(ns or 0 for ns in found.hosted.time.phases.values()) == pytest.approx(found.timing.inference_ns.mean())
    assert sum(found.timing.terms.values()) == pytest.approx(found.timing.inference_ns.mean())


def test_what_goes_into_a_later_phase_comes_from_the_host() -> None:
    """`first` sends to `third`, two phases later: no message on the chip, and all that arrive from the host."""
    found = costs(ALL)
    spikes = {name: len(events) / B for name, events in found.recording.spikes.items()}
    layers = found.layers()
    assert layers["first"]["events_out"] == spikes["first"] > 0
    sent = sum(layers[name]["messages_out"] for name in ("input", "first", "seen", "again", "opened"))
    assert found.totals()["host_messages"] == sent
    assert found.totals()["hops_east_west"] == found.totals()["within_tile"] == 0
    assert layers["input"]["events_out"] == spikes["input"]


@pytest.mark.parametrize("arithmetic", ["loihi", "float"])
@pytest.mark.parametrize("seed", range(12))
def test_each_phase_run_by_itself_does_what_it_did_in_the_whole(seed: int, arithmetic: str) -> None:
    """The event tier runs each phase, the core tier counts the recording of the whole: all counts are the same."""
    case = hybrids.random_hybrid(seed, arithmetic)
    whole, arch, host = run_hybrid(case.program, case.inputs), load_architecture("loihi1"), load_host("x86")
    counted, followed = (cost_hybrid(whole, arch, host, tier=tier).counts for tier in ("core", "event"))
    assert counted.cores == followed.cores
    for part in ("core", "fabric", "layer", "learning"):
        mine, theirs = getattr(counted, part), getattr(followed, part)
        assert set(mine) == set(theirs)
        for kind in mine:
            np.testing.assert_array_equal(mine[kind], theirs[kind], f"{part} {kind}")


@pytest.mark.parametrize("tier", TIERS)
def test_every_tier_times_each_phase(tier: Any) -> None:
    found = costs(ALL, tier=tier)
    assert found.hosted is not None
    assert list(found.hosted.time.phases) == [0, 1, 2]
    barrier = 113
    assert all(ns is not None and ns > (T + 1) * barrier for ns in found.hosted.time.phases.values())
    assert found.slowest_step is None, "of several phases none is followed"


def test_loihis_x86_is_named_and_never_0() -> None:
    found = costs("attention between two phases")
    bill, told = found.bill, json.loads(json.dumps(found.as_json(), allow_nan=False))
    chip = bill.shares[0].pj
    assert chip is not None and chip > 0
    assert bill.said == (
        f"chip {chip / 1e3:,.3f} nJ + host (Loihi's embedded x86 cores): not published + boundary: not published"
    )
    assert math.isnan(bill.total_pj) and math.isnan(bill.inference_pj) and math.isnan(bill.dynamic_pj)
    assert told["total"] == bill.said
    assert told["total_pj"] is told["inference_ns"] is None
    assert {k: told["bill"][k] for k in ("total_pj", "inference_pj", "dynamic_pj")} == dict.fromkeys(
        ("total_pj", "inference_pj", "dynamic_pj")
    )
    assert told["bill"]["shares"]["chip"]["pj"] == chip
    # T frames of one byte each way for `first`, of nine for what the host made; one hand-over; see tests.program.
    lacks = {key: told["missing"][key] for key in ("mac", "operation", "byte_to_host", "byte_to_chip", "host_barrier")}
    assert lacks == {
        "mac": 2 * T * T * N, "operation": 3 * T * N + T * T, "byte_to_host": T, "byte_to_chip": T + 9 * T,
        "host_barrier": 1,
    }  # fmt: skip
    assert "host_static" not in told["missing"], "the chip's static power was measured with its x86 cores"
    assert "not published" in repr(found) and "Loihi's embedded x86" in repr(found)
    assert not any(math.isnan(v) for v in told["counts"]["total"].values())


def test_an_arm_core_has_a_price_for_macs_alone() -> None:
    """2 T T N = 2,352 MAC at 0.9 nJ."""
    found = costs("attention between two phases", "arm")
    chip, host, boundary = found.bill.shares
    assert host.pj == pytest.approx(2352 * 900)
    assert [m.kind for m in host.missing] == ["host_operations", "host_ns"]
    assert host.said == (
        "host (ARM Cortex-A) 2,116.800 nJ (without other operations of the host, static power of the host)"
    )
    assert boundary.pj is None and boundary.said == "boundary: not published"
    assert math.isnan(found.bill.total_pj) and not found.bill.whole
    assert chip.pj == pytest.approx(costs("attention between two phases").bill.shares[0].pj)


def test_a_host_without_macs_is_not_published_rather_than_0() -> None:
    """A gate multiplies nothing; its sigmoids have no price."""
    found = costs("a gate in every step", "arm")
    assert found.bill.shares[1].pj is None
    assert "host (ARM Cortex-A): not published" in found.bill.said


def test_a_sum_is_given_where_all_of_it_is_known() -> None:
    """Prices of 2 pJ and 0.5 ns for all that host and boundary do, 7 pJ and 113 ns (one tile) a barrier, 3 mW."""
    chip = priced_chip(barrier=7.0)
    found = costs("attention between two phases", own_host(), chip)
    macs, others, to_host, to_chip = 2 * T * T * N, 3 * T * N + T * T, T, T + 9 * T
    assert found.hosted is not None
    time = found.hosted.time
    tiles = len({core // 4 for core in found.counts.cores})
    barrier = chip.barrier_ns(tiles)
    assert time.side_ns("host") == pytest.approx(0.5 * (macs + others))
    assert time.side_ns("boundary") == pytest.approx(0.5 * (to_host + to_chip) + barrier)
    total_ns = found.timing.inference_ns.mean() + 0.5 * (macs + others + to_host + to_chip) + barrier
    assert time.total_ns == found.inference_ns == pytest.approx(total_ns)
    own, host, boundary = found.bill.shares
    assert host.pj == pytest.approx(2 * (macs + others) + 3 * total_ns)
    assert boundary.pj == pytest.approx(2 * (to_host + to_chip) + 7)
    assert own.pj is not None and found.bill.whole
    assert found.bill.total_pj == pytest.approx(own.pj + host.pj + boundary.pj)
    assert found.bill.said == f"{found.bill.total_pj / 1e3:,.3f} nJ"
    told = found.as_json()
    assert told["total_pj"] == found.bill.total_pj and told["inference_ns"] == time.total_ns


@pytest.mark.parametrize("gap", ["energy_mac", "energy_operation", "energy_byte_to_host", "energy_byte_to_chip"])
def test_one_price_that_is_missing_leaves_no_sum(gap: str) -> None:
    found = costs("attention between two phases", own_host(**{gap: None}), priced_chip(barrier=7.0))
    assert not found.bill.whole and math.isnan(found.bill.total_pj)
    assert found.as_json()["total_pj"] is None


def test_one_time_that_is_missing_leaves_no_sum() -> None:
    found = costs("attention between two phases", own_host(latency_operation=None), priced_chip(barrier=7.0))
    assert found.inference_ns is None and found.hosted is not None
    assert found.hosted.time.side_ns("host") is None and found.hosted.time.chip_ns
    assert "other operations of the host: not published" in found.hosted.time.said
    assert "host_ns" in {m.kind for m in found.bill.missing}, "static power without a time"


def test_a_byte_to_the_chip_is_not_paid_twice_where_messages_have_a_price() -> None:
    found = costs("a gate in every step", own_host(), priced_chip(barrier=7.0, host_message=1.0))
    kinds = [line.kind for line in found.bill.lines]
    assert "host_messages" in kinds and "bytes_to_chip" not in kinds and "bytes_to_host" in kinds
    assert "bytes_to_chip" not in {m.kind for m in found.bill.missing}


def test_an_x86_beside_another_chip_has_static_power_of_its_own() -> None:
    arch = load_architecture("loihi1").model_copy(update={"host": ""})
    assert "host_ns" in {m.kind for m in costs(ALL, "x86", arch).bill.missing}
    assert "host_ns" not in {m.kind for m in costs(ALL, "x86").bill.missing}


def test_barriers_with_the_host_take_the_chips_own_at_least() -> None:
    """T hand-overs; the chip's cores are on as many tiles as the placement uses."""
    found = costs("a gate in every step")
    assert found.hosted is not None
    term = next(t for t in found.hosted.time.terms if t.kind == "host_barriers")
    assert term.ns == pytest.approx(T * load_architecture("loihi1").barrier_ns(found.timing.tiles))
    assert term.note.startswith("at least")
    silent = costs("a gate in every step", chip=load_architecture("loihi1").model_copy(
        update={"barrier": load_architecture("loihi1").barrier.model_copy(update={"latency": None, "note": "none"})}
    ))  # fmt: skip
    assert silent.hosted is not None
    assert next(t for t in silent.hosted.time.terms if t.kind == "host_barriers").ns is None


def test_an_input_that_only_the_host_reads_is_shown_with_its_spikes() -> None:
    found = costs("an encoder before the first step")
    assert found.layers()["image"]["events_out"] == len(found.recording.spikes["image"]) / B > 0
    assert found.layers()["image"]["sops"] == 0


def test_chip_steps_follow_the_schedule_of_each_phase() -> None:
    whole = ran("a gate in every step")
    found = cost_hybrid(whole, load_architecture("loihi1"), load_host("x86"))
    assert len(found.timing.step_ns) == T + schedule(whole.program.network.chip_part).depth


def test_programs_say_which_hosts_there_are_and_refuse_one_that_does_nothing(tmp_path: Path) -> None:
    case = hybrids.build("a gate in every step", "loihi")
    program = Program(place(case.program.network, load_architecture("loihi2"), {}))
    assert program.cost(case.inputs).hosted is not None
    with pytest.raises(InvalidInputError, match="unknown host"):
        program.cost(case.inputs, host="arms")
    part = Program(chip_side(program.of, run_hybrid(program.of, case.inputs).recording)[0])
    with pytest.raises(InvalidInputError, match="the host computes nothing"):
        part.cost({}, host="arm")
    unknown: Any = "cores"
    with pytest.raises(InvalidInputError, match="no such tier"):
        program.cost(case.inputs, unknown)
    with pytest.raises(InvalidInputError, match="timeline"):
        program.cost(case.inputs).write_timeline(tmp_path / "t.json")
    shown = program.cost(case.inputs, host="arm")._repr_html_()
    assert "host (ARM Cortex-A)" in shown and "boundary" in shown and "not published" in shown


def test_what_the_host_feeds_takes_no_core() -> None:
    """As the user's inputs: only neurons, and sources that spike by themselves, are on the chip."""
    program = ran(ALL).program
    assert set(program.core_of) == {"first", "second", "third"}
    assert len(program.use) == len(program.cores) == 3


@pytest.mark.parametrize("arithmetic", ["loihi", "float"])
def test_a_read_out_sends_its_potential_into_a_later_phase(arithmetic: str) -> None:
    """T frames of 24 - 12 bits (floats: 32) for 6 neurons, in every step, whichever way it is counted."""
    case = hybrids.build("attention between two phases", arithmetic)
    net, shift = case.program.network, 12 if arithmetic == "loihi" else 0
    first = net.by_name["first"]
    read = replace(first, name="read", neuron=replace(first.neuron, spiking=False, send_shift=shift))
    by_name = {p.name: p for p in net.projections}
    heard = replace(by_name["input-first"], name="heard", target="read")
    sent = replace(by_name["first-second"], name="sent", source="read")
    populations = (net.by_name["input"], read, *net.populations[1:])
    more = replace(net, populations=populations, projections=(*net.projections, heard, sent))
    whole = run_hybrid(placed(more), case.inputs)
    crossing = {(c.population, c.to): c.bytes for c in whole.work.crossings}
    bits = 12 if arithmetic == "loihi" else 32
    assert crossing["read", "host"] == crossing["read", "chip"] == T * (6 * bits // 8)
    arch, host = load_architecture("loihi1"), load_host("x86")
    counted, followed = (cost_hybrid(whole, arch, host, tier=tier).counts for tier in ("core", "event"))
    for kind in counted.core:
        np.testing.assert_array_equal(counted.core[kind], followed.core[kind], kind)
    assert counted.layer["messages_out"][more.populations.index(read)].sum() > 0


def test_states_of_a_narrow_chip_are_looked_at_in_the_chips_part() -> None:
    """Speck has 16 bits for its states; the hybrid's are computed with 24, and what goes beyond is said."""
    case = hybrids.build("a gate in every step", "loihi")
    program = Program(replace(case.program, chip="speck"))
    recording, found = program.run(case.inputs), program.cost(case.inputs)
    checked = program.verify(case.inputs, backends=["reference", "hwsim"])
    for warnings in (recording.warnings, found.warnings(), checked.warnings):
        assert any("16 bits" in line for line in warnings), warnings
