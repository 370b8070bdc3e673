"""What two recordings of one program must have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from neurodeploy.program.recording import Record, Recording

EVERYTHING = Record(("u", "v"), learning=True)
TOLERANCE = 1e-5
"""Of floats, relative to numbers above 1."""


def difference(judge: Recording, found: Recording, integer: bool) -> str:
    """Say where ``found`` first differs from ``judge``, or nothing: in a spike, payload, ``u``, ``v``, weight, tag or
    trace, or in how often integers left their range. Integers must be equal; floats, payloads included, to
    `TOLERANCE`."""
    if (judge.steps, judge.samples) != (found.steps, found.samples):
        return f"extent {found.steps} x {found.samples} instead of {judge.steps} x {judge.samples}"
    for (name, expected), (other, value) in zip(_arrays(judge), _arrays(found), strict=False):
        if name != other:
            return f"{other} is recorded in place of {name}"
        if expected.shape != value.shape:
            return f"{name} is {list(value.shape)}, not {list(expected.shape)}"
        if integer:
            wrong = expected != value
        else:
            wrong = ~np.isclose(expected, value, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
        if wrong.any():
            where = tuple(int(i) for i in np.argwhere(wrong)[0])
            return f"{name} at {list(where)}: {value[where]} instead of {expected[where]}"
    if None not in (judge.left, found.left) and judge.left != found.left:
        return f"out of range: {found.left} instead of {judge.left}"
    return ""


def _arrays(recording: Recording) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    for name in sorted(recording.spikes):
        yield f"spikes of {name}", recording.spikes[name].dense().astype(np.float64)
    for kind, values in (("state", recording.states), ("learned", recording.learned)):
        for outer in sorted(values):
            for inner in sorted(values[outer]):
                yield f"{kind} {outer} {inner}", np.asarray(values[outer][inner])
