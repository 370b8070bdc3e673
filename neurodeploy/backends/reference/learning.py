"""The reference of learning: Loihi's engine in plain NumPy, for the integers and the floats of Lava's LearningDense.

Sources: Lava 0.10.0, ``magma/core/model/py/connection.py`` (``LearningConnectionModelBitApproximate``, ``...Float``)
and ``magma/core/learning/learning_rule_applier.py``, stated here for a batch. Step k of the engine sees the source's
spikes of network step k, and the target's spikes that reach the synapse at the same time on a chip, where each hop
costs a step.

In an epoch, the last spike time of each neuron is kept, and earlier ones of the same epoch count at once for its
traces. At its end the traces' history over the epoch is drawn up, and the rule applied to what it read before.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Arithmetic
from neurodeploy.network.plasticity import LIMITS, WIDTH, LearningRule, Term, Trace

TRACE_MAX = 127
VARIABLE = {"dw": "w", "dd": "d", "dt": "t"}
NAMES = {"w": "weights", "d": "tag_2", "t": "tag_1"}


class Randoms:
    """The random numbers of one engine, which do not depend on data: step by step, as Lava draws them.

    Args:
        seed: of the rule.
        steps: for which numbers are drawn.
    """

    def __init__(self, seed: int, steps: int) -> None:
        draws = 2 * steps + 1  # one when it is made, two in every step
        self.x_decay, self.y_decay = (np.random.default_rng(seed + n).random(draws) for n in (0, 2))
        self.x_impulse, self.y_impulse = (
            np.array([generator.integers(0, 128, size=1, dtype=int)[0] for _ in range(draws)])
            for generator in (np.random.default_rng(seed + n) for n in (1, 3))
        )
        self.variable = np.random.default_rng(2).random(steps + 1)


class Engine:
    """One plastic projection.

    Args:
        rule: to apply.
        weights: initial, ``[targets, sources]``.
        samples: in the batch; each begins anew.
        steps: of the run.
        arithmetic: of the network.
    """

    def __init__(self, rule: LearningRule, weights: Array, samples: int, steps: int, arithmetic: Arithmetic) -> None:
        self.rule, self.integer = rule, arithmetic == "loihi"
        self.number = np.dtype(np.int64) if self.integer else np.dtype(np.float64)
        targets, sources = weights.shape
        tags = {"d": rule.tag_2, "t": rule.tag_1}
        start = {"w": weights, **{n: np.zeros(weights.shape) if v is None else v for n, v in tags.items()}}
        self.synapse = {n: np.tile(v.astype(self.number), (samples, 1, 1)) for n, v in start.items()}
        self.x = np.zeros((2, samples, sources), self.number)
        self.y = np.zeros((3, samples, targets), self.number)
        self.tx, self.ty = np.zeros((samples, sources), np.int64), np.zeros((samples, targets), np.int64)
        self.randoms = Randoms(rule.seed, steps) if self.integer else None
        self.step, self.epochs = 0, 0

    def currents(self, pre: Array) -> Array:
        """Return what spikes ``[batch, sources]`` cause with the weights as they are, ``[batch, targets]``."""
        return np.asarray(np.einsum("bts,bs->bt", self.synapse["w"], pre.astype(self.number)))

    def advance(self, pre: Array, post: Array, sent: Array | None = None) -> None:
        """Learn from one step.

        Args:
            pre: spikes of the sources, ``[batch, sources]``.
            post: of the targets, ``[batch, targets]``.
            sent: ``y1``, ``y2``, ``y3`` that the targets sent, ``[3, batch, targets]``, with three factors.
        """
        tau = self.step % self.rule.epoch + 1
        self._again(self.x, (self.tx > 0) & (pre != 0), self.rule.traces("x"), 0)
        self.tx = np.where(pre != 0, tau, self.tx)
        random = int(self.randoms.y_impulse[2 * self.step + 1]) if self.randoms else 0
        self._again(self.y, (self.ty > 0) & (post != 0), self.rule.traces("y"), random)
        self.ty = np.where(post != 0, tau, self.ty)
        if sent is not None:
            self.y = sent.astype(self.number)
        self.step += 1
        if tau == self.rule.epoch:
            self._learn()

    def state(self) -> dict[str, Array]:
        """See `neurodeploy.program.recording.Recording.learned`; of this step."""
        traces = {"x1": self.x[0], "x2": self.x[1], "y1": self.y[0], "y2": self.y[1], "y3": self.y[2]}
        return {name: v.copy() for name, v in {**{NAMES[n]: v for n, v in self.synapse.items()}, **traces}.items()}

    def _again(self, traces: Array, again: Array, settings: tuple[Trace, ...], random: int) -> None:
        """Count the impulse of an earlier spike of this epoch for neurons that spike again."""
        for trace, setting in zip(traces, settings, strict=True):
            trace[again] = self._raised(trace[again], setting.impulse, random)

    def _raised(self, value: Array, impulse: float, random: int) -> Array:
        if not self.integer:
            return value + impulse
        whole = int(np.floor(impulse))
        fraction = int(np.round((impulse - whole) * 256))
        return np.asarray(np.clip(value + whole + (random < fraction), 0, TRACE_MAX))

    def _learn(self) -> None:
        random_x = random_y = (0.0, 0)
        if self.randoms:
            n = 2 * self.step
            random_x = float(self.randoms.x_decay[n]), int(self.randoms.x_impulse[n])
            random_y = float(self.randoms.y_decay[n]), int(self.randoms.y_impulse[n])
        x = self._history(self.x, self.tx, self.rule.traces("x"), random_x)
        y = self._history(self.y, self.ty, self.rule.traces("y"), random_y)
        self.epochs += 1
        self.x = x[-1]
        if self.rule.factors == 2:
            self.y = y[-1]
        before = dict(self.synapse)
        for target, terms in self.rule.terms.items():
            name = VARIABLE[target]
            if self.integer:
                self.synapse[name] = self._rounded(name, self._sum_integer(before, before[name], terms, x, y))
            else:
                self.synapse[name] = self._kept(name, before[name] + self._sum_float(before, terms, x, y))
        self.tx, self.ty = np.zeros_like(self.tx), np.zeros_like(self.ty)

    def _history(self, start: Array, times: Array, settings: tuple[Trace, ...], random: tuple[float, int]) -> Array:
        """Traces after each step of the epoch, ``[1 + epoch, traces, batch, neurons]``; entry 0 is before it."""
        history = np.zeros((self.rule.epoch + 1, *start.shape), self.number)
        history[0] = start
        for t in range(1, self.rule.epoch + 1):
            for index, setting in enumerate(settings):
                value = np.zeros_like(start[index])
                if setting.tau:
                    decayed = np.exp(-1 / setting.tau) * history[t - 1, index]
                    if self.integer:
                        decayed = np.floor(decayed) + (random[0] < decayed % 1)
                    value = decayed.astype(self.number)
                history[t, index] = np.where(
                    times == t, self._raised(value, setting.impulse, random[1]), value
                )  # fmt: skip
        return history

    def _read(self, term: Term, x: Array, y: Array) -> dict[str, Array]:
        """Traces where a product's dependency takes them, broadcastable to ``[batch, targets, sources]``."""
        batch = np.arange(self.tx.shape[0])
        found = {}
        for history, names, own in ((x, ("x1", "x2"), "x0"), (y, ("y1", "y2", "y3"), "y0")):
            for index, name in enumerate(names):
                trace = history[:, index]  # [time, batch, neurons]
                mine = own == "x0"
                if term.dependency == "u":
                    value = trace[-1][:, None, :] if mine else trace[-1][:, :, None]
                else:
                    times = self.tx if term.dependency == "x0" else self.ty
                    if own == term.dependency:
                        at = np.take_along_axis(trace, times[None], axis=0)[0]
                        value = at[:, None, :] if mine else at[:, :, None]
                    else:  # each spike time of the one side, all neurons of the other
                        at = trace[times, batch[:, None]]  # [batch, times, neurons]
                        value = at if mine else at.transpose(0, 2, 1)
                found[name] = value
        return found

    def _factors(self, term: Term, before: Mapping[str, Array], x: Array, y: Array) -> tuple[Array, list[Array]]:
        """The dependency, and the factors before any scaling."""
        spiked = {"x0": (self.tx > 0)[:, None, :], "y0": (self.ty > 0)[:, :, None]}
        values = {**before, **self._read(term, x, y), **spiked}
        due = self.epochs % 2**term.decimation == 0
        dependency = spiked.get(term.dependency, np.full((1, 1, 1), due))
        factors = []
        for factor in term.factors:
            value = values[factor.variable] + (factor.constant if factor.constant else self.number.type(0))
            factors.append(np.sign(value) if factor.sign else value)
        return dependency.astype(self.number), factors

    def _sum_integer(
        self, before: Mapping[str, Array], old: Array, terms: tuple[Term, ...], x: Array, y: Array
    ) -> Array:
        low, high = -(1 << 15) - 1, (1 << 15) - 1
        total = old << 7
        for term in terms:
            product, factors = self._factors(term, before, x, y)
            for factor, value in zip(term.factors, factors, strict=True):
                width = WIDTH[factor.variable]
                product = _wrapped(product * np.clip(value, -(1 << width), (1 << width) - 1))
            product = _wrapped(product * term.mantissa) >> term.right_shift
            product = np.clip(_wrapped(product << term.left_shift), low, high)
            total = np.clip(total + product, low, high)
        return total

    def _sum_float(self, before: Mapping[str, Array], terms: tuple[Term, ...], x: Array, y: Array) -> Array:
        total = np.zeros_like(before["w"])
        for term in terms:
            product, factors = self._factors(term, before, x, y)
            for value in factors:
                product = product * value
            total = total + term.mantissa * 2.0**term.exponent * product
        return total

    def _rounded(self, name: str, accumulated: Array) -> Array:
        """From the accumulator back to the variable, stochastically; one random number serves all."""
        assert self.randoms
        value = self._kept(name, accumulated)
        value = (value >> 7) + (self.randoms.variable[self.epochs] < (value & 127) / 128)
        limits = {"w": LIMITS[self.rule.sign], "d": (0, 255), "t": (-257, 255)}
        return np.asarray(np.clip(value, *limits[name]))

    def _kept(self, name: str, value: Array) -> Array:
        """Without the sign that the variable may not have."""
        if name == "d" or (name == "w" and self.rule.sign == "excitatory"):
            return np.maximum(value, 0)
        return np.minimum(value, 0) if name == "w" and self.rule.sign == "inhibitory" else value


