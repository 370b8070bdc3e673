"""What learning synapses do, counted: against cases worked out by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neurodeploy.cli import main
from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.hwsim.counts.counts import Counts, count
from neurodeploy.hwsim.engine import run
from neurodeploy.hwsim.prices.pricing import price
from neurodeploy.hwsim.timing.tiers import core_timing
from neurodeploy.network.connectivity import Dense
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.network.plasticity import LearningRule, Trace
from neurodeploy.program.program import Program
from neurodeploy.program.recording import LEARNING_WORK

STEPS = 6
PAIR = LearningRule("-1*x0*y1 + 1*y0*x1", x1=Trace(16, 10), y1=Trace(16, 10), epoch=2)


def program(rule: LearningRule) -> Program:
    """Three sources; two targets on a core each, which spike when they are driven."""
    values = (4095, 4095, 0, 1000 << 6, 0, 0)
    neuron = Lif(*(np.full(2, value, np.int32) for value in values))
    network = Network(
        "learns",
        (Population("pre", (3,), Source()), Population("drive", (2,), Source()), Population("post", (2,), neuron)),
        (
            Projection("learns", "pre", "post", Dense(np.full((2, 3), 10, np.int16)), rule=rule),
            Projection("drives", "drive", "post", Dense(254 * np.eye(2, dtype=np.int16), 3)),
        ),
        ("post",),
        1e-3,
        "loihi",
    )
    return Program(network, "loihi1", {"post": np.array([0, 5], np.int32)})


def inputs() -> dict[str, np.ndarray]:
    """Source 0 spikes in step 0, sources 0 and 1 in step 2, target 1 in step 1: its synapses hear of it in step 2."""
    pre, drive = np.zeros((STEPS, 1, 3), np.uint8), np.zeros((STEPS, 1, 2), np.uint8)
    pre[0, 0, 0] = pre[2, 0, :2] = 1
    drive[1, 0, 1] = 1
    return {"pre": pre, "drive": drive}


def counted(rule: LearningRule) -> Counts:
    placed = program(rule)
    return count(placed, run(placed, inputs()), load_architecture("loihi1"))


def work(counts: Counts, name: str) -> list[list[int]]:
    """By core: one number for each step of the sources; the one chip step more is the targets' last."""
    learned = counts.learning[name][:, :, 0]
    assert (learned[:, STEPS:] == 0).all()
    return [[int(n) for n in row] for row in learned[:, :STEPS]]


def test_pairwise_plasticity_by_hand() -> None:
    """Epochs end in steps 1, 3 and 5.

    In the first, source 0 has spiked: its row is one synapse on each core. In the second, the rows of sources 0 and 1
    (two synapses on each core) and the column of target 1 (all three on core 5). In the third, nothing.

    Products: an x0 for each synapse of the rows, a y0 for each of the column. Of the synapses visited, those of target
    0 find y1 = 0 and x1 unread. Of target 1 (y1 = 16): source 0 gets -16 + x1, x1 being 16 plus what two steps left of
    16 (12 to 14); source 1 gets -16 + 16 = 0; source 2 gets x1 = 0. So one changes.

    Decays: traces that are not 0 before a step. Steps of the first epoch: 0, then x1 of source 0; of the second: source
    0, then sources 0 and 1, and y1 of target 1 once; of the third: both sources and the target, twice.
    """
    counts = counted(PAIR)
    assert work(counts, "visited") == [[0, 1, 0, 2, 0, 0], [0, 1, 0, 3, 0, 0]]
    assert work(counts, "products") == [[0, 1, 0, 2, 0, 0], [0, 1, 0, 5, 0, 0]]
    assert work(counts, "changed") == [[0, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0]]
    assert work(counts, "x_impulses") == [[1, 0, 2, 0, 0, 0]] * 2
    assert work(counts, "x_decays") == [[0, 1, 0, 3, 0, 4]] * 2
    assert work(counts, "y_impulses") == [[0] * 6, [0, 0, 1, 0, 0, 0]]
    assert work(counts, "y_decays") == [[0] * 6, [0, 0, 0, 1, 0, 2]]


def test_a_rule_without_y0_does_not_visit_columns() -> None:
    assert work(counted(replace(PAIR, dw="-1*x0*y1")), "visited") == [[0, 1, 0, 2, 0, 0]] * 2


