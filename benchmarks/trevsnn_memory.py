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
import time
import weakref
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from recorded import recorded
from torch import Tensor

from neurodeploy.models.losses import every_head
from neurodeploy.models.trevsnn.network import Shape, TRevSNN

SHAPE = Shape((16, 32, 64, 64), 1, kernel=3, classes=10, stem=((3, 1),), inputs=3, heads=1)
BATCH, SIDE = 32, 16
COLUMNS = (1, 2, 4, 8)


class _Kept:
    """A tensor that autograd keeps, seen when it lets go of it."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


@dataclass
class Memory:
    """Bytes that autograd keeps, each storage once."""

    weights: set[int]
    live: dict[int, int] = field(default_factory=dict)
    uses: dict[int, int] = field(default_factory=dict)
    peak: int = 0

    def pack(self, tensor: Tensor) -> Any:
        kept, storage = _Kept(tensor), tensor.untyped_storage()
        # Weights, and what is made of them alone, have no batch in front.
        if tensor.dim() and tensor.shape[0] == BATCH and storage.data_ptr() not in self.weights:
            self.uses[storage.data_ptr()] = self.uses.get(storage.data_ptr(), 0) + 1
            self.live[storage.data_ptr()] = storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(kept, self._gone, storage.data_ptr())
        return kept

    def _gone(self, pointer: int) -> None:
        self.uses[pointer] -= 1
        if not self.uses[pointer]:
            del self.uses[pointer], self.live[pointer]

    @property
    def now(self) -> int:
        return sum(self.live.values())


def step(net: TRevSNN, x: Tensor, y: Tensor) -> tuple[int, int]:
    """Bytes kept after the forward pass, and the most at any time."""
    memory = Memory({p.untyped_storage().data_ptr() for p in net.parameters()})
    with torch.autograd.graph.saved_tensors_hooks(memory.pack, lambda kept: kept.tensor):
        loss, _ = every_head(net, x, y)
        kept = memory.now
        loss.backward()
    net.zero_grad()
    return kept, memory.peak


def pair(columns: int, dtype: torch.dtype) -> tuple[TRevSNN, TRevSNN, Tensor, Tensor]:
    """The same network reversible and not, and a batch."""
    torch.manual_seed(0)
    saving = TRevSNN(replace(SHAPE, columns=columns)).to(dtype).train()
    plain = TRevSNN(saving.shape, saves_memory=False).to(dtype).train()
    plain.load_state_dict(saving.state_dict())
    x = torch.rand(BATCH, 3, SIDE, SIDE, dtype=dtype)
    return saving, plain, x, torch.arange(BATCH) % 10


def difference(columns: int, dtype: torch.dtype) -> float:
    """Largest difference of gradients, each in units of the largest gradient of its parameter."""
    saving, plain, x, y = pair(columns, dtype)
    for net in (saving, plain):
        every_head(net, x, y)[0].backward()
    worst = 0.0
    for (_, a), (_, b) in zip(saving.named_parameters(), plain.named_parameters(), strict=True):
        if a.grad is not None and b.grad is not None and float(b.grad.abs().max()) > 0:
            worst = max(worst, float((a.grad - b.grad).abs().max() / b.grad.abs().max()))
    return worst


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
