"""Stages of a host as nodes of a NIR graph, and the one behind the last step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import nir

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.answer import Answer, OverTime, Returned, Series
from neurodeploy.network.host import HostInput, HostOutput, HostStage
from neurodeploy.nir_graph.host_nodes import STAGE, edges_of, stage_node, stage_of
from neurodeploy.nir_graph.metadata import section_of
from neurodeploy.nir_graph.shapes import of_kind

from ...torch_step.fxgraph import module_of
from ...usage import HostCut
from ..answers import Answering
from ..expressed import whole_of
from ..fold import Folded
from ..record import line_of
from ..terms import Term
from ..unroll import Unrolled
from .phases import Phases, behind
from .stage import Cutout
from .steps import Stepwise

if TYPE_CHECKING:
    from torch import Tensor


def behind_the_last(unrolled: Unrolled, folded: Folded, answers: Answering, host: HostCut) -> list[Cutout]:
    """Stages for what forward returns that no rule says, which then is in the answer; none where its first value is."""
    stages: list[Cutout] = []
    if answers.answer is not None and 0 in answers.kept:
        return stages
    returned = dict(zip(answers.kept, answers.answer.returned if answers.answer else (), strict=True))
    for number, ids in enumerate(unrolled.returned):
        if number in returned or not hasattr(ids, "dim"):
            continue
        value: Tensor = ids  # type: ignore[assignment]
        try:
            root, order = whole_of(unrolled.terms, value)
            name = f"returned.{number}"
            made = behind(unrolled, name, root, folded.last + 1, host)
            assert made.graph.size  # which may be refused
            stages.append(made)
        except UnsupportedError as error:
            answers.left_out[number] = f"{error.what}{f' ({error.found})' if error.found else ''}"
            continue
        returned[number] = Returned(OverTime(Series(name, "value", root.shape), "last"), order)
        del answers.left_out[number]
    if stages:
        answers.kept[:] = sorted(returned)
        answers.answer = Answer(tuple(returned[number] for number in answers.kept), steps=folded.last + 1)
    return stages


def read_by(before: Phases, last: Sequence[Cutout]) -> list[Term]:
    """What stages that take all steps read, of the last step."""
    early = [before.moved[one.term.index] for stage in before.stages for one in stage.reads]
    return list(dict.fromkeys((*early, *(one.term for stage in last for one in stage.reads))))


def with_stages(
    graph: nir.NIRGraph, names: Sequence[str], before: Phases, last: Sequence[Cutout], cut: Stepwise
) -> nir.NIRGraph:
    """The graph with its stages, and without the outputs that they alone read.

    Args:
        names: nodes of the results of the step: what the user reads, then what stages do (`Stepwise.reads`).
    """
    if not (before.stages or last or cut.stages):
        return graph
    own = len(names) - len(cut.reads)
    of = {term.index: name for term, name in zip(cut.reads, names[own:], strict=True)}
    nodes, edges = dict(graph.nodes), list(graph.edges)
    for number in range(own, len(names)):
        del nodes[f"output_{number}" if len(names) > 1 else "output"]
    edges = [(a, b) for a, b in edges if b in nodes]
    if own == 1 and "output_0" in nodes:
        nodes = {("output" if name == "output_0" else name): node for name, node in nodes.items()}
        edges = [(a, "output" if b == "output_0" else b) for a, b in edges]
    staged = [(stage, {one.term.index: before.moved[one.term.index] for one in stage.reads}) for stage in before.stages]
    staged += [(stage, {one.term.index: one.term for one in stage.reads}) for stage in (*last, *cut.stages)]
    at = {node: place for place, node in enumerate(staged[0][0].origin.graph.nodes)}
    staged.sort(key=lambda one: (one[0].when == "behind", at[one[0].origin]))
    for stage, moved in staged:
        name = _free("host" if len(staged) == 1 else "host_1", nodes)
        made = _stage(name, stage, {index: _node(term, of, nodes) for index, term in moved.items()})
        nodes[name] = stage_node(made, _metadata(stage))
        edges += edges_of(name, made)
    return nir.NIRGraph(nodes, edges, metadata=graph.metadata, type_check=False)


def _node(term: Term, of: Mapping[int, str], nodes: Mapping[str, Any]) -> str:
    """The node of what a stage reads."""
    if term.index in of:
        return of[term.index]
    raise UnsupportedError(f"{line_of(term.node)}: nothing of the chip sends what a host reads", found=term.name)


def _stage(name: str, cutout: Cutout, nodes: Mapping[int, str]) -> HostStage:
    takes = tuple(HostInput(f"x{i}", nodes[one.term.index], one.port if one.plain else "potential")
                  for i, one in enumerate(cutout.reads))  # fmt: skip
    user = cutout.when == "behind"
    gives = tuple(HostOutput(output, "" if user else one.name)
                  for output, one in zip(cutout.outputs, cutout.gives, strict=True))  # fmt: skip
    return HostStage(name, cutout.graph, takes, gives, cutout.when)


def _metadata(stage: Cutout) -> dict[str, Any]:
    path, line = module_of(stage.origin), line_of(stage.origin)
    said = {"module": path} if path else {}
    return {"neurodeploy": {**said, **({"line": line} if line else {})}} if said or line else {}


_WHEN = {
    "before": "before the first step", "step": "in every step", "phase": "between phases of all steps",
    "behind": "behind the last step",
}  # fmt: skip


def said_of(graph: nir.NIRGraph) -> tuple[str, ...]:
    """What the host computes, a line for each stage."""
    found = []
    for name in of_kind(graph, STAGE):
        node = graph.nodes[name]
        stage, line = stage_of(name, node), str(section_of(node).get("line", ""))
        reads, gives = (", ".join(map(str, part)) for part in (stage.takes, stage.gives))
        found.append(f"{name}, {_WHEN[stage.when]}: reads {reads}; feeds {gives}{f' ({line})' if line else ''}")
    return tuple(found)


def _free(base: str, nodes: Mapping[str, Any]) -> str:
    name, number = base, 1
    while name in nodes:
        number += 1
        name = f"host_{number}"
    return name