def test_what_holds_every_second_epoch_visits_all() -> None:
    """Epochs of one step: u1 is due in the 2nd, 4th and 6th, for three synapses on each core."""
    counts = counted(LearningRule("1*u1", epoch=1))
    for name in ("visited", "products", "changed"):
        assert work(counts, name) == [[0, 3, 0, 3, 0, 3]] * 2
    assert not counts.learning["x_decays"].any() and not counts.learning["x_impulses"].any()


def test_two_products_and_a_saturated_weight() -> None:
    """u0 and x0: all three synapses in each step, and two products for the row of a source that spikes; a weight at
    its limit of 255 does not change."""
    counts = counted(LearningRule("1*2^8*u0 + 1*x0", epoch=1, sign="excitatory"))
    assert work(counts, "visited") == [[3] * 6] * 2
    assert work(counts, "products") == [[4, 3, 5, 3, 3, 3]] * 2
    # 10 * 2^7 + 2^8 * 2^7 exceeds the accumulator of 15 bits: 2^15 - 1, which is 255 127/128, is cut to 255 at once.
    assert work(counts, "changed") == [[3, 0, 0, 0, 0, 0]] * 2


def test_three_factors_leave_the_targets_traces_to_the_neurons() -> None:
    rule = replace(PAIR, factors=3, y1=Trace(16, 10))
    counts = counted(rule)
    assert not counts.learning["y_impulses"].any() and not counts.learning["y_decays"].any()
    assert work(counts, "visited") == [[0, 1, 0, 2, 0, 0], [0, 1, 0, 3, 0, 0]]


def test_a_bill_and_a_time_for_learning() -> None:
    counts, arch = counted(PAIR), load_architecture("loihi1")
    without = replace(counts, learning={})
    line = next(line for line in price(counts, arch).lines if line.component == "learning_update")
    assert (line.count, line.price, line.energy_pj) == (7, 120, 840)  # 1 + 2 + 1 + 3 synapses at 120 pJ
    assert price(counts, arch).dynamic_pj == pytest.approx(price(without, arch).dynamic_pj + 840)
    learning, resting = core_timing(counts, arch), core_timing(without, arch)
    # Core 5 is the slower one: 1 synapse in step 1, 3 in step 3, at 6.1 ns each.
    assert learning.terms["learning_update"] == pytest.approx(4 * 6.1)
    assert learning.inference_ns[0] == pytest.approx(resting.inference_ns[0] + 4 * 6.1)


def test_a_missing_price_is_missed() -> None:
    arch = load_architecture("loihi2")
    bill = price(counted(PAIR), arch)
    assert {m.component: m.count for m in bill.missing}["learning_update"] == 7
    assert "learning_update" not in {line.component for line in bill.lines}


def test_counts_do_not_depend_on_samples_beside() -> None:
    placed = program(PAIR)
    twice = {name: np.concatenate([x, np.zeros_like(x), x], axis=1) for name, x in inputs().items()}
    found = run(placed, twice).learning_work["learns"]
    alone = run(placed, inputs()).learning_work["learns"]
    np.testing.assert_array_equal(found[:, 0], alone[:, 0])
    np.testing.assert_array_equal(found[:, 2], alone[:, 0])
    assert found.shape == (STEPS, 3, len(LEARNING_WORK), 2) and not found[:, 1].any()


def test_the_command_line_says_what_learning_costs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program(PAIR).save(tmp_path / "net.ndp")
    given = []
    for name, x in inputs().items():
        np.save(tmp_path / f"{name}.npy", x)
        given += ["-i", f"{name}={tmp_path / name}.npy"]
    assert main(["cost", str(tmp_path / "net.ndp"), *given, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["energy_pj"]["learning_update"] == 840
    assert result["learning"]["visited"] == 7 and result["learning"]["products"] == 9
    assert main(["cost", str(tmp_path / "net.ndp"), *given]) == 0
    said = capsys.readouterr()
    assert "synapses visited" in said.out + said.err
    for tier in ("event", "flit"):
        assert main(["cost", str(tmp_path / "net.ndp"), *given, "--tier", tier, "--json"]) == 0
        assert "learning_update" in json.loads(capsys.readouterr().out)["times_missing"]
