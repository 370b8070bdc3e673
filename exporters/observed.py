"""What the neuron modules of a running module did: calls, told by `framework.Note`, joined to sequences of steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.arrays import Array

from .framework import Note
from .usage import Usage

_INSIDE = object()
"""Stands for the state of a module that keeps it by itself."""


@dataclass(eq=False)
class _Call:
    """One call of a module: ``outputs`` are ``[time, batch, ...]``, of one step where the module computes one."""

    step: int
    outputs: Tensor
    potentials: Tensor | Callable[[], Tensor | None] | None
    time_axis: int | None
    state_in: list[Any]
    state_out: list[Any]


@dataclass(eq=False)
class Observed:
    """The calls of one neuron module, in order.

    Args:
        path: of the module.
        usage: of the run.
    """

    path: str
    usage: Usage
    step: int = 0
    """Call of the whole module that runs."""
    calls: list[_Call] = field(default_factory=list)

    @property
    def note(self) -> Note:
        """To be called after each call."""

        def note(
            outputs: Tensor,
            potentials: Tensor | Callable[[], Tensor | None] | None = None,
            time_axis: int | None = None,
            state_in: Any = None,
            state_out: Any = None,
        ) -> None:
            kept = potentials.detach().clone() if isinstance(potentials, Tensor) else potentials
            states = [[_INSIDE] if state is None else list(tensors(state)) for state in (state_in, state_out)]
            self.calls.append(_Call(self.step, _time_first(outputs, time_axis).clone(), kept, time_axis, *states))

        return note

    def sequences(self) -> list[tuple[Array, Array | None]]:
        """Outputs and potentials of each chain of calls, ``[time, batch, neurons]``; nothing where it was not called.

        Raises:
            UnsupportedError: it was not called exactly once a step with each of its states.
        """
        return [self._joined(chain) for chain in self._chains()] if self.calls else []

    def _joined(self, chain: Sequence[_Call]) -> tuple[Array, Array | None]:
        outputs = _flat(torch.cat([call.outputs for call in chain]))
        potentials = []
        for call in chain:
            told = call.potentials() if callable(call.potentials) else call.potentials
            if told is None:
                return outputs, None
            potentials.append(_time_first(told, call.time_axis).expand(call.outputs.shape))
        return outputs, _flat(torch.cat(potentials))

    def _chains(self) -> list[list[_Call]]:
        steps, samples = self.usage.steps, self.usage.samples
        shapes = {tuple(call.outputs.shape[1:]) for call in self.calls}
        several, rest = divmod(sum(len(call.outputs) for call in self.calls), steps)
        if rest or not several or any(shape[:1] != (samples,) for shape in shapes):
            raise self._refusal()
        if several == 1 and len(shapes) == 1:
            return [self.calls]
        linked = self._linked()
        if any(len({call.outputs.shape[1:] for call in chain}) > 1 for chain in linked):
            raise self._refusal()
        if len(linked) == several and all(sum(len(c.outputs) for c in chain) == steps for chain in linked):
            return linked
        ordered = self._ordered(several)
        place = {id(call): number for number, chain in enumerate(ordered) for call in chain}
        if ordered and all(len({place[id(call)] for call in chain}) == 1 for chain in linked):
            return ordered
        raise self._refusal()

    def _linked(self) -> list[list[_Call]]:
        """Calls that got a state which a call before had returned."""
        chains: list[list[_Call]] = []
        owner: dict[int, list[_Call]] = {}
        for call in self.calls:
            before = next((owner[id(state)] for state in call.state_in if id(state) in owner), None)
            if before is None:
                before = []
                chains.append(before)
            before.append(call)
            owner |= {id(state): before for state in call.state_out}
        return chains

    def _ordered(self, several: int) -> list[list[_Call]]:
        """The first calls in each step of a module that computes one step, the second calls, and so on."""
        each = [[call for call in self.calls if call.step == step] for step in range(self.usage.steps)]
        if self.usage.axis != "step" or any(len(calls) != several for calls in each):
            return []
        return [list(chain) for chain in zip(*each, strict=True)]

    def _refusal(self) -> UnsupportedError:
        shapes = sorted({str(list(call.outputs.shape)) for call in self.calls})
        return UnsupportedError(
            f"the neuron {self.path or 'itself'!r} is not called exactly once in a step",
            found=f"called {len(self.calls)} times in {self.usage.steps} steps of {self.usage.samples} samples;"
            f" each call [time, batch, ...] = {' or '.join(shapes)}",
            allowed="one call a step, or one for the whole sequence, with each of its states",
            hint="use a neuron of its own for each place; check --time-axis",
        )


def tensors(value: Any) -> Iterator[Tensor]:
    """Those in tuples, lists and mappings, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors(item)


def as_array(value: Tensor) -> Array:
    """A tensor as an array of its own; half precision, which numpy does not know or use, as float32."""
    value = value.detach()
    array: Array = (value.float() if value.dtype in (torch.float16, torch.bfloat16) else value).numpy().copy()
    return array


def _time_first(value: Tensor, time_axis: int | None) -> Tensor:
    value = value.detach()
    return value[None] if time_axis is None else value.movedim(time_axis, 0)


def _flat(value: Tensor) -> Array:
    return np.ascontiguousarray(as_array(value.reshape(*value.shape[:2], -1)))
