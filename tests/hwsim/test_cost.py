"""`cost` and its JSON: counts, bill and times of the network in `tests.by_hand`, and a bill of learning by hand."""

from __future__ import annotations

import json
from typing import Any, get_args

import numpy as np
import pytest

from neurodeploy.errors import InvalidInputError
from neurodeploy.hwsim.chips.arch import Architecture, load_architecture
from neurodeploy.hwsim.cost import TIERS, Cost, Tier, cost
from neurodeploy.hwsim.prices.learning_bill import bill
from neurodeploy.hwsim.prices.pricing import bill_of
from neurodeploy.program.count_kinds import BY_NAME, ON_CHIP, counted
from tests import by_hand


@pytest.fixture(scope="module")
def found() -> Cost:
    return cost(by_hand.program(), {"input": by_hand.spikes()}, by_hand.chip())


@pytest.fixture(scope="module")
def told(found: Cost) -> dict[str, Any]:
    """As a script reads it."""
    return dict(json.loads(json.dumps(found.as_json(), allow_nan=False)))


def test_totals_are_means_per_sample(found: Cost, told: dict[str, Any]) -> None:
    """Sums of both samples, halved; see `tests.by_hand`."""
    assert (told["per"], told["samples"], told["steps"], told["chip_steps"]) == ("sample", 2, 3, 5)
    totals = told["counts"]["total"]
    assert totals == {
        # Spikes that arrive, by projection: 5 and 2 at hidden; at out 6 and 2, and through the skip those of the first
        # two steps, 3 and 1. Messages: input spikes go to two cores, and one of each sample (i1, i2) to a third.
        "events_in": (5 + 2 + 6 + 2 + 3 + 1) / 2,
        "messages_in": (2 * 7 + 2 + 8) / 2,
        "sops": (4 * 7 + 2 * 8 + 2) / 2,
        "nonzero_sops": (9 + 3 + 6 + 2 + 2) / 2,
        "sops_list": 2 / 2,
        "sops_kernel": 0,
        "nonzero_list": 2 / 2,
        "nonzero_kernel": 0,
        # A word holds eight weights, and a list of one (18 bits) takes one too: a word a message.
        "words": (2 * 7 + 2 + 8) / 2,
        "updates": 6 * 5,
        "active_updates": (8 + 5 + 3 + 3) / 2,
        "inactive_updates": 6 * 5 - 19 / 2,
        # Something that is not 0 arrives wherever a neuron is not at rest; of what is stored only the potential of h2
        # changes: it holds 4 after steps 0 and 2 of the first sample and after the last one of the second.
        "touched_updates": 19 / 2,
        "changed_updates": (3 + 1) / 2,
        "events_out": (6 + 5 + 2 + 3) / 2,
        "messages_out": (6 + 2) / 2,
        # Two hops from core 0 (h0 and h1: 4 and 1 spikes), one from core 5 (h2 and h3: 2 and 1).
        "hops_east_west": (2 * 5 + 3) / 2,
        "hops_north_south": 0,
        "within_tile": 0,
        "between_chips": 0,
        "used_core_ns": pytest.approx(3 * (107 + 5 * (113 + 2 * 352 / 31))),
        "barriers": 5,
        "host_events": 7 / 2,
        "host_messages": (2 * 7 + 2) / 2,
    }
    assert set(totals) == set(counted("layer", *ON_CHIP)) - set(counted("work"))
    assert list(totals) == [name for name in BY_NAME if name in totals], "in the table's order"
    assert told["kinds"] == {name: {"label": BY_NAME[name].label, "unit": BY_NAME[name].unit} for name in totals}


