"""An integer network in torch: the exact integers forward, a gradient backward.

Forward every number is the integer that `neurodeploy.backends.reference.run` computes, held in float64 (all stay far
below 2^53). Backward every rounding is taken as the identity (the *straight-through* estimator of Bengio et al., arXiv
1308.3432), so that the gradient is that of

    u <- u (4095 - du) / 4096 + 64 * 2^e W s ;    v <- v (4096 - dv) / 4096 + u + bias ;    s = v > theta

with the fast sigmoid's derivative ``1 / (1 + |k (v - theta) / theta|)^2 / theta`` for that of the spike (Zenke and
Ganguli, Neural Computation 30(6), 2018). No gradient flows through resets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurodeploy.network import loihi_ranges
from neurodeploy.network.connectivity import Conv2d, Dense, with_weights
from neurodeploy.network.dispatch import expect
from neurodeploy.network.expressions import Port
from neurodeploy.network.join import PORT
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif
from neurodeploy.network.registers import LOIHI, Registers

from ..quantise.scaling import Grid

STATE = float(1 << 23)
STEEPNESS = 20.0
"""k of the surrogate gradient."""


@dataclass(frozen=True, eq=False)
class Synapses:
    """Weights of one projection, in steps of its grid: whole numbers with a gradient."""

    projection: Projection
    grid: Grid
    steps: Tensor


class Weights:
    """All weights of an integer network as one long row that can be moved by steps."""

    def __init__(self, network: Network, registers: Registers = LOIHI) -> None:
        self._network = network
        self.synapses: dict[str, Synapses] = {}
        for projection in network.projections:
            kind = projection.connectivity
            grid = Grid.of(kind, kind.exponent, registers)
            steps = torch.from_numpy(kind.weights / float(grid.step)).requires_grad_()
            self.synapses[projection.name] = Synapses(projection, grid, steps)
        rows = [s.steps.detach().flatten() for s in self.synapses.values()]
        # A zero stays zero: it may be a synapse that does not exist.
        self._present = torch.cat([row != 0 for row in rows])
        grids = [(s.grid, s.steps.numel()) for s in self.synapses.values()]
        self._low = torch.cat([torch.full((n,), g.low // g.step, dtype=torch.float64) for g, n in grids])
        self._high = torch.cat([torch.full((n,), g.high // g.step, dtype=torch.float64) for g, n in grids])
        self._row = torch.cat(rows)

    @property
    def count(self) -> int:
        """Number of weights."""
        return len(self._row)

    def gradient(self, loss: Tensor) -> Tensor:
        """Of a loss, by weight; 0 where the step against it would leave the grid."""
        parts = torch.autograd.grad(loss, [s.steps for s in self.synapses.values()], allow_unused=True)
        found = torch.cat(
            [
                torch.zeros_like(s.steps).flatten() if part is None else part.flatten()
                for s, part in zip(self.synapses.values(), parts, strict=True)
            ]
        )
        moved = self._row - torch.sign(found)
        allowed = self._present & (moved >= self._low) & (moved <= self._high)
        return torch.where(allowed, found, torch.zeros_like(found))

    def move(self, chosen: Tensor, gradient: Tensor, stride: int) -> Tensor:
        """Move the chosen weights by ``stride`` steps against their gradient; return all weights as they were."""
        before = self._row.clone()
        moved = self._row[chosen] - stride * torch.sign(gradient[chosen])
        self._row[chosen] = torch.minimum(torch.maximum(moved, self._low[chosen]), self._high[chosen])
        self.restore(self._row)
        return before

    def restore(self, row: Tensor) -> None:
        """Set all weights, for example to what `move` returned."""
        self._row, start = row, 0
        for item in self.synapses.values():
            size = item.steps.numel()
            item.steps.data.copy_(row[start : start + size].reshape(item.steps.shape))
            start += size

    def network(self) -> Network:
        """The integer network with these weights."""
        projections = []
        for item in self.synapses.values():
            kind = item.projection.connectivity
            weights = (item.steps.detach().numpy() * item.grid.step).astype(np.int16)
            projections.append(replace(item.projection, connectivity=with_weights(kind, weights, kind.exponent)))
        return replace(self._network, projections=tuple(projections))


def run(
    network: Network, synapses: Mapping[str, Synapses], inputs: Mapping[str, Tensor]
) -> dict[tuple[str, Port], Tensor]:
    """Run an integer network and return spikes and potentials that are read, differentiable.

    Returns:
        For each population and port ``[time, batch, neurons]``: what it sends, and its potential where it is read.

    Args:
        synapses: of every projection.
        inputs: of every population that the user or the host feeds, ``[time, batch, neurons]``; what only the host
            reads sends nothing.
    """
    steps, samples = next(iter(inputs.values())).shape[:2]
    deliver = {name: _Delivery(item) for name, item in synapses.items()}
    cells = {p.name: _Cell(p, samples) for p in network.populations if not p.external}
    sent: dict[str, list[Tensor]] = {p.name: [] for p in network.populations}
    shown: dict[str, list[Tensor]] = {p.name: [] for p in network.populations if p.spiking and network.shows(p.name)}
    for t in range(steps):
        for population in network.populations:
            name = population.name
            if name in inputs:
                sent[name].append(inputs[name][t])
            elif population.external:
                if not population.neuron.always_on:
                    continue
                on = float(t >= population.neuron.start)
                sent[name].append(torch.full((samples, population.size), on, dtype=torch.float64))
            else:
                arrived = [torch.zeros(samples, population.ends(port), dtype=torch.float64) for port in (0, PORT)]
                for projection in network.into(name):
                    if t >= projection.delay:
                        own = deliver[projection.name](sent[projection.source][t - projection.delay])
                        arrived[projection.port] = arrived[projection.port] + own
                sent[name].append(cells[name].step(_joined(population, *arrived)))
                if name in shown:
                    shown[name].append(cells[name].v)
    port: dict[str, Port] = {p.name: "spikes" if p.spiking else "potential" for p in network.populations}
    found = {(name, port[name]): torch.stack(values) for name, values in sent.items() if values}
    return found | {(name, "potential"): torch.stack(values) for name, values in shown.items()}


def _joined(population: Population, current: Tensor, compartments: Tensor) -> Tensor:
    """What neurons compute with: what arrives at them and the largest of what does at their compartments."""
    if population.join is None:
        return current
    parent = torch.from_numpy(population.join.parent.astype(np.int64)).expand(len(current), -1)
    held = _wrapped(compartments)
    return current + torch.zeros_like(current).scatter_reduce(1, parent, held, "amax", include_self=False)


def _wrapped(u: Tensor) -> Tensor:
    return u + (2 * STATE * ((u <= -STATE).double() - (u > STATE).double())).detach()


class _Delivery:
    """A projection's weights, rounded once for the run."""

    def __init__(self, synapses: Synapses) -> None:
        kind = self.kind = synapses.projection.connectivity
        self.weights = synapses.steps * synapses.grid.step
        if not isinstance(kind, (Dense, Conv2d)):
            matrix = kind.to_csr()
            at = (
                torch.from_numpy(np.repeat(np.arange(kind.inputs), np.diff(matrix.indptr))),
                torch.from_numpy(matrix.indices.astype(np.int64)),
            )
            empty = torch.zeros(kind.inputs, kind.outputs, dtype=torch.float64)
            self.weights = empty.index_put(at, self.weights, accumulate=True)
        elif isinstance(kind, Dense):
            self.weights = self.weights.T

    def __call__(self, spikes: Tensor) -> Tensor:
        """What ``spikes`` ``[batch, sources]`` deliver, ``[batch, targets]``, shifted by exponent and state shift."""
        kind = self.kind
        if isinstance(kind, Conv2d):
            images = spikes.reshape(-1, *kind.input_shape)
            total = nn.functional.conv2d(
                images, self.weights, None, kind.stride, kind.padding, kind.dilation, kind.groups
            ).reshape(len(spikes), -1)
        else:
            total = spikes @ self.weights
        shifted = total * 2.0**kind.exponent
        return (shifted if kind.exponent >= 0 else _through(shifted, torch.floor)) * (1 << loihi_ranges.STATE_SHIFT)


