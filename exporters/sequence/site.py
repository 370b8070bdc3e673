"""What a neuron layer is while a sequence is recorded: two opaque operators in place of all that it computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor

CALL, STATE = "neurodeploy.call", "neurodeploy.state"
"""Operators that stand for a call of a neuron layer, and for a state that it returns."""

STEP = -1
"""The time axis of a call that computes one step."""


@dataclass
class Site:
    """One neuron layer during the recording; a framework's ``opaque`` calls it in place of the layer.

    Args:
        path: of the module.
        by_hand: whether a call that is handed no state starts from the layer's initial one.
        resets: how often its state was set back so far.
    """

    path: str
    by_hand: bool = False
    resets: int = 0
    last: Tensor | None = field(default=None, repr=False)

    def __call__(self, x: Tensor, handed: Sequence[Tensor] = (), axis: int = STEP, *, by_hand: bool = False) -> Tensor:
        """What the layer sends for ``x``.

        Args:
            x: ``[batch, *shape]``, or a sequence with time at ``axis`` (0 or 1) and the batch beside it.
            handed: states that the code around hands in.
            by_hand: whether a state was handed in, be it an empty one, which is the initial one.
        """
        self.last = _call()(x, list(handed), self.path, axis, -1 if self.by_hand or by_hand else self.resets)
        return self.last

    def state(self, output: Tensor, name: str) -> Tensor:
        """State ``"v"`` (potential) or ``"i"`` (synaptic current) after a call, of every step of its output."""
        return _state()(output, name)

    def reset(self) -> None:
        """The state is set back to what it was before the first step."""
        self.resets += 1
        self.last = None


@cache
def _call() -> Callable[..., Tensor]:
    made = torch.library.custom_op(
        "neurodeploy::call",
        lambda x, handed, path, axis, resets: x.clone(),
        mutates_args=(),
        schema="(Tensor x, Tensor[] handed, str path, int axis, int resets) -> Tensor",
    )
    made.register_fake(lambda x, handed, path, axis, resets: torch.empty_like(x))
    return made


@cache
def _state() -> Callable[..., Tensor]:
    made = torch.library.custom_op(
        "neurodeploy::state",
        lambda output, name: output.clone(),
        mutates_args=(),
        schema="(Tensor output, str name) -> Tensor",
    )
    made.register_fake(lambda output, name: torch.empty_like(output))
    return made
