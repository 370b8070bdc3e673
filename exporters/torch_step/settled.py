"""Modules that compute weights by code which looks at values, as fake quantisation does (``if self.enabled[0] == 1``).

Such code is not one static graph, but what it gives is a constant all the same: it depends on parameters and buffers
alone, whatever the input.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .wide import in_float64

_LEAVES_TORCH = frozenset({Tensor.numpy, Tensor.tolist, Tensor.__array__, Tensor.__dlpack__, Tensor.data_ptr})


class _Constant(nn.Module):
    """Gives the same tensor whatever it is given."""

    value: Tensor

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value)

    def forward(self, *_given: Any, **_named: Any) -> Tensor:
        return self.value


class _Dependent(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows what depends on the inputs, or on a neuron, from operator to operator; by the memory that holds it.

    `looked`: whether code outside of torch has seen such a value, so that nothing is known of what it does.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._memory: dict[int, Any] = {}  # kept, so that no address is used twice
        self.looked = False

    def add(self, value: Any) -> None:
        for one in tree_leaves(value):
            if isinstance(one, Tensor):
                held = one.untyped_storage()
                self._memory[held.data_ptr()] = held

    def holds(self, value: Any) -> bool:
        found = [one for one in tree_leaves(value) if isinstance(one, Tensor)]
        return any(one.numel() > 0 and one.untyped_storage().data_ptr() in self._memory for one in found)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        depends = self.holds((args, kwargs)) or func.namespace == "neurodeploy"
        made = func(*args, **kwargs)
        if depends:
            self.looked |= any(not isinstance(one, Tensor) for one in tree_leaves(made))
            self.add(made)
            self.add([one for one, said in zip(args, func._schema.arguments, strict=False)
                      if said.alias_info is not None and said.alias_info.is_write])  # fmt: skip
        return made


class _Leaving(TorchFunctionMode):
    """Notes values that are handed to code outside of torch."""

    def __init__(self, dependent: _Dependent) -> None:
        super().__init__()
        self._dependent = dependent

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _LEAVES_TORCH and self._dependent.holds(args):
            self._dependent.looked = True
        return func(*args, **(kwargs or {}))


def settled(
    module: nn.Module,
    inputs: Collection[Tensor],
    states: tuple[None, ...],
    neurons: Collection[str],
    call: Callable[[nn.Module, Tensor], Any] | None = None,
) -> nn.Module | None:
    """A copy in float64 whose parts that give a constant are that constant; None where there are none.

    What a part gives is one if nothing that it is computed from depends on the input or on a neuron, and it is the same
    for all inputs. Where code looks at values that do, nothing is.

    Args:
        module: with stubs for neurons.
        inputs: different ones, ``[batch, *sample shape]``.
        states: what ``forward`` takes besides.
        neurons: paths of the stubs, which no constant may hold.
        call: runs the module on an input, if not as ``module(input, *states)``.
    """
    running = copy.deepcopy(module).double()
    given: dict[str, list[Any]] = {}
    dependent = _Dependent()

    def noting(path: str) -> Callable[[nn.Module, Any, Any], None]:
        def note(_module: nn.Module, _args: Any, result: Any) -> None:
            constant = isinstance(result, Tensor) and not dependent.holds(result)
            given.setdefault(path, []).append(result.detach().clone() if constant else None)

        return note

    for path, part in running.named_modules():
        if path and not any(neuron == path or neuron.startswith(f"{path}.") for neuron in neurons):
            part.register_forward_hook(noting(path))
    with torch.no_grad(), in_float64():
        for one in inputs:
            wide = one.double().clone()
            dependent.add(wide)
            with _Leaving(dependent), dependent:
                if call is None:
                    running(wide, *states)
                else:
                    call(running, wide)
    if dependent.looked:
        return None
    made, found = copy.deepcopy(module).double(), False
    for path, (first, *others) in sorted(given.items()):
        same = (len(others) + 1) % len(inputs) == 0 and all(_same(first, other) for other in others)
        if same and isinstance(first, Tensor) and not isinstance(_part(made, path), (_Constant, type(None))):
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
