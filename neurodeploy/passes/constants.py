"""Populations that send the same in every step, out of the network: into biases, weights, or axons that are always on.

With ``c`` what the neurons send in each step, a projection W delivers ``W c``. That current becomes

- a part of the bias of neurons that do not filter their current (``du = 1``), if it is there from the first step on,
- where it is one factor of products without a threshold, a part of the weights behind them: ``B (c * (A s))`` is
  ``(B diag(c) A) s``, so that the products are gone, if that takes no more weights than A and B do,
- else the weights of an always-on source of one neuron, which is how a chip has a bias that drives the current.

All are exact but for the order in which floats are multiplied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from neurodeploy.network.arrays import Array
from neurodeploy.network.compose import then
from neurodeploy.network.connectivity import Connectivity, Conv2d, Dense, Sparse
from neurodeploy.network.dispatch import expect
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Neuron, Product, Source


@dataclass(frozen=True, eq=False)
class Constant:
    """What a population sends.

    Args:
        values: in every step, ``[neurons]``.
        start: first step in which it sends them; 0 before.
    """

    values: Array
    start: int = 0


@dataclass(frozen=True, eq=False)
class _Current:
    """A current ``[neurons]`` into a port of a population from a step on."""

    target: str
    port: int
    values: Array
    start: int


@dataclass
class _Work:
    """A network while its constants go into it.

    Args:
        said: what became of them.
    """

    network: Network
    currents: list[_Current]
    said: list[str] = field(default_factory=list)

    def at(self, name: str) -> list[_Current]:
        return [c for c in self.currents if c.target == name]


def with_constants(network: Network, constants: Mapping[str, Constant]) -> tuple[Network, str]:
    """The network without these populations, and what became of what they sent, in words.

    Args:
        network: in floats; no stage feeds or reads these populations, and none of their synapses learns.
        constants: what they send.
    """
    left = [p for p in network.projections if p.source not in constants]
    currents = []
    for projection in (p for p in network.projections if p.source in constants):
        sent = constants[projection.source]
        arriving = projection.connectivity.apply(sent.values[None])[0]
        at = projection.target, projection.port
        currents.append(_Current(*at, arriving, sent.start + projection.delay))
        if projection.bias is not None:
            currents.append(_Current(*at, projection.bias, projection.bias_start))
    kept = tuple(p for p in network.populations if p.name not in constants)
    work = _Work(replace(network, populations=kept, projections=tuple(left)), currents)
    folds: Mapping[type[Neuron], Callable[[_Work, Population], bool]] = {Lif: _into_bias, Product: _into_weights}
    for population in kept:
        if work.at(population.name) and type(population.neuron) in folds:
            folds[type(population.neuron)](work, population)
    _axons(work)
    return work.network, "; ".join(work.said) or "nothing heard it"


def _into_bias(work: _Work, population: Population) -> bool:
    neuron = expect(population, Lif, "freeze-attention")
    mine = [c for c in work.at(population.name) if c.start == 0 and c.port == 0]
    if not mine or (neuron.du != 1).any():
        return False
    bias = neuron.bias + sum(c.values for c in mine)
    changed = replace(population, neuron=replace(neuron, bias=bias))
    work.network = replace(
        work.network,
        populations=tuple(changed if p.name == population.name else p for p in work.network.populations),
    )
    work.currents = [c for c in work.currents if c not in mine]
    work.said.append(f"a part of the bias of {population.name!r}")
    return True


def _into_weights(work: _Work, population: Population) -> bool:
    """Products of which one factor is constant are no more than weights."""
    network, name = work.network, population.name
    neuron = expect(population, Product, "freeze-attention")
    mine, into = work.at(name), network.into(name)
    behind = [p for p in network.projections if p.source == name]
    ports = {c.port for c in mine}
    linear = len(ports) == 1 and all(c.start == 0 for c in mine) and not np.any(neuron.threshold)
    linear &= not ports & {p.port for p in into} and all(p.bias is None and p.rule is None for p in into)
    free = name not in network.heard and name not in network.hosts
    free &= all(p.rule is None and p.target != name for p in behind)
    if not (linear and free):
        return False
    gain = np.sum([c.values for c in mine], axis=0)
    made: list[Projection] = []
    for second in behind:
        for first in into:
            kind = _joined(first.connectivity, gain, second.connectivity)
            if kind is None:
                return False
            bias = second.bias if first is into[0] else None
            title = second.name if len(into) == 1 else f"{second.name} of {first.source}"
            delay = first.delay + second.delay
            made.append(replace(second, name=title, source=first.source, connectivity=kind, delay=delay, bias=bias))
    if not into and any(p.bias is not None for p in behind):
        return False
    gone = {p.name for p in (*into, *behind)}
    work.network = replace(
        network,
        populations=tuple(p for p in network.populations if p.name != name),
        projections=(*(p for p in network.projections if p.name not in gone), *made),
    )
    work.currents = [c for c in work.currents if c not in mine]
    work.said.append(f"a part of the weights behind {name!r}, whose products are gone")
    return True


def _joined(first: Connectivity, gain: Array, second: Connectivity) -> Connectivity | None:
    """``second diag(gain) first``; None where that takes more weights than both."""
    one = _one_to_one(first)
    if one is not None and (kind := _behind(second, one * gain)) is not None:
        return kind
    found = then(first.scaled(gain), second)
    return found if found.stored_weights() <= first.stored_weights() + second.stored_weights() else None


def _one_to_one(kind: Connectivity) -> Array | None:
    """Weights from each neuron to its counterpart, where there are no other synapses."""
    if kind.inputs != kind.outputs:
        return None
    matrix = kind.to_csr().tocoo()
    there = matrix.data != 0
    if (matrix.row[there] != matrix.col[there]).any():
        return None
    return np.bincount(matrix.row[there], matrix.data[there], kind.inputs)


def _behind(kind: Connectivity, gain: Array) -> Connectivity | None:
    """The map with every synapse of source ``i`` multiplied by ``gain[i]``; None where a shared kernel cannot."""
    if isinstance(kind, Dense):
        return Dense(kind.weights * gain)
    if isinstance(kind, Sparse):
        return replace(kind, weights=kind.weights * np.repeat(gain, np.diff(kind.indptr)))
    if not isinstance(kind, Conv2d):
        return None
    channels = gain.reshape(kind.input_shape[0], -1)
    if (channels != channels[:, :1]).any():
        return None
    outputs, per_group = kind.weights.shape[:2]
    own = channels[:, 0].reshape(kind.groups, 1, per_group)
    each = np.broadcast_to(own, (kind.groups, outputs // kind.groups, per_group)).reshape(outputs, per_group, 1, 1)
    return replace(kind, weights=kind.weights * each)


def _axons(work: _Work) -> None:
    """What is left drives its neurons from sources that are always on."""
    at = dict.fromkeys((c.target, c.port, c.start) for c in work.currents)
    for target, port, start in at:
        current = np.sum([c.values for c in work.currents if (c.target, c.port, c.start) == (target, port, start)], 0)
        name = _free(work.network, f"constant of {target}" + (f", port {port}" if port else ""))
        source = Population(name, (1,), Source(always_on=True, start=start))
        axon = Projection(name, name, target, Dense(current[:, None]), port=port)
        work.network = replace(
            work.network,
            populations=(source, *work.network.populations),
            projections=(*work.network.projections, axon),
        )
        work.said.append(f"the weights of {name!r}, which is always on")


def _free(network: Network, name: str) -> str:
    taken = {p.name for p in network.populations} | {p.name for p in network.projections}
    return name if name not in taken else _free(network, name + "'")
