"""What a recorded sequence computes, as terms: one for each value of one step.

Whatever a module does with its sequences - loops over time, ``[T * B, ...]``, permuted or stacked tensors, lists -
every element of every tensor is one number of one sample in one step. A `Term` is such a value of all samples,
``[batch, *shape]``: an input of one step, a call of a neuron in one step, or an operator on other terms. Tensors of the
recording are carried as the *identities* of their elements: an int64 tensor of the same shape that names term, sample
and position, so that moving data around (views, stacks, slices, permutations) is done by PyTorch itself, on identities.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.arrays import Array

INPUT, NEURON, STATE, CONSTANT, PICK, VIEW, REDUCE = "input", "neuron", "state", "constant", "pick", "view", "reduce"
"""What a term can be besides an operator of ATen."""


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor that depends on nothing but parameters, as an operator takes it; equal where `key` is."""

    value: Tensor
    key: Hashable


@dataclass(frozen=True, eq=False)
class Chain:
    """The calls of one neuron layer with one state, in order.

    Args:
        path: of the module.
        number: 1 for the first such chain of the module, 2 for the next.
    """

    path: str
    number: int

    @property
    def site(self) -> str:
        """What stands for the layer in the captured step."""
        return self.path if self.number == 1 else f"{self.path}_{self.number}"


@dataclass(frozen=True, eq=False)
class Term:
    """One value of one step, of all samples.

    Args:
        index: terms come after those that they are made of.
        first: identity of position 0 in sample 0; those of a sample follow each other.
        op: an ATen operator, or one of the words above.
        args: what it is applied to: terms, `Constant`, and plain arguments, nested as the operator takes them.
        shape: of a sample.
        samples: in the batch.
        node: the operator of the recording that made it first.
        time: step of an input (None for a static one), number of the call of a neuron.
        named: keyword arguments.
        terms: those among its arguments.
        latest: last of the steps of the inputs, neurons and states that it is made of within its step; infinite with a
            static input, minus infinity where there are none.
    """

    index: int
    first: int
    op: Any
    args: tuple[Any, ...]
    shape: tuple[int, ...]
    samples: int
    node: fx.Node
    time: int | None = None
    named: tuple[tuple[str, Any], ...] = ()
    terms: tuple[Term, ...] = ()
    latest: float = -math.inf

    @cached_property
    def size(self) -> int:
        """Numbers in a sample."""
        return math.prod(self.shape)

    @cached_property
    def name(self) -> str:
        """The operator without its overload, as ``aten.conv2d``."""
        return str(self.op).rpartition(".")[0] if "." in str(self.op) else str(self.op)


def terms_in(value: Iterable[Any], found: list[Term]) -> list[Term]:
    """The terms that nested tuples and lists hold, in order, added to those ``found``."""
    for one in value:
        if isinstance(one, Term):
            found.append(one)
        elif isinstance(one, (tuple, list)):
            terms_in(one, found)
    return found


def flat(value: Any) -> Iterable[Any]:
    """All that nested tuples and lists hold, in order."""
    if isinstance(value, (tuple, list)):
        for item in value:
            yield from flat(item)
    else:
        yield value


