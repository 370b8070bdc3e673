"""Neurons that are written by hand: what is written is what the file computes, or it is refused by its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from neurodeploy.errors import NeurodeployError, UnsupportedError
from neurodeploy.exporters.sequence.rule import Rule, crossing, found_rule
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.metadata import section_of
from neurodeploy.verify.export_proof import Exported, export_proven
from tests.user_models.by_hand import by_hand
from tests.user_models.judge import judge

T, B, N, M = 7, 2, 6, 5


def sample(*shape: int, seed: int = 1) -> np.ndarray:
    return (np.random.default_rng(seed).random(shape) < 0.5).astype(np.float32)


def exported(net: nn.Module, x: np.ndarray, folder: Path, axis: Any) -> Exported:
    made = export_proven(net.eval(), x, None, folder / "net.nir", time_axis=axis)
    assert all(pair.verdict == "equal" for pair in made.pairs), [(p.first, p.verdict) for p in made.pairs]
    assert any(pair.first == "torch" and pair.spikes[0] for pair in made.pairs)
    return made


class Fire(torch.autograd.Function):
    """A spike with a surrogate gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, width: float) -> Tensor:
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)


def mem_update(op: nn.Module, x: Tensor, mem: Tensor, spike: Tensor) -> tuple[Tensor, Tensor]:
    mem = mem * 0.6 * (1 - spike) + op(x)
    return mem, torch.gt(mem, 0.5).float()


class Functional(nn.Module):
    """One function for two layers, one line for both comparisons, states and spikes handed along."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(N, M), nn.Linear(M, M)

    def forward(self, x: Tensor) -> Tensor:
        mem0 = spike0 = mem1 = spike1 = torch.zeros(x.shape[1], M)
        total: Any = 0
        for step in x:
            mem0, spike0 = mem_update(self.a, 2 * step, mem0, spike0)
            mem1, spike1 = mem_update(self.b, 4 * spike0, mem1, spike1)
            total = total + spike1
        return total / len(x)


class Update(nn.Module):
    """A step on ``x`` and the states, over a whole sequence ``[time, batch, ...]``."""

    def __init__(self, step: Callable[..., tuple[Tensor, ...]], *first: Any, potentials: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.step, self.first, self.potentials = nn.Linear(N, M), step, first, potentials
        self.fc.weight.data *= 3
        self.own = nn.Parameter(torch.rand(M))

    def forward(self, x: Tensor) -> Any:
        states, out, potentials = self.first, [], []
        for now in self.fc(x):
            s, *states = self.step(now, *states, self.own)
            out.append(s)
            potentials.append(states[0])
        return (torch.stack(out), torch.stack(potentials)) if self.potentials else torch.stack(out)


def lif(x: Any, v: Any, own: Any) -> Any:
    v = v + (x - v) / 2.0
    s = Fire.apply(v - 0.5, 1.0)
    return s, v * (1 - s)


def soft(x: Any, v: Any, own: Any) -> Any:
    v = torch.sigmoid(own) * v + x
    smooth = torch.sigmoid(4 * (v - own.exp()))
    s = ((v >= own.exp()).float() - smooth).detach() + smooth
    return s, v - s.detach() * own.exp()


def cuba(x: Any, v: Any, i: Any, own: Any) -> Any:
    i = 0.5 * i + x
    v = own.clamp(0.1, 0.9) * v + i
    s = torch.heaviside(v - 0.7, torch.zeros(1, dtype=v.dtype))
    return s, torch.where(s.bool(), torch.full_like(v, 0.1), v), i


def gated(x: Any, v: Any, s: Any, own: Any) -> Any:
    v = (0.8 * v + x) * (1 - s)
    s = torch.lt(torch.tensor(0.6), v).float()
    return s, v, s


def other_number(x: Any, v: Any, own: Any) -> Any:
    v = 0.9 * v + x
    s = torch.relu(torch.sign(v - 0.6))
    return s, v - 0.35 * s


def graded(x: Any, v: Any, own: Any) -> Any:
    v = v + x * own
    s = (v / 0.8 > 1).float() * own
    return s, v * (s == 0)


STEPS = {
    "lif": (lif, (0.0,)), "soft": (soft, (torch.full((B, M), 0.3),)), "cuba": (cuba, (0.0, torch.zeros(B, M))),
    "gated": (gated, (0.0, 0.0)), "other number": (other_number, (0,)),
}  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
def test_steps_written_by_hand_are_exact(name: str, tmp_path: Path) -> None:
    step, first = STEPS[name]
    exported(Update(step, *first), sample(T, B, N), tmp_path, 0)


def test_one_function_for_several_layers(tmp_path: Path) -> None:
    made = exported(Functional(), sample(T, B, N), tmp_path, 0)
    assert {"neuron", "neuron_2"} <= set(made.captured.graph.nodes)
    compared = next(pair for pair in made.pairs if pair.first == "torch").per_layer
    assert all(spikes and not different for spikes, _, different in compared.values()), compared


@pytest.mark.parametrize("name", ["lif", "soft", "cuba"])
def test_potentials_are_part_of_the_answer(name: str, tmp_path: Path) -> None:
    """After the reset, as it is returned here."""
    step, first = STEPS[name]
    made = exported(Update(step, *first, potentials=True), sample(T, B, N), tmp_path, 0)
    assert made.captured.kept == (0, 1)


def test_potentials_before_the_reset(tmp_path: Path) -> None:
    def before(x: Any, v: Any, s: Any, own: Any) -> Any:
        v = 0.7 * v * (1 - s) + x
        s = (v > 0.5).float()
        return s, v, s

    made = exported(Update(before, 0.0, 0.0, potentials=True), sample(T, B, N), tmp_path, 0)
    assert made.captured.kept == (0, 1)
    assert section_of(nir_file.read(tmp_path / "net.nir").graph.nodes["neuron"])["reset_time"] == "next"


class Squares(nn.Module):
    """No linear neuron in front of one that is; what is before the first step is asked for in each of many steps."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(N, M), nn.Linear(M, M)

    def forward(self, x: Tensor) -> Tensor:
        v, u, out = torch.zeros(B, M), torch.zeros(B, M), []
        for now in x:
            v = v + 0.1 * v * (v - 1) + self.a(now)
            s = (v > 0.5).to(v.dtype)
            v = v * (1 - s)
            u = 0.9 * u + self.b(s)
            z = (u > 0.3).to(u.dtype)
            u = u * (1 - z)
            out.append(z)
        return torch.stack(out)


