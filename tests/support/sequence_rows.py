"""How torch networks take time, row by row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import norse.torch as norse
import sinabs.layers as sl
import snntorch as snn
import torch
from snntorch import spikegen
from spikingjelly.activation_based import functional, layer, neuron
from torch import Tensor, nn

from .torch_networks import BATCH, STEPS, Whole

INPUTS, HIDDEN, OUTPUTS = 6, 7, 5
TIME_FIRST, BATCH_FIRST = (STEPS, BATCH, INPUTS), (BATCH, STEPS, INPUTS)


class Loop(nn.Module):
    """snnTorch: a loop over time with the states in its hands; ``code`` is a step, ``behind`` what is returned."""

    def __init__(self, code: Callable[..., Any] | None = None, behind: Callable[..., Any] | None = None) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(INPUTS, HIDDEN), nn.Linear(HIDDEN, OUTPUTS)
        self.back = nn.Linear(OUTPUTS, HIDDEN)
        self.lif1, self.lif2 = snn.Leaky(0.7, threshold=0.6), snn.Leaky(0.8, threshold=0.6)
        self.code, self.behind = code or plain, behind or (lambda spikes, mems: spikes)

    def forward(self, x: Tensor) -> Any:
        states = {"one": self.lif1.init_leaky(), "two": self.lif2.init_leaky()}
        spikes, mems = [], []
        for t in range(len(x)):
            sent = self.code(self, x[t], states, t)
            spikes.append(sent)
            mems.append(states["two"])
        return self.behind(torch.stack(spikes), torch.stack(mems))


def plain(net: Any, x: Tensor, states: dict[str, Tensor], t: int) -> Tensor:
    hidden, states["one"] = net.lif1(net.fc1(x), states["one"])
    sent, states["two"] = net.lif2(net.fc2(hidden), states["two"])
    return sent


def earlier(net: Any, x: Tensor, states: dict[str, Tensor], t: int) -> Tensor:
    """What it sent in the step before comes back."""
    before = states.get("sent", torch.zeros(x.shape[0], OUTPUTS, dtype=x.dtype))
    hidden, states["one"] = net.lif1(net.fc1(x) + net.back(before), states["one"])
    states["sent"], states["two"] = net.lif2(net.fc2(hidden), states["two"])
    return states["sent"]


def set_back(net: Any, x: Tensor, states: dict[str, Tensor], t: int) -> Tensor:
    if t == 1:
        states["one"] = torch.zeros_like(states["one"])
    return plain(net, x, states, t)


def scaled_state(net: Any, x: Tensor, states: dict[str, Tensor], t: int) -> Tensor:
    states["one"] = 0.5 * states["one"]
    return plain(net, x, states, t)


def some_steps(net: Any, x: Tensor, states: dict[str, Tensor], t: int) -> Tensor:
    return plain(net, x if t % 2 else torch.zeros_like(x), states, t)


def weighted(net: Any, x: Tensor, states: dict[str, Tensor], t: int) -> Tensor:
    return plain(net, x * (1 + 0.2 * t), states, t)


def noisy(net: Any, x: Tensor, states: dict[str, Tensor], t: int) -> Tensor:
    hidden, states["one"] = net.lif1(net.fc1(x), states["one"])
    sent, states["two"] = net.lif2(net.fc2(hidden + torch.randn_like(hidden)), states["two"])
    return sent


def membrane(net: Any, x: Tensor, states: dict[str, Tensor], t: int) -> Tensor:
    """A potential, not a spike, goes on."""
    _, states["one"] = net.lif1(net.fc1(x), states["one"])
    sent, states["two"] = net.lif2(net.fc2(states["one"]), states["two"])
    return sent


class Twice(nn.Module):
    """One neuron module in two places, with two states."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.lif = nn.Linear(INPUTS, HIDDEN), nn.Linear(HIDDEN, OUTPUTS), snn.Leaky(0.7, 0.6)

    def forward(self, x: Tensor) -> Tensor:
        one, two, sent = self.lif.init_leaky(), self.lif.init_leaky(), []
        for step in x:
            hidden, one = self.lif(self.fc1(step), one)
            spikes, two = self.lif(self.fc2(hidden), two)
            sent.append(spikes)
        return torch.stack(sent)


class Norse(nn.Module):
    """norse: cells that take and return their state; a read-out."""

    def __init__(self, dim: int = 0) -> None:
        super().__init__()
        self.fc1, self.fc2, self.dim = nn.Linear(INPUTS, HIDDEN), nn.Linear(HIDDEN, OUTPUTS), dim
        self.lif, self.li = norse.LIFBoxCell(norse.LIFBoxParameters(torch.tensor(300.0))), norse.LIBoxCell()

    def forward(self, x: Tensor) -> Tensor:
        one = two = None
        out = []
        for t in range(x.shape[self.dim]):
            spikes, one = self.lif(5 * self.fc1(x.select(self.dim, t)), one)
            potential, two = self.li(self.fc2(spikes), two)
            out.append(potential)
        return torch.stack(out, self.dim)


