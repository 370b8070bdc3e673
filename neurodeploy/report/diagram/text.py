"""The drawing of chip and host as lines of text: the chip's parts to the left, the host's to the right."""

from __future__ import annotations

from collections.abc import Sequence

from .parts import Diagram, Node

LEFT, RIGHT = 32, 32
"""Columns that a side may take; longer names are cut in their middle."""


def lines(drawn: Diagram) -> list[str]:
    """The drawing, a line each; empty for a network of which the host computes nothing."""
    if not drawn.hosted:
        return []
    rows = [(band, [_of(node, drawn) for node in drawn.nodes if node.band == band]) for band in range(len(drawn.bands))]
    cells = [cell for _, parts in rows for part in parts for cell in part]
    left, label, right = (max((len(cell[i]) for cell in cells), default=0) for i in (0, 1, 3))
    left, middle = max(left, 12), label + 8
    found = [f"  {'chip':<{left}} {'each step':^{middle + 2}} host"]
    for band, parts in rows:
        title = " ".join(drawn.bands[band])
        found.append(f"{title} ".ljust(left + middle + max(right, 4) + 6, "─"))
        for name, crosses, way, host in (cell for part in parts for cell in part):
            found.append(f"  {name:<{left}} {_arrow(crosses, way, middle)} {host}".rstrip())
    return found


def _arrow(crosses: str, way: str, width: int) -> str:
    if not way:
        return "│" + " " * width + "│"
    body = f" {crosses} "
    return f"├──{body:─<{width - 3}}▶│" if way == "to host" else f"│◀{body:─>{width - 3}}──┤"


def _of(node: Node, drawn: Diagram) -> list[tuple[str, str, str, str]]:
    """Lines of a part: the chip's side, what crosses, which way, the host's side."""
    if node.side == "host":
        said = f"[{short(node.name, RIGHT)}] {node.text}" + _heard(node, drawn)
        return [("", "", "", said)]
    name, into = short(node.name, LEFT), [k for k in drawn.links if k.target == node.name and k.crosses]
    out = [k for k in drawn.links if k.source == node.name and k.crosses]
    found = [(k.label, "to chip", short(k.source, RIGHT)) for k in into]
    found += [(k.label, "to host", short(k.target, RIGHT)) for k in out]
    first, *rest = found or [("", "", "")]
    return [(name + _heard(node, drawn), *first), *((name, *one) for one in rest)]


def _heard(node: Node, drawn: Diagram) -> str:
    """What it hears of on its own side."""
    own = [k for k in drawn.links if k.target == node.name and not k.crosses]
    names = [
        ("itself" if k.source == node.name else short(k.source, 24)) + (f" ({k.late})" if k.late else "") for k in own
    ]
    return f" ← {_listed(list(dict.fromkeys(names)))}" if names else ""


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:2] if len(names) > 3 else names) + (f" and {len(names) - 2} more" if len(names) > 3 else "")


def short(text: str, limit: int) -> str:
    """A text in one line, cut in its middle where it is longer."""
    text = "".join(c if c.isprintable() else "�" for c in text)
    return text if len(text) <= limit else f"{text[: (limit - 1) // 2]}…{text[-(limit // 2) :]}"
