"""States beyond the bits of a chip are counted and said wherever a Program runs; reports measure by its registers."""

from __future__ import annotations

import json
from pathlib import Path

import nir
import numpy as np
import pytest

from neurodeploy import backends
from neurodeploy.hwsim import narrow_states
from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.hwsim.chips.computed import registers_of
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Record
from neurodeploy.report.document import Report
from tests import nirgraphs
from tests.cli.conftest import Run

OWN = """
extends: loihi2
name: own
title: A chip of our own
limits:
  state_bits: {value: BITS, unit: bits, source: an example, confidence: assumed}
  weight_bits: {value: 5, unit: bits, source: an example, confidence: assumed}
"""


def chip(folder: Path, bits: int) -> Path:
    path = folder / f"own{bits}.yaml"
    path.write_text(OWN.replace("BITS", str(bits)))
    return path


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return nirgraphs.write(nirgraphs.mlp(), tmp_path / "net.nir")


@pytest.mark.parametrize("reset", ["hard", "subtract"])
@pytest.mark.parametrize("bits", [14, 17, 20])
def test_what_goes_beyond_is_counted_and_said(
    run: Run, tmp_path: Path, net: Path, x: Path, bits: int, reset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(narrow_states, "LARGEST", 1)  # one sample at a time
    own, out = chip(tmp_path, bits), tmp_path / "own.ndp"
    code, _, err = run("compile", net, "--dt", 1e-3, "--reset", reset, "--chip", own, "-o", out)
    assert code == 0, err
    program = Program.load(out)
    recording = backends.get("reference")(program, {"input": np.load(x)}, record=Record(("u", "v")))
    wanted: dict[str, dict[str, int]] = {}
    for p in program.network.populations[1:]:
        u, v = (recording.states[name][p.name].astype(np.int64) for name in ("u", "v"))
        if reset == "subtract":
            v = v + recording.spikes[p.name].dense() * p.neuron.threshold
        row = {"u_beyond": (abs(u) >= 1 << (bits - 1)).sum(), "v_beyond": (abs(v) >= 1 << (bits - 1)).sum()}
        if row := {kind: int(n) for kind, n in row.items() if n}:
            wanted[p.name] = row
    assert bool(wanted) == (bits < 20), wanted
    found = json.loads(run("run", out, "-i", x, "--json")[1])
    priced = json.loads(run("cost", out, "-i", x, "--json")[1])
    assert found["beyond_state_bits"] == wanted
    assert f"within {bits} bits (states are computed with 24)" in found["arithmetic"]
    for said in (found["warnings"], priced["warnings"]):
        beyond = [line for line in said if f"go beyond the {bits} bits of own" in line]
        assert len(beyond) == len(wanted)
        for name, line in zip(wanted, beyond, strict=True):
            assert f"{name!r}" in line and all(f"in {n:,} (" in line for n in wanted[name].values())


def test_the_same_program_on_a_chip_of_24_bits_is_not_warned_of(run: Run, tmp_path: Path, net: Path, x: Path) -> None:
    out = tmp_path / "net.ndp"
    run("compile", net, "--dt", 1e-3, "--chip", "loihi2", "-o", out)
    found = json.loads(run("run", out, "-i", x, "--json")[1])
    assert found["beyond_state_bits"] == {} and found["warnings"] == []
    priced = json.loads(run("cost", out, "-i", x, "--chip", chip(tmp_path, 14), "--json")[1])
    assert any("go beyond the 14 bits" in line for line in priced["warnings"])


def test_compile_verify_and_the_report_say_it_too(run: Run, tmp_path: Path, net: Path, x: Path) -> None:
    """Deep inhibition, which calibration leaves out where it would cost resolution, goes beyond the bits."""
    own, results = chip(tmp_path, 14), tmp_path / "r.json"
    weights, ones = np.random.default_rng(0).normal(0.1, 0.3, (20, 12)), np.ones(20)
    weights[::2] -= 0.2
    layers = {"fc1": nir.Linear(weights), "if1": nir.IF(1e3 * ones, ones, v_reset=0 * ones)}
    nirgraphs.write(nirgraphs.sequence((12,), layers), net)
    given = ("--dt", 1e-3, "--chip", own, "--json")
    compiled = json.loads(run("compile", net, "--calibration", x, "-o", tmp_path / "p.ndp", *given)[1])
    verified = json.loads(run("verify", net, "-i", x, "--backends", "reference,hwsim", "--results", results, *given)[1])
    (network,) = Report.load(results).networks
    for said in (compiled["warnings"], verified["warnings"], network.warnings):
        assert sum("go beyond the 14 bits of own" in line for line in said) == 1, said
    registers = registers_of(load_architecture(own))
    for box in network.spreads:
        if box.what.startswith("weights"):  # 5 bits of both signs: multiples of 16 up to 240
            assert (box.smallest, box.largest) == (16, 240)
        elif box.what == "potential":
            assert box.largest == registers.state_max == 8191


def test_an_output_that_nobody_hears_spikes_several_times_only_where_neurons_can(run: Run, tmp_path: Path, net: Path):
    given = ("--dt", 1e-3, "--reset", "subtract", "--max-spikes", 4, "-o", tmp_path / "p.ndp")
    for chip, fits in (("loihi1", False), ("sanafe-loihi", False), ("loihi2", True), ("spinnaker2", True)):
        one = nirgraphs.sequence((12,), {"fc": nir.Linear(np.ones((4, 12))), "lif": nirgraphs.lif(4)})
        code, _, err = run("compile", nirgraphs.write(one, net), *given, "--chip", chip)
        assert (code == 0) == fits, (chip, err)
        assert fits or "several spikes a step" in err


def test_notes_of_an_earlier_chip_do_not_stay(run: Run, tmp_path: Path, net: Path) -> None:
    """A Program in floats goes from chip to chip; what was said of the first is not said of the second."""
    first, second = tmp_path / "first.ndp", tmp_path / "second.ndp"
    for earlier in ("odin", "loihi1", "xylo"):
        run("compile", net, "--dt", 1e-3, "--reset", "subtract", "--chip", earlier, "--float", "-o", first)
        before = Program.load(first).network.notes
        for later in ("loihi2", "none"):
            code, _, err = run("compile", first, "--chip", later, "-o", second)
            assert code == 0, err
            after = Program.load(second).network.notes
            assert earlier in " ".join((*before, *before.values()))
            assert earlier not in " ".join((*after, *after.values()))
            assert {"reset", "dt"} <= after.keys()
