"""The value of terms as torch computes it, ``[batch, *shape]`` each, from that of others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurodeploy.errors import UnsupportedError

from ..torch_step.wide import in_float64, wider
from .record import line_of
from .terms import CONSTANT, INPUT, NEURON, PICK, REDUCE, STATE, VIEW, Constant, Term

_JOINS: Mapping[str, Any] = {"sum": torch.sum, "mean": torch.mean, "max": torch.amax, "min": torch.amin}


_MASKS = {"aten.where": 0, "aten.masked_fill": 1}
"""Operator -> its argument that must be flags; outcomes of comparisons are numbers where neurons send them."""


def _flags(value: Any) -> Any:
    return value != 0 if isinstance(value, Tensor) and value.dtype != torch.bool else value


class Computing:
    """Computes terms, each once.

    Args:
        given: index of a term -> its value ``[batch, *shape]``.
        batch: number of samples.
        at_rest: whether neurons and inputs that are not given are silent; else they are refused.
    """

    def __init__(self, given: Mapping[int, Tensor], batch: int, *, at_rest: bool = False) -> None:
        self._known: dict[int, Tensor] = dict(given)
        self._batch, self._at_rest = batch, at_rest

    def value(self, term: Term) -> Tensor:
        """The value of a term, of all samples."""
        found = self._of(term)
        return found.expand(self._batch, *term.shape) if found.shape[0] != self._batch else found

    def _of(self, term: Term) -> Tensor:
        stack = [term]
        while stack:  # no recursion: terms of many steps hang together in long chains
            one = stack[-1]
            if one.index in self._known:
                stack.pop()
                continue
            missing = [t for t in one.terms if t.index not in self._known]
            if missing and one.op not in (INPUT, NEURON, STATE):
                stack += missing
                continue
            self._known[one.index] = self._made(one)
            stack.pop()
        return self._known[term.index]

    def _made(self, term: Term) -> Tensor:
        if term.op in (INPUT, NEURON, STATE):
            if self._at_rest:
                return torch.zeros((1, *term.shape), dtype=torch.float64)
            raise UnsupportedError(f"{line_of(term.node)}: the host is not given what it computes with")
        if term.op == CONSTANT:
            return self._number(term.args[0]).expand(term.shape)[None]
        if term.op == VIEW:
            before = self._known[term.args[0].index]
            return before.reshape(before.shape[0], *term.shape)
        if term.op == PICK:
            return self._picked(term)
        if term.op == REDUCE:
            joined: Tensor = _JOINS[term.args[0]](torch.stack([self.value(t) for t in term.args[1:]]), 0)
            return joined
        args = self._argument(term.args)
        if term.name in _MASKS:
            args[_MASKS[term.name]] = _flags(args[_MASKS[term.name]])
        with torch.no_grad(), in_float64():
            made = term.op(*map(wider, args), **{k: self._argument(v) for k, v in term.named})
        result: Tensor = made[0] if isinstance(made, (tuple, list)) else made
        return result if result.dim() == len(term.shape) + 1 else result.expand(1, *term.shape)

    def _picked(self, term: Term) -> Tensor:
        sources, which, inside = term.args
        sizes = np.array([source.size for source in sources])
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        flat = [self.value(source).reshape(self._batch, source.size).double() for source in sources]
        whole = flat[0] if len(flat) == 1 else torch.cat(flat, 1)
        at = starts[which] + inside
        if len(at) == whole.shape[1] and (at == np.arange(len(at))).all():
            return whole.reshape(self._batch, *term.shape)
        if len(at) and (np.diff(at) == 1).all():
            return whole[:, int(at[0]) : int(at[-1]) + 1].reshape(self._batch, *term.shape)
        index = at.reshape(term.shape)
        for d in range(index.ndim):  # what is repeated along a dimension is taken once
            if index.shape[d] > 1 and (index == index.take([0], axis=d)).all():
                index = index.take([0], axis=d)
        few = whole[:, torch.from_numpy(index.reshape(-1))].reshape(self._batch, *index.shape)
        return few.expand(self._batch, *term.shape)

    def _argument(self, value: Any) -> Any:
        if isinstance(value, Term):
            return self._known[value.index]
        if isinstance(value, Constant):
            return self._number(value)
        if isinstance(value, (tuple, list)):
            return [self._argument(item) for item in value]
        return value

    @staticmethod
    def _number(value: Constant) -> Tensor:
        return value.value.double() if value.value.is_floating_point() else value.value
