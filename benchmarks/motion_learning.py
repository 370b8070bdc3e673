"""Motion before a simulated event camera, learned event by event: what time is worth, and what learning costs.

    python benchmarks/motion_learning.py [--chip anp-i] [--seeds 3] [-o motion-learning]

Left or right, 2,000 samples to learn from and 1,000 to be tested with (`neurodeploy.models.motion`); the settings that
`neurodeploy learn --data motion` takes by itself, which were chosen on a part of the samples to learn from.

1. Linear read-outs (logistic regression, L2, C = 0.01): of frames summed over time, and of all frames side by side.
2. A row a rule: accuracy on the test samples by seed; spikes and learning energy a sample, and what the three clocked
   engines take for the same samples, means over seeds. A run that was killed goes on when the same command is given.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

import neurodeploy as nd
from neurodeploy.models import motion
from neurodeploy.report.html import quantity

RULES = ("mpd-ed", "std-ed", "bptt")


def linear(train: np.ndarray, test: np.ndarray, data: motion.Motion) -> float:
    """Accuracy of a linear read-out on samples ``[samples, ...]``."""
    model = LogisticRegression(C=0.01, max_iter=1000).fit(train.reshape(len(train), -1), data.train_y)
    return float(model.score(test.reshape(len(test), -1), data.test_y))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chip", default="anp-i")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path, default=Path("motion-learning"))
    args = parser.parse_args()
    data = motion.load()
    print(f"{data.train_x.sum() / len(data.train_y):.0f} events a sample")
    summed = linear(data.train_x.sum(axis=0), data.test_x.sum(axis=0), data)
    every = linear(*(np.moveaxis(x, 0, 1) for x in (data.train_x, data.test_x)), data)
    print(f"linear read-out: {100 * summed:.1f} % of summed frames, {100 * every:.1f} % of all frames", flush=True)
    for rule in RULES:
        runs = []
        for seed in range(args.seeds):
            options, folder = nd.LearnOptions(seed=seed), args.output / str(seed)
            learned = nd.learn(rule, "motion", options, chip=args.chip, folder=folder, resume=True, memory=False)
            runs.append(learned.document.rules[0])
        found = [100 * run.accuracy for run in runs]
        ratios = [[other.ratio or np.nan for other in run.priced[0].baselines] for run in runs]
        names = [other.name for other in runs[0].priced[0].baselines]
        print(
            f"{rule:6} {np.mean(found):.1f} % ({', '.join(f'{a:.1f}' for a in found)}), "
            f"{np.mean([run.spikes for run in runs]):.0f} spikes, "
            f"learning {quantity(float(np.mean([run.priced[0].learning_pj for run in runs])), 'pJ')} a sample ("
            + ", ".join(f"{name} {ratio:.1f}x" for name, ratio in zip(names, np.mean(ratios, axis=0), strict=True))
            + ")",
            flush=True,
        )


if __name__ == "__main__":
    main()
