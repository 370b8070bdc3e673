"""What the drawing of a network shows: its parts on chip and host, row by row, and what leads from one to the other.

Time runs downwards. A *band* is what runs together: the steps of a phase, or the stages of the host that wait for all
of them. Within a band a part stands in a row below all that it hears of; what closes a loop leads upwards. Messages of
a phase that a later one hears are kept by the host, so they cross to it and back (`neurodeploy.program.host_work`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import networkx as nx

from neurodeploy.network.host import HostInput, HostStage, fed, on_chip
from neurodeploy.network.network import Network, Population
from neurodeploy.program.host_work import Wiring, frame_bits

Side = Literal["chip", "host"]
SUM = ", for a sum"
STRICT = {"extra": "forbid"}
"""For documents that hold a drawing: unknown fields are refused."""
Kind = Literal["input", "neurons", "sent", "stage", "kept"]


@dataclass(frozen=True)
class Node:
    """A part of a network.

    Args:
        name: unique in the drawing.
        side: where it is computed, or kept.
        kind: an input of the user, neurons, a source that the host feeds (``sent``), a stage of the host, or messages
            that the host keeps for a later phase.
        text: what it is, in a few words.
        band: number of the band that it stands in.
        row: from the top of the drawing; all of a band stand in rows of its own.
    """

    __pydantic_config__: ClassVar = STRICT
    name: str
    side: Side
    kind: Kind
    text: str
    band: int = 0
    row: int = 0


@dataclass(frozen=True)
class Link:
    """What leads from one part to another.

    Args:
        source, target: names of parts.
        crosses: what crosses the boundary in a step, in words; empty where nothing does.
        late: what is sent later, in words; empty otherwise.
    """

    __pydantic_config__: ClassVar = STRICT
    source: str
    target: str
    crosses: str = ""
    late: str = ""

    @property
    def label(self) -> str:
        """What stands at a link that crosses."""
        return ", ".join(filter(None, (self.crosses, self.late)))


@dataclass(frozen=True)
class Diagram:
    """A network as it is drawn.

    Args:
        name: of the network.
        bands: title and what runs in it, from the top down.
        nodes: by rows.
        links: between them.

    Raises:
        ValueError: a link or a part that stands nowhere.
    """

    __pydantic_config__: ClassVar = STRICT
    name: str
    bands: tuple[tuple[str, str], ...]
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]

    def __post_init__(self) -> None:
        names = {node.name for node in self.nodes}
        if len(names) < len(self.nodes) or any({link.source, link.target} - names for link in self.links):
            raise ValueError("parts with names of their own, and links between them")
        bands = [node.band for node in sorted(self.nodes, key=lambda node: node.row)]
        if bands != sorted(bands) or not set(bands) <= set(range(len(self.bands))):
            raise ValueError("parts in bands that are there, from the top down")
        row = {node.name: node.row for node in self.nodes}
        if set(row.values()) != set(range(len(set(row.values())))):
            raise ValueError("rows from 0 on")
        if any(row[link.source] == row[link.target] and link.source != link.target for link in self.links):
            raise ValueError("links between rows")

    @property
    def hosted(self) -> bool:
        """Whether the host has a part in it."""
        return any(node.side == "host" for node in self.nodes)


def diagram(network: Network) -> Diagram:
    """What the drawing of a network shows."""
    wiring = Wiring.of(network)
    made = _Parts(network, wiring)
    links = list(dict.fromkeys((*_takes(made), *_gives(made), *_projections(made))))
    placed, bands = _placed(made, links)
    return Diagram(network.name, bands, placed, tuple(_once(made, links)))


def _once(made: _Parts, links: Sequence[Link]) -> Iterator[Link]:
    """Links, where what crosses once is said once."""
    seen = set()
    for link in links:
        to_chip = made.bands[link.target] if made.nodes[link.target].side == "chip" else None
        key = link.source, link.crosses.removesuffix(SUM), to_chip
        yield replace(link, crosses="the same") if link.crosses and key in seen else link
        seen.add(key)


class _Parts:
    """The parts of a network by name, before they have rows, and their bands: ``(phase, waits for all its steps)``."""

    def __init__(self, network: Network, wiring: Wiring) -> None:
        self.network, self.wiring = network, wiring
        self.fed = fed(network.stages)
        self.read = {taken.source for stage in network.stages for taken in stage.takes} - set(self.fed)
        self.nodes: dict[str, Node] = {}
        self.bands: dict[str, tuple[int, bool]] = {}
        early = {taken.source for stage in network.stages if stage.when == "before" for taken in stage.takes}
        chip = on_chip(network)
        self.last = max(wiring.phase.values(), default=0)
        for p in network.populations:
            if p.name in chip or p.name in self.read:
                sent = min(wiring.heard_in(p.name), default=0) if p.name in self.fed else 0
                waits = p.name in early and p.name not in self.fed
                self.add(self.population(p), (-1, True) if waits else (max(wiring.phase[p.name], sent), False))
        for stage in network.stages:
            when = (self.last, True) if stage.when == "behind" else (wiring.stage_phase(stage), stage.when != "step")
            self.add(Node(stage.name, "host", "stage", _said(stage, wiring)), when)
        self.kept = {name: self.keep(name) for name in wiring.carried()}

    def add(self, node: Node, band: tuple[int, bool]) -> None:
        self.nodes[node.name], self.bands[node.name] = node, band

    def population(self, p: Population) -> Node:
        shape = " x ".join(map(str, p.shape))
        output = ", output" if p.name in self.network.outputs else ""
        if p.name in self.fed:
            return Node(p.name, "chip", "sent", f"from the host, {shape}{output}")
        users = p.external and not p.neuron.always_on
        side: Side = "host" if users and p.name in self.read else "chip"
        return Node(p.name, side, "input" if p.external else "neurons", f"{p.neuron.label}, {shape}{output}")

    def keep(self, name: str) -> str:
        """Add what the host keeps of a population, and give its name."""
        kept = f"{name}, kept"
        while kept in self.nodes:
            kept += "'"
        self.add(Node(kept, "host", "kept", "for a later phase"), (self.wiring.phase[name], True))
        return kept

    def crossing(self, name: str, port: str = "spikes") -> str:
        """What of a population crosses in a step."""
        population, arithmetic = self.network.by_name[name], self.network.arithmetic
        what = "values" if port == "spikes" and population.neuron.graded(arithmetic) else port
        bits = frame_bits(self.network, population, port)
        return f"{what}, {bits:,} bit" + ("s" if bits != 1 else "")


def _said(stage: HostStage, wiring: Wiring) -> str:
    """When a stage runs, and what it gives to the user."""
    when = {
        "before": "before the first step",
        "step": "in every step",
        "phase": f"over all steps of phase {wiring.stage_phase(stage)}",
        "behind": "behind the last step",
    }[stage.when]
    users = [given.name for given in stage.gives if not given.target]
    return when + (f", gives {', '.join(users)}" if users else "")


def _takes(made: _Parts) -> Iterator[Link]:
    for stage in made.network.stages:
        for taken in stage.takes:
            if taken.source in made.fed:
                yield Link(made.fed[taken.source].name, stage.name, "", _late(made, taken))
            else:
                yield Link(taken.source, stage.name, _taken(made, taken))


def _taken(made: _Parts, taken: HostInput) -> str:
    """What crosses for a stage; of the user's inputs nothing does."""
    if made.nodes[taken.source].side == "host":
        return ""
    return made.crossing(taken.source, taken.port) + (SUM if taken.over == "sum" else "")