def test_layers_and_cores_are_told_apart(told: dict[str, Any]) -> None:
    layers, cores = told["counts"]["layers"], told["counts"]["cores"]
    assert list(layers) == ["input", "hidden", "out"]
    assert list(cores) == ["0", "5", "9"]
    for names, row in ((counted("layer"), layers["out"]), (counted("receiving", "sending", "resting"), cores["9"])):
        assert set(row) == set(names)
    spikes = {name: layer["events_out"] for name, layer in layers.items()}
    assert spikes == {"input": 3.5, "hidden": 4, "out": 4}
    assert {name: layer["events_in"] for name, layer in layers.items()} == {"input": 0, "hidden": 3.5, "out": 4 + 2}
    assert {name: layer["sops"] for name, layer in layers.items()} == {"input": 0, "hidden": 14, "out": 9}
    assert {name: layer["updates"] for name, layer in layers.items()} == {"input": 0, "hidden": 12, "out": 6}
    assert {core: row["sops"] for core, row in cores.items()} == {"0": 7, "5": 7, "9": 9}
    # Two neurons each in five chip steps; at rest are all but 4 and 1, 4 and 2, 5 and 3 of them.
    assert {core: row["updates"] for core, row in cores.items()} == {"0": 10, "5": 10, "9": 10}
    resting = {core: row["inactive_updates"] for core, row in cores.items()}
    assert resting == {"0": 10 - 5 / 2, "5": 10 - 6 / 2, "9": 10 - 8 / 2}
    assert {core: row["events_out"] for core, row in cores.items()} == {"0": (4 + 1) / 2, "5": (2 + 1) / 2, "9": 8 / 2}


def test_what_still_holds_something_does_not_rest() -> None:
    """Only i0 in the first step: h0 spikes; h2 gets 4, and holds them through the next step."""
    x = np.zeros((3, 1, 3), np.uint8)
    x[0, 0, 0] = 1
    found = cost(by_hand.program(), {"input": x}, by_hand.chip())
    totals = found.totals()
    # At rest are all but h0, h2 and o0 when something arrives, and h2 once more; core 5 holds h2.
    assert (totals["touched_updates"], totals["inactive_updates"]) == (3, 6 * 5 - 4)
    assert found.cores()[5]["inactive_updates"] == 2 * 5 - 2


def test_every_line_says_what_where_from_and_how_sure(told: dict[str, Any]) -> None:
    made = told["bill"]
    first = made["lines"][0]
    price = load_architecture("loihi1").energy.synaptic_operation
    assert first == {
        "kind": "sops", "component": "synaptic_operation", "part": "inference", "side": "chip",
        "label": "synaptic operations",
        "count": 22, "count_unit": "SOP", "price": 23.6, "price_unit": "pJ", "energy_pj": pytest.approx(22 * 23.6),
        "source": price.source, "confidence": "simulated", "bound": "minimum", "note": price.note,
    }  # fmt: skip
    dynamic = 22 * 23.6 + 23.6 + 9.5 * 81 + 20.5 * 52 + 6.5 * 3
    static = 3 * (107 + 5 * (113 + 2 * 352 / 31)) * 0.82
    assert (made["dynamic_pj"], made["static_pj"]) == pytest.approx((dynamic, static))
    assert made["inference_pj"] == made["total_pj"] == told["total_pj"] == pytest.approx(dynamic + static)
    assert made["learning_pj"] == 0
    assert told["energy_pj"] == {line["component"]: line["energy_pj"] for line in made["lines"]}
    lacks = {item["kind"]: (item["component"], item["count"], item["count_unit"]) for item in made["missing"]}
    assert lacks == {
        "messages_in": ("axon_in", 12, "messages"), "events_out": ("spike_out", 8, "spikes"),
        "messages_out": ("axon_out", 4, "messages"), "barriers": ("barrier", 5, "barriers"),
        "host_messages": ("host_message", 8, "messages"),
    }  # fmt: skip
    assert all(item["reason"] and item["label"] and item["part"] == "inference" for item in made["missing"])
    assert told["missing"] == {component: count for component, count, _ in lacks.values()}


