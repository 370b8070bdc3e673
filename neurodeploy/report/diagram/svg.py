"""The drawing of chip and host as one SVG that stands alone; a page may override the colours in its attributes."""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import escape

from .layout import HIGH, LONGEST, MARGIN, SMALL, Layout, Place, Wire, layout
from .parts import Diagram
from .text import short

CHIP, HOST, INK, MUTED, PAPER = "#1f5f8b", "#b4632c", "#1a1e23", "#5b646e", "#ffffff"
FILLS = {"input": "#f1f2ef", "neurons": "#e3eef6", "sent": "#ffffff", "stage": "#f9e9dc", "kept": "#ffffff"}
LANES = {"chip": "#f6fafc", "host": "#fdf7f2"}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def svg(drawn: Diagram) -> str:
    """The drawing; its size in pixels stands in it."""
    placed = layout(drawn)
    body = "\n".join((*_lanes(placed), *_bands(placed), *_wires(placed), *_boxes(placed)))
    size = f'width="{placed.width:.0f}" height="{placed.height:.0f}" style="width:{placed.width:.0f}px;height:auto"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="diagram" {size} '
        f'viewBox="0 0 {placed.width:.0f} {placed.height:.0f}" role="img" font-family="{FONT}" font-size="12">\n'
        f"<title>{_text(drawn.name, 200)}</title>\n"
        f'<rect class="paper" width="100%" height="100%" fill="{PAPER}"/>\n{body}\n</svg>\n'
    )


def _text(words: str, limit: int = LONGEST) -> str:
    return str(escape(short(words, limit)))


def _write(x: float, y: float, words: str, look: str, more: str = "") -> str:
    colour = INK if look == "ink" else MUTED
    return f'<text class="{look}" x="{x:.1f}" y="{y:.1f}" fill="{colour}"{more}>{words}</text>'


def _lanes(placed: Layout) -> Iterator[str]:
    middle, bold = ' text-anchor="middle"', ' text-anchor="middle" font-weight="600" font-size="13"'
    for side, (left, right) in placed.columns.items():
        yield (
            f'<rect class="lane {side}" x="{left:.1f}" y="{MARGIN}" width="{right - left:.1f}" '
            f'height="{placed.height - 2 * MARGIN:.1f}" rx="8" fill="{LANES[side]}"/>'
        )
        yield _write((left + right) / 2, MARGIN + 23, side, "ink", bold)
    if "host" in placed.columns:
        x = (placed.columns["chip"][1] + placed.columns["host"][0]) / 2
        yield _write(x, MARGIN + 23, "each step", "muted", middle)
        yield (
            f'<path class="border" d="M{x:.1f} {MARGIN + 34}V{placed.height - MARGIN:.1f}" '
            f'stroke="{MUTED}" stroke-dasharray="2 4" fill="none"/>'
        )


def _bands(placed: Layout) -> Iterator[str]:
    if "host" not in placed.columns:
        return
    for top, title, when in placed.bands:
        yield (f'<path class="rule" d="M{MARGIN} {top:.1f}H{placed.width - MARGIN:.1f}" stroke="#c9cdc8" fill="none"/>')
        yield _write(MARGIN, top + 38, _text(title), "ink", ' font-weight="600"')
        yield _write(MARGIN, top + 54, _text(when), "muted", ' font-size="11"')


def _boxes(placed: Layout) -> Iterator[str]:
    for place in placed.places:
        node = place.node
        if node is None:
            continue
        left, dashed = place.x - place.wide / 2, ' stroke-dasharray="4 3"' if node.kind in ("sent", "kept") else ""
        colour = CHIP if node.side == "chip" else HOST
        yield (
            f'<g class="box {node.kind} on-{node.side}"><title>{_text(f"{node.name}: {node.text}", 400)}</title>'
            f'<rect x="{left:.1f}" y="{place.y:.1f}" width="{place.wide:.1f}" height="{HIGH:g}" rx="5" '
            f'fill="{FILLS[node.kind]}" stroke="{colour}"{dashed}/>'
            + _write(place.x, place.y + 17, _text(node.name), "ink", ' text-anchor="middle" font-weight="600"')
            + _write(
                place.x, place.y + 32, _text(node.text, LONGEST + 6), "muted", ' text-anchor="middle" font-size="10.5"'
            )
            + "</g>"
        )


