"""Motion before a simulated event camera, learned event by event: what time is worth, and what learning costs.

    python benchmarks/motion_learning.py [--chip anp-i] [--seeds 3] [-o motion-learning] [--record]

Left or right, 2,000 samples to learn from and 1,000 to be tested with (`neurodeploy.models.motion`); the settings that
`neurodeploy learn --data motion` takes by itself, which were chosen on a part of the samples to learn from.

1. Linear read-outs (logistic regression, L2, C = 0.01): of frames summed over time, and of all frames side by side.
2. On 500 of the samples to learn from, held back: 100 neurons without the convolution, learning from the other 1,500.
3. A row a rule: accuracy on the test samples by seed; spikes and learning energy a sample, and what the three clocked
   engines take for the same samples, means over seeds. A run that was killed goes on when the same command is given.

The table is printed as docs/explanation-learning.md has it; ``--record`` keeps it in docs/recorded.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from printed import TITLES, header, percents, recorded, row, times
from sklearn.linear_model import LogisticRegression

import neurodeploy as nd
from neurodeploy.models import motion
from neurodeploy.report.html import quantity

RULES = ("mpd-ed", "std-ed", "bptt")


def linear(train: np.ndarray, test: np.ndarray, data: motion.Motion) -> float:
    """Accuracy of a linear read-out on samples ``[samples, ...]``."""
    model = LogisticRegression(C=0.01, max_iter=1000).fit(train.reshape(len(train), -1), data.train_y)
    return float(model.score(test.reshape(len(test), -1), data.test_y))


def held_back(rule: str, data: motion.Motion) -> float:
    """Accuracy of 100 neurons without a convolution on samples to learn from that were held back."""
    samples = {"train_x": data.train_x[:, :-500], "train_y": data.train_y[:-500]}
    samples |= {"test_x": data.train_x[:, -500:], "test_y": data.train_y[-500:]}
    options = nd.LearnOptions(hidden=(100,), epochs=15, learning_rate=0.02)
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "samples.npz", allow_pickle=False, **samples)
        learned = nd.learn(rule, Path(folder) / "samples.npz", options, folder=folder, memory=False)
    return float(learned.document.rules[0].accuracy)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chip", default="anp-i")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path, default=Path("motion-learning"))
    parser.add_argument("--record", action="store_true", help="keep what is printed in docs/recorded")
    args = parser.parse_args()
    with recorded(__file__, args.record):
        tables(args.chip, args.seeds, args.output)


def tables(chip: str, seeds: int, output: Path) -> None:
    """Print everything."""
    data = motion.load()
    print(f"{data.train_x.sum() / len(data.train_y):.0f} events a sample")
    print("100 neurons without a convolution, on 500 samples to learn from that were held back:")
    for rule in ("mpd-ed", "std-ed"):
        print(f"  {TITLES[rule]} {100 * held_back(rule, data):.0f} %")
    print(header("", "test", "spikes", "learning", "dense", "zero-skipping", "once"))
    summed = linear(data.train_x.sum(axis=0), data.test_x.sum(axis=0), data)
    every = linear(*(np.moveaxis(x, 0, 1) for x in (data.train_x, data.test_x)), data)
    print(f"| linear read-out of frames summed over time | {100 * summed:.1f} % | | | | | |")
    print(f"| linear read-out of all frames side by side | {100 * every:.1f} % | | | | | |")
    for rule in RULES:
        runs = []
        for seed in range(seeds):
            options, folder = nd.LearnOptions(seed=seed), output / str(seed)
            learned = nd.learn(rule, "motion", options, chip=chip, folder=folder, resume=True, memory=False)
            runs.append(learned.document.rules[0])
        ratios = [[other.ratio or np.nan for other in run.priced[0].baselines] for run in runs]
        spikes = np.mean([run.spikes for run in runs])
        learning = float(np.mean([run.priced[0].learning_pj for run in runs]))
        accuracy = percents([run.accuracy for run in runs])
        print(
            row(
                TITLES[rule], accuracy, f"{spikes:.0f}", quantity(learning, "pJ"),
                *(times(ratio) for ratio in np.mean(ratios, axis=0)),
            )
        )  # fmt: skip


if __name__ == "__main__":
    main()