class _Cell:
    """Neurons of one population and their state; see `neurodeploy.network.neurons`."""

    def __init__(self, population: Population, samples: int) -> None:
        self.neuron = neuron = expect(population, Lif, "fine-tune")
        self.kept_u = torch.from_numpy(loihi_ranges.DECAY_ONE - 1.0 - neuron.du)
        self.kept_v = torch.from_numpy(1.0 * loihi_ranges.DECAY_ONE - neuron.dv)
        self.bias, self.threshold = torch.from_numpy(neuron.bias * 1.0), torch.from_numpy(neuron.threshold * 1.0)
        self.reset_to = torch.from_numpy(neuron.reset_to * 1.0)
        self.u = torch.zeros(samples, population.size, dtype=torch.float64)
        self.v = torch.from_numpy(neuron.initial * 1.0).expand_as(self.u)

    def step(self, current: Tensor) -> Tensor:
        neuron = self.neuron
        crossed = self._spikes(self.v).detach() if neuron.reset_time != "now" else torch.zeros(())
        self.u = _wrapped(_decayed(self.u, self.kept_u) + current)
        rest = self.v
        if (neuron.reset, neuron.reset_time) == ("hard", "next"):
            rest = torch.where(crossed > 0, self.reset_to, rest)
        v = _decayed(rest, self.kept_v) + self.u + self.bias
        if neuron.reset_time != "now" and neuron.reset == "subtract":
            v = v - crossed * self.threshold
        elif neuron.reset_time == "gate":
            v = torch.where(crossed > 0, self.reset_to, v)
        v = v.clamp(-STATE + 1, STATE - 1)
        if not neuron.spiking:
            self.v = self._bounded(v)
            return self.v
        spikes = self._spikes(v)
        still = spikes.detach()
        if neuron.reset_time == "once":
            v = v - (still - crossed) * self.threshold
        elif neuron.reset_time == "now" and neuron.reset == "hard":
            v = torch.where(still > 0, self.reset_to, v)
        elif neuron.reset_time == "now" and neuron.reset == "subtract":
            v = v - still * self.threshold
        if neuron.reset_current:
            self.u = torch.where(still > 0, 0.0, self.u)
        self.v = self._bounded(v)
        return spikes

    def _spikes(self, v: Tensor) -> Tensor:
        margin = (v - self.threshold) / self.threshold
        surrogate = margin / (1 + STEEPNESS * margin.abs())
        with torch.no_grad():
            if self.neuron.max_spikes > 1:
                exact = torch.where(v > 0, (v / self.threshold).floor().clamp(max=self.neuron.max_spikes), 0.0)
            else:
                exact = ((v >= self.threshold) if self.neuron.comparison == ">=" else (v > self.threshold)).double()
        return surrogate + (exact - surrogate).detach()

    def _bounded(self, v: Tensor) -> Tensor:
        return v if self.neuron.floor is None else torch.maximum(v, torch.from_numpy(self.neuron.floor * 1.0))


def _through(value: Tensor, rounding: Any) -> Tensor:
    exact: Tensor = value + (rounding(value) - value).detach()
    return exact


def _decayed(value: Tensor, kept: Tensor) -> Tensor:
    """Loihi's decay, rounded toward zero."""
    return _through(value * kept / loihi_ranges.DECAY_ONE, torch.trunc)
