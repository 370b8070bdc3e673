"""The compiler's passes: one a file, named as on the command line, each a frozen dataclass whose fields are options.

A pipeline is written ``split-signs,quantise{rounding=nearest thresholds=8},fine-tune``: names in order, options in
braces. A third party's pass is found by its entry point in the group ``neurodeploy.passes``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, fields, is_dataclass
from importlib import import_module
from importlib.metadata import entry_points
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Protocol, Union, cast, get_args, get_origin, get_type_hints

from neurodeploy.errors import InvalidInputError, did_you_mean
from neurodeploy.network.network import Network

from .data import NOTHING as NOTHING
from .data import PassData as PassData


class NetworkPass(Protocol):
    """A step from network to network; its fields are its options.

    The network it gets and the one it gives are both valid (`neurodeploy.network.network.check`); what it folded,
    rounded or left it says in the network's notes under its own name. Its docstring says whether it is exact.
    """

    name: ClassVar[str]

    def apply(self, network: Network, data: PassData = NOTHING) -> Network:
        """Return the transformed network.

        Raises:
            UnsupportedError: names the population or projection and the reason.
        """


GROUP = "neurodeploy.passes"

BUILTIN: Mapping[str, str] = {
    "prune": "neurodeploy.passes.prune:Prune",
    "prune-silent": "neurodeploy.passes.prune_silent:PruneSilent",
    "encode": "neurodeploy.passes.encode:Encode",
    "split-signs": "neurodeploy.passes.split_signs:SplitSigns",
    "encode-on-host": "neurodeploy.passes.encode_on_host:EncodeOnHost",
    "gate-on-chip": "neurodeploy.passes.gate_on_chip:GateOnChip",
    "freeze-attention": "neurodeploy.passes.freeze_attention:FreezeAttention",
    "quantise": "neurodeploy.passes.quantise.quantise:Quantise",
    "fine-tune": "neurodeploy.passes.fine_tune.fine_tune:FineTune",
}

INTEGER, FLOAT = "prune,encode,quantise", "prune,encode"
"""The pipelines of `compile` without ``--passes``, and with ``--float``."""


def names() -> tuple[str, ...]:
    """Names of all passes: ours, then those that other packages bring."""
    return (*BUILTIN, *sorted(p.name for p in entry_points(group=GROUP) if p.name not in BUILTIN))


def get(name: str) -> Callable[..., NetworkPass]:
    """Import and return the pass called ``name``.

    Raises:
        InvalidInputError: there is no such pass.
    """
    if name in BUILTIN:
        module, _, attribute = BUILTIN[name].partition(":")
        return cast(Callable[..., NetworkPass], getattr(import_module(module), attribute))
    for point in entry_points(group=GROUP):
        if point.name == name:
            return cast(Callable[..., NetworkPass], point.load())
    raise InvalidInputError("no such pass", found=name + did_you_mean(name, names()), allowed=", ".join(names()))


@dataclass(frozen=True)
class Step:
    """A pass and the options that were given to it."""

    name: str
    options: Mapping[str, Any]

    def build(self) -> NetworkPass:
        """Make the pass."""
        return get(self.name)(**self.options)


def parse(text: str) -> tuple[Step, ...]:
    """Read a pipeline, for example ``split-signs,quantise{rounding=nearest thresholds=8}``.

    Raises:
        InvalidInputError: not a pipeline, an unknown pass or option, or a value that the option cannot have.
    """
    steps = []
    rest = text.strip()
    while rest:
        match = re.match(r"([\w-]+)\s*(?:\{([^{}]*)\})?\s*(?:,\s*|$)", rest)
        if match is None:
            raise InvalidInputError(
                "not a pipeline of passes",
                found=rest,
                allowed="names with commas between them, options in braces, as in quantise{rounding=nearest}",
                hint="passes: " + ", ".join(names()),
            )
        name, options = match.group(1), match.group(2) or ""
        steps.append(Step(name, _options(name, get(name), options)))
        rest = rest[match.end() :]
    return tuple(steps)


def options_of(name: str) -> dict[str, Any]:
    """The options of a pass and what they may be, for the reader: ``{"rounding": "auto | nearest | compensated"}``."""
    factory = get(name)
    hints = get_type_hints(factory)
    return {f.name: _shown(hints[f.name]) for f in _settable(factory)}


def _settable(factory: Callable[..., NetworkPass]) -> list[Field[Any]]:
    """Fields that a user can write."""
    return [f for f in fields(factory) if f.init] if is_dataclass(factory) else []


def _options(name: str, factory: Callable[..., NetworkPass], text: str) -> dict[str, Any]:
    hints = get_type_hints(factory)
    known = [f.name for f in _settable(factory)]
    found: dict[str, Any] = {}
    for part in text.replace(",", " ").split():
        key, separator, value = part.partition("=")
        key = key.replace("-", "_")
        if not separator or key not in known:
            raise InvalidInputError(
                f"pass {name!r} has no such option",
                found=part + did_you_mean(key, known),
                allowed=", ".join(f"{key}=..." for key in known) or "no options",
            )
        found[key] = _value(name, key, hints[key], value)
    return found


def _value(name: str, key: str, hint: Any, text: str) -> Any:
    for kind in get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,):
        if kind is NoneType and text in ("none", "any"):
            return None
        if get_origin(kind) is Literal and text in get_args(kind):
            return text
        if kind is bool and text in ("true", "false"):
            return text == "true"
        if kind in (int, float, str):
            try:
                return kind(text)
            except ValueError:
                continue
    raise InvalidInputError(f"option {key} of pass {name!r} cannot have this value", found=text, allowed=_shown(hint))


def _shown(hint: Any) -> str:
    if get_origin(hint) in (Union, UnionType):
        return " | ".join(_shown(kind) for kind in get_args(hint))
    if get_origin(hint) is Literal:
        return " | ".join(map(str, get_args(hint)))
    said = {int: "a whole number", float: "a number", bool: "true | false", str: "a name", NoneType: "any"}
    return said.get(hint, str(hint))
