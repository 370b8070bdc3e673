"""``neurodeploy train`` and ``neurodeploy models``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from neurodeploy.cli import main

from ..models.test_training import data, preset, theirs

__all__ = ["data", "preset"]  # fixtures


@pytest.mark.usefixtures("data", "preset")
def test_train_says_what_it_wrote_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "orrc-digits", "-o", str(tmp_path / "run"), "--epochs", "2", "--threads", "1"]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "orrc-digits: " in said and "% of the test set" in said and "weights.safetensors" in said
    assert main([*arguments, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert [e["number"] for e in again["history"]] == [1, 2] and again["settings"]["recipe"]["epochs"] == 2
    assert main([*arguments, "--seed", "3"]) == 2
    error = capsys.readouterr().err
    assert "is a training of other settings" in error and "seed 0 instead of 3" in error and "Traceback" not in error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "orrc-digit", "-o", "x"], "unknown model"),
        (["train", "trevsnn-small", "-o", "x"], "neurodeploy models import trevsnn FILE.pth"),
        (["train", "orrc-digits", "-o", "x", "--data", "mnist"], "unknown data set"),
        (["train", "orrc-digits", "-o", "x", "--data", "clips-digits"], "does not fit orrc-digits"),
        (["train", "orrc-digits", "-o", "x", "--device", "gpu"], "the device gpu cannot be used"),
        (["models", "import", "trevsnn"], "no FILE.pth, no --output"),
        (["models", "import", "trevsnn", "nowhere.pth", "-o", "x"], "nowhere.pth"),
        (["models", "import", "resnet", "nowhere.pth", "-o", "x"], "unknown system"),
    ],
)
def test_a_wrong_call_gets_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error
    assert not list(tmp_path.iterdir())


def test_models_are_listed_and_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    listed = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert listed["trevsnn-tiny"]["deployed"] == 15_216_912
    _, state = theirs("trevsnn")
    torch.save({"model": state}, tmp_path / "theirs.pth")
    target = tmp_path / "ours.safetensors"
    assert main(["models", "import", "trevsnn", str(tmp_path / "theirs.pth"), "-o", str(target)]) == 0
    assert "trevsnn: " in capsys.readouterr().out and target.exists()
