"""``neurodeploy completion``: what a shell needs to complete commands, options, chips, back-ends and files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .console import Console

SHELLS = ("bash", "zsh", "tcsh")

HOW = {
    "bash": 'eval "$(neurodeploy completion bash)"',
    "zsh": 'eval "$(neurodeploy completion zsh)"',
    "tcsh": "eval `neurodeploy completion tcsh`",
}
"""What to write into the shell's start file."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, help="; ".join(f"{s}: {line}" for s, line in HOW.items()))


def run(args: argparse.Namespace, console: Console) -> int:
    import shtab

    sys.stdout.write(shtab.complete(_whole(), args.shell) + "\n")
    return 0


def _whole() -> argparse.ArgumentParser:
    """One parser of all commands, with the names that each option may be."""
    import shtab

    from neurodeploy import backends
    from neurodeploy.hwsim.chips.arch import available

    from . import COMMANDS
    from .parsing import parser_of

    whole = argparse.ArgumentParser(prog="neurodeploy")
    whole.add_argument("-V", "--version", action="store_true")
    commands = whole.add_subparsers()
    names = {"chip": available(), "backend": backends.names()}
    for name, about in COMMANDS.items():
        made = commands.add_parser(name, help=about, add_help=False, parents=[parser_of(name, about)])
        for action in made._actions:
            if action.dest in names and action.nargs is None:
                action.choices = names[action.dest]
            elif action.type is Path or (action.metavar and ".np" in str(action.metavar)):
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    return whole
