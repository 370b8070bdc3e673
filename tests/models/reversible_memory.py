"""How much autograd keeps in a training step of a T-RevSNN, reversible and not, and how their gradients differ."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from neurodeploy.models.losses import every_head
from neurodeploy.models.trevsnn.network import Shape, TRevSNN

SHAPE = Shape((16, 32, 64, 64), 1, kernel=3, classes=10, stem=((3, 1),), inputs=3, heads=1)
BATCH, SIDE = 32, 16


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
