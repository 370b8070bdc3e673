"""Exporting a trained torch module to a `.nir` file, whatever framework its neurons come from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import nir
    from torch import nn


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
