"""Attention and gates as people write them, one form each; what must not be left to a host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import snntorch
import torch
from spikingjelly.activation_based import layer, neuron
from torch import Tensor, nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.verify.export_proof import Exported, export_proven

IMAGES = (np.random.default_rng(0).random((4, 2, 3, 4, 4)) < 0.5).astype(np.float32)
TOKENS = (np.random.default_rng(1).random((4, 2, 5, 6)) < 0.5).astype(np.float32)
VECTORS = (np.random.default_rng(2).random((4, 3, 6)) < 0.5).astype(np.float32)


class Between(nn.Module):
    """Neurons, something between, neurons."""

    def __init__(self, size: int, function: Callable[[Between, Tensor], Tensor], image: bool = False, **parts: Any):
        super().__init__()
        self.function, self.image = function, image
        self.first = nn.Conv2d(3, size, 3, padding=1) if image else nn.Linear(6, size)
        self.n1, self.n2 = (neuron.LIFNode(v_threshold=0.4, step_mode="m") for _ in range(2))
        self.parts = nn.ModuleDict(parts)
        with torch.no_grad():
            self.first.weight.mul_(3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x.flatten(0, 1)).unflatten(0, x.shape[:2]) if self.image else self.first(x)
        return self.n2(self.function(self, self.n1(y)) * 2)


def with_class_token(net: Between, y: Tensor) -> Tensor:
    token = net.parts["token"].weight[None, None].expand(*y.shape[:2], -1, -1)
    z = torch.cat([token, y], 2)
    return (z @ z.transpose(-1, -2) * 0.3).softmax(-1) @ z


def filled(net: Between, y: Tensor) -> Tensor:
    gate = torch.sigmoid(net.parts["look"](y)).clone()
    gate[..., :2] = 1.0
    return y * gate


FORMS: dict[str, tuple[Callable[[], nn.Module], np.ndarray, tuple[str, ...]]] = {
    "SpikingJelly's temporal attention": (
        lambda: Between(8, lambda n, y: n.parts["att"](y), True, att=layer.TemporalWiseAttention(4, 2)), IMAGES,
        ("phase",),
    ),
    "SpikingJelly's attention of steps, channels and places": (
        lambda: Between(8, lambda n, y: n.parts["att"](y), True,
                        att=layer.MultiDimensionalAttention(T=4, C=8, reduction_t=2, reduction_c=2)), IMAGES, ("phase",)
    ),
    "a class token": (lambda: Between(6, with_class_token, token=nn.Embedding(1, 6)), TOKENS, ("step",)),
    "torch's attention over tokens": (
        lambda: Between(6, lambda n, y: torch.stack([n.parts["att"](s, s, s, need_weights=False)[0] for s in y]),
                        att=nn.MultiheadAttention(6, 2, batch_first=True)), TOKENS, ("step",)
    ),
    "causal attention over time": (
        lambda: Between(6, lambda n, y: torch.nn.functional.scaled_dot_product_attention(
            y.transpose(0, 1), y.transpose(0, 1), y.transpose(0, 1), is_causal=True).transpose(0, 1)), VECTORS,
        ("phase",),
    ),
    "what the future brings": (lambda: Between(6, lambda n, y: y.flip(0) * 0.7), VECTORS, ("phase",)),
    "a constant written into a gate": (lambda: Between(6, filled, look=nn.Linear(6, 6)), VECTORS, ("step",)),
    "a choice by a sum of spikes": (
        lambda: Between(6, lambda n, y: torch.where(y.sum(-1, keepdim=True) >= 2, y * torch.sigmoid(n.parts["g"](y)),
                                                    y), g=nn.Linear(6, 6)), VECTORS, ("step",)
    ),
    "bilinear forms of steps and channels": (
        lambda: Between(6, lambda n, y: y * torch.einsum("tb,bc->tbc", y.mean(2).softmax(0), y.mean(0))), VECTORS,
        ("phase",),
    ),
}  # fmt: skip


def exported(net: nn.Module, x: np.ndarray, tmp_path: Path, axis: Any = 0) -> Exported:
    made = export_proven(net.eval(), x, None, tmp_path / "net.nir", time_axis=axis)
    assert all(pair.passed or pair.verdict == "silent" for pair in made.pairs)
    assert any(pair.verdict == "equal" and pair.spikes[0] > 0 for pair in made.pairs)
    return made


def schedules(made: Exported) -> tuple[str, ...]:
    nodes = made.captured.graph.nodes.values()
    return tuple(node.when for node in nodes if type(node).__name__ == "HostStage")


BACKWARDS: dict[str, Callable[[Tensor], Tensor]] = {
    "reversed": lambda y: y.flip(0),
    "one step early": lambda y: torch.roll(y, -1, 0),
    "the last step in all": lambda y: y + y[-1],
}


@pytest.mark.parametrize("name", BACKWARDS)
def test_what_is_not_there_yet_comes_between_phases(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    assert schedules(exported(Between(6, lambda net, y: BACKWARDS[name](y)), VECTORS, tmp_path)) == ("phase",)


def test_with_the_least_work_a_mean_over_places_is_the_chips(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Between(
        6, lambda net, y: y * torch.sigmoid(net.parts["mix"](y.mean((2, 3, 4)).T)).T[..., None, None, None], True,
        mix=nn.Linear(4, 4),
    )  # fmt: skip
    made = export_proven(net.eval(), IMAGES, None, tmp_path / "net.nir", time_axis=0, host="work")
    (stage,) = (node for node in made.captured.graph.nodes.values() if type(node).__name__ == "HostStage")
    assert '"potential"' in stage.takes


@pytest.mark.parametrize("name", FORMS)
def test_a_form_is_cut_and_proven(name: str, tmp_path: Path) -> None:
    make, x, expected = FORMS[name]
    torch.manual_seed(0)
    assert schedules(exported(make(), x, tmp_path)) == expected


class Encoded(nn.Module):
    """An encoder that weighs the steps of a static image (gated attention coding)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.steps, self.n = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 4), neuron.LIFNode(step_mode="m")

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)[None].repeat(4, 1, 1, 1, 1) * 4
        weights = torch.sigmoid(self.steps(y.mean((2, 3, 4)).T)).T
        return self.n(y * weights[..., None, None, None])


