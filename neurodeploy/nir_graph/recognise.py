"""Which tool wrote a `.nir` file, told from what its exporter does to parameters and names.

Two exporters write ``r`` as a function of the time constant and the step, which nothing else explains: Rockpool
``r = tau exp(-dt / tau) / dt``, spyx ``r = beta = 1 - dt / tau``. Where two different time constants give the same
step, that is certain. All else are likenesses: they are said, and nothing is concluded from them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodeploy.network.arrays import Array

from .nir_file import NirFile
from .shapes import NEURONS, kind, of_kind
from .tools import TOOLS

_SAME = 3e-6
"""Relative difference up to which two numbers are the same: parameters are stored in 32 bits and computed in them."""


_SPYX = r"layer_\d+(_threshold|(\.\w+)*)$"
"""Names of spyx's nodes."""


@dataclass(frozen=True)
class Recognised:
    """The tool that wrote a file.

    Args:
        tool: as ``--as`` names it.
        because: what tells it.
        certain: whether nothing else explains it, so that the tool's conventions are taken.
        dt: the step that the parameters give away, in seconds.
    """

    tool: str
    because: str
    certain: bool = False
    dt: float | None = None

    @property
    def text(self) -> str:
        """The sentence for reports."""
        return f"looks like written by {TOOLS[self.tool].title}, because {self.because}"


def recognise(file: NirFile) -> Recognised | None:
    """The tool that wrote a file, as far as it shows; None where nothing does, or our own metadata say it already."""
    if file.metadata or not of_kind(file.graph, "LIF", "CubaLIF", "IF", "LI"):
        return None
    for tool, formula in (("rockpool", "tau exp(-dt / tau) / dt"), ("spyx", "1 - dt / tau")):
        steps = _steps(file, tool)
        if steps is not None and _one(steps) and _may_be_of(file, tool):
            dt = _rounded(steps)
            distinct = _distinct(file, tool)
            named = _named(file, r"\d+_\w+Torch$" if tool == "rockpool" else _SPYX)
            if distinct > 1 or named:
                much = f" for {distinct} different time constants" if distinct > 1 else " and its names are that tool's"
                return Recognised(tool, f"r = {formula} with dt = {dt:g} s{much}", distinct > 1, dt)
    return _likeness(file)


def step_written_by(tool: str, file: NirFile) -> float | None:
    """The step in seconds that a tool's exporter left in the parameters; None where it does not show."""
    steps = _steps(file, tool)
    return _rounded(steps) if steps is not None and _one(steps) else None


def norse_time_unit(file: NirFile, dt: float) -> float:
    """Seconds for which norse's time constant of 1 stands: its 1.1.0 writes them times dt, so all below a step."""
    taus = _all(file, "tau", "tau_mem", "tau_syn")
    return 1.0 / dt if taus.size and (taus < dt).all() else 1.0


def _likeness(file: NirFile) -> Recognised | None:
    """What the file looks like, from names, number types and the products of its parameters."""
    if _named(file, _SPYX):
        return Recognised("spyx", "its nodes are called layer_0, layer_1, ...")
    if _named(file, r"\d+_\w+Torch$"):
        return Recognised("rockpool", "its nodes are called after Rockpool's modules")
    neurons = [file.graph.nodes[name] for name in of_kind(file.graph, *NEURONS)]
    wide = all(np.asarray(n.v_threshold).dtype == np.float64 for n in neurons if hasattr(n, "v_threshold"))
    whole = _steps(file, "spikingjelly")
    dt = _rounded(whole) if whole is not None and _one(whole) else None
    if wide and _named(file, r"_?\w+$") and (dt is not None or _uniform(neurons)) and "input_1" in file.graph.nodes:
        return Recognised(
            "spikingjelly", "its parameters are uniform, in 64 bits, and its input is called input_1", dt=dt
        )
    if dt is not None and abs(dt / 1e-4 - 1) < 1e-5 and of_kind(file.graph, "LIF", "CubaLIF"):
        return Recognised("snntorch", "r = tau / dt with dt = 0.0001 s, the step that its exporter always takes", dt=dt)
    taus = _all(file, "tau", "tau_mem", "tau_syn")
    if not taus.size or not all(np.all(np.equal(n.r, 1)) for n in neurons if hasattr(n, "r")):
        return None
    if (taus >= 1).all():
        return Recognised("sinabs", "r = 1 and its time constants count steps, not seconds")
    if (taus < 1e-3).all() and not wide:
        return Recognised(
            "norse", "r = 1 and its time constants are below its step of 1 ms, as norse 1.1.0 writes them"
        )
    return None


