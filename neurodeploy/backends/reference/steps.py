"""One step of every neuron model in plain NumPy; see `neurodeploy.network.neurons` for the equations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Population
from neurodeploy.network.neurons import Lif, Neuron, Product, Relu, SigmaDelta
from neurodeploy.program import overflow

M = 1 << 23
"""Half the range of Loihi's 24-bit state."""


@dataclass
class State:
    """State of one population, ``[batch, neurons]``.

    Args:
        u, v: current and potential.
        memory: what else a model keeps, by name; 0 before the first step.
        left: how often integers left their range, by kind (`neurodeploy.program.overflow`).
    """

    u: Array
    v: Array
    memory: dict[str, Array] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=lambda: dict.fromkeys(overflow.KINDS, 0))

    @classmethod
    def of(cls, population: Population, samples: int, number: np.dtype[Any]) -> State:
        v = np.broadcast_to(population.neuron.first_potential(population.size), (samples, population.size))
        return cls(np.zeros(v.shape, number), v.astype(number))

    def kept(self, name: str) -> Array:
        """A variable of the model's own."""
        return self.memory.setdefault(name, np.zeros_like(self.u))

    def wrapped(self, u: Array) -> Array:
        """Currents of integers wrapped once into 24 bits, and counted where they were."""
        self.left["u_wraps"] += int(((u > M) | (u <= -M)).sum())
        return np.where(u > M, u - 2 * M, np.where(u <= -M, u + 2 * M, u))

    def saturated(self, value: Array, integer: bool, kind: str = "v_saturates") -> Array:
        """A value held within 24 bits where it is an integer, and counted where it was not."""
        held = np.clip(value, -M + 1, M - 1) if integer else value
        self.left[kind] += int((held != value).sum())
        return held


def _sigma_delta(neuron: SigmaDelta, state: State, current: Array, second: Array, integer: bool) -> Array:
    del second
    state.u = state.saturated(state.u + current if neuron.accumulate else current, integer)
    v = state.saturated(state.u + neuron.bias.astype(current.dtype), integer)
    state.v = np.maximum(v, 0) if neuron.activation == "relu" else v
    difference = state.v - state.kept("sent")
    sent = message = np.where(np.abs(difference) >= neuron.threshold, difference, 0)
    if neuron.send_shift:
        message = sent >> neuron.send_shift
        sent = message << neuron.send_shift if neuron.remainder == "kept" else sent
    state.memory["sent"] = state.kept("sent") + sent
    return np.asarray(message)


def _relu(neuron: Relu, state: State, current: Array, second: Array, integer: bool) -> Array:
    del second
    v = state.saturated(current + neuron.bias.astype(current.dtype), integer)
    return np.where(v > neuron.threshold, v, 0)


def _product(neuron: Product, state: State, first: Array, second: Array, integer: bool) -> Array:
    v = state.saturated((first * second) >> neuron.shift if integer else first * second, integer)
    return np.where(np.abs(v) > neuron.threshold, v, 0)


def decay(value: Array, fraction: Array) -> Array:
    """Loihi's decay: ``value * (4096 - fraction) / 4096``, rounded toward zero."""
    kept: Array = np.sign(value) * ((np.abs(value) * (4096 - fraction.astype(np.int64))) >> 12)
    return kept


def _step_float(neuron: Lif, state: State, current: Array) -> tuple[Array, Array]:
    u, v = state.u, state.v
    number = u.dtype
    crossed = _spikes(neuron, v) if neuron.reset_time != "now" else None
    state.u = (1 - neuron.du.astype(number)) * u + current
    rest = _rest(neuron, v, crossed)
    v = (1 - neuron.dv.astype(number)) * rest + state.u + neuron.bias.astype(number)
    return _fire(neuron, _late_reset(neuron, v, crossed), crossed)


def _lif(neuron: Lif, state: State, current: Array, second: Array, integer: bool) -> Array:
    del second  # what arrives at port 1 is for learning
    adapts = neuron.threshold_decay is not None and neuron.threshold_jump is not None
    fired = replace(neuron, threshold=neuron.threshold + state.kept("raised")) if adapts else neuron
    before = state.v
    state.v, sent = (_step_integer if integer else _step_float)(fired, state, current)
    if not neuron.spiking:
        return sent >> neuron.send_shift if neuron.send_shift else sent
    if neuron.refractory is not None:
        held = state.kept("wait") > 0
        state.v, sent = np.where(held, before, state.v), np.where(held, 0, sent)
        state.memory["wait"] = np.where(sent != 0, neuron.refractory, state.kept("wait") - held)
    if neuron.reset_current:
        state.u = np.where(sent != 0, np.zeros_like(state.u), state.u)
    if neuron.threshold_decay is not None and neuron.threshold_jump is not None:
        raised = state.kept("raised")
        kept = decay(raised, neuron.threshold_decay) if integer else (1 - neuron.threshold_decay) * raised
        jumped = kept + neuron.threshold_jump * np.abs(sent)
        state.memory["raised"] = state.saturated(jumped, integer, "threshold_saturates")
    return sent


