"""Running code that was written for float32 in float64: what it asks for in float32 it gets in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


@contextmanager
def in_float64() -> Iterator[None]:
    """``torch.zeros(3)``, ``(x > 0).float()`` and ``x.to(torch.float32)`` give float64 in here."""
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
        return asked(*map(wider, args), **{name: wider(value) for name, value in (kwargs or {}).items()})


def wider(value: Any) -> Any:
    """float64 for float32, anything else as it is."""
    return torch.float64 if value is torch.float32 else value
