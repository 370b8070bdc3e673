"""A report document as one self-contained HTML page: no script, no font, no image from anywhere else."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from neurodeploy.files.atomic import write_text
from neurodeploy.program.count_kinds import label

from . import svg
from .accuracies import by_samples, undecided
from .diagram import svg as drawing
from .document import Core, NetworkResult, Report

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parent
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
SOURCES = ("input", "bias axon", "from the host")
"""Kinds of layer that are not neurons."""
CORES_SHOWN = 16
"""Cores in the open table, the fullest first; the others are folded away."""


def render(report: Report) -> str:
    """Return the page; every text from the document is escaped."""
    return (
        environment()
        .get_template("template.html")
        .render(
            report=report,
            views=[view(network, index) for index, network in enumerate(report.networks)],
            svg=svg,
            sources=SOURCES,
        )
    )


def environment() -> Environment:
    """Templates of this folder: text is escaped, an unknown name is an error, and quantities have filters."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        count=count,
        mean=mean_count,
        percent=percent,
        quantity=quantity,
        bytesize=bytesize,
        significant=significant,
        label=label,
        undecided=undecided,
    )
    return made


def write_html(report: Report, path: Path | str) -> None:
    """Write the page atomically.

    Raises:
        StorageError: the folder cannot be written to, or the disk is full.
    """
    write_text(path, render(report))


def view(network: NetworkResult, index: int) -> dict[str, Any]:
    """What the template shows of a network beside its fields: sums, charts, intervals."""
    own = [layer for layer in network.layers if layer.kind not in SOURCES]
    energy, latency, raster = network.energy, network.latency, network.raster
    cores = sorted(network.cores, key=fullness, reverse=True)
    steps = len(latency.mean_ns) if latency else 0
    return {
        "network": network,
        "id": f"network-{index + 1}",
        "dt": quantity(1e9 * network.source.dt, "ns").replace(".00 ", " "),
        "stages": [
            (samples, [(stage, interval(stage.accuracy, stage.samples)) for stage in stages])
            for samples, stages in by_samples((*network.stages, *network.stages_on_all)).items()
        ],
        "verdicts": {v: sum(p.verdict == v for p in network.pairs) for v in ("equal", "measured", "failed", "silent")},
        "neurons": sum(layer.neurons for layer in own),
        "synapses": sum(layer.synapses for layer in own),
        "spikes": sum(layer.events_per_inference for layer in own),
        "input_events": sum(layer.events_per_inference for layer in network.layers if layer.kind == "input"),
        "sops": sum(layer.sops for layer in own),
        "nonzero_sops": sum(layer.nonzero_sops for layer in own),
        "most_sops": max((layer.sops for layer in own), default=0.0),
        "chip_pj": (energy.total_pj if energy.chip_pj is None else energy.chip_pj) if energy else None,
        "confidence": sorted({line.confidence for line in energy.lines}) if energy else [],
        "step_mean": sum(latency.mean_ns) / steps if latency and steps else 0.0,
        "step_max": max(latency.max_ns, default=0.0) if latency else 0.0,
        "term_total": sum(term.ns for term in latency.terms) if latency else 0.0,
        "term_parts": [(term.ns, f"t{i % 4}") for i, term in enumerate(latency.terms)] if latency else [],
        "cores": cores[:CORES_SHOWN],
        "folded": cores[CORES_SHOWN:],
        "most_core_sops": max((core.sops for core in cores), default=0.0),
        "tiles": len({core.tile for core in cores}),
        "drawing": Markup(drawing.svg(network.diagram)) if network.diagram else "",
        "raster": [
            (p, *svg.raster(p.times, p.indices, raster.steps, p.neurons, f"spikes of {p.name}"), band(p.neurons))
            for p in raster.populations
        ]
        if raster
        else [],
    }


def fullness(core: Core) -> float:
    """The largest used part of any limit of a core."""
    pairs = (
        (core.neurons, core.neurons_limit),
        (core.synapse_bytes, core.synapse_limit),
        (core.axons_in, core.axons_in_limit),
        (core.axons_out, core.axons_out_limit),
    )
    return max(used / limit if limit else 0.0 for used, limit in pairs)


def band(neurons: int) -> int:
    """Height of a population's raster in pixels: grows with the square root of its size."""
    return round(min(max(7 * math.sqrt(neurons), 26), 170))


def interval(accuracy: float | None, samples: int) -> tuple[float, float] | None:
    """Return the 95 % Wilson score interval of an accuracy (Wilson, JASA 22(158), 1927), None without samples."""
    if accuracy is None or samples == 0:
        return None
    z = 1.959964
    centre = (accuracy + z * z / (2 * samples)) / (1 + z * z / samples)
    half = z * math.sqrt(accuracy * (1 - accuracy) / samples + z * z / (4 * samples**2)) / (1 + z * z / samples)
    return max(centre - half, 0.0), min(centre + half, 1.0)


def count(value: float) -> str:
    """A whole number with thousands separated."""
    return f"{value:,.0f}"


def mean_count(value: float) -> str:
    """A mean count: whole where it is whole or above 100, else one decimal; a power of ten from 10^9 on."""
    if not math.isfinite(value):
        return f"{value:g}"
    if abs(value) >= 1e9:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{mantissa}\u202f×\u202f10{str(int(exponent)).translate(SUPERSCRIPTS)}"
    if value == round(value):
        return f"{value:,.0f}"
    if abs(value) < 0.05:
        return f"{value:.1e}"
    return f"{value:,.1f}" if abs(value) < 100 else f"{value:,.0f}"


def percent(value: float, digits: int = 1) -> str:
    """A fraction as a percentage; something above 0 never reads as 0."""
    text = f"{100 * value:.{digits}f}"
    if value > 0 and float(text) == 0:
        return f"< {10**-digits:.{digits}f} %"
    return f"{text} %"


def significant(value: float | None, digits: int = 4) -> str:
    """A number with so many significant digits."""
    return "not available" if value is None else f"{value:.{digits}g}"


def quantity(value: float, unit: str) -> str:
    """A value in pJ or ns with the prefix that reads best and three significant digits."""
    ladder = {"pJ": ("pJ", "nJ", "µJ", "mJ", "J"), "ns": ("ns", "µs", "ms", "s")}[unit]
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}"
    index = 0
    while float(f"{value:.3g}") >= 1000 and index < len(ladder) - 1:
        value, index = value / 1000, index + 1
    value = float(f"{value:.3g}")
    digits = max(0, min(3, 2 - math.floor(math.log10(abs(value)))))
    return f"{value:,.{digits}f} {ladder[index]}"


def bytesize(value: int) -> str:
    """Bytes, or KiB from 1024 on."""
    return f"{value} B" if value < 1024 else f"{value / 1024:.1f} KiB"
