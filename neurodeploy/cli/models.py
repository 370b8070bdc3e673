"""``neurodeploy models``: the published systems, and checkpoints of their authors' code."""

from __future__ import annotations

import argparse
from pathlib import Path

from neurodeploy.errors import InvalidInputError

from .console import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action", nargs="?", choices=("import",), help="read a checkpoint; without it, list the systems"
    )
    parser.add_argument("system", nargs="?", metavar="SYSTEM", help="import: whose checkpoint it is, e.g. trevsnn")
    parser.add_argument(
        "checkpoint", nargs="?", type=Path, metavar="FILE.pth", help="import: weights, read as such alone"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="OUT.safetensors", help="import: the file to write")
    parser.add_argument("--json", action="store_true", help="machine-readable")


def run(args: argparse.Namespace, console: Console) -> int:
    return _list(console) if args.action is None else _import(args, console)


def _list(console: Console) -> int:
    from neurodeploy.api.training import COLUMNS, models

    found = models()
    console.table(COLUMNS, found.rows())
    for system, source in dict.fromkeys((one.title, one.source) for one in found.listed):
        console.say(f"{system}: {source}")
    console.result(found.as_json())
    return 0


def _import(args: argparse.Namespace, console: Console) -> int:
    from neurodeploy.api.training import import_checkpoint

    given = {"SYSTEM": args.system, "FILE.pth": args.checkpoint, "--output": args.output}
    missing = [name for name, value in given.items() if value is None]
    if missing:
        raise InvalidInputError(
            "models import lacks something", found=f"no {', no '.join(missing)}",
            allowed="neurodeploy models import SYSTEM FILE.pth -o OUT.safetensors",
        )  # fmt: skip
    found = import_checkpoint(args.system, args.checkpoint, args.output)
    console.say(f"{found.system}: {found.parameters:,} parameters, {found.shape}")
    console.say(f"wrote {args.output}")
    console.result(found.as_json())
    return 0