_STEP_OF: dict[str, Callable[[Array, Array], Array]] = {
    "rockpool": lambda r, tau: tau * _lambert(1 / r),
    "spyx": lambda r, tau: tau * (1 - r),
    "spikingjelly": lambda r, tau: np.where(r == 1, np.nan, tau / r),
}
"""Tool -> step from ``r`` and the time constant of the membrane; nan where ``r`` does not tell."""


def _steps(file: NirFile, tool: str) -> Array | None:
    """The step that each neuron gives away, were the file written by ``tool``; None where one cannot be."""
    if tool not in _STEP_OF:
        return None
    found: list[Array] = []
    for name in of_kind(file.graph, "LIF", "CubaLIF", "LI"):
        node = file.graph.nodes[name]
        if tool == "spyx" and kind(node) == "LI":  # spyx writes r = 1 there, and no step
            continue
        try:
            tau, r = np.broadcast_arrays(*(_flat(node, p) for p in (_membrane(node), "r")))
        except ValueError:
            return None
        if not (np.isfinite(tau) & np.isfinite(r) & (tau > 0) & (r > 0)).all():
            return None
        step = _STEP_OF[tool](r, tau)
        if tool == "rockpool" and (step < 1e-3 * tau).any():
            return None  # exp(-dt / tau) is 1 to most digits, as in r = tau / dt
        found.append(step[~np.isnan(step)])
    if tool == "spikingjelly":
        found += [1 / r for r in (_flat(file.graph.nodes[n], "r") for n in of_kind(file.graph, "IF")) if (r > 0).all()]
    steps = np.concatenate(found) if found else np.zeros(0)
    return steps if steps.size and (steps > 0).all() and np.isfinite(steps).all() else None


def _distinct(file: NirFile, tool: str) -> int:
    """How many different time constants the step was told from."""
    kinds = ("LIF", "CubaLIF") if tool == "spyx" else ("LIF", "CubaLIF", "LI")
    nodes = [file.graph.nodes[name] for name in of_kind(file.graph, *kinds)]
    return len({float(f"{tau:.3g}") for node in nodes for tau in _flat(node, _membrane(node))})


_LINEAR = ("Input", "Output", "Linear", "Affine")
_WRITES = {
    "rockpool": (*_LINEAR, "LIF", "CubaLIF", "LI"),
    "spyx": (*_LINEAR, "LIF", "CubaLIF", "IF", "LI", "Threshold", "Conv2d", "SumPool2d", "Flatten"),
}
"""Tool -> types of the nodes that its exporter writes."""


def _may_be_of(file: NirFile, tool: str) -> bool:
    """Whether all nodes are such as a tool's exporter writes: of its types, at rest at 0, with w_in = 1."""
    for node in file.graph.nodes.values():
        resting = all(not np.any(getattr(node, p)) for p in ("v_leak", "v_reset") if hasattr(node, p))
        if kind(node) not in _WRITES[tool] or not resting or np.any(np.not_equal(getattr(node, "w_in", 1.0), 1.0)):
            return False
    return True


def _membrane(node: Any) -> str:
    return "tau_mem" if kind(node).startswith("Cuba") else "tau"


def _flat(node: Any, parameter: str) -> Array:
    return np.asarray(getattr(node, parameter), np.float64).ravel()


def _one(steps: Array) -> bool:
    """Whether all give the same step; 1 - r and its like lose digits, so more than rounding may differ."""
    return bool(np.abs(steps / np.median(steps) - 1).max() < 10 * _SAME)


def _rounded(steps: Array) -> float:
    """Their step, to the digits that 32 bits leave."""
    return float(f"{np.median(steps):.4g}")


def _lambert(x: Array) -> Array:
    """``w exp(w) = x`` for x > 0, by Newton (Lambert's W)."""
    w = np.log1p(x)
    for _ in range(30):
        w = w - (w * np.exp(w) - x) / (np.exp(w) * (1 + w))
    return w


def _all(file: NirFile, *parameters: str) -> Array:
    nodes: list[Any] = list(file.graph.nodes.values())
    values = [_flat(n, p) for n in nodes for p in parameters if hasattr(n, p)]
    return np.concatenate(values) if values else np.zeros(0)


def _named(file: NirFile, pattern: str) -> bool:
    names = [n for n, node in file.graph.nodes.items() if kind(node) not in ("Input", "Output")]
    return bool(names) and all(re.match(pattern, name) for name in names)


def _uniform(neurons: list[Any]) -> bool:
    values = [np.asarray(getattr(n, p)) for n in neurons for p in ("tau", "r", "v_threshold") if hasattr(n, p)]
    return all(v.size < 2 or bool((v == v.flat[0]).all()) for v in values)
