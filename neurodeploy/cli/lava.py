"""``neurodeploy lava setup``: Lava in an environment of its own."""

from __future__ import annotations

import argparse

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
    from neurodeploy.backends.lava.setup import lava_setup, status

    if args.action == "setup":
        found = lava_setup(force=args.force, python=args.lava_python, tell=console.note)
    else:
        found = status(args.lava_python)
    if found.installed:
        console.say(f"Lava {found.lava_version} (numpy {found.numpy_version}) runs under {found.python}")
    else:
        console.say(f"Lava is not ready: {found.problem}\n  to do: {found.hint}")
    console.result(found.as_json())
    return 0 if found.installed else 1
