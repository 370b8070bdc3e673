"""What every field of a stored dataclass may hold: checked whenever one is built, so also when a file is read.

`check_types` compares each field with its annotation; the classes themselves check ranges, indices and what must agree
with what. Compiled code walks these arrays without looking, so nothing may get past the constructors that it could not
walk.
"""

from __future__ import annotations

import numbers
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from neurodeploy.errors import InvalidInputError

Array = np.ndarray[Any, np.dtype[Any]]

LATER = "added later"
"""Metadata of a dataclass's field that older files lack; it is written only where it is not the default."""


def check_types(owner: Any) -> None:
    """Refuse a field that does not hold what its annotation says.

    Raises:
        InvalidInputError: names the class and the field.
    """
    kind: Any = type(owner)
    for name, hint in _hints(kind).items():
        value = getattr(owner, name)
        if not _holds(value, hint):
            raise InvalidInputError(
                f"the field {name!r} of a {type(owner).__name__} cannot be this",
                found=_shown(value),
                allowed=_said(hint),
            )


@cache
def _hints(kind: Any) -> dict[str, Any]:
    """The annotation of each field of a dataclass."""
    hints = get_type_hints(kind)
    return {item.name: hints[item.name] for item in fields(kind)} if is_dataclass(kind) else {}


def _holds(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if hint is Any:
        return True
    if origin in (Union, UnionType):
        return any(_holds(value, part) for part in get_args(hint))
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in get_args(hint))
    if origin is np.ndarray:
        return isinstance(value, np.ndarray)
    if origin is tuple:
        inner = get_args(hint)
        if not isinstance(value, tuple):
            return False
        if inner[-1:] == (...,):
            return all(_holds(item, inner[0]) for item in value)
        return len(value) == len(inner) and all(map(_holds, value, inner))
    if origin is not None and issubclass(origin, Mapping):
        key, item = get_args(hint)
        return isinstance(value, Mapping) and all(_holds(k, key) and _holds(v, item) for k, v in value.items())
    if origin is not None:
        return isinstance(value, origin)
    if hint is bool:
        return isinstance(value, (bool, np.bool_))
    if hint in (int, float) and isinstance(value, (bool, np.bool_)):
        return False
    if hint is int:
        return isinstance(value, numbers.Integral)
    if hint is float:
        return isinstance(value, numbers.Real) and _finite(value)
    return isinstance(value, NoneType if hint is None else hint)


def _finite(value: Any) -> bool:
    """Whether a float can hold it; whole numbers may be beyond all of them."""
    return bool(-sys.float_info.max <= value <= sys.float_info.max)


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array {list(value.shape)} of {value.dtype}"
    text = repr(value)
    return f"{type(value).__name__}: {text[:80]}{'...' if len(text) > 80 else ''}"


def _said(hint: Any) -> str:
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_said(part) for part in get_args(hint))
    if get_origin(hint) is Literal:
        return ", ".join(map(repr, get_args(hint)))
    if get_origin(hint) is np.ndarray:
        return "an array"
    name = {int: "a whole number", float: "a finite number", NoneType: "None"}.get(hint)
    return name or str(getattr(hint, "__name__", hint))


def check_numbers(what: str, values: Array, shape: tuple[int, ...] | int, *, whole: bool = False) -> None:
    """Refuse an array of other numbers, or of another shape or number of axes.

    Args:
        shape: or how many axes.
        whole: of integers only.

    Raises:
        InvalidInputError: names ``what``.
    """
    fits = values.ndim == shape if isinstance(shape, int) else values.shape == shape
    if not fits:
        allowed = f"{shape} axes" if isinstance(shape, int) else list(shape)
        raise InvalidInputError(f"{what} has the wrong shape", found=list(values.shape), allowed=allowed)
    if values.dtype.kind not in ("iu" if whole else "biuf") or (whole and values.dtype == np.uint64):
        raise InvalidInputError(
            f"{what} is not numeric" if not whole else f"{what} does not hold whole numbers",
            found=str(values.dtype),
            allowed="integers of up to 64 bits with a sign" if whole else "integers or floats",
        )
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise InvalidInputError(f"{what} holds NaN", allowed="numbers")


def check_within(what: str, values: Array, low: float, high: float) -> None:
    """Refuse values outside of ``low`` to ``high``, both included.

    Raises:
        InvalidInputError: names ``what``.
    """
    if values.size and (values.min() < low or values.max() > high):
        raise InvalidInputError(
            f"{what} is out of its range",
            found=f"values from {values.min()} to {values.max()}",
            allowed=f"{low} to {high}",
        )
