"""A Program as a script for Lava alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from neurodeploy.backends.lava import script
from neurodeploy.errors import InvalidInputError
from neurodeploy.program.program import Program


@dataclass(frozen=True)
class LavaScript:
    """What `lava_script` wrote.

    Args:
        script: Python that runs the Program with lava-nc.
        numbers: that it reads (``.npz``).
    """

    script: Path
    numbers: Path

    def as_json(self) -> dict[str, str]:
        """For scripts; what ``neurodeploy export --to lava --json`` prints."""
        return {"script": str(self.script), "numbers": str(self.numbers)}


def lava_script(program: Program, path: Path | str) -> LavaScript:
    """Write a Program as a script (``.py``) and its numbers beside it.

    Raises:
        InvalidInputError: another ending.
        UnsupportedError: Lava cannot express the Program.
        StorageError: the folder cannot be written to, or the disk is full.
    """
    return LavaScript(*script.export(program, checked(path)))


def checked(path: Path | str) -> Path:
    """The path of a script.

    Raises:
        InvalidInputError: another ending.
    """
    if Path(path).suffix != ".py":
        raise InvalidInputError("the script needs the ending .py", found=Path(path).name)
    return Path(path)