class Folded(nn.Module):
    """SpikingJelly's multi-step neurons between layers on ``[time * batch, ...]``."""

    def __init__(self, seq: bool = False, behind: Callable[[Tensor], Any] = lambda y: y) -> None:
        super().__init__()
        self.fc1, self.fc2, self.seq, self.behind = nn.Linear(INPUTS, HIDDEN), nn.Linear(HIDDEN, OUTPUTS), seq, behind
        self.n1, self.n2 = (neuron.LIFNode(tau=1.5, v_threshold=0.6, step_mode="m") for _ in range(2))

    def forward(self, x: Tensor) -> Any:
        functional.reset_net(self)
        first = self.fc1(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return self.behind(self.n2(self.fc2(self.n1(first).flatten(0, 1)).unflatten(0, x.shape[:2])))


class Repeated(nn.Module):
    """A static input, given in every step; or spikes drawn from it."""

    def __init__(self, drawn: bool = False) -> None:
        super().__init__()
        self.loop, self.drawn = Loop(), drawn

    def forward(self, x: Tensor) -> Tensor:
        x = spikegen.rate(x, num_steps=STEPS) if self.drawn else x.repeat(STEPS, 1, 1)
        return self.loop(x).sum(0)


class Unread(nn.Module):
    """A last layer without neurons."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.lif = nn.Linear(INPUTS, HIDDEN), nn.Linear(HIDDEN, OUTPUTS), snn.Leaky(0.7, 0.6)

    def forward(self, x: Tensor) -> Tensor:
        state, out = self.lif.init_leaky(), []
        for step in x:
            spikes, state = self.lif(self.fc1(step), state)
            out.append(self.fc2(spikes))
        return torch.stack(out).mean(0)


class Pooled(Loop):
    """Neighbouring steps are added up in front of the neurons."""

    def forward(self, x: Tensor) -> Any:
        return super().forward(x + x.roll(1, 0))


def batch_first() -> nn.Module:
    return nn.Sequential(
        nn.Linear(INPUTS, HIDDEN), sl.LIF(tau_mem=8.0, norm_input=False), nn.Linear(HIDDEN, OUTPUTS), sl.IAF()
    )


def multi_step() -> nn.Module:
    net = nn.Sequential(
        layer.Linear(INPUTS, HIDDEN), neuron.LIFNode(v_threshold=0.6), layer.Linear(HIDDEN, OUTPUTS),
        neuron.IFNode(),
    )  # fmt: skip
    functional.set_step_mode(net, "m")
    return net


def loop(code: Callable[..., Any] | None = None, behind: Callable[..., Any] | None = None) -> Whole:
    return Whole(lambda: Loop(code, behind), TIME_FIRST, 0)


SEQUENCES: Mapping[str, Whole] = {
    "snnTorch: a loop over `[time, batch, ...]`": loop(),
    "norse: a loop with states, `[batch, time, ...]`": Whole(lambda: Norse(1), BATCH_FIRST, 1),
    "norse: a loop with states, `[batch, ..., time]`": Whole(lambda: Norse(-1), (BATCH, INPUTS, STEPS), -1),
    "sinabs: `Sequential` on `[batch, time, ...]`": Whole(batch_first, BATCH_FIRST, 1),
    "SpikingJelly: multi-step `Sequential`": Whole(multi_step, TIME_FIRST, 0),
    "layers on `[time * batch, ...]`": Whole(Folded, TIME_FIRST, 0),
    "a static input, repeated": Whole(Repeated, (BATCH, INPUTS), "none"),
    "a static input, drawn as spikes (`spikegen.rate`)": Whole(lambda: Repeated(True), (BATCH, INPUTS), "none"),
    "one neuron module in two places, two states": Whole(Twice, TIME_FIRST, 0),
    "values of the step before": loop(earlier),
    "a last layer without neurons": Whole(Unread, TIME_FIRST, 0),
    "read by the sum, the largest, the last, and `softmax` of the mean over time": loop(
        None, lambda spikes, mems: (spikes.sum(0), spikes.amax(0), spikes[-1], spikes.mean(0).softmax(1))
    ),
    "read by potentials, and spikes": loop(None, lambda spikes, mems: (mems, spikes)),
    "a state set back in one step": loop(set_back),
    "a state that is scaled": loop(scaled_state),
    "an input in some steps only": loop(some_steps),
    "weights that depend on the step": loop(weighted),
    "noise between layers, in every step": loop(noisy),
    "a potential that goes on to weights": loop(membrane),
    "steps that are joined": Whole(Pooled, TIME_FIRST, 0),
}
"""Row -> network."""
