"""What reversible columns save: memory of a training step, equal gradients, and the time that it takes.

    python benchmarks/trevsnn_memory.py [--record]

A T-RevSNN of four levels (16-32-64-64 channels, images of 16 x 16, batch 32) in 1 to 8 columns, once reversible, once
by ordinary automatic differentiation. Counted is every tensor that autograd keeps for the backward pass, by its bytes,
parameters and what is computed from them alone left out: after the forward pass (``kept``), and the most at any time
until the gradients are there (``peak``), which includes what the reversible one computes again. Gradients are compared
in float64 (the largest difference, in units of the largest gradient of its parameter). Times are of a training step,
the median of 5. ``--record`` keeps what is printed in docs/recorded/trevsnn_memory.txt.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch
from recorded import recorded
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from neurodeploy.models.losses import every_head
from neurodeploy.models.trevsnn.network import TRevSNN
from tests.models.reversible_memory import difference, pair, step

COLUMNS = (1, 2, 4, 8)


def seconds(net: TRevSNN, x: Tensor, y: Tensor) -> float:
    """A training step, the median of 5."""
    found = []
    for _ in range(5):
        started = time.perf_counter()
        every_head(net, x, y)[0].backward()
        net.zero_grad()
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="keep what is printed")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with recorded("trevsnn_memory" if args.record else None):
        first: tuple[int, int] | None = None
        for columns in COLUMNS:
            saving, plain, x, y = pair(columns, torch.float32)
            ours, theirs = step(saving, x, y), step(plain, x, y)
            first = first or ours
            times = seconds(saving, x, y) / seconds(plain, x, y)
            print(
                f"T = {columns}: kept {ours[0] / 2**20:.2f} MiB reversible ({ours[0] / first[0]:.3f} of T = 1), "
                f"{theirs[0] / 2**20:.2f} MiB ordinary ({theirs[0] / ours[0]:.1f} times as much); "
                f"peak {ours[1] / 2**20:.2f} MiB, {theirs[1] / 2**20:.2f} MiB ({theirs[1] / ours[1]:.2f} times); "
                f"a step takes {times:.2f} times as long"
            )
        for dtype in (torch.float64, torch.float32):
            print(f"gradients differ by at most, {dtype}: " + ", ".join(
                f"T = {columns} {difference(columns, dtype):.1e}" for columns in COLUMNS
            ))  # fmt: skip


if __name__ == "__main__":
    main()