def test_an_encoder_of_a_static_image_runs_before_the_first_step(tmp_path: Path) -> None:
    torch.manual_seed(0)
    assert schedules(exported(Encoded(), IMAGES[0], tmp_path, "none")) == ("before",)


class Fed(nn.Module):
    """Attention over time, then a loop whose gate is made by the spikes of the step before."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.gate = nn.Linear(6, 6), nn.Linear(6, 6)
        self.n1, self.n2 = (snntorch.Leaky(beta=0.8, threshold=0.3) for _ in range(2))

    def run(self, n: nn.Module, x: Tensor, gated: bool) -> Tensor:
        v, before, sent = n.init_leaky(), torch.zeros_like(x[0]), []
        for step in x:
            before, v = n(step * torch.sigmoid(self.gate(before)) * 2 if gated else step, v)
            sent.append(before)
        return torch.stack(sent)

    def forward(self, x: Tensor) -> Tensor:
        a = self.run(self.n1, self.first(x) * 3, False).transpose(0, 1)
        mixed = ((a @ a.transpose(1, 2)).softmax(-1) @ a).transpose(0, 1)
        return self.run(self.n2, mixed, True)


def test_a_gate_that_loops_behind_a_phase_waits_for_no_phase(tmp_path: Path) -> None:
    torch.manual_seed(0)
    assert sorted(schedules(exported(Fed(), VECTORS, tmp_path))) == ["phase", "step"]


class ByHand(nn.Module):
    """Layers written by hand, the second behind a gate by the mean over time; its neurons are no work for a host."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.gate, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def lif(self, x: Tensor) -> Tensor:
        v, sent = torch.zeros_like(x[0]), []
        for step in x:
            v = v * 0.8 + step
            z = (v >= 0.5).to(x.dtype)
            v = v * (1 - z)
            sent.append(z)
        return torch.stack(sent)

    def forward(self, x: Tensor) -> Tensor:
        a = self.lif(self.first(x))
        return self.head(self.lif(a * torch.sigmoid(self.gate(a.mean(0))))).mean(0)


def test_neurons_are_no_work_for_a_host(tmp_path: Path) -> None:
    torch.manual_seed(0)
    with pytest.raises(UnsupportedError, match=r"what is carried from step to step cannot be told|not understood"):
        export_proven(ByHand().eval(), VECTORS, None, tmp_path / "net.nir", time_axis=0)
    assert list(tmp_path.iterdir()) == []
