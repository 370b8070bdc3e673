"""Neurons written by hand are found again while the untouched module runs, wherever and however it compares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neurodeploy.verify.export_proof import Exported, export_proven

T, B = 6, 2


def fire(x: Tensor, threshold: float) -> Tensor:
    """One line for all comparisons of a network."""
    return (x > threshold).to(x.dtype)


class Lif(nn.Module):
    """Whole sequences ``[time, batch, ...]``, from a state that the network sets back."""

    def __init__(self) -> None:
        super().__init__()
        self.v: Any = None

    def forward(self, x: Tensor) -> Tensor:
        v = torch.zeros_like(x[0]) if self.v is None else self.v
        spikes = []
        for current in x:
            v = v + (current - v) / 2.0
            s = fire(v, 0.5)
            v = (1 - s) * v
            spikes.append(s)
        return torch.stack(spikes)


class Or(nn.Module):
    """Of whole sequences, at once."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return fire(a + b, 0.5)


def scaled(layer: nn.Module) -> nn.Module:
    layer.weight.data *= 3  # type: ignore[operator]
    return layer


class Joined(nn.Module):
    """Static images that forward repeats; a join in the middle, in the line in which all neurons compare."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = scaled(nn.Conv2d(1, 3, 3, padding=1)), scaled(nn.Conv2d(3, 3, 3, padding=1))
        self.lif1, self.lif2, self.lif3, self.join = Lif(), Lif(), Lif(), Or()
        self.head = scaled(nn.Linear(3, 4))

    def forward(self, x: Tensor) -> Tensor:
        for one in (self.lif1, self.lif2, self.lif3):
            one.v = None
        y = self.lif1(self.first(x)[None].expand(T, -1, -1, -1, -1))
        y = self.join(y, self.lif2(self.second(y.flatten(0, 1)).unflatten(0, (T, len(x)))))
        return self.lif3(self.head(y.mean((3, 4)) * 16)).mean(0)


class Layouts(nn.Module):
    """One function for a layer over the whole sequence, and for two that take turns in each step."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (scaled(nn.Linear(5, 5)) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        v = torch.zeros_like(x[0])
        sent = []
        for now in self.a(x):
            v, s = self.step(v, now)
            sent.append(s)
        v = w = torch.zeros_like(x[0])
        out = []
        for s in sent:
            v, s = self.step(v, self.b(s))
            w, s = self.step(w, self.c(s))
            out.append(s)
        return torch.stack(out)

    def step(self, v: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        v = 0.5 * v + x
        s = fire(v, 0.6)
        return v - 0.6 * s, s


class Masked(nn.Module):
    """A comparison of parameters, once, in front of those of the neurons in the same line; weights that it prunes."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = scaled(nn.Linear(5, 6)), scaled(nn.Linear(6, 4))
        self.layers = nn.ModuleList([Lif(), Lif()])

    def forward(self, x: Tensor) -> Tensor:
        for one in self.layers:
            one.v = None
        kept = self.a.weight * fire(self.a.weight.abs(), 0.2)
        y = self.layers[0](nn.functional.linear(x, kept, self.a.bias))
        return self.layers[1](self.b(y))


class Nested(nn.Module):
    """A layer that calls its neuron by itself, and one neuron module that holds two layers in one line."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = scaled(nn.Linear(5, 6)), scaled(nn.Linear(6, 6))
        self.pair = Pair()

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.pair(torch.stack([self.a(x), self.b(torch.relu(self.a(x)))], -1).unbind(-1))
        return torch.cat([a, b], -1)


class Pair(nn.Module):
    def forward(self, currents: tuple[Tensor, ...]) -> list[Tensor]:
        states = [torch.zeros_like(one[0]) for one in currents]
        sent: list[list[Tensor]] = [[] for _ in currents]
        for step in zip(*currents, strict=True):
            for place, current in enumerate(step):
                v = 0.8 * states[place] + current
                sent[place].append(fire(v, 0.5))
                states[place] = v * (1 - sent[place][-1])
        return [torch.stack(one) for one in sent]


def exported(net: nn.Module, x: np.ndarray, folder: Path, axis: Any) -> Exported:
    made = export_proven(net.eval(), x, None, folder / "net.nir", time_axis=axis)
    assert all(pair.verdict == "equal" for pair in made.pairs), [(p.first, p.verdict) for p in made.pairs]
    return made


def sample(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).random(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("kind", "shape", "axis", "layers"),
    [
        (Joined, (B, 1, 4, 4), "none", {"lif1", "lif2", "lif3"}),
        (Layouts, (T, B, 5), 0, {"neuron", "neuron_2", "neuron_3"}),
        (Masked, (T, B, 5), 0, {"layers.0", "layers.1"}),
        (Nested, (T, B, 5), 0, {"pair", "pair_2"}),
    ],
)
def test_every_layer_is_compared(
    kind: type[nn.Module], shape: tuple[int, ...], axis: Any, layers: set[str], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    made = exported(kind(), sample(*shape), tmp_path, axis)
    compared = next(pair for pair in made.pairs if pair.first == "torch").per_layer
    assert set(compared) == layers
    assert all(spikes and not different for spikes, _, different in compared.values()), compared
