"""``neurodeploy cost`` of a network with host stages: every line names chip, host and boundary."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import neurodeploy
from neurodeploy.compiler import place
from neurodeploy.hwsim.chips.arch import load_architecture
from tests.cli.conftest import Run
from tests.conformance import hybrids
from tests.hybrid_models import hybrid as random_hybrid


def written(folder: Path, name: str) -> tuple[Path, Path]:
    case = hybrids.build(name, "loihi")
    place(case.program.network, load_architecture("loihi2"), {}).save(folder / "h.ndp")
    (x,) = case.inputs.values()
    np.save(folder / "h.npy", x)
    return folder / "h.ndp", folder / "h.npy"


@pytest.fixture
def hybrid(tmp_path: Path) -> tuple[Path, Path]:
    return written(tmp_path, "attention between two phases")


def test_the_chips_own_processor_is_not_published_and_so_is_the_sum(run: Run, hybrid: tuple[Path, Path]) -> None:
    code, out, err = run("cost", hybrid[0], "-i", hybrid[1])
    assert (code, err) == (0, "")
    assert "host: Loihi's embedded x86 cores" in out
    # 2 x 14 x 14 x 6 products of attention; 14 frames of 1 byte to the host, 14 of 1 + 9 to the chip.
    for text in (
        "2,352.0", "252.0 Transpose, 196.0 Softmax", "over the boundary: 14 B to the host, 140 B to the chip",
        "barriers of chip and host: 1", "the host keeps 140 B",
        "host (Loihi's embedded x86 cores): not published + boundary: not published",
    ):  # fmt: skip
        assert text in out, text
    rows = [line for line in out.splitlines() if line.startswith("│ sum")]
    assert [row.count("not published") for row in rows] == [1, 0, 1], "energy, time of the chip, time with the host"
    assert "time of the chip in an inference" in out
    assert "chip, phase 0" in out and "chip, phase 1" in out


def test_an_arm_core_has_a_price(run: Run, hybrid: tuple[Path, Path]) -> None:
    code, out, _ = run("cost", hybrid[0], "-i", hybrid[1], "--host", "arm")
    assert code == 0
    assert "2,116.800" in out and "900 pJ" in out
    code, out, _ = run("cost", hybrid[0], "-i", hybrid[1], "--host", "arm", "--json")
    told = json.loads(out)
    assert told["host"]["processor"] == "arm"
    assert told["bill"]["shares"]["host"]["pj"] == pytest.approx(2352 * 900)
    assert told["total_pj"] is None
    assert "boundary: not published" in told["total"] and "without other operations" in told["total"]


@pytest.mark.parametrize("host", ["arms", "gone.yaml"])
def test_a_host_that_is_none_is_refused(run: Run, hybrid: tuple[Path, Path], host: str) -> None:
    code, out, err = run("cost", hybrid[0], "-i", hybrid[1], "--host", host)
    assert (code, out) == (2, "")
    assert host in err


def test_a_timeline_is_of_one_phase(run: Run, hybrid: tuple[Path, Path], tmp_path: Path) -> None:
    code, _, err = run("cost", hybrid[0], "-i", hybrid[1], "--timeline", tmp_path / "t.json")
    assert code == 2
    assert "networks of one phase" in err and "2 phase(s)" in err
    assert not (tmp_path / "t.json").exists()
    (tmp_path / "gate").mkdir()
    program, x = written(tmp_path / "gate", "a gate in every step")
    code, out, _ = run("cost", program, "-i", x, "--timeline", tmp_path / "t.json")
    assert code == 0 and (tmp_path / "t.json").exists()
    assert "slowest step of the first sample" in out


def test_verify_measures_with_the_host_that_is_named(run: Run, tmp_path: Path) -> None:
    made = random_hybrid(0)
    spikes = (made.sample > 1).astype(np.float32)
    neurodeploy.export(made.module, torch.from_numpy(spikes), tmp_path / "h.nir", time_axis=0)
    np.save(tmp_path / "x.npy", spikes)
    call = ["verify", tmp_path / "h.nir", "-i", tmp_path / "x.npy", "--chip", "loihi2", "--backends", "reference,hwsim"]
    told = {}
    for host in ("arm", "none"):
        results = tmp_path / f"{host}.json"
        code, out, err = run(*call, "--results", results, "--host", host)
        assert code == 0, out + err
        (network,) = json.loads(results.read_text())["networks"]
        told[host] = network["host"]
    macs = sum(stage["macs"] for stage in told["arm"]["stages"])
    assert told["arm"]["host_pj"] == pytest.approx(macs * 900) and macs > 0
    assert told["none"]["host_pj"] is None
    code, out, err = run(*call, "--host", "arm")
    assert (code, out) == (2, "")
    assert "--host arm without --results" in err
