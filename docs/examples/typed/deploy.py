"""From a torch module to a report, with every type checked: ``python deploy.py FOLDER``, ``mypy --strict deploy.py``.

Only `neurodeploy`'s front door, NumPy and torch are used.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

import neurodeploy as nd


class Net(nn.Module):
    """Two layers of leaky neurons in plain torch; takes spikes ``[time, batch, 12]``, gives counts ``[batch, 4]``."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(12, 20), nn.Linear(20, 4)

    def forward(self, x: Tensor) -> Tensor:
        v, w, count = torch.zeros(x.shape[1], 20), torch.zeros(x.shape[1], 4), torch.zeros(x.shape[1], 4)
        for step in x:
            v = 0.9 * v + 2 * self.first(step)
            spikes = (v >= 1).to(x.dtype)
            v = v - spikes
            w = 0.8 * w + 2 * self.second(spikes)
            out = (w >= 1).to(x.dtype)
            w, count = w - out, count + out
        return count


def ordinary() -> nn.Module:
    """An ordinary network of the same shape."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 4))


def deploy(folder: Path) -> dict[str, float]:
    """Export, compile, run, verify, price and report it; returns figures of one inference."""
    x = (torch.rand(10, 8, 12, generator=torch.Generator().manual_seed(0)) < 0.4).float()
    labels: list[int] = [0, 1, 2, 3] * 2
    model: nd.Model = nd.export(Net(), x, folder / "net.nir", time_axis=0)
    options = nd.CompileOptions(max_neurons_per_core=16, seed=1)
    program: nd.Program = model.compile("loihi1", options, calibration=x, labels=labels, path=folder / "net.ndp")
    recording: nd.Recording = program.run(x, record=("v",))
    counts: tuple[npt.NDArray[np.generic], ...] = recording.returned
    checked: nd.Verification = model.verify(x, labels, backends=["reference", "hwsim"])
    cost: nd.Cost = program.cost(x, "event")
    page: Path = program.report(folder / "report.html", x, labels, backends=["reference", "hwsim"])
    fits: nd.Explanation = program.explain()
    if not (checked.passed and fits.fits and page.is_file()):
        raise SystemExit("it is not the same network")
    return {
        "cores": len(program.use),
        "output spikes": float(counts[0].sum()) / recording.samples,
        "SOPs": cost.totals()["sops"],
        "nJ": cost.bill.total_pj / 1e3,
        "accuracy": recording.accuracy(labels).accuracy or 0.0,
    }


def around(folder: Path) -> list[str]:
    """What else the front door has: other formats, what files hold, and what is installed."""
    inputs = np.random.default_rng(0).random((30, 12), dtype=np.float32)
    made: nd.Converted = nd.convert(
        ordinary(),
        inputs,
        folder / "ann.ndp",
        to="sigma-delta",
        test=inputs,
        options=nd.ConvertOptions(input_unit=0.25),
    )
    onnx: nd.OnnxExport = nd.export_onnx(folder / "net.nir", (12,), folder / "net.onnx")
    found: nd.Inspection | nd.Nodes = nd.inspect(folder / "net.nir")
    opened: nd.Model | nd.Program = nd.load(folder / "net.ndp")
    if isinstance(opened, nd.Program):
        script: nd.LavaScript = opened.export_lava(folder / "net_lava.py")
        assert script.numbers.is_file()
    try:
        opened.run(inputs)
    except nd.NeurodeployError as refused:
        sys.stderr.write(f"{refused.what}: {refused.found}\n")
    diagnosis: nd.Diagnosis = nd.doctor()
    passes: nd.Passes = nd.available_passes()
    chips: list[str] = list(nd.chips())
    return [repr(made), repr(onnx), repr(found), repr(diagnosis), repr(passes), ", ".join(chips)]


def learning(folder: Path) -> dict[str, float]:
    """The deployed network goes on learning on its chip, from arrays; another begins from nothing, from a file."""
    random = np.random.default_rng(0)
    labels = np.arange(80) % 4
    rates = np.where(np.arange(12) // 3 == labels[:, None], 0.6, 0.1)  # three inputs are busy for each class
    x = (random.random((10, 80, 12)) < rates).astype(np.float32)
    samples: dict[str, npt.NDArray[np.generic]] = {
        "train_x": x[:, :60],
        "train_y": labels[:60],
        "test_x": x[:, 60:],
        "test_y": labels[60:],
    }
    program = nd.load(folder / "net.ndp")
    assert isinstance(program, nd.Program)
    rule = nd.EventRule("mpd-ed", learning_rate=0.02, adapt=None)
    adapted: nd.Learned = nd.adapt(program, samples, rule, nd.LearnOptions(epochs=5))
    again: nd.Recording = adapted.program.run(x[:, 60:])
    if again.accuracy(labels[60:]).accuracy != adapted.accuracy:
        raise SystemExit("it does not answer as it did while it learned")
    np.savez(folder / "samples.npz", allow_pickle=False, **samples)
    options = nd.LearnOptions(hidden=(20,), epochs=5, thresholds="neuron")
    learned: nd.Learned = nd.learn("std-ed", folder / "samples.npz", options, folder=folder / "learned", memory=False)
    before = adapted.before or {}
    return {"deployed": before["mpd-ed"], "adapted": adapted.accuracy, "learned": learned.accuracy}


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(exist_ok=True)
    for name, value in deploy(target).items():
        sys.stdout.write(f"{name}: {value:,.2f}\n")
    sys.stdout.write("\n".join(around(target)) + "\n")
    for name, value in learning(target).items():
        sys.stdout.write(f"accuracy, {name}: {value:.0%}\n")
