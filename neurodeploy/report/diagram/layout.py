"""Where the parts of a drawing stand, in pixels: layered from the top down (Sugiyama et al., IEEE TSMC 11(2), 1981).

A link over several rows gets a *bend* in each row between, which takes a place of its own, so that no link runs through
a box. In each row parts are sorted by the mean place of what they are linked to above, then below, in turns, and moved
as near to it as their order and their widths allow. Chip and host have columns of their own; a link that crosses does
so right below its upper end, on a horizontal *track* that it shares with no other, and its label stands there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from .parts import Diagram, Link, Node, Side
from .text import short

Point = tuple[float, float]

MARGIN, TITLES, HEAD = 16.0, 114.0, 38.0
"""Pixels around the drawing, of the column of titles, and of the line that names the columns."""
HIGH, APART, GAP, TRACK, EDGE = 40.0, 22.0, 42.0, 22.0, 22.0
"""Pixels: a box's height, between boxes, between rows, a track, around a new band's first row."""
BEND = 14.0
NAME, SMALL = 7.3, 6.1
"""Pixels that a character takes at most, on average, of a name and of the text below it."""
LONGEST = 28
"""Characters of a name or text in a box."""
TURNS = 12


@dataclass(eq=False)
class Place:
    """A box, or a bend of a link.

    Args:
        node: None of a bend.
        side, row: where.
        wide: pixels.
        x: of its middle.
        y: of its top.
        above, below: what it is linked to in the next rows, on its own side.
    """

    node: Node | None
    side: Side
    row: int
    wide: float = BEND
    x: float = 0.0
    y: float = 0.0
    above: list[Place] = field(default_factory=list)
    below: list[Place] = field(default_factory=list)


@dataclass(eq=False)
class Wire:
    """A link as it runs.

    Args:
        link: which.
        places: from the upper end down.
        up: whether it leads upwards.
        track: height of its horizontal part, where it crosses.
        ends: where it leaves the upper end and meets the lower one.
    """

    link: Link
    places: list[Place]
    up: bool
    track: float = 0.0
    ends: tuple[float, float] = (0.0, 0.0)

    @property
    def crosses(self) -> bool:
        """Whether it leads from one side to the other."""
        return self.places[0].side != self.places[-1].side


@dataclass(eq=False)
class Layout:
    """The drawing, in pixels.

    Args:
        width, height: of all.
        places: boxes only.
        wires: links between different parts.
        loops: parts that hear of themselves.
        columns: left and right end of each side.
        bands: top of each, and title.
    """

    width: float
    height: float
    places: list[Place]
    wires: list[Wire]
    loops: list[Place]
    columns: dict[Side, tuple[float, float]]
    bands: list[tuple[float, str, str]]


def layout(drawn: Diagram) -> Layout:
    """Place a drawing."""
    boxes = {node.name: Place(node, node.side, node.row, _wide(node)) for node in drawn.nodes}
    wires = [_wire(link, boxes) for link in drawn.links if link.source != link.target]
    rows: list[dict[Side, list[Place]]] = [
        {"chip": [], "host": []} for _ in range(max((node.row for node in drawn.nodes), default=-1) + 1)
    ]
    for place in (*boxes.values(), *(bend for wire in wires for bend in wire.places[1:-1])):
        rows[place.row][place.side].append(place)
    for wire in wires:
        for one, other in pairwise(wire.places):
            if one.side == other.side:
                one.below.append(other)
                other.above.append(one)
    sides: tuple[Side, ...] = ("chip", "host")
    for side in sides:
        _arrange([row[side] for row in rows])
    columns, width = _columns(drawn, rows)
    height, bands = _heights(drawn, rows, wires)
    _ends(wires)
    loops = [boxes[link.source] for link in drawn.links if link.source == link.target]
    return Layout(width, height, list(boxes.values()), wires, loops, columns, bands)


def _wide(node: Node) -> float:
    return max(NAME * len(short(node.name, LONGEST)), SMALL * len(short(node.text, LONGEST + 6)), 70.0) + 20.0


def _wire(link: Link, boxes: dict[str, Place]) -> Wire:
    upper, lower = boxes[link.source], boxes[link.target]
    up = upper.row > lower.row
    if up:
        upper, lower = lower, upper
    return Wire(link, [upper, *(Place(None, lower.side, row) for row in range(upper.row + 1, lower.row)), lower], up)


def _arrange(rows: Sequence[list[Place]]) -> None:
    """Order each row of a side, and set each place's x, from 0 on."""
    for row in rows:
        _settle(row, [place.x for place in row])
    for turn in range(TURNS):
        down = turn % 2 == 0
        for row in rows if down else rows[::-1]:
            wanted = {id(p): _mean(p.above if down else p.below, p.x) for p in row}
            if turn < TURNS - 4:
                row.sort(key=lambda place: wanted[id(place)])
            _settle(row, [wanted[id(p)] for p in row])
    for row in rows:
        _settle(row, [_mean([*place.above, *place.below], place.x) for place in row])
    left = min((place.x - place.wide / 2 for row in rows for place in row), default=0.0)
    for row in rows:
        for place in row:
            place.x -= left