@dataclass
class Terms:
    """All terms of a recording, the same ones only once."""

    found: list[Term] = field(default_factory=list)
    _by_key: dict[Hashable, Term] = field(default_factory=dict)
    _end: int = 0
    _steps: list[frozenset[Hashable]] = field(default_factory=list)
    _codes: list[int] = field(default_factory=list)
    _code: dict[frozenset[Hashable], int] = field(default_factory=dict)
    _now: frozenset[Hashable] = frozenset()
    _tables: tuple[Array, Array, Array] = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, bool))

    def make(
        self, op: Any, args: tuple[Any, ...], shape: Sequence[int], samples: int, node: fx.Node, **more: Any
    ) -> Term:
        """The term of an operator on arguments; the one that there is where it was made before."""
        time, named = more.get("time"), more.get("named", ())
        key = (op, _key(args), _key(named), tuple(shape), samples, time, more.get("key"))
        if key not in self._by_key:
            parts = tuple(terms_in([v for _, v in named], terms_in(args, [])))
            latest = _latest(op, time, parts)
            made = Term(len(self.found), self._end, op, args, tuple(shape), samples, node, time, named, parts, latest)
            own = made.time if made.op in (INPUT, NEURON) else None
            steps = self._now.union(*(self._steps[t.index] for t in made.terms)) if own is None else frozenset({own})
            self._steps.append(steps)
            self._codes.append(-1 if op == CONSTANT else self._code.setdefault(steps, len(self._code)))
            self._end += max(1, made.size * samples)
            self.found.append(made)
            self._by_key[key] = made
        return self._by_key[key]

    @contextmanager
    def of_step(self, step: Hashable) -> Iterator[None]:
        """What is made in here is of a step of its own, besides those that it is made of."""
        self._now = frozenset({step})
        try:
            yield
        finally:
            self._now = frozenset()

    def ids(self, term: Term) -> Tensor:
        """Identities of a term, ``[batch, *shape]``."""
        return torch.arange(term.first, term.first + term.size * term.samples).reshape(term.samples, *term.shape)

    def decode(self, ids: Array) -> tuple[Array, Array, Array]:
        """Number of the term, sample and position of every identity."""
        firsts, sizes, _ = self._table()
        numbers = np.searchsorted(firsts, ids, side="right") - 1
        inside = ids - firsts[numbers]
        return numbers, inside // sizes[numbers], inside % sizes[numbers]

    def bases(self, numbers: Array) -> tuple[Array, Array]:
        """Identity of position 0 of these terms, and whether they have several samples."""
        firsts, _, batched = self._table()
        return firsts[numbers], batched[numbers]

    def steps(self, numbers: Array) -> Array:
        """A number for the steps that each of these terms is made of, the same for the same steps; -1 for constants."""
        return np.array(self._codes)[numbers]

    def plain(self, numbers: Array) -> Array:
        """Whether these terms are constants."""
        return np.array([term.op == CONSTANT for term in self.found])[numbers]

    def _table(self) -> tuple[Array, Array, Array]:
        """First identity, size, and whether there are several samples, of every term."""
        if len(self._tables[0]) != len(self.found):
            new = self.found[len(self._tables[0]) :]
            firsts, sizes, batched = self._tables
            self._tables = (
                np.concatenate([firsts, np.array([t.first for t in new])]),
                np.concatenate([sizes, np.array([max(1, t.size) for t in new])]),
                np.concatenate([batched, np.array([t.samples > 1 for t in new])]),
            )
        return self._tables

    def constant(self, value: Tensor, node: fx.Node) -> Tensor:
        """Identities of the elements of a constant tensor, one for each number."""
        numbers, where = np.unique(value.detach().double().numpy(), return_inverse=True)
        terms = [self.make(CONSTANT, (Constant(torch.tensor(n), float(n).hex()),), (), 1, node) for n in numbers]
        firsts = torch.tensor([term.first for term in terms], dtype=torch.int64)
        return firsts[torch.from_numpy(where.reshape(-1))].reshape(value.shape)

    def numbers(self, ids: Tensor) -> Tensor | None:
        """The numbers of a tensor that holds constants alone; None for others."""
        array = ids.numpy().reshape(-1)
        if not array.size or self.found[int(self.decode(array[:1])[0][0])].op != CONSTANT:
            return None
        each, where = np.unique(array, return_inverse=True)
        terms = [self.found[int(n)] for n in self.decode(each)[0]]
        if any(term.op != CONSTANT or term.size != 1 for term in terms):
            return None
        held = np.array([float(term.args[0].value) for term in terms])
        return torch.from_numpy(held[where].reshape(ids.shape))

    def of(self, ids: Tensor) -> list[Term]:
        """The terms that occur among identities."""
        numbers = np.unique(self.decode(np.unique(ids.numpy()))[0])
        return [self.found[int(n)] for n in numbers]


def constant_of(value: Tensor, name: str | None = None) -> Constant:
    """A constant with its key: the name of a parameter or buffer, else what it holds."""
    if name is not None:
        return Constant(value, name)
    array = value.detach().cpu().contiguous()
    array = array.float() if array.dtype == torch.bfloat16 else array
    return Constant(value, (tuple(value.shape), str(value.dtype), hashlib.sha1(array.numpy().tobytes()).digest()))


def _latest(op: Any, time: int | None, parts: Sequence[Term]) -> float:
    """`Term.latest` of an operator on these terms."""
    if op in (INPUT, NEURON):
        return math.inf if time is None else time
    return max((one.latest for one in parts), default=-math.inf)


