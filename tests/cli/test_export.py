"""``neurodeploy export`` with a user's own model file."""

from pathlib import Path

import numpy as np
import pytest

from neurodeploy.cli import main
from neurodeploy.nir_graph import nir_file

MODEL = """
import torch
from norse.torch import LIFBoxCell, LIFBoxParameters, SequentialState

def net():
    torch.manual_seed(0)
    cell = LIFBoxCell(LIFBoxParameters(tau_mem_inv=torch.tensor(200.0), v_th=torch.tensor(0.3)), dt=1e-3)
    return SequentialState(torch.nn.Linear(6, 9), cell)

def deaf():
    cell = LIFBoxCell(LIFBoxParameters(v_th=torch.tensor(1e6)), dt=1e-3)
    return SequentialState(torch.nn.Linear(6, 9), cell)
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "my_model.py").write_text(MODEL)
    return tmp_path / "my_model.py"


def test_export_with_proof(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "x.npy", (np.random.default_rng(0).random((30, 4, 6)) < 0.5).astype(np.uint8))
    out = tmp_path / "net.nir"
    assert main(["export", f"{model}:net", "--sample", str(tmp_path / "x.npy"), "-o", str(out)]) == 0
    text = capsys.readouterr().out
    assert "forward returns = the file" in text
    assert "torch = NIR" in text
    assert "equal" in text
    file = nir_file.read(out)
    assert file.metadata["framework"] == "norse"
    assert file.metadata["dt"] == pytest.approx(1e-3)
    assert file.metadata["proof"].startswith("the file against forward returns: equal (")
    assert "; NIR against torch: equal (" in file.metadata["proof"]


def test_silence_proves_nothing_and_writes_nothing(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "net.nir"
    assert main(["export", f"{model}:deaf", "--shape", "6", "-o", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {out} is not written: no neuron spikes on the sample")
    assert not out.exists()
    assert main(["export", f"{model}:deaf", "--shape", "6", "-o", str(out), "--allow-divergence"]) == 0
    assert out.exists()


def test_a_difference_is_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from neurodeploy.exporters import write_nir as writer

    def wrong(graph, path) -> None:
        next(n for n in graph.nodes.values() if hasattr(n, "weight")).weight *= 1.5
        original(graph, path)

    original = writer.write
    monkeypatch.setattr(writer, "write", wrong)
    out = tmp_path / "net.nir"
    assert main(["export", f"{model}:net", "--shape", "6", "-o", str(out)]) == 2
    error = capsys.readouterr().err
    assert "is not written: NIR differs from torch" in error
    assert "step 0, sample 0, neuron" in error
    assert list(tmp_path.glob("*.nir*")) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.py:net", "--shape", "6"], "nothing.py does not exist"),
        (["net.onnx", "--shape", "6"], "to do:   neurodeploy convert net.onnx"),
        (["MODEL:other", "--shape", "6"], "has no other"),
        (["MODEL:net"], "export needs to know the input"),
        (["MODEL:net", "--shape", "six"], "--shape is not a shape"),
        (["MODEL:net", "--shape", "7"], "an input of shape [32, 4, 7] gave RuntimeError"),
        (["MODEL:net", "--shape", "6", "--checkpoint", "none.pt"], "none.pt does not exist"),
    ],
)
def test_wrong_calls(
    model: Path, tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [a.replace("MODEL", str(model)) for a in arguments]
    assert main(["export", *given, "-o", str(tmp_path / "net.nir")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "net.nir").exists()
