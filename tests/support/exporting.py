"""What `neurodeploy.export` makes of a torch network: exact, with the nodes of the file, or refused with the reason.

A network whose last layer always or never spikes is drawn anew. *exact*: the export is proven, and the file, read back,
gives on another sample what the module returns.
"""

from __future__ import annotations

import re
import tempfile
import warnings
from collections import Counter
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import nir
import numpy as np
import torch
from torch import nn

import neurodeploy as nd
from neurodeploy.backends.reference.run import run_network
from neurodeploy.errors import InvalidInputError, UnsupportedError
from neurodeploy.exporters.usage import Usage
from neurodeploy.exporters.user_run import run_user
from neurodeploy.lowering.lower import lower
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.conventions import resolve
from neurodeploy.nir_graph.shapes import digraph
from neurodeploy.program.recording import Record, returned

from .sequence_rows import SEQUENCES
from .tables import Table
from .torch_networks import Row, Whole
from .torch_rows import JOINS, LINEAR

ROWS = {**LINEAR, **JOINS, **SEQUENCES}
SEEDS = 12


@dataclass(frozen=True)
class Said:
    """What became of a row.

    Args:
        verdict: ``exact``, ``refused: why``, or ``differs: where``, which must not be.
        nodes: the nodes of the file that stand for it, between the neurons; of a sequence all of them.
        spikes: that the last layer sent on the sample that the proof did not see.
    """

    verdict: str
    nodes: str = ""
    spikes: int = 0


@cache
def row(name: str) -> Said:
    """A row, run."""
    case, said = ROWS[name], Said("differs: no network of it is lively")
    for seed in range(SEEDS):
        said = tried(case, seed)
        if not said.verdict.startswith("differs: quiet"):
            break
    return said


def tried(case: Row | Whole, seed: int) -> Said:
    """Export the network of one seed, and compare on another sample."""
    net, x = case.net(seed), case.sample()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "net.nir"
        try:
            model = nd.export(net, x, path, time_axis=case.axis)
        except (UnsupportedError, InvalidInputError) as error:
            return Said(f"refused: {reason(error)}")
        except nd.NeurodeployError as error:
            return Said(f"differs: quiet, {error}" if "spike" in error.what else f"differs: {error}")
        assert model.exported is not None
        return again(case, net, path, model.exported.captured.usage, bool(model.exported.captured.encoded))


def again(case: Row | Whole, net: nn.Module, path: Path, usage: Usage, encoded: bool) -> Said:
    """On another sample: what forward returns, as its user calls it, and what the file gives."""
    file, x = nir_file.read(path), case.sample(1)
    network = lower(file, resolve(file))
    theirs = run_user(net, x, usage, torch.float64, observe=False).returned
    if encoded:  # its spikes are drawn, so that only the proof has seen the same ones
        return Said("exact", between(file.graph, case), 1)
    inputs = {network.inputs[0].name: usage.time_first(x)}
    ours = returned(network, run_network(network, inputs, record=Record(("v",))))
    for mine, his in zip(ours, theirs, strict=True):
        if mine.shape != his.shape or not np.allclose(mine, his, rtol=1e-9, atol=1e-9):
            return Said("differs: on another sample")
    sent = theirs[0]
    if (sent == sent.flat[0]).all():
        return Said("differs: quiet")
    return Said("exact", between(file.graph, case), int(np.count_nonzero(sent)))


def between(graph: nir.NIRGraph, case: Row | Whole) -> str:
    """Kinds of the nodes in front of the last neuron, up to the neurons before; of a sequence all but the ends."""
    kinds = {name: type(node).__name__ for name, node in graph.nodes.items()}
    names = set(kinds)
    if isinstance(case, Row):
        edges, names, waiting = digraph(graph), set(), ["out"]
        while waiting:
            for name in edges.predecessors(waiting.pop()):
                if name not in names and name not in ("n1", "n2"):
                    names.add(name)
                    waiting.append(name)
    counts = Counter(kinds[name] for name in names if kinds[name] not in ("Input", "Output"))
    return ", ".join(f"{count} `{kind}`" if count > 1 else f"`{kind}`" for kind, count in sorted(counts.items()))


def reason(error: nd.NeurodeployError) -> str:
    """Why a network was refused, in short: from the message, without the names of a case's own parts."""
    said = error.what if error.found is None else f"{error.what}: {error.found}"
    said = re.sub(r"\S+\.py:\d+(?:, in \w+)?: (?:module '[^']*' \([^)]*\): )?", "", said)
    said = re.sub(r" \(\S+\.py:\d+\)", "", said)
    return re.sub(r"\s+", " ", said.replace("|", "/")).removeprefix(": ")


def cells(name: str) -> list[str]:
    """What becomes of a row, and the nodes that stand for it."""
    said = row(name)
    return [said.verdict, said.nodes]


PAGE = "reference-torch.md"
TABLES = (
    Table(PAGE, "linear", ("between two layers of neurons", "`export`", "in the file"),
          {name: partial(cells, name) for name in LINEAR}),
    Table(PAGE, "joins", ("between layers of neurons `a` and `b` and the next", "`export`", "in the file"),
          {name: partial(cells, name) for name in JOINS}),
    Table(PAGE, "sequences", ("network", "`export`", "in the file"),
          {name: partial(cells, name) for name in SEQUENCES}),
)  # fmt: skip
