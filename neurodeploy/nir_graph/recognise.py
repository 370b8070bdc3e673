"""Which tool wrote a `.nir` file, told from what its exporter does to parameters and names.

Two exporters write ``r`` as a function of the time constant and the step, which nothing else explains: Rockpool
``r = tau exp(-dt / tau) / dt``, spyx ``r = beta = 1 - dt / tau``. Where two different time constants give the same
step, or one gives a round step and the nodes have that tool's names, that is certain. All else are likenesses: they are
said, and nothing is concluded from them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from .nir_file import NirFile
from .shapes import NEURONS, kind, of_kind
from .tools import TOOLS
from .writers import WRITERS, against, distinct_time_constants, parameters, step_written_by

_NAMES = {"spyx": r"layer_\d+(_threshold|(\.\w+)*)$", "rockpool": r"\d+_\w+Torch$"}
"""Tool -> how its nodes are called."""


@dataclass(frozen=True)
class Recognised:
    """The tool that wrote a file.

    Args:
        tool: as ``--as`` names it.
        because: what tells it.
        certain: whether nothing else explains it, so that the tool's conventions are taken.
        others: tools against which nothing speaks either.
    """

    tool: str
    because: str
    certain: bool = False
    others: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The sentence for reports."""
        also = f" (nothing speaks against {' or '.join(self.others)}, either)" if self.others else ""
        return f"looks like written by {TOOLS[self.tool].title}, because {self.because}{also}"


def recognise(file: NirFile) -> Recognised | None:
    """The tool that wrote a file, as far as it shows; None where nothing does, or our own metadata say it already."""
    if file.metadata or not of_kind(file.graph, "LIF", "CubaLIF", "IF", "LI"):
        return None
    for tool, names in _NAMES.items():
        dt = step_written_by(tool, file)
        if against(tool, file) or (dt is None and not _named(file, names)):
            continue
        told = f"r = {WRITERS[tool].r} with dt = {dt:g} s" if dt is not None else ""
        distinct = distinct_time_constants(tool, file) if told else 0
        if distinct > 1:
            return Recognised(tool, f"{told} for {distinct} different time constants", certain=True)
        if _named(file, names):
            shown = ", ".join(sorted(set(file.graph.nodes) - {"input", "output"})[:2])
            because = " and ".join(filter(None, (f"its nodes are called {shown}, ...", told)))
            return Recognised(tool, because, certain=bool(told))
    found = _likeness(file)
    if found is None:
        return None
    return replace(found, others=tuple(t for t in TOOLS if t != found.tool and not against(t, file)))


def _likeness(file: NirFile) -> Recognised | None:
    """What the file looks like, from the products of its parameters, number types and names."""
    nodes = [file.graph.nodes[name] for name in of_kind(file.graph, *NEURONS)]
    wide = all(np.asarray(n.v_threshold).dtype == np.float64 for n in nodes if hasattr(n, "v_threshold"))
    if wide and "input_1" in file.graph.nodes and not against("spikingjelly", file):
        return Recognised("spikingjelly", "its parameters are in 64 bits and its input is called input_1")
    if of_kind(file.graph, "LIF", "CubaLIF") and not against("snntorch", file):
        return Recognised("snntorch", "r = tau / dt with dt = 0.0001 s, the step that its exporter always takes")
    taus = parameters(file, "tau", "tau_mem", "tau_syn")
    if taus.size and (taus >= 1).all() and not against("sinabs", file):
        return Recognised("sinabs", "r = 1 and its time constants count steps, not seconds")
    if taus.size and (taus < 1e-3).all() and not against("norse", file):
        return Recognised(
            "norse", "r = 1 and its time constants are below its step of 1 ms, as norse 1.1.0 writes them"
        )
    return None


def _named(file: NirFile, pattern: str) -> bool:
    names = [n for n, node in file.graph.nodes.items() if kind(node) not in ("Input", "Output")]
    return bool(names) and all(re.match(pattern, name) for name in names)
