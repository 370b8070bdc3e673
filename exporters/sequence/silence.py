"""What forward returns of layers that never spike: nothing but a constant, while the file gives their potential."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from neurodeploy.network.answer import Answer, Expr, Series, Total

if TYPE_CHECKING:
    from .capture import Captured


def without_spikes(captured: Captured, names: Collection[str]) -> Captured:
    """The same where the neuron layers ``names`` became read-outs, since nothing makes them spike.

    A returned value that depends on their spikes alone is the same for every sample, and decides nothing: the answer
    leaves it out (`Captured.silent`), so that the potentials decide. In any other value such spikes are 0.
    """
    answer = captured.answer
    if answer is None or not any(_spikes(leaf, names) for leaf in answer.series):
        return captured
    kept, returned = [], []
    silent, left_out = dict(captured.silent), dict(captured.left_out)
    for number, one in zip(captured.kept, answer.returned, strict=True):
        leaves = list(one.value.series())
        if all(_spikes(leaf, names) for leaf in leaves):
            silent[number] = one
            quiet = ", ".join(dict.fromkeys(repr(leaf.population) for leaf in leaves))
            left_out[number] = f"it is the same for every sample, as {quiet} never spikes; the file gives its potential"
        else:
            kept.append(number)
            returned.append(replace(one, value=_zeroed(one.value, names)))
    left = Answer(tuple(returned)) if returned else None
    return replace(captured, answer=left, kept=tuple(kept), left_out=left_out, silent=silent)


def _spikes(leaf: Series, names: Collection[str]) -> bool:
    return leaf.port == "spikes" and leaf.population in names


def _zeroed(expr: Expr, names: Collection[str]) -> Expr:
    if isinstance(expr, Series):
        return Total(((0.0, replace(expr, port="potential")),)) if _spikes(expr, names) else expr
    return expr.rebuilt([_zeroed(child, names) for child in expr.children])
