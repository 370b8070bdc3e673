"""Weights by code that looks at values are constants; what depends on the data is none, whatever the samples show."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import snntorch as snn
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.exporters.sequence.capture import captures
from neurodeploy.exporters.snntorch import FRAMEWORK

X = (np.random.default_rng(1).random((7, 2, 6)) < 0.4).astype(np.float32)


class Part(nn.Module):
    """A function that looks, or does not look, at values."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function
        self.register_buffer("on", torch.ones(1))

    def forward(self, *given: Tensor) -> Tensor:
        return self.function(self, *given)


def rounded(part: Part, weight: Tensor) -> Tensor:
    """As fake quantisation: a graph of no operators alone."""
    return torch.round(weight * 16) / 16 if part.on[0] == 1 else weight


class Net(nn.Module):
    """Fake-quantised weights, and another part, which takes the layer's current or its spikes."""

    def __init__(self, function: Callable[..., Tensor], of_spikes: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.quantised, self.part, self.of_spikes = Part(rounded), Part(function), of_spikes
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 3)
        self.a, self.b = snn.Leaky(0.8, threshold=0.2), snn.Leaky(0.8, threshold=0.2)

    def forward(self, x: Tensor) -> Tensor:
        held, last, sent = self.a.init_leaky(), self.b.init_leaky(), []
        for now in x:
            current = F.linear(now, self.quantised(self.first.weight), self.first.bias)
            if not self.of_spikes:
                current = current * self.part(current)
            spikes, held = self.a(current, held)
            behind = self.second(spikes)
            if self.of_spikes:
                behind = behind - self.part(spikes)
            spikes, last = self.b(behind, last)
            sent.append(spikes)
        return torch.stack(sent)


def nodes(function: Callable[..., Tensor], of_spikes: bool) -> list[str]:
    found = next(captures(Net(function, of_spikes).eval(), X, 0, None, FRAMEWORK)).graph.nodes
    return [type(node).__name__ for node in found.values()]


LOOKING = {
    "far from the sample": lambda part, x: torch.tensor(0.5 if float(x.abs().max()) > 1e6 else 1.0),
    "a mean": lambda part, x: torch.tensor(0.5 if x.mean().item() > 50 else 1.0),
    "through NumPy": lambda part, x: torch.tensor(0.5 if x.detach().numpy().max() > 1e6 else 1.0),
    "through a list": lambda part, x: torch.tensor(0.5 if max(x.flatten().tolist()) > 1e6 else 1.0),
    "a view of a buffer": lambda part, x: part.on.clone().copy_((x.abs().amax() > 1e6).float().reshape(1)),
}


@pytest.mark.parametrize("name", LOOKING)
def test_what_depends_on_the_data_is_no_constant(name: str) -> None:
    with pytest.raises(UnsupportedError):
        nodes(LOOKING[name], of_spikes=False)


def test_a_veto_that_the_sample_never_sees_is_kept() -> None:
    kinds = nodes(lambda part, z: (z.sum(1, keepdim=True) > 7.5).to(z.dtype), of_spikes=True)
    assert "Threshold" in kinds


def test_weights_by_code_that_looks_at_buffers_are_constants() -> None:
    kinds = nodes(lambda part, x: torch.tensor(0.5) if part.on[0] == 1 else x, of_spikes=False)
    assert sorted(kinds) == ["Affine", "Affine", "Input", "LIF", "LIF", "Output", "Scale"]
