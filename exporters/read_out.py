"""Neurons that only their potential is read of: leaky integrators, which NIR has nodes for.

A last layer with a threshold that nothing reaches (infinite, or beyond all that can arrive) is how some frameworks
spell a read-out of the membrane. As a spiking neuron it would send nothing, and fit no integer scale.
"""

from __future__ import annotations

import re
from typing import Any

import nir
import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.nir_graph.metadata import put, section_of

NOTE = "read_out"
"""Key of the graph's metadata that says so."""

_KEPT = ("module", "v_initial", "v_floor")
"""Rules of a spiking neuron that mean something without spikes."""


def make_read_out(graph: nir.NIRGraph, name: str) -> None:
    """Let the neuron node ``name`` integrate as it does, and not spike; noted in the graph's metadata."""
    node = graph.nodes[name]
    threshold = float(np.min(node.v_threshold))
    made = _integrator(node)
    put(made, {key: value for key, value in section_of(node).items() if key in _KEPT})
    graph.nodes[name] = made
    before = section_of(graph).get(NOTE)
    said = f"{name} (its threshold of {threshold:g} is never reached)"
    put(graph, {NOTE: f"{before}, {said}" if before else said})


def noted(graph: nir.NIRGraph) -> list[str]:
    """Names of the nodes that `make_read_out` changed."""
    said = str(section_of(graph).get(NOTE, ""))
    return re.findall(r"(?:^|, )(.+?) \(its threshold of [^ ]+ is never reached\)", said)


def endless_read_outs(graph: nir.NIRGraph) -> None:
    """Make read-outs of the last layers whose threshold is infinite.

    Raises:
        UnsupportedError: an infinite threshold anywhere else, or of some neurons of a layer only.
    """
    for name, node in list(graph.nodes.items()):
        endless = np.isposinf(getattr(node, "v_threshold", np.zeros(1)))
        if not endless.any():
            continue
        targets = [target for source, target in graph.edges if source == name]
        last = all(type(graph.nodes[target]).__name__ == "Output" for target in targets)
        if not endless.all() or not last:
            raise UnsupportedError(
                f"the neuron {name!r} has an infinite threshold and never spikes",
                found="layers behind it, which receive nothing" if not last else f"{endless.sum()} of {endless.size}",
                allowed="an infinite threshold of the whole last layer, which becomes a read-out (LI)",
                hint="check the threshold; for a read-out let the layer be the last, or use the framework's own "
                "(norse: LIBoxCell, LICell; sinabs: ExpLeak)",
            )
        make_read_out(graph, name)


def _integrator(node: Any) -> nir.NIRNode:
    kind = type(node).__name__
    if kind == "IF":
        return nir.I(r=node.r)
    if kind == "LIF":
        return nir.LI(tau=node.tau, r=node.r, v_leak=node.v_leak)
    return nir.CubaLI(tau_syn=node.tau_syn, tau_mem=node.tau_mem, r=node.r, v_leak=node.v_leak, w_in=node.w_in)
