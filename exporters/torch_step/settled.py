"""Modules that compute weights by code which looks at values, as fake quantisation does (``if self.enabled[0] == 1``).

Such code is not one static graph, but what it gives is a constant all the same, the same whatever the input.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn

from .wide import in_float64


class _Constant(nn.Module):
    """Gives the same tensor whatever it is given."""

    value: Tensor

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value)

    def forward(self, *_given: Any, **_named: Any) -> Tensor:
        return self.value


def settled(
    module: nn.Module,
    inputs: Collection[Tensor],
    states: tuple[None, ...],
    neurons: Collection[str],
    call: Callable[[nn.Module, Tensor], Any] | None = None,
) -> nn.Module | None:
    """A copy in float64 whose parts that give a constant are that constant; None where there are none.

    Args:
        module: with stubs for neurons.
        inputs: different ones, ``[batch, *sample shape]``; what gives the same for all of them counts as a constant
            (the proof of the export runs the original).
        states: what ``forward`` takes besides.
        neurons: paths of the stubs, which no constant may hold.
        call: runs the module on an input, if not as ``module(input, *states)``.
    """
    running = copy.deepcopy(module).double()
    given: dict[str, list[Any]] = {}

    def noting(path: str) -> Callable[[nn.Module, Any, Any], None]:
        def note(_module: nn.Module, _args: Any, result: Any) -> None:
            given.setdefault(path, []).append(result.detach().clone() if isinstance(result, Tensor) else None)

        return note

    for path, part in running.named_modules():
        if path and not any(neuron == path or neuron.startswith(f"{path}.") for neuron in neurons):
            part.register_forward_hook(noting(path))
    with torch.no_grad(), in_float64():
        for one in inputs:
            if call is None:
                running(one.double(), *states)
            else:
                call(running, one.double())
    made, found = copy.deepcopy(module).double(), False
    for path, (first, *others) in sorted(given.items()):
        same = (len(others) + 1) % len(inputs) == 0 and all(_same(first, other) for other in others)
        if same and not isinstance(_part(made, path), (_Constant, type(None))):
            made.set_submodule(path, _Constant(first))
            found = True
    return made if found else None


def _same(first: Any, other: Any) -> bool:
    return isinstance(first, Tensor) and isinstance(other, Tensor) and torch.equal(first, other)


def _part(module: nn.Module, path: str) -> nn.Module | None:
    """The part at a path; None where a part around it has become a constant."""
    try:
        return module.get_submodule(path)
    except AttributeError:
        return None
