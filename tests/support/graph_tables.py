"""The tables about nodes, rules of neurons, and what both become on Lava."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path

from neurodeploy.backends import lava
from neurodeploy.nir_graph.nodes import KNOWN_NODES

from .graphs import MODELS, NODES, RULES
from .running import CHIPS, FLOATS, INTEGERS, Found, columns, graph_row, model_row
from .tables import Table

SUPPORT, LAVA = "reference-support.md", "reference-lava.md"
RAN = ("NIR", *columns("floats", FLOATS), *columns("integers", INTEGERS))
RULED = ("NIR", *columns("floats", FLOATS), "quantise", *columns("integers", INTEGERS), *CHIPS)
HEADS = ("NIR reference", *(f"floats: {name}" for name in FLOATS))


def found(name: str) -> Found:
    """A row about a graph or a model, run."""
    return model_row(name) if name in MODELS else graph_row(name)


def cells(name: str, names: tuple[str, ...]) -> list[str]:
    """Verdicts of a row, and why something is refused in it."""
    row = found(name)
    reasons = {why: None for column in names for why in row.reasons.get(column, ())}
    return [*(row.cells[column] for column in names), "; ".join(reasons)]


APPROXIMATED: Mapping[str, str] = {
    "Linear": "weights of 8 bits: even from -256 to 254 where both signs occur",
    "Affine": "the same; the bias has 13 bits and an exponent",
    "Max": "as what stands in front; a Process of ours, `MaxCurrent`, in front of the neurons'",
    "Scale": "nothing of its own: it is part of the weights",
    "Conv1d": "as `Linear`; runs as a convolution of height 1",
    "Conv2d": "as `Linear`; Lava's Sparse up to 16.8 million synapses, its Conv above (equal, slower)",
    "SumPool2d": "nothing of its own: it is part of the weights",
    "AvgPool2d": "nothing of its own: it is part of the weights",
    "HostStage": "what the host sends: graded spikes of 8 bits and a sign; it computes in floats",
    "LIF": "leak of 12 bits, threshold in steps of 64 units",
    "IF": "threshold in steps of 64 units",
    "CubaLIF": "both leaks of 12 bits; the current may wrap at 24 bits",
    "LI": "leak of 12 bits; where it feeds on, messages of about 10 bits",
    "I": "as `LI`",
    "CubaLI": "as `LI` and `CubaLIF`",
    "Threshold": "threshold in steps of 64 units",
}
"""What `quantise` approximates, in words; nothing of other nodes."""


def forms(node: str) -> list[str]:
    """The rows about a node."""
    return [name for name in NODES if re.match(rf"`{node}`", name)]


SECOND = ("Output", "FromHost")
"""Nodes that stand in the rows of others."""


def titled(node: str) -> str:
    """A node, or the two ends, which stand together."""
    together = {"Input": "`Input`, `Output`", "HostStage": "`HostStage`, `FromHost`"}
    return together.get(node, f"`{node}`")


def on_lava(node: str) -> list[str]:
    """What becomes of all forms of a node on Lava, and in hwsim's integers."""
    said = []
    for column in ("floats: lava", "integers: lava", "integers: hwsim"):
        verdicts = {name: found(name).cells[column] for name in forms(node)}
        refused = [name.removeprefix(f"`{node}`").lstrip(", ") for name, v in verdicts.items() if v == "refused"]
        others = sorted(set(verdicts.values()) - {"refused"})
        said.append("; refused: ".join([", ".join(others), *([", ".join(refused)] if refused else [])]))
    return [*said, APPROXIMATED.get(node, "nothing")]


@cache
def ours() -> frozenset[str]:
    """Names of the Processes that are ours, and not Lava's."""
    worker = Path(lava.__file__).parent / "worker"
    trees = [ast.parse((worker / name).read_text(encoding="utf-8")) for name in ("neurons.py", "learning.py")]
    return frozenset(item.name for tree in trees for item in tree.body if isinstance(item, ast.ClassDef))


def process(name: str) -> list[str]:
    """The Process that runs the neurons of a row, in floats and in integers."""
    said = []
    for arithmetic in ("floats", "integers"):
        kind = found(name).process.get(arithmetic, "")
        whose = "ours" if kind in ours() else "Lava's"
        said.append(f"{whose}: `{kind}`" if kind else "refused")
    return said


READ_OUTS = ("`LI`, an output", "`LI`, feeding on", "`Threshold`")
TABLES = (
    Table(SUPPORT, "nodes", ("node", "NIR", *RAN[1:], "why it is refused"),
          {name: partial(cells, name, RAN) for name in NODES}),
    Table(SUPPORT, "rules", ("rule", "NIR", *RULED[1:], "why it is refused"),
          {name: partial(cells, name, RULED) for name in (*RULES, *MODELS)}),
    Table(LAVA, "lava nodes", ("NIR node", "Lava float", "Lava fixed", "hwsim", "what the integers approximate"),
          {titled(node): partial(on_lava, node) for node in KNOWN_NODES if node not in SECOND}),
    Table(LAVA, "processes", ("neuron", "Process in floats", "Process in integers"),
          {name: partial(process, name) for name in (*RULES, *READ_OUTS, *MODELS)}),
)  # fmt: skip
