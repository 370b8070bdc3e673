"""Learning, event by event: traces and rules of plastic projections, compiled by numba.

A synapse is visited at the end of an epoch only if its source or target has spiked in it, or if the rule has a ``uK``
that is due; nothing else can change. The arithmetic is that of `neurodeploy.backends.learning`, written for one synapse
at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodeploy.connectivity import Array
from neurodeploy.network import Arithmetic, Network, Projection
from neurodeploy.plasticity import LIMITS, TARGETS, WIDTH, LearningRule, Trace

from . import learning_kernels as kernels
from .synapses import EventList

_CODES = {name: code for code, name in enumerate(("x1", "x2", "y1", "y2", "y3", "w", "d", "t", "x0", "y0"))}
_DEPENDENCIES = {"x0": kernels.X0, "y0": kernels.Y0, "u": kernels.U}


@dataclass(frozen=True, eq=False)
class Plasticity:
    """A projection that learns, packed for the kernels.

    Args:
        projection: with a rule.
        rule: its rule.
        integer: Loihi's integers, else float64.
        lead: steps by which the target's spikes reach a synapse later than the source's.
        terms: ``[terms, 8]``: target, dependency, mantissa, exponent or right shift, left shift, first factor, factors,
            decimation.
        factors: ``[factors, 4]``: code, constant, whether its sign is meant, width.
    """

    projection: Projection
    rule: LearningRule
    integer: bool
    lead: int
    terms: Array
    factors: Array

    @classmethod
    def of(cls, projection: Projection, arithmetic: Arithmetic, lead: int) -> Plasticity:
        """Pack the rule of a projection."""
        rule, integer = projection.rule, arithmetic == "loihi"
        assert rule is not None
        terms: list[list[int]] = []
        factors: list[list[int]] = []
        for target, products in rule.terms.items():
            for term in products:
                scale = (term.right_shift, term.left_shift) if integer else (term.exponent, 0)
                head = [TARGETS.index(target), _DEPENDENCIES[term.dependency], term.mantissa, *scale]
                terms.append([*head, len(factors), len(term.factors), term.decimation])
                factors += [[_CODES[f.variable], f.constant, int(f.sign), WIDTH[f.variable]] for f in term.factors]
        packed = np.array(factors, np.int64).reshape(-1, 4)
        return cls(projection, rule, integer, lead, np.array(terms, np.int64), packed)

    def start(self, samples: int, steps: int) -> Learning:
        """State of a block of samples before the first step."""
        return Learning(self, samples, steps)


class Learning:
    """State of a plastic projection for a block of samples; synapses are ``[batch, sources, targets]``."""

    def __init__(self, plan: Plasticity, samples: int, steps: int) -> None:
        self.plan, self.step, self.epochs = plan, 0, 0
        rule, kind = plan.rule, plan.projection.connectivity
        number: np.dtype[Any] = np.dtype(np.int64) if plan.integer else np.dtype(np.float64)
        shape = (kind.inputs, kind.outputs)
        tags = [np.zeros(shape) if tag is None else tag.T for tag in (rule.tag_2, rule.tag_1)]
        self.variables = np.stack([kind.weights.T, *tags]).astype(number)
        self.variables = np.tile(self.variables, (samples, 1, 1, 1))
        self.x, self.y = np.zeros((samples, 2, kind.inputs), number), np.zeros((samples, 3, kind.outputs), number)
        self.tx, self.ty = (np.zeros((samples, n), np.int64) for n in (kind.inputs, kind.outputs))
        self.randoms = _Randoms(rule.seed, steps) if plan.integer else None
        self.x_settings, self.y_settings = (_settings(rule.traces(side)) for side in ("x", "y"))

    def currents(self, events: EventList, into: Array) -> None:
        """Add what the sources' events cause with the weights as they are, ``[batch, targets]``."""
        kernels.scatter_learned(events.first, events.index, self.variables, into)

    def advance(self, pre: EventList, post: EventList | None, sent: Array | None) -> None:
        """Learn from one step.

        Args:
            pre: events of the sources.
            post: of the targets; None for none.
            sent: ``y1``, ``y2``, ``y3`` that the targets sent, ``[3, batch, targets]``, with three factors.
        """
        plan, tau = self.plan, self.step % self.plan.rule.epoch + 1
        most = 127 if plan.integer else 0
        kernels.note_spikes(pre.first, pre.index, tau, self.x, self.tx, self.x_settings, 0, most)
        if post is not None:
            random = int(self.randoms.y_impulse[2 * self.step + 1]) if self.randoms else 0
            kernels.note_spikes(post.first, post.index, tau, self.y, self.ty, self.y_settings, random, most)
        if sent is not None:
            self.y[:] = sent.transpose(1, 0, 2)
        self.step += 1
        if tau == plan.rule.epoch:
            self._learn()

    def state(self) -> dict[str, Array]:
        """As `neurodeploy.recording.Recording.learned` has it for one step."""
        w, d, t = (self.variables[:, n].transpose(0, 2, 1) for n in range(3))
        traces = {"x1": self.x[:, 0], "x2": self.x[:, 1], **{f"y{n + 1}": self.y[:, n] for n in range(3)}}
        return {"weights": w, "tag_2": d, "tag_1": t, **traces}

    def _learn(self) -> None:
        plan, rule = self.plan, self.plan.rule
        self.epochs += 1
        random_x = random_y = (0.0, 0)
        variable = 0.0
        if self.randoms:
            n = 2 * self.step
            random_x = float(self.randoms.x_decay[n]), int(self.randoms.x_impulse[n])
            random_y = float(self.randoms.y_decay[n]), int(self.randoms.y_impulse[n])
            variable = float(self.randoms.variable[self.epochs])
        past_x = kernels.trace_history(self.x, self.tx, rule.epoch, self.x_settings, random_x, int(plan.integer))
        past_y = kernels.trace_history(self.y, self.ty, rule.epoch, self.y_settings, random_y, int(plan.integer))
        self.x = past_x[-1]
        if rule.factors == 2:
            self.y = past_y[-1]
        inputs = plan.terms, plan.factors, self.epochs, self.tx, self.ty, past_x, past_y, self.variables
        changes = np.array([target in rule.terms for target in TARGETS])
        if plan.integer:
            limits = np.array([LIMITS[rule.sign], (0, 255), (-257, 255)])
            signs = np.array([{"mixed": 0, "excitatory": 1, "inhibitory": -1}[rule.sign], 1, 0])
            kernels.learn_integer(*inputs, changes, limits, signs, variable)
        else:
            signs = np.array([{"mixed": 0, "excitatory": 1, "inhibitory": -1}[rule.sign], 1, 0])
            kernels.learn_float(*inputs, changes, signs)
        self.tx[:] = 0
        self.ty[:] = 0


