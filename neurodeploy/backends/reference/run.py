"""The reference: a network in plain NumPy, written to be read. Slow and obvious, it judges all the others.

One loop over steps, one over populations, the equations of `neurodeploy.network.neurons` and nothing else. Floats are
computed in float64 (or in float32 when asked), integers in int64, so nothing here can overflow but where Loihi itself
wraps or saturates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from neurodeploy.network.arrays import Array
from neurodeploy.network.dispatch import dispatch
from neurodeploy.network.join import PORT
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.program import overflow
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Events, Record, Recording, check_inputs
from neurodeploy.program.schedule import schedule

from ..host.run import together
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
    if network.stages:
        return together(
            network,
            lambda given, wanted: run_network(
                network.chip_part, given, record=wanted, progress=progress, dtype=dtype
            ),
            inputs, record,
        )  # fmt: skip
    run = _Run(network, inputs, record, np.dtype(dtype))
    for t in range(run.steps):
        for population in network.populations:
            run.step(population, t)
        if progress:
            progress(t + 1, run.steps)
    return run.recording()


class _Run:
    """What every population has sent so far, and the states they are in."""

    def __init__(self, network: Network, inputs: Mapping[str, Array], record: Record, dtype: np.dtype[Any]) -> None:
        self.network = network
        self.steps, samples, self.given = check_inputs(network, inputs)
        self.samples, self.integer = samples, network.arithmetic == "loihi"
        self.number = number = np.dtype(np.int64) if self.integer else dtype
        neurons = [p for p in network.populations if not p.external]
        self.function = {p.name: dispatch(STEPS, p, "reference") for p in neurons}
        self.state = {p.name: State.of(p, samples, number) for p in neurons}
        self.output = {p.name: np.zeros((self.steps, samples, p.size), number) for p in network.populations}
        self.kept = {
            name: {
                p.name: np.zeros((self.steps, samples, p.size), number)
                for p in neurons
                if name in record.kept(network, p)
            }
            for name in ("u", "v")
        }
        # On a chip a hop costs a step: a synapse hears of its target's spikes later than of its source's.
        learns = [p for p in network.projections if p.local_rule is not None]
        lag = schedule(network).lag if learns else {}
        self.learning = {
            p.name: _Plastic(p, network, lag[p.target] - lag[p.source], self.steps, samples, record.learning)
            for p in learns
        }
        self.taught = {
            p.name: Messages(rule, samples, p.size, network.arithmetic)
            for p in neurons
            if (rule := network.taught(p.name)) is not None
        }
        self.sent = {n: np.zeros((self.steps, *m.value.shape), number) for n, m in self.taught.items()}

    def step(self, population: Population, t: int) -> None:
        """One population in step ``t``."""
        name, output = population.name, self.output
        if name in self.given:
            output[name][t] = self.given[name][t]
            return
        if population.external:
            output[name][t] = t >= population.neuron.start
            return
        state = self.state[name]
        current = self._current(population, t, state)
        output[name][t] = self.function[name](population.neuron, state, current[0], current[1], self.integer)
        if name in self.taught:
            self.sent[name][t] = self.taught[name].step(output[name][t], current[1])
        for key, value in (("u", state.u), ("v", state.v)):
            if name in self.kept[key]:
                self.kept[key][name][t] = value

    def _current(self, population: Population, t: int, state: State) -> list[Array]:
        """What arrives at each port in step ``t``, ``[batch, neurons]`` each."""
        name, join = population.name, population.join
        current = [np.zeros((self.samples, population.ends(port)), self.number) for port in (0, 1)]
        for projection in self.network.into(name):
            source, plastic = self.output[projection.source], self.learning.get(projection.name)
            if plastic is None:
                current[projection.port] += _arriving(projection, source, t)
            else:
                plastic.follow(t - projection.delay, source, self.output[name], self.sent.get(name))
                current[projection.port] += plastic.arriving(t)
        if join is not None:
            compartments = current[PORT]
            if self.integer:
                compartments = state.wrapped(compartments << population.neuron.current_shift)
                compartments = compartments >> population.neuron.current_shift
            current[0] += join.largest(compartments, population.size)
        return current

    def recording(self) -> Recording:
        """The result, once all steps have run."""
        states = {key: values for key, values in self.kept.items() if values}
        spikes = {p.name: Events.from_dense(self.output[p.name]) for p in self.network.populations if p.spiking}
        for plastic in self.learning.values():
            source, target = plastic.projection.source, plastic.projection.target
            plastic.follow(self.steps - 1, self.output[source], self.output[target], self.sent.get(target))
        learned = {name: plastic.learned() for name, plastic in self.learning.items()}
        left = overflow.found({name: list(state.left.values()) for name, state in self.state.items()})
        return Recording("reference", self.steps, self.samples, spikes, states, learned=learned, left=left)


class _Plastic:
    """A projection that learns, followed step by step as its sources' spikes are needed."""

    def __init__(
        self, projection: Projection, network: Network, lead: int, steps: int, samples: int, everything: bool
    ) -> None:
        assert projection.local_rule is not None
        kind = projection.connectivity
        self.projection, self.lead, self.everything = projection, lead, everything
        self.engine = Engine(projection.local_rule, kind.weights, samples, steps, network.arithmetic)
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
            if sent is not None and self.projection.local_rule and self.projection.local_rule.factors == 3:
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
