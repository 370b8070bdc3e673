"""A chip of the user's own, from its file into the Program and on without the file."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.program.program import Program
from tests import nirgraphs
from tests.cli.conftest import Run

OWN = """
extends: {base}
name: {name}
title: Half of a Loihi core
limits:
  neurons_per_core: {{value: 4, source: an example, confidence: assumed}}
energy:
  hop_east_west: {{value: 1000, source: an example, confidence: assumed}}
"""
Compile = Callable[..., Path]


@pytest.fixture
def chip(tmp_path: Path) -> Path:
    (tmp_path / "small.yaml").write_text(OWN.format(base="loihi1", name="small"))
    return tmp_path / "small.yaml"


@pytest.fixture
def compiled(tmp_path: Path, x: Path, run: Run) -> Compile:
    net = nirgraphs.write(nirgraphs.mlp(), tmp_path / "net.nir")

    def program(chip: object, name: str = "small.ndp") -> Path:
        out = tmp_path / name
        code, _, err = run("compile", net, "--dt", 1e-3, "--calibration", x, "--chip", chip, "-o", out)
        assert code == 0, err
        return out

    return program


def test_a_program_knows_its_chip_after_the_file_is_gone(run: Run, compiled: Compile, chip: Path, x: Path) -> None:
    program = compiled(chip)
    told = json.loads(run("cost", program, "-i", x, "--chip", chip, "--json")[1])
    chip.unlink()
    code, out, err = run("cost", program, "-i", x, "--json")
    assert code == 0, err
    assert json.loads(out) == told
    assert told["chip"] == "small" and told["extends"] == ["loihi1"]
    others = json.loads(run("cost", program, "-i", x, "--chip", "loihi1", "--json")[1])
    assert others["chip"] == "loihi1" and others["extends"] == []
    assert told["energy_pj"]["hop_east_west"] == pytest.approx(others["energy_pj"]["hop_east_west"] * 1000 / 3)
    code, out, _ = run("cost", program, "-i", x)
    assert code == 0 and "Half of a Loihi core" in out
    assert run("run", program, "-i", x)[0] == 0
    code, out, _ = run("inspect", program)
    assert code == 0
    assert "Program for small on" in out
    assert "in the Program: Half of a Loihi core, which extends loihi1" in " ".join(out.split())


def test_a_chip_named_like_one_of_ours_is_not_taken_for_it(
    run: Run, compiled: Compile, tmp_path: Path, x: Path
) -> None:
    (tmp_path / "own.yaml").write_text(OWN.format(base="loihi2", name="loihi1"))
    program = compiled(tmp_path / "own.yaml")
    (tmp_path / "own.yaml").unlink()
    code, out, _ = run("cost", program, "-i", x)
    assert code == 0 and "Half of a Loihi core" in out
    assert load_architecture("loihi1").title not in out
    (tmp_path / "own.yaml").write_text(OWN.format(base="loihi2", name="none"))
    program = compiled(tmp_path / "own.yaml")
    assert json.loads(run("cost", program, "-i", x, "--json")[1])["chip"] == "none"


def test_equal_chips_give_equal_bytes_and_ours_are_not_carried(
    compiled: Compile, chip: Path, tmp_path: Path, run: Run
) -> None:
    first = compiled(chip, "a.ndp").read_bytes()
    (tmp_path / "elsewhere").mkdir()
    again = tmp_path / "elsewhere" / "other.yaml"
    again.write_text("# the same, told otherwise\n" + chip.read_text().replace("1000", "1.0e+3"))
    assert compiled(again, "b.ndp").read_bytes() == first
    versions = {}
    for name in (chip, "loihi1"):
        program = compiled(name, "c.ndp")
        with zipfile.ZipFile(program) as archive:
            header = json.loads(archive.read("header.json"))
        versions[str(name)] = header["version"], "chip_file" in header["value"]["fields"]
        assert bool(Program.load(program).chip_file) == (name == chip)
    assert versions == {str(chip): (2, True), "loihi1": (1, False)}


def test_a_damaged_description_is_one_clear_error(run: Run, compiled: Compile, chip: Path, x: Path) -> None:
    path = compiled(chip)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for old, new in ((b"an example", b""), (b'\\"small\\"', b'\\"tiny\\"'), (b'\\"energy\\"', b'\\"energies\\"')):
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data.replace(old, new) if name == "header.json" else data)
        for command in (["cost", path, "-i", x], ["inspect", path]):
            code, out, err = run(*command)
            assert (code, out) == (2, "")
            assert err.startswith("error: the description of the chip 'small' in the Program cannot be used")
            assert err.count("error:") == 1
        assert run("cost", path, "-i", x, "--chip", chip)[0] == 0
        assert run("run", path, "-i", x)[0] == 0


def test_a_file_that_extends_nothing_there_is_one_clear_error(run: Run, chip: Path, tmp_path: Path) -> None:
    chip.write_text(OWN.format(base="gone.yaml", name="small"))
    code, out, err = run("compile", tmp_path / "net.nir", "--chip", chip)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and "gone.yaml does not exist" in err


def test_results_name_an_own_chip(run: Run, compiled: Compile, chip: Path, x: Path, tmp_path: Path) -> None:
    compiled(chip)
    code, _, err = run("verify", tmp_path / "net.nir", "--dt", 1e-3, "-i", x, "--chip", chip, "--backends",
                       "reference,hwsim", "--results", tmp_path / "r.json")  # fmt: skip
    assert code == 0, err
    chip.unlink()
    assert run("report", tmp_path / "r.json")[0] == 0
    assert "Half of a Loihi core" in (tmp_path / "r.html").read_text()
