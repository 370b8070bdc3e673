"""The parser of a command: its errors look like all others, and name what was probably meant."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from neurodeploy.errors import InvalidInputError, did_you_mean


class Parser(argparse.ArgumentParser):
    """Raises what argparse would print."""

    def __init__(self, name: str, about: str) -> None:
        super().__init__(prog=f"neurodeploy {name}", description=f"{about[0].upper()}{about[1:]}.")
        self._given: Sequence[str] = ()

    def read(self, arguments: Sequence[str]) -> argparse.Namespace:
        """The arguments of a call.

        Raises:
            InvalidInputError: they cannot be understood.
        """
        self._given = arguments
        return self.parse_args(arguments)

    def error(self, message: str) -> NoReturn:
        options = [o for o in self._option_string_actions if o.startswith("--")]
        unknown = [a.partition("=")[0] for a in self._given if a.startswith("--")]
        meant = [f"{a}{did_you_mean(a, options)}" for a in unknown if not any(o.startswith(a) for o in options)]
        raise InvalidInputError(
            f"{self.prog}: {message}", found=", ".join(meant) or None, hint=f"{self.prog} --help shows all options"
        )


def parser_of(name: str, about: str) -> Parser:
    """The parser of a command, whose module is imported."""
    parser = Parser(name, about)
    import_module(f"neurodeploy.cli.{name}").add_arguments(parser)
    return parser