def _late(made: _Parts, taken: HostInput) -> str:
    return next((_later(g.delay) for g in made.fed[taken.source].gives if g.target == taken.source), "")


def _later(delay: int) -> str:
    return f"{delay} step{'s' if delay != 1 else ''} later" if delay else ""


def _gives(made: _Parts) -> Iterator[Link]:
    for stage in made.network.stages:
        for given in stage.gives:
            if given.target in made.nodes:
                yield Link(stage.name, given.target, made.crossing(given.target), _later(given.delay))


def _projections(made: _Parts) -> Iterator[Link]:
    phase, nodes = made.wiring.phase, made.nodes
    for p in made.network.projections:
        if p.source in made.kept and phase[p.target] > phase[p.source]:
            yield Link(p.source, made.kept[p.source], made.crossing(p.source))
            yield Link(made.kept[p.source], p.target, made.crossing(p.source), _later(p.delay))
        else:
            crosses = made.crossing(p.source) if nodes[p.source].side == "host" else ""
            yield Link(p.source, p.target, crosses, _later(p.delay))


def _placed(made: _Parts, links: Sequence[Link]) -> tuple[tuple[Node, ...], tuple[tuple[str, str], ...]]:
    """Parts with their bands and rows, and what the bands are called."""
    forward = _without_loops(made.nodes, links)
    found: list[Node] = []
    bands = sorted(set(made.bands.values()))
    row = 0
    for number, band in enumerate(bands):
        inside = forward.subgraph(name for name, where in made.bands.items() if where == band)
        for names in nx.topological_generations(inside):
            there = set(names)
            found += [replace(made.nodes[n], band=number, row=row) for n in made.nodes if n in there]
            row += 1
    return tuple(found), tuple(_title(phase, waits, made.last) for phase, waits in bands)


def _title(phase: int, waits: bool, last: int) -> tuple[str, str]:
    if phase < 0:
        return "before", "the first step"
    if not waits:
        return f"phase {phase}", "in every step"
    return ("behind", "the last step") if phase == last else (f"behind phase {phase}", "with all its steps")


def _without_loops(nodes: Mapping[str, Node], links: Sequence[Link]) -> nx.DiGraph[str]:
    """The links but for those that close a loop, of which those are left out first that are late."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(sorted(nodes, key=lambda name: nodes[str(name)].kind != "input"))
    graph.add_edges_from((link.source, link.target) for link in links if link.source != link.target)
    late = {(link.source, link.target) for link in links if link.late}
    while True:
        try:
            loop = list[tuple[str, str]](nx.find_cycle(graph, list(graph)))
        except nx.NetworkXNoCycle:
            return graph
        graph.remove_edge(*next((edge for edge in loop if edge in late), loop[-1]))
