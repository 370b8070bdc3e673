"""What is lost on the way from floats to integers, step by step.

    python benchmarks/quantisation.py [--data FOLDER] [--record]

Trains the two digits networks (or takes them from demo-output/), quantises them in several ways on training images
and prints the accuracy on all 450 test images, and the share of spikes that differ from the float network's. With the
folder of recordings it does the same, without labels, for the NIR paper's Braille network (one real sample, and 15
made from it by moving spikes by a step and leaving out one in twenty) and its N-MNIST network (random input): how
many spikes are shifted by 1 to 3 steps, and how many appear or vanish. ``--record`` keeps what is printed in
docs/recorded/quantisation.txt, where figures of docs/explanation-integers.md are looked up.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from recorded import recorded

from neurodeploy import passes
from neurodeploy.compiler import CompileOptions, compile
from neurodeploy.network.network import Network
from neurodeploy.program.recording import scores
from neurodeploy.verify.after_passes import measure, moved, run

WAYS = {
    "nearest": "quantise{rounding=nearest range=max thresholds=1}",
    "+ calibration": "quantise{thresholds=1}",
    "+ 8 thresholds": "quantise{thresholds=8}",
    "+ split signs": "split-signs,quantise{thresholds=8}",
    "any threshold, split": "split-signs,quantise{thresholds=any}",
}
TUNED = ("+ 8 thresholds", "+ split signs")


def ways(network: Network, calibration: dict[str, Any], labels: Any, tuning: str = "") -> list[tuple[str, Network]]:
    """The network after each way of quantising it."""
    found = [("float", network)]
    for title, pipeline in WAYS.items():
        for extra in ("", *((f",fine-tune{tuning}",) if title in TUNED else ())):
            current, teacher = network, network
            for step in passes.parse(pipeline + extra):
                if current.arithmetic == "float":
                    teacher = current
                current = step.build().apply(current, passes.PassData(calibration, labels, teacher))
            found.append((title + (", fine-tuned" if extra else ""), current))
    return found


def digits(folder: Path) -> None:
    from neurodeploy.exporters.export import export
    from neurodeploy.models.registry import MODELS, load

    for name in MODELS:
        model = load(name)
        saved = sorted(folder.glob(f"{name}-*.safetensors"))
        trained = model.load(saved[0]) if saved else model.train()
        data, training = model.data(), model.calibration(1347)
        path = folder / f"{name}.nir"
        if not path.is_file():
            folder.mkdir(exist_ok=True)
            export(trained.module, tuple(data.inputs.shape[2:]), model.dt, path)
        network = compile(path, None, CompileOptions(integer=False)).float_network
        print(f"\n{name}: {len(data.labels)} test images, calibrated on {len(training.labels)} training images")
        print(f"{'':<32}{'accuracy':>10}{'lost':>9}{'spikes that differ':>21}")
        stages = ways(network, {"": training.inputs}, training.labels, "{iterations=10}")
        found = measure(stages, {"": data.inputs}, data.labels)
        first = found[0].accuracy or 0.0
        for stage in found:
            lost = 100 * (first - (stage.accuracy or 0.0))
            print(f"{stage.name:<32}{100 * (stage.accuracy or 0):>8.2f} %{lost:>7.2f} pt{100 * stage.share:>19.2f} %")


def variants(sample: np.ndarray, count: int) -> np.ndarray:
    """The sample ``[time, neurons]``, and others made from it: spikes a step off, one in twenty left out."""
    rng = np.random.default_rng(0)
    found = np.zeros((len(sample), count + 1, sample.shape[1]), np.uint8)
    found[:, 0] = sample > 0
    for index in range(1, count + 1):
        for t, neuron in np.argwhere(sample > 0):
            if rng.random() >= 0.05:
                found[np.clip(t + rng.integers(-1, 2), 0, len(sample) - 1), index, neuron] = 1
    return found


def braille(folder: Path) -> None:
    path = folder / "nir" / "braille" / "braille_noDelay_bias_zero.nir"
    inputs = variants(np.load(path.parent / "ds_test_0_input_recovered_256x12.npy"), 15)
    conventions = {"dt": 1e-4, "recurrent_bias": "after-delay"}
    network = compile(path, None, CompileOptions(conventions=conventions, integer=False)).float_network
    print("\nBraille, hidden spikes: the real sample (calibrated on the 15 others), then the mean of the 15")
    columns = (
        "spikes",
        "differ",
        "shifted",
        "appear",
        "vanish",
        "same class",
        "largest output change",
        "others differ",
    )
    print(f"{'':<32}" + "".join(f"{c:>{len(c) + 3}}" for c in columns))
    stages = ways(network, {"": inputs[:, 1:]}, None, "{samples=12}")
    recordings = [(name, run(n, {"": inputs}), n) for name, n in stages]
    hidden = recordings[0][1].spikes["lif1.lif"].dense()
    truth = scores(network, recordings[0][1])
    for name, recording, quantised in recordings:
        spikes = recording.spikes["lif1.lif"].dense()
        change = moved(hidden[:, 0], spikes[:, 0])
        others = np.mean([moved(hidden[:, i], spikes[:, i]).different for i in range(1, inputs.shape[1])])
        found = scores(quantised, recording)
        same = f"{(found.argmax(axis=1) == truth.argmax(axis=1)).sum()} of {len(truth)}"
        off = np.abs(found[0] - truth[0]) / truth[0]
        values = (
            int(spikes[:, 0].sum()), change.different, change.shifted, change.appeared, change.vanished, same,
            f"{100 * off.max():.0f} % of {truth[0][off.argmax()]:.0f}", f"{others:.1f}",
        )  # fmt: skip
        print(f"{name:<32}" + "".join(f"{v!s:>{len(c) + 3}}" for v, c in zip(values, columns, strict=True)))


def nmnist(folder: Path) -> None:
    path = folder / "nir" / "nmnist-cnn" / "cnn_sinabs.nir"
    inputs = (np.random.default_rng(0).random((60, 4, 2, 34, 34)) < 0.02).astype(np.uint8)
    network = compile(path, None, CompileOptions(conventions={"dt": 1.0}, integer=False)).float_network
    print("\nN-MNIST CNN, all spikes of four random samples")
    print(f"{'':<32}{'spikes':>10}{'differ':>10}{'of the float spikes':>22}")
    for stage in measure(ways(network, {"": inputs[:, :2]}, None, "{iterations=3}"), {"": inputs}, None):
        print(f"{stage.name:<32}{stage.spikes:>10,}{stage.different:>10,}{100 * stage.share:>20.2f} %")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder of recordings")
    parser.add_argument("--demo", type=Path, default=Path("demo-output"), help="where `make demo` leaves its files")
    parser.add_argument("--record", action="store_true", help="keep what is printed in docs/recorded/quantisation.txt")
    args = parser.parse_args()
    with recorded("quantisation" if args.record else None):
        if args.data:
            braille(args.data)
            nmnist(args.data)
        digits(args.demo)


if __name__ == "__main__":
    main()
