"""Pass ``gate-on-chip``: gates that the host multiplies with become products on the chip. Exact.

A stage that runs in every step and whose graph is nothing but a product of two populations that it reads, spikes and
their gate, moves onto the chip; of one that makes the gate itself, between phases too, the product at its end
(`gate_split`): the population that it feeds becomes one of products (`Product`), which hears one of
the two at each port through synapses of weight 1, with the delay of the stage's output. So a gate travels as the number
in a graded spike (Loihi 2's ProdNeuron) and the host has no part in the step. A factor may be broadcast over axes, as
the gate of a channel is.

The products are the same numbers, in the precision of the chip's part (a graph of float32 rounds to that). In integers
they are if the gate was sent as the product is, in as many bits and the same scale, or both factors are spikes;
other networks are changed before `quantise`. What stays on the host stands in the notes with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import networkx as nx
import numpy as np
from scipy.sparse import csr_array

from neurodeploy.network.arrays import Array
from neurodeploy.network.connectivity import Sparse
from neurodeploy.network.dispatch import expect
from neurodeploy.network.host import HostInput, HostStage, on_chip
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Product, Source
from neurodeploy.packages.commands import naming
from neurodeploy.program.limits import Limits

from .data import NOTHING, PassData
from .gate_split import FLOATS, SAME, split


@dataclass(frozen=True)
class GateOnChip:
    """Let the chip multiply where the host does nothing else; a note says what moved, and why the rest did not."""

    name: ClassVar[str] = "gate-on-chip"

    def apply(self, network: Network, data: PassData = NOTHING) -> Network:
        """See the module's docstring.

        Raises:
            MissingPackageError: onnx is not installed.
        """
        notes = dict(network.notes)
        for stage in network.stages:
            if stage.when not in ("step", "phase"):
                continue
            whole = network
            with naming("gate-on-chip"):
                factors = _factors(stage) if stage.when == "step" else ()
                cut = None if factors or network.arithmetic == "loihi" else split(network, stage)
            if cut is not None:
                whole, factors = cut.network, cut.factors
            why = _why_not(whole, stage, factors, data.limits)
            if not why:
                moved = _moved(whole, stage, factors)
                why = "" if moved is not None else "it is in a loop without delay"
                network = network if moved is None else moved
            first, second = (f"{f.source!r}" for f in factors) if factors else ("", "")
            notes[f"gate-on-chip {stage.name}"] = (
                f"left on the host: {why}" if why else
                f"the chip multiplies {first} and {second}: {stage.gives[0].target!r} are products now"
            )  # fmt: skip
        return replace(network, notes=notes) if notes != dict(network.notes) else network


def _factors(stage: HostStage) -> tuple[HostInput, ...]:
    """The two inputs that a stage's graph multiplies and does nothing else; none where it is another graph."""
    import onnx

    graph = onnx.load_model_from_string(stage.graph.tobytes()).graph
    kinds = {one.type.tensor_type.elem_type for one in graph.input}
    if len(stage.gives) != 1 or not kinds <= {*FLOATS}:
        return ()
    inputs = {taken.name: taken for taken in stage.takes}
    behind: dict[str, HostInput] = dict(inputs)
    multiplied: dict[str, tuple[HostInput, HostInput]] = {}
    for node in graph.node:
        (out,) = node.output if len(node.output) == 1 else ("",)
        known = [name for name in node.input if name in behind or name in multiplied]
        if node.domain or len(known) < len(node.input):
            return ()
        if node.op_type in SAME and all(a.i in FLOATS for a in node.attribute if a.name == "to"):
            (name,) = known
            chosen: dict[str, Any] = behind if name in behind else multiplied
            chosen[out] = chosen[name]
        elif node.op_type == "Mul" and all(name in behind for name in known):
            multiplied[out] = (behind[known[0]], behind[known[1]])
        else:
            return ()
    found = multiplied.get(stage.gives[0].name, ())
    return found if {f.name for f in found} == set(inputs) else ()


