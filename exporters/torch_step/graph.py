"""From a module of any framework to a NIR graph with the metadata that NIR itself has no room for.

The graph's metadata under ``neurodeploy``: ``dt`` (seconds; ``dt_origin`` says so where it was our choice), ``reset``
(of most layers), ``comparison``, ``recurrent_bias`` where it matters, ``framework`` and the versions of everything that
took part. A node's: ``module`` (its torch path) and its rules (`neurodeploy.nir_graph.metadata.NeuronRules`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version

import nir
import numpy as np
from torch import nn

import neurodeploy
from neurodeploy.errors import InvalidInputError
from neurodeploy.nir_graph.metadata import NAMESPACE, put
from neurodeploy.nir_graph.shapes import NEURONS, delayed_edges, kind

from ..framework import Framework, Neuron
from ..read_out import endless_read_outs
from .aten import Walk
from .capture import capture, node_name
from .fxgraph import Step


def build(module: nn.Module, sample_shape: tuple[int, ...], dt: float | None, framework: Framework) -> nir.NIRGraph:
    """Return the NIR graph of a module that computes one time step.

    Args:
        module: called as ``module(input)`` with ``[batch, *sample_shape]``; it is not changed.
        sample_shape: of one sample.
        dt: seconds; None takes what the neurons were built for.
        framework: of the neurons.

    Raises:
        UnsupportedError, InvalidInputError: see `neurodeploy.exporters.export.export`.
    """
    if not sample_shape or any(n < 1 for n in sample_shape):
        raise InvalidInputError(
            "the shape of a sample is not one", found=list(sample_shape), allowed="for example 1,8,8"
        )
    program, modules = capture(module, sample_shape, framework)
    return to_nir(Step.of(program), modules, {path: path for path in modules}, dt, framework)[0]


def to_nir(
    captured: Step,
    modules: Mapping[str, nn.Module],
    paths: Mapping[str, str],
    dt: float | None,
    framework: Framework,
    written: Mapping[str, Callable[[tuple[int, ...], float], Neuron]] | None = None,
) -> tuple[nir.NIRGraph, list[str]]:
    """The NIR graph of a captured step, and the nodes that its results are.

    Args:
        modules: what stands for a neuron layer in the step -> its module.
        paths: the same -> the path of that module.
        dt: seconds; None takes what the neurons were built for.
        written: what stands for a neuron layer written by hand -> the layer, from its shape and ``dt``.

    Raises:
        UnsupportedError, InvalidInputError: see `neurodeploy.exporters.export.export`.
    """
    step, origin = _time_step(modules, dt, framework)
    neurons: dict[str, Neuron] = {}

    def neuron(site: str, shape: tuple[int, ...]) -> nir.NIRNode:
        by_hand = (written or {}).get(site)
        made = framework.neuron(modules[site], paths[site], shape, step) if by_hand is None else by_hand(shape, step)
        neurons[site] = made
        put(made.node, {"max_spikes": made.max_spikes} if made.max_spikes > 1 else {})
        return made.node

    walk = Walk(captured, neuron, paths, step, lambda site: neurons[site].max_spikes)
    resets = Counter(made.reset for made in neurons.values() if made.reset is not None)
    reset = resets.most_common(1)[0][0] if resets else "none"
    for site, made in neurons.items():
        put(made.node, made.to_metadata(reset, framework.comparison))
        if made.recurrent is not None:
            _close_loop(walk, node_name(site), paths[site], made.recurrent)
    metadata = {
        "dt": step,
        "reset": reset,
        "comparison": framework.comparison,
        "framework": framework.name,
        "framework_version": _version(framework.name),
        "torch_version": _version("torch"),
        "neurodeploy_version": neurodeploy.__version__,
    }
    if any(hasattr(made.recurrent, "bias") for made in neurons.values()):
        metadata["recurrent_bias"] = framework.recurrent_bias
    if origin:
        metadata["dt_origin"] = origin
    # nir's type check refuses valid grouped convolutions and non-square kernels; shapes come from torch here.
    graph = nir.NIRGraph(walk.nodes, walk.edges, metadata={NAMESPACE: metadata}, type_check=False)
    endless_read_outs(graph)
    return _in_loops(graph, walk.late, step), walk.results


_STATES = frozenset({*NEURONS, "Input"} - {"Threshold"})


def _sooner(graph: nir.NIRGraph, late: list[str], dt: float) -> tuple[nir.NIRGraph, list[str]]:
    """The graph with delays of a step less in front of populations from which NIR's loops lead back, if all that these
    receive is delayed; they then compute a step earlier what they send. And the delays of the new graph.
    """
    nodes, edges, delays = dict(graph.nodes), list(graph.edges), list(late)
    for source in sorted({a for a, b in delayed_edges(graph) if kind(graph.nodes[a]) == "Threshold"}):
        inside, first, stack = {source}, set[str](), [source]
        while stack:
            node = stack.pop()
            before = {a for a, b in edges if b == node}
            first |= before & {*delays}
            stack += before - {*delays} - inside
            inside |= before - {*delays}
        if not first or any(kind(nodes[n]) in _STATES for n in inside):
            continue
        for name in sorted(first):
            steps = np.rint(nodes[name].delay / dt) - 1
            (origin,) = (a for a, b in edges if b == name)
            kept = [(a, b) for a, b in edges if a == name and b not in inside]
            made = f"{name}.{source}" if steps.any() else origin
            edges = [(made if a == name and b in inside else a, b) for a, b in edges]
            if steps.any():
                nodes[made] = nir.Delay(steps * dt)
                edges.append((origin, made))
                delays.append(made)
            if not kept:
                del nodes[name]
                edges = [(a, b) for a, b in edges if b != name]
                delays.remove(name)
    return nir.NIRGraph(nodes, edges, metadata=graph.metadata, type_check=False), delays


def _in_loops(graph: nir.NIRGraph, late: list[str], dt: float) -> nir.NIRGraph:
    """The graph with delays of a step less where NIR's loops have it by themselves (`delayed_edges`)."""
    if late:
        graph, late = _sooner(graph, late, dt)
    back = {target for source, target in delayed_edges(graph) if target in late} if late else set()
    if not back:
        return graph
    nodes, edges = dict(graph.nodes), list(graph.edges)
    for name in sorted(back):
        steps = np.rint(nodes[name].delay / dt) - 1
        if steps.any():
            nodes[name] = nir.Delay(steps * dt)
            continue
        (source,) = (a for a, b in edges if b == name)
        edges = [(source if a == name else a, b) for a, b in edges if b != name]
        del nodes[name]
    return nir.NIRGraph(nodes, edges, metadata=graph.metadata, type_check=False)


