"""How the house writes docstrings, for griffe: arguments that share a line, and names of ours in backticks.

    x, input_axis: as for `run`.                    two arguments with one text
    see `neurodeploy.program.schedule`              a link, where the reference has that name
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_SHARED = re.compile(r"^( +)(\w+(?:, \w+)+): (.*(?:\n\1 +.*)*)", re.MULTILINE)
_ARGUMENTS = re.compile(r"^Args:\n(?:(?: +.*)?\n?)+", re.MULTILINE)
_OWN = re.compile(r"(?<![`\w])`(neurodeploy(?:\.\w+)+)`(?!`)")


def apart(arguments: str) -> str:
    """A section ``Args:`` in which every argument has a line of its own; all but the first refer to that one."""

    def split(found: re.Match[str]) -> str:
        indent, names, text = found.groups()
        first, *others = names.split(", ")
        return "\n".join([f"{indent}{first}: {text}", *(f"{indent}{other}: see `{first}`." for other in others)])

    return _SHARED.sub(split, arguments)


def linked(text: str) -> str:
    """Text in which our dotted names are references; one that no page has stays a name."""
    return _OWN.sub(r'<autoref identifier="\1" optional><code>\1</code></autoref>', text)


class Docstrings(Extension):
    """Rewrites docstrings before they are parsed."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Called for each module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = linked(_ARGUMENTS.sub(lambda found: apart(found[0]), obj.docstring.value))
