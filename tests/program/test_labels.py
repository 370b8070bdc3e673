"""Labels are one class for each sample, or a message that names both sizes; the same in every command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neurodeploy.cli import main
from neurodeploy.errors import InvalidInputError
from neurodeploy.program.recording import check_labels
from tests import nirgraphs
from tests.random_nir import random_graph

WRONG = {
    "fewer": (np.zeros(3, int), "[3] for 5 samples"),
    "more": (np.zeros(9, int), "[9] for 5 samples"),
    "one-hot": (np.eye(5)[:5], "argmax"),
    "one number": (np.array(1), "[] for 5 samples"),
    "fractions": (np.full(5, 0.5), "not whole numbers"),
    "NaN": (np.full(5, np.nan), "not whole numbers"),
    "texts": (np.array(["a"] * 5), "not whole numbers"),
    "negative": (np.array([0, 0, -1, 0, 0]), "classes that do not exist"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_labels_are_refused(what: str) -> None:
    labels, said = WRONG[what]
    with pytest.raises(InvalidInputError) as caught:
        check_labels(labels, 5)
    assert said in str(caught.value)


def test_a_class_beyond_the_outputs_is_refused() -> None:
    assert check_labels(np.array([2.0, 0.0]), 2, 3).tolist() == [2, 0]
    with pytest.raises(InvalidInputError, match="classes that do not exist") as caught:
        check_labels(np.array([3, 0]), 2, 3)
    assert caught.value.allowed == "0 to 2, the network's outputs"


@pytest.mark.parametrize("what", ["fewer", "one-hot", "fractions", "negative"])
@pytest.mark.parametrize("command", ["compile", "run", "verify"])
def test_every_command_says_so(
    command: str, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    nirgraphs.write(random_graph(1), tmp_path / "net.nir")
    x = np.random.default_rng(0).random((6, 5, 2, 6, 6)) < 0.3
    np.save("x.npy", x.astype(np.uint8))
    np.save("y.npy", WRONG[what][0])
    conventions = ["--dt", "1e-3", "--reset", "hard", "--comparison", ">", "--recurrent-bias", "after-delay"]
    back = ["--backends", "reference", "--results", "out.json"]
    calls = {
        "compile": ["compile", "net.nir", *conventions, "--chip", "none", "--calibration", "x.npy", "-o", "out.ndp"],
        "run": ["run", "net.ndp", "--input", "x.npy", "--backend", "reference", "-o", "out.npz"],
        "verify": ["verify", "net.nir", *conventions, "--input", "x.npy", *back],
    }
    if command == "run":
        assert main(["compile", "net.nir", *conventions, "--chip", "none", "-o", "net.ndp"]) == 0
    assert main([*calls[command], "--labels", "y.npy"]) == 2
    said = capsys.readouterr().err
    assert "y.npy" in said
    assert "Traceback" not in said
    assert not list(tmp_path.glob("out.*"))
