"""The one table of what is counted: prices and kinds name each other, no word of it stands twice, columns stay put."""

from __future__ import annotations

import ast

import pytest

from neurodeploy.hwsim.chips.arch import Energies, Times
from neurodeploy.hwsim.chips.hosts import HostEnergies, HostTimes
from neurodeploy.hwsim.event_learning import kernels
from neurodeploy.hwsim.loihi_learning import tables
from neurodeploy.hwsim.timing.tiers import LEARNING, RECEIVING, SENDING, TERMS
from neurodeploy.program.count_kinds import BY_NAME, KINDS, ON_CHIP, ON_CHIP_BY_PRICE, counted, label
from neurodeploy.program.recording import LEARNING_WORK
from tests.test_house import ROOT, sources

BESIDE = {"static", "between_chips"}
"""Prices that the sections of an architecture file do not have: a power of its own, and what no file knows."""
HOSTED = {*HostEnergies.model_fields, "host_static", "host_barrier"}
"""Prices of what the host does: those of its file, its power, and a barrier, which pays what the chip's does."""


def test_every_price_of_a_chips_file_is_paid_by_some_kind_and_the_other_way_round() -> None:
    paid = {price for kind in KINDS for price in kind.prices}
    assert paid == {*Energies.model_fields, *Times.model_fields} | BESIDE | HOSTED
    assert set(HostEnergies.model_fields) == set(HostTimes.model_fields)


def test_what_the_host_does_is_never_counted_as_the_chips() -> None:
    hosted = {kind.name for kind in KINDS if "host" in kind.counted}
    assert hosted == {kind.name for kind in KINDS if kind.side != "chip"}
    assert {price for name in hosted for price in BY_NAME[name].prices} == HOSTED


def test_a_run_on_a_chip_pays_each_price_for_one_kind() -> None:
    pairs = [(price, name) for name in counted(*ON_CHIP) for price in BY_NAME[name].prices]
    assert len(pairs) == len(ON_CHIP_BY_PRICE), "two kinds of a run at one price would be one line of its bill"
    assert {price: kind.name for price, kind in ON_CHIP_BY_PRICE.items()} == dict(pairs)
    assert set(ON_CHIP_BY_PRICE) == {*Times.model_fields, "barrier"} | BESIDE


def test_names_and_labels_are_given_once_and_all_have_a_unit() -> None:
    for texts in ([kind.name for kind in KINDS], [kind.label for kind in KINDS]):
        assert sorted(set(texts)) == sorted(texts)
    assert all(kind.label and kind.unit and kind.counted for kind in KINDS)
    assert label("sops") == "synaptic operations"
    assert label("of_another_version") == "of another version"


def test_no_label_is_written_a_second_time() -> None:
    labels = {kind.label for kind in KINDS if " " in kind.label}
    found = []
    for name, path in sources():
        if not name.endswith(".count_kinds"):
            texts = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
            found += [f"{name}: {text}" for text in texts if text in labels]
    assert not found
    for page in sorted((ROOT / "neurodeploy" / "report").glob("*.html")):
        shown = page.read_text(encoding="utf-8")
        assert [text for text in labels if f">{text}<" in shown] == [], page.name


def test_times_are_told_by_the_tables_words() -> None:
    assert RECEIVING == (
        "axon_in", "synaptic_operation", "synaptic_operation_list", "synaptic_operation_kernel", "synaptic_word",
    )  # fmt: skip
    assert SENDING == ("neuron_update_active", "neuron_update_inactive", "dendrite_update", "spike_out", "axon_out")
    assert LEARNING == ("learning_update",)
    assert TERMS["axon_in"] == BY_NAME["messages_in"].label
    assert set(TERMS) - {"network"} == {*RECEIVING, *SENDING, *LEARNING, "barrier"}


def test_columns_of_checkpoints_stay_where_they_are() -> None:
    assert kernels.KINDS == (
        "events_in", "sops", "neuron_updates", "events_out",
        "messages", "hops_east_west", "hops_north_south", "within_tile",
        "error_macs", "surrogates", "recursions", "gradient_macs", "gradient_adds", "trace_updates", "weight_reads",
        "weight_writes", "threshold_updates", "error_messages", "error_hops_east_west", "error_hops_north_south",
        "error_within_tile", "stored_words", "learned", "skipped",
    )  # fmt: skip
    assert LEARNING_WORK == ("visited", "changed", "products", "x_impulses", "x_decays", "y_impulses", "y_decays")


@pytest.mark.parametrize(("module", "names"), [(kernels, kernels.KINDS), (tables, LEARNING_WORK)])
def test_the_kernels_numbers_are_the_tables_columns(module: object, names: tuple[str, ...]) -> None:
    """Every column that a kernel fills has a constant of its name; hops follow their messages without one."""
    found = {name: getattr(module, name.upper()) for name in names if hasattr(module, name.upper())}
    assert found == {name: names.index(name) for name in found}
    hops = {"hops_east_west", "hops_north_south", "within_tile"}
    assert set(names) - set(found) <= hops | {f"error_{name}" for name in hops}