def _step_integer(neuron: Lif, state: State, current: Array) -> tuple[Array, Array]:
    crossed = _spikes(neuron, state.v) if neuron.reset_time != "now" else None
    state.u = state.wrapped(decay(state.u, neuron.du.astype(np.int64) + 1) + (current << 6))
    whole = _late_reset(neuron, decay(_rest(neuron, state.v, crossed), neuron.dv) + state.u + neuron.bias, crossed)
    held = np.clip(whole, -M + 1, M - 1)
    v, sent = _fire(neuron, held, crossed)
    state.left["v_saturates"] += int(_lost(neuron, state, whole, held, sent).sum())
    return v, sent


def _lost(neuron: Lif, state: State, whole: Array, held: Array, sent: Array) -> Array:
    """Where saturation took something away: see `neurodeploy.program.overflow`."""
    lost = whole != held
    if neuron.spiking and neuron.reset == "hard" and neuron.max_spikes == 1:
        lost &= sent == 0
    if neuron.floor is not None:
        lost &= (whole > held) | (neuron.floor <= -M)
    if neuron.refractory is not None:
        lost &= state.kept("wait") == 0
    return np.asarray(lost)


def _spikes(neuron: Lif, v: Array) -> Array:
    """How many spikes each potential is worth: 0 or 1 unless `max_spikes` allows more, or `lower` asks for -1."""
    threshold = neuron.threshold.astype(v.dtype)
    if neuron.max_spikes > 1:
        times = np.trunc(v / threshold) if v.dtype.kind == "f" else v // threshold
        return np.where(v > 0, np.minimum(times, neuron.max_spikes), 0).astype(v.dtype)
    equal = neuron.comparison == ">="
    crosses = (v >= threshold if equal else v > threshold).astype(v.dtype)
    if neuron.lower is not None:
        lower = neuron.lower.astype(v.dtype)
        crosses = crosses - (~crosses.astype(bool) & (v <= lower if equal else v < lower))
    return np.asarray(crosses)


def _rest(neuron: Lif, v: Array, crossed: Array | None) -> Array:
    """The potential from which this step starts: reset now if the reset of the last spike waited for it."""
    if crossed is None or (neuron.reset, neuron.reset_time) != ("hard", "next"):
        return v
    return np.where(crossed > 0, neuron.reset_to.astype(v.dtype), v)


def _late_reset(neuron: Lif, v: Array, crossed: Array | None) -> Array:
    """The part of the last spike's reset that acts after this step's input."""
    if crossed is None:
        return v
    if neuron.reset == "subtract":
        return np.asarray(v - crossed * neuron.threshold.astype(v.dtype))
    if neuron.reset_time == "gate":
        return np.where(crossed > 0, neuron.reset_to.astype(v.dtype), v)
    return v


def _fire(neuron: Lif, v: Array, crossed: Array | None) -> tuple[Array, Array]:
    """Potential after this step's spikes, and what is sent."""
    if not neuron.spiking:
        v = _bounded(neuron, v)
        return v, v
    spikes = _spikes(neuron, v)
    threshold = neuron.threshold.astype(v.dtype)
    if neuron.reset_time == "once" and crossed is not None:
        v = v - (spikes - crossed) * threshold
    elif neuron.reset_time == "now":
        if neuron.reset == "hard":
            v = np.where(spikes != 0, neuron.reset_to.astype(v.dtype), v)
        elif neuron.reset == "subtract":
            v = v - np.maximum(spikes, 0) * threshold
            if neuron.lower is not None:
                v = np.where(spikes < 0, v - neuron.lower.astype(v.dtype), v)
    return _bounded(neuron, v), spikes


def _bounded(neuron: Lif, v: Array) -> Array:
    return v if neuron.floor is None else np.maximum(v, neuron.floor.astype(v.dtype))


Step = Callable[[Any, State, Array, Array, bool], Array]
"""``step(neuron, state, first, second, integer)`` changes the state and returns what is sent, ``[batch, neurons]``.

``first`` and ``second`` arrived at ports 0 and 1; ``integer`` says in which arithmetic all of them are.
"""

STEPS: Mapping[type[Neuron], Step] = {Lif: _lif, SigmaDelta: _sigma_delta, Relu: _relu, Product: _product}