def test_times_have_their_unit_in_their_name(told: dict[str, Any]) -> None:
    """See `tests.report.test_collect.test_latency_by_hand`."""
    barrier = 113 + 2 * 352 / 31
    assert told["tier"] == "core"
    assert told["inference_ns"] == pytest.approx(107 + 5 * barrier)
    assert told["step_ns"] == pytest.approx({"mean": 107 / 5 + barrier, "slowest": 34.7 + barrier})
    assert {name: ns for name, ns in told["terms_ns"].items() if ns} == pytest.approx(
        {"synaptic_operation": 38.5, "neuron_update_active": 42, "neuron_update_inactive": 26.5, "barrier": 5 * barrier}
    )
    # 10.6 in each of five chip steps, 3.5 for each operation and 3.1 for each active neuron.
    assert told["core_ns"] == pytest.approx(
        {"0": 53 + 7 * 3.5 + 2.5 * 3.1, "5": 53 + 7 * 3.5 + 3 * 3.1, "9": 53 + 9 * 3.5 + 4 * 3.1}
    )
    assert told["busiest_core"] == 9
    assert told["times_missing"] == ["axon_in", "spike_out", "axon_out"]
    assert "learning" not in told
    assert "slowest_step" not in told


def test_a_tier_that_is_none_is_refused() -> None:
    assert get_args(Tier) == TIERS
    unknown: Any = "cores"
    with pytest.raises(InvalidInputError, match="no such tier"):
        cost(by_hand.program(), {"input": by_hand.spikes()}, by_hand.chip(), tier=unknown)


def test_a_step_without_a_time_waits_for_the_barrier_alone() -> None:
    """TrueNorth's file knows no time of anything that a core does."""
    found = cost(by_hand.program(), {"input": by_hand.spikes()}, load_architecture("truenorth"), tier="event")
    assert found.slowest_step is not None
    assert str(found.slowest_step[1]).startswith("the barrier alone")


def priced_learning(**prices: float | None) -> Architecture:
    content = load_architecture("loihi1").model_dump()
    for name, value in prices.items():
        origin = {"source": "this test", "confidence": "assumed", "note": "none here"}
        content["energy"][name] = {"value": value, "unit": "pJ", **origin}
    return Architecture.model_validate(content)


def test_one_bill_for_learning_and_inference() -> None:
    """Five samples: each message of errors pays for both its ends, and what has no price is missing, never 0 pJ."""
    counts = {
        "sops": np.array([30, 5]), "error_messages": np.array([0, 10]), "error_macs": np.array([0, 20]),
        "trace_updates": np.array([15, 0]), "messages": np.array([5, 0]), "stored_words": np.array([0, 0]),
        "weight_reads": np.array([9, 9]),
    }  # fmt: skip
    arch = priced_learning(axon_out=2.0, axon_in=None, learning_mac=3.0, learning_neuron=None)
    made = bill(counts, 5, arch)
    assert {(line.kind, line.component): (line.part, line.count, line.energy_pj) for line in made.lines} == {
        ("sops", "synaptic_operation"): ("inference", 7, pytest.approx(7 * 23.6)),
        ("messages", "axon_out"): ("inference", 1, 2),
        ("error_macs", "learning_mac"): ("learning", 4, 12),
        ("error_messages", "axon_out"): ("learning", 2, 4),
    }
    assert [(m.kind, m.component, m.part, m.count, m.reason) for m in made.missing] == [
        ("messages", "axon_in", "inference", 1, "none here"),
        ("trace_updates", "learning_neuron", "learning", 3, "none here"),
        ("error_messages", "axon_in", "learning", 2, "none here"),
    ]
    assert (made.learning_pj, made.inference_pj) == pytest.approx((16, 7 * 23.6 + 2))
    assert made.total_pj == made.dynamic_pj == pytest.approx(16 + 7 * 23.6 + 2)
    assert (made.samples, made.static_pj) == (5, 0)
    assert [made.count(kind) for kind in ("sops", "trace_updates", "stored_words")] == [7, 3, 0]


def test_what_another_price_contains_is_neither_priced_nor_missing() -> None:
    made = bill_of({"words": 4.0, "touched_updates": 3.0, "hops_east_west": 0.0, "visited": 0.0}, 1, by_hand.chip())
    assert [line.kind for line in made.lines] == ["hops_east_west"], "none of what is rare, and nothing contained"
    assert made.missing == ()
