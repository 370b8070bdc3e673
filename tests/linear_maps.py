"""Random fixed linear maps between neurons, as people write them: chains of operators on samples of any rank.

`network(case)` is a spiking network with such a chain between its layers, `ordinary(case)` one of ReLUs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import snntorch as snn
import torch
import torch.nn.functional as F
from spikingjelly.activation_based import neuron as sj
from torch import Tensor, nn
from torch.nn.utils import parametrizations

FORMS = ("sequential", "functional", "loop", "batched")
"""One step as a Sequential, one step as code, a loop over time with states, all steps in one batch."""

LARGEST = 150
"""Values between two operators, at most."""

Shape = tuple[int, ...]
Make = Callable[[np.random.Generator, Shape], Any]


class Op(nn.Module):
    """``code(constants, x)``, the constants being parameters."""

    def __init__(self, code: Callable[..., Tensor], *constants: Any) -> None:
        super().__init__()
        self.code = code
        self.p = nn.ParameterList([nn.Parameter(torch.as_tensor(c, dtype=torch.float32)) for c in constants])

    def forward(self, x: Tensor) -> Tensor:
        return self.code(x, *self.p)


def _normal(rng: np.random.Generator, *shape: int) -> Any:
    return rng.normal(size=shape) / np.sqrt(max(1, shape[-1] if len(shape) > 1 else 1))


def _axis(rng: np.random.Generator, shape: Shape) -> int:
    """A feature dimension, counted with the batch."""
    return int(rng.integers(1, len(shape) + 1))


def _some(rng: np.random.Generator, shape: Shape) -> list[int]:
    """Some feature dimensions."""
    found = [d for d in range(1, len(shape) + 1) if rng.random() < 0.5]
    return found or [len(shape)]


def _spread(rng: np.random.Generator, shape: Shape) -> Any:
    """A constant that meets samples: for all values, for channels, for the last dimension, or one number."""
    forms = [shape, (shape[0], *[1] * (len(shape) - 1)), (1, *shape), shape[-1:], (1,), ()]
    return rng.normal(size=forms[rng.integers(len(forms))]) + 0.2


def _pair(rng: np.random.Generator, low: int, high: int, rank: int) -> tuple[int, ...]:
    return tuple(int(n) for n in rng.integers(low, high + 1, rank))


def _permuted(rng: np.random.Generator, shape: Shape) -> Op:
    order = [0, *(int(n) + 1 for n in rng.permutation(len(shape)))]
    return Op(lambda x: x.permute(order))


def _moved(rng: np.random.Generator, shape: Shape) -> Op:
    a, b = _axis(rng, shape), _axis(rng, shape)
    return Op(lambda x: x.movedim(a, b)) if rng.random() < 0.5 else Op(lambda x: x.transpose(a, b))


def _sliced(rng: np.random.Generator, shape: Shape) -> Op:
    d = _axis(rng, shape)
    start = int(rng.integers(0, shape[d - 1]))
    step = int(rng.integers(1, 3))
    index = (slice(None),) * d + (slice(start, None, step),)
    return Op(lambda x: x[index])


def _selected(rng: np.random.Generator, shape: Shape) -> Op | None:
    d = _axis(rng, shape)
    at = int(rng.integers(0, shape[d - 1]))
    return Op(lambda x: x.select(d, at)) if len(shape) > 1 else None


def _indexed(rng: np.random.Generator, shape: Shape) -> Op:
    d = _axis(rng, shape)
    index = torch.from_numpy(rng.integers(0, shape[d - 1], int(rng.integers(1, shape[d - 1] + 3))))
    if rng.random() < 0.5:
        return Op(lambda x: x.index_select(d, index))
    return Op(lambda x: x[(slice(None),) * d + (index,)])


def _gathered(rng: np.random.Generator, shape: Shape) -> Op:
    d = _axis(rng, shape)
    index = torch.from_numpy(rng.integers(0, shape[d - 1], (1, *shape)))
    return Op(lambda x: x.gather(d, index.expand(len(x), *shape)))


def _summed(rng: np.random.Generator, shape: Shape) -> Op | None:
    dims, keep = _some(rng, shape), bool(rng.random() < 0.5)
    if not keep and len(dims) == len(shape):
        return None
    return Op(lambda x: x.sum(dims, keepdim=keep)) if rng.random() < 0.5 else Op(lambda x: x.mean(dims, keepdim=keep))


def _repeated(rng: np.random.Generator, shape: Shape) -> Op:
    d = _axis(rng, shape)
    times = [2 if i == d else 1 for i in range(len(shape) + 1)]
    forms = (
        Op(lambda x: x.repeat(*times)), Op(lambda x: torch.tile(x, times)), Op(lambda x: x.repeat_interleave(2, dim=d)),
        Op(lambda x: x.unsqueeze(d).expand(*[-1] * d, 2, *[-1] * len(shape[d - 1 :])).flatten(d, d + 1)),
    )  # fmt: skip
    return forms[rng.integers(len(forms))]


def _joined(rng: np.random.Generator, shape: Shape) -> Op:
    d, flip = _axis(rng, shape), _axis(rng, shape)
    if rng.random() < 0.5:
        return Op(lambda x: torch.cat([x, 0.5 * x.flip(flip)], d))
    return Op(lambda x: torch.stack([x, x.flip(flip)], d).flatten(d, d + 1))


def _split(rng: np.random.Generator, shape: Shape) -> Op | None:
    d = _axis(rng, shape)
    if shape[d - 1] < 2 or shape[d - 1] % 2:
        return None

    def code(x: Tensor) -> Tensor:
        a, b = x.chunk(2, d)
        return a - 0.5 * b

    return Op(code)


def _differences(rng: np.random.Generator, shape: Shape) -> Op | None:
    d = _axis(rng, shape)
    if shape[d - 1] < 2:
        return None
    before, after = (slice(None),) * d + (slice(None, -1),), (slice(None),) * d + (slice(1, None),)
    return Op(lambda x: x.diff(dim=d)) if rng.random() < 0.5 else Op(lambda x: x[after] - x[before])


def _linear(rng: np.random.Generator, shape: Shape) -> nn.Module:
    out, n = int(rng.integers(1, 7)), shape[-1]
    forms: tuple[Callable[[], nn.Module], ...] = (
        lambda: nn.Linear(n, out, bias=bool(rng.random() < 0.5)),
        lambda: parametrizations.weight_norm(nn.Linear(n, out)),
        lambda: Op(lambda x, w: x @ w, _normal(rng, n, out)),
        lambda: Op(lambda x, a, b: F.linear(x, a @ b), _normal(rng, out, 2), _normal(rng, 2, n)),
        lambda: Op(lambda x, w, b: F.linear(x, w.abs() * (w > 0), b), _normal(rng, out, n), _normal(rng, out)),
        lambda: Op(lambda x, w: F.linear(x, w.softmax(0)), _normal(rng, out, n)),
    )
    return forms[rng.integers(len(forms))]()


def _einsum(rng: np.random.Generator, shape: Shape) -> Op:
    d, out = _axis(rng, shape), int(rng.integers(1, 6))
    letters = "bcdefg"[: len(shape) + 1]
    after = letters.replace(letters[d], "o")
    rule = f"{letters},o{letters[d]}->{after}"
    return Op(lambda x, w: torch.einsum(rule, x, w), _normal(rng, out, shape[d - 1]))


def _left(rng: np.random.Generator, shape: Shape) -> Op | None:
    if len(shape) < 2:
        return None
    return Op(lambda x, w: torch.matmul(w, x), _normal(rng, int(rng.integers(1, 6)), shape[-2]))


def _tensordot(rng: np.random.Generator, shape: Shape) -> Op:
    d = _axis(rng, shape)
    return Op(lambda x, w: torch.tensordot(x, w, dims=([d], [0])), _normal(rng, shape[d - 1], int(rng.integers(1, 5))))


def _normed(rng: np.random.Generator, shape: Shape) -> nn.Module | None:
    kinds: dict[int, Any] = {1: nn.BatchNorm1d, 2: nn.BatchNorm1d, 3: nn.BatchNorm2d, 4: nn.BatchNorm3d}
    made: nn.Module = kinds[len(shape)](shape[0])
    made.running_mean.copy_(torch.from_numpy(rng.normal(size=shape[0]) / 5))  # type: ignore[operator, union-attr]
    made.running_var.copy_(torch.from_numpy(rng.random(shape[0]) + 0.5))  # type: ignore[operator, union-attr]
    return made


def _padded(rng: np.random.Generator, shape: Shape) -> Op | None:
    rank = len(shape) - 1
    if not rank:
        return Op(lambda x: F.pad(x, (1, 2)))
    mode = ("constant", "reflect", "replicate", "circular", "constant")[rng.integers(5)]
    most = min(2, *(n - 1 for n in shape[1:])) if mode != "constant" else 2
    pads = [int(n) for n in rng.integers(0, most + 1, 2 * rank)] if most > 0 else [0] * 2 * rank
    value = float(rng.integers(0, 2)) / 2 if mode == "constant" else None
    return Op(lambda x: F.pad(x, pads, mode, value))


def _reshaped(rng: np.random.Generator, shape: Shape) -> Op:
    size = int(np.prod(shape))
    factors = [n for n in range(1, size + 1) if size % n == 0]
    a = int(rng.choice(factors))
    b = int(rng.choice([n for n in factors if (size // a) % n == 0]))
    after = [(size,), (a, size // a), (a, b, size // a // b)][rng.integers(3)]
    return Op(lambda x: x.reshape(len(x), *after)) if rng.random() < 0.7 else Op(lambda x: x.flatten(1))


def _masked(rng: np.random.Generator, shape: Shape) -> Op:
    mask = torch.from_numpy(rng.random(shape) < 0.5)
    forms = (
        Op(lambda x: torch.where(mask, x, 0.0)), Op(lambda x: x.masked_fill(mask, 0.0)),
        Op(lambda x: x * mask), Op(lambda x: torch.where(mask, x, -0.5 * x)),
    )  # fmt: skip
    return forms[rng.integers(len(forms))]


def _mixed(rng: np.random.Generator, shape: Shape) -> Op:
    d = _axis(rng, shape)
    forms = (
        Op(lambda x: torch.lerp(x, x.roll(1, d), 0.3)), Op(lambda x: x - x.mean(d, keepdim=True)),
        Op(lambda x: 0.5 * x + 0.25 * x.roll(1, d) + 0.25 * x.roll(-1, d)),
        Op(lambda x: torch.add(x, x.flip(d), alpha=2)),
        Op(lambda x: -x + 3 * x.roll(1, d) / 2),
    )  # fmt: skip
    return forms[rng.integers(len(forms))]


def _convolved(rng: np.random.Generator, shape: Shape) -> nn.Module | None:
    rank = len(shape) - 1
    if rank not in (1, 2, 3):
        return None
    kernel, stride, padding = _pair(rng, 1, 3, rank), _pair(rng, 1, 2, rank), _pair(rng, 0, 1, rank)
    if any(n + 2 * p < k for n, p, k in zip(shape[1:], padding, kernel, strict=True)):
        return None
    groups = shape[0] if rng.random() < 0.4 else 1
    mode = ("zeros", "zeros", "reflect", "circular", "replicate")[rng.integers(5)]
    if mode != "zeros" and any(p >= n for p, n in zip(padding, shape[1:], strict=True)):
        mode = "zeros"
    kind: Any = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[rank - 1]
    out = groups * int(rng.integers(1, 3))
    made: nn.Module = kind(shape[0], out, kernel, stride, padding, groups=groups, padding_mode=mode)
    return made


def _transposed(rng: np.random.Generator, shape: Shape) -> nn.Module | None:
    rank = len(shape) - 1
    if rank not in (1, 2, 3):
        return None
    kind: Any = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[rank - 1]
    made: nn.Module = kind(shape[0], int(rng.integers(1, 3)), _pair(rng, 1, 3, rank), _pair(rng, 1, 2, rank))
    return made


def _pooled(rng: np.random.Generator, shape: Shape) -> nn.Module | None:
    rank = len(shape) - 1
    if rank not in (1, 2, 3):
        return None
    kernel, stride = _pair(rng, 1, 3, rank), _pair(rng, 1, 3, rank)
    padding = tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel)
    if any(n + 2 * p < k for n, p, k in zip(shape[1:], padding, kernel, strict=True)):
        return None
    kind: Any = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)[rank - 1]
    more = {"divisor_override": 3} if rank > 1 and rng.random() < 0.3 else {}
    ceil, include = bool(rng.random() < 0.5), bool(rng.random() < 0.5)
    made: nn.Module = kind(kernel, stride, padding, ceil_mode=ceil, count_include_pad=include, **more)
    return made


def _adaptive(rng: np.random.Generator, shape: Shape) -> nn.Module | None:
    rank = len(shape) - 1
    if rank not in (1, 2, 3):
        return None
    kind: Any = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[rank - 1]
    size = tuple(int(rng.integers(1, n + 2)) for n in shape[1:])
    made: nn.Module = kind(size if rank > 1 else size[0])
    return made


def _lp_pooled(rng: np.random.Generator, shape: Shape) -> nn.Module | None:
    rank = len(shape) - 1
    if rank not in (1, 2) or min(shape[1:]) < 2:
        return None
    return nn.LPPool1d(1, 2) if rank == 1 else nn.LPPool2d(1, 2)


def _upsampled(rng: np.random.Generator, shape: Shape) -> nn.Module | None:
    rank = len(shape) - 1
    if rank not in (1, 2, 3):
        return None
    modes = (("nearest", "linear"), ("nearest", "bilinear", "bicubic", "nearest-exact"), ("nearest", "trilinear"))
    mode = str(rng.choice(modes[rank - 1]))
    corners = bool(rng.random() < 0.5) if "linear" in mode else None
    if rng.random() < 0.5:
        return nn.Upsample(scale_factor=2, mode=mode, align_corners=corners)
    return nn.Upsample(size=tuple(int(rng.integers(1, n + 3)) for n in shape[1:]), mode=mode, align_corners=corners)


def _shuffled(rng: np.random.Generator, shape: Shape) -> nn.Module | None:
    if len(shape) != 3:
        return None
    forms: list[nn.Module] = []
    if shape[0] % 4 == 0:
        forms.append(nn.PixelShuffle(2))
    if shape[0] % 2 == 0:
        forms.append(nn.ChannelShuffle(2))
    if shape[1] % 2 == 0 and shape[2] % 2 == 0:
        forms.append(nn.PixelUnshuffle(2))
    return forms[rng.integers(len(forms))] if forms else None


def _unfolded(rng: np.random.Generator, shape: Shape) -> nn.Module | None:
    if len(shape) == 3 and min(shape[1:]) >= 2:
        return nn.Unfold(2, stride=int(rng.integers(1, 3)))
    d = _axis(rng, shape)
    return Op(lambda x: x.unfold(d, 2, 1)) if shape[d - 1] >= 2 and len(shape) < 3 else None


def _folded(rng: np.random.Generator, shape: Shape) -> nn.Module | None:
    if len(shape) != 3 or min(shape[1:]) < 2:
        return None
    size = shape[1:]
    return Op(lambda x: F.fold(F.unfold(x, 2, padding=1), size, 2, padding=1))


def _sampled(rng: np.random.Generator, shape: Shape) -> nn.Module | None:
    if len(shape) != 3:
        return None
    grid = rng.uniform(-1, 1, (1, 3, 2, 2))
    return Op(lambda x, g: F.grid_sample(x, g.expand(len(x), -1, -1, -1), align_corners=False), grid)


KINDS: dict[str, Make] = {
    "permute": _permuted, "movedim": _moved, "slice": _sliced, "select": _selected, "index": _indexed,
    "gather": _gathered, "sum and mean": _summed, "repeat": _repeated, "cat and stack": _joined, "split": _split,
    "difference": _differences, "linear": _linear, "einsum": _einsum, "matmul": _left, "tensordot": _tensordot,
    "norm": _normed, "pad": _padded, "reshape": _reshaped, "mask": _masked, "mix": _mixed, "convolution": _convolved,
    "transposed convolution": _transposed, "average pool": _pooled, "adaptive pool": _adaptive, "LP pool": _lp_pooled,
    "upsample": _upsampled, "shuffle": _shuffled, "unfold": _unfolded, "fold": _folded, "grid sample": _sampled,
    "flip": lambda rng, shape: Op(lambda x, d=_some(rng, shape): x.flip(d)),
    "roll": lambda rng, shape: Op(lambda x, n=int(rng.integers(-3, 4)), d=_axis(rng, shape): x.roll(n, d)),
    "cumsum": lambda rng, shape: Op(lambda x, d=_axis(rng, shape): x.cumsum(d)),
    "gain": lambda rng, shape: Op(lambda x, g: x * g, _spread(rng, shape)),
    "division": lambda rng, shape: Op(lambda x, g: x / g, np.abs(_spread(rng, shape)) + 0.5),
    "bias": lambda rng, shape: Op(lambda x, b: x + b, _spread(rng, shape)),
}  # fmt: skip
"""Operators, each of many forms; what makes one gives None where the shape allows none."""


@dataclass(frozen=True, eq=False)
class Case:
    """A random chain.

    Args:
        shape: of a sample in front of it.
        kinds: of its operators.
        layers: the operators.
        form: how the network is written.
    """

    shape: Shape
    kinds: tuple[str, ...]
    layers: tuple[nn.Module, ...]
    form: str
    after: Shape

    def chain(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def case_of(seed: int) -> Case:
    """The chain of a seed; the first operator is each kind in turn."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    names = list(KINDS)
    first, form = names[seed % len(names)], FORMS[(seed // len(names)) % len(FORMS)]
    while True:
        rank = int(rng.choice([1, 2, 3, 3, 4], p=[0.2, 0.25, 0.25, 0.2, 0.1]))
        shape = tuple(int(n) for n in rng.integers(2, (13, 7, 6, 4)[rank - 1], rank))
        kinds: list[str] = []
        layers: list[nn.Module] = []
        x = torch.rand(2, *shape)
        for _ in range(rng.integers(1, 5)):
            kind = first if not kinds else str(rng.choice(names))
            if x.dim() > 5:
                continue
            layer = KINDS[kind](rng, tuple(x.shape[1:]))
            if layer is None:
                continue
            with torch.no_grad():
                try:
                    made = layer.eval()(x)
                except (RuntimeError, ValueError):  # a form that torch has not for this shape
                    continue
            if made.dim() < 2 or not 0 < made[0].numel() <= LARGEST:
                continue
            kinds.append(kind)
            layers.append(layer)
            x = made
        if kinds and kinds[0] == first:
            return Case(shape, tuple(kinds), tuple(layers), form, tuple(x.shape[1:]))


def _lif(**more: Any) -> nn.Module:
    made: nn.Module = snn.Leaky(beta=0.8, threshold=0.4, **more)
    return made


class Step(nn.Module):
    """One step, as code."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case, self.layers = case, nn.ModuleList(case.layers)
        self.a, self.b, self.c = (_lif(init_hidden=True) for _ in range(3))
        self.f = nn.Linear(int(np.prod(case.after)), 4)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.c(self.f(self.b(self.case.chain(self.a(x))).flatten(1)))
        return made


class Loop(nn.Module):
    """All steps, in a loop with states."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case, self.layers = case, nn.ModuleList(case.layers)
        self.a, self.b = _lif(), _lif()

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.a.init_leaky(), self.b.init_leaky()  # type: ignore[operator]
        found = []
        for t in range(len(x)):
            spikes, first = self.a(x[t], first)
            out, second = self.b(self.case.chain(spikes), second)
            found.append(out)
        return torch.stack(found)


class Batched(nn.Module):
    """All steps, each linear layer on all of them at once."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case, self.layers = case, nn.ModuleList(case.layers)
        self.a, self.b = (sj.LIFNode(tau=1.5, v_threshold=0.3, step_mode="m", detach_reset=True) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        steps, batch = x.shape[:2]
        y = self.case.chain(self.a(x).flatten(0, 1))
        made: Tensor = self.b(y.reshape(steps, batch, *y.shape[1:]))
        return made


def network(case: Case) -> tuple[nn.Module, Any]:
    """A spiking network around the chain, and where time lies in what it takes."""
    if case.form == "functional":
        return Step(case).eval(), "step"
    if case.form == "loop":
        return Loop(case).eval(), 0
    if case.form == "batched":
        return Batched(case).eval(), 0
    last = nn.Linear(int(np.prod(case.after)), 4)
    lifs = [_lif(init_hidden=True) for _ in range(3)]
    return nn.Sequential(lifs[0], *case.layers, lifs[1], nn.Flatten(), last, lifs[2]).eval(), "step"


class Ordinary(nn.Module):
    """The chain between ReLUs."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case, self.layers = case, nn.ModuleList(case.layers)
        self.f = nn.Linear(int(np.prod(case.after)), 3)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.f(torch.relu(self.case.chain(torch.relu(x))).flatten(1))
        return made


def ordinary(case: Case) -> nn.Module:
    """An ordinary network around the chain."""
    return Ordinary(case).eval()
