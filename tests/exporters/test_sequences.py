"""Whole sequences as one step: what forward returns comes from the file, whatever way its steps are written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import norse.torch as nt
import numpy as np
import pytest
import snntorch as snn
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from neurodeploy.errors import NeurodeployError, UnsupportedError
from neurodeploy.exporters import framework
from neurodeploy.exporters.sequence.capture import find_axis
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.answer import read
from neurodeploy.verify.export_proof import Exported, export_proven

T, B, N = 7, 3, 6


def spikes(*shape: int, seed: int = 1) -> np.ndarray:
    return (np.random.default_rng(seed).random(shape) < 0.5).astype(np.float32)


def exported(net: nn.Module, x: np.ndarray, folder: Path, axis: Any = None) -> Exported:
    made = export_proven(net.eval(), x, None, folder / "net.nir", time_axis=axis)
    assert all(pair.verdict == "equal" for pair in made.pairs), [(p.first, p.verdict) for p in made.pairs]
    return made


class Concatenated(nn.Module):
    """Recurrence by concatenation: the last spikes join the input."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.lif = nn.Linear(N + 4, 4), snn.Leaky(beta=0.8, threshold=0.3)

    def forward(self, x: Tensor) -> Tensor:
        mem, spk, out = self.lif.init_leaky(), torch.zeros(x.shape[1], 4), []
        for step in x:
            spk, mem = self.lif(self.fc(torch.cat([step, spk], 1)), mem)
            out.append(spk)
        return torch.stack(out)


class TopDown(nn.Module):
    """A later layer feeds back; nothing is there before the first step."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        p = nt.LIFParameters(v_th=torch.tensor(0.2))
        self.a, self.b, self.back = nn.Linear(N, 5), nn.Linear(5, 4), nn.Linear(4, 5, bias=False)
        self.n1, self.n2 = nt.LIFCell(p), nt.LIFCell(p)
        with torch.no_grad():
            self.a.weight.mul_(4), self.b.weight.mul_(6)

    def forward(self, x: Tensor) -> Tensor:
        s1 = s2 = z2 = None
        total: Any = 0
        for t in range(x.size(1)):
            current = self.a(x[:, t])
            if z2 is not None:
                current = current + self.back(z2)
            z1, s1 = self.n1(current, s1)
            z2, s2 = self.n2(self.b(z1), s2)
            total = total + z2
        return total / x.size(1)


class Late(nn.Module):
    """A delay of three steps inside a loop of layers, kept in a list."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.back = nn.Linear(N, 5), nn.Linear(5, 4), nn.Linear(4, 5, bias=False)
        self.n1, self.n2 = snn.Leaky(beta=0.8, threshold=0.3), snn.Leaky(beta=0.7, threshold=0.2)

    def forward(self, x: Tensor) -> Tensor:
        m1, m2 = self.n1.init_leaky(), self.n2.init_leaky()
        late, last, out = [torch.zeros(x.shape[1], 5)] * 3, torch.zeros(x.shape[1], 4), []
        for step in x:
            spk, m1 = self.n1(self.a(step) + self.back(last), m1)
            late = [*late[1:], spk]
            last, m2 = self.n2(self.b(late[0]), m2)
            out.append(last)
        return torch.stack(out, -1)


class Weighted(nn.Module):
    """A linear layer without neurons, its steps weighed; and the last step."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.out = nn.Linear(N, 8), nn.Linear(8, 3)
        self.lif = snn.Leaky(beta=0.8, threshold=0.3, init_hidden=True)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        self.lif.reset_mem()
        y = torch.stack([self.out(self.lif(self.fc(step))) for step in x.unbind(1)], 1)
        weight = torch.tensor([0.1 * (t + 1) for t in range(T)]).view(1, -1, 1)
        return {"weighed": (y * weight).sum(1), "last": y[:, -1].softmax(-1)}


class Groups(nn.Module):
    """A static input repeated; populations vote."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.lif = nn.Linear(N, 12), snn.Synaptic(alpha=0.7, beta=0.8, threshold=0.5)

    def forward(self, x: Tensor) -> Tensor:
        syn, mem = self.lif.init_synaptic()
        out = []
        for _ in range(T):
            spk, syn, mem = self.lif(self.fc(x), syn, mem)
            out.append(spk)
        return torch.stack(out, -1).view(len(x), 4, 3, T).sum((2, 3))


