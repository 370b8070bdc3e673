"""What no synapse and no neuron of a chip computes of a single step: stages that run in every step.

Which operators these are, the walk that makes NIR nodes of a step says: what it refuses is the host's, and it is tried
again. So a product of spikes stays on the chip, as a threshold, and a softmax does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from torch import fx

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.host import When

from ...torch_step.fxgraph import Step, is_random, module_of
from ...usage import HostCut
from ..emit import emit
from ..fold import Folded
from ..terms import CONSTANT, INPUT, NEURON, VIEW, Chain, Term
from .cut import CutError, Values, minimum_cut
from .regions import NUMBER, bits, leaf, linear, when, within, work
from .stage import Cutout, Giving, Reading, grouped

Made = TypeVar("Made")

MOST = 256
"""Operators that are handed to the host, one after the other, at most."""


@dataclass(frozen=True, eq=False)
class Stepwise:
    """A step without what the host computes of it.

    Args:
        step: the graph; its results are what was read, then what the host reads.
        stages: of every step.
        reads: what the host reads of the chip, in the order of the results.
    """

    step: Step
    stages: tuple[Cutout, ...]
    reads: tuple[Term, ...]


def stepwise(
    folded: Folded,
    read: Sequence[Chain | Term],
    more: Sequence[Term],
    build: Callable[[Stepwise], Made],
    *,
    host: HostCut = "bits",
) -> Made:
    """What ``build`` makes of a step, whose operators that it refuses are the host's.

    Args:
        read: what the user reads.
        more: what stages between phases read, of the last step.
        build: makes nodes of a step; its `UnsupportedError` has the node that it is about as ``at``.
        host: how it is cut; ``none`` refuses.

    Raises:
        UnsupportedError: of `build`, where the host does not compute it either.
    """
    roots = [*folded.drives.values(), *(one for one in read if isinstance(one, Term)), *more]
    forced = _maxima(roots) if host != "none" else set()
    for _ in range(MOST):
        made = _cut(folded, roots, forced, host)
        hosted = {term.index: giving.name for stage in made for giving in stage.gives for term in giving.terms.values()}
        reads = tuple(dict.fromkeys(r.term for stage in made for r in stage.reads)) + tuple(more)
        try:
            step = emit(folded, [*read, *reads], hosted)
            return build(Stepwise(step, tuple(made), reads))
        except UnsupportedError as error:
            blamed = _blamed(error)
            if host == "none" or blamed is None or blamed.index in forced or leaf(blamed) or is_random(blamed.node):
                raise
            forced.add(blamed.index)
    raise UnsupportedError("too many operators that no chip computes", found=f"more than {MOST}")


_ON_THE_WAY = frozenset({"aten.add", "aten.sub", "aten.mul", "aten.div", "aten.batch_norm", VIEW})
"""What may stand between the largest of several currents and a neuron."""


def _maxima(roots: Sequence[Term]) -> set[int]:
    """The largest of several currents, where it leads to more than neurons: no walk is needed to know that it is
    refused (`neurodeploy.exporters.torch_step.maxima`)."""
    terms = within(roots)
    takers: dict[int, list[Term]] = {}
    for term in terms:
        for one in term.terms if not leaf(term) else ():
            takers.setdefault(one.index, []).append(term)
    found = set()
    for term in terms:
        if leaf(term) or "max_pool" not in term.name or all(one.op == NEURON for one in term.terms):
            continue
        stack, seen = [term], set[int]()
        while stack:
            after = takers.get(stack.pop().index, [])
            if any(one.name not in _ON_THE_WAY for one in after):
                found.add(term.index)
                break
            stack += [one for one in after if one.index not in seen]
            seen |= {one.index for one in after}
    return found


def _blamed(error: UnsupportedError) -> Term | None:
    """The value that could not be said."""
    if isinstance(error.at, Term):
        return error.at
    if not isinstance(error.at, fx.Node):
        return None
    found: Term | None = error.at.meta.get("term")
    return found


def _cut(folded: Folded, roots: Sequence[Term], forced: set[int], host: HostCut) -> list[Cutout]:
    """The stages of a step in which the host computes some values."""
    if not forced:
        return []
    terms = within(roots)
    by_index = {term.index: term for term in terms}
    values = _values(terms, roots, forced, folded.last)
    try:
        cut = minimum_cut(values, host)
    except CutError as error:
        one = by_index[min(forced)]
        raise UnsupportedError("what the host computes takes a state of an earlier step", found=one.name) from error
    reads, parts = set(cut.reads), list[tuple[When, tuple[Reading, ...], Giving, fx.Node]]()
    for number, key in enumerate(cut.gives):
        term = by_index[key]  # type: ignore[index]
        own = within([term], lambda t: leaf(t) or t.index in reads)
        taken = [one for one in own if one.index in reads and one.op != CONSTANT]
        if not taken:
            raise UnsupportedError("a value that the host computes depends on nothing of the network", found=term.name)
        readings = tuple(Reading(one, {one.index: 0}, _late(one, folded.last)) for one in taken)
        outside = all(one.op == INPUT and not one.args and when(one) in (None, folded.last) for one in taken)
        path = module_of(term.node)
        name = f"{path}.gate.{number}" if path else f"gate.{number}"
        how: When = "before" if outside else "step"
        parts.append((how, readings, Giving(name, term.shape, {folded.last: term}), term.node))
    return grouped(parts, 0)


def _values(terms: Sequence[Term], roots: Sequence[Term], forced: set[int], last: int) -> Values:
    values = Values(forced=set(forced))
    values.bent = {term.index for term in terms if not leaf(term) and not linear(term)}
    plain: dict[int, bool] = {}
    for term in terms:
        key = term.index
        end = leaf(term)
        values.args[key] = () if end else tuple(dict.fromkeys(t.index for t in term.terms))
        values.work[key], values.down[key] = work(term), NUMBER * term.size
        plain[key] = end or (linear(term) and all(plain[t.index] for t in term.terms))
        values.up[key] = bits(term, _late(term, last)) if end else NUMBER * term.size if plain[key] else None
    values.drives = {one.index for one in roots}
    return values


def _late(term: Term, last: int) -> int:
    at = when(term) if leaf(term) else None
    return 0 if at is None else last - at
