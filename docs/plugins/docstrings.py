"""How the house writes docstrings, for griffe.

    x, input_axis: as for `run`.            arguments that share a line: each gets one
    see `neurodeploy.program.schedule`      a link, where the reference has that name

Fields of pydantic models are documented as arguments, which griffe knows of dataclasses alone.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Attribute, Class, Extension, Function, Module, Object, Parameter, ParameterKind, Parameters

_SHARED = re.compile(r"^( +)(\w+(?:, \w+)+): (.*(?:\n\1 +.*)*)", re.MULTILINE)
_ARGUMENTS = re.compile(r"^Args:\n(?:(?: +.*)?\n?)+", re.MULTILINE)
_OWN = re.compile(r"(?<![`\w])`(neurodeploy(?:\.\w+)+)`(?!`)")


def apart(arguments: str) -> str:
    """A section ``Args:`` in which every argument has a line of its own."""

    def split(found: re.Match[str]) -> str:
        indent, names, text = found.groups()
        return "\n".join(f"{indent}{name}: {text}" for name in names.split(", "))

    return _SHARED.sub(split, arguments)


def linked(text: str) -> str:
    """Text in which our dotted names are references; one that no page has stays a name."""
    return _OWN.sub(r'<autoref identifier="\1" optional><code>\1</code></autoref>', text)


def pydantic(cls: Class) -> bool:
    """Whether a class is a pydantic model, by its bases."""
    if any(str(base).rpartition(".")[2] == "BaseModel" for base in cls.bases):
        return True
    return any(isinstance(base, Class) and pydantic(base) for base in cls.resolved_bases)


def constructor(cls: Class) -> Function:
    """The constructor that pydantic makes of a model's fields, those of its bases first."""
    fields: dict[str, Attribute] = {}
    for owner in (*reversed(cls.mro()), cls):
        fields |= {
            name: one
            for name, one in owner.attributes.items()
            if one.annotation and one.is_public and "property" not in one.labels
        }
    made = Function("__init__", parent=cls)
    made.parameters = Parameters(
        *(
            Parameter(name, annotation=one.annotation, kind=ParameterKind.keyword_only, default=one.value)
            for name, one in fields.items()
        )
    )
    return made


class Docstrings(Extension):
    """Rewrites docstrings before they are parsed, and gives pydantic models their constructor."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Called for each module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = linked(_ARGUMENTS.sub(lambda found: apart(found[0]), obj.docstring.value))

    def on_package(self, *, pkg: Module, **kwargs: Any) -> None:
        """Called when all modules are there."""
        waiting: list[Object] = [pkg]
        while waiting:
            for member in waiting.pop().members.values():
                if isinstance(member, Module):
                    waiting.append(member)
                elif isinstance(member, Class) and pydantic(member):
                    member.set_member("__init__", constructor(member))
