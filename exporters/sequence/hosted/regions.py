"""Which values of a recording a chip's synapses can make of what arrives, and what each costs on its way to a host."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

from ...torch_step.windows import POOLS
from ..fold import call_of, leaves
from ..terms import CONSTANT, INPUT, NEURON, PICK, STATE, VIEW, Constant, Term, flat

NUMBER = 24
"""Bits of a number that crosses between chip and host: as many as a graded message or a potential of Loihi has."""

_WEIGHTED = frozenset(
    f"aten.{name}" for name in (
        "linear", "conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d", "batch_norm", "matmul", "mm", "addmm",
        "mul", "div", "neg", "mean", "sum", "avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
        "upsample_nearest2d", "to", "_to_copy", "constant_pad_nd", "pad",
    )
)  # fmt: skip
"""Linear in the one value that they are given."""

_SUMS = frozenset({"aten.add", "aten.sub", "aten.rsub"})


def linear(term: Term) -> bool:
    """Whether an operator is linear in what arrives, as synapses are."""
    if term.op in (VIEW, PICK, CONSTANT) or term.name in _SUMS:
        return True
    if len([one for one in term.terms if one.op != CONSTANT]) != 1:
        return False
    divided = term.name == "aten.div" and isinstance(term.args[1], Term) and term.args[1].op != CONSTANT
    return (term.name in _WEIGHTED and not divided) or (term.name in POOLS and "max" not in term.name)


def leaf(term: Term) -> bool:
    """Whether a value comes from a neuron, or from outside."""
    return term.op in (INPUT, NEURON, STATE, CONSTANT)


def when(term: Term) -> int | None:
    """The step of a leaf; None for what is the same in all of them."""
    if term.op == INPUT:
        return term.time
    return None if term.op == CONSTANT else call_of(term)


def times(term: Term) -> frozenset[int]:
    """The steps of the leaves of a term."""
    return frozenset(t for one in leaves(term) if (t := when(one)) is not None)


def bits(term: Term, late: int = 0) -> int | None:
    """Bits of a step for which a chip sends a leaf to its host; None where it cannot.

    Args:
        late: steps before that in which it is sent.
    """
    if term.op == CONSTANT or (term.op == INPUT and not late):
        return 0
    if term.op == STATE:
        return None if late or term.args[1] != "v" else NUMBER * term.size
    return NUMBER * term.size if late else term.size


def work(term: Term) -> int:
    """What computing a value takes: multiply-accumulates where it has weights, else its numbers."""
    weights = [one.value for one in flat(term.args) if isinstance(one, Constant) and one.value.dim() > 1]
    if term.name in _WEIGHTED and weights:
        return term.size * max(1, weights[0].numel() // weights[0].shape[0])
    return term.size


class Classes:
    """Values that are the same in different steps, as one.

    Args:
        terms: all that are looked at, each after what it is made of.
    """

    def __init__(self, terms: Iterable[Term]) -> None:
        self.of: dict[int, int] = {}
        self.members: dict[int, list[Term]] = {}
        self.gone: set[int] = set()
        self._known: dict[Hashable, int] = {}
        for term in sorted(terms, key=lambda t: t.index):
            number = self._known.setdefault(self._key(term), len(self._known))
            self.of[term.index] = number
            self.members.setdefault(number, []).append(term)

    def merge(self, terms: Sequence[Term]) -> int:
        """Make terms of several classes one, which comes behind all others; its number."""
        old = {self.of[term.index] for term in terms}
        if len(old) == 1:
            return old.pop()
        number = max(self.members) + 1
        gathered = [term for key in old for term in self.members.pop(key)]
        self.gone |= old
        self.members[number] = sorted(gathered, key=lambda t: t.index)
        self.of |= {term.index: number for term in gathered}
        return number

    def _key(self, term: Term) -> Hashable:
        if term.op == INPUT:
            return (INPUT, str(term.args), term.shape)
        if term.op == NEURON:
            return (NEURON, id(term.args[0]))
        if term.op == STATE:
            return (STATE, id(term.args[0].args[0]), term.args[1])
        if term.op == PICK:  # places differ from step to step
            return (PICK, term.shape, tuple(dict.fromkeys(self.of[t.index] for t in term.terms)))
        said = self._said((term.args, term.named))
        return (str(term.op), term.shape, said)

    def _said(self, value: object) -> Hashable:
        if isinstance(value, Term):
            return ("term", self.of[value.index])
        if isinstance(value, (tuple, list)):
            return tuple(map(self._said, value))
        key = getattr(value, "key", None)
        return ("constant", key) if key is not None else (type(value).__name__, str(value))


def within(roots: Iterable[Term], ends: Callable[[Term], bool] = leaf) -> list[Term]:
    """The terms that roots are made of within their steps, leaves included."""
    seen: dict[int, Term] = {}
    stack = list(roots)
    while stack:
        term = stack.pop()
        if term.index not in seen:
            seen[term.index] = term
            if not ends(term):
                stack.extend(term.terms)
    return [seen[index] for index in sorted(seen)]


def consumed(calls: Mapping[int, Iterable[Term]], ends: Callable[[Term], bool] = leaf) -> dict[int, int]:
    """The first step in which each term is taken, of the roots of each step."""
    found: dict[int, int] = {}
    for step in sorted(calls):
        for term in within(calls[step], ends):
            found.setdefault(term.index, step)
    return found
