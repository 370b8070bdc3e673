"""Loihi's rules on digits: STDP and reward-modulated STDP, 100 neurons, in integers; no gradient and no torch.

    python benchmarks/learning_digits.py [--seeds 3] [--record]

Accuracy on the 450 test images after each pass over the training images; beside it the control, three passes with a
rule that changes nothing, so that only the thresholds adapt; synapses that the learning engine visits and changes for a
sample, in the mean of three passes; CPU time of a pass. The table is printed as docs/howto-learning-rules.md has it;
``--record`` keeps it in docs/recorded.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import replace

import numpy as np
from printed import header, recorded, row

from neurodeploy.learning.digits.stdp import SETTINGS, DigitsStdp

PASSES, QUOTED = 4, 3
CHANGES_NOTHING = {"stdp": "0*y0*x1", "r-stdp": "0*u0*t*y2"}


def task_of(rule: str, seed: int, learns: bool = True) -> DigitsStdp:
    """A task; or its control."""
    settings = SETTINGS[rule] if learns else replace(SETTINGS[rule], dw=CHANGES_NOTHING[rule])
    return DigitsStdp(rule, seed, settings)


def one_pass(task: DigitsStdp) -> tuple[Counter[str], float]:
    """What the learning engine did for a sample in the mean, and CPU seconds."""
    work: Counter[str] = Counter()
    started = time.process_time()
    for _ in range(task.chunks_per_epoch):
        done = task.train_chunk()
        work.update({**done.work, "spikes": done.spikes})
    samples = len(task.data.train_labels)
    return Counter({name: count / samples for name, count in work.items()}), time.process_time() - started


def mean(accuracies: list[float], ranged: bool) -> str:
    """A cell."""
    found = [100 * a for a in accuracies]
    return f"{np.mean(found):.1f} %" + (f" ({min(found):.1f} to {max(found):.1f})" if ranged else "")


def tables(seeds: int) -> None:
    """Print everything."""
    titles = ("untrained", *(f"{n} pass{'es' if n > 1 else ''}" for n in range(1, PASSES + 1)), "thresholds alone")
    notes = []
    print(header("", *titles))
    for rule in SETTINGS:
        tasks = [task_of(rule, seed) for seed in range(seeds)]
        columns = [[task.accuracy() for task in tasks]]
        found: list[tuple[Counter[str], float]] = []
        for done in range(1, PASSES + 1):
            passed = [one_pass(task) for task in tasks]
            found += passed if done <= QUOTED else []
            columns.append([task.accuracy() for task in tasks])
        counts = ", ".join(f"{np.mean([work[name] for work, _ in found]):,.1f} {name}" for name in found[0][0])
        notes.append(
            f"{rule}, {QUOTED} passes, for a sample: {counts}; {min(s for _, s in found):.1f} s of CPU for a pass"
        )
        controls = [task_of(rule, seed, learns=False) for seed in range(seeds)]
        for task in controls:
            for _ in range(QUOTED):
                one_pass(task)
        cells = [mean(column, n == QUOTED and seeds > 1) for n, column in enumerate(columns)]
        print(row(f"`{rule}`", *cells, mean([task.accuracy() for task in controls], ranged=False)))
    print("\n".join(notes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--record", action="store_true", help="keep what is printed in docs/recorded")
    args = parser.parse_args()
    with recorded(__file__, args.record):
        tables(args.seeds)


if __name__ == "__main__":
    main()
