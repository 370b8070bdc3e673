"""From an integer Program to a job of Lava Processes, with many samples in one run.

Time. Sample ``n`` has the *slot* of chip steps from ``n slot + 1`` on. A population with lag ``l``
(`neurodeploy.schedule`) computes or, as a source, sends network step ``k`` at chip step ``t = n slot + k + l + 1``.
LIFReset sets its state to zero before the update of those ``t`` with ``k = 0``. A layer may thus still compute one
sample while the layer before has begun the next: what a projection without delay brings in the steps of a sample was
sent in the steps of that sample.

A projection with a delay of ``d`` may bring what its source sent in the ``d`` chip steps *before* the sample: the tail
of the sample before, or, in the first one, spikes from a bias that acts too early. Its buffer, which holds the last
``latency`` steps, is therefore cleared at the end of the chip step before its source begins, and of as many steps
before that, ``latency`` apart, as it takes to cover ``d``; slots are long enough that nothing of the sample before is
still awaited.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodeploy.backends.lava.registers import HINT, WEIGHT_EXPONENT, registers, sign_mode
from neurodeploy.connectivity import Array, Conv2d, Dense, largest_sum
from neurodeploy.errors import UnsupportedError
from neurodeploy.network import Network, Population, Projection
from neurodeploy.neurons import Lif, Source
from neurodeploy.program import Program
from neurodeploy.recording import Record
from neurodeploy.schedule import Schedule, schedule

LONGEST_LATENCY = 63
"""Loihi 2 delays by at most 62 steps on top of the step that every hop costs."""

CONV_LIMIT = 1 << 23
"""Lava's Conv wraps its sums to 24 bits; the chip and Lava's other connections do not."""

SUM_LIMIT = (1 << 25) - (1 << 17)
"""Larger sums could leave the 32 bits in which Lava adds ``a << 6`` to ``u``."""

INT8 = 127
"""Lava's Conv keeps its geometry in 8-bit integers."""


@dataclass(frozen=True, eq=False)
class Job:
    """What the worker runs, and how to read its results.

    Args:
        description: the Processes and their connections, as JSON.
        arrays: their parameters.
        steps: network steps of a sample.
        samples: in the run.
        slot: chip steps from the beginning of one sample to that of the next.
        lag: of each population.
        files: for each LIF population the stem of its result files.
    """

    description: Mapping[str, Any]
    arrays: Mapping[str, Array]
    steps: int
    samples: int
    slot: int
    lag: Mapping[str, int]
    files: Mapping[str, str]

    @property
    def chip_steps(self) -> int:
        """Length of the run."""
        return int(self.description["steps"])


def lower(program: Program, inputs: Mapping[str, Array], record: Record) -> Job:
    """Express a Program and its checked inputs in Lava's Processes.

    Args:
        program: with an integer network.
        inputs: ``[time, batch, neurons]`` of 0 and 1 for each input population.
        record: which states to keep.

    Raises:
        UnsupportedError: the message names the population or projection that Lava cannot run, and why.
    """
    network = program.network
    if network.arithmetic != "loihi":
        raise UnsupportedError(
            f"the Lava back-end runs integer networks, and {network.name!r} computes in floats", hint=HINT
        )
    steps, samples = next(iter(inputs.values())).shape[:2]
    plan = schedule(network)
    awaited = [plan.lag[p.target] - 1 - min(_clears(p, plan)) for p in network.projections if p.delay]
    slot = steps + max([0, *awaited])
    chip_steps = (samples - 1) * slot + steps + plan.depth
    _check_sums(network)
    arrays: dict[str, Array] = {}
    populations, projections, files = [], [], {}
    reporter = next((p.name for p in network.populations if not isinstance(p.neuron, Source)), "")
    for index, population in enumerate(network.populations):
        if not isinstance(population.neuron, Source):
            entry, own = _neurons(population, record, slot, plan.lag[population.name])
            entry["progress"] = population.name == reporter
            files[population.name] = f"population{index}"
        else:
            spikes = _source(population.neuron, population.size, steps, samples, inputs.get(population.name))
            entry, own = {"kind": "source"}, {"data": _train(spikes, plan.lag[population.name], slot, chip_steps)}
        populations.append({"name": population.name, **entry, "size": population.size, "arrays": sorted(own)})
        arrays.update({f"population{index}.{name}": value for name, value in own.items()})
    for index, projection in enumerate(network.projections):
        entry, own = _connection(network, projection, plan, slot)
        ends = {"name": projection.name, "source": projection.source, "target": projection.target}
        projections.append({**ends, **entry, "arrays": sorted(own)})
        arrays.update({f"projection{index}.{name}": value for name, value in own.items()})
    description = {"steps": chip_steps, "populations": populations, "projections": projections}
    return Job(description, arrays, steps, samples, slot, plan.lag, files)


