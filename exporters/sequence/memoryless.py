"""Neurons without memory that are written by hand: comparisons, with constants, of what arrives in a step.

Beside neurons that keep a potential such a comparison joins spikes, or is a gate. Where a network has no other neurons,
these are its neurons: each is a threshold. A step's comparisons are those whose input arrives last in it; the first of
each step are one layer, the second another, and so on.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain, count

import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.arrays import Array

from .lift import Lifted, comparison_of
from .pieces import COMPARISONS, Written, evaluated, path_of
from .record import line_of
from .rule import Rule, crossing, tensors
from .terms import CONSTANT, Chain, Term, Terms


def memoryless(terms: Terms, live: Collection[int]) -> list[Lifted]:
    """The layers among the terms; none where steps do not compare alike.

    Args:
        live: the terms that matter.
    """
    steps: dict[float, list[Term]] = {}
    for term in terms.found:
        if term.name in COMPARISONS and term.index in live and _arriving(term) is not None:
            steps.setdefault(term.latest, []).append(term)
    layers = [list(layer) for layer in zip(*(steps[time] for time in sorted(steps)), strict=False)]
    if len({len(step) for step in steps.values()}) > 1 or any(len(set(map(_place, layer))) > 1 for layer in layers):
        return []
    found: list[Lifted] = []
    names: set[str] = set()
    for layer in layers:
        name = path_of(layer[0]) or "neuron"
        path = next(one for one in chain([name], (f"{name}_{n}" for n in count(2))) if one not in names)
        names.add(path)
        try:
            found.append(_lifted(layer, Chain(path, 1)))
        except UnsupportedError:  # it stays what joins spikes
            continue
    return found


def _arriving(comparison: Term) -> Term | None:
    """What a comparison compares with constants alone; None where there is no such thing."""
    parts = [one for one in comparison.terms if one.op != CONSTANT]
    return parts[0] if len(parts) == 1 and parts[0].shape == comparison.shape and comparison.latest >= 0 else None


def _place(term: Term) -> tuple[str, str, str, tuple[int, ...]]:
    return term.name, line_of(term.node), path_of(term), term.shape


def _lifted(spikes: Sequence[Term], calls: Chain) -> Lifted:
    """A layer, with the threshold at which its comparison changes.

    Raises:
        UnsupportedError: it does not change once.
    """
    spike, arriving = spikes[-1], [_arriving(one) for one in spikes]
    last = arriving[-1]
    assert last is not None

    def outcome(rows: Array) -> Array:
        (value,) = tensors([rows])
        made = evaluated([spike], {last.index: value})[spike.index]
        return made.expand(rows.shape).numpy().astype(np.float64)

    with np.errstate(all="ignore"):
        below, above, low, high = crossing(outcome, spike.shape)
    comparison, threshold = comparison_of(spike, (below, above), (low, high))
    none = np.zeros(spike.shape)
    rule = Rule(none, (none + 1,), none, threshold, comparison, initial=none, memory=False)
    written = Written(calls.path, list(spikes), [[one] for one in spikes])
    return Lifted(written, calls, rule, [None] * len(spikes), [[one] for one in arriving],
                  (float(low.flat[0]), float(high.flat[0])))  # fmt: skip
