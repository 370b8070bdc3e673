"""No accuracy beside one on other samples, and beside each how many are undecided; in files, pages and tables."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from neurodeploy.program.recording import Events, Recording, decided, decisions
from neurodeploy.report import html
from neurodeploy.report.accuracies import by_samples, said, table, undecided
from neurodeploy.report.document import Report, Stage
from neurodeploy.verify.stages import accuracy_of
from tests import by_hand

NETWORK = by_hand.program().network
(OUTPUT,) = NETWORK.outputs
CLASSES = NETWORK.classes


def answers(counts: list[list[int]]) -> Recording:
    """A run in which the output neurons sent so many spikes for each sample."""
    wanted = np.array(counts)
    spikes = np.arange(wanted.max(initial=1))[:, None, None] < wanted
    return Recording("x", *spikes.shape[:2], {OUTPUT: Events.from_dense(spikes)})


def test_ties_and_silence_are_undecided_and_argmax_still_answers() -> None:
    assert NETWORK.by_name[OUTPUT].spiking and CLASSES == 2
    run = answers([[3, 1], [2, 2], [0, 0], [0, 1]])
    found = decisions(NETWORK, run)
    assert found.predicted.tolist() == [0, 0, 0, 1]
    assert found.tied.tolist() == [False, True, True, False]
    assert found.silent.tolist() == [False, False, True, False]
    judged = accuracy_of("s", NETWORK, run, np.array([0, 0, 1, 1]))
    assert (judged.accuracy, judged.samples, judged.undecided, judged.silent) == (3 / 4, 4, 2, 1)
    assert said(judged) == "75.00 %, undecided: 2 of 4 (1 tied, 1 without an output spike)"


@pytest.mark.parametrize(
    ("scores", "tied"),
    [
        ([0.5, 0.5, 0.1], True), ([0.5, 0.4, 0.4], False), ([-1.0, -2.0, -1.0], True), ([np.nan, 1.0, 2.0], True),
        ([1.0, np.inf, np.inf], True), ([np.inf, 1.0, 2.0], True), ([7.0], False),
    ],
)  # fmt: skip
def test_scores_that_decide_nothing(scores: list[float], tied: bool) -> None:
    found = decided(np.array([scores]))
    assert found.tied.tolist() == [tied]
    assert found.undecided == tied


def test_undecided_samples_are_counted_by_any_order_of_classes() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 3, (200, 5))
    by_sorting = np.sort(scores, axis=1)
    expected = int((by_sorting[:, -1] == by_sorting[:, -2]).sum())
    assert 0 < expected < 200
    for _ in range(3):
        assert decided(rng.permuted(scores, axis=1)).undecided == expected


MIXED = [Stage(name="hwsim", accuracy=0.9, samples=450), Stage(name="lava", accuracy=1.0, samples=64)]


def test_groups_and_tables_keep_numbers_of_samples_apart() -> None:
    assert list(by_samples(MIXED)) == [64, 450]
    columns, rows = table([((stage.name,), stage) for stage in MIXED], ("stage",))
    assert columns == [
        "stage",
        "accuracy on 64 samples",
        "undecided of 64",
        "accuracy on 450 samples",
        "undecided of 450",
    ]
    assert rows == [["hwsim", "-", "-", "90.00 %", "not counted"], ["lava", "100.00 %", "not counted", "-", "-"]]


def test_a_file_of_the_first_version_is_read_and_its_counts_are_kept_apart(report: Report) -> None:
    """It had stages of different sample counts in one list, and counted no undecided samples."""
    data = json.loads(report.to_json()) | {"version": 1}
    for network in data["networks"]:
        del network["stages_on_all"]
        for pair in network["pairs"]:
            del pair["not_finite"]
        network["stages"] = [{"name": s.name, "accuracy": s.accuracy, "samples": s.samples} for s in MIXED]
        if network["raster"]:
            del network["raster"]["undecided"]
    old = Report.from_json(json.dumps(data))
    first = old.networks[0]
    assert {stage.undecided for stage in first.stages} == {None}
    assert {pair.not_finite for pair in first.pairs} == {None}
    page = html.render(old)
    lists = re.findall(r"On ([\d,]+) samples?</p>\s*<ol class=\"stages\">(.*?)</ol>", page, re.DOTALL)
    assert [(count, "hwsim" in items, "lava" in items) for count, items in lists[:2]] == [
        ("64", False, True),
        ("450", True, False),
    ]
    assert all("undecided: not counted" in items for _, items in lists)


def test_the_page_says_how_many_are_undecided(report: Report) -> None:
    stages = (Stage(name="torch", accuracy=0.5, samples=8, undecided=3, silent=2),)
    network = report.networks[0].model_copy(update={"stages": stages, "stages_on_all": ()})
    page = html.render(report.model_copy(update={"networks": (network,)}))
    assert "undecided: 3 of 8 (1 tied, 2 without an output spike)" in page
    assert undecided(stages[0]) in page
