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
    from neurodeploy.api.page import write_report

    found = write_report(args.results, args.output)
    console.say(f"wrote {found.report}")
    console.result(found.as_json())
    return 0
