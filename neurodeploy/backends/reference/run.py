"""The reference: a network in plain NumPy, written to be read. Slow and obvious, it judges all the others.

One loop over steps, one over populations, the equations of `neurodeploy.network.neurons` and nothing else. Floats are
computed in float64 (or in float32 when asked), integers in int64, so nothing here can overflow but where Loihi itself
wraps or saturates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Product, Relu, SigmaDelta, Source
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Events, Record, Recording, check_inputs
from neurodeploy.program.schedule import schedule

from .learning import Engine, Messages

M = 1 << 23
"""Half the range of Loihi's 24-bit state."""


def run(
    program: Program,
    inputs: Mapping[str, Array],
    *,
    record: Record = Record(),
    progress: Callable[[int, int], None] | None = None,
) -> Recording:
    """Run a Program; see `neurodeploy.backends.Backend`."""
    return run_network(program.network, inputs, record=record, progress=progress)


def run_network(
    network: Network,
    inputs: Mapping[str, Array],
    *,
    record: Record = Record(),
    progress: Callable[[int, int], None] | None = None,
    dtype: type = np.float64,
) -> Recording:
    """Run a network that need not be placed.

    Args:
        network: float or integer.
        inputs: for each input population ``[time, batch, *shape]``.
        record: state variables to keep.
        progress: called with ``(steps done, steps)``.
        dtype: of float arithmetic; integers are always exact.

    Raises:
        InvalidInputError: inputs that do not match the network.
    """
    steps, samples, given = check_inputs(network, inputs)
    integer = network.arithmetic == "loihi"
    number = np.dtype(np.int64) if integer else np.dtype(dtype)
    # On a chip a hop costs a step: a synapse hears of its target's spikes later than of its source's.
    learns = any(p.rule is not None for p in network.projections)
    lag = schedule(network).lag if learns else {}
    lead = {p.name: lag[p.target] - lag[p.source] for p in network.projections if p.rule is not None}
    neurons = [p for p in network.populations if not isinstance(p.neuron, Source)]
    state = {p.name: _State.of(p, samples, number) for p in neurons}
    output = {p.name: np.zeros((steps, samples, p.size), number) for p in network.populations}
    kept = {
        name: {
            p.name: np.zeros((steps, samples, p.size), number)
            for p in neurons
            if isinstance(p.neuron, (Lif, SigmaDelta)) and (name in record.states or (name == "v" and not p.spiking))
        }
        for name in ("u", "v")
    }

    learning = {
        p.name: _Plastic(p, network, lead[p.name], steps, samples, record.learning)
        for p in network.projections
        if p.rule is not None
    }
    taught = {
        p.name: Messages(rule, samples, p.size, network.arithmetic)
        for p in neurons
        if (rule := network.taught(p.name)) is not None
    }
    sent = {name: np.zeros((steps, *messages.value.shape), number) for name, messages in taught.items()}

    for t in range(steps):
        for population in network.populations:
            name = population.name
            if name in given:
                output[name][t] = given[name][t]
            elif isinstance(population.neuron, Source):
                output[name][t] = t >= population.neuron.start
            else:
                current = np.zeros((2, samples, population.size), number)
                for projection in network.into(name):
                    source = output[projection.source]
                    if projection.name in learning:
                        learning[projection.name].follow(t - projection.delay, source, output[name], sent.get(name))
                        current[projection.port] += learning[projection.name].arriving(t)
                    else:
                        current[projection.port] += _arriving(projection, source, t)
                now = state[name]
                if isinstance(population.neuron, Lif):
                    output[name][t] = _step_lif(population.neuron, now, current[0], integer)
                elif isinstance(population.neuron, SigmaDelta):
                    output[name][t] = _step_sigma_delta(population.neuron, now, current[0], integer)
                elif isinstance(population.neuron, Relu):
                    output[name][t] = _relu(population.neuron, current[0], integer)
                else:
                    output[name][t] = _product(population.neuron, current[0], current[1], integer)
                if name in taught:
                    sent[name][t] = taught[name].step(output[name][t], current[1])
                for key, value in (("u", now.u), ("v", now.v)):
                    if name in kept[key]:
                        kept[key][name][t] = value
        if progress:
            progress(t + 1, steps)

    states = {key: values for key, values in kept.items() if values}
    spikes = {p.name: Events.from_dense(output[p.name]) for p in network.populations if p.spiking}
    for plastic in learning.values():
        target = plastic.projection.target
        plastic.follow(steps - 1, output[plastic.projection.source], output[target], sent.get(target))
    learned = {name: plastic.learned() for name, plastic in learning.items()}
    return Recording("reference", steps, samples, spikes, states, learned=learned)


