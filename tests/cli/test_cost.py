"""``neurodeploy cost``: its figures against hwsim's, its timeline, and what it refuses."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.hwsim.counts.counts import Counter
from neurodeploy.hwsim.engine import Simulator
from neurodeploy.hwsim.prices.pricing import price
from neurodeploy.hwsim.timing.event_tier import Mesh
from neurodeploy.hwsim.timing.flit_tier import flit_timing
from neurodeploy.hwsim.timing.tiers import core_timing, link_timing
from neurodeploy.hwsim.timing.timeline import critical_path
from neurodeploy.program.program import Program
from tests import nirgraphs
from tests.cli.conftest import Run


@pytest.fixture
def program(tmp_path: Path, x: Path, run: Run) -> Path:
    """On several cores, so that messages travel."""
    net = nirgraphs.write(nirgraphs.mlp(), tmp_path / "net.nir")
    assert run("compile", net, "--dt", 1e-3, "--calibration", x, "--max-neurons-per-core", 3)[0] == 0
    return net.with_suffix(".ndp")


@pytest.mark.parametrize("tier", ["core", "link", "event", "flit"])
def test_the_printed_figures_are_hwsims(run: Run, program: Path, x: Path, tier: str) -> None:
    code, out, _ = run("cost", program, "-i", x, "--tier", tier, "--json")
    assert code == 0
    told = json.loads(out)
    placed, arch = Program.load(program), load_architecture("loihi1")
    simulator, counter = Simulator(placed), Counter(placed, arch)
    recording = simulator.run({"": np.load(x)}, flags=True)
    counts = counter.count(recording, links=True)
    timing = {
        "core": lambda: core_timing(counts, arch),
        "link": lambda: link_timing(counts, arch),
        "event": lambda: Mesh(simulator, counter).time(recording, counts),
        "flit": lambda: flit_timing(Mesh(simulator, counter), recording, counts),
    }[tier]()
    bill = price(counts, arch, timing)
    assert told["total_pj"] == pytest.approx(bill.total_pj)
    assert told["energy_pj"] == pytest.approx({line.component: line.energy_pj for line in bill.lines})
    assert told["inference_ns"] == pytest.approx(timing.inference_ns.mean())
    assert told["tier"] == tier
    assert set(told["missing"]) == {item.component for item in bill.missing}
    code, out, _ = run("cost", program, "-i", x, "--tier", tier)
    assert code == 0
    assert "asynchronous chip" in out
    assert f"{bill.total_pj / 1e3:,.3f}" in out


def test_a_timeline_shows_every_message_on_both_sides(run: Run, program: Path, x: Path, tmp_path: Path) -> None:
    code, out, _ = run("cost", program, "-i", x, "--timeline", tmp_path / "t.json", "--json")
    assert code == 0
    step = json.loads(out)["slowest_step"]["step"]
    events = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    placed, arch = Program.load(program), load_architecture("loihi1")
    simulator, counter = Simulator(placed), Counter(placed, arch)
    recording = simulator.run({"": np.load(x)}, flags=True)
    counts = counter.count(recording)
    mesh = Mesh(simulator, counter)
    timing = mesh.time(recording, counts)
    steps = range(step - 1, step + 2)
    messages = sum(int(counts.core["messages_out"][:, s, 0].sum()) for s in steps)
    assert messages > 0
    for phase in ("s", "f"):
        assert len([e for e in events if e["ph"] == phase]) == messages
    tracks = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    slices = [e for e in events if e["ph"] == "X"]
    for side in ("sends", "receives"):
        assert len([e for e in slices if tracks[e["tid"]].endswith(side)]) == messages
    whole = [e for e in slices if tracks[e["tid"]] == "steps"]
    assert sum(e["dur"] for e in whole) * 1e3 == pytest.approx(timing.step_ns[step - 1 : step + 2, 0].sum())
    # What a core receives follows one after another, within its step.
    for track, name in tracks.items():
        mine = sorted((e["ts"], e["ts"] + e["dur"]) for e in slices if e["tid"] == track and name.endswith("receives"))
        for (_, end), (begin, _) in itertools.pairwise(mine):
            assert begin >= end - 1e-6
    path = critical_path(mesh, recording, counts, timing, step)
    assert path.end_ns == pytest.approx(path.working_ns)
    assert str(path) in next(e for e in whole if e["name"] == f"step {step}")["args"]["waits for"]


def test_a_chip_that_is_too_small_and_a_program_for_none_are_refused(run: Run, program: Path, x: Path) -> None:
    code, out, err = run("cost", program, "-i", x, "--chip", "odin")
    assert (code, out) == (2, "")
    assert "chip 'odin' has no core" in err
    assert "--chip odin" in err
    assert run("compile", program.with_suffix(".nir"), "--dt", 1e-3, "--calibration", x, "--chip", "none")[0] == 0
    code, out, err = run("cost", program, "-i", x)
    assert (code, out) == (2, "")
    assert "placed on no chip" in err


def test_a_timeline_that_cannot_be_written_leaves_nothing(run: Run, program: Path, x: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = run("cost", program, "-i", x, "--timeline", tmp_path / "file" / "t.json")
    assert code == 2
    assert err.startswith("error: ")


def test_a_timeline_of_another_tier_is_refused(run: Run, program: Path, x: Path, tmp_path: Path) -> None:
    code, _, err = run("cost", program, "-i", x, "--tier", "flit", "--timeline", tmp_path / "t.json")
    assert code == 2
    assert "--tier flit" in err
    assert not (tmp_path / "t.json").exists()