def _time_step(modules: Mapping[str, nn.Module], dt: float | None, framework: Framework) -> tuple[float, str]:
    """Seconds, and where they come from if it was our choice."""
    own = {path: step for path, part in modules.items() if (step := framework.time_step(part)) is not None}
    origin = ""
    if dt is None and not own and framework.default_dt is not None:
        dt, origin = framework.default_dt, f"chosen by neurodeploy: {framework.name} has no time step"
    if dt is None:
        if not own:
            raise InvalidInputError("the neurons do not say the length of a time step", hint="give dt in seconds")
        dt = next(iter(own.values()))
    if not 0 < dt < math.inf:
        raise InvalidInputError("the time step must be a positive number of seconds", found=dt)
    for path, step in own.items():
        if not math.isclose(step, dt, rel_tol=1e-9):
            raise InvalidInputError(
                f"the neuron {path!r} was built for another time step",
                found=f"{step:g} s",
                allowed=f"{dt:g} s",
                hint="use one dt for all neurons and for the export",
            )
    return dt, origin


def _close_loop(walk: Walk, name: str, path: str, recurrent: nir.NIRNode) -> None:
    """Lead the neuron's spikes back to it through ``recurrent``."""
    back = walk.unique(f"{name}.recurrent")
    put(recurrent, {"module": path})
    walk.nodes[back] = recurrent
    walk.edges += [(name, back), (back, name)]


def _version(distribution: str) -> str:
    if distribution == neurodeploy.__name__:  # our own models
        return neurodeploy.__version__
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"
