"""``neurodeploy doctor``: what is installed, what works, what to do."""

from __future__ import annotations

import argparse

from .console import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kernels", action="store_true", help="compile now what a first run compiles (10 to 60 s)")
    parser.add_argument("--json", action="store_true", help="machine-readable")


def run(args: argparse.Namespace, console: Console) -> int:
    from neurodeploy.api.doctor import CAPABILITY_COLUMNS, COLUMNS, doctor
    from neurodeploy.packages.commands import afterwards

    found = doctor(compile_kernels=args.kernels)
    console.table(COLUMNS, found.rows())
    console.table(CAPABILITY_COLUMNS, found.capability_rows())
    console.say(str(found))
    if found.todo:  # below the tables, one a line, so that they can be copied
        console.say("to do:")
    for command, what in found.todo.items():
        console.say(f"  {what}:\n    {command}")
    if found.todo and (then := afterwards()):
        console.say(f"  {then}")
    console.result(found.as_json())
    return 2 if found.broken else 0
