"""The rule of a neuron that is written by hand: its update, found by what it does to numbers, and proven on others.

With states ``s`` (the potential ``v``, perhaps a current ``i``), what drives it ``d`` and whether it spiked ``z``, an
update is linear leaky integrate-and-fire where for each ``z`` it is ``s <- M s + G d + c``, element by element, and a
spike is a comparison of ``v`` with a number. All of ``M``, ``G``, ``c`` are read off probes of one state or drive at a
time; that there is nothing else is tried on random ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import nir
import numpy as np
import torch

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.arrays import Array
from neurodeploy.network.neurons import Comparison, Reset, ResetTime

from ..framework import Neuron
from ..torch_step.steps import inverse, leaky

Update = Callable[[list[Array], Array, list[Array]], list[Array]]
"""States, spikes and drives, each ``[rows, *shape]`` -> the next states, ``v`` first."""

BIG = 2.0**80
"""A probe beside which all else is lost in rounding, so that what is multiplied by it is read off exactly."""

ROWS = 64
"""Random states that an update is tried on."""

TOLERANCE = 1e-12
"""Largest difference, relative to the sum of the sizes of what is added, that is rounding."""


@dataclass(frozen=True, eq=False)
class Rule:
    """A neuron layer ``v <- keep v + gain . d + bias``, after the current ``i`` where it has one.

    Args:
        keep: what is left of the potential, of the layer's shape, as all others.
        gains: of each drive.
        bias: added to the potential in each step.
        threshold, comparison: of a spike.
        reset, reset_time, reset_to: as in `neurodeploy.network.neurons`.
        jump: what a spike adds to the next potential beside a reset; None for nothing.
        keep_current: what is left of the current; None for a neuron without one.
        bias_current: added to the current, in units of the potential.
        reset_current: whether a spike sets the current to 0.
        initial: potential before the first step.
        memory: whether it keeps anything from step to step; one that does not is a threshold.
    """

    keep: Array
    gains: tuple[Array, ...]
    bias: Array
    threshold: Array
    comparison: Comparison
    reset: Reset = "none"
    reset_time: ResetTime = "now"
    reset_to: Array | None = None
    jump: Array | None = None
    keep_current: Array | None = None
    bias_current: Array | None = None
    reset_current: bool = False
    initial: Array | None = None
    memory: bool = True

    @property
    def common(self) -> bool:
        """Whether all drives have one gain, which is nowhere 0, and may be added first."""
        first = self.gains[0]
        return bool((first != 0).all()) and all((first == other).all() for other in self.gains)

    @property
    def gain(self) -> Array:
        """What the neuron multiplies its input by; where drives have their own, they are scaled in front."""
        return self.gains[0] if self.common else np.ones_like(self.keep)

    @property
    def added(self) -> Array | None:
        """A constant that belongs to the input, since the NIR node has no place for it; None for none."""
        if self.bias_current is not None and self.bias_current.any():
            return self.bias_current / self.gain
        return self.bias / self.gain if self._in_front and self.bias.any() else None

    @property
    def _in_front(self) -> bool:
        """Whether the bias cannot be a resting potential."""
        return self.keep_current is None and bool((self.bias[self.keep == 1] != 0).any())

    def advanced(self, v: Array, i: Array, z: Array, drives: Sequence[Array]) -> tuple[Array, Array, Array]:
        """Potential, current and spikes of the next step."""
        arriving: Array = sum((g * d for g, d in zip(self.gains, drives, strict=True)), np.zeros_like(v))
        if self.keep_current is not None and self.bias_current is not None:
            i = self.keep_current * (i * (1 - z) if self.reset_current else i) + arriving + self.bias_current
            arriving = i
        arriving = arriving + self.bias
        now = self.keep * v + arriving
        if self.jump is not None:
            now = now + self.jump * z
        elif self.reset == "subtract":
            now = now - (self.keep if self.reset_time == "now" else 1) * self.threshold * z
        elif self.reset == "hard":
            taken = self.reset_to if self.reset_time == "gate" else self.keep * self.reset_to + arriving
            now = np.where(z > 0, taken, now)
        spikes = now > self.threshold if self.comparison == ">" else now >= self.threshold
        return now, i, spikes.astype(np.float64)

    def stored(self, v: Array, z: Array) -> Array:
        """The potential that the neuron holds after a step in which it compared ``v`` and sent ``z``."""
        if self.reset == "none" or self.reset_time != "now":
            return np.broadcast_to(v, np.broadcast_shapes(np.shape(v), np.shape(z)))
        if self.reset == "subtract":
            taken: Array = v - self.threshold * z
            return taken
        assert self.reset_to is not None
        return np.where(z > 0, self.reset_to, v)

    def neuron(self, shape: tuple[int, ...], dt: float) -> Neuron:
        """The layer as NIR says it."""
        if not self.memory:
            threshold = np.ascontiguousarray(np.broadcast_to(self.threshold, shape), np.float64)
            return Neuron(nir.Threshold(threshold), "none", comparison=self.comparison)
        full = {name: np.ascontiguousarray(np.broadcast_to(getattr(self, name), shape), np.float64) for name in (
            "keep", "gain", "bias", "threshold", "reset_to", "keep_current", "initial", "jump",
        ) if getattr(self, name) is not None}  # fmt: skip
        keep, zero = full["keep"], np.zeros(shape)
        leak, bias = 1 - keep, zero if self._in_front else full["bias"]
        rest = np.divide(bias, leak, out=zero.copy(), where=leak > 0)
        threshold, to = full["threshold"], full.get("reset_to", zero)
        tau, r = leaky(leak, dt)
        if self.keep_current is not None:
            tau_syn, w_in = leaky(1 - full["keep_current"], dt)
            node: nir.NIRNode = nir.CubaLIF(tau_syn, tau, r, rest, threshold, v_reset=to, w_in=w_in * full["gain"])
        elif not leak.any():
            node = nir.IF(inverse(np.full(shape, dt)) * full["gain"], threshold, to)
        else:
            node = nir.LIF(tau, r * full["gain"], rest, threshold, to)
        back = None if self.jump is None else nir.Scale(full["jump"] / full["gain"])
        return Neuron(
            node, self.reset, initial=full.get("initial", zero), reset_time=self.reset_time,
            comparison=self.comparison, reset_current=self.reset_current, recurrent=back,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Affine:
    """``s <- M s + G d + c`` for one outcome: ``m[to, of, *shape]``, ``g[to, drive, *shape]``, ``c[to, *shape]``."""

    m: Array
    g: Array
    c: Array

    @staticmethod
    def of(update: Update, states: int, drives: int, shape: tuple[int, ...], spiked: float) -> _Affine:
        count = states + drives
        rows = np.zeros((count, 1 + count, *shape))
        for place in range(count):
            rows[place, 1 + place] = BIG
        made = np.stack(update([*rows[:states]], np.full((1 + count, *shape), spiked), [*rows[states:]]))
        slopes = made[:, 1:] / BIG
        return _Affine(slopes[:, :states], slopes[:, states:], made[:, 0])

    def __call__(self, states: list[Array], drives: list[Array]) -> tuple[Array, Array]:
        """The next states, and the sum of the sizes of what is added in each."""
        sources = np.stack([*states, *drives])
        both = np.concatenate([self.m, self.g], 1)
        terms = both[:, :, None] * sources[None]
        return terms.sum(1) + self.c[:, None], np.abs(terms).sum(1) + np.abs(self.c)[:, None]


def found_rule(
    update: Update, states: int, drives: int, shape: tuple[int, ...], threshold: Array, comparison: Comparison
) -> Rule:
    """The rule of an update whose first state is compared.

    Raises:
        UnsupportedError: it is not that of a linear leaky integrate-and-fire neuron; says what is not.
    """
    silent, spiked = (_Affine.of(update, states, drives, shape, z) for z in (0.0, 1.0))
    _try_on_others(update, (silent, spiked), states, drives, shape)
    keep = silent.m[0, 0]
    if not ((keep >= 0) & (keep <= 1)).all():
        raise _otherwise(f"a step multiplies the potential by {keep.min():g} to {keep.max():g}", "by 0 to 1")
    rule = Rule(keep, tuple(silent.g[0]), silent.c[0], threshold, comparison)
    if states == 2:
        rule = _with_current(rule, silent, spiked)
    return _with_reset(rule, silent, spiked)


def _try_on_others(
    update: Update, fits: tuple[_Affine, _Affine], states: int, drives: int, shape: tuple[int, ...]
) -> None:
    """Compare an update with what was read off it, on random states, drives and spikes.

    Raises:
        UnsupportedError: it is something else.
    """
    random = np.random.default_rng(0)

    def drawn(count: int) -> list[Array]:
        sizes = 10.0 ** random.uniform(-3, 3, (count, ROWS, *(1 for _ in shape)))
        return [*(sizes * random.standard_normal((count, ROWS, *shape)))]

    s, d = drawn(states), drawn(drives)
    z = (random.random((ROWS, *shape)) < 0.5).astype(np.float64)
    made = np.stack(update(s, z, d))
    wanted, size = (np.where(z > 0, b, a) for a, b in zip(fits[0](s, d), fits[1](s, d), strict=True))
    with np.errstate(invalid="ignore"):
        bad = ~(np.abs(made - wanted) <= TOLERANCE * size)
    if not bad.any():
        return
    quiet = z == 0
    when = "also without a spike" if (bad & quiet).any() else "after a spike"
    raise _otherwise(
        f"the next state is not linear in the last one and the input ({when})",
        "v <- decay v + input, and resets by a spike: no squares, clamps, noise, or thresholds that move",
    )


def _with_current(rule: Rule, silent: _Affine, spiked: _Affine) -> Rule:
    """The rule of a neuron whose second state is a current that its potential takes in."""
    takes = np.divide(silent.g[0], silent.g[1], out=np.zeros_like(silent.g[0]), where=silent.g[1] != 0)[0]
    for fit in (silent, spiked):
        same = [(fit.m[1, 0], 0 * takes), (fit.c[1], silent.c[1])]
        same += [(silent.g[0, j], takes * silent.g[1, j]) for j in range(silent.g.shape[1])]
        same += [(fit.g[1], silent.g[1]), (silent.m[0, 1], takes * silent.m[1, 1])]
        if not all(_close(a, b) for a, b in same):
            raise _otherwise(
                "two states that act on each other", "one potential, or a current i <- a i + input that it takes in"
            )
    keep, after = silent.m[1, 1], spiked.m[1, 1]
    if not ((keep >= 0) & (keep <= 1)).all():
        raise _otherwise(f"a step multiplies the current by {keep.min():g} to {keep.max():g}", "by 0 to 1")
    forgets = not _close(after, keep)
    if forgets and not _close(after, 0 * after):
        raise _otherwise("a spike changes the current", "a current that goes on, or that a spike sets to 0")
    gate = _close(spiked.g[0], 0 * spiked.g[0])
    if not gate and not _close(spiked.m[0, 1], takes * after):
        raise _otherwise("after a spike the potential takes in another current", "the same current in each step")
    offset = takes * silent.c[1]
    return replace(rule, keep_current=keep, bias_current=offset, bias=rule.bias - offset, reset_current=forgets)


def _with_reset(rule: Rule, silent: _Affine, spiked: _Affine) -> Rule:
    """The rule with what a spike does to the potential."""
    keep, after, moved = rule.keep, spiked.m[0, 0], spiked.c[0] - silent.c[0]
    if _close(spiked.g[0], silent.g[0]) and _close(after, keep):
        size = np.maximum(np.abs(silent.c[0]), np.abs(rule.threshold))
        if _close(moved, 0 * moved, size):
            return replace(rule, reset="none")
        if _close(moved, -rule.threshold, size):
            return replace(rule, reset="subtract", reset_time="next")
        if _close(moved, -keep * rule.threshold, size):
            return replace(rule, reset="subtract")
        if (rule.gain != 0).all() and not rule.reset_current and rule.keep_current is None:
            return replace(rule, jump=moved)
        raise _otherwise("a spike takes something else than the threshold", "a reset by the threshold")
    if not _close(after, 0 * after):
        raise _otherwise(
            "a spike leaves a part of the potential", "resets to a number, or by a number that is taken from it"
        )
    if _close(spiked.g[0], silent.g[0]):
        if not _close(moved[keep == 0], 0 * moved[keep == 0]):
            raise _otherwise("a spike adds to a potential that is forgotten", "resets to a number")
        to = np.divide(moved, keep, out=np.zeros_like(moved), where=keep != 0)
        return replace(rule, reset="hard", reset_to=to)
    if _close(spiked.g[0], 0 * spiked.g[0]) and not rule.reset_current:
        return replace(rule, reset="hard", reset_time="gate", reset_to=spiked.c[0])
    raise _otherwise("after a spike the input counts otherwise", "an input that counts in each step, or not after one")


def _close(a: Array, b: Array, size: Array | float = 1.0) -> bool:
    largest = np.maximum(np.maximum(np.abs(a), np.abs(b)), size)
    return bool((np.abs(a - b) <= TOLERANCE * largest).all())


def _otherwise(found: str, allowed: str) -> UnsupportedError:
    return UnsupportedError(
        "what is written there is not a linear leaky integrate-and-fire neuron",
        found=found,
        allowed=allowed,
        hint="write the neuron so, or use one of a framework that is known (docs: export neurons written by hand)",
    )


def crossing(outcome: Callable[[Array], Array], shape: tuple[int, ...]) -> tuple[Array, Array, Array, Array]:
    """Where an outcome changes: the last float before, the first one behind, and the outcomes there.

    Raises:
        UnsupportedError: it does not change once.
    """
    low, high = _ordered(np.full(shape, -BIG)), _ordered(np.full(shape, BIG))
    first, last = outcome(-np.full((1, *shape), BIG))[0], outcome(np.full((1, *shape), BIG))[0]
    if not ((first == first.flat[0]) & (last == last.flat[0]) & (first != last)).all():
        raise _otherwise("a comparison that comes out the same for all potentials", "v > threshold, v >= threshold")
    for _ in range(64):
        middle = (low >> 1) + (high >> 1) + (low & high & 1)
        before = outcome(_floats(middle)[None])[0] == first
        low, high = np.where(before, middle, low), np.where(before, high, middle)
    below, above = _floats(low), _floats(high)
    tried = np.random.default_rng(0).standard_normal((ROWS, *shape)) * 10.0 ** np.linspace(-6, 6, ROWS).reshape(
        -1, *(1 for _ in shape)
    )
    for rows in (tried, below + tried):
        if (outcome(rows) != np.where(rows >= above, last, first)).any():
            raise _otherwise("a comparison with more than one threshold", "v > threshold, v >= threshold")
    return below, above, first, last


def _ordered(values: Array) -> Array:
    """Floats as whole numbers of the same order, neighbours next to each other."""
    bits = np.ascontiguousarray(values, np.float64).view(np.int64)
    return np.where(bits < 0, np.int64(-(2**63)) - bits, bits)


def _floats(ordered: Array) -> Array:
    bits = np.where(ordered < 0, np.int64(-(2**63)) - ordered, ordered)
    return np.ascontiguousarray(bits).view(np.float64)


def tensors(values: Sequence[Array]) -> list[torch.Tensor]:
    """Arrays as tensors."""
    return [torch.from_numpy(np.ascontiguousarray(value)) for value in values]
