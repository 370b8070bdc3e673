"""The columns of a T-RevSNN run so that a backward pass needs the last states only, however many columns there are.

Each state is what it was before, weighted, and something of states that are known by then,

    c_l^t = F_l^t(c_{l-1}^t, c_{l+1}^{t-1}) + alpha_l^t c_l^{t-1}

so that, from the top level down, ``c_l^{t-1} = (c_l^t - F_l^t(c_{l-1}^t, c_{l+1}^{t-1})) / alpha_l^t`` gives back the
states of the column before: memory grows with the levels L, not with the columns T. One level at a time is computed
again with its graph. Errors of rounding grow as ``alpha^-T``, and one that moves a state across a threshold would give
another spike, so that states are summed in float64 here, whatever the levels compute in, and heard in their type.

After: Hu et al., "High-performance temporal reversible spiking neural networks with O(L) training memory and O(1)
inference cost", ICML 2024 (arXiv 2405.16466); Gomez et al., "The reversible residual network", NeurIPS 2017.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

States = tuple[Tensor, ...]
"""c_l of each level, ``[batch, C_l, height_l, width_l]``."""


class Step:
    """Column t: its levels F_l, weights alpha_l and what it sees.

    Args:
        levels: F_l, called with (below, above).
        alphas: alpha_l, ``[1, C_l, 1, 1]``.
        shown: through which each state goes, as it is.
        sees: index of its x among those of the sequence.
        parameters: of each level, in the order in which gradients come.
    """

    def __init__(
        self,
        levels: Sequence[Callable[[Tensor, Tensor | None], Tensor]],
        alphas: Sequence[Tensor],
        shown: Sequence[Callable[[Tensor], Tensor]],
        sees: int,
        parameters: Sequence[Sequence[Tensor]],
    ) -> None:
        self.levels, self.alphas, self.shown, self.sees, self.parameters = levels, alphas, shown, sees, parameters

    def run(self, x: Tensor, before: States | None, sums: torch.dtype | None = None) -> States:
        """The states of this column.

        Args:
            x: that it sees.
            before: states of the column before; None in the first one, where all were 0.
            sums: type of the states; None for that of x.
        """
        states: list[Tensor] = []
        for number, level in enumerate(self.levels):
            above = before[number + 1].to(x.dtype) if before is not None and number + 1 < len(before) else None
            found = level(states[-1].to(x.dtype) if states else x, above)
            found = found if sums is None else found.to(sums)
            found = found if before is None else found + self.alphas[number] * before[number]
            states.append(self.shown[number](found))
        return tuple(states)


def ordinary(steps: Sequence[Step], xs: Sequence[Tensor]) -> list[States]:
    """The states of each column, by ordinary automatic differentiation."""
    states: States | None = None
    found = []
    for step in steps:
        states = step.run(xs[step.sees], states)
        found.append(states)
    return found


def reversible(steps: Sequence[Step], xs: Sequence[Tensor], shown: Sequence[int]) -> list[Tensor]:
    """The top state of each column in ``shown``, the last one among them, with O(L) memory for the backward pass."""
    parameters: dict[int, Tensor] = {}
    for step in steps:
        for tensor in (*step.alphas, *(p for level in step.parameters for p in level)):
            parameters.setdefault(id(tensor), tensor)
    known = tuple(parameters.values())
    return list(_Columns.apply(steps, tuple(shown), known, *xs, *known))  # type: ignore[no-untyped-call]


class _Columns(torch.autograd.Function):
    """xs and all parameters go in, the shown top states come out."""

    @staticmethod
    def forward(
        ctx: Any, steps: Sequence[Step], shown: tuple[int, ...], parameters: tuple[Tensor, ...], *tensors: Tensor
    ) -> States:
        states: States | None = None
        tops, sights = [], len(tensors) - len(parameters)
        with torch.no_grad():
            for number, step in enumerate(steps):
                states = step.run(tensors[step.sees], states, torch.float64)
                if number in shown:
                    tops.append(states[-1].to(tensors[0].dtype))
        assert states is not None
        ctx.steps, ctx.shown, ctx.sights, ctx.parameters = steps, shown, sights, parameters
        ctx.autocast = {
            "device_type": tensors[0].device.type,
            "enabled": torch.is_autocast_enabled(tensors[0].device.type),
            "dtype": torch.get_autocast_dtype(tensors[0].device.type),
        }
        ctx.save_for_backward(*tensors[:sights], *states)
        return tuple(tops)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        saved = ctx.saved_tensors
        back = _Backward(saved[: ctx.sights], saved[ctx.sights :], ctx.parameters)
        given = dict(zip(ctx.shown, gradients, strict=True))
        with torch.autocast(**ctx.autocast):
            for number in reversed(range(len(ctx.steps))):
                back.column(ctx.steps[number], given.get(number), first=number == 0)
        of_parameters = [back.found.get(id(p)) for p in ctx.parameters]
        return (None, None, None, *back.of_xs, *of_parameters)


class _Backward:
    """States and their gradients, from the last column to the first."""

    def __init__(self, xs: Sequence[Tensor], states: Sequence[Tensor], parameters: Sequence[Tensor]) -> None:
        self.xs, self.states, self.kind = xs, [s.detach() for s in states], xs[0].dtype
        self.of_xs: list[Tensor | None] = [None] * len(xs)
        self.of_states: list[Tensor | None] = [None] * len(states)
        self.found: dict[int, Tensor] = {}
        self.wanted = {id(p) for p in parameters if p.requires_grad}

    def column(self, step: Step, given: Tensor | None, *, first: bool) -> None:
        """From after column ``step`` to before it; ``given``: gradient of its top state from outside."""
        top = len(self.states) - 1
        if given is not None:
            self.of_states[top] = _sum(self.of_states[top], given)
        earlier: list[Tensor | None] = [None] * len(self.states)
        for number in reversed(range(len(self.states))):
            gradient = self.of_states[number]
            if gradient is None:
                gradient = torch.zeros_like(self.states[number], dtype=self.kind)
            below = self.states[number - 1].to(self.kind) if number else self.xs[step.sees]
            above = self.states[number + 1].to(self.kind) if not first and number < top else None
            made, (of_below, of_above) = self._again(step, number, (below, above), gradient)
            if number:
                self.of_states[number - 1] = _sum(self.of_states[number - 1], of_below)
            else:
                self.of_xs[step.sees] = _sum(self.of_xs[step.sees], of_below)
            if first:
                self._add(step.alphas[number], torch.zeros_like(step.alphas[number]))
                continue
            if number < top:
                earlier[number + 1] = _sum(earlier[number + 1], of_above)
            alpha = step.alphas[number].detach()
            self.states[number] = (self.states[number] - made) / alpha
            of_alpha = (gradient * self.states[number]).sum((0, 2, 3), keepdim=True)
            self._add(step.alphas[number], of_alpha.to(alpha.dtype))
            earlier[number] = _sum(earlier[number], alpha * gradient)
        self.of_states = earlier

    def _again(
        self, step: Step, number: int, heard: tuple[Tensor, Tensor | None], gradient: Tensor
    ) -> tuple[Tensor, list[Tensor | None]]:
        """F_l once more and its gradients: its value, and the gradients of what it heard."""
        inputs = [None if h is None else h.detach().requires_grad_() for h in heard]
        known = [i for i in inputs if i is not None]
        parameters = [p for p in step.parameters[number] if id(p) in self.wanted]
        with torch.enable_grad():
            below = inputs[0]
            assert below is not None
            made = step.levels[number](below, inputs[1])
            found = torch.autograd.grad(made, [*known, *parameters], gradient.to(made.dtype), allow_unused=True)
        for parameter, of_parameter in zip(parameters, found[len(known) :], strict=True):
            if of_parameter is not None:
                self._add(parameter, of_parameter)
        of_inputs = iter(found[: len(known)])
        return made.detach(), [None if i is None else next(of_inputs) for i in inputs]

    def _add(self, parameter: Tensor, gradient: Tensor) -> None:
        if id(parameter) in self.wanted:
            before = self.found.get(id(parameter))
            self.found[id(parameter)] = gradient if before is None else before + gradient


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return a if b is None else b if a is None else a + b
