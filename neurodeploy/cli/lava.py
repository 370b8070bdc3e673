"""``neurodeploy lava setup``: Lava in an environment of its own."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from .console import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("setup", "status"), help="install or repair Lava, or say how it is")
    parser.add_argument("--force", action="store_true", help="install again, even if it is there")
    parser.add_argument(
        "--lava-python",
        metavar="PYTHON",
        help="use this interpreter, which has lava-nc, from now on instead of the sidecar; 'sidecar' goes back to it",
    )
    parser.add_argument("--json", action="store_true", help="machine-readable")


def run(args: argparse.Namespace, console: Console) -> int:
    from neurodeploy.backends.lava.setup import own_python, remember, setup, status

    if args.action == "setup":
        if args.lava_python:
            remember(None if args.lava_python == "sidecar" else args.lava_python)
        if own_python() is None:
            setup(force=args.force, progress=console.note, thorough=True)
    found = status(args.lava_python if args.action == "status" else None)
    if found.installed:
        console.say(f"Lava {found.lava_version} (numpy {found.numpy_version}) runs under {found.python}")
    else:
        console.say(f"Lava is not ready: {found.problem}\n  to do: {found.hint}")
    console.result({key: None if value is None else str(value) if key == "python" else value
                    for key, value in asdict(found).items()})  # fmt: skip
    return 0 if found.installed else 1
