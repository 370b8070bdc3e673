"""The chip of a Program: one that comes with neurodeploy is known by its name, a user's own travels in the Program.

What travels is the description as it stood when the network was compiled, with all that its file extends, as JSON with
sorted keys: equal chips are equal texts. Whether a chip is one of ours is asked of its content, not of its name.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pydantic import ValidationError

from neurodeploy.errors import InvalidInputError

from .arch import Architecture, available, load_architecture
from .computed import named

if TYPE_CHECKING:
    from neurodeploy.program.program import Program


def chip_file(arch: Architecture) -> str:
    """Return what a Program for a chip carries of it: nothing for one that comes with neurodeploy."""
    if arch.name in available() and arch == load_architecture(arch.name):
        return ""
    return json.dumps(arch.model_dump(mode="json", exclude_defaults=True), sort_keys=True, ensure_ascii=False)


def architecture_of(program: Program) -> Architecture:
    """Return the chip that a Program was placed for.

    Raises:
        InvalidInputError: it was placed for none, for one that it does not describe, or its description is damaged.
    """
    if not program.chip_file:
        if program.chip in available():
            return load_architecture(program.chip)
        raise InvalidInputError(
            f"the Program is for the chip {program.chip!r}, and does not say what that is",
            allowed="a description of the chip in the Program, or one of " + ", ".join(available()),
            hint="give the chip's file (--chip FILE.yaml), or compile the network again",
        )
    try:
        arch = Architecture.model_validate(json.loads(program.chip_file))
    except (ValidationError, ValueError, TypeError, RecursionError) as error:
        found = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        raise _damaged(program, f"{'.'.join(map(str, found['loc']))}: {found['msg']}".removeprefix(": ")) from error
    if arch.name != program.chip:
        raise _damaged(program, f"a description of {arch.name!r}")
    return arch


def arithmetic_of(program: Program) -> str:
    """Name the arithmetic of a Program, and whether it is its chip's own (`neurodeploy.hwsim.chips.computed`)."""
    try:
        return named(program.network.arithmetic, known_chip(program))
    except InvalidInputError:
        return f"{named(program.network.arithmetic, None)} that can be known: its description is damaged"


def known_chip(program: Program) -> Architecture | None:
    """The chip of a Program; None where it is for none, or does not say what that is.

    Raises:
        InvalidInputError: the description of its chip is damaged.
    """
    return architecture_of(program) if program.chip_file or program.chip in available() else None


def _damaged(program: Program, found: str) -> InvalidInputError:
    return InvalidInputError(
        f"the description of the chip {program.chip!r} in the Program cannot be used",
        found=found,
        allowed=f"a description of {program.chip!r} that this neurodeploy knows",
        hint="give the chip's file (--chip FILE.yaml), or compile the network again",
    )