def _why_not(network: Network, stage: HostStage, factors: Sequence[HostInput], limits: Limits | None) -> str:
    """Why a stage stays on the host; empty where it can move."""
    if not factors:
        return "its graph is more than a product of two populations"
    if any(f.port != "spikes" for f in factors):
        return "it reads potentials, which no spike carries"
    there = on_chip(network)
    far = [f.source for f in factors if f.source not in there and network.by_name[f.source] in network.inputs]
    if far:
        return f"only the host reads the input {far[0]!r}, which would have to be spikes on the chip"
    target = network.by_name[stage.gives[0].target]
    shapes = [network.by_name[f.source].shape for f in factors]
    if any(len(shape) != len(target.shape) for shape in shapes) or np.broadcast_shapes(*shapes) != target.shape:
        return f"shapes {list(map(list, shapes))} are not multiplied to {list(target.shape)} neuron by neuron"
    if limits is not None and limits.features is not None and "product" not in limits.features:
        return f"{limits.chip} has no products"
    if network.arithmetic == "loihi" and not _same_integers(network, target, factors):
        return "its integers would be others: run gate-on-chip before quantise"
    return ""


def _same_integers(network: Network, target: Population, factors: Sequence[HostInput]) -> bool:
    """Whether the product of what the factors send is what the target sent of the host's."""
    values = [p for f in factors if (p := network.by_name[f.source]).neuron.graded("loihi")]
    bits = target.neuron.message_bits("loihi")
    if not values:
        return bits == 0 or bool((target.scales == 1).all())
    (gate, *more) = values
    scales = np.unique(np.concatenate([gate.message_scales, target.scales]))
    return not more and gate.external and len(scales) == 1 and gate.neuron.message_bits("loihi") == bits > 0


def _moved(network: Network, stage: HostStage, factors: Sequence[HostInput]) -> Network | None:
    """The network with products in place of a stage; None where its populations have no order then."""
    given = stage.gives[0]
    target = network.by_name[given.target]
    expect(target, Source, "gate-on-chip")
    number = np.dtype(np.int16 if network.arithmetic == "loihi" else np.float64)
    threshold = np.zeros(target.size, np.int32 if network.arithmetic == "loihi" else np.float64)
    gated = replace(target, neuron=Product(threshold))
    names = {p.name for p in network.projections}
    added: list[Projection] = []
    for port, factor in enumerate(factors):
        source = network.by_name[factor.source]
        name = f"{source.name} -> {target.name}"
        while name in names:
            name += "'"
        names.add(name)
        kind = _each(source.shape, target.shape, number)
        added.append(Projection(name, source.name, target.name, kind, given.delay, handle=target.handle, port=port))
    projections = (*network.projections, *added)
    order = _ordered([gated if p.name == target.name else p for p in network.populations], projections)
    if order is None:
        return None
    stages = tuple(one for one in network.stages if one is not stage)
    return replace(network, populations=order, projections=projections, stages=stages)


def _each(source: tuple[int, ...], target: tuple[int, ...], number: np.dtype[Any]) -> Sparse:
    """A synapse of weight 1 onto each target neuron from the one that is broadcast to it."""
    size, count = int(np.prod(source)), int(np.prod(target))
    behind: Array = np.broadcast_to(np.arange(size).reshape(source), target).ravel()
    matrix = csr_array((np.ones(count, number), (behind, np.arange(count))), shape=(size, count))
    return Sparse.from_csr(matrix)


def _ordered(populations: Sequence[Population], projections: Sequence[Projection]) -> tuple[Population, ...] | None:
    """Populations with sources before what hears them in the same step, else as they were; None in a loop."""
    place = {p.name: index for index, p in enumerate(populations)}
    edges: nx.DiGraph[str] = nx.DiGraph()
    edges.add_nodes_from(place)
    edges.add_edges_from((p.source, p.target) for p in projections if not p.delay)
    try:
        return tuple(populations[place[name]] for name in nx.lexicographical_topological_sort(edges, key=place.get))
    except nx.NetworkXUnfeasible:
        return None