def _mean(near: Sequence[Place], otherwise: float) -> float:
    return sum(place.x for place in near) / len(near) if near else otherwise


def _settle(row: Sequence[Place], wanted: Sequence[float]) -> None:
    """Set places as near to where they are wanted as their order allows: the mean of pushing right and pushing left."""
    apart = [(a.wide + b.wide) / 2 + (APART if a.node and b.node else APART / 2) for a, b in pairwise(row)]
    right, left = list(wanted), list(wanted)
    for i, space in enumerate(apart):
        right[i + 1] = max(right[i + 1], right[i] + space)
    for i in range(len(apart) - 1, -1, -1):
        left[i] = min(left[i], left[i + 1] - apart[i])
    for place, a, b in zip(row, right, left, strict=True):
        place.x = (a + b) / 2


def _columns(drawn: Diagram, rows: Sequence[dict[Side, list[Place]]]) -> tuple[dict[Side, tuple[float, float]], float]:
    """Move the sides beside each other; what crosses stands between them."""
    left, columns = MARGIN + (TITLES if drawn.hosted else 0.0), dict[Side, tuple[float, float]]()
    between = max((SMALL * len(link.label) + 64.0 for link in drawn.links if link.crosses), default=64.0)
    sides: tuple[Side, ...] = ("chip", "host") if drawn.hosted else ("chip",)
    for side in sides:
        places = [place for row in rows for place in row[side]]
        wide = max(max((place.x + place.wide / 2 for place in places), default=0.0), 150.0)
        middle = (wide - max((place.x + place.wide / 2 for place in places), default=0.0)) / 2
        for place in places:
            place.x += left + 18.0 + middle
        columns[side] = (left, left + wide + 36.0)
        left += wide + 36.0 + between
    return columns, left - between + MARGIN


def _heights(
    drawn: Diagram, rows: Sequence[dict[Side, list[Place]]], wires: Sequence[Wire]
) -> tuple[float, list[tuple[float, str, str]]]:
    """Set each place's y and each track; give the whole height, and where bands begin."""
    y, bands, begun = MARGIN + HEAD, list[tuple[float, str, str]](), -1
    band_of = {node.row: node.band for node in drawn.nodes}
    for number, row in enumerate(rows):
        if band_of[number] != begun:
            begun = band_of[number]
            bands.append((y, *drawn.bands[begun]))
            y += EDGE
        for place in (*row["chip"], *row["host"]):
            place.y = y
        tracks = sorted((w for w in wires if w.crosses and w.places[0].row == number), key=_first)
        for index, wire in enumerate(tracks):
            wire.track = y + HIGH + 24.0 + TRACK * index
        more = 12.0 + TRACK * len(tracks) if tracks else 0.0
        last = number + 1 == len(rows) or band_of[number + 1] != begun
        y += HIGH + more + (EDGE if last else GAP)
    return y + MARGIN, bands


def _first(wire: Wire) -> tuple[bool, float]:
    """From the top down: to the host from the right, then to the chip from the left; so fewer of them meet."""
    host = wire.places[-1].side == "host"
    return (not host, -wire.places[0].x if host else wire.places[1].x)


def _ends(wires: Sequence[Wire]) -> None:
    """Spread what leaves and meets each box over its width, from the left by where it comes from."""
    for lower in (False, True):
        at: dict[int, list[Wire]] = {}
        for wire in wires:
            at.setdefault(id(wire.places[-1 if lower else 0]), []).append(wire)
        for found in at.values():
            found.sort(key=lambda w: (w.places[-2] if lower else w.places[1]).x)
            for index, wire in enumerate(found):
                box = wire.places[-1 if lower else 0]
                x = box.x + box.wide * 0.7 * ((index + 0.5) / len(found) - 0.5)
                wire.ends = (wire.ends[0], x) if lower else (x, wire.ends[1])
