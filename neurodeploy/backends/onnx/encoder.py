"""A population that hears inputs alone as an ONNX graph: all steps of its inputs to all steps of its spikes.

Inputs ``[time, batch, *shape]`` each, output ``[time, batch, *shape]``, in float64. The synapses are computed for all
steps at once: with ``x_p`` the input of projection p, ``d_p`` its delay, and ``b_p`` its bias from step ``k_p`` on,

    I[t] = sum over p of W_p x_p[t - d_p] + b_p [t >= k_p],      x_p[t < 0] = 0

and the neurons (`neurodeploy.backends.onnx.neuron`) by a Scan over the steps, from their initial state on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import GraphProto, ModelProto, helper

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.connectivity import Conv2d
from neurodeploy.network.dispatch import expect
from neurodeploy.network.join import PORT
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif

from .neuron import filtered, lacks
from .nodes import Nodes, finished
from .step import LARGEST_FILE
from .synapses import joined, synapses, windows


def encoder(network: Network, name: str, sources: Sequence[str]) -> ModelProto:
    """Return the model of one population of a float network.

    Args:
        name: of the population.
        sources: all that it hears, inputs; the model takes them in this order, ``x0`` and so on, and gives ``y``.

    Raises:
        UnsupportedError: neurons that the ONNX functions lack, or synapses too large for a graph.
    """
    population, to = network.by_name[name], Nodes(np.dtype(np.float64))
    neuron = expect(population, Lif, "onnx")
    if why := lacks(neuron):
        raise UnsupportedError(f"population {name!r} {why}, which the ONNX functions lack", allowed="neurons without")
    given = {source: to.unique(f"x{index}", "") for index, source in enumerate(sources)}
    output = to.unique("y", "")
    takes = [to.value(value, ["time", "batch", *network.by_name[source].shape]) for source, value in given.items()]
    gives = [to.value(output, ["time", "batch", *population.shape])]
    flat = {source: to.add("Reshape", value, to.whole("flat", 0, 0, -1)) for source, value in given.items()}
    spikes = _over_time(population, neuron, _current(network, population, flat, to), to)
    to.add("Reshape", spikes, to.whole("shape", 0, 0, *population.shape), outputs=[output])
    graph = helper.make_graph(to.listed, "encoder", takes, gives, list(to.constants.values()))
    if graph.ByteSize() > LARGEST_FILE:
        raise UnsupportedError(
            f"the synapses of population {name!r} are too large for one ONNX file", found=f"{graph.ByteSize():,} bytes",
            allowed=f"{LARGEST_FILE:,} bytes",
        )  # fmt: skip
    return finished(graph, [neuron], name)


def _current(network: Network, population: Population, flat: Mapping[str, str], to: Nodes) -> str:
    """What arrives at the neurons, ``[time, batch, neurons]``."""
    lead = to.add("Shape", next(iter(flat.values())), end=2)
    stacked = to.add("Concat", lead, to.whole("minus_one", -1), axis=0)
    ports = ["", ""]
    for projection in network.into(population.name):
        arriving, before = _arriving(projection, flat, stacked, to), ports[projection.port]
        ports[projection.port] = to.add("Add", before, arriving) if before else arriving
    current = ports[0]
    if population.join is not None and ports[PORT]:
        largest = joined(population, population.join, ports[PORT], to)
        current = to.add("Add", current, largest) if current else largest
    return current


def _arriving(projection: Projection, flat: Mapping[str, str], stacked: str, to: Nodes) -> str:
    """What one projection brings, ``[time, batch, targets]``; ``stacked`` is that shape."""
    name, kind, x = projection.name, projection.connectivity, flat[projection.source]
    if late := projection.delay:
        padded = to.add("Pad", x, to.whole(f"{name}.late", late, 0, 0, 0, 0, 0))
        x = to.add(
            "Slice", padded, to.whole("first_axis", 0), to.whole(f"{name}.end", -late), to.whole("first_axis", 0)
        )
    rows = to.add("Reshape", x, to.whole(f"{name}.rows", -1, kind.inputs))
    brought = windows(name, kind, rows, to) if isinstance(kind, Conv2d) else synapses(name, kind, rows, to)
    current = to.add("Reshape", brought, stacked)
    if projection.bias is None:
        return current
    bias = to.constant(f"{name}.bias", projection.bias.astype(to.number))
    if projection.bias_start:
        zero, one = (to.constant(f"number_{n}", np.array(n, np.int64)) for n in (0, 1))
        steps = to.add("Squeeze", to.add("Shape", x, end=1))
        start = to.constant(f"{name}.start", np.array(projection.bias_start, np.int64))
        on = to.add("Cast", to.add("GreaterOrEqual", to.add("Range", zero, steps, one), start), to=to.type)
        bias = to.add("Mul", bias, to.add("Reshape", on, to.whole("column", -1, 1, 1)))
    return to.add("Add", current, bias)


def _over_time(population: Population, neuron: Lif, current: str, to: Nodes) -> str:
    """The spikes of all steps, ``[time, batch, neurons]``: a Scan of the neuron's function."""
    name, first = population.name, {"v": neuron.initial.astype(to.number)}
    if filtered(neuron):
        first = {"u": np.zeros(population.size, to.number), **first}
    extent = to.add("Shape", current, start=1)
    before = [to.add("Expand", to.constant(f"{name}.{key}.first", value), extent) for key, value in first.items()]
    spikes, last = to.unique(name, "spikes"), [to.unique(name, f"{key}.last") for key in first]
    body = _step(population, neuron, list(first), to.inner())
    to.add("Scan", *before, current, outputs=[*last, spikes], body=body, num_scan_inputs=1)
    return spikes


def _step(population: Population, neuron: Lif, variables: Sequence[str], to: Nodes) -> GraphProto:
    """From states and current to the next states and spikes."""
    name, shape = population.name, ("batch", population.size)
    states = [to.state(name, variable) for variable in variables]
    nexts = [f"{state}.next" for state in states]
    current, spikes = to.unique(name, "current"), to.unique(name, "sent")
    u_next = nexts[0] if filtered(neuron) else to.unique(name, "u.next")
    to.neuron(name, neuron, [current, *states], [spikes, u_next, nexts[-1]])
    takes, gives = [*states, current], [*nexts, spikes]
    return helper.make_graph(
        to.listed, "step", [to.value(value, shape) for value in takes], [to.value(value, shape) for value in gives],
        list(to.constants.values()),
    )  # fmt: skip
