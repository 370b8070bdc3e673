"""``neurodeploy passes``: the compiler's passes and their options."""

from __future__ import annotations

import argparse
import sys

from .console import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="machine-readable")


def run(args: argparse.Namespace, console: Console) -> int:
    from neurodeploy import passes

    found = []
    for name in passes.names():
        factory = passes.get(name)
        text = (sys.modules[factory.__module__].__doc__ or "").strip().partition("\n")[0].partition(": ")[2]
        found.append({"name": name, "what": text, "options": passes.options_of(name)})
        console.say(f"{name}: {text}")
        for option, values in passes.options_of(name).items():
            console.say(f"    {option} = {values}")
    console.result(found)
    return 0