def _source(source: Source, size: int, steps: int, samples: int, given: Array | None) -> Array:
    """Return spikes ``[time, batch, neurons]`` of a source."""
    if given is not None:
        return given.astype(bool)
    spikes = np.zeros((steps, samples, size), dtype=bool)
    spikes[source.start :] = True
    return spikes


def _train(spikes: Array, lag: int, slot: int, chip_steps: int) -> Array:
    """``[time, batch, neurons]`` to ``[chip steps, neurons]``, the samples one after the other."""
    train = np.zeros((chip_steps, spikes.shape[2]), dtype=bool)
    train[chip_time(len(spikes), spikes.shape[1], slot, lag)] = spikes
    return train


def chip_time(steps: int, samples: int, slot: int, lag: int) -> Array:
    """Return the chip step, counted from 0, of each ``[network step, sample]`` of a population."""
    return np.asarray(lag + np.arange(steps)[:, None] + np.arange(samples) * slot)


def _neurons(population: Population, record: Record, slot: int, lag: int) -> tuple[dict[str, Any], dict[str, Array]]:
    states = {name for name in ("u", "v") if name in record.states} | (set() if population.spiking else {"v"})
    entry = {
        "kind": "lif",
        "states": sorted(states),
        "reset_interval": slot,
        "reset_offset": (lag + 1) % slot,
    }
    return entry, dict(vars(registers(population)))


def _clears(projection: Projection, plan: Schedule) -> range:
    """Return the chip steps, from the beginning of a slot, at whose end a delayed projection's buffer is cleared."""
    begin = plan.lag[projection.source]
    return range(begin - 1, begin - 1 - projection.delay, -plan.latency[projection.name])


def _connection(
    network: Network, projection: Projection, plan: Schedule, slot: int
) -> tuple[dict[str, Any], dict[str, Array]]:
    kind, latency = projection.connectivity, plan.latency[projection.name]
    _check_ends(network, projection, latency)
    entry: dict[str, Any] = {
        "sign_mode": sign_mode(projection),
        "exponent": kind.exponent,
        "delay": latency - 1,
        "clear_interval": slot,
        "clear_offsets": [step % slot for step in _clears(projection, plan)],
        "inputs": kind.inputs,
        "outputs": kind.outputs,
    }
    if isinstance(kind, Dense):
        return {"kind": "dense", **entry}, {"weights": kind.weights.astype(np.int16)}
    if isinstance(kind, Conv2d) and _fits_conv(kind) and latency == 1 and not projection.delay:
        geometry = {name: list(getattr(kind, name)) for name in ("input_shape", "stride", "padding", "dilation")}
        weights = kind.weights.astype(np.int32) << kind.exponent
        pairs, taps = weights.shape[0] * weights.shape[1], weights[0].size
        size = {"channel_pairs": pairs, "synapses": taps * kind.outputs}
        return {"kind": "conv", **entry, **geometry, **size, "groups": kind.groups}, {"weights": weights}
    synapses = kind.to_csr().astype(np.int16).T.tocsr()
    synapses.eliminate_zeros()
    own = {"data": synapses.data, "indices": synapses.indices, "indptr": synapses.indptr}
    return {"kind": "sparse", **entry}, own


def _fits_conv(kind: Conv2d) -> bool:
    sizes = (*kind.stride, *kind.padding, *kind.dilation, kind.groups, *kind.weights.shape[2:])
    return kind.exponent >= 0 and max(sizes) <= INT8 and largest_sum(kind) < CONV_LIMIT


def _check_ends(network: Network, projection: Projection, latency: int) -> None:
    where = f"projection {projection.name!r}"
    if not network.by_name[projection.source].spiking:
        raise UnsupportedError(
            f"{where} starts from {projection.source!r}, which emits its potential instead of spikes",
            allowed="Lava's LIF neuron sends spikes only",
            hint="let only the last population be a read-out",
        )
    if not isinstance(network.by_name[projection.target].neuron, Lif):
        raise UnsupportedError(f"{where} ends in {projection.target!r}, which is a source")
    low, high = WEIGHT_EXPONENT
    if not low <= projection.connectivity.exponent <= high:
        raise UnsupportedError(
            f"the weight exponent of {where} does not fit its register",
            found=projection.connectivity.exponent,
            allowed=f"{low} to {high}",
            hint=HINT,
        )
    if latency > LONGEST_LATENCY:
        raise UnsupportedError(
            f"{where} needs a longer delay than the chip has",
            found=f"{latency} steps from spike to arrival",
            allowed=f"{LONGEST_LATENCY} at most",
            hint="shorten the delay, or relay it over a population",
        )


def _check_sums(network: Network) -> None:
    for population in network.populations:
        worst = sum(largest_sum(p.connectivity) for p in network.into(population.name))
        if worst > SUM_LIMIT:
            raise UnsupportedError(
                f"the current into population {population.name!r} could leave the 32 bits in which Lava adds it up",
                found=f"up to {worst} when all its inputs spike",
                allowed=SUM_LIMIT,
                hint="lower the weight exponent, or give it fewer inputs",
            )