class Shared(nn.Module):
    """One neuron module with two states by hand, of layers of two sizes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.lif = nn.Linear(N, 5), nn.Linear(5, 4), snn.Leaky(beta=0.8, threshold=0.2)

    def forward(self, x: Tensor) -> Tensor:
        m1 = m2 = None
        m1, m2 = torch.zeros(x.shape[1], 5), torch.zeros(x.shape[1], 4)
        best = torch.full((x.shape[1], 4), -1e3)
        for step in x:
            spk, m1 = self.lif(self.a(step), m1)
            _, m2 = self.lif(self.b(spk), m2)
            best = torch.maximum(best, m2)
        return best


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], Any, str]] = {
    "concatenated": (Concatenated, (T, B, N), 0, "the spikes of lif"),
    "top down": (TopDown, (B, T, N), 1, "mean over time of the spikes of n2"),
    "late": (Late, (T, B, N), 0, "the spikes of n2, as [batch, 4, time]"),
    "weighted": (Weighted, (B, T, N), 1, "weighted sum over time of the potentials of out.read_out"),
    "groups": (Groups, (B, N), "none", "sum over time of the spikes of lif"),
}


@pytest.mark.parametrize("name", CASES)
def test_sequences_are_exported_as_they_are_written(name: str, tmp_path: Path) -> None:
    build, shape, axis, said = CASES[name]
    x = spikes(*shape)
    assert find_axis(build().eval(), x, framework.of(build())) == axis
    made = exported(build(), x, tmp_path)
    assert made.captured.usage.axis == axis
    assert made.captured.answer is not None
    assert made.captured.answer.described().startswith(said), made.captured.answer.described()


def test_a_neuron_with_two_states_is_two_layers(tmp_path: Path) -> None:
    made = exported(Shared(), spikes(T, B, N), tmp_path, 0)
    graph = made.captured.graph
    assert graph.nodes["lif"].v_threshold.shape == (5,)
    assert graph.nodes["lif_2"].v_threshold.shape == (4,)


class Listed(TopDown):
    """Every step is a value of its own."""

    def forward(self, x: Tensor) -> Any:
        s1 = s2 = None
        out = []
        for step in x:
            z1, s1 = self.n1(self.a(step), s1)
            z2, s2 = self.n2(self.b(z1), s2)
            out.append(z2)
        return out


def test_a_list_of_steps_is_scored_by_all_of_them(tmp_path: Path) -> None:
    x = spikes(T, B, N)
    made = exported(Listed(), x, tmp_path, 0)
    answer = made.captured.answer
    assert answer is not None
    assert len(answer.returned) == T
    with torch.no_grad():
        wanted = torch.stack(Listed().eval()(torch.from_numpy(x))).numpy()
    assert np.array_equal(answer.scores(lambda _: wanted), wanted.sum(0))


def test_a_longer_run_needs_no_longer_recording(tmp_path: Path) -> None:
    assert exported(TopDown(), spikes(2, 40, N), tmp_path).captured.recorded_steps == 5


class Odd(nn.Module):
    """Something is not the same in every step; ``what`` says what."""

    def __init__(self, what: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.what, self.fc, self.lif = what, nn.Linear(N, 5), snn.Leaky(beta=0.9, threshold=0.3)
        self.norms = nn.ModuleList(nn.BatchNorm1d(5) for _ in range(T))
        for t, norm in enumerate(self.norms):
            nn.init.constant_(norm.weight, 1 + t)

    def forward(self, x: Tensor) -> Tensor:
        mem, out = self.lif.init_leaky(), []
        for t in range(len(x)):
            current = self.fc(x[t])
            if self.what == "norms":
                current = self.norms[t](current)
            if self.what == "skipped" and t % 2:
                continue
            if self.what == "data" and current.sum() > 0:
                current = current * 2
            if self.what == "anew":
                mem = self.lif.init_leaky()
            spk, mem = self.lif(current, mem)
            if self.what == "clamped":
                mem = mem.clamp(min=0)
            if self.what == "membrane":
                spk = self.fc(x[t]) * mem
            out.append(spk)
        return torch.stack(out)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("norms", "time-dependent forward"),
        ("skipped", "not called once in each step"),
        ("data", "depends on the values of the data"),
        ("anew", "starts anew in every step"),
        ("clamped", "is changed between steps"),
    ],
)
def test_what_is_not_the_same_in_every_step_is_refused_by_its_line(what: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=said) as refused:
        export_proven(Odd(what).eval(), spikes(T, B, N), None, tmp_path / "net.nir", time_axis=0)
    assert refused.value.what.startswith("test_sequences.py:")
    assert not list(tmp_path.iterdir())


class Coded(nn.Module):
    """Spikes are drawn from a static input."""

    def __init__(self) -> None:
        super().__init__()
        self.net = TopDown()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(torch.bernoulli(x.unsqueeze(1).repeat(1, T, 1)))


def test_an_encoder_stays_on_the_host(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((B, N)).astype(np.float32)
    made = exported(Coded(), x, tmp_path, "none")
    assert made.captured.encoded
    assert set(np.unique(made.x)) <= {0.0, 1.0}


READS: dict[str, Callable[[Tensor], Tensor]] = {
    "stacked": lambda s: s,
    "sum": lambda s: s.sum(0),
    "mean": lambda s: s.mean(0),
    "max": lambda s: s.amax(0),
    "last": lambda s: s[-1],
    "votes": lambda s: s.view(*s.shape[:2], 2, 2).mean(-1).sum(0),
    "log": lambda s: torch.log_softmax(s.mean(0), -1),
    "late steps": lambda s: s[2:].sum(0),
}
LOOPS: dict[str, Callable[[Tensor], list[Tensor]]] = {
    "index": lambda x: [x[t] for t in range(len(x))],
    "unbind": lambda x: list(x.unbind(0)),
    "chunk": lambda x: [part.squeeze(0) for part in x.chunk(len(x), 0)],
    "flat": lambda x: list(x.flatten(0, 1).view(x.shape[0], x.shape[1], -1)),
    "turned": lambda x: list(x.permute(1, 2, 0).permute(2, 0, 1)),
}


class Random(nn.Module):
    """A loop, a read-out, and what goes before them, by name."""

    def __init__(self, loop: str, read: str, ahead: bool, prepared: bool, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.loop, self.read, self.ahead, self.prepared = loop, read, ahead, prepared
        self.fc, self.fc2 = nn.Linear(N, 6), nn.Linear(6, 4)
        self.lif, self.lif2 = snn.Leaky(beta=0.8, threshold=0.3), snn.Leaky(beta=0.9, threshold=0.2)

    def forward(self, x: Tensor) -> Tensor:
        if self.ahead:
            x = self.fc(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        m, m2, kept = self.lif.init_leaky(), self.lif2.init_leaky(), []
        out = torch.zeros(x.shape[0], x.shape[1], 4)
        for t, step in enumerate(LOOPS[self.loop](x)):
            spk, m = self.lif(step if self.ahead else self.fc(step), m)
            spk, m2 = self.lif2(self.fc2(spk), m2)
            out[t] = spk
            kept.append(spk)
        return READS[self.read](out if self.prepared else torch.stack(kept))


@given(st.sampled_from(sorted(LOOPS)), st.sampled_from(sorted(READS)), st.booleans(), st.booleans(), st.integers(0, 99))
@settings(max_examples=8, deadline=None)
def test_any_loop_with_any_read_out(
    tmp_path_factory: Any, loop: str, read: str, ahead: bool, prepared: bool, seed: int
) -> None:
    net = Random(loop, read, ahead, prepared, seed)
    x = spikes(T, B, N, seed=seed)
    made = export_proven(net.eval(), x, None, tmp_path_factory.mktemp("any") / "net.nir", time_axis=0)
    assert made.pairs[0].verdict == "equal"
    assert all(pair.passed for pair in made.pairs if pair.verdict != "silent")


class Blind(nn.Module):
    """Something that the sample alone does not show; ``what`` says what."""

    def __init__(self, what: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.what, self.fc, self.lif = what, nn.Linear(N, 5), snn.Leaky(beta=0.9, threshold=0.3)

    def forward(self, x: Tensor) -> Tensor:
        if self.what == "values":
            x = x / float(x.detach().numpy().max())
        if self.what == "samples":
            x = x * x.shape[1]
        mem, out = self.lif.init_leaky(), []
        for t in range(len(x)):
            if self.what == "reset" and t % 10 == 9:
                mem = self.lif.init_leaky()
            spk, mem = self.lif(self.fc(x[t]), mem)
            out.append(spk)
        y = torch.stack(out)
        if self.what == "order":
            y = y.flip(1)
        return y.sum(0) / 4 if self.what == "steps" else y


@pytest.mark.parametrize(
    ("what", "batch", "said"),
    [("values", 2, "values of the data"), ("samples", 2, "on other values"), ("order", 1, "on other values")],
)
def test_what_the_sample_does_not_show_is_looked_for(what: str, batch: int, said: str, tmp_path: Path) -> None:
    x = spikes(T, batch, N)
    with pytest.raises(NeurodeployError, match=said):
        export_proven(Blind(what).eval(), x, None, tmp_path / "net.nir", time_axis=0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("what", "steps"), [("steps", 4), ("reset", 8)])
def test_a_file_that_holds_for_some_steps_alone_says_so(what: str, steps: int, tmp_path: Path) -> None:
    made = export_proven(Blind(what).eval(), spikes(steps, B, N), None, tmp_path / "net.nir", time_axis=0)
    assert f"runs of {steps} steps alone" in made.notes[0]
    answer = read(nir_file.read(tmp_path / "net.nir"))
    assert answer is not None
    answer.check_steps(steps)
    with pytest.raises(NeurodeployError, match="another number of steps"):
        answer.check_steps(steps + 1)
