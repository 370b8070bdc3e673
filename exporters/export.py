"""Exporting a trained torch module to a `.nir` file, whatever framework its neurons come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from neurodeploy.errors import NeurodeployError
from neurodeploy.nir_graph.shapes import NEURONS

from .usage import HostCut, TimeAxis

if TYPE_CHECKING:
    import nir
    from torch import nn

    from neurodeploy.network.arrays import Array

    from .sequence.capture import Captured


def to_graph(module: nn.Module, sample_shape: tuple[int, ...], dt: float | None = None) -> nir.NIRGraph:
    """Return the NIR graph of a module that computes one time step.

    Args:
        module: called as ``module(input)`` with ``[batch, *sample_shape]``; it is not changed.
        sample_shape: of one sample, for example ``(channels, height, width)``.
        dt: length of a step in seconds; by default what the neurons were built for.

    Raises:
        UnsupportedError: no known framework, or an operator or neuron that NIR cannot express; the message names the
            operator and the path of its module.
        InvalidInputError: a module that does not take such a sample, another ``dt`` than its neurons have, or
            parameters that cannot be used.
    """
    from . import framework
    from .torch_step.graph import build

    return build(module, sample_shape, dt, framework.of(module))


def ways(
    module: nn.Module,
    sample: Array,
    axis: TimeAxis | None = None,
    dt: float | None = None,
    *,
    host: HostCut = "bits",
) -> Iterator[Captured]:
    """Ways to say a module, called on ``sample`` as its user calls it, as one step; the likeliest first.

    Args:
        sample: exactly what ``forward`` takes; ``[time, batch, *shape]`` where it computes one step a call.
        axis: where time lies in it (`neurodeploy.exporters.usage.AXES`); None finds out by what the module does.
        dt: as for `to_graph`.
        host: how a host beside the chip is cut out, which computes what the chip cannot; ``none`` refuses that.

    Raises:
        UnsupportedError: as `to_graph`; a module that is not the same in every step.
        InvalidInputError: as `to_graph`; a sample that does not fit, or whose time axis is not clear.
    """
    from . import framework
    from .sequence.capture import captures

    kind = framework.of_any(module)
    for captured in captures(module, sample, axis, dt, kind, host=host):
        alone = captured.usage.axis == "step" and captured.watch is None and not captured.hosted
        yield _as_a_step(module, sample, captured, dt) if alone else captured


def _as_a_step(module: nn.Module, sample: Array, captured: Captured, dt: float | None) -> Captured:
    """The same with the graph of the module's one step, where that can be captured by itself.

    Raises:
        UnsupportedError: the module counts steps, and will compute something else in a later one.
    """
    from . import framework
    from .sequence.capture import captured_over
    from .torch_step.steady import ORDER, UnsteadyError

    shape = tuple(int(n) for n in captured.graph.nodes["input"].input_type["input"])
    try:
        graph = to_graph(module, shape, dt)
    except UnsteadyError as error:
        if error.ahead:
            raise
        try:  # what it keeps from step to step may be delays, which are the same in every step
            longer = captured_over(module, sample, len(ORDER) + 1, dt, framework.of(module))
            return replace(longer, usage=captured.usage)
        except NeurodeployError:
            raise error from None
    except NeurodeployError:
        return captured
    read = captured.answer.populations if captured.answer else ()
    ends = {source for source, target in graph.edges if type(graph.nodes[target]).__name__ == "Output"}
    neurons = all(type(graph.nodes[end]).__name__ in NEURONS for end in ends)
    return replace(captured, graph=graph) if neurons and set(read) <= set(graph.nodes) else captured


def export(module: nn.Module, sample_shape: tuple[int, ...], dt: float | None, path: Path | str) -> nir.NIRGraph:
    """Write the NIR graph of a module to ``path``, complete or not at all, and return it; see `to_graph`.

    Raises:
        UnsupportedError, InvalidInputError: as `to_graph`.
        StorageError: the file cannot be written.
    """
    from .write_nir import write

    graph = to_graph(module, sample_shape, dt)
    write(graph, path)
    return graph
