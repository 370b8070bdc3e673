"""``convert`` and ``export --to onnx`` as their users call them."""

from __future__ import annotations

import json
import subprocess
import sys
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


ANNS = """
import torch
from torch import nn
from torch.nn import functional as F

class Bent(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.c, self.f = nn.Conv2d(1, 3, 3), nn.Linear(27, 5)

    def bent(self, x):
        return x

    def pooled(self, x):
        return F.avg_pool2d(x, 2)

    def forward(self, x):
        return self.f(self.pooled(F.relu(self.c(self.bent(x)))).flatten(1))

class Softmax(Bent):
    def pooled(self, x):
        return F.avg_pool2d(x, 2, divisor_override=1)

    def forward(self, x):
        return super().forward(x).softmax(1)

class Clamped(Bent):
    def bent(self, x):
        return x.clamp(-20, 20)

class Shifted(Bent):
    def bent(self, x):
        return F.elu(x + 40) - 40

class Adaptive(Bent):
    def pooled(self, x):
        return F.adaptive_avg_pool2d(x, (3, 4))[..., :3]
"""


@pytest.mark.parametrize(("name", "reason"), [("Clamped", "clipping from -20"), ("Shifted", "Elu")])
def test_what_bends_far_from_random_samples_is_no_linear_map(
    name: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "anns.py").write_text(ANNS)
    np.save(tmp_path / "cal.npy", np.random.default_rng(0).random((20, 1, 8, 8)).astype(np.float32))
    code, _, said = call(capsys, "convert", f"{tmp_path}/anns.py:{name}", "--calibration", tmp_path / "cal.npy",
                         "-o", tmp_path / "x.nir")  # fmt: skip
    assert code == 2 and reason in said and not (tmp_path / "x.nir").exists()


@pytest.mark.parametrize("name", ["Softmax", "Adaptive"])
def test_what_torch_says_otherwise_in_onnx_is_read_without_it(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "anns.py").write_text(ANNS)
    x = np.random.default_rng(0).random((60, 1, 8, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    namespace: dict[str, type[torch.nn.Module]] = {}
    exec(ANNS, namespace)
    with torch.no_grad():
        np.save(tmp_path / "y.npy", namespace[name]()(torch.from_numpy(x)).argmax(1).numpy())
    given = ("--calibration", tmp_path / "x.npy", "--test", tmp_path / "x.npy", "--labels", tmp_path / "y.npy")
    code = main([*map(str, ("convert", f"{tmp_path}/anns.py:{name}", *given, "--json", "-o", tmp_path / "x.nir"))])
    found = json.loads(capfd.readouterr().out)  # torch prints graphs that fail past Python
    assert code == 0 and found["ann_accuracy"] == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no limits")
def test_a_full_disk_is_an_error_and_leaves_nothing(files: Path, tmp_path: Path) -> None:
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "from neurodeploy.cli import main\n"
        f"sys.exit(main(['convert', '{files}/ann.onnx', '--calibration', '{files}/cal.npy', '-o', 'x.nir']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2 and "cannot write" in done.stderr and "x.nir\n" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *(((["convert", "ann.onnx", "--calibration", "cal.npy", "--to", to, "-o", f"x{suffix}", *more]), message)
          for to, suffix in (("spiking", ".nir"), ("sigma-delta", ".ndp"))
          for more, message in ((["--percentile", "nan"], "the percentile is not one"), (["--percentile", "101"],
                                "the percentile is not one"), (["--dt", "0"], "the time step"),
                                (["--dt", "nan"], "the time step"))),
        (["convert", "ann.onnx", "--calibration", "cal.npy", "--dt", "1e-320", "-o", "x.nir"], "is not finite"),
        (["convert", "ann.onnx", "--calibration", "cal.npy", "--to", "sigma-delta", "--coding", "rate", "-o", "x.ndp"],
         "--coding of a sigma-delta network"),
        (["convert", "ann.onnx", "--calibration", "cal.npy", "--relative-threshold", "0.1", "-o", "x.nir"],
         "--relative-threshold of a spiking network"),
        (["convert", "ann.onnx", "--calibration", "cal.npy", "--labels", "labels.npy", "-o", "x.nir"],
         "--labels without samples"),
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
