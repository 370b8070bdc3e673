"""Arrays that nobody can change: what a frozen dataclass holds must be frozen too.

A network hands the same array to every pass, back-end and report. One that somewhere is sorted or scaled in place is
wrong everywhere else, without a word; one that cannot be changed raises where it is tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from .schema import Array as Array
from .schema import check_types


def frozen(array: Array) -> Array:
    """The array itself where neither it nor what it is a view of can be changed, else a copy that cannot."""
    link: Any = array
    while isinstance(link, np.ndarray):
        if link.flags.writeable:
            return sole(array.copy(order="K"))
        link = link.base
    return array if link is None or isinstance(link, bytes) else sole(array.copy(order="K"))


def sole(array: Array) -> Array:
    """Freeze a fresh array, of which nobody else holds a view, with all that it is a view of; return it."""
    link: Any = array
    while isinstance(link, np.ndarray):
        link.flags.writeable = False
        link = link.base
    return array


def seal(owner: object) -> None:
    """Freeze every array that a dataclass holds, those in its mappings included; called when it has been built."""
    for item in fields(owner) if is_dataclass(owner) else ():
        value = getattr(owner, item.name)
        held = _sealed(value)
        if held is not value:
            object.__setattr__(owner, item.name, held)


def _sealed(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return frozen(value)
    if isinstance(value, tuple):
        held = tuple(_sealed(item) for item in value)
        return value if all(a is b for a, b in zip(held, value, strict=True)) else held
    if isinstance(value, Mapping):
        changed = {key: _sealed(item) for key, item in value.items()}
        return changed if any(changed[key] is not item for key, item in value.items()) else value
    return value


class Sealed:
    """Base of frozen dataclasses that hold arrays: none can be changed from the moment that the object is built."""

    def __post_init__(self) -> None:
        seal(self)
        check_types(self)
