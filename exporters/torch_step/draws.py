"""Random numbers that a module draws, kept from one run and given again in another of another dtype.

From one seed ``torch.rand`` draws other numbers in float64 than in float32, and a random encoder other spikes. So what
is drawn in the dtype that the module was written for is recorded, operator by operator, and replayed in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from neurodeploy.errors import UnsupportedError


@dataclass(eq=False)
class Draws:
    """What was drawn, in order: the operator, and its results; None where it drew nothing (dropout of zero, say)."""

    made: list[tuple[Any, tuple[Tensor, ...] | None]] = field(default_factory=list)


class Recording(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps what is drawn."""

    def __init__(self, draws: Draws) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.draws = draws

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if not _random(func):
            return func(*args, **(kwargs or {}))
        result, drew = _watched(func, args, kwargs or {})
        kept = tuple(one.detach().clone() for one in _tensors(result)) if drew else None
        self.draws.made.append((func, kept))
        return result


class Replaying(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Gives what was drawn, floating numbers as float64.

    Raises:
        UnsupportedError: in the run, where other random operators are called than when the draws were recorded.
    """

    def __init__(self, draws: Draws) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.left = iter(draws.made)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if not _random(func):
            return func(*args, **given)
        before, kept = next(self.left, (None, None))
        if before is None or before is not func:
            raise UnsupportedError(
                "forward draws other random numbers in float64 than in its own precision",
                found=f"{func} where there was {before or 'none'}",
                hint="draw as many random numbers whatever the values are",
            )
        if kept is None:
            return func(*args, **given)
        written = _written(func, args, given)
        if written:
            for target, value in zip(written, kept, strict=False):
                target.copy_(value)
            return written[0] if len(written) == 1 else tuple(written)
        wide = [one.double() if one.is_floating_point() else one.clone() for one in kept]
        return wide[0] if len(wide) == 1 else tuple(wide)


def _random(func: Any) -> bool:
    return torch.Tag.nondeterministic_seeded in func.tags


def _watched(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, bool]:
    """The result, and whether the state of a generator changed: attention and dropout may draw nothing."""
    generators = [one for one in (*args, *kwargs.values()) if isinstance(one, torch.Generator)]
    generators = generators or [torch.default_generator]
    before = [one.get_state() for one in generators]
    result = func(*args, **kwargs)
    return result, not all(torch.equal(a, b.get_state()) for a, b in zip(before, generators, strict=True))


def _tensors(value: Any) -> list[Tensor]:
    return [one for one in (value if isinstance(value, (tuple, list)) else (value,)) if isinstance(one, Tensor)]


def _written(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """The arguments that an operator writes its results into, by its schema."""
    found = []
    for place, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[place] if place < len(args) else kwargs.get(argument.name)
            if isinstance(value, Tensor):
                found.append(value)
    return found
