"""Whether a module computes the same in every step: a graph of one step says nothing about any other.

The module is called again and again with two inputs, its neurons replaced by stubs that keep no state. What arrives at
a neuron, and what is returned, may then only depend on the input. Where it does not, the attribute is looked for that
changed and makes the difference: a step counter, a list, a buffer, a value of the step before. One that changes
and makes none (a count of calls, a log) is let be. Counters are also set far ahead, for what happens only later.
"""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from neurodeploy.errors import UnsupportedError

ORDER = "aabbabbabaababba"
"""Which of the two inputs each call gets; no period of a few steps goes unseen."""

AHEAD = (31, 97, 1009, 10_007, 100_003, 1_000_003)
"""How far counters are set ahead: primes, so that few periods divide them."""

_TORCHS = frozenset(vars(nn.Module()))
_DEEPEST = 5

Place = tuple[Any, ...]
"""Path of a module, name of an attribute, and keys into what it holds."""


class UnsteadyError(UnsupportedError):
    """A module whose step depends on more than its input; `ahead` where it takes a counter far ahead to see it."""

    ahead = False


def check_steady(module: nn.Module, inputs: tuple[Tensor, Tensor], states: tuple[None, ...]) -> None:
    """Refuse a module whose step depends on more than its input.

    Args:
        module: with stubs for neurons; it is called, so hand in a copy.
        inputs: two different ones, ``[batch, *sample shape]``.
        states: what ``forward`` takes besides.

    Raises:
        UnsupportedError: time-dependent forward; names the attribute.
    """
    given = dict(zip("ab", inputs, strict=True))
    start, running = copy.deepcopy(module), module
    first: dict[str, list[Tensor]] = {}
    early: dict[Place, Any] = {}
    for call, which in enumerate(ORDER):
        try:
            outcome = _outcome(running, given[which], states)
        except Exception:  # a list that is at its end, say; whoever needs this step will say so
            break
        if not _equal(outcome, first.setdefault(which, outcome)):
            raise _refusal(start, given, states, call, first)
        early = early or _leaves_of(running)
    late = _leaves_of(running)
    moved = {place for place in late if place in early and not _equal(early[place], late[place])}
    for place, far in itertools.product(sorted(moved, key=str), AHEAD):
        probe = copy.deepcopy(running)
        try:
            _assign(probe, place[:2], _ahead(_attribute(probe, place), place[2:], far))
            outcome = _outcome(probe, given["a"], states)
        except Exception:  # a place that is not there, or one that cannot be set
            continue
        if not _equal(outcome, first["a"]):
            error = _unsteady(running, [place[:2]], late, f"after {far} more")
            error.ahead = True
            raise error


