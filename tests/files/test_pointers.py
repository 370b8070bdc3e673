"""A pointer of Git LFS in place of a file: one message that says so, whatever the file is read as."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from neurodeploy.cli import main
from neurodeploy.errors import InvalidInputError
from neurodeploy.files.atomic import existing_file
from tests import nirgraphs

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146 14ab2935\nsize 132735\n"

CALLS = {
    "net.nir": ["compile", "FILE", "-o", "out.ndp"],
    "net.net": ["compile", "FILE", "-o", "out.ndp"],
    "net.ndp": ["cost", "FILE", "--input", "x.npy"],
    "x.npy": ["run", "good.ndp", "--input", "FILE"],
    "y.npy": ["run", "good.ndp", "--input", "good.npy", "--labels", "FILE"],
    "net.onnx": ["convert", "FILE", "--calibration", "good.npy", "-o", "out.nir"],
    "best.pt": ["export", "model.py:net", "--checkpoint", "FILE", "--sample", "good.npy", "-o", "out.nir"],
    "best.safetensors": ["export", "model.py:net", "--checkpoint", "FILE", "--sample", "good.npy", "-o", "out.nir"],
    "chip.yaml": ["compile", "good.nir", "--chip", "./chip.yaml", "-o", "out.ndp"],
    "tiles.csv": ["compile", "good.nir", "--tiling", "FILE", "-o", "out.ndp"],
    "results.json": ["report", "FILE"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("good")
    nirgraphs.write(nirgraphs.mlp(), made / "good.nir")
    np.save(made / "good.npy", (np.random.default_rng(0).random((4, 2, 12)) < 0.5).astype(np.uint8))
    flags = ["--dt", "1e-3", "--reset", "hard", "--comparison", ">"]
    assert main(["compile", str(made / "good.nir"), *flags, "-o", str(made / "good.ndp")]) == 0
    (made / "model.py").write_text("import torch\nnet = torch.nn.Linear(12, 3)\n")
    return made


def written() -> list[Path]:
    """What lies here, but for what Python itself keeps of the user's module."""
    return sorted(path for path in Path().iterdir() if path.name != "__pycache__")


@pytest.mark.parametrize("name", CALLS)
def test_every_command_says_so(
    name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "work"
    shutil.copytree(folder, work)
    monkeypatch.chdir(work)
    Path(name).write_text(POINTER)
    before = written()
    assert main([name if word == "FILE" else word for word in CALLS[name]]) == 2
    said = capsys.readouterr().err
    assert "is a pointer of Git LFS" in said and "git lfs pull" in said and "of 132735 bytes" in said
    assert said.count("error:") == 1
    assert written() == before


def test_a_text_about_it_is_no_pointer(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("# version https://git-lfs.github.com/spec/v1\n")
    assert existing_file(tmp_path / "a.csv", "a table") == tmp_path / "a.csv"
    (tmp_path / "b.csv").write_text(POINTER)
    with pytest.raises(InvalidInputError, match="not a table"):
        existing_file(tmp_path / "b.csv", "a table")