class _Plastic:
    """A projection that learns, followed step by step as its sources' spikes are needed."""

    def __init__(
        self, projection: Projection, network: Network, lead: int, steps: int, samples: int, everything: bool
    ) -> None:
        assert projection.rule is not None
        kind = projection.connectivity
        self.projection, self.lead, self.everything = projection, lead, everything
        self.engine = Engine(projection.rule, kind.weights, samples, steps, network.arithmetic)
        self.currents = np.zeros((steps, samples, kind.outputs), self.engine.number)
        self.kept: list[dict[str, Array]] = []

    def follow(self, last: int, source: Array, target: Array, sent: Array | None) -> None:
        """Learn from all steps up to ``last``: ``source`` and ``target`` are the spikes so far, of all steps."""
        while self.engine.step <= last:
            k = self.engine.step
            self.currents[k] = self.engine.currents(source[k])
            heard = k - self.lead
            inside = 0 <= heard < len(target)
            post = target[heard] if inside else np.zeros_like(target[0])
            messages = None
            if sent is not None and self.projection.rule and self.projection.rule.factors == 3:
                messages = sent[heard] if inside else np.zeros_like(sent[0])
            self.engine.advance(source[k], post, messages)
            if self.everything:
                self.kept.append(self.engine.state())

    def arriving(self, t: int) -> Array:
        """Current that the projection delivers in step ``t``."""
        then, kind = t - self.projection.delay, self.projection.connectivity
        current = self.currents[then] if then >= 0 else np.zeros_like(self.currents[0])
        if self.projection.bias is not None and t >= self.projection.bias_start:
            current = current + self.projection.bias
        return shift(current, kind.exponent) if kind.exponent else current

    def learned(self) -> dict[str, Array]:
        """See `Recording.learned`."""
        kept = self.kept or [self.engine.state()]
        return {name: np.stack([state[name] for state in kept]) for name in kept[0]}


@dataclass
class _State:
    """State of one population, ``[batch, neurons]``.

    Args:
        u, v: current and potential.
        wait: steps for which each neuron stays refractory.
        raised: by how much its threshold is raised.
        sent: sum of what it has sent (sigma-delta).
    """

    u: Array
    v: Array
    wait: Array
    raised: Array
    sent: Array

    @classmethod
    def of(cls, population: Population, samples: int, number: np.dtype) -> _State:
        initial = population.neuron.initial if isinstance(population.neuron, Lif) else np.zeros(population.size)
        v = np.broadcast_to(initial, (samples, population.size)).astype(number)
        return cls(np.zeros_like(v), v, np.zeros(v.shape, np.int64), np.zeros_like(v), np.zeros_like(v))


def _arriving(projection: Projection, source: Array, t: int) -> Array:
    """Current that a projection delivers in step ``t``, ``[batch, target neurons]``."""
    kind = projection.connectivity
    then = t - projection.delay
    current = kind.apply(source[then]) if then >= 0 else np.zeros((source.shape[1], kind.outputs), source.dtype)
    if projection.bias is not None and t >= projection.bias_start:
        current = current + projection.bias
    return shift(current, kind.exponent) if kind.exponent else current


