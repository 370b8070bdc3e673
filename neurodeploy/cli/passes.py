"""``neurodeploy passes``: the compiler's passes and their options."""

from __future__ import annotations

import argparse

from .console import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="machine-readable")


def run(args: argparse.Namespace, console: Console) -> int:
    from neurodeploy.api.passes import available_passes

    found = available_passes()
    for one in found.listed:
        console.say(f"{one.name}: {one.what}")
        for option, values in one.options.items():
            console.say(f"    {option} = {values}")
    console.result(found.as_json())
    return 0
