"""Random networks of which no chip computes all: attention, gates and normalisations between spiking layers.

A network is a stem, one to three blocks and a head, in the style of one of three frameworks: whole sequences
``[time, batch, ...]``, or one step a call. A block is what people write between neurons: spiking self-attention with
and without a softmax, masks by the sums of queries, attention over time, channels and places, squeeze-excitation, gated
linear units, layer, RMS and group normalisation, scales mixed by a softmax, gates by the step before; in front an
encoder over all steps, behind a read-out that weighs the steps.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from neurodeploy.network.arrays import Array

Make = Callable[[int], nn.Module]
"""Size of a layer -> its neurons."""


@dataclass(frozen=True, eq=False)
class Hybrid:
    """A random network.

    Args:
        module: as its user has it.
        sample: exactly what its forward takes.
        kinds: of its parts.
        axis: where time lies in the sample.
    """

    module: nn.Module
    sample: Array
    kinds: tuple[str, ...]
    axis: int | str


class _Neuron(nn.Module):
    """A neuron layer of snnTorch on a whole sequence, as a loop."""

    def __init__(self, beta: float, threshold: float, reset: str) -> None:
        import snntorch

        super().__init__()
        self.lif = snntorch.Leaky(beta=beta, threshold=threshold, reset_mechanism=reset)

    def forward(self, x: Tensor) -> Tensor:
        mem = self.lif.init_leaky()
        sent = []
        for step in x:
            spikes, mem = self.lif(step, mem)
            sent.append(spikes)
        return torch.stack(sent)


def _neurons(rng: random.Random, style: str) -> Callable[[], nn.Module]:
    if style == "snntorch":
        return lambda: _Neuron(rng.choice([0.5, 0.8, 0.95]), rng.choice([0.5, 1.0]), rng.choice(["subtract", "zero"]))
    from spikingjelly.activation_based import neuron

    def made() -> nn.Module:
        how = {"step_mode": "s" if style == "steps" else "m", "v_reset": rng.choice([0.0, None])}
        kind = rng.choice(["LIF", "LIF", "IF", "PLIF"])
        if kind == "IF":
            return neuron.IFNode(v_threshold=rng.choice([0.5, 1.0]), **how)
        maker = neuron.LIFNode if kind == "LIF" else neuron.ParametricLIFNode
        tau = {"tau": rng.choice([1.5, 2.0, 4.0])} if kind == "LIF" else {"init_tau": rng.choice([1.5, 2.0])}
        return maker(v_threshold=rng.choice([0.5, 1.0]), decay_input=rng.random() < 0.5, **tau, **how)

    return made


def _linear(before: int, after: int, gain: float = 3.0) -> nn.Linear:
    layer = nn.Linear(before, after)
    with torch.no_grad():
        layer.weight.mul_(gain)
        layer.bias.add_(0.2)
    return layer


class _Block(nn.Module):
    """Takes and gives spikes ``[..., tokens, features]``, or ``[..., channels, height, width]`` of an image."""

    lead = 2
    """Dimensions in front: time and batch, or the batch alone."""

    def each(self, layer: nn.Module, x: Tensor) -> Tensor:
        """A layer of images on each step."""
        if self.lead == 1:
            return layer(x)
        made = layer(x.flatten(0, 1))
        return made.reshape(*x.shape[:2], *made.shape[1:])


class SelfAttention(_Block):
    """Q K^T V with a scale, as in Spikformer; with a softmax as in its first ancestors."""

    def __init__(self, size: int, make: Callable[[], nn.Module], rng: random.Random) -> None:
        super().__init__()
        self.heads = rng.choice([1, 2])
        self.scale = rng.choice([0.125, 0.25, 0.5])
        self.softmax = rng.random() < 0.4
        self.q, self.k, self.v, self.out = (_linear(size, size) for _ in range(4))
        self.qn, self.kn, self.vn, self.an, self.on = (make() for _ in range(5))
        self.residual = rng.random() < 0.4

    def forward(self, x: Tensor) -> Tensor:
        split = [getattr(self, f"{c}n")(getattr(self, c)(x)) for c in "qkv"]
        q, k, v = (one.reshape(*one.shape[:-1], self.heads, -1).transpose(-2, -3) for one in split)
        weights = (q @ k.transpose(-1, -2)) * self.scale
        mixed = (weights.softmax(-1) if self.softmax else weights) @ v
        y = self.an(mixed.transpose(-2, -3).flatten(-2) * 3)
        y = self.on(self.out(y))
        return y + x if self.residual else y


class Masked(_Block):
    """Keys masked by neurons on the sums of queries (QKFormer), or by sums of products (spike-driven attention)."""

    def __init__(self, size: int, make: Callable[[], nn.Module], rng: random.Random) -> None:
        super().__init__()
        self.driven = rng.random() < 0.5
        self.along = rng.choice([-1, -2])
        self.q, self.k, self.out = (_linear(size, size) for _ in range(3))
        self.qn, self.kn, self.mn, self.on = (make() for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        q, k = self.qn(self.q(x)), self.kn(self.k(x))
        mask = self.mn((q * k if self.driven else q).sum(self.along, keepdim=True))
        return self.on(self.out(mask * k))


class Normalised(_Block):
    """A layer norm, or one of the root mean square, in front of neurons."""

    def __init__(self, size: int, make: Callable[[], nn.Module], rng: random.Random) -> None:
        super().__init__()
        self.first, self.neuron = _linear(size, size), make()
        self.norm = nn.LayerNorm(size) if rng.random() < 0.5 else nn.RMSNorm(size)

    def forward(self, x: Tensor) -> Tensor:
        return self.neuron(self.norm(self.first(x)))


class Gated(_Block):
    """A gated linear unit, or a gate of its own."""

    def __init__(self, size: int, make: Callable[[], nn.Module], rng: random.Random) -> None:
        super().__init__()
        self.glu = rng.random() < 0.5
        self.first, self.gate = _linear(size, 2 * size if self.glu else size), _linear(size, size, 1.0)
        self.neuron = make()
        self.act = rng.choice([torch.sigmoid, torch.tanh, functional.silu, functional.gelu])

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return self.neuron(functional.glu(y, -1) * 2 if self.glu else y * self.act(self.gate(x)))


class Mixed(_Block):
    """Tokens that a softmax weighs."""

    def __init__(self, size: int, make: Callable[[], nn.Module], rng: random.Random) -> None:
        super().__init__()
        self.score, self.first, self.neuron = _linear(size, 1), _linear(size, size), make()

    def forward(self, x: Tensor) -> Tensor:
        weights = self.score(x).softmax(-2)
        return self.neuron(self.first(x) + (weights * x).sum(-2, keepdim=True) * 2)


class Squeezed(_Block):
    """Squeeze-excitation: channels are weighed by what they send in a step."""

    def __init__(self, size: int, make: Callable[[], nn.Module], rng: random.Random) -> None:
        super().__init__()
        self.down, self.up = _linear(size, max(size // 2, 1), 1.0), _linear(max(size // 2, 1), size, 1.0)
        self.conv, self.neuron = nn.Conv2d(size, size, 3, padding=1), make()

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.up(torch.relu(self.down(x.mean((-1, -2))))))
        return self.neuron(self.each(self.conv, x * gate[..., None, None]) * 4)


class Placed(_Block):
    """Spatial attention: places are weighed by the mean and the largest of their channels."""

    def __init__(self, size: int, make: Callable[[], nn.Module], rng: random.Random) -> None:
        super().__init__()
        self.look = nn.Conv2d(2, 1, 3, padding=1)
        self.conv, self.neuron = nn.Conv2d(size, size, 1), make()

    def forward(self, x: Tensor) -> Tensor:
        seen = torch.cat([x.mean(-3, keepdim=True), x.amax(-3, keepdim=True)], -3)
        return self.neuron(self.each(self.conv, x * torch.sigmoid(self.each(self.look, seen))) * 5)


class Scaled(_Block):
    """Convolutions of several sizes, mixed by a softmax over them."""

    def __init__(self, size: int, make: Callable[[], nn.Module], rng: random.Random) -> None:
        super().__init__()
        self.one, self.three = nn.Conv2d(size, size, 1), nn.Conv2d(size, size, 3, padding=1)
        self.score, self.neuron = _linear(size, 2, 1.0), make()

    def forward(self, x: Tensor) -> Tensor:
        weights = self.score(x.mean((-1, -2))).softmax(-1)
        both = torch.stack([self.each(self.one, x), self.each(self.three, x)], self.lead)
        return self.neuron((both * weights[..., None, None, None]).sum(self.lead) * 5)


class Grouped(_Block):
    """A group norm behind a convolution."""

    def __init__(self, size: int, make: Callable[[], nn.Module], rng: random.Random) -> None:
        super().__init__()
        self.conv, self.norm, self.neuron = nn.Conv2d(size, size, 3, padding=1), nn.GroupNorm(2, size), make()

    def forward(self, x: Tensor) -> Tensor:
        return self.neuron(self.each(self.norm, self.each(self.conv, x)))


class OverTime(_Block):
    """Attention over all steps: weights of each step from a network over the steps (temporal attention), outer products
    with channels (projected attention), or a softmax of the steps among each other."""

    def __init__(self, size: int, make: Callable[[], nn.Module], rng: random.Random, steps: int, image: bool) -> None:
        super().__init__()
        self.kind = rng.choice(["squeeze", "projected", "among"])
        self.image = image
        self.down, self.up = _linear(steps, max(steps // 2, 1), 1.0), _linear(max(steps // 2, 1), steps, 1.0)
        self.channels = _linear(size, size, 1.0)
        self.first = nn.Conv2d(size, size, 3, padding=1) if image else _linear(size, size)
        self.neuron = make()

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean((-1, -2)) if self.image else x.mean(-2)  # [time, batch, features]
        if self.kind == "among":
            rows = pooled.transpose(0, 1)
            gate = ((rows @ rows.transpose(1, 2)).softmax(-1) @ rows).transpose(0, 1)
        else:
            each = pooled.mean(-1).T if self.kind == "projected" else pooled.permute(1, 2, 0)
            weights = torch.sigmoid(self.up(torch.relu(self.down(each))))
            if self.kind == "projected":
                gate = weights.T[..., None] * torch.sigmoid(self.channels(pooled.mean(0)))[None]
            else:
                gate = weights.permute(2, 0, 1)
        gate = gate[..., None, None] if self.image else gate[..., None, :]
        if self.image:
            return self.neuron(self.each(self.first, x * gate) * 5)
        return self.neuron(self.first(x * gate * 2))


class Looped(_Block):
    """A gate by the spikes of the step before, in a loop of one step a call."""

    def __init__(self, size: int, make: Callable[[], nn.Module], rng: random.Random) -> None:
        super().__init__()
        self.first, self.gate, self.neuron = _linear(size, size), _linear(size, size, 1.0), make()
        self.start = rng.random() < 0.5

    def forward(self, x: Tensor) -> Tensor:
        before = torch.zeros_like(x[0])
        sent = []
        for step in x:
            before = self.neuron(self.first(step)[None] * torch.sigmoid(self.gate(before))[None] * 2)[0]
            sent.append(before)
        return torch.stack(sent)


TOKENS = {"self-attention": SelfAttention, "mask": Masked, "normalised": Normalised, "gated": Gated, "mixed": Mixed}
IMAGES = {"squeezed": Squeezed, "places": Placed, "scales": Scaled, "group norm": Grouped}


class Net(nn.Module):
    """Stem, blocks, head.

    Args:
        parts: of it.
        step: whether it computes one step a call.
    """

    def __init__(self, stem: nn.Module, first: nn.Module, blocks: list[nn.Module], head: nn.Module, read: str) -> None:
        super().__init__()
        self.stem, self.first, self.blocks, self.head, self.read = stem, first, nn.ModuleList(blocks), head, read
        self.encoder: nn.Module | None = None
        self.step = False

    def forward(self, x: Tensor) -> Tensor:
        if self.encoder is not None:
            x = self.encoder(x)
        if isinstance(self.stem, nn.Conv2d) and not self.step:
            made = self.stem(x.flatten(0, 1))
            x = self.first(made.reshape(*x.shape[:2], *made.shape[1:]))
        else:
            x = self.first(self.stem(x))
        for block in self.blocks:
            x = block(x)
        last = x.flatten(1 if self.step else 2)
        if self.read == "spikes":
            return last
        y = self.head(last)
        if self.read == "weighed":
            return (y * y.mean(-1, keepdim=True).softmax(0)).sum(0)
        return y if self.step else y.mean(0) if self.read == "mean" else y.sum(0)


class Encoder(nn.Module):
    """Weighs a sequence by attention over its steps and channels before the first step."""

    def __init__(self, channels: int, steps: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.time, self.channel = _linear(steps, steps, 1.0), _linear(channels, channels, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x.flatten(0, 1)).reshape(x.shape)
        pooled = y.mean((-1, -2))
        weights = torch.sigmoid(self.time(pooled.permute(1, 2, 0)).permute(2, 0, 1) + self.channel(pooled))
        return y * weights[..., None, None] * 2


def hybrid(seed: int) -> Hybrid:
    """The random network of a seed, the same each time."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    style = rng.choice(["sequences", "sequences", "steps", "snntorch"])
    image, steps, batch = rng.random() < 0.45, rng.choice([3, 4, 6]), rng.choice([2, 3])
    make = _neurons(rng, style)
    size, kinds = rng.choice([4, 6, 8]), [style, "image" if image else "tokens"]
    blocks: list[nn.Module] = []
    table = IMAGES if image else TOKENS
    for _ in range(rng.choice([1, 1, 2, 3])):
        over = style != "steps" and rng.random() < 0.25
        looped = not image and style == "sequences" and not over and rng.random() < 0.2
        if over:
            kind, block = "over time", OverTime(size, make, rng, steps, image)
        elif looped:
            kind, block = "looped", Looped(size, make, rng)
        else:
            kind = rng.choice(list(table))
            block = table[kind](size, make, rng)
        block.lead = 1 if style == "steps" else 2
        kinds.append(kind)
        blocks.append(block)
    shape = (2, 6, 6) if image else (4, 5)
    stem = nn.Conv2d(2, size, 3, padding=1) if image else _linear(5, size)
    read = rng.choice(["mean", "sum", "spikes", "weighed"]) if style != "steps" else rng.choice(["mean", "spikes"])
    kinds.append(f"read: {read}")
    head = _linear(size * (36 if image else 4), 3, 1.0)
    net = Net(stem, make(), blocks, head, read)
    net.step = style == "steps"
    if image and style != "steps" and rng.random() < 0.2:
        net.encoder = Encoder(2, steps)
        kinds.append("encoder")
    sample = np.random.default_rng(seed).random((steps, batch, *shape)).astype(np.float32) * (3 if image else 2)
    return Hybrid(net.eval(), sample, tuple(kinds), "step" if style == "steps" else 0)
