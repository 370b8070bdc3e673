"""The answer of a module: what forward returns, as a rule over what its neurons send and hold.

Behind the last neuron, a layer with weights still belongs to the network: it is read as it is (a *head*). What has none
(sums over time, votes, softmax) is the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from neurodeploy.errors import NeurodeployError, UnsupportedError
from neurodeploy.network.answer import Answer, Returned
from neurodeploy.network.expressions import Expr, Function, Linear, OverTime, Product, Series, Total

from ..torch_step.matrices import affine_of
from ..torch_step.windows import POOLS
from .choices import chosen
from .computed import Computing
from .expressed import clamped, joined, placed, reshaped, summands, term_of, total, varies
from .fold import Folded, Matching, call_of, chain_of, leaves
from .operators import CASTS
from .record import line_of
from .terms import (
    FEATURE,
    INPUT,
    NEURON,
    PICK,
    REDUCE,
    STATE,
    VIEW,
    Chain,
    Constant,
    Term,
    closure,
    features_of,
    flat,
)
from .unroll import Unrolled

_NAMES = "linear conv1d conv2d conv_transpose1d conv_transpose2d batch_norm addmm mm matmul"
_WEIGHTED = frozenset(f"aten.{name}" for name in _NAMES.split())
"""Layers with weights."""

_FUNCTIONS = {
    "aten.softmax": "softmax", "aten._softmax": "softmax", "aten.log_softmax": "log_softmax",
    "aten._log_softmax": "log_softmax", "aten.sigmoid": "sigmoid", "aten.tanh": "tanh", "aten.relu": "relu",
    "aten.exp": "exp", "aten.log": "log", "aten.abs": "abs", "aten.sqrt": "sqrt",
}  # fmt: skip
_EXTREMES = {"aten.amax": "max", "aten.amin": "min", "aten.max": "max", "aten.min": "min", "aten.argmax": "argmax"}
_PAIRS = {"aten.maximum": "max", "aten.minimum": "min"}

Read = Chain | Term
"""What the network is read at: a neuron layer, or a head."""


@dataclass(eq=False)
class Answering:
    """What is read, and how what forward returns comes from it.

    Args:
        read: in the order of the names ``#0``, ``#1`` ... that stand for them in `answer`.
        answer: None where nothing that is returned can be said as a rule.
        left_out: number of a returned value -> why it is not kept.
    """

    read: list[Read]
    answer: Answer | None
    left_out: dict[int, str]
    kept: list[int]


def answering(unrolled: Unrolled, folded: Folded) -> Answering:
    """The answer of a folded sequence."""
    rules = _Rules(unrolled, folded)
    returned: list[Returned] = []
    kept: list[int] = []
    left_out: dict[int, str] = {}
    for index, one in enumerate(unrolled.returned):
        try:
            returned.append(rules.returned(one))
            kept.append(index)
        except NeurodeployError as error:
            left_out[index] = f"{error.what}{f' ({error.found})' if error.found else ''}"
    if returned:
        return Answering(rules.read, Answer(tuple(returned)), left_out, kept)
    return Answering(rules.read, None, left_out, kept)


@dataclass(eq=False)
class _Rules:
    unrolled: Unrolled
    folded: Folded
    read: list[Read] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._matching = Matching(self.unrolled)
        self._times: dict[int, frozenset[int]] = {}
        self._known: dict[int, Expr] = {}

    # Values that are returned

    def returned(self, ids: Tensor | Constant | UnsupportedError) -> Returned:
        if isinstance(ids, UnsupportedError):
            raise ids
        if isinstance(ids, Constant):
            raise UnsupportedError("a constant is returned", allowed="what the network computes")
        terms = self.unrolled.terms
        like = features_of(terms, [ids])
        numbers, samples, _ = terms.decode(ids.numpy())
        outer = [d for d in range(ids.dim()) if like[d] != FEATURE]
        over_batch = [d for d in outer if varies(samples, d)]
        over_time = [d for d in outer if varies(numbers, d)]
        if not over_batch:  # a batch of one
            over_batch = [d for d in range(ids.dim()) if ids.shape[d] == 1 and d not in over_time][:1]
            over_batch = over_batch or over_time[:1]
        if len(over_batch) != 1 or len(over_time) > 1:
            raise UnsupportedError(
                "a value without the batch, or one that mixes it, is returned", found=list(ids.shape)
            )
        batch = over_batch[0]
        features = [d for d in range(ids.dim()) if d not in (batch, *over_time)]
        if not over_time:
            row = ids.movedim(batch, 0)[0]
            expr = self._whole(term_of(self.unrolled.terms, row))
            return placed(expr, [batch, *features], ids)
        time = over_time[0]
        if time == batch:
            return self._merged(ids, time)
        steps = [term_of(self.unrolled.terms, row) for row in ids.movedim((time, batch), (0, 1))[:, 0]]
        return placed(self._in_each(steps), [time, batch, *features], ids)

    def _merged(self, ids: Tensor, dim: int) -> Returned:
        """Batch times time, or time times batch, in one dimension."""
        steps, flatly = self.folded.last + 1, ids.movedim(dim, 0)
        samples = len(flatly) // steps
        if dim != 0 or len(flatly) != samples * steps:
            raise UnsupportedError("time and batch are mixed in what is returned", found=list(ids.shape))
        for batch_outside in (True, False):
            rows = flatly.reshape(*((samples, steps) if batch_outside else (steps, samples)), *flatly.shape[1:])
            rows = rows.transpose(0, 1) if batch_outside else rows
            numbers = self.unrolled.terms.decode(rows.numpy())[0]
            if (numbers == numbers[:, :1]).all():
                expr = self._in_each([term_of(self.unrolled.terms, row) for row in rows[:, 0]])
                rank = 2 + len(expr.features)
                order = (1, 0, *range(2, rank)) if batch_outside else None
                shape = tuple(ids.shape[1:])
                if expr.features != shape:
                    expr = reshaped(expr, shape)
                return Returned(expr, order, merged=True)
        raise UnsupportedError("time and batch are mixed in what is returned", found=list(ids.shape))

    def _in_each(self, steps: Sequence[Term]) -> Expr:
        """The expression of each step, of values that are the same in all of them."""
        last = self.folded.last
        if len(steps) != last + 1:
            raise UnsupportedError("some steps only are returned", found=f"{len(steps)} of {last + 1}")
        for step, term in enumerate(steps):
            if not self._matching.same(steps[-1], term, last - step):
                raise UnsupportedError(
                    f"{line_of(term.node)}: what is returned of a step is not the same in every step",
                    found=f"{term.name} in step {step}, {steps[-1].name} in step {last}",
                )
        if self._span(steps[-1]) != frozenset([last]):
            raise UnsupportedError("what is returned of a step mixes several", found=line_of(steps[-1].node))
        return self._local(steps[-1])

    # Terms as expressions

    def _span(self, term: Term) -> frozenset[int]:
        """The steps of the neurons that a term is made of; -1 for the input."""
        if term.index not in self._times:
            self._times[term.index] = frozenset(-1 if leaf.op == INPUT else call_of(leaf) for leaf in leaves(term))
        return self._times[term.index]

    def _whole(self, term: Term) -> Expr:
        """The expression, without time, of a term that may join several steps."""
        if term.index not in self._known:
            self._known[term.index] = self._joined(term)
        return self._known[term.index]

    def _joined(self, term: Term) -> Expr:
        extreme = self._extreme(term)
        if extreme is not None:
            return extreme
        head = self._head(term)
        if head is not None:
            return OverTime(self._in_each(head), "mean")
        sums = self._sum(term)
        if sums is not None:
            return self._of_sum(*sums)
        return self._applied(term, self._whole)

    def _head(self, term: Term) -> list[Term] | None:
        """A layer with weights on a mean over time, as the same layer in each step, of which the mean is the same."""
        mean = term.terms[0] if len(term.terms) == 1 else None
        if mean is None or term.name not in _WEIGHTED or mean.op != REDUCE or mean.args[0] != "mean":
            return None
        steps = sorted(mean.args[1:], key=lambda t: max(self._span(t), default=0))
        if len(steps) != self.folded.last + 1 or any(one.shape != mean.shape for one in steps):
            return None
        terms = self.unrolled.terms
        args = [tuple(one if a is mean else a for a in term.args) for one in steps]
        made = [terms.make(term.op, own, term.shape, one.samples, term.node, named=term.named)
                for own, one in zip(args, steps, strict=True)]  # fmt: skip
        return made if all(map(self._weighted, made)) else None

    def _extreme(self, term: Term) -> Expr | None:
        """The largest or smallest over all steps."""
        parts: list[Term] = []
        how = _PAIRS.get(term.name) if term.op != REDUCE else (term.args[0] if term.args[0] in ("max", "min") else None)
        if how is None:
            return None
        stack = list(term.args[1:] if term.op == REDUCE else term.args)
        bound: float | None = None
        while stack:
            one = self._matching.plain(stack.pop())
            if isinstance(one, Constant) and bool((one.value == one.value.reshape(-1)[0]).all()) and bound is None:
                bound = float(one.value.reshape(-1)[0])  # what a loop starts from
                continue
            if not isinstance(one, Term):
                return None
            if _PAIRS.get(one.name) == how:
                stack.extend(one.args)
            else:
                parts.append(one)
        steps = sorted(parts, key=lambda t: max(self._span(t), default=0))
        found: Expr = OverTime(self._in_each(steps), "max" if how == "max" else "min")
        return found if bound is None else Function(found, f"clamp_{'min' if how == 'max' else 'max'}", None, bound)

    def _sum(self, term: Term) -> tuple[list[tuple[float, Term]], Any] | None:
        """Terms of single steps with their weights, and a constant, that a term is the sum of; None for others."""
        if len(self._span(term)) <= 1:
            return [(1.0, term)], None
        total: dict[int, float] = {}
        constant: Any = None
        stack: list[tuple[float, Any]] = [(1.0, term)]
        while stack:
            factor, one = stack.pop()
            one = self._matching.plain(one)
            if isinstance(one, (int, float)):
                constant = factor * one if constant is None else constant + factor * one
                continue
            if isinstance(one, Constant):
                value = factor * one.value.double().numpy()
                constant = value if constant is None else constant + value
                continue
            single = len(self._span(one)) <= 1
            parts = None if single and self._weighted(one) else summands(one)
            if single and (parts is None or any(isinstance(p, Term) and p.shape != one.shape for _, p in parts)):
                total[one.index] = total.get(one.index, 0.0) + factor
                continue
            if parts is None:
                return None
            stack += [(factor * weight, part) for weight, part in parts]
        found = self.unrolled.terms.found
        return [(weight, found[index]) for index, weight in total.items()], constant

    def _of_sum(self, parts: Sequence[tuple[float, Term]], constant: Any) -> Expr:
        """A sum of terms of single steps, each class of them over time."""
        last = self.folded.last
        classes: list[tuple[Term, dict[int, float]]] = []
        for weight, term in sorted(parts, key=lambda p: -max(self._span(p[1]), default=0)):
            step = max(self._span(term), default=last)
            for reference, weights in classes:
                shift = max(self._span(reference), default=last) - step
                if self._matching.same(reference, term, shift):
                    weights[step] = weights.get(step, 0.0) + weight
                    break
            else:
                classes.append((term, {step: weight}))
        exprs = [self._over_time(self._local(term), weights) for term, weights in classes]
        offset = None
        if constant is not None and np.any(constant):
            offset = np.broadcast_to(np.asarray(constant, np.float64), exprs[0][1].features).copy()
        if len(exprs) == 1 and exprs[0][0] == 1.0 and offset is None:
            return exprs[0][1]
        return Total(tuple(exprs), offset)

    def _over_time(self, expr: Expr, weights: dict[int, float]) -> tuple[float, Expr]:
        steps = self.folded.last + 1
        each = np.array([weights.get(t, 0.0) for t in range(steps)])
        if (each == each[0]).all():
            if steps > 1 and np.isclose(each[0] * steps, 1.0, rtol=1e-12):
                return 1.0, OverTime(expr, "mean")
            return float(each[0]), OverTime(expr, "sum")
        if not each[:-1].any():
            return float(each[-1]), OverTime(expr, "last")
        return 1.0, OverTime(expr, "weights", each)

    def _local(self, term: Term) -> Expr:
        """The expression, with time, of a term of one step."""
        if term.op in (NEURON, STATE):
            if term.op == STATE and term.args[1] != "v":
                raise UnsupportedError(f"the synaptic current of {chain_of(term).path!r} is returned")
            return Series(self._name(chain_of(term)), "spikes" if term.op == NEURON else "potential", term.shape)
        if term.op == INPUT:
            raise UnsupportedError("the input itself is returned")
        if self._weighted(term):
            return Series(self._name(term), "potential", term.shape)
        return self._applied(term, self._local)

    def _weighted(self, term: Term) -> bool:
        """Whether a term is a layer with weights, or a sum of such: part of the network."""
        if term.name in _WEIGHTED and any(isinstance(a, Constant) for a in flat(term.args)):
            return all(self._linear(t) for t in term.terms)
        if term.name in POOLS:  # of spikes: a population
            return self._linear(term) and not any(t.name in _WEIGHTED for t in closure(term))
        if term.name in ("aten.add", "aten.sub") and len(term.terms) == 2:
            return all(self._weighted(part) for part in term.terms)
        return False

    def _linear(self, term: Term) -> bool:
        """Whether what a layer with weights receives is a signal of the network: neither a function nor a potential."""
        return all(leaf.op == NEURON for leaf in leaves(term)) and not any(
            t.op == REDUCE or (t.name in _FUNCTIONS and any(n.name in _WEIGHTED for n in closure(t)))
            for t in closure(term)
        )

    def _name(self, read: Read) -> str:
        if isinstance(read, Term):
            last, read = self.folded.last, self._of_last(read)
            for place, other in enumerate(self.read):
                if isinstance(other, Term) and self._matching.same(other, read, last - max(self._span(read))):
                    return f"#{place}"
        elif read in self.read:
            return f"#{self.read.index(read)}"
        self.read.append(read)
        return f"#{len(self.read) - 1}"

    def _of_last(self, term: Term) -> Term:
        """The same value in the last step, which is the one that is written."""
        last, step = self.folded.last, max(self._span(term), default=-1)
        if step in (-1, last):
            return term
        for other in reversed(self.unrolled.terms.found):
            alike = other.op == term.op and other.shape == term.shape
            if alike and max(self._span(other), default=-1) == last and self._matching.same(other, term, last - step):
                return other
        raise UnsupportedError(
            f"{line_of(term.node)}: a layer is read in some steps, and not in the last", found=f"in step {step}"
        )

    def _applied(self, term: Term, of: Callable[[Term], Expr]) -> Expr:
        """An operator on what its arguments are."""
        name, line = term.name, f"{line_of(term.node)}: " if line_of(term.node) else ""
        if term.op == VIEW:
            return reshaped(of(term.args[0]), term.shape)
        if term.op == PICK and len(term.args[0]) > 1:
            return joined(term, of)
        if (choice := chosen(term, of)) is not None:
            return choice
        if name in CASTS:  # of flags to numbers
            return of(term.args[0])
        if name in _FUNCTIONS:
            dim = int(term.args[1]) - 1 if "softmax" in name else None
            return Function(of(term.args[0]), _FUNCTIONS[name], dim)
        if name in _EXTREMES and len(term.args) > 1:
            inner = of(term.args[0])
            for d in sorted(flat(term.args[1]), reverse=True):
                inner = Function(inner, _EXTREMES[name], int(d) - 1)
            return reshaped(inner, term.shape)
        if name in ("aten.clamp", "aten.clamp_min", "aten.clamp_max"):
            return clamped(term, of)
        if name in ("aten.pow", "aten.square"):
            value = 2.0 if name == "aten.square" else term.args[1]
            if isinstance(value, (int, float)):
                return Function(of(term.args[0]), "power", None, float(value))
        if name == "aten.mul" and len(term.terms) == 2 and all(t.shape == term.shape for t in term.terms):
            return Product(of(term.args[0]), of(term.args[1]))
        parts = summands(term)
        if parts is not None and all(not isinstance(p, Term) or p.shape == term.shape for _, p in parts):
            return total(parts, of, term.shape)
        if len(term.terms) == 1 and term.op != REDUCE:
            base = term.terms[0]
            try:
                matrix, offset = affine_of(
                    lambda x: Computing({base.index: x}, len(x)).value(term), base.shape, term.shape, name
                )
                return Linear(of(base), matrix, offset, term.shape)
            except (UnsupportedError, RuntimeError, TypeError, IndexError):  # not linear, or not of floats
                pass
        raise UnsupportedError(
            f"{line}{name if term.op != REDUCE else 'steps joined otherwise than by sum, mean, max or min'} behind the "
            "last neuron, which a file cannot hold as a rule",
            found=f"of {', '.join(map(str, term.shape)) or 'one value'}",
            allowed="sums, means, maxima over time, votes, linear layers, softmax and the like",
            hint="return what it is applied to, and compute it outside of the module",
        )
