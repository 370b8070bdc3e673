"""Results files from strangers give a page or a message, never a traceback."""

from __future__ import annotations

import json
from pathlib import Path

from neurodeploy.cli import main
from neurodeploy.report.document import Report
from neurodeploy.report.html import mean_count, quantity, render


def test_sums_beyond_all_numbers_are_shown(report: Report) -> None:
    text = json.loads(report.to_json())
    for layer in text["networks"][0]["layers"]:
        layer["events_per_inference"] = layer["sops"] = 1e308
    assert "inf" in render(Report.from_json(json.dumps(text)))
    assert mean_count(float("inf")) == "inf"
    assert quantity(float("inf"), "pJ") == "inf pJ"


def test_what_is_no_character_is_written_as_its_escape(report: Report, tmp_path: Path) -> None:
    text = json.loads(report.to_json())
    text["networks"][0]["name"] = "half \ud800 a pair"
    (tmp_path / "results.json").write_text(json.dumps(text))
    assert main(["report", str(tmp_path / "results.json"), "-o", str(tmp_path / "report.html")]) == 0
    assert "half \\ud800 a pair" in (tmp_path / "report.html").read_text(encoding="utf-8")