class _Randoms:
    """Lava's random numbers, which depend on the seed and the step alone."""

    def __init__(self, seed: int, steps: int) -> None:
        count = 2 * steps + 1
        self.x_decay = np.random.default_rng(seed).random(count)
        self.y_decay = np.random.default_rng(seed + 2).random(count)
        self.x_impulse = np.random.default_rng(seed + 1).integers(0, 128, size=count, dtype=int)
        self.y_impulse = np.random.default_rng(seed + 3).integers(0, 128, size=count, dtype=int)
        self.variable = np.random.default_rng(2).random(steps + 1)


def _settings(traces: tuple[Trace, ...]) -> Array:
    """``[traces, 4]``: whole and 256ths of the impulse, the impulse itself, what a step leaves (0 for tau 0)."""
    rows = []
    for trace in traces:
        whole = np.floor(trace.impulse)
        left = float(np.exp(-1 / trace.tau)) if trace.tau else 0.0
        rows.append([whole, np.round((trace.impulse - whole) * 256), trace.impulse, left])
    return np.array(rows, np.float64)


class Teacher:
    """What targets of a three-factor rule send beside their spikes; see `neurodeploy.backends.learning.Messages`."""

    def __init__(self, rule: LearningRule, samples: int, neurons: int, integer: bool) -> None:
        left = [float(np.exp(-1 / trace.tau)) if trace.tau else 0.0 for trace in (rule.y1, rule.y3)]
        self.integer = integer
        self.left = left
        self.impulse = rule.y1.impulse
        self.value = np.zeros((3, samples, neurons), np.int64 if integer else np.float64)

    def step(self, spikes: Array, reward: Array) -> Array:
        """Return ``y1``, ``y2``, ``y3`` after a step, ``[3, batch, neurons]``; ``reward`` is cleared."""
        new = np.empty_like(self.value)
        if self.integer:
            left = [round(4096 * value) for value in self.left]
            kernels.teach_integer(self.value, spikes, reward, left[0], left[1], int(self.impulse), new)
        else:
            new[0] = self.left[0] * self.value[0] + self.impulse * spikes
            new[1] = reward
            new[2] = self.left[1] * self.value[2] + reward
        reward[:] = 0
        self.value = new
        return new


def leads(network: Network) -> dict[str, int]:
    """For each projection that learns, the steps by which it hears of its target's spikes later than its source's."""
    from neurodeploy.schedule import schedule

    plastic = [p for p in network.projections if p.rule is not None]
    lag = schedule(network).lag if plastic else {}
    return {p.name: lag[p.target] - lag[p.source] for p in plastic}