def test_a_refusal_takes_no_time_that_doubles_with_each_step() -> None:
    with pytest.raises(UnsupportedError, match="not linear in the last one"):
        export_proven(Squares().eval(), sample(24, B, N), None, Path("never.nir"), time_axis=0)


class Layer(nn.Module):
    """Soft reset over ``[time, batch, ...]``."""

    def forward(self, x: Tensor) -> Tensor:
        v, out = torch.zeros_like(x[0]), []
        for now in x:
            v = 0.75 * v + now
            s = (v > 0.5).float()
            v = v - 0.5 * s
            out.append(s)
        return torch.stack(out)


def test_layers_without_weights_between_them_and_one_layer_at_two_places(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer = Layer()
    first, second = nn.Linear(N, M), nn.Linear(M, M)
    for one in (first, second):
        one.weight.data *= 3

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.layer, self.other = first, second, layer, Layer()

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(self.second(0.7 * self.other(self.layer(self.first(x)))))

    made = exported(Net(), sample(T, B, N), tmp_path, 0)
    assert {"layer", "layer_2", "other"} <= set(made.captured.graph.nodes)


class Attributes(nn.Module):
    """States in attributes; one step a call."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.mem, self.threshold = nn.Linear(N, M), None, nn.Parameter(torch.rand(M) + 0.2)
        self.fc.weight.data *= 3

    def forward(self, x: Tensor) -> Tensor:
        if self.mem is None:
            self.mem = 0.5 * self.threshold * torch.ones(len(x), M)
        self.mem = 0.9 * self.mem + self.fc(x)
        spike = (self.mem >= self.threshold).float()
        self.mem = self.mem - spike * self.threshold
        return spike * self.threshold


def test_states_in_attributes_and_heights_of_spikes(tmp_path: Path) -> None:
    net = Attributes()
    made = exported(net, sample(T, B, N), tmp_path, "step")
    rules = section_of(made.captured.graph.nodes["neuron"])
    np.testing.assert_allclose(rules["v_initial"], 0.5 * net.threshold.detach().double(), rtol=1e-12)
    assert rules["comparison"] == ">="


def test_a_reset_is_known_though_no_recorded_step_spikes(tmp_path: Path) -> None:
    x = sample(12, B, N)
    x[:6] = 0
    net = Update(soft, 0.0)
    net.fc.bias.data.zero_()
    exported(net, x, tmp_path, 0)


def squares(x: Any, v: Any, own: Any) -> Any:
    v = 0.5 * v + x + 0.01 * v * v
    s = (v > 0.5).float()
    return s, v * (1 - s)


def clamped(x: Any, v: Any, own: Any) -> Any:
    v = (0.5 * v + x).clamp(max=2.0)
    s = (v > 0.5).float()
    return s, v * (1 - s)


def partly(x: Any, v: Any, own: Any) -> Any:
    v = 0.5 * v + x
    s = (v > 0.5).float()
    return s, v * (1 - 0.9 * s)


def half_at_threshold(x: Any, v: Any, own: Any) -> Any:
    v = 0.5 * v + x
    s = (torch.sign(v - 0.5) + 1) / 2
    return s, v * (1 - s)


def two_thresholds(x: Any, v: Any, own: Any) -> Any:
    v = 0.5 * v + x
    s = (v > 0.5).float()
    return s, torch.where(v > 0.75, torch.zeros_like(v), v)


def off_by_equality(x: Any, v: Any, own: Any) -> Any:
    v = 0.5 * v + x
    s = (v > 0.5).float()
    return s, torch.where(v >= 0.5, torch.zeros_like(v), v)


def adapts(x: Any, v: Any, a: Any, own: Any) -> Any:
    v = 0.5 * v + x
    s = (v > 0.5 + a).float()
    return s, v * (1 - s), 0.9 * a + 0.1 * s


ODD = {
    "squares": (squares, (0.0,), "not linear"), "clamped": (clamped, (0.0,), "not linear"),
    "partly": (partly, (0.0,), "leaves a part"), "half": (half_at_threshold, (0.0,), "at the threshold itself"),
    "two": (two_thresholds, (0.0,), "another threshold"), "equality": (off_by_equality, (0.0,), "another threshold"),
    "adapts": (adapts, (0.0, torch.zeros(B, M)), "compared"),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_what_is_no_neuron_of_ours_is_refused_by_its_line(name: str, tmp_path: Path) -> None:
    step, first, said = ODD[name]
    with pytest.raises(UnsupportedError) as refusal:
        export_proven(Update(step, *first).eval(), sample(T, B, N), None, tmp_path / "net.nir", time_axis=0)
    assert str(refusal.value).startswith("test_by_hand.py:")
    assert said in f"{refusal.value.what} {refusal.value.found}"
    assert not (tmp_path / "net.nir").exists()


def test_heights_that_switch_a_reset_are_exact_or_refused(tmp_path: Path) -> None:
    """``s == 0`` compares a spike of another height."""
    try:
        exported(Update(graded, 0.0), sample(T, B, N), tmp_path, 0)
    except NeurodeployError:
        assert not (tmp_path / "net.nir").exists()


numbers = st.floats(0.05, 0.95)


@settings(max_examples=30, deadline=None)
@given(
    keep=numbers, gain=st.floats(0.1, 3), bias=st.floats(-1, 1), threshold=st.floats(0.1, 2), current=st.booleans(),
    reset=st.sampled_from((("none", "now"), ("subtract", "now"), ("subtract", "next"), ("hard", "now"),
                           ("hard", "gate"))),
    to=st.floats(-1, 1), forgets=st.booleans(),
)  # fmt: skip
def test_a_rule_is_found_from_what_it_does(
    keep: float, gain: float, bias: float, threshold: float, current: bool, reset: Any, to: float, forgets: bool
) -> None:
    full = lambda value: np.full((3,), value)  # noqa: E731
    forgets = forgets and current and reset == ("hard", "now")
    rule = Rule(
        full(keep), (full(gain),), full(bias), full(threshold), ">", *reset, reset_to=full(to),
        keep_current=full(0.5) if current else None, bias_current=full(0.0) if current else None, reset_current=forgets,
    )  # fmt: skip

    def update(states: list[Any], z: Any, drives: list[Any]) -> list[Any]:
        v, i, _ = rule.advanced(states[0], states[1] if current else 0 * states[0], z, drives)
        return [v, i] if current else [v]

    found = found_rule(update, 1 + current, 1, (3,), full(threshold), ">")
    rng = np.random.default_rng(0)
    v, i, x = rng.normal(size=(3, 20, 3))
    for z in (np.zeros((20, 3)), np.ones((20, 3))):
        for a, b in zip(rule.advanced(v, i, z, [x]), found.advanced(v, i, z, [x]), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(threshold=st.floats(-1e6, 1e6), strict=st.booleans())
def test_a_threshold_is_found_to_the_last_bit(threshold: float, strict: bool) -> None:
    outcome = lambda v: ((v > threshold) if strict else (v >= threshold)).astype(float)  # noqa: E731
    below, above, first, last = crossing(outcome, (2,))
    assert (first == 0).all() and (last == 1).all()
    assert ((below if strict else above) == threshold).all()
    assert (np.nextafter(below, np.inf) == above).all() or threshold == 0


@pytest.mark.parametrize("seed", [7])
def test_random_programs(seed: int, tmp_path: Path) -> None:
    made = by_hand(seed)
    found = judge(made, tmp_path)
    assert found.verdict == "exact" or (made.trap and found.verdict == "refused"), found.remark
