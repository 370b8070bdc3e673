"""The report document and its page: lossless JSON, refusals, one self-contained and safe HTML file."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from neurodeploy.errors import InvalidInputError, MissingFileError
from neurodeploy.report import html, svg
from neurodeploy.report.document import Divergence, NetworkResult, Pair, Raster, RasterPopulation, Report, Source

HEADINGS = (
    "Summary",
    "Is it still the same network?",
    "Spikes and synaptic operations by layer",
    "Energy per inference",
    "Latency",
    "Core use against limits",
    "Spike raster",
    "Notes",
)


def test_json_comes_back_equal(report: Report, tmp_path: Path) -> None:
    report.save(tmp_path / "report.json")
    assert Report.load(tmp_path / "report.json") == report
    with pytest.raises(MissingFileError):
        Report.load(tmp_path / "none.json")


def test_infinite_and_undefined_potentials_survive() -> None:
    place = Divergence(population="a", handle="a", step=0, sample=0, neuron=0, first_v=math.inf, second_v=math.nan)
    pair = Pair(
        first="a", second="b", exact_by_design=True, equal=False, samples=1, compared=1, spikes_different=0,
        states_different=1, verdict="failed", divergence=place,
    )  # fmt: skip
    network = NetworkResult(name="n", source=Source(framework="torch", dt=1e-3, steps=1), pairs=(pair,))
    again = Report.from_json(Report(title="t", neurodeploy="0", chip="c", networks=(network,)).to_json())
    found = again.networks[0].pairs[0].divergence
    assert found is not None
    assert found.first_v == math.inf
    assert found.second_v is not None
    assert math.isnan(found.second_v)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": 4}, "newer neurodeploy"),
        ({"version": "x"}, "version"),
        ({"format": "neurodeploy program"}, "another kind of file"),
        ({"title": 3}, "title"),
        ({"networks": [{"name": "n"}]}, r"networks\.0\.source"),
        ({"surplus": 1}, "surplus"),
    ],
)
def test_a_document_that_is_not_one_is_refused(report: Report, change: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        Report.from_json(json.dumps(json.loads(report.to_json()) | change))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00", "[" * 100_000])
def test_damaged_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        Report.from_json(text)


def test_the_page_has_every_section_of_every_network(report: Report) -> None:
    page = html.render(report)
    for heading in HEADINGS[1:]:
        assert page.count(f"<h3>{heading}</h3>") == 2, heading
    assert page.count("<h2>Summary</h2>") == 1
    for text in ("97.4 %", "1 failed", "First divergence", "barrier between steps", "Davies et al.", "5 more cores"):
        assert text in page


def test_the_page_loads_nothing_and_runs_nothing(report: Report) -> None:
    page = html.render(report)
    assert not re.search(r"""(src|href)\s*=\s*["']?\s*(?!["']?#)""", page)  # links only within the page
    assert not re.search(r"url\(|@import|<script|<link|<iframe|<img", page)
    assert "http:" not in page
    assert "https:" not in page


def test_every_drawing_is_well_formed_and_has_a_view_box(report: Report) -> None:
    drawings = re.findall(r"<svg.*?</svg>", html.render(report), flags=re.DOTALL)
    assert len(drawings) > 40
    for drawing in drawings:
        box = ElementTree.fromstring(drawing).attrib["viewBox"].split()
        assert float(box[2]) > 0
        assert float(box[3]) > 0
        assert not re.search(r"nan|inf\b", drawing)


def test_hostile_names_are_escaped(report: Report) -> None:
    evil = "<script>alert(1)</script>\"'&"
    network = report.networks[0]
    layer = network.layers[1].model_copy(update={"name": evil, "handle": evil})
    raster = Raster(
        sample=0, label=evil, steps=2, populations=(RasterPopulation(name=evil, neurons=1, times=(0,), indices=(0,)),)
    )
    source = network.source.model_copy(
        update={"file": evil, "sha256": evil, "framework": evil, "versions": {evil: evil}}
    )
    hostile = network.model_copy(
        update={"name": evil, "layers": (layer,), "raster": raster, "source": source, "notes": {evil: evil}}
    )
    page = html.render(report.model_copy(update={"title": evil, "networks": (hostile,)}))
    assert "<script" not in page
    assert page.count("&lt;script&gt;") > 10
    for drawing in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        ElementTree.fromstring(drawing)


def test_a_network_of_which_little_is_known_still_makes_a_page(tmp_path: Path) -> None:
    network = NetworkResult(name="bare", source=Source(framework="torch", dt=0.0, steps=0))
    html.write_html(Report(title="t", neurodeploy="0", chip="c", networks=(network,)), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for heading in HEADINGS[1:]:
        assert f"<h3>{heading}</h3>" in page
    assert page.count('class="empty"') == 7


def test_numbers_read_well() -> None:
    assert html.quantity(23.6, "pJ") == "23.6 pJ"
    assert html.quantity(999.9, "pJ") == "1.00 nJ"
    assert html.quantity(1_234_567, "pJ") == "1.23 µJ"
    assert html.quantity(0.82, "pJ") == "0.820 pJ"
    assert html.quantity(1e6, "ns") == "1.00 ms"
    assert html.quantity(0, "ns") == "0 ns"
    assert html.percent(0.00001) == "< 0.1 %"
    assert html.mean_count(12345.6) == "12,346"
    assert html.mean_count(35.0) == "35"
    assert html.mean_count(1.037e12) == "1.04\u202f×\u202f10¹²"
    assert html.bytesize(131072) == "128.0 KiB"


def test_the_interval_is_wilsons() -> None:
    # 10 of 10: lower bound n / (n + z^2) = 10 / (10 + 3.8415) = 0.7225, upper bound 1
    assert html.interval(1.0, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert html.interval(None, 10) is None
    assert html.interval(0.5, 0) is None


def test_the_bars_scale_to_the_largest() -> None:
    heights = re.findall(r'height="([\d.]+)"', str(svg.bars([1, 4, 0, 2], "x")))
    assert heights == ["25", "100", "50"]  # of 100; the silent step draws nothing


def test_a_crowded_raster_draws_every_kth_neuron() -> None:
    events = 2 * svg.RASTER_LIMIT
    drawing, every = svg.raster([0] * events, list(range(events)), 1, events, "x")
    assert every == 2
    assert str(drawing).count("M") == svg.RASTER_LIMIT


def test_a_silent_comparison_says_that_it_proves_nothing(report: Report) -> None:
    network = report.networks[0]
    pair = network.pairs[0].model_copy(update={"verdict": "silent"})
    page = html.render(report.model_copy(update={"networks": (network.model_copy(update={"pairs": (pair,)}),)}))
    assert "proves nothing" in page
    assert "1 silent" in page
    assert "No spike and no membrane" not in page


def test_bias_axons_are_no_neurons_of_the_chip(report: Report) -> None:
    network = report.networks[0]
    axon = network.layers[2].model_copy(update={"kind": "bias axon"})
    with_axon = network.model_copy(update={"layers": (*network.layers, axon)})
    assert html.view(with_axon, 0)["neurons"] == html.view(network, 0)["neurons"] == 2048 + 1024 + 128 + 10
