"""Running code that was written for float32 in float64: what it asks for in float32 it gets in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


@contextmanager
def in_float64() -> Iterator[None]:
    """``torch.zeros(3)``, ``(x > 0).float()`` and ``x.to(torch.float32)`` give float64 in here.

    A float32 tensor that meets a float64 one (a weight that is no parameter, which ``module.double()`` leaves as it
    is) is taken as float64, as torch promotes it where it promotes at all.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with _Wide():
            yield
    finally:
        torch.set_default_dtype(before)


class _Wide(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        asked = torch.Tensor.double if func is torch.Tensor.float else func
        named = kwargs or {}
        types_met = {one.dtype for one in _tensors((args, tuple(named.values())))}
        each = wider
        if {torch.float32, torch.float64} <= types_met and not _writes(func) and "out" not in named:
            each = _promoted
        return asked(*map(each, args), **{name: each(value) for name, value in named.items()})


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)


def _writes(func: Callable[..., Any]) -> bool:
    """Whether a function of torch writes into what it is given, by torch's own way of naming such functions."""
    name = str(getattr(func, "__name__", ""))
    return name == "__setitem__" or name.startswith("__i") or (name.endswith("_") and not name.endswith("__"))


def _promoted(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.double() if value.dtype == torch.float32 else value
    return type(value)(map(_promoted, value)) if type(value) in (tuple, list) else wider(value)


def wider(value: Any) -> Any:
    """float64 for float32, anything else as it is."""
    return torch.float64 if value is torch.float32 else value
