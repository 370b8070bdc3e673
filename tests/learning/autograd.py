"""The rules of `neurodeploy.network.event_rules` in torch: dense tensors, whole batches, gradients by autograd.

The same networks, losses and updates as hwsim's event engine, written the other way round: where the engine walks
events, this differentiates. The two agree to rounding (float64), which is how each is tested.

A spiking layer passes on spikes ``[batch, *shape]`` and, for STD-ED, *shifts*: zeros that stand for how much later each
spike comes, in steps. Autograd differentiates the membrane to first order in them,

    u(t_k) = sum w_ij [K(t_k - t_i) - a^(t_k - t_i) shift_i],    shift_k = -(u(t_k) - value) / max(c, slope theta)

and the read-out adds ``-b^(T-t-1) / T w_mj shift_j``. For MPD-ED and BPTT the spike is a step function forwards and psi
backwards, masked by the spike itself for MPD-ED.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurodeploy.network.connectivity import Conv2d
from neurodeploy.network.event_rules import Chain, EventRule, Layer, chain
from neurodeploy.network.network import Network

DOUBLE = torch.float64


class _Spike(torch.autograd.Function):
    """``u > threshold`` with a triangle for a derivative."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, threshold: Tensor, width: float, masked: bool) -> Tensor:
        spikes = (u > threshold).to(u.dtype)
        ctx.save_for_backward(u, spikes)
        ctx.constants = threshold, width, masked
        return spikes

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        u, spikes = ctx.saved_tensors
        threshold, width, masked = ctx.constants
        psi = (width - (u / threshold - 1).abs()).clamp(min=0) / width**2
        return gradients[0] * psi * (spikes if masked else 1), None, None, None


class _Layer(nn.Module):
    """Synapses and neurons of one layer."""

    def __init__(self, layer: Layer, rule: EventRule) -> None:
        super().__init__()
        self.layer, self.rule = layer, rule
        kind = layer.projection.connectivity
        self.kind = kind
        self.weight = nn.Parameter(torch.tensor(np.asarray(kind.weights), dtype=DOUBLE))
        self.threshold = torch.full((layer.target.size,), layer.threshold, dtype=DOUBLE)
        self.events = torch.zeros(layer.target.size, dtype=DOUBLE)

    def _synapses(self, x: Tensor) -> Tensor:
        if isinstance(self.kind, Conv2d):
            images = x.reshape(len(x), *self.kind.input_shape)
            found = nn.functional.conv2d(
                images, self.weight, None, self.kind.stride, self.kind.padding, self.kind.dilation
            )
            return found.reshape(len(x), -1)
        return x @ self.weight.T

    def forward(self, spikes: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor]:
        """``[time, batch, sources]`` -> spikes and shifts ``[time, batch, targets]``."""
        run = self._timed if self.rule.name == "std-ed" else self._leaky
        sent, later = run(spikes, shifts)
        self.events += sent.detach().sum(dim=(0, 1))
        return sent, later

    def _leaky(self, spikes: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor]:
        u = torch.zeros(spikes.shape[1], self.layer.target.size, dtype=DOUBLE)
        sent = []
        for x in spikes:
            u = self.layer.keep * u + self._synapses(x)
            s = _Spike.apply(u, self.threshold, self.rule.width, self.rule.name == "mpd-ed")  # type: ignore[no-untyped-call]
            u = u * (1 - s.detach())
            sent.append(s)
        stacked = torch.stack(sent)
        return stacked, torch.zeros_like(stacked)

    def _timed(self, spikes: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor]:
        a = self.layer.keep
        c, u, moved = (torch.zeros(spikes.shape[1], self.layer.target.size, dtype=DOUBLE) for _ in range(3))
        sent, later = [], []
        for x, shift in zip(spikes, shifts, strict=True):
            c = a * c + self._synapses(x)
            moved = a * moved + self._synapses(x * shift)  # 0, but not its derivative
            u = u + c
            s = (u.detach() > self.threshold).to(DOUBLE)
            slope = c.detach().clamp(min=self.rule.slope * self.threshold)
            membrane = u - moved
            sent.append(s)
            later.append(-s * (membrane - membrane.detach()) / slope)
            c, u, moved = c * (1 - s), u * (1 - s), moved * (1 - s)
        return torch.stack(sent), torch.stack(later)