def _outcome(module: nn.Module, given: Tensor, states: tuple[None, ...]) -> list[Tensor]:
    """What arrives at each neuron in one step, and what is returned."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]), warnings.catch_warnings(), _Arriving() as arriving:
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        returned = module(given.clone(), *states)
    return [*arriving.seen, *(value for value in _flat(returned) if isinstance(value, Tensor))]


class _Arriving(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps what is handed to the operator that stands for a neuron."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[Tensor] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func.namespace == "neurodeploy" and args:
            self.seen.append(args[0].clone())
        return func(*args, **(kwargs or {}))


def _refusal(
    start: nn.Module,
    given: Mapping[str, Tensor],
    states: tuple[None, ...],
    call: int,
    first: Mapping[str, list[Tensor]],
) -> UnsteadyError:
    """The refusal of a module whose outcome in ``call`` is another one; finds what makes the difference."""
    running, before = copy.deepcopy(start), _leaves_of(start)
    for which in ORDER[:call]:
        _outcome(running, given[which], states)
    now = _leaves_of(running)
    changed = sorted(
        {p[:2] for p in {*before, *now} if p not in before or p not in now or not _equal(before[p], now[p])}
    )
    guilty = []
    for place in changed:
        probe = copy.deepcopy(start)
        try:
            _assign(probe, place, copy.deepcopy(_attribute(running, place)))
            same = _equal(_outcome(probe, given[ORDER[call]], states), first[ORDER[call]])
        except Exception:  # an attribute that means something only together with others
            continue
        if not same:
            guilty.append(place)
    return _unsteady(start, guilty or changed, now, f"after {call}")


def _unsteady(module: nn.Module, places: list[Place], values: Mapping[Place, Any], when: str) -> UnsteadyError:
    names = []
    for path, name in places[:3]:
        held = next((v for p, v in values.items() if p == (path, name)), None)
        shown = f" = {held}" if isinstance(held, (int, float, str)) else ""
        owner = type(module.get_submodule(path)).__name__
        names.append(f"{f'{path}.{name}' if path else name!s}{shown} (of the {owner})")
    more = f" and {len(places) - 3} more" if len(places) > 3 else ""
    outside = "something outside its attributes: a global variable, or random numbers that are not torch's"
    return UnsteadyError(
        f"time-dependent forward: the module computes something else {when} step(s), on the same input",
        found=f"forward changes {', '.join(names)}{more}" if names else outside,
        allowed="the same layers and weights in every step; what is kept from step to step is the state of neurons",
        hint="take what counts steps out of forward (one normalisation for all steps); a state or recurrence of your "
        "own belongs into a neuron (docs: export your own neurons)",
    )


def _leaves_of(module: nn.Module) -> dict[Place, Any]:
    """Every value that a module keeps, by its place; parameters and buffers included, tensors copied."""
    found: dict[Place, Any] = {}
    for path, part in module.named_modules():
        own = {name: value for name, value in vars(part).items() if name not in _TORCHS}
        for name, value in {**own, **part._buffers, **part._parameters}.items():
            for keys, leaf in _leaves(value):
                found[path, name, *keys] = leaf.detach().clone() if isinstance(leaf, Tensor) else copy.copy(leaf)
    return found


def _leaves(value: Any, depth: int = 0) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Keys and values of what an attribute holds."""
    inner: Any = None
    if isinstance(value, Mapping):
        inner = value.items()
    elif isinstance(value, (list, tuple)):
        inner = enumerate(value)
    elif hasattr(value, "__dict__") and not isinstance(value, (Tensor, nn.Module, type)) and not callable(value):
        inner = vars(value).items()
    if inner is None or depth == _DEEPEST:
        if isinstance(value, (bool, int, float, complex, str, bytes, type(None), Tensor, np.ndarray, np.generic)):
            yield (), value
        return
    for key, item in inner:
        yield from (((key, *keys), leaf) for keys, leaf in _leaves(item, depth + 1))


def _attribute(module: nn.Module, place: Place) -> Any:
    return getattr(module.get_submodule(place[0]), place[1])


def _assign(module: nn.Module, place: Place, value: Any) -> None:
    part = module.get_submodule(place[0])
    if place[1] in part._parameters and isinstance(value, Tensor):
        value = nn.Parameter(value.detach(), requires_grad=False)
    setattr(part, place[1], value)


def _ahead(value: Any, keys: tuple[Any, ...], far: int) -> Any:
    """What an attribute holds with the number at ``keys`` larger by ``far``."""
    if keys:
        if isinstance(value, tuple):
            return type(value)(_ahead(item, keys[1:], far) if i == keys[0] else item for i, item in enumerate(value))
        made = copy.copy(value)
        if isinstance(value, (Mapping, list)):
            made[keys[0]] = _ahead(value[keys[0]], keys[1:], far)
        else:
            setattr(made, keys[0], _ahead(getattr(value, keys[0]), keys[1:], far))
        return made
    if isinstance(value, (bool, str, bytes, type(None))):
        raise TypeError("not a number")
    return value + far


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _flat(item)
    elif isinstance(value, Mapping):
        yield from _flat(list(value.values()))
    else:
        yield value


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and a.dtype == b.dtype and bool(torch.allclose(a, b, 0, 0, equal_nan=True))
    if type(a) is not type(b):
        return False
    return bool(np.array_equal(a, b)) if isinstance(a, np.ndarray) else bool(a == b or a != a)
