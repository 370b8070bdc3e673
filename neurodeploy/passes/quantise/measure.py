"""How well one population's integers follow its floats, measured on the calibration samples.

The population runs alone, in integers, on the spikes that its sources sent in the *float* network, its own included
where it feeds back. So each population is judged by its own rounding and by nothing that came before it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from neurodeploy.hwsim import engine
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Source
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Recording


def spikes_off(
    population: Population, incoming: list[Projection], sources: Mapping[str, Population], floats: Recording
) -> float | None:
    """By how many spikes the integer population is off the float one: for each neuron and sample the difference of the
    spikes counted so far, as a mean over the steps.

    A spike that comes a step late counts little, one that is missing counts from there to the end.

    Args:
        population, incoming: in integers.
        sources: of the network in floats, bias axons included, by name.
        floats: the float network's run.

    Returns:
        None where a source sends more than plain spikes, so that its integers are not known.
    """
    heard = dict.fromkeys(p.source for p in incoming)
    plain = {name: Population(f"from {name}", sources[name].shape, Source()) for name in heard}
    inputs = {}
    for name in heard:
        if sources[name].neuron.always_on:
            plain[name] = sources[name]
            continue
        sent = floats.spikes.get(name)
        if sent is None or sent.payload is not None:
            return None
        inputs[plain[name].name] = sent.dense()
    if not inputs:
        return None
    populations = (*plain.values(), population)
    projections = [
        Projection(p.name, plain[p.source].name, p.target, p.connectivity, p.delay, port=p.port) for p in incoming
    ]
    network = Network("alone", populations, tuple(projections), (population.name,), 1.0, "loihi")
    computed = [p for p in populations if p.name not in inputs]
    program = Program(network, "none", {p.name: np.zeros(p.size, np.int32) for p in computed})
    found = engine.run(program, inputs).spikes[population.name].dense()
    wrong = found.astype(np.int64) - floats.spikes[population.name].dense()
    return float(np.abs(wrong.cumsum(axis=0)).sum() / len(wrong))
