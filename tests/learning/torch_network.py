"""A float `Network` in torch, step by step as `neurodeploy.network.neurons` says it; MPD-ED's gradients by autograd.

Dense matrices, one sample at a time, plain loops: what `neurodeploy.hwsim.event_learning.program` is held to. A spike
is a step function forwards, and backwards the triangle where a spike was; resets are not differentiated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurodeploy.network.connectivity import with_weights
from neurodeploy.network.network import Network, Population, Projection

DOUBLE = torch.float64


class _Spike(torch.autograd.Function):
    """``min(floor(x), most)`` for ``x`` that crosses 1; the slope is that of the last crossing, at spikes alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, crossed: Tensor, most: int, width: float, shared: bool, awake: Tensor) -> Tensor:
        sent = crossed.to(x.dtype)
        if most > 1:
            sent = sent * x.trunc().clamp(max=most)
        ctx.save_for_backward(x, sent, awake)
        ctx.constants = width, shared
        return sent

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        x, sent, awake = ctx.saved_tensors
        width, shared = ctx.constants
        if shared:
            slope = torch.where(sent > 0, 1 / x, torch.zeros_like(x))
        else:
            slope = (sent > 0) * (width - (x - (sent - 1) - 1).abs()).clamp(min=0) / width**2
            highest = awake * (width - (x - 1).abs()).clamp(min=0) / width**2
            slope = slope + highest * (gradients[0] < 0)
        return gradients[0] * slope, None, None, None, None, None


class TorchNetwork:
    """See the module's docstring.

    Args:
        width: of the triangle.
        shared: populations that are maxima of spikes.
        read: populations whose spikes the answer reads: a silent neuron of theirs learns at its highest potential.
    """

    def __init__(
        self, network: Network, width: float = 1.0, shared: frozenset[str] = frozenset(),
        read: frozenset[str] = frozenset(),
    ) -> None:  # fmt: skip
        self.read = read
        self.network, self.width, self.shared = network, width, shared
        self.weights = {
            q.name: torch.tensor(np.asarray(q.connectivity.weights, np.float64), requires_grad=True)
            for q in network.projections
        }
        self.matrix = {q.name: _places(q) for q in network.projections}

    def _dense(self, q: Projection) -> Tensor:
        """``[targets, sources]`` of a projection's weights."""
        rows, columns, index = self.matrix[q.name]
        empty = torch.zeros(q.connectivity.outputs, q.connectivity.inputs, dtype=DOUBLE)
        return empty.index_put((rows, columns), self.weights[q.name].reshape(-1)[index], accumulate=True)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[tuple[str, str], Tensor]:
        """Spikes and potentials ``[steps, neurons]`` of one sample's inputs ``[steps, neurons]``."""
        self.awake: dict[str, Tensor] = {}
        with torch.no_grad():
            first = self._run(inputs)
        for name in self.read:
            level = first[name, "potential"] / torch.tensor(np.asarray(self.network.by_name[name].neuron.thresholds()))
            highest = torch.zeros_like(level)
            highest[level.argmax(dim=0), torch.arange(level.shape[1])] = 1.0
            self.awake[name] = highest * (first[name, "spikes"].sum(dim=0) == 0)
        return self._run(inputs)

    def _run(self, inputs: Mapping[str, np.ndarray]) -> dict[tuple[str, str], Tensor]:
        steps = len(next(iter(inputs.values())))
        dense = {q.name: self._dense(q) for q in self.network.projections}
        sent: dict[str, list[Tensor]] = {p.name: [] for p in self.network.populations}
        seen: dict[str, list[Tensor]] = {p.name: [] for p in self.network.populations}
        cells = {p.name: _Cell(p, self) for p in self.network.populations if not p.external}
        for t in range(steps):
            for p in self.network.populations:
                if p.external:
                    x = torch.tensor(np.asarray(inputs[p.name][t], np.float64))
                    sent[p.name].append(x)
                    continue
                arriving = torch.zeros(p.size, dtype=DOUBLE)
                for q in self.network.into(p.name):
                    if t >= q.delay:
                        arriving = arriving + dense[q.name] @ sent[q.source][t - q.delay]
                    if q.bias is not None and t >= q.bias_start:
                        arriving = arriving + torch.tensor(np.asarray(q.bias, np.float64))
                awake = self.awake[p.name][t] if p.name in self.awake else torch.zeros(p.size, dtype=DOUBLE)
                spikes, potential = cells[p.name].step(arriving, awake)
                sent[p.name].append(spikes)
                seen[p.name].append(potential)
        found = {(name, "spikes"): torch.stack(values) for name, values in sent.items() if values}
        return found | {(name, "potential"): torch.stack(values) for name, values in seen.items() if values}


class _Cell:
    """The neurons of a population."""

    def __init__(self, population: Population, owner: TorchNetwork) -> None:
        self.name, self.owner, self.neuron = population.name, owner, population.neuron
        of = lambda values: torch.tensor(np.asarray(values, np.float64))  # noqa: E731
        n = self.neuron
        self.du, self.dv, self.bias, self.theta = of(n.du), of(n.dv), of(n.bias), of(n.threshold)
        self.to, self.v = of(n.reset_to), of(n.initial)
        self.u = torch.zeros_like(self.v)

    def _crosses(self, v: Tensor) -> Tensor:
        return v >= self.theta if self.neuron.comparison == ">=" or self.neuron.max_spikes > 1 else v > self.theta

    def step(self, arriving: Tensor, awake: Tensor) -> tuple[Tensor, Tensor]:
        n = self.neuron
        before = self._crosses(self.v.detach()) if n.spiking else torch.zeros_like(self.v)
        self.u = (1 - self.du) * self.u + arriving
        v = (1 - self.dv) * self.v + self.u + self.bias
        r = before.to(DOUBLE)
        if n.spiking and n.reset == "hard" and n.reset_time == "next":
            v = torch.where(before, (1 - self.dv) * self.to + self.u + self.bias, v)
        elif n.spiking and n.reset == "hard" and n.reset_time == "gate":
            v = torch.where(before, self.to, v)
        elif n.spiking and n.reset == "subtract" and n.reset_time in ("next", "once"):
            v = v - self.theta * r
        if not n.spiking:
            self.v = v
            return torch.zeros_like(v), v
        crossed = self._crosses(v.detach())
        s = _Spike.apply(v / self.theta, crossed, n.max_spikes, self.owner.width, self.name in self.owner.shared, awake)  # type: ignore[no-untyped-call]
        if n.reset_time == "now" and n.reset == "hard":
            v = torch.where(crossed, self.to, v)
        elif n.reset_time == "now" and n.reset == "subtract":
            v = v - self.theta * s.detach()
        elif n.reset_time == "once":
            v = v - self.theta * (s.detach() - r)
        self.v = v
        return s, v


def _places(q: Projection) -> tuple[Tensor, Tensor, Tensor]:
    """Target, source and place among the weights of every synapse."""
    kind = q.connectivity
    numbered = with_weights(kind, np.arange(kind.weights.size, dtype=np.float64).reshape(kind.weights.shape)).listed()
    sources = np.repeat(np.arange(kind.inputs), np.diff(numbered.indptr))
    arrays = (numbered.targets, sources, numbered.weights)
    return tuple(torch.tensor(np.asarray(a, np.int64)) for a in arrays)  # type: ignore[return-value]
