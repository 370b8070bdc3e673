"""What quantisation learns from a few samples: how far each state goes, and how often each source is heard.

The float network runs on the samples. Of every population the largest ``|u|`` and ``|v|`` are kept (above the reset
potential, from which integers count). Of every projection it is kept what its source puts into the target's membrane,

    x_u <- (1 - du) x_u + s ;  x_v <- (1 - dv') x_v + x_u

for a source that sends ``s``: the membrane potential is the weights times these traces, as long as no spike resets
it. A spike makes a neuron forget, so a membrane that leaks little or not at all is given a memory of `MEMORY` steps
here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neurodeploy.network.arrays import Array
from neurodeploy.network.dispatch import expect
from neurodeploy.network.join import PORT
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif
from neurodeploy.program.recording import Record, Recording

MEMORY = 16
"""Longest memory of a membrane, in steps, since a spiking neuron forgets when it resets."""

LARGEST = 1 << 26
"""Most numbers of one state, and of the traces of one projection, that are kept; samples beyond are left out."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """The float network's run on the calibration samples; None where there are none."""

    network: Network
    recording: Recording | None

    @classmethod
    def of(cls, network: Network, inputs: Mapping[str, Array] | None) -> Calibration:
        """Run the float network on ``inputs``, ``[time, batch, *shape]`` each."""
        if inputs is None:
            return cls(network, None)
        from neurodeploy.backends.host.whole import run_whole

        shape = np.shape(next(iter(inputs.values())))
        neurons = sum(p.size for p in network.populations)
        fitting = max(LARGEST // max(shape[0] * neurons, 1), 1) if len(shape) > 1 else 1
        few = {name: values[:, :fitting] if np.ndim(values) > 1 else values for name, values in inputs.items()}
        return cls(network, run_whole(network, few, record=Record(("u", "v"))))

    def peak(self, population: Population) -> Array:
        """Largest ``|u|`` and ``|v - reset|`` of each neuron, ``[neurons]``; 0 without samples."""
        if self.recording is None:
            return np.zeros(population.size)
        return self.peaks(population)[0]

    def peaks(self, population: Population) -> list[Array]:
        """What the states of each neuron may be held to, ``[neurons]`` each, the safest first; none without samples.

        First all that was seen. Then, for neurons that spike, without the lowest potentials: those of one neuron in
        ten, then all of them. A neuron that is deeply inhibited does not spike, whether its potential saturates or
        not, but the scale that holds it is that of all others. Currents are held in each, since they would wrap.
        """
        if self.recording is None:
            return []
        neuron = expect(population, Lif, "calibration")
        u, v = (self.recording.states[name][population.name] for name in ("u", "v"))
        v = v - (neuron.reset_to if neuron.reset == "hard" else 0.0)
        above = np.maximum(np.abs(u).max(axis=(0, 1)), v.max(axis=(0, 1)))
        if population.join is not None:  # in integers, currents that no MAX passes must not wrap either
            above = np.maximum(above, population.join.largest(self._compartments(population), population.size))
        below = -v.min(axis=(0, 1))
        if not population.spiking:
            return [np.maximum(above, below)]
        return [np.maximum(above, np.minimum(below, most)) for most in (np.inf, np.quantile(below, 0.9), 0.0)]

    def _compartments(self, population: Population) -> Array:
        """Largest magnitude of the current of each compartment, ``[compartments]``."""
        assert self.recording is not None
        steps, samples = self.recording.steps, self.recording.samples
        onto = [p for p in self.network.into(population.name) if p.port == PORT]
        sent = {p.source: self._sent(self.network.by_name[p.source], steps, samples) for p in onto}
        largest = np.zeros(population.ends(PORT))
        for t in range(steps):
            current = np.zeros((samples, len(largest)))
            for p in onto:
                if t >= p.delay:
                    current += p.connectivity.apply(sent[p.source][t - p.delay].astype(np.float64))
                if p.bias is not None and t >= p.bias_start:
                    current += p.bias
            largest = np.maximum(largest, np.abs(current).max(axis=0))
        return largest

    def traces(self, projection: Projection, source: Population, target: Population) -> Array | None:
        """Traces of the source's neurons in the target's membrane, ``[steps x samples, source neurons]``.

        None without samples, or where they would not fit in memory.
        """
        if self.recording is None:
            return None
        steps, samples = self.recording.steps, self.recording.samples
        samples = min(samples, LARGEST // max(steps * source.size, 1))
        if samples == 0:
            return None
        sent = np.zeros((steps, samples, source.size), np.float32)
        values = self._sent(source, steps, samples)
        if projection.delay < steps:
            sent[projection.delay :] = values[: steps - projection.delay]
        neuron = expect(target, Lif, "calibration")
        current_kept = np.float32(1 - neuron.du.mean())
        potential_kept = np.float32(min(1 - float(neuron.dv.mean()), 1 - 1 / MEMORY))
        current = np.zeros((samples, source.size), np.float32)
        potential = np.zeros_like(current)
        for t in range(steps):
            current = current_kept * current + sent[t]
            potential = potential_kept * potential + current
            sent[t] = potential
        return sent.reshape(steps * samples, source.size)

    def _sent(self, source: Population, steps: int, samples: int) -> Array:
        if source.neuron.always_on:
            on = np.arange(steps)[:, None, None] >= source.neuron.start
            return np.broadcast_to(on, (steps, samples, source.size)).astype(np.float32)
        assert self.recording is not None
        if not source.spiking:
            return self.recording.states["v"][source.name][:, :samples].astype(np.float32)
        return self.recording.spikes[source.name].dense()[:, :samples].astype(np.float32)