def shift(value: Array, exponent: int) -> Array:
    """``value * 2^exponent``, rounded down (Loihi's weight exponent acts on the accumulated sum)."""
    return value << exponent if exponent >= 0 else value >> -exponent


def _step_sigma_delta(neuron: SigmaDelta, state: _State, current: Array, integer: bool) -> Array:
    state.u = _saturated(state.u + current, integer)
    v = _saturated(state.u + neuron.bias.astype(current.dtype), integer)
    state.v = np.maximum(v, 0) if neuron.activation == "relu" else v
    difference = state.v - state.sent
    message = np.where(np.abs(difference) >= neuron.threshold, difference, 0)
    if neuron.send_shift:
        message = message >> neuron.send_shift
    state.sent = state.sent + (message << neuron.send_shift if neuron.send_shift else message)
    return np.asarray(message)


def _relu(neuron: Relu, current: Array, integer: bool) -> Array:
    v = _saturated(current + neuron.bias.astype(current.dtype), integer)
    return np.where(v > neuron.threshold, v, 0)


def _product(neuron: Product, first: Array, second: Array, integer: bool) -> Array:
    v = _saturated((first * second) >> neuron.shift if integer else first * second, integer)
    return np.where(np.abs(v) > neuron.threshold, v, 0)


def _saturated(value: Array, integer: bool) -> Array:
    return np.clip(value, -M + 1, M - 1) if integer else value


def decay(value: Array, fraction: Array) -> Array:
    """Loihi's decay: ``value * (4096 - fraction) / 4096``, rounded toward zero."""
    kept: Array = np.sign(value) * ((np.abs(value) * (4096 - fraction.astype(np.int64))) >> 12)
    return kept


def _step_float(neuron: Lif, u: Array, v: Array, current: Array) -> tuple[Array, Array, Array]:
    number = u.dtype
    crossed = _spikes(neuron, v) if neuron.reset_time != "now" else None
    u = (1 - neuron.du.astype(number)) * u + current
    rest = _rest(neuron, v, crossed)
    v = (1 - neuron.dv.astype(number)) * rest + u + neuron.bias.astype(number)
    return u, *_fire(neuron, _late_reset(neuron, v, crossed), crossed)


def _step_lif(neuron: Lif, state: _State, current: Array, integer: bool) -> Array:
    """Advance by one step and return what is sent."""
    step = _step_integer if integer else _step_float
    adapts = neuron.threshold_decay is not None and neuron.threshold_jump is not None
    fired = replace(neuron, threshold=neuron.threshold + state.raised) if adapts else neuron
    before = state.v
    state.u, state.v, sent = step(fired, state.u, before, current)
    if not neuron.spiking:
        return sent >> neuron.send_shift if neuron.send_shift else sent
    if neuron.refractory is not None:
        held = state.wait > 0
        state.v, sent = np.where(held, before, state.v), np.where(held, 0, sent)
        state.wait = np.where(sent != 0, neuron.refractory, state.wait - held)
    if neuron.reset_current:
        state.u = np.where(sent != 0, np.zeros_like(state.u), state.u)
    if neuron.threshold_decay is not None and neuron.threshold_jump is not None:
        kept = decay(state.raised, neuron.threshold_decay) if integer else (1 - neuron.threshold_decay) * state.raised
        state.raised = _saturated(kept + neuron.threshold_jump * np.abs(sent), integer)
    return sent


def _step_integer(neuron: Lif, u: Array, v: Array, current: Array) -> tuple[Array, Array, Array]:
    crossed = _spikes(neuron, v) if neuron.reset_time != "now" else None
    u = decay(u, neuron.du + 1) + (current << 6)
    u = np.where(u > M, u - 2 * M, np.where(u <= -M, u + 2 * M, u))
    v = decay(_rest(neuron, v, crossed), neuron.dv) + u + neuron.bias
    v = np.clip(_late_reset(neuron, v, crossed), -M + 1, M - 1)
    return u, *_fire(neuron, v, crossed)


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
