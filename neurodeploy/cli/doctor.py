"""``neurodeploy doctor``: what is installed, what works, what to do."""

from __future__ import annotations

import argparse

from .console import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="machine-readable")


def run(args: argparse.Namespace, console: Console) -> int:
    from neurodeploy.api.doctor import COLUMNS, doctor

    found = doctor()
    console.table(COLUMNS, found.rows())
    console.say(str(found))
    console.result(found.as_json())
    return 1 if found.broken else 0
