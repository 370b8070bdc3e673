"""``convert`` and ``export --to onnx`` as their users call them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from neurodeploy.cli import main
from neurodeploy.models import digits, digits_ann

onnxruntime = pytest.importorskip("onnxruntime")

SNN = """
import snntorch as snn
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    first, second = nn.Linear(20, 16), nn.Linear(16, 5)
    with torch.no_grad():
        first.weight.mul_(4)
        second.weight.mul_(4)
    return nn.Sequential(first, snn.Leaky(0.9, init_hidden=True), second, snn.Leaky(0.8, init_hidden=True, output=True))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("ann")
    data = digits.load()
    np.save(folder / "cal.npy", digits_ann.inputs(data.train_images[:200]))
    np.save(folder / "test.npy", digits_ann.inputs(data.test_images[:100]))
    np.save(folder / "labels.npy", data.test_labels[:100])
    trained = digits_ann.train()
    trained.save(folder / "ann.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(trained.module, (torch.zeros(1, 1, 8, 8),), folder / "ann.onnx", dynamo=False)
    (folder / "snn.py").write_text(SNN)
    return folder


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_convert_to_spikes(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "ann.nir"
    code, said, _ = call(
        capsys, "convert", files / "ann.onnx", "--calibration", files / "cal.npy", "--coding", "rate", "-o", out,
        "--test", files / "test.npy", "--labels", files / "labels.npy", "--steps", 32, "--json",
    )  # fmt: skip
    assert code == 0
    result = json.loads(said)
    assert abs(result["accuracy"] - result["ann_accuracy"]) <= 0.02 and result["ann_accuracy"] > 0.95
    assert result["messages_per_sample"] > 100
    code, said, _ = call(capsys, "compile", out, "-o", tmp_path / "ann.ndp")  # and on it goes to a chip
    assert code == 0 and "on Intel Loihi" in said


def test_convert_to_sigma_delta(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "ann.ndp"
    code, said, _ = call(
        capsys, "convert", "neurodeploy.models.digits_ann:build", "--checkpoint", files / "ann.safetensors",
        "--calibration", files / "cal.npy", "--to", "sigma-delta", "-o", out, "--test", files / "test.npy",
        "--labels", files / "labels.npy", "--steps", 1,
    )  # fmt: skip
    assert code == 0
    assert "neurons: sigma-delta, thresholds 0.02 of each layer's 99.9 percentile" in said
    assert "100.00 % of 100 samples get the ANN's class after 1 steps" in said
    changes = np.load(files / "test.npy")[None]
    np.save(tmp_path / "x.npy", changes)
    recorded = tmp_path / "r.npz"
    code, said, _ = call(
        capsys, "run", out, "-i", tmp_path / "x.npy", "--labels", files / "labels.npy", "-o", recorded, "--json"
    )
    assert code == 0 and json.loads(said)["accuracy"] > 0.95
    with np.load(recorded) as arrays:
        sample, neuron = arrays["spikes/readout/sample"], arrays["spikes/readout/neuron"]
        logits = np.zeros((100, 10))
        np.add.at(logits, (sample, neuron), arrays["spikes/readout/payload"])
    assert logits.argmax(axis=1).tolist() == json.loads(said)["predicted"]


@pytest.mark.parametrize("scan", [False, True])
def test_export_to_onnx(scan: bool, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nir, onnx = tmp_path / "net.nir", tmp_path / "net.onnx"
    assert call(capsys, "export", f"{files / 'snn.py'}:net", "--shape", 20, "-o", nir)[0] == 0
    options = ["--scan"] if scan else []
    code, said, _ = call(capsys, "export", nir, "--shape", 20, "--to", "onnx", *options, "-o", onnx)
    assert code == 0 and "float network = onnxruntime" in said and "onnxruntime = net.onnx in float32" in said
    session = onnxruntime.InferenceSession(str(onnx), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape[0] == ("time" if scan else "batch")


def test_export_a_module_to_onnx_proves_all_stages(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said, _ = call(
        capsys, "export", f"{files / 'snn.py'}:net", "--shape", 20, "--to", "onnx", "-o", tmp_path / "n.onnx", "--json"
    )
    assert code == 0
    pairs = json.loads(said)["pairs"]
    assert [(p["first"], p["second"], p["verdict"]) for p in pairs] == [
        ("forward returns", "the file", "equal"), ("torch", "NIR", "equal"), ("NIR", "float network", "equal"),
        ("float network", "onnxruntime", "equal"), ("onnxruntime", "n.onnx in float32", "equal"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["convert", "ann.onnx", "--calibration", "cal.npy", "-o", "x.ndp"], "--output of a spiking network"),
        (["convert", "ann.onnx", "--calibration", "labels.npy", "-o", "x.nir"], "data have the wrong shape"),
        (["convert", "none.onnx", "--calibration", "cal.npy", "-o", "x.nir"], "none.onnx"),
        (["convert", "ann.onnx", "--calibration", "cal.npy", "--shape", "0,1", "-o", "x.nir"], "is not a shape"),
        (["convert", "ann.onnx", "--calibration", "cal.npy", "-o", "x.nir", "--test", "test.npy",
          "--labels", "cal.npy"], "are not one class for each sample"),
        (["export", "x.nir", "--shape", "20", "-o", "y.nir"], "is a .nir file already"),
        (["export", "snn.py:net", "--shape", "20", "--scan", "-o", "y.nir"], "--scan is for ONNX"),
        (["export", "none.nir", "--shape", "20", "--to", "onnx", "-o", "y.onnx"], "none.nir"),
    ],
)  # fmt: skip
def test_refusals(
    arguments: list[str], message: str, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(files / a) if (files / a.split(":")[0]).exists() else a for a in arguments]
    given[given.index("-o") + 1] = str(tmp_path / given[given.index("-o") + 1])
    code, _, said = call(capsys, *given)
    assert code == 2 and message in said and "Traceback" not in said
    assert list(tmp_path.iterdir()) == []
