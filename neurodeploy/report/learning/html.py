"""A document of learning runs as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from neurodeploy.files.atomic import write_text

from .. import svg
from ..html import environment, percent, quantity
from . import curves
from .document import BASELINES, Adaptation, LearningReport, Memory, Row, RuleResult

TONES = 4
"""Colours of parts of a bar."""


def render(report: LearningReport) -> str:
    """Return the page; every text from the document is escaped."""
    have = {other.name for rule in report.rules for other in rule.priced[0].baselines}
    return (
        environment()
        .get_template("learning.html")
        .render(
            report=report,
            svg=svg,
            accuracy=_accuracy(report.rules),
            memory=_memory(report.memory),
            memory_rules=list(dict.fromkeys(item.rule for item in report.memory)),
            by_layer=_by_layer(report.rules),
            baselines=[(name, label) for name, label in BASELINES.items() if name in have],
            parts={rule.rule: _parts(rule) for rule in report.rules},
            most=max((rule.priced[0].learning_pj for rule in report.rules), default=0.0),
            adapted=[(item, _adaptation(item)) for item in report.adaptations],
        )
    )


def write_html(report: LearningReport, path: Path | str) -> None:
    """Write the page atomically."""
    write_text(path, render(report))


def _by_layer(rules: Sequence[RuleResult]) -> list[tuple[str, list[tuple[Row | None, float | None]]]]:
    """Each layer's energy of learning by rule, and its share; None where a rule has no such layer."""
    found = []
    for name in dict.fromkeys(row.layer for rule in rules for row in rule.layers if row.learning_pj or row.missing):
        cells: list[tuple[Row | None, float | None]] = []
        for rule in rules:
            row, total = next((r for r in rule.layers if r.layer == name), None), rule.priced[0].learning_pj
            share = row.learning_pj / total if row is not None and row.learning_pj is not None and total else None
            cells.append((row, share))
        found.append((name, cells))
    return found


def _parts(rule: RuleResult) -> list[dict[str, Any]]:
    """Learning energy by component, largest first, with its tone."""
    lines = [line for line in rule.priced[0].lines if line.part == "learning" and line.energy_pj]
    lines.sort(key=lambda line: -line.energy_pj)
    return [{"line": line, "tone": f"t{n % TONES}"} for n, line in enumerate(lines)]


def _accuracy(rules: Sequence[RuleResult]) -> Markup | None:
    """Test accuracy against the learning energy spent, one curve a rule."""
    deployed = all(rule.settings.get("program") for rule in rules)  # then it is seen from where it began
    first = 0 if deployed else 1
    series = [[(p.learning_pj, p.accuracy) for p in rule.curve[first:] if deployed or p.learning_pj] for rule in rules]
    every = [point for points in series for point in points]
    if not every or not any(x for x, _ in every):
        return None
    x_low, x_high = min(x for x, _ in every), max(x for x, _ in every)
    y_low = min(0.9, min(y for _, y in every))
    extent = (x_low, max(x_high, 1.01 * x_low), max(0.0, y_low - 0.02), 1.0)
    x_marks, y_marks = curves.ticks(extent[0], extent[1], not deployed), curves.ticks(extent[2], extent[3], False)
    return curves.lines(
        series, ("learning energy spent", [quantity(v, "pJ").replace(".00", "") for v in x_marks]),
        ("test accuracy", [percent(v, 0) for v in y_marks]), extent, (x_marks, y_marks), (not deployed, False),
        "test accuracy against learning energy spent",
    )  # fmt: skip


def _adaptation(item: Adaptation) -> Markup:
    """Accuracies against samples learned on the chip."""
    names = list(item.points[0].accuracy)
    series = [[(float(p.samples), p.accuracy[name]) for p in item.points] for name in names]
    last, low = float(item.points[-1].samples), min(y for points in series for _, y in points)
    extent = (0.0, last, max(0.0, low - 0.02), 1.0)
    x_marks, y_marks = curves.ticks(0.0, last, False), curves.ticks(extent[2], 1.0, False)
    return curves.lines(
        series, ("samples learned from on the chip", [f"{v:,.0f}" for v in x_marks]),
        ("test accuracy", [percent(v, 0) for v in y_marks]), extent, (x_marks, y_marks), (False, False),
        "test accuracy against samples learned from on the chip",
    )  # fmt: skip


def _memory(memory: Sequence[Memory]) -> Markup | None:
    """Words stored against the steps of a sample, one curve a rule, and the clocked engine's last."""
    if not memory:
        return None
    rules = dict.fromkeys(item.rule for item in memory)
    series = [[(float(m.steps), m.words) for m in memory if m.rule == rule] for rule in rules]
    first = next(iter(rules))
    series.append([(float(m.steps), m.clocked_words) for m in memory if m.rule == first])
    every = [point for points in series for point in points if point[1] > 0]
    extent = (
        min(x for x, _ in every), max(x for x, _ in every), min(y for _, y in every), max(y for _, y in every)
    )  # fmt: skip
    x_marks = sorted({x for x, _ in every})
    y_marks = curves.ticks(extent[2], extent[3], True)
    return curves.lines(
        series, ("steps of a sample", [f"{v:g}" for v in x_marks]), ("words stored", [f"{v:,.0f}" for v in y_marks]),
        extent, (x_marks, y_marks), (True, True), "words stored for the way back against the steps of a sample",
    )  # fmt: skip
