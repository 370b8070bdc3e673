"""``neurodeploy report``: the HTML report of a results file."""

from __future__ import annotations

import argparse
from pathlib import Path

from .console import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results", type=Path, help="a results file (.json) of verify --results, demo, learn or adapt")
    parser.add_argument("-o", "--output", type=Path, help="the report (default: beside it, .html)")
    parser.add_argument("--json", action="store_true", help="machine-readable")


def run(args: argparse.Namespace, console: Console) -> int:
    from neurodeploy.files.atomic import existing_file, storage_errors
    from neurodeploy.report.document import Report
    from neurodeploy.report.html import write_html
    from neurodeploy.report.learning import document as learning_document
    from neurodeploy.report.learning import html

    path = existing_file(args.results, "a results file (.json)")
    with storage_errors("read", path):
        text = path.read_bytes()
    output = args.output or args.results.with_suffix(".html")
    if learning_document.FORMAT.encode() in text[:200]:
        found = learning_document.LearningReport.from_json(text, str(path))
        html.write_html(found, output)
        names = [*(rule.rule for rule in found.rules), *(item.scenario for item in found.adaptations)]
    else:
        report = Report.from_json(text, str(path))
        write_html(report, output)
        names = [network.name for network in report.networks]
    console.say(f"wrote {output}")
    console.result({"report": str(output), "networks": names})
    return 0
