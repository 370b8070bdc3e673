"""The NIR reference: interprets a NIR graph node by node, with NIR's own equations and no compilation in between.

It shares nothing with the lowering but the questions of `neurodeploy.nir_graph.shapes` (shapes, order, delayed edges),
so the two check each other. Forward Euler with step dt, everything within one step, loops through last step's value,
as long as the conventions say nothing else:

    LIF     v <- v + (dt / tau) ((v_leak - v) + r I)      CubaLIF  i <- i + (dt / tau_syn) (w_in I - i)
    IF      v <- v + dt r I                                        v <- v + (dt / tau_mem) ((v_leak - v) + r i)
    spike where v > v_threshold; v <- v_reset (or the convention given)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodeploy.errors import InvalidInputError, UnsupportedError
from neurodeploy.network.arrays import Array
from neurodeploy.program.recording import Events, Recording

from .conventions import Conventions, late_edges, meant, rules_of
from .host_nodes import FROM_HOST, STAGE
from .max_node import largest
from .metadata import NeuronRules
from .nir_file import NirFile
from .shapes import NEURONS, delayed_edges, digraph, kind, of_kind, order, shapes


def run(
    file: NirFile,
    inputs: Mapping[str, Array],
    conventions: Conventions,
    *,
    dtype: type = np.float64,
    progress: Callable[[int, int], None] | None = None,
    decisions: bool = False,
) -> Recording:
    """Interpret a graph.

    Args:
        inputs: for each Input node ``[time, batch, *shape]``; the key ``""`` names the only one.
        dtype: of the arithmetic.
        decisions: whether to keep what each spike was decided by, too.

    Returns:
        Spikes and the state ``v`` (after the reset) of every neuron node, flattened per sample; with ``decisions`` also
        the states ``decided`` (the potential that was compared, before the reset of this step) and ``threshold`` (what
        it was compared with) of every node that spikes.

    Raises:
        InvalidInputError: inputs that do not match the graph.
        UnsupportedError: a node that is not expressed.
    """
    graph = meant(file, conventions)
    delayed, shape_of, edges = late_edges(graph, conventions), shapes(graph), digraph(graph)
    looped = delayed_edges(graph)
    values, steps, samples = _inputs(graph, shape_of, inputs, dtype)
    neurons = of_kind(graph, *NEURONS)
    cells = {name: _Cell.of(name, graph.nodes[name], shape_of[name], samples, conventions, dtype) for name in neurons}
    now: dict[str, Array] = {}
    last: dict[str, Array] = {name: np.zeros((samples, *shape_of[name]), dtype) for name in neurons}
    out: dict[str, Array] = {name: np.zeros((steps, samples, int(np.prod(shape_of[name]))), dtype) for name in neurons}
    v = {name: np.zeros_like(array) for name, array in out.items()}
    firing = [name for name in neurons if cells[name].spiking] if decisions else []
    compared = {name: (np.zeros_like(v[name]), np.zeros_like(v[name])) for name in firing}
    waiting = {name: _Waiting.of(name, graph, shape_of[name], conventions.dt) for name in of_kind(graph, "Delay")}
    sequence = order(graph, delayed)
    for t in range(steps):
        for name in sequence:
            node = graph.nodes[name]
            if name in values:
                now[name] = values[name][t]
            if name in values or kind(node) == STAGE:
                continue
            arriving = []
            for source in sorted(edges.predecessors(name)):
                if (source, name) not in delayed:
                    if source in now:
                        arriving.append(now[source])
                elif t > 0 or (source, name) not in looped or conventions.recurrent_bias == "from-start":
                    arriving.append(last[source])
            if name in waiting:
                arriving = waiting[name].pass_on(np.sum(arriving, axis=0) if arriving else None, t)
            if not arriving:
                now.pop(name, None)
                continue
            total = np.sum(arriving, axis=0)
            if name in waiting:
                now[name] = total
            elif name in cells:
                now[name] = cells[name].step(total.reshape(samples, *shape_of[name]))
                out[name][t], v[name][t] = now[name].reshape(samples, -1), cells[name].v.reshape(samples, -1)
                for array, value in zip(compared.get(name, ()), cells[name].compared, strict=False):
                    array[t] = np.broadcast_to(value, (samples, *shape_of[name])).reshape(samples, -1)
            else:
                now[name] = _linear(name, node, total)
        last = {name: now[name] for name in neurons}
        if progress:
            progress(t + 1, steps)
    spikes = {n: Events.from_dense(out[n]) for n in neurons if cells[n].spiking}
    spikes |= {n: Events.from_dense(values[n].reshape(steps, samples, -1)) for n in of_kind(graph, *_SOURCES)}
    states = {"v": v}
    if decisions:
        states["decided"] = {name: potential for name, (potential, _) in compared.items()}
        states["threshold"] = {name: threshold for name, (_, threshold) in compared.items()}
    return Recording("nir", steps, samples, spikes, states)


_SOURCES = ("Input", FROM_HOST)
"""Nodes that are given: what a host sends is made by whoever runs its stages."""


def _inputs(
    graph: Any, shape_of: Mapping[str, tuple[int, ...]], inputs: Mapping[str, Array], dtype: type
) -> tuple[dict[str, Array], int, int]:
    """What each Input node gets, ``[time, batch, *shape]``, with the numbers of steps and samples."""
    sources = of_kind(graph, *_SOURCES)
    given = {sources[0] if k == "" and len(sources) == 1 else k: np.asarray(v) for k, v in inputs.items()}
    if sorted(given) != sources:
        raise InvalidInputError("the inputs do not match the graph", found=sorted(given), allowed=sources)
    steps, samples = next(iter(given.values())).shape[:2]
    values: dict[str, Array] = {}
    for name in sources:
        if given[name].shape[:2] != (steps, samples) or given[name][0, 0].size != np.prod(shape_of[name]):
            raise InvalidInputError(
                f"input {name!r} has the wrong shape",
                found=list(given[name].shape),
                allowed=f"[time, batch, {', '.join(map(str, shape_of[name]))}]",
            )
        values[name] = given[name].reshape(steps, samples, *shape_of[name]).astype(dtype)
    return values, steps, samples


@dataclass(eq=False)
class _Waiting:
    """What a Delay node has received and not yet put out: ``y(t) = x(t - delay)``, each neuron with its own delay."""

    steps: Array
    received: list[Array | None]

    @classmethod
    def of(cls, name: str, graph: Any, shape: tuple[int, ...], dt: float) -> _Waiting:
        steps = np.rint(np.broadcast_to(graph.nodes[name].delay, shape) / dt)
        if (steps < 0).any() or (steps > 1 << 16).any():
            raise InvalidInputError(f"node {name!r} has a delay that cannot be used", found=f"{steps.max():g} steps")
        return cls(steps.astype(np.int64), [])

    def pass_on(self, x: Array | None, t: int) -> list[Array]:
        """What comes out in step ``t``, in a list; nothing while nothing arrives yet (the first step of a loop)."""
        self.received.append(x)
        if x is None:
            return []
        out = np.zeros_like(x)
        for delay in np.unique(self.steps):
            before = self.received[t - int(delay)] if t >= delay else None
            if before is not None:
                out[:, self.steps == delay] = before[:, self.steps == delay]
        return [out]


def _linear(name: str, node: Any, x: Array) -> Array:
    what = kind(node)
    if what == "Output":
        return x
    if what in ("Affine", "Linear"):
        y: Array = x @ np.asarray(node.weight, x.dtype).T
        return y + np.asarray(node.bias, x.dtype) if what == "Affine" else y
    if what == "Scale":
        return np.asarray(x * np.asarray(node.scale, x.dtype))
    if what == "Max":
        return largest(x, node.index)
    if what == "Flatten":
        start, end = int(node.start_dim), int(node.end_dim)
        rank = x.ndim - 1
        start, end = start % rank + 1, end % rank + 1
        return x.reshape(*x.shape[:start], -1, *x.shape[end + 1 :])
    if what in ("Conv1d", "Conv2d", "SumPool2d", "AvgPool2d"):
        from neurodeploy.network.compose import spatial

        conv = spatial(node, x.shape[1:])
        y = conv.apply(x.reshape(len(x), -1)).reshape(len(x), *conv.output_shape)
        y = y + np.asarray(node.bias, x.dtype)[:, None, None] if what.startswith("Conv") else y
        return y[:, :, 0] if what == "Conv1d" else y
    raise UnsupportedError(f"the NIR reference does not interpret node {name!r} of type {what}")


@dataclass(eq=False)
class _Cell:
    """State and equations of one neuron node."""

    name: str
    what: str
    parameters: dict[str, Array]
    conventions: Conventions
    rules: NeuronRules
    i: Array
    v: Array
    pending: Array
    """Of the neurons that reset late: whether the stored potential is above the threshold."""
    wait: Array
    """Steps for which a neuron stays refractory."""
    raised: Array
    """What an adaptive threshold is raised by."""
    compared: tuple[Array, ...] = ()
    """The potential and the threshold that decided on the spikes of the last step."""

    @classmethod
    def of(
        cls, name: str, node: Any, shape: tuple[int, ...], samples: int, conventions: Conventions, dtype: type
    ) -> _Cell:
        rules = rules_of(name, node, conventions)
        names = ("tau", "tau_mem", "tau_syn", "r", "v_leak", "v_threshold", "v_reset", "threshold", "w_in")
        parameters: dict[str, Array] = {n: np.asarray(getattr(node, n), dtype) for n in names if hasattr(node, n)}
        parameters = {n: p if p.size == 1 else p.reshape(shape) for n, p in parameters.items()}
        zero: Array = np.zeros((samples, *shape), dtype)
        v = zero + np.asarray(rules.initial, dtype)
        cell = cls(name, kind(node), parameters, conventions, rules, zero, v, zero, zero, zero)
        if cell.spiking and rules.reset_time != "now":
            cell.pending = cell._count(v)  # also of what is above its threshold before the first step
        return cell

    @property
    def spiking(self) -> bool:
        return self.what in ("LIF", "IF", "CubaLIF", "Threshold")

    def step(self, x: Array) -> Array:
        """Advance by one step; return spikes, or the potential of a unit that does not spike."""
        p, rules = self.parameters, self.rules
        if self.what == "Threshold":
            self.v = x
            self.compared = (x, self._threshold())
            return self._count(x)
        v_reset = p.get("v_reset", np.zeros((), x.dtype))
        before = self.v
        if (rules.reset, rules.reset_time) == ("hard", "next"):
            self.v = np.where(self.pending > 0, v_reset, self.v)
        self._integrate(x)
        if not self.spiking:
            return self._bounded()
        if rules.reset_time == "gate":
            self.v = np.where(self.pending > 0, v_reset, self.v)
        elif (rules.reset, rules.reset_time) in (("subtract", "next"), ("subtract", "once")):
            self.v = self.v - self.pending * p["v_threshold"]
        spikes = self._count(self.v)
        self.compared = (self.v, self._threshold())
        if rules.reset_time == "once":
            self.v = self.v - (spikes - self.pending) * p["v_threshold"]
        elif rules.reset_time == "now" and rules.reset == "hard":
            self.v = np.where(spikes > 0, v_reset, self.v)
        elif rules.reset_time == "now" and rules.reset == "subtract":
            self.v = self.v - spikes * self._threshold()
        self._bounded()
        if rules.reset_time != "now":
            self.pending = self._count(self.v)
        if rules.refractory is not None:
            quiet = self.wait > 0
            self.v, spikes = np.where(quiet, before, self.v), np.where(quiet, 0, spikes)
            self.wait = np.where(spikes > 0, rules.refractory, np.maximum(self.wait - 1, 0))
        if rules.reset_current:
            self.i = np.where(spikes > 0, np.zeros_like(self.i), self.i)
        if rules.threshold_decay is not None:
            jump = np.asarray(rules.threshold_jump, x.dtype) * spikes
            self.raised = self.raised * (1 - np.asarray(rules.threshold_decay, x.dtype)) + jump
        return np.asarray(spikes, x.dtype)

    def _integrate(self, x: Array) -> None:
        """NIR's differential equations, one step, in the conventions of this node."""
        p, gain = self.parameters, self.conventions.at(self.name, "gain")
        if self.what in ("LIF", "LI"):
            a = self._rate("tau")
            if gain in ("unit", "decayed"):
                arriving = (1 - a) * x if gain == "decayed" and self.what == "LI" else x
            else:
                arriving = a * p["r"] * x
            self.v = self.v + a * (p["v_leak"] - self.v) + arriving
        elif self.what in ("IF", "I"):
            self.v = self.v + (x if gain in ("unit", "decayed") else self.conventions.dt * p["r"] * x)
        else:
            a_syn, a_mem = self._rate("tau_syn"), self._rate("tau_mem")
            arriving = {"nir": a_syn * p["w_in"], "decayed": 1 - a_syn}.get(gain, 1) * x
            self.i = self.i - a_syn * self.i + arriving
            drive = self.i if gain in ("unit", "decayed") else a_mem * p["r"] * self.i
            self.v = self.v + a_mem * (p["v_leak"] - self.v) + drive

    def _rate(self, parameter: str) -> Array:
        """What is lost of a state in a step."""
        ratio = self.conventions.dt / (self.parameters[parameter] * self.conventions.tau_unit)
        return np.asarray(1 - np.exp(-ratio) if self.conventions.decay == "exponential" else ratio)

    def _bounded(self) -> Array:
        if self.rules.floor is not None:
            self.v = np.maximum(self.v, self.rules.floor)
        return self.v

    def _count(self, v: Array) -> Array:
        """Number of spikes that each potential is worth."""
        threshold = self._threshold()
        if self.rules.max_spikes > 1:
            return np.clip(np.trunc(v / threshold), 0, self.rules.max_spikes).astype(v.dtype)
        return np.asarray((v >= threshold if self.rules.comparison == ">=" else v > threshold).astype(v.dtype))

    def _threshold(self) -> Array:
        fixed = self.parameters["threshold" if self.what == "Threshold" else "v_threshold"]
        return fixed if self.rules.threshold_decay is None else fixed + self.raised