def _wires(placed: Layout) -> Iterator[str]:
    labels = []
    border = (placed.columns["chip"][1] + placed.columns["host"][0]) / 2 if "host" in placed.columns else 0.0
    for wire in placed.wires:
        colour, look = (HOST, "crossing") if wire.crosses else (MUTED, "inside")
        dashed = ' stroke-dasharray="5 3"' if wire.up or wire.link.late else ""
        said = f"{wire.link.source} to {wire.link.target}" + (f": {wire.link.label}" if wire.link.label else "")
        yield (
            f'<g class="{look}"><title>{_text(said, 400)}</title><path class="line" d="{_path(wire)}" fill="none" '
            f'stroke="{colour}" stroke-width="1.3"{dashed}/>{_head(wire, colour)}</g>'
        )
        if wire.crosses and wire.link.label:
            labels.append(_label(border, wire.track, wire.link.label))
    for place in placed.loops:
        yield _loop(place)
    yield from labels


def _label(x: float, y: float, words: str) -> str:
    wide = SMALL * len(words) + 12
    return (
        f'<g class="label"><rect x="{x - wide / 2:.1f}" y="{y - 9:.1f}" width="{wide:.1f}" height="18" rx="9" '
        f'fill="{PAPER}"/>'
        + _write(x, y + 4, str(escape(words)), "ink", ' text-anchor="middle" font-size="11"')
        + "</g>"
    )


def _path(wire: Wire) -> str:
    """From the upper end down: curves within a side, straight along the track where it crosses."""
    first, last = wire.places[0], wire.places[-1]
    x, y = wire.ends[0], first.y + HIGH
    path = f"M{x:.1f} {y:.1f}"
    for number, place in enumerate(wire.places[1:]):
        to, top = (wire.ends[1] if place is last else place.x), place.y
        if number == 0 and wire.crosses:
            path += _along(x, to, wire.track, 6.0) + f"V{top:.1f}"
        elif abs(to - x) < 0.5:
            path += f"V{top:.1f}"
        else:
            turn = (top - y) / 2
            path += f"C{x:.1f} {y + turn:.1f} {to:.1f} {top - turn:.1f} {to:.1f} {top:.1f}"
        x, y = to, top + HIGH
        if place is not last:
            path += f"V{y:.1f}"
    return path


def _along(x: float, to: float, track: float, r: float) -> str:
    way = r if to > x else -r
    return (
        f"V{track - r:.1f}Q{x:.1f} {track:.1f} {x + way:.1f} {track:.1f}H{to - way:.1f}"
        f"Q{to:.1f} {track:.1f} {to:.1f} {track + r:.1f}"
    )


def _head(wire: Wire, colour: str) -> str:
    if wire.up:
        x, y, way = wire.ends[0], wire.places[0].y + HIGH, 1
    else:
        x, y, way = wire.ends[1], wire.places[-1].y, -1
    return f'<path class="head" d="M{x:.1f} {y:.1f}l-4 {7 * way}h8z" fill="{colour}"/>'


def _loop(place: Place) -> str:
    x, y = place.x + place.wide / 2, place.y + HIGH / 2
    return (
        f'<g class="inside"><path class="line" d="M{x:.1f} {y - 9:.1f}c14 -2 14 20 3 18" fill="none" stroke="{MUTED}" '
        f'stroke-width="1.3" stroke-dasharray="5 3"/>'
        f'<path class="head" d="M{x:.1f} {y + 9:.1f}l7 -4v8z" fill="{MUTED}"/></g>'
    )
