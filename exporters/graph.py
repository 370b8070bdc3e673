"""From a module of any framework to a NIR graph with the metadata that NIR itself has no room for.

The graph's metadata under ``neurodeploy``: ``dt`` (seconds), ``reset``, ``comparison``, ``framework`` and the versions
of everything that took part. A node's: ``module`` (its torch path) and ``v_initial`` where the membrane does not start
at 0.
"""

from __future__ import annotations

import math
from importlib.metadata import PackageNotFoundError, version

import nir
import numpy as np
from torch import nn

import neurodeploy
from neurodeploy.errors import InvalidInputError, UnsupportedError

from .aten import Walk
from .capture import capture
from .framework import Framework, Neuron


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
    step = _time_step(modules, dt, framework)
    neurons: dict[str, Neuron] = {}

    def neuron(path: str, shape: tuple[int, ...]) -> nir.NIRNode:
        made = neurons[path] = framework.neuron(modules[path], path, shape, step)
        if made.initial is not None and np.any(np.asarray(made.initial)):
            made.node.metadata = {"neurodeploy": {"v_initial": _compact(np.asarray(made.initial))}}
        return made.node

    walk = Walk(program, neuron, list(modules))
    resets = {made.reset for made in neurons.values() if made.reset is not None}
    if len(resets) > 1:
        raise UnsupportedError(
            "layers with different resets",
            found=", ".join(f"{path}: {made.reset}" for path, made in neurons.items() if made.reset),
            allowed="one reset for the whole network",
        )
    metadata = {
        "dt": step,
        "reset": resets.pop() if resets else "none",
        "comparison": framework.comparison,
        "framework": framework.name,
        "framework_version": _version(framework.name),
        "torch_version": _version("torch"),
        "neurodeploy_version": neurodeploy.__version__,
    }
    # nir's type check refuses valid grouped convolutions and non-square kernels; shapes come from torch here.
    return nir.NIRGraph(walk.nodes, walk.edges, metadata={"neurodeploy": metadata}, type_check=False)


def _time_step(modules: dict[str, nn.Module], dt: float | None, framework: Framework) -> float:
    own = {path: step for path, part in modules.items() if (step := framework.time_step(part)) is not None}
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
    return dt


def _compact(values: np.ndarray) -> object:
    """A number where all are equal."""
    return float(values.flat[0]) if (values == values.flat[0]).all() else values


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"
