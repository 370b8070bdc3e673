"""Running a module untouched, as its user does, and what its neuron layers did meanwhile.

The module's copy computes what it computes: its loops, its states, its random numbers. Only in float64 its arithmetic
is widened, and its random numbers are those that it draws in its own precision. A second copy is looked on: each
neuron module tells what it got and returned, and what the copy returns must be, bit for bit, what the first one did.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurodeploy.errors import UnsupportedError, VerificationError
from neurodeploy.network.arrays import Array

from . import framework
from .framework import Framework
from .looking import twin_of
from .observed import Observed, as_array
from .torch_step.capture import copied, node_name, sites, swapped
from .torch_step.draws import Draws, Recording, Replaying
from .torch_step.wide import in_float64
from .usage import Usage
from .user_calls import call_as_user, start_fresh
from .watching import Watch, Watching


@dataclass(frozen=True, eq=False)
class UserRun:
    """What a module returned, and what its neuron layers did.

    Args:
        returned: every tensor that ``forward`` returned, nested ones in order, but for states that it takes again in
            the next call; of a module that computes a step, each stacked over the calls in a new dimension 0.
        outputs: spikes that each neuron layer sent, or the potential of one that does not spike, by the name of its NIR
            node, ``[time, batch, neurons]``.
        potentials: membrane potentials after each step, where the module tells them.
    """

    returned: tuple[Array, ...]
    outputs: Mapping[str, Array] = field(default_factory=dict)
    potentials: Mapping[str, Array] = field(default_factory=dict)


def own_dtype(module: nn.Module) -> torch.dtype:
    """The floating type of a module: that of its first parameter or buffer, float32 if it has none."""
    for value in (*module.parameters(), *module.buffers()):
        if value.is_floating_point():
            return value.dtype
    return torch.float32


def as_taken(module: nn.Module, sample: Array) -> Array:
    """A sample in the numbers that reach the module: rounded to its own precision."""
    return as_array(torch.from_numpy(np.ascontiguousarray(sample)).to(own_dtype(module)))


def run_user(
    module: nn.Module,
    sample: Array,
    usage: Usage,
    dtype: torch.dtype | None = None,
    *,
    seed: int = 0,
    observe: bool = True,
    watch: Watch | None = None,
) -> UserRun:
    """Run a copy of a module on a sample as its user does, in evaluation mode.

    Args:
        sample: exactly what ``forward`` takes; ``[time, batch, ...]`` where it takes a step a call.
        dtype: of the arithmetic; None is the module's own. float64 leaves rounding out of a comparison; random numbers
            are then those of the module's own precision.
        seed: of torch's, numpy's and Python's random numbers before the run.
        observe: whether to tell what the neuron layers did, those that can be exported.
        watch: where neurons that are written by hand spike.

    Raises:
        InvalidInputError: the module does not take the sample, or its code fails.
        UnsupportedError: no copy can be made; a neuron that is not called once a step; random numbers, or results, that
            depend on more than the seed; several frameworks in one module.
        VerificationError: looking on changed what the module returned.
    """
    kind = framework.of_any(module)
    run = _Run(module, sample, usage, kind, dtype, seed)
    alone, drew = run.go([])
    if drew and run.wide:
        run = run.replaying()
        alone, _ = run.go([])
    if not observe:
        return UserRun(tuple(map(as_array, alone)))
    watched = [Observed(path, usage) for path, part in sites(module, kind) if kind.refusal(part) is None]
    by_hand = Watching()
    returned, _ = run.go(watched, looking=by_hand if watch is not None else None)
    if not _same(returned, alone):
        raise _changed(run, watched, alone)
    outputs: dict[str, Array] = {} if watch is None else watch.outputs(by_hand.noted, usage)
    potentials: dict[str, Array] = {}
    with run.arithmetic(), torch.no_grad():
        for one in watched:
            for number, (sent, told) in enumerate(one.sequences(), 1):
                name = node_name(one.path) if number == 1 else f"{node_name(one.path)}_{number}"
                outputs[name] = sent
                if told is not None:
                    potentials[name] = told
    return UserRun(tuple(map(as_array, alone)), outputs, potentials)


def _changed(run: _Run, watched: Iterable[Observed], alone: tuple[Tensor, ...]) -> Exception:
    """Why a module returned something else while it was looked on."""
    if not _same(run.go([])[0], alone):
        return UnsupportedError(
            "forward gives something else each time it is called",
            found="two runs from the same state, sample and random seed that differ",
            hint="let it depend on its input and its own states alone, not on globals, the time or other modules",
        )
    each = [one.path for one in watched if not _same(run.go([Observed(one.path, one.usage)])[0], alone)]
    return VerificationError(
        "internal error: looking on changed what the module returns",
        found=f"at {', '.join(map(repr, each)) or 'several neuron layers together'}",
        hint="please report this with the module",
    )


@dataclass(frozen=True, eq=False)
class _Run:
    """How copies of a module are run."""

    module: nn.Module
    sample: Array
    usage: Usage
    kind: Framework
    dtype: torch.dtype | None
    seed: int
    drawn: Draws | None = None

    @property
    def wide(self) -> bool:
        """Whether it runs in float64, whatever it was written for."""
        return self.dtype == torch.float64

    def arithmetic(self) -> Any:
        """The context in which it computes."""
        return in_float64(own_dtype(self.module)) if self.wide else nullcontext()

    def replaying(self) -> _Run:
        """The run with the random numbers of the module's own precision."""
        drawn = Draws()
        own = _Run(self.module, self.sample, self.usage, self.kind, None, self.seed)
        own.go([], Recording(drawn))
        return _Run(self.module, self.sample, self.usage, self.kind, self.dtype, self.seed, drawn)

    def go(
        self, watched: list[Observed], mode: Any = None, looking: Watching | None = None
    ) -> tuple[tuple[Tensor, ...], bool]:
        """Run a copy; return what it returned, and whether it drew random numbers."""
        body = copied(self.module)
        dtype = own_dtype(self.module) if self.dtype is None else self.dtype
        if self.dtype is not None:
            body = body.to(self.dtype)
        if self.wide:
            widen(body)
            for _, part in sites(body, self.kind):
                if self.kind.refusal(part) is None:
                    self.kind.widen(part)
        for one in watched:
            body = self._looked_on(body, one)

        def tell(step: int) -> None:
            for one in watched:
                one.step = step

        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            stack.enter_context(_seeded(self.seed))
            if self.kind.alone is not None:
                stack.enter_context(self.kind.alone(body))
            wide = stack.enter_context(self.arithmetic())
            sample = torch.tensor(np.asarray(self.sample)).to(dtype)
            before = torch.get_rng_state()
            replay = None if self.drawn is None else Replaying(self.drawn)
            stack.enter_context(mode or replay or nullcontext())
            if looking is not None:
                looking.follow(body)
                stack.enter_context(looking)
            start_fresh(body, self.kind, self.usage)
            returned = call_as_user(body, sample, self.usage, self.kind, tell)
            drew = not torch.equal(before, torch.get_rng_state()) or (wide is not None and wide.generators)
            return returned, drew

    def _looked_on(self, body: nn.Module, one: Observed) -> nn.Module:
        part = body.get_submodule(one.path)
        if "forward" in vars(part) and "forward" not in vars(self.module.get_submodule(one.path)):
            # One object at two paths, which gets its state by hand: an object of its own for each.
            part = twin_of(part)
            body = swapped(body, one.path, part)
        self.kind.observe(part, one.note)
        return body


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    before, numpys = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            torch.manual_seed(seed)
            np.random.seed(seed)
            random.seed(seed)
            yield
        finally:
            random.setstate(before)
            np.random.set_state(numpys)


