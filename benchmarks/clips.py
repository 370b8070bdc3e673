"""Simulated event clips: what a classifier loses that sees frames summed over time.

    python benchmarks/clips.py [--data DIR] [--only clips-digits] [--seeds 2] [--record]

The data are SIMULATED (`neurodeploy.models.data.clips`). A row a classifier, accuracy on the test clips:

1. linear, of frames summed over time: ridge and logistic regression, strength chosen on a fifth of the training part;
2. a convolutional network of frames summed over time, ``[2, 34, 34]``;
3. the same network on every step, its features averaged over the steps before the dense layers;
4. the same network on every step, features side by side.

Networks: c24k5s2-pool2-c48k3-max pooling to 3 x 3, dense 128, dense 10, dropout 0.4; AdamW, one cycle up to 0.004.
The settings of the clips, the kind of network and the 30 epochs were chosen on a quarter of the digits' training clips,
which was not trained with; clothes take the same and, for the sake of time, 10 epochs, which nothing chose.
``--record`` keeps the table in docs/recorded.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from printed import header, percents, recorded, row
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from torch import nn

from neurodeploy.errors import NeurodeployError
from neurodeploy.models.data import DataSet, Part, load

EPOCHS = {"clips-digits": 30, "clips-fashion": 10}
LINEAR: dict[str, list[Any]] = {
    "ridge": [RidgeClassifier(alpha) for alpha in (100, 1000, 10_000, 100_000)],
    "logistic": [LogisticRegression(C=c, tol=0.001, max_iter=200) for c in (0.0001, 0.001, 0.01)],
}
BATCH, RATE, CHANNELS = 64, 0.004, 24


class Classifier(nn.Module):
    """Scores ``[batch, classes]`` of frames ``[batch, time, 2, height, width]``.

    Args:
        classes: how many.
        steps: of which features lie side by side; None where they are averaged.
    """

    def __init__(self, classes: int, steps: int | None) -> None:
        super().__init__()
        self.averaged = steps is None
        self.step = nn.Sequential(
            nn.Conv2d(2, CHANNELS, 5, 2, 2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(CHANNELS, 2 * CHANNELS, 3, 1, 1), nn.ReLU(), nn.AdaptiveMaxPool2d(3), nn.Flatten(),
        )  # fmt: skip
        self.dense = nn.Sequential(
            nn.Dropout(0.4), nn.Linear((steps or 1) * 2 * CHANNELS * 9, 128), nn.ReLU(), nn.Dropout(0.4),
            nn.Linear(128, classes),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.step(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return self.dense(features.mean(1) if self.averaged else features.flatten(1))


def linear(data: DataSet, models: list[Any]) -> float:
    """Accuracy on the test part of the one of some linear classifiers that a validation part chose."""
    rest, held = data.split(0.2)
    best = max(models, key=lambda model: model.fit(flat(rest), rest.y).score(flat(held), held.y))
    return float(best.fit(flat(data.train), data.train.y).score(flat(data.test), data.test.y))


def flat(part: Part) -> np.ndarray:
    """Frames summed over time, as vectors."""
    return part.x.sum(axis=1, dtype=np.float64).reshape(len(part), -1)


def conv(data: DataSet, seed: int, averaged: bool, summed: bool) -> float:
    """Accuracy of a convolutional network, of sums or of steps."""
    torch.manual_seed(seed)

    def inputs(part: Part, which: torch.Tensor) -> torch.Tensor:
        x = torch.tensor(part.x[which.numpy()], dtype=torch.float32)
        return x.sum(1, keepdim=True) / 4 if summed else x

    model = Classifier(len(data.classes), None if averaged else data.shape[0])
    optimiser = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.01)
    batches, epochs = -(-len(data.train) // BATCH), EPOCHS[data.name]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=epochs * batches)
    y = torch.tensor(data.train.y)
    for _ in range(epochs):
        for which in torch.randperm(len(y)).split(BATCH):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(inputs(data.train, which)), y[which]).backward()
            optimiser.step()
            schedule.step()
    model.eval()
    with torch.no_grad():
        found = [model(inputs(data.test, which)).argmax(1) for which in torch.arange(len(data.test)).split(200)]
    return float((torch.cat(found).numpy() == data.test.y).mean())


def table(data: DataSet, seeds: int) -> None:
    """Print everything of a data set."""
    events = data.train.x.sum(dtype=np.int64) / len(data.train)
    print(f"{data.name}: {data.source}")
    print(f"{len(data.train)} clips to train with, {len(data.test)} to test with; {events:.0f} events a clip")
    print(f"sha256 {data.sha256}")
    print(header("classifier", f"test (seeds {', '.join(map(str, range(seeds)))})"))
    for title, models in LINEAR.items():
        print(row(f"linear ({title}), of frames summed over time", percents([linear(data, models)])), flush=True)
    for title, averaged, summed in (
        ("convolutional, of frames summed over time", True, True),
        ("convolutional, of the sequence, features averaged", True, False),
        ("convolutional, of the sequence, features side by side", False, False),
    ):
        print(row(title, percents([conv(data, seed, averaged, summed) for seed in range(seeds)])), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the IDX files of Fashion-MNIST")
    parser.add_argument("--only", choices=tuple(EPOCHS), help="one of the data sets")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--record", action="store_true", help="keep what is printed in docs/recorded")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with recorded(__file__, args.record):
        for name in [args.only] if args.only else EPOCHS:
            table(load(name, args.data if name == "clips-fashion" else None), args.seeds)


if __name__ == "__main__":
    try:
        main()
    except NeurodeployError as error:
        sys.exit(str(error))
