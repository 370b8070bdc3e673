"""``neurodeploy report``: the HTML report of a results file."""

from __future__ import annotations

import argparse
from pathlib import Path

from neurodeploy.cli.console import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results", type=Path, help="a results file (.json), as verify --results and demo write it")
    parser.add_argument("-o", "--output", type=Path, help="the report (default: beside it, .html)")
    parser.add_argument("--json", action="store_true", help="machine-readable")


def run(args: argparse.Namespace, console: Console) -> int:
    from neurodeploy.report.document import Report
    from neurodeploy.report.html import write_html

    report = Report.load(args.results)
    output = args.output or args.results.with_suffix(".html")
    write_html(report, output)
    console.say(f"wrote {output}")
    console.result({"report": str(output), "networks": [network.name for network in report.networks]})
    return 0
