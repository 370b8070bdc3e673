"""Looking on at a module's calls without changing what they compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from .torch_step.capture import copied


def looked_on(module: nn.Module, look: Callable[..., Any]) -> None:
    """Put ``look(forward, *args, **kwargs)``, which returns what ``forward`` does, in front of a module's forward."""
    forward = module.forward
    module.forward = lambda *args, **kwargs: look(forward, *args, **kwargs)


def twin_of(module: nn.Module) -> Any:
    """A copy of a module that is looked on, as it is now, by itself."""
    twin = copied(module)
    twin.__dict__.pop("forward", None)
    return twin