def _wrapped(value: Array) -> Array:
    """As 32-bit integers multiply."""
    return ((value + (1 << 31)) & ((1 << 32) - 1)) - (1 << 31)


class Messages:
    """What the targets of a three-factor rule send beside their spikes.

        y1 <- min(127, (k1 y1 >> 12) + impulse s),   y2 = r,   y3 <- clip(trunc(k3 y3 / 4096) + r, -128, 127)

    with the spikes s, what arrives at port 1 (the reward r, held within -128 to 127), and k = round(4096 e^(-1/tau)), 0
    for tau 0. In floats without the rounding and the limits.

    Args:
        rule: whose traces they are.
        samples, neurons: extent.
        arithmetic: of the network.
    """

    def __init__(self, rule: LearningRule, samples: int, neurons: int, arithmetic: Arithmetic) -> None:
        self.integer = arithmetic == "loihi"
        number = np.int64 if self.integer else np.float64
        self.impulse = int(rule.y1.impulse) if self.integer else rule.y1.impulse
        self.keep = [np.exp(-1 / trace.tau) if trace.tau else 0.0 for trace in (rule.y1, rule.y3)]
        self.value: Array = np.zeros((3, samples, neurons), number)

    def step(self, spikes: Array, reward: Array) -> Array:
        """Return ``y1``, ``y2``, ``y3`` after a step, ``[3, batch, neurons]``."""
        y1, y3 = self.value[0], self.value[2]
        if self.integer:
            k1, k3 = (int(np.rint(4096 * keep)) for keep in self.keep)
            reward = np.clip(reward, -128, 127)
            y1 = np.minimum(((k1 * y1) >> 12) + self.impulse * spikes, TRACE_MAX)
            y3 = np.clip(np.sign(y3) * ((np.abs(y3) * k3) >> 12) + reward, -128, 127)
        else:
            y1 = self.keep[0] * y1 + self.impulse * spikes
            y3 = self.keep[1] * y3 + reward
        self.value = np.stack([y1, reward, y3])
        return self.value
