"""Networks whose neurons keep nothing: comparisons with constants, where there are no other neurons, are thresholds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.verify.export_proof import Exported, export_proven

T, B = 4, 3


class Fires(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x > 0.5).to(x.dtype)


class Images(nn.Module):
    """Two levels that hear each other, one object for all comparisons; images ``[batch, 1, 8, 8]``, one step."""

    def __init__(self) -> None:
        super().__init__()
        self.fires, self.stem, self.down = Fires(), nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 4, 3, 2, 1)
        self.up = nn.Sequential(nn.Conv2d(4, 3, 1), nn.Upsample(scale_factor=2, mode="nearest"))
        self.head = nn.Linear(4, 5)
        for layer in (self.stem, self.down, self.up[0], self.head):
            layer.weight.data *= 3  # type: ignore[operator]

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        high = self.down(self.fires(x))
        low = x + 0.5 * self.up(self.fires(high))
        high = 0.5 * high + self.down(self.fires(low))
        return self.head(self.fires(high).mean((2, 3)))


class Sequences(nn.Module):
    """``[time, batch, n]``, all steps in one call and comparison; spikes below a level of each neuron."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 5)
        self.level = nn.Parameter(torch.linspace(-0.3, 0.3, 8))

    def forward(self, x: Tensor) -> Tensor:
        y = (self.a(x.flatten(0, 1)) < self.level).to(x.dtype)
        z = torch.ge(self.b(y), 0.1).to(x.dtype).unflatten(0, x.shape[:2])
        return z.mean(0)


class Steps(nn.Module):
    """A step ``[batch, n]`` a call; a join of spikes among the comparisons."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        a, b = (3 * self.a(x) > 0).to(x.dtype), torch.lt(torch.tensor(0.2), self.b(x)).to(x.dtype)
        return ((self.c(((a + b) > 0.5).to(x.dtype))) > 0).to(x.dtype)


def exported(net: nn.Module, x: np.ndarray, folder: Path, axis: Any = None) -> Exported:
    made = export_proven(net.eval(), x, None, folder / "net.nir", time_axis=axis)
    assert all(pair.verdict == "equal" for pair in made.pairs), [(p.first, p.verdict) for p in made.pairs]
    return made


@pytest.mark.parametrize(
    ("kind", "shape", "axis", "layers"),
    [
        (Images, (B, 1, 8, 8), "none", {"fires": 192, "fires_2": 64, "fires_3": 192, "fires_4": 64}),
        (Sequences, (T, B, 6), 0, {"neuron": 8, "neuron_2": 5}),
        (Steps, (T, B, 6), "step", {"neuron": 6, "neuron_2": 6, "neuron_3": 6, "neuron_4": 4}),
    ],
)
def test_comparisons_are_the_neurons(
    kind: type[nn.Module], shape: tuple[int, ...], axis: Any, layers: dict[str, int], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    made = exported(kind(), np.random.default_rng(1).random(shape).astype(np.float32), tmp_path)
    assert made.captured.usage.axis == axis
    nodes = {n: node for n, node in made.captured.graph.nodes.items() if isinstance(node, nir.Threshold)}
    assert {name: node.threshold.size for name, node in nodes.items()} == layers
    compared = next(pair for pair in made.pairs if pair.first == "torch").per_layer
    assert set(compared) == set(layers)
    assert all(spikes and not different for spikes, _, different in compared.values()), compared


def test_a_network_without_comparisons_has_no_neurons(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="no neurons"):
        exported(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), np.ones((B, 1, 8, 8), np.float32), tmp_path)
