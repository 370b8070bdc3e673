"""The reference: a network in plain NumPy, written to be read. Slow and obvious, it judges all the others.

One loop over steps, one over populations, the equations of `neurodeploy.network.neurons` and nothing else. Floats are
computed in float64 (or in float32 when asked), integers in int64, so nothing here can overflow but where Loihi itself
wraps or saturates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from neurodeploy.network.arrays import Array
from neurodeploy.network.dispatch import dispatch
from neurodeploy.network.network import Network, Projection
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Events, Record, Recording, check_inputs
from neurodeploy.program.schedule import schedule

from .learning import Engine, Messages
from .steps import STEPS, State


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
    neurons = [p for p in network.populations if not p.external]
    step = {p.name: dispatch(STEPS, p, "reference") for p in neurons}
    state = {p.name: State.of(p, samples, number) for p in neurons}
    output = {p.name: np.zeros((steps, samples, p.size), number) for p in network.populations}
    kept = {
        name: {
            p.name: np.zeros((steps, samples, p.size), number)
            for p in neurons
            if name in p.neuron.states and (name in record.states or (name == "v" and not p.spiking))
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
            elif population.external:
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
                output[name][t] = step[name](population.neuron, now, current[0], current[1], integer)
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
