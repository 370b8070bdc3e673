"""The reference: a network in plain NumPy, written to be read. Slow and obvious, it judges all the others.

One loop over steps, one over populations, the equations of `neurodeploy.neurons` and nothing else. Floats are computed
in float64 (or in float32 when asked), integers in int64, so nothing here can overflow but where Loihi itself wraps or
saturates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from neurodeploy.connectivity import Array
from neurodeploy.network import Network, Population, Projection
from neurodeploy.neurons import Lif, SigmaDelta, Source
from neurodeploy.program import Program
from neurodeploy.recording import Events, Record, Recording, check_inputs

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
    number = np.dtype(np.int64) if network.arithmetic == "loihi" else np.dtype(dtype)
    step = _step_integer if network.arithmetic == "loihi" else _step_float
    neurons = [p for p in network.populations if not isinstance(p.neuron, Source)]
    state = {p.name: _initial(p, samples, number) for p in neurons}
    sent = {p.name: np.zeros((samples, p.size), number) for p in neurons if isinstance(p.neuron, SigmaDelta)}
    slow = {p.name: _Slow.of(p.neuron, samples) for p in neurons if isinstance(p.neuron, Lif) and p.neuron.slow}
    output = {p.name: np.zeros((steps, samples, p.size), number) for p in network.populations}
    kept = {
        name: {p.name: np.zeros((steps, samples, p.size), number) for p in neurons if name in record.states}
        for name in ("u", "v")
    }

    for t in range(steps):
        for population in network.populations:
            name = population.name
            if name in given:
                output[name][t] = given[name][t]
            elif isinstance(population.neuron, Source):
                output[name][t] = t >= population.neuron.start
            else:
                current = np.zeros((samples, population.size), number)
                for projection in network.into(name):
                    current += _arriving(projection, output[projection.source], t)
                u, v = state[name]
                if isinstance(population.neuron, SigmaDelta):
                    u, v, output[name][t] = _step_sigma_delta(population.neuron, u, sent[name], current)
                    sent[name] += output[name][t]
                elif name in slow:
                    u, v, output[name][t] = _step_slow(population.neuron, u, v, current, slow[name])
                else:
                    u, v, output[name][t] = step(population.neuron, u, v, current)
                state[name] = u, v
                for key, value in (("u", u), ("v", v)):
                    if name in kept[key]:
                        kept[key][name][t] = value
        if progress:
            progress(t + 1, steps)

    states = {key: values for key, values in kept.items() if values}
    silent = {p.name: output[p.name] for p in neurons if not p.spiking}
    if silent:
        states["v"] = {**states.get("v", {}), **silent}
    spikes = {p.name: Events.from_dense(output[p.name]) for p in network.populations if p.spiking}
    return Recording("reference", steps, samples, spikes, states)


@dataclass
class _Slow:
    """Steps for which each neuron stays refractory, and by how much its threshold is raised; ``[batch, neurons]``."""

    wait: Array
    raised: Array

    @classmethod
    def of(cls, neuron: Lif, samples: int) -> _Slow:
        shape = (samples, len(neuron.threshold))
        return cls(np.zeros(shape, np.int64), np.zeros(shape))


def _initial(population: Population, samples: int, number: np.dtype) -> tuple[Array, Array]:
    initial = population.neuron.initial if isinstance(population.neuron, Lif) else np.zeros(population.size)
    v = np.broadcast_to(initial, (samples, population.size)).astype(number)
    return np.zeros_like(v), v


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


def _step_sigma_delta(neuron: SigmaDelta, u: Array, sent: Array, current: Array) -> tuple[Array, Array, Array]:
    u = u + current
    v = u + neuron.bias.astype(u.dtype)
    if neuron.activation == "relu":
        v = np.maximum(v, 0)
    difference = v - sent
    return u, v, np.where(np.abs(difference) >= neuron.threshold, difference, 0)


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


def _step_slow(neuron: Lif, u: Array, v: Array, current: Array, slow: _Slow) -> tuple[Array, Array, Array]:
    raised = neuron if neuron.threshold_decay is None else replace(neuron, threshold=neuron.threshold + slow.raised)
    u, after, spikes = _step_float(raised, u, v, current)
    if neuron.refractory is not None:
        held = slow.wait > 0
        after, spikes = np.where(held, v, after), np.where(held, 0, spikes)
        slow.wait = np.where(spikes > 0, neuron.refractory, slow.wait - held)
    if neuron.threshold_decay is not None:
        slow.raised = (1 - neuron.threshold_decay) * slow.raised + neuron.threshold_jump * spikes
    return u, after, spikes


def _step_integer(neuron: Lif, u: Array, v: Array, current: Array) -> tuple[Array, Array, Array]:
    crossed = _spikes(neuron, v) if neuron.reset_time != "now" else None
    u = decay(u, neuron.du + 1) + (current << 6)
    u = np.where(u > M, u - 2 * M, np.where(u <= -M, u + 2 * M, u))
    v = decay(_rest(neuron, v, crossed), neuron.dv) + u + neuron.bias
    v = np.clip(_late_reset(neuron, v, crossed), -M + 1, M - 1)
    return u, *_fire(neuron, v, crossed)


def _spikes(neuron: Lif, v: Array) -> Array:
    """How many spikes each potential is worth (0 or 1 unless `max_spikes` allows more)."""
    threshold = neuron.threshold.astype(v.dtype)
    if neuron.max_spikes > 1:
        times = np.trunc(v / threshold) if v.dtype.kind == "f" else v // threshold
        return np.where(v > 0, np.minimum(times, neuron.max_spikes), 0).astype(v.dtype)
    crosses = v >= threshold if neuron.comparison == ">=" else v > threshold
    return np.asarray(crosses.astype(v.dtype))


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
            v = np.where(spikes > 0, neuron.reset_to.astype(v.dtype), v)
        elif neuron.reset == "subtract":
            v = v - spikes * threshold
    return _bounded(neuron, v), spikes


def _bounded(neuron: Lif, v: Array) -> Array:
    return v if neuron.floor is None else np.maximum(v, neuron.floor.astype(v.dtype))