def _same(first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> bool:
    """Whether tensors are the same bit for bit, NaN being itself."""
    pairs = [(as_array(a), as_array(b)) for a, b in zip(first, second, strict=False)]
    return len(first) == len(second) and all(
        a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in pairs
    )


_TORCHS = frozenset(vars(nn.Module()))


def widen(body: nn.Module) -> None:
    """float64 for the floating tensors in attributes that are neither parameters nor buffers, as states are kept."""
    made: dict[int, Any] = {}
    for part in body.modules():
        for name, value in list(vars(part).items()):
            if name not in _TORCHS:
                wide = _wide(value, made)
                if wide is not value:
                    part.__dict__[name] = wide


def _wide(value: Any, made: dict[int, Any]) -> Any:
    """The value with wide tensors; lists and dicts are changed in place and stay the objects that they are."""
    if isinstance(value, Tensor):
        if not value.is_floating_point() or value.dtype == torch.float64:
            return value
        return made.setdefault(id(value), value.detach().double())
    if isinstance(value, list):
        value[:] = [_wide(item, made) for item in value]
    elif isinstance(value, dict):
        value.update({key: _wide(item, made) for key, item in value.items()})
    elif isinstance(value, tuple):
        items = [_wide(item, made) for item in value]
        if any(a is not b for a, b in zip(items, value, strict=True)):
            return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value
