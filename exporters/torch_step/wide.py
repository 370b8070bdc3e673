"""Running code that was written for float32 in float64: what it asks for in float32 it gets in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


@contextmanager
def float64() -> Iterator[None]:
    """``torch.zeros(3)`` gives float64 in here, ``torch.zeros(3, dtype=torch.float32)`` does not."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def in_float64(written_for: torch.dtype = torch.float32) -> Iterator[Wide]:
    """``torch.zeros(3)``, ``(x > 0).float()`` and ``x.to(torch.float32)`` give float64 in here.

    A float32 tensor that meets a float64 one (a weight that is no parameter, which ``module.double()`` leaves as it
    is) is taken as float64, as torch promotes it where it promotes at all.

    Args:
        written_for: another type that is taken as float64, where the code was written for half precision.
    """
    with float64(), Wide(frozenset({torch.float32, written_for} - {torch.float64})) as mode:
        yield mode


_CASTS = {
    torch.Tensor.float: torch.float32,
    torch.Tensor.half: torch.float16,
    torch.Tensor.bfloat16: torch.bfloat16,
}
"""Methods that ask for a type by their names."""


class Wide(TorchFunctionMode):
    """Makes what is asked for in the types ``narrow`` float64; `generators` tells whether one was handed over."""

    def __init__(self, narrow: frozenset[torch.dtype]) -> None:
        super().__init__()
        self.narrow = narrow
        self.generators = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        asked = torch.Tensor.double if _CASTS.get(func) in self.narrow else func
        named = kwargs or {}
        self.generators |= named.get("generator") is not None
        types_met = {one.dtype for one in _tensors((args, tuple(named.values())))}
        each = self._wider
        if torch.float64 in types_met and types_met & self.narrow and not _writes(func) and named.get("out") is None:
            each = self._promoted
        return asked(*map(each, args), **{name: each(value) for name, value in named.items()})

    def _wider(self, value: Any) -> Any:
        return torch.float64 if isinstance(value, torch.dtype) and value in self.narrow else value

    def _promoted(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.double() if value.dtype in self.narrow else value
        return type(value)(map(self._promoted, value)) if type(value) in (tuple, list) else self._wider(value)


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


def wider(value: Any) -> Any:
    """float64 for float32, anything else as it is."""
    return torch.float64 if value is torch.float32 else value
