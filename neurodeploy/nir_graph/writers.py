"""What the exporter of each tool leaves in a `.nir` file: node types, relations of parameters, and so the time step.

Read in the tools' own exporters, which `neurodeploy.nir_graph.tools` names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodeploy.network.arrays import Array

from .nir_file import NirFile
from .shapes import kind, of_kind

SAME = 3e-5
"""Relative difference up to which two numbers are the same: they are computed and stored in 32 bits, some as 1 - r."""

_ENDS = ("Input", "Output")


@dataclass(frozen=True)
class Writer:
    """What an exporter writes.

    Args:
        kinds: types of nodes.
        r: of a neuron that leaks, in words.
        step: the step that ``r`` and the time constant of the membrane give away; nan where ``r`` does not tell.
        dt: the only step that it takes, in seconds; None for any, but one.
        leak, reset, w_in: whether ``v_leak`` and ``v_reset`` may differ from 0, ``w_in`` from 1.
    """

    kinds: tuple[str, ...]
    r: str = "1"
    step: Callable[[Array, Array], Array] | None = None
    dt: float | None = None
    leak: bool = False
    reset: bool = False
    w_in: bool = False


def _lambert(x: Array) -> Array:
    """``w exp(w) = x`` for x > 0, by Newton (Lambert's W)."""
    w = np.log1p(x)
    for _ in range(30):
        w = w - (w * np.exp(w) - x) / (np.exp(w) * (1 + w))
    return np.asarray(w)


def _quotient(r: Array, tau: Array) -> Array:
    return np.where(np.isposinf(r) & np.isposinf(tau), np.nan, tau / np.where(np.isposinf(r), 1, r))


_PYTORCH = (*_ENDS, "Affine", "Conv2d", "Flatten", "LIF", "CubaLIF")
WRITERS: Mapping[str, Writer] = {
    "snntorch": Writer((*_PYTORCH, "Linear", "AvgPool2d"), "tau / dt with dt = 0.0001 s", _quotient, 1e-4, w_in=True),
    "norse": Writer((*_ENDS, "Affine", "Conv2d", "LIF", "CubaLIF", "LI", "IF"), leak=True),
    "sinabs": Writer((*_ENDS, "Affine", "Conv1d", "Conv2d", "SumPool2d", "Flatten", "LIF", "IF", "LI")),
    "spikingjelly": Writer(
        (*_PYTORCH, "Linear", "Conv1d", "AvgPool2d", "IF"), "1 or tau / dt",
        lambda r, tau: np.where(r == 1, np.nan, _quotient(r, tau)), leak=True, reset=True, w_in=True,
    ),
    "rockpool": Writer(
        (*_ENDS, "Linear", "Affine", "LIF", "CubaLIF", "LI"), "tau exp(-dt / tau) / dt",
        lambda r, tau: tau * _lambert(1 / r),
    ),
    "spyx": Writer(
        (*_PYTORCH, "Linear", "SumPool2d", "IF", "LI", "Threshold"), "1 - dt / tau", lambda r, tau: tau * (1 - r)
    ),
    "lava-dl": Writer((*_ENDS, "Linear", "Affine", "Conv2d", "Flatten", "CubaLIF"), "tau / dt with dt = 0.0001 s",
                      _quotient, 1e-4, w_in=True),
}  # fmt: skip
"""Tool -> what it writes. Nengo writes no NIR."""


def against(tool: str, file: NirFile) -> str:
    """What speaks against a tool having written a file; empty for nothing."""
    writer = WRITERS.get(tool)
    if writer is None:
        return "it writes no NIR"
    for name, node in sorted(file.graph.nodes.items()):
        if kind(node) not in writer.kinds:
            return f"it writes no {kind(node)} ({name})"
        for parameter, varies, usual in (
            ("v_leak", writer.leak, 0),
            ("v_reset", writer.reset, 0),
            ("w_in", writer.w_in, 1),
        ):
            if not varies and np.any(np.not_equal(getattr(node, parameter, usual), usual)):
                return f"it writes {parameter} = {usual} ({name})"
        if tool == "spikingjelly" and not _uniform(node):
            return f"it writes one value for all neurons of a node ({name})"
        if (
            tool == "spikingjelly"
            and kind(node) == "LIF"
            and not np.array_equal(flat(node, "v_leak"), flat(node, "v_reset"))
        ):
            return f"it writes v_leak = v_reset ({name})"
        if tool == "sinabs" and (getattr(node, "tau", np.inf) < np.asarray(0.1)).any():
            return f"its time constants count steps, and those of {name} are far below one"
        one = (
            hasattr(node, "r") and tool != "spikingjelly" and (writer.step is None or kind(node) not in _told_by(tool))
        )
        if one and np.any(np.not_equal(node.r, 1)):
            return f"it writes r = 1 ({name})"
    if writer.step is None or not of_kind(file.graph, *_told_by(tool)):
        return ""
    return _against_steps(tool, writer, file)


def _against_steps(tool: str, writer: Writer, file: NirFile) -> str:
    """What speaks against the steps that ``r`` gives away."""
    steps, told = steps_of(tool, file), f"it writes r = {writer.r}"
    if steps is None:
        return told
    if not steps.size:
        return ""
    dt = rounded(steps)
    if not one_step(steps) or (writer.dt is not None and abs(float(np.median(steps)) / writer.dt - 1) > SAME):
        return told
    if writer.dt is None and distinct_time_constants(tool, file) == 1 and dt != float(f"{dt:.2g}"):
        return f"{told}, and dt would be {dt:g} s"
    return ""


def steps_of(tool: str, file: NirFile) -> Array | None:
    """The step that each neuron gives away, were the file written by ``tool``; None where that cannot be."""
    writer = WRITERS.get(tool)
    if writer is None or writer.step is None:
        return None
    found: list[Array] = []
    for name in of_kind(file.graph, *_told_by(tool)):
        node = file.graph.nodes[name]
        try:
            tau, r = np.broadcast_arrays(flat(node, membrane(node)), flat(node, "r"))
        except ValueError:
            return None
        if np.isnan(tau).any() or np.isnan(r).any() or (tau <= 0).any() or (r <= 0).any():
            return None
        if writer.dt is None and (np.isinf(tau).any() or np.isinf(r).any()):
            return None
        step = writer.step(r, tau)
        if tool == "rockpool" and (step < 1e-3 * tau).any():
            return None  # exp(-dt / tau) is 1 to most digits, as in r = tau / dt
        found.append(step[~np.isnan(step)])
    if tool == "spikingjelly":  # r = 1 / dt
        found += [1 / r for r in (flat(file.graph.nodes[n], "r") for n in of_kind(file.graph, "IF")) if (r > 0).all()]
    steps = np.concatenate(found) if found else np.zeros(0)
    return steps if (steps > 0).all() and np.isfinite(steps).all() else None


def step_written_by(tool: str, file: NirFile) -> float | None:
    """The step in seconds that a tool's exporter left in the parameters; None where it does not show."""
    steps = steps_of(tool, file)
    return rounded(steps) if steps is not None and steps.size and one_step(steps) else None


def distinct_time_constants(tool: str, file: NirFile) -> int:
    """How many different ones the step was told from."""
    nodes = [file.graph.nodes[name] for name in of_kind(file.graph, *_told_by(tool))]
    return len({float(f"{tau:.3g}") for node in nodes for tau in flat(node, membrane(node))})


def norse_time_unit(file: NirFile, dt: float) -> float:
    """Seconds for which norse's time constant of 1 stands: its 1.1.0 writes them times dt, so all below a step."""
    taus = parameters(file, "tau", "tau_mem", "tau_syn")
    return 1.0 / dt if taus.size and (taus < dt).all() else 1.0


def one_step(steps: Array) -> bool:
    """Whether all give the same step."""
    return bool(np.abs(steps / np.median(steps) - 1).max() < SAME)


def rounded(steps: Array) -> float:
    """Their step, to the digits that 32 bits leave."""
    return float(f"{np.median(steps):.4g}")


def _told_by(tool: str) -> tuple[str, ...]:
    """Types of nodes whose ``r`` tells the step; spyx writes r = 1 into an LI."""
    return ("LIF", "CubaLIF") if tool == "spyx" else ("LIF", "CubaLIF", "LI")


def _uniform(node: Any) -> bool:
    values = [flat(node, p) for p in ("tau", "tau_mem", "tau_syn", "r", "w_in", "v_threshold") if hasattr(node, p)]
    return all(bool((v == v[0]).all()) for v in values if v.size)


def membrane(node: Any) -> str:
    """The name of its time constant."""
    return "tau_mem" if kind(node).startswith("Cuba") else "tau"


def flat(node: Any, parameter: str) -> Array:
    """A parameter of a node, ``[neurons]``."""
    return np.asarray(getattr(node, parameter), np.float64).ravel()


def parameters(file: NirFile, *names: str) -> Array:
    """These parameters of all nodes that have them."""
    values = [flat(node, p) for node in file.graph.nodes.values() for p in names if hasattr(node, p)]
    return np.concatenate(values) if values else np.zeros(0)
