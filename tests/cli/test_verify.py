"""`neurodeploy verify` where something is missing: Lava, a chip."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import neurodeploy
from neurodeploy.cli import main
from tests import nirgraphs
from tests.lowering import test_lava_dl as lava_dl_net
from tests.random_nir import random_graph

CONVENTIONS = ["--dt", "1e-3", "--reset", "hard", "--comparison", ">", "--recurrent-bias", "after-delay"]


@pytest.fixture
def verify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command on a small network, where Lava is not set up."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEURODEPLOY_HOME", str(tmp_path / "home"))
    nirgraphs.write(random_graph(1), tmp_path / "net.nir")
    np.save("x.npy", (np.random.default_rng(0).random((8, 4, 2, 6, 6)) < 0.5).astype(np.uint8))
    return ["verify", "net.nir", *CONVENTIONS, "--input", "x.npy"]


def test_without_lava_all_other_stages_run_and_are_stored(
    verify: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*verify, "--results", "r.json"]) == 0
    said = capsys.readouterr().out
    assert "lava was left out: Lava is not set up; to do: " in said
    assert "neurodeploy lava setup" in said
    stored = json.loads(Path("r.json").read_text())["networks"][0]
    assert [pair["second"] for pair in stored["pairs"]] == ["float network", "integer network", "hwsim"]


def test_the_json_names_what_was_left_out(verify: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*verify, "--json"]) == 0
    assert "not set up" in json.loads(capsys.readouterr().out)["left_out"]["lava"]


@pytest.mark.parametrize("names", ["lava", "reference,lava-stock"])
def test_lava_that_was_asked_for_is_refused_before_anything_runs(
    verify: list[str], names: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*verify, "--backends", names]) == 2
    found = capsys.readouterr()
    assert "cannot run here" in found.err
    assert found.out == ""


def test_without_a_chip_everything_runs_and_there_are_no_results(
    verify: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*verify, "--chip", "none"]) == 0
    assert main([*verify, "--chip", "none", "--results", "r.json"]) == 2
    assert "--chip none with --results" in capsys.readouterr().err
    assert not Path("r.json").exists()


def test_other_files_are_refused_with_what_verifies_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the message says to call is there, and does it."""
    monkeypatch.chdir(tmp_path)
    lava_dl_net.write(Path("small.net"), lava_dl_net.layers())
    np.save("x.npy", (np.random.default_rng(0).random((8, 2, 2, 6, 7)) < 0.3).astype(np.uint8))
    assert main(["compile", "small.net"]) == 0
    assert "of 0" not in capsys.readouterr().out
    for name in ("small.net", "small.ndp"):
        assert main(["verify", name, "--input", "x.npy"]) == 2
        call = capsys.readouterr().err.partition("from Python: ")[2].strip()
        call = call.replace("verify(x", 'verify(x, backends=["reference", "hwsim"]')
        assert eval(call, {"neurodeploy": neurodeploy, "x": np.load("x.npy")}).passed


def test_a_limit_that_a_chip_does_not_have_is_no_column(verify: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for chip, has in (("loihi1", True), ("loihi2", False)):
        assert main(["compile", "net.nir", *CONVENTIONS, "--calibration", "x.npy", "--chip", chip]) == 0
        said = capsys.readouterr().out
        assert "axons in" in said and "of 0" not in said
        assert ("of 4,096" in said) == has
