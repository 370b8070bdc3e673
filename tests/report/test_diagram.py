"""The drawing of chip and host: what stands in it, as text and as a picture in which nothing overlaps."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from neurodeploy.api.inspection import inspect
from neurodeploy.cli import main
from neurodeploy.errors import InvalidInputError
from neurodeploy.network.connectivity import Dense
from neurodeploy.network.host import HostInput, HostOutput, HostStage, When
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.program.host_work import crossings
from neurodeploy.program.program import Program
from neurodeploy.report.diagram.layout import HIGH, Layout, layout
from neurodeploy.report.diagram.parts import Diagram, Link, Node, diagram
from neurodeploy.report.diagram.svg import svg
from neurodeploy.report.diagram.text import lines
from neurodeploy.report.document import Report
from tests.networks import random_network

SVG = "{http://www.w3.org/2000/svg}"
GRAPH = np.ones(3, np.uint8)


def lif(size: int = 6) -> Lif:
    one = np.ones(size)
    return Lif(du=one, dv=0.2 * one, bias=0 * one, threshold=one, reset_to=0 * one, initial=0 * one)


def transformer(blocks: int, when: When, name: str = "blocks") -> Network:
    """Blocks of attention over queries, keys and values, with skips: 7 populations and a stage each."""
    populations = [Population("input", (6,), Source())]
    projections: list[Projection] = []
    stages = []

    def neurons(name: str, *sources: str) -> str:
        populations.append(Population(name, (6,), lif()))
        projections.extend(Projection(f"{s} > {name}", s, name, Dense(np.eye(6))) for s in sources)
        return name

    x = neurons("stem", "input")
    for b in range(blocks):
        heard = [neurons(f"{name}.{b}.{part}", x) for part in "qkv"]
        populations.append(Population(f"{name}.{b}.mixed", (6,), Source()))
        takes = tuple(HostInput(part, one) for part, one in zip("qkv", heard, strict=True))
        stages.append(HostStage(f"{name}.{b}.attn", GRAPH, takes, (HostOutput("y", f"{name}.{b}.mixed"),), when))
        a = neurons(f"{name}.{b}.proj", f"{name}.{b}.mixed", x)
        x = neurons(f"{name}.{b}.fc2", neurons(f"{name}.{b}.fc1", a), a)
    neurons("head", x)
    return Network("t", tuple(populations), tuple(projections), ("head",), 1e-3, stages=tuple(stages))


def looped() -> Network:
    """A gate that the host makes of the spikes of the step before, and a layer that hears itself."""
    stage = HostStage("hold", GRAPH, (HostInput("x", "first"),), (HostOutput("y", "held", 1),), "step")
    populations = (
        Population("input", (6,), Source()),
        Population("held", (6,), Source()),
        Population("first", (6,), lif()),
    )
    projections = tuple(
        Projection(f"from {name}", name, "first", Dense(np.eye(6)), delay=int(name == "first"))
        for name in ("input", "held", "first")
    )
    return Network("l", populations, projections, ("first",), 1e-3, stages=(stage,))


def test_text_says_what_runs_where_and_what_crosses() -> None:
    side, wide = "│" + " " * 24 + "│", 113
    assert lines(diagram(transformer(1, "phase"))) == [
        f"  {'chip':<42} {'each step':^26} host",
        "phase 0 in every step ".ljust(wide, "─"),
        f"  input                                      {side}",
        "  stem ← input                               ├── spikes, 6 bits ─────▶│ stem, kept",
        "  blocks.0.q ← stem                          ├── spikes, 6 bits ─────▶│ blocks.0.attn",
        "  blocks.0.k ← stem                          ├── spikes, 6 bits ─────▶│ blocks.0.attn",
        "  blocks.0.v ← stem                          ├── spikes, 6 bits ─────▶│ blocks.0.attn",
        "behind phase 0 with all its steps ".ljust(wide, "─"),
        f"                                             {side} [blocks.0.attn] over all steps of phase 0",
        f"                                             {side} [stem, kept] for a later phase",
        "phase 1 in every step ".ljust(wide, "─"),
        "  blocks.0.mixed                             │◀─── values, 192 bits ──┤ blocks.0.attn",
        "  blocks.0.proj ← blocks.0.mixed             │◀───── spikes, 6 bits ──┤ stem, kept",
        f"  blocks.0.fc1 ← blocks.0.proj               {side}",
        f"  blocks.0.fc2 ← blocks.0.fc1, blocks.0.proj {side}",
        f"  head ← blocks.0.fc2                        {side}",
    ]


def test_what_is_late_and_what_loops_says_so() -> None:
    said = "\n".join(lines(diagram(looped())))
    assert "values, 192 bits, 1 step later" in said and "first ← input, held, itself (1 step later)" in said


def test_a_network_of_the_chip_alone_has_a_picture_and_no_text() -> None:
    network = random_network(1, "float")
    assert lines(diagram(network)) == []
    drawn = svg(diagram(network))
    assert "host" not in re.sub(r"<title>.*?</title>", "", drawn)
    texts = [t.text for t in ET.fromstring(drawn).iter(f"{SVG}text")]
    assert [p.name for p in network.populations] == [t for t in texts if t in network.by_name]


@pytest.mark.parametrize(("blocks", "when"), [(1, "step"), (3, "phase"), (8, "step")])
def test_every_crossing_that_is_counted_is_drawn_once(blocks: int, when: When) -> None:
    network = transformer(blocks, when)
    drawn, host = diagram(network), {node.name for node in diagram(network).nodes if node.side == "host"}
    found = [
        (k.source.removesuffix(", kept"), k.source in host) for k in drawn.links if k.crosses not in ("", "the same")
    ]
    feeds = {stage.name: stage.gives[0].target for stage in network.stages}
    counted = [(c.population, c.to == "chip") for c in crossings(network, 4)]
    assert sorted((feeds.get(name, name), way) for name, way in found) == sorted(counted)


def test_what_two_stages_read_crosses_once() -> None:
    network = transformer(1, "step")
    again = HostStage("other", GRAPH, (HostInput("x", "blocks.0.q"),), (HostOutput("y"),), "behind")
    both = Network(
        network.name, network.populations, network.projections, network.outputs, 1e-3, stages=(*network.stages, again)
    )
    assert [k.crosses for k in diagram(both).links if k.source == "blocks.0.q"] == ["spikes, 6 bits", "the same"]


NETWORKS = {
    "step": transformer(1, "step"), "phases": transformer(4, "phase"), "sixty": transformer(8, "step"),
    "long names": transformer(2, "phase", "a.module.deep.within.another.module"), "loop": looped(),
    **{f"random {seed}": random_network(seed, "float") for seed in range(12)},
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_overlaps(name: str) -> None:
    drawn = diagram(NETWORKS[name])
    placed = layout(drawn)
    boxes = [(p.x - p.wide / 2, p.y, p.x + p.wide / 2, p.y + HIGH) for p in placed.places]
    for one, other in combinations(boxes, 2):
        assert one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1]
    assert all(left > 0 and right < placed.width and bottom < placed.height for left, _, right, bottom in boxes)
    for x, y in _bends(placed):
        assert not any(left <= x <= right and top <= y <= bottom for left, top, right, bottom in boxes)
    tracks = [wire.track for wire in placed.wires if wire.crosses]
    assert len(set(tracks)) == len(tracks)
    assert not any(top - 5 < track < bottom + 5 for track in tracks for _, top, _, bottom in boxes)
    ET.fromstring(svg(drawn))


def _bends(placed: Layout) -> list[tuple[float, float]]:
    """Places in the middle of rows through which links run."""
    return [(bend.x, bend.y + HIGH / 2) for wire in placed.wires for bend in wire.places[1:-1]]


def test_links_lead_down_but_for_those_that_close_a_loop() -> None:
    rows = {node.name: node.row for node in diagram(looped()).nodes}
    assert rows["input"] < rows["first"] < rows["hold"] and rows["held"] < rows["first"]
    up = [wire.link for wire in layout(diagram(looped())).wires if wire.up]
    assert [(link.source, link.target) for link in up] == [("hold", "held")]


def test_names_cannot_break_the_picture_or_the_text() -> None:
    nodes = (Node("<b>&\x00\n\x1b[2J", "chip", "input", '">', 0, 0), Node("s", "host", "stage", "", 0, 1))
    drawn = Diagram("]]>", (("phase 0", "x"),), nodes, (Link(nodes[0].name, "s", "spikes, 1 bit"),))
    texts = [t.text for t in ET.fromstring(svg(drawn)).iter(f"{SVG}text")]
    assert "<b>&���[2J" in texts
    assert not any(c in "".join(lines(drawn)) for c in "\x00\n\x1b")


def test_the_command_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Program.unplaced(transformer(1, "phase"), {}).save(tmp_path / "t.ndp")
    picture = tmp_path / "t.svg"
    assert main(["inspect", str(tmp_path / "t.ndp"), "--svg", str(picture)]) == 0
    said = capsys.readouterr().out
    assert "\n".join(lines(diagram(transformer(1, "phase")))) in said and f"wrote {picture}" in said
    assert picture.read_text() == svg(diagram(transformer(1, "phase")))
    assert main(["inspect", str(tmp_path / "t.ndp"), "--svg", str(picture), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["svg"] == str(picture)
    before = (tmp_path / "t.ndp").read_bytes()
    assert main(["inspect", str(tmp_path / "t.ndp"), "--svg", str(tmp_path / "t.ndp")]) == 2
    assert "OUT.svg" in capsys.readouterr().err and (tmp_path / "t.ndp").read_bytes() == before
    assert main(["inspect", str(tmp_path / "t.ndp"), "--svg", str(tmp_path / "t.ndp" / "t.svg")]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_a_notebook_shows_it(tmp_path: Path) -> None:
    Program.unplaced(transformer(1, "phase"), {}).save(tmp_path / "t.ndp")
    found = inspect(tmp_path / "t.ndp")
    assert found._repr_html_().endswith(found.svg())
    Program.unplaced(random_network(1, "float"), {}).save(tmp_path / "r.ndp")
    assert "<svg" not in inspect(tmp_path / "r.ndp")._repr_html_()


@pytest.mark.parametrize(
    ("nodes", "links"),
    [
        ([Node("a", "chip", "input", "")], [Link("a", "b")]),
        ([Node("a", "chip", "input", ""), Node("a", "chip", "input", "", 0, 1)], []),
        ([Node("a", "chip", "input", "", 0, 5)], []),
        ([Node("a", "chip", "input", "", 3)], []),
        ([Node("a", "chip", "input", ""), Node("b", "chip", "input", "")], [Link("a", "b")]),
        ([Node("a", "chip", "input", "", 1, 0), Node("b", "chip", "input", "", 0, 1)], []),
    ],
)
def test_a_drawing_that_cannot_be_is_refused(nodes: list[Node], links: list[Link]) -> None:
    with pytest.raises(ValueError, match=r"parts|links|rows"):
        Diagram("x", (("phase 0", ""), ("phase 1", "")), tuple(nodes), tuple(links))


def test_a_results_file_with_a_damaged_drawing_is_refused_with_a_message() -> None:
    network = {
        "name": "n", "source": {"framework": "x", "dt": 1e-3, "steps": 1},
        "diagram": {"name": "n", "bands": [], "nodes": [], "links": [{"source": "a", "target": "b"}]},
    }  # fmt: skip
    document = {"format": "neurodeploy report", "version": 3, "title": "t", "neurodeploy": "0", "chip": "c"}
    with pytest.raises(InvalidInputError, match=r"networks\.0\.diagram"):
        Report.from_json(json.dumps({**document, "networks": [network]}))
    network["diagram"]["links"] = []  # type: ignore[index]
    network["diagram"]["script"] = "x"  # type: ignore[index]
    with pytest.raises(InvalidInputError, match=r"networks\.0\.diagram\.script"):
        Report.from_json(json.dumps({**document, "networks": [network]}))
