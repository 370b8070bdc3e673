"""Fashion-MNIST, learned event by event: 784-200-10, latency code, 16 steps, 8 epochs, learning rate 0.01.

    apt-get install dataset-fashion-mnist
    python benchmarks/fashion_learning.py [--seeds 1] [--held-back] [--record] [-o fashion-learning]

The first 12,000 training images and the first 3,000 test images of the package (Xiao, Rasul, Vollgraf,
arXiv 1708.07747; MIT licence). Pixels 0 to 255 spike as the digits' 0 to 16 do (`neurodeploy.models.digits`): once in
step floor((255 - x) T / 255), not at all for 0. All settings but those above are `neurodeploy learn`'s own.
This code was kept among four by 3,000 other training images, after one of them (rounded to 0 to 16) had been tested.

A row a rule and kind of threshold (one a layer; one a neuron): accuracy on the test images; spikes of all layers and
learning energy a sample, what the three clocked engines take for the same samples, and CPU time, of seed 0. A run that
was killed goes on where it stopped when the same command is given again. ``--held-back`` compares codes and kinds of
thresholds on 3,000 other training images instead. The tables are printed as docs/explanation-learning.md has
them; ``--record`` keeps them in docs/recorded.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from printed import TITLES, header, percents, recorded, row, times

import neurodeploy as nd
from neurodeploy.errors import NeurodeployError
from neurodeploy.files.atomic import atomic_path
from neurodeploy.learning.run import CHECKPOINT
from neurodeploy.models.data import fashion
from neurodeploy.report.html import quantity

Array = np.ndarray[Any, np.dtype[Any]]

PARTS = {"train": ("train", 12_000), "test": ("t10k", 3_000)}
"""Names of a part's files, and how many of its images are taken, from the first on."""
HELD_BACK = slice(12_000, 15_000)
"""Training images by which codes and thresholds are compared."""
ENGINES = ("dense", "zero-skipping", "once")
STEPS = 16
Each = Literal["layer", "neuron"]
RUNS: tuple[tuple[str, Each], ...] = (
    ("mpd-ed", "layer"),
    ("std-ed", "layer"),
    ("bptt", "layer"),
    ("mpd-ed", "neuron"),
    ("std-ed", "neuron"),
)


def latency(images: Array, brightest: int = fashion.BRIGHTEST) -> Array:
    """Spikes ``[time, samples, 1, 28, 28]`` of pixels ``[samples, 28, 28]``; see the module's docstring."""
    x = images.astype(np.int64)
    when = (brightest - x) * STEPS // brightest
    return np.stack([(when == t) & (x > 0) for t in range(STEPS)]).astype(np.uint8)[:, :, None]


CODES: dict[str, Callable[[Array], Array]] = {
    "every pixel that is not 0": latency,
    "rounded to 0 to 16": lambda x: latency(np.rint(x * (16 / fashion.BRIGHTEST)), 16),
    "rounded down to 0 to 16": lambda x: latency(x * (16 / fashion.BRIGHTEST), 16),
    "rounded down to 0 to 15": lambda x: latency(x >> 4, 16),
}


def write(folder: Path, path: Path) -> None:
    """The samples as `neurodeploy learn` takes them."""
    arrays = {}
    for to, (name, samples) in PARTS.items():
        images, labels = fashion.read(name, folder)
        arrays[f"{to}_x"], arrays[f"{to}_y"] = latency(images[:samples]), labels[:samples]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as there, there.open("wb") as handle:
        np.savez_compressed(handle, allow_pickle=False, **arrays)


def options(each: Each, seed: int, epochs: int) -> nd.LearnOptions:
    """Settings of a run."""
    return nd.LearnOptions(hidden=(200,), epochs=epochs, learning_rate=0.01, seed=seed, thresholds=each)


def held_back(folder: Path, epochs: int) -> None:
    """What was chosen before the test images were looked at: STD-ED on other training images."""
    images, labels = fashion.read("train", folder)
    first = slice(PARTS["train"][1])

    def reached(code: str, each: Each, seed: int) -> float:
        samples = {"train_x": CODES[code](images[first]), "train_y": labels[first]}
        samples |= {"test_x": CODES[code](images[HELD_BACK]), "test_y": labels[HELD_BACK]}
        with tempfile.TemporaryDirectory() as here:
            np.savez(Path(here) / "samples.npz", allow_pickle=False, **samples)
            learned = nd.learn(
                "std-ed", Path(here) / "samples.npz", options(each, seed, epochs), folder=here, memory=False
            )
        return learned.document.rules[0].accuracy

    print("STD-ED on 3,000 other training images, seed 0, by code")
    for code in CODES:
        print(f"  {code}: {100 * reached(code, 'layer', 0):.1f} %")
    print("STD-ED on the same images, seeds 0 to 3")
    for each in ("layer", "neuron"):
        print(f"  a threshold a {each}: {percents([reached(next(iter(CODES)), each, seed) for seed in range(4)])}")


def test(samples: Path, output: Path, seeds: int, epochs: int) -> None:
    """The table of the test images."""
    print(header("", f"test (seeds {', '.join(map(str, range(seeds)))})", "spikes", "learning", *ENGINES, "time"))
    for rule, each in RUNS:
        accuracies, cells = [], []
        for seed in range(seeds):
            folder = output / f"{each}-{seed}"
            begun, started = (folder / rule / CHECKPOINT).exists(), time.process_time()
            learned = nd.learn(rule, samples, options(each, seed, epochs), folder=folder, resume=True, memory=False)
            taken, result = time.process_time() - started, learned.document.rules[0]
            accuracies.append(result.accuracy)
            if seed == 0:
                priced = result.priced[0]
                cells = [f"{result.spikes:.0f}", quantity(priced.learning_pj, "pJ")]
                cells += [times(other.ratio or np.nan) for other in priced.baselines]
                cells += ["-" if begun else f"{taken:.0f} s"]
        print(
            row(TITLES[rule] + (", a threshold a neuron" if each == "neuron" else ""), percents(accuracies, 2), *cells)
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=fashion.FOLDER, help="folder of the IDX files (default: %(default)s)"
    )
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--held-back", action="store_true", help="compare on other training images instead")
    parser.add_argument("--record", action="store_true", help="keep what is printed in docs/recorded")
    parser.add_argument("-o", "--output", type=Path, default=Path("fashion-learning"))
    args = parser.parse_args()
    if args.held_back:
        with recorded("fashion_held_back", args.record):
            held_back(args.data, args.epochs)
        return
    samples = args.output / "fashion.npz"
    if not samples.exists():
        write(args.data, samples)
    with recorded(__file__, args.record):
        test(samples, args.output, args.seeds, args.epochs)


if __name__ == "__main__":
    try:
        main()
    except NeurodeployError as error:
        sys.exit(str(error))
