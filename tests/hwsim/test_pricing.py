"""Bills and the core tier of timing against arithmetic written beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from neurodeploy.errors import InvalidInputError
from neurodeploy.hwsim.chips.arch import FOLDER, Architecture, load_architecture
from neurodeploy.hwsim.counts.counts import CORE, FABRIC, LAYER, Counts
from neurodeploy.hwsim.prices.pricing import price
from neurodeploy.hwsim.timing.tiers import core_timing


def make(cores: tuple[int, ...], core: dict[str, object], fabric: dict[str, object]) -> Counts:
    """Counts in which everything not given is 0."""
    shape = np.asarray(next(iter(core.values()))).shape
    return Counts(
        populations=("a",),
        cores=cores,
        layer={name: np.zeros((1, *shape[1:]), np.int64) for name in LAYER},
        core={name: np.asarray(core.get(name, np.zeros(shape)), np.int64) for name in CORE},
        fabric={name: np.asarray(fabric.get(name, np.zeros(shape[1:])), np.int64) for name in FABRIC},
    )


@pytest.fixture
def counts() -> Counts:
    """Cores 0 and 5 (tiles 0 and 1), two chip steps, two samples."""
    return make(
        (0, 5),
        {
            # [core, step, sample]
            "sops": [[[100, 0], [40, 0]], [[10, 20], [60, 0]]],
            "updates": [[[10, 10], [10, 10]], [[20, 20], [20, 20]]],
            "active_updates": [[[4, 0], [10, 0]], [[0, 5], [20, 0]]],
            "nonzero_sops": [[[50, 0], [20, 0]], [[5, 10], [30, 0]]],
        },
        {
            "within_tile": [[3, 1], [2, 0]],
            "hops_east_west": [[7, 0], [1, 2]],
            "hops_north_south": [[1, 0], [0, 2]],
            "host_messages": [[5, 3], [0, 0]],
        },
    )


def test_the_slowest_core_and_the_barrier_set_each_step(counts: Counts) -> None:
    timing = core_timing(counts, load_architecture("loihi1"))
    barrier = 113 + 352 / 31  # two tiles
    # step 0, sample 0: core 0: 100*3.5 + 4*8.4 + 6*5.3 = 415.4; core 5: 10*3.5 + 20*5.3 = 141
    # step 0, sample 1: core 0: 10*5.3 = 53;                      core 5: 20*3.5 + 5*8.4 + 15*5.3 = 191.5
    # step 1, sample 0: core 0: 40*3.5 + 10*8.4 = 224;            core 5: 60*3.5 + 20*8.4 = 378
    # step 1, sample 1: core 0: 53;                               core 5: 20*5.3 = 106
    np.testing.assert_allclose(timing.step_ns, np.array([[415.4, 191.5], [378.0, 106.0]]) + barrier)
    np.testing.assert_allclose(timing.inference_ns, [793.4 + 2 * barrier, 297.5 + 2 * barrier])
    assert timing.tiles == 2
    # of the slowest cores, mean of two samples: SOPs 100 + 20 + 60 = 180, active 4 + 5 + 20 = 29,
    # inactive 6 + 15 + 0 + 20 = 41
    assert {name: value for name, value in timing.terms.items() if value} == pytest.approx(
        {
            "synaptic_operation": 180 * 3.5 / 2,
            "neuron_update_active": 29 * 8.4 / 2,
            "neuron_update_inactive": 41 * 5.3 / 2,
            "barrier": 2 * barrier,
        }
    )
    assert sum(timing.terms.values()) == pytest.approx(timing.inference_ns.mean())
    assert timing.dominant == "synaptic_operation"
    # core 5 is waited for 191.5 + 378 + 106 = 675.5 ns of 675.5 + 415.4
    assert timing.busiest_core == 5
    assert timing.busiest_share == pytest.approx(675.5 / 1090.9)
    np.testing.assert_allclose(timing.core_ns, [(415.4 + 53 + 224 + 53) / 2, (141 + 191.5 + 378 + 106) / 2])


def test_the_bill_is_counts_times_prices(counts: Counts) -> None:
    chip = load_architecture("loihi1")
    bill = price(counts, chip)
    lines = {line.component: line for line in bill.lines}
    energy = {name: line.energy_pj for name, line in lines.items()}
    # means of two samples; synaptic operations with zero weights: 100 + 40 + 10 + 20 + 60 = 230
    run_ns = (793.4 + 297.5) / 2 + 2 * (113 + 352 / 31)
    assert energy == pytest.approx(
        {
            "synaptic_operation": 230 / 2 * 23.6,
            "neuron_update_active": (4 + 10 + 5 + 20) / 2 * 81,
            "neuron_update_inactive": (2 * 2 * 30 - 39) / 2 * 52,
            "within_tile_spike": 6 / 2 * 1.7,
            "hop_east_west": 10 / 2 * 3.0,
            "hop_north_south": 3 / 2 * 4.0,
            "static": 2 * run_ns * 0.82,  # 2 cores; mW * ns = pJ
        }
    )
    assert bill.total_pj == pytest.approx(sum(energy.values()))
    assert bill.dynamic_pj == pytest.approx(sum(energy.values()) - energy["static"])
    assert [(item.component, item.count) for item in bill.missing] == [("barrier", 2), ("host_message", 4)]
    assert all(item.reason for item in bill.missing)
    assert all(line.source and line.confidence for line in bill.lines)
    assert lines["synaptic_operation"].bound == "minimum"


def test_a_price_that_nobody_published_goes_to_the_missing_list(tmp_path: Path, counts: Counts) -> None:
    content = yaml.safe_load((FOLDER / "loihi1.yaml").read_text())
    content["energy"]["hop_east_west"].update(value=None, note="not published")
    content["latency"]["synaptic_operation"].update(value=None, note="not published")
    path = tmp_path / "chip.yaml"
    path.write_text(yaml.safe_dump(content))
    chip = load_architecture(path)
    timing = core_timing(counts, chip)
    bill = price(counts, chip, timing)
    assert timing.missing == ("synaptic_operation",)
    assert "hop_east_west" not in {line.component for line in bill.lines}
    assert ("hop_east_west", 5) in {(item.component, item.count) for item in bill.missing}


def test_a_silent_run_still_pays_updates_barrier_time_and_leakage() -> None:
    chip = load_architecture("loihi1")
    counts = make((3,), {"updates": [[[8], [8], [8]]]}, {})
    timing = core_timing(counts, chip)
    np.testing.assert_allclose(timing.step_ns, np.full((3, 1), 8 * 5.3 + 113))
    bill = price(counts, chip, timing)
    assert bill.total_pj == pytest.approx(24 * 52 + 3 * (8 * 5.3 + 113) * 0.82)


def test_counts_without_samples_or_with_foreign_cores_are_refused() -> None:
    chip = load_architecture("loihi1")
    with pytest.raises(InvalidInputError, match="0 samples"):
        price(make((0,), {"sops": np.zeros((1, 4, 0))}, {}), chip)
    with pytest.raises(InvalidInputError, match="no core 500"):
        price(make((500,), {"sops": np.zeros((1, 4, 1))}, {}), chip)


def test_a_bill_says_what_its_total_lacks(counts: Counts) -> None:
    """Speck: every count is on the bill as missing, none is priced, and no time is taken for granted."""
    chip = load_architecture("speck")
    bill = price(counts, chip)
    assert bill.lines == ()
    assert not bill.known
    missing = {m.component: m.count for m in bill.missing}
    # Over two samples, as written above: 100 + 40 + 10 + 20 + 60 operations, 7 + 1 + 2 hops and 1 + 2 hops.
    assert missing["synaptic_operation"] == 230 / 2
    assert missing["hop_east_west"] == 10 / 2
    assert missing["hop_north_south"] == 3 / 2
    assert missing["static"] is None, "for a time that is not known"
    assert all(m.reason for m in bill.missing)
    assert set(core_timing(counts, chip).missing) >= {"synaptic_operation", "neuron_update_active", "barrier"}


def test_a_chip_that_skips_zero_weights_pays_for_the_others_only(counts: Counts) -> None:
    walked, skipped = load_architecture("loihi1"), load_architecture("loihi2")
    bills = [{line.component: line.count for line in price(counts, chip).lines} for chip in (walked, skipped)]
    assert bills[0]["synaptic_operation"] == 230 / 2
    assert bills[1]["synaptic_operation"] == 115 / 2


def test_an_all_in_price_stands_alone(counts: Counts) -> None:
    bill = price(counts, load_architecture("truenorth"))
    assert [(line.component, line.energy_pj) for line in bill.lines] == [("synaptic_operation", 230 / 2 * 26)]
    assert {item.component for item in bill.missing} <= {"host_message", "learning_update"}


@pytest.mark.parametrize("parallel", [False, True])
def test_receiving_and_sending_add_up_or_overlap(counts: Counts, parallel: bool) -> None:
    content = load_architecture("loihi1").model_dump()
    content["pipeline"]["core"] = "parallel" if parallel else "serial"
    timing = core_timing(counts, Architecture.model_validate(content))
    barrier = 113 + 352 / 31
    receiving, sending = 350.0, 4 * 8.4 + 6 * 5.3
    assert timing.step_ns[0, 0] == pytest.approx(
        (max(receiving, sending) if parallel else receiving + sending) + barrier
    )
    assert sum(timing.terms.values()) == pytest.approx(timing.inference_ns.mean())


def test_dendrites_cost_where_something_arrived() -> None:
    content = load_architecture("loihi1").model_dump()
    source = {"source": "this test", "confidence": "assumed"}
    content["energy"]["dendrite_update"] = {"value": 2.0, "unit": "pJ", **source}
    content["latency"]["dendrite_update"] = {"value": 0.5, "unit": "ns", **source}
    chip = Architecture.model_validate(content)
    counts = make((0,), {"updates": [[[8]]], "active_updates": [[[5]]], "touched_updates": [[[3]]]}, {})
    assert {line.component: line.energy_pj for line in price(counts, chip).lines}["dendrite_update"] == 6.0
    timing = core_timing(counts, chip)
    assert timing.terms["dendrite_update"] == 1.5
    assert timing.step_ns[0, 0] == pytest.approx(5 * 8.4 + 3 * 5.3 + 1.5 + 113)
