"""How the house writes docstrings, for griffe.

    x, input_axis: as for `run`.            arguments that share a line: each gets one
    Args:                                   of a class without a constructor (a pydantic model): its attributes
    see `neurodeploy.program.schedule`      a link, where the reference has that name
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Class, Extension, Object

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


def constructed(obj: Object) -> bool:
    """Whether arguments are those of a call that griffe sees: a function's, or a constructor's."""
    made = isinstance(obj, Class) and not any("dataclass" in str(d.value) for d in obj.decorators)
    return not made or "__init__" in obj.members


class Docstrings(Extension):
    """Rewrites docstrings before they are parsed."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Called for each module, class, function and attribute."""
        if obj.docstring is not None:
            text = _ARGUMENTS.sub(lambda found: apart(found[0]), obj.docstring.value)
            text = text if constructed(obj) else re.sub(r"^Args:$", "Attributes:", text, flags=re.MULTILINE)
            obj.docstring.value = linked(text)