def _key(value: Any) -> Hashable:
    if isinstance(value, Term):
        return ("term", value.index)
    if isinstance(value, Constant):
        return ("constant", value.key)
    if isinstance(value, Chain):
        return ("chain", value.path, value.number)
    if isinstance(value, np.ndarray):
        return (value.shape, value.tobytes())
    if isinstance(value, (tuple, list)):
        return tuple(map(_key, value))
    return (type(value).__name__, str(value))


@dataclass(frozen=True, eq=False)
class Group:
    """Rows of several tensors that are the same values of different samples.

    Args:
        contents: for each tensor, its identities as of sample 0, ``[positions]``.
        rows: their numbers.
        sample: of each row.
        constants: of this group, one for each constant tensor.
    """

    contents: tuple[Array, ...]
    rows: Array
    sample: Array
    constants: tuple[Any, ...] = ()


FEATURE, REPEATED, MIXED, TIME = "feature", "repeated", "mixed", "time"
"""What a dimension can be: one of the features of a sample of one step; one along which all is the same; samples (and
perhaps steps); steps alone."""


def features_of(terms: Terms, tensors: Sequence[Tensor]) -> list[str]:
    """What each dimension of tensors of one shape is.

    Along time the steps of the terms change and the positions in them do not; along features the positions do, or
    layers of the same step follow each other.
    """
    decoded = []
    for ids in tensors:
        array = ids.numpy()
        numbers, samples, inside = terms.decode(array)
        plain = terms.plain(numbers)
        decoded.append((array, terms.steps(numbers), np.where(plain, -1, samples), np.where(plain, -1, inside)))
    found = []
    for d in range(tensors[0].dim()):
        if tensors[0].shape[d] < 2:
            found.append(FEATURE)
            continue
        changes = [(_varies(a, d), _varies(t, d), _moves(s, d), _moves(p, d)) for a, t, s, p in decoded]
        sample = any(change for *_, change, _ in changes)
        time = any(step for _, step, *_ in changes) and not any(position for *_, position in changes)
        same = not any(array for array, *_ in changes)
        found.append(MIXED if sample else TIME if time else REPEATED if same else FEATURE)
    return found


def _varies(values: Array, d: int) -> bool:
    return bool((values != values.take([0], axis=d)).any())


def _moves(positions: Array, d: int) -> bool:
    """Whether positions, or samples, change along a dimension; -1 is that of a constant, which has none."""
    largest = positions.max(axis=d)
    least = np.where(positions < 0, np.iinfo(np.int64).max, positions).min(axis=d)
    return bool(((largest >= 0) & (least != largest)).any())


def grouped(terms: Terms, tensors: Sequence[Tensor], what: str) -> list[Group]:
    """Sort the rows of tensors ``[rows, positions]`` into values and their samples.

    Raises:
        UnsupportedError: rows that hold several samples.
    """
    contents, samples = [], None
    for ids in tensors:
        array = ids.numpy()
        numbers, sample, inside = terms.decode(array)
        bases, batched = terms.bases(numbers)
        own = np.where(batched, sample, -1)
        whose = own.max(axis=1, initial=-1) if own.size else np.full(len(own), -1)
        if (batched & (own != whose[:, None])).any():
            raise _mixed(what)
        if samples is not None and ((samples != whose) & (samples >= 0) & (whose >= 0)).any():
            raise _mixed(what)
        samples = whose if samples is None else np.maximum(samples, whose)
        contents.append(bases + inside)
    assert samples is not None
    keys: dict[bytes, list[int]] = {}
    joined = np.concatenate(contents, axis=1)
    for row, content in enumerate(joined):
        keys.setdefault(content.tobytes(), []).append(row)
    groups = []
    for rows in keys.values():
        each = np.array(rows)
        groups.append(Group(tuple(content[rows[0]] for content in contents), each, np.maximum(samples[each], 0)))
    return groups


class MixedError(UnsupportedError):
    """Samples of a batch, or steps, that an operator or a neuron takes together: perhaps time lies elsewhere."""


def _mixed(what: str) -> MixedError:
    return MixedError(
        f"{what} mixes the samples of a batch, or several steps",
        allowed="each sample by itself, and layers of one step",
        hint="check which dimension of the data is the batch and which is time (--time-axis)",
    )


def closure(term: Term) -> list[Term]:
    """A term and those that it is made of within its step (not through neurons)."""
    seen: dict[int, Term] = {}
    stack = [term]
    while stack:
        one = stack.pop()
        if one.index not in seen:
            seen[one.index] = one
            if one.op not in (NEURON, STATE, INPUT):
                stack.extend(one.terms)
    return list(seen.values())
