"""Small charts as inline SVG: shapes only, stretched to any width; labels stand beside them in HTML, so text never
shrinks on a phone.

All colours come from the page's CSS (classes ``fill-...`` and ``line-...``), so that dark mode follows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

RASTER_LIMIT = 20_000
"""Spikes drawn per population; above it only every k-th neuron is drawn."""


def _svg(kind: str, width: float, height: float, label: str, body: str) -> Markup:
    return Markup(
        f'<svg class="{kind}" viewBox="0 0 {width:g} {height:g}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}">{body}</svg>'
    )


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def meter(fraction: float, label: str, tone: str = "a") -> Markup:
    """Return a horizontal bar that fills ``fraction`` (0 to 1) of its width."""
    filled = 100 * min(max(fraction, 0.0), 1.0)
    if 0 < filled < 0.6:
        filled = 0.6  # something is there: keep it visible
    body = (
        f'<rect class="track" width="100" height="4"/><rect class="fill-{tone}" width="{_number(filled)}" height="4"/>'
    )
    return _svg("meter", 100, 4, label, body)


def box(values: Sequence[float], smallest: float, largest: float, label: str) -> Markup:
    """Return a box plot of magnitudes on a logarithmic scale; the format reaches from ``smallest`` to ``largest``.

    Args:
        values: minimum, quartiles, maximum; whiskers are cut two binary orders beyond the format.
    """
    low, high = math.log2(smallest) - 2, math.log2(largest) + 2

    def at(value: float) -> float:
        return 1000 * min(max((math.log2(value) - low) / (high - low), 0.0), 1.0)

    left, right = at(smallest), at(largest)
    body = f'<rect class="track" x="{_number(left)}" width="{_number(right - left)}" height="20"/>'
    if values:
        a, q1, median, q3, b = (at(value) for value in values)
        body += f'<rect class="fill-a" x="{_number(a)}" y="9" width="{_number(max(b - a, 2))}" height="2"/>'
        body += f'<rect class="fill-a soft" x="{_number(q1)}" y="4" width="{_number(max(q3 - q1, 4))}" height="12"/>'
        body += f'<rect class="fill-b" x="{_number(median - 2)}" y="2" width="4" height="16"/>'
    return _svg("box", 1000, 20, label, body)


def stack(parts: Sequence[tuple[float, str]], label: str) -> Markup:
    """Return one horizontal bar divided into ``(amount, tone)`` parts."""
    total = sum(amount for amount, _ in parts)
    body, left = "", 0.0
    for amount, tone in parts:
        width = 1000 * amount / total if total else 0.0
        body += f'<rect class="fill-{tone}" x="{_number(left)}" width="{_number(width)}" height="10"/>'
        left += width
    return _svg("stack", 1000, 10, label, body)


def bars(values: Sequence[float], label: str, tone: str = "a") -> Markup:
    """Return a column for each step, the largest as high as the chart."""
    top = max(values, default=0.0)
    gap = 0.12 if len(values) <= 80 else 0.0
    body = "".join(
        f'<rect class="fill-{tone}" x="{_number(index + gap)}" y="{_number(100 - 100 * value / top)}" '
        f'width="{_number(1 - 2 * gap)}" height="{_number(100 * value / top)}"/>'
        for index, value in enumerate(values)
        if value > 0
    )
    return _svg("bars", max(len(values), 1), 100, label, body)


def steps(mean: Sequence[float], high: Sequence[float], top: float, label: str) -> Markup:
    """Return two staircases over steps, ``mean`` filled and ``high`` as a line; ``top`` is the height of the chart."""
    body = ""
    if mean and top > 0:
        body += f'<path class="fill-a soft" d="M0 100{_stairs(mean, top)}V100Z"/>'
        for values, tone in ((mean, "a"), (high, "b")):
            start = f"M0 {_number(100 - 100 * values[0] / top)}"
            body += f'<path class="line-{tone}" d="{start}{_stairs(values, top)}"/>'
    return _svg("steps", max(len(mean), 1), 100, label, body)


def _stairs(values: Sequence[float], top: float) -> str:
    return "".join(f"V{_number(100 - 100 * value / top)}H{index + 1}" for index, value in enumerate(values))


def raster(times: Sequence[int], indices: Sequence[int], extent: int, neurons: int, label: str) -> tuple[Markup, int]:
    """Return a dot per spike, time to the right and neuron 0 at the top, and ``k``: every k-th neuron is drawn.

    Args:
        extent: number of steps.
    """
    every = max(1, -(-len(times) // RASTER_LIMIT))
    dots = "".join(
        f"M{time + 0.5:g} {index // every + 0.5:g}h0"
        for time, index in zip(times, indices, strict=False)
        if index % every == 0
    )
    size = "dots large" if neurons <= 256 else "dots"
    body = f'<path class="{size}" d="{dots}"/>' if dots else ""
    return _svg("raster", max(extent, 1), max(-(-neurons // every), 1), label, body), every
