"""Line charts as inline SVG with their axes in HTML, so that text never stretches; colours come from the page's CSS."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

Points = Sequence[tuple[float, float]]


def ticks(low: float, high: float, log: bool) -> list[float]:
    """Some round numbers from ``low`` to ``high``; powers of ten, or of two where those are too few, if ``log``."""
    if log:
        for base in (10.0, 2.0):
            first, last = math.ceil(math.log(low, base) - 1e-9), math.floor(math.log(high, base) + 1e-9)
            found = [base**n for n in range(first, last + 1)]
            if len(found) > 2:
                return found[:: -(-len(found) // 8)]
        return [low, high]
    if high <= low:
        return [low]
    unit = 10 ** math.floor(math.log10((high - low) / 4))
    unit *= next(m for m in (1, 2, 5, 10) if (high - low) / (m * unit) <= 6)
    first = math.ceil(low / unit - 1e-9)
    return [n * unit for n in range(first, math.floor(high / unit + 1e-9) + 1)]


def lines(
    series: Sequence[Points], x: tuple[str, Sequence[str]], y: tuple[str, Sequence[str]], extent: tuple[float, ...],
    marks: tuple[Sequence[float], Sequence[float]], log: tuple[bool, bool], label: str,
) -> Markup:  # fmt: skip
    """A chart of several lines, in the tones ``s0``, ``s1``, ...

    Args:
        x, y: name of each axis and the texts of its marks.
        extent: least and largest x, least and largest y.
        marks: where the texts stand.
        log: whether each axis is logarithmic.
    """

    def at(value: float, axis: int) -> float:
        low, high = extent[2 * axis : 2 * axis + 2]
        if log[axis]:
            value, low, high = (math.log(max(v, low)) for v in (value, low, high))
        return 100 * min(max((value - low) / (high - low or 1.0), 0.0), 1.0)

    grid = "".join(f'<path class="grid" d="M0 {100 - at(v, 1):.2f}H100"/>' for v in marks[1])
    grid += "".join(f'<path class="grid" d="M{at(v, 0):.2f} 0V100"/>' for v in marks[0])
    drawn = ""
    for number, points in enumerate(series):
        path = " ".join(f"{at(a, 0):.2f} {100 - at(b, 1):.2f}" for a, b in points)
        drawn += f'<path class="curve s{number}" d="M{path}"/>' if points else ""
    svg = (
        f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label="{escape(label)}">'
        f"{grid}{drawn}</svg>"
    )
    below = "".join(
        f'<span style="left:{at(v, 0):.2f}%">{escape(text)}</span>' for v, text in zip(marks[0], x[1], strict=True)
    )
    beside = "".join(
        f'<span style="bottom:{at(v, 1):.2f}%">{escape(text)}</span>' for v, text in zip(marks[1], y[1], strict=True)
    )
    return Markup(
        f'<div class="curves"><p class="ylabel">{escape(y[0])}</p><div class="field">{svg}'
        f'<div class="yticks">{beside}</div><div class="xticks">{below}</div></div>'
        f'<p class="xlabel">{escape(x[0])}</p></div>'
    )