class EventNetwork(nn.Module):
    """A chain of layers and its read-out: spikes ``[time, batch, sources]`` to outputs ``[batch, classes]``.

    Args:
        network: see `neurodeploy.network.event_rules.chain` for what is possible.
        rule: to learn by.

    Raises:
        UnsupportedError: the rule cannot train this network.
    """

    def __init__(self, network: Network, rule: EventRule) -> None:
        super().__init__()
        self.chain: Chain = chain(network, rule.name)
        self.rule = rule
        self.layers = [_Layer(layer, rule) for layer in self.chain.layers]
        self.parts = nn.ModuleList(self.layers)
        self.readout = nn.Parameter(torch.tensor(np.asarray(self.chain.readout.connectivity.weights), dtype=DOUBLE))

    def forward(self, spikes: Tensor) -> Tensor:
        steps, b = len(spikes), self.chain.keep
        x, shift = spikes.to(DOUBLE), torch.zeros_like(spikes, dtype=DOUBLE)
        for layer in self.layers:
            x, shift = layer(x, shift)
        left = steps - torch.arange(steps, dtype=DOUBLE)
        kappa = (1 - b**left) / (1 - b) if b else torch.ones(steps, dtype=DOUBLE)
        earlier = b ** (left - 1)
        drive = kappa[:, None, None] * x - earlier[:, None, None] * x.detach() * shift
        return (drive @ self.readout.T).sum(dim=0) / steps

    def loss(self, spikes: Tensor, labels: Tensor) -> Tensor:
        """Cross entropy summed over the batch."""
        return nn.functional.cross_entropy(self(spikes), labels, reduction="sum")

    def thresholds(self) -> list[np.ndarray]:
        """Of each layer's neurons, as they are now."""
        return [layer.threshold.numpy().copy() for layer in self.layers]

    def network(self) -> Network:
        """The network with weights and thresholds as they are now."""
        weights = [layer.weight.detach().numpy() for layer in self.layers]
        return self.chain.with_learned(weights, self.readout.detach().numpy(), self.thresholds())


def learn(module: EventNetwork, inputs: Tensor, labels: Tensor, order: Tensor, rate: float = 1.0) -> list[float]:
    """Plain gradient descent over samples in the given order, ``rule.batch`` at a time, with adaptive thresholds.

    Args:
        inputs: spikes ``[time, samples, sources]``.
        labels: ``[samples]``.
        order: samples to take; a last incomplete batch is left out.
        rate: factor of the learning rate.

    Returns:
        The loss of each batch.
    """
    rule, losses, seen = module.rule, [], 0
    for batch in order.split(rule.batch):  # type: ignore[no-untyped-call]
        if len(batch) < rule.batch:
            break
        module.zero_grad()
        loss = module.loss(inputs[:, batch], labels[batch])
        loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for parameter in module.parameters():
                if parameter.grad is not None:
                    parameter.sub_(rule.learning_rate * rate * parameter.grad)
        losses.append(float(loss.detach()))
        seen += rule.batch
        if rule.adapt and seen >= rule.adapt.window:
            _adapt(module, len(inputs), seen)
            seen = 0
    return losses


def _adapt(module: EventNetwork, steps: int, samples: int) -> None:
    rule = module.rule.adapt
    assert rule is not None
    for layer in module.layers:
        own = layer.events / (steps * samples)
        activity = mean = own.mean().expand_as(own)
        seldom = mean < 0.5 * rule.target
        if rule.each == "neuron":
            activity, seldom = own, seldom | (own == 0)
        start, level = layer.layer.threshold, layer.threshold
        lower = (level * rule.down).clamp(min=rule.lowest * start)
        raised = (level * rule.up).clamp(max=start)
        often = activity > rule.target
        layer.threshold = torch.where(seldom, lower, torch.where(often, raised, level))
        layer.events = torch.zeros_like(layer.events)
