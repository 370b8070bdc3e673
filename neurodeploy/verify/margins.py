"""Whether a module computes the same in its own precision as in float64, where it spikes and in what it returns.

Rounding decides where a potential meets its threshold to the last digits, and a spike more or less changes all that
follows. So of each sample the first spikes that differ are judged, by their *margin*: how far the potential, in
float64 and before the reset, is from the threshold, in thresholds. Rounding of float32 leaves margins around 1e-7;
larger ones mean half precision, or a forward that loses digits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from neurodeploy.errors import VerificationError
from neurodeploy.network.arrays import Array

if TYPE_CHECKING:
    from neurodeploy.exporters.user_run import UserRun
    from neurodeploy.program.recording import Recording

LARGEST_MARGIN = 1e-6
"""Largest margin, in thresholds, at which rounding may decide on a spike."""

LARGEST_DIFFERENCE = 1e-4
"""Largest difference of what is returned, relative to the largest value, where all spikes are the same."""


@dataclass(frozen=True)
class Flip:
    """A spike that differs first, in its sample.

    Args:
        margin: distance of the potential in float64 from the nearest that sends what the module sent, in thresholds.
        spikes: that the neuron sent in its own precision, and in float64.
        potential, threshold: in float64, before the reset.
    """

    layer: str
    step: int
    sample: int
    neuron: int
    margin: float
    spikes: tuple[float, float]
    potential: float
    threshold: float

    def __str__(self) -> str:
        own, wide = self.spikes
        return (
            f"layer {self.layer!r}, step {self.step}, sample {self.sample}, neuron {self.neuron}: {own:g} spikes, and "
            f"{wide:g} in float64, at a potential of {self.potential:.9g}, {self.margin:.2g} of the threshold "
            f"{self.threshold:.9g} away from it"
        )


Decisions = Mapping[str, tuple[Array, Array]]
"""Potential before the reset and threshold by layer, each ``[time, batch, neurons]`` in float64."""


def decisions(recording: Recording) -> Decisions:
    """Those of a run of `neurodeploy.nir_graph.interpreter` with ``decisions``."""
    thresholds = recording.states["threshold"]
    return {name: (potential, thresholds[name]) for name, potential in recording.states["decided"].items()}


def flips(own: UserRun, wide: UserRun, decided: Decisions, order: Sequence[str]) -> list[Flip]:
    """Of each sample, the spike that differs first: in the earliest step, there in the first layer.

    Of several neurons of this layer the one with the largest margin. Layers are only looked at where ``decided`` tells
    of them.

    Args:
        own, wide: in the module's own precision and in float64.
        order: layers, those in front of others first.
    """
    layers = [name for name in order if name in decided and name in own.outputs and name in wide.outputs]
    differ = {name: own.outputs[name] != wide.outputs[name] for name in layers}
    found = []
    for sample in range(max((array.shape[1] for array in differ.values()), default=0)):
        first = {name: array[:, sample].any(1) for name, array in differ.items() if array[:, sample].any()}
        if first:
            layer = min(first, key=lambda name: int(np.argmax(first[name])))  # the first of those in one step
            step = int(np.argmax(first[layer]))
            neurons = np.flatnonzero(differ[layer][step, sample])
            flipped = [_flip(layer, (step, sample, int(neuron)), own, wide, decided) for neuron in neurons]
            found.append(max(flipped, key=lambda flip: flip.margin))
    return found


def _flip(layer: str, place: tuple[int, int, int], own: UserRun, wide: UserRun, decided: Decisions) -> Flip:
    step, sample, neuron = place
    potential, threshold = (float(array[place]) for array in decided[layer])
    spikes = float(own.outputs[layer][place]), float(wide.outputs[layer][place])
    mine, theirs = spikes
    # n spikes are sent from n thresholds on: how far the potential is from one that sends as many as the module did.
    scale = abs(threshold) or float(np.abs(decided[layer][0]).max()) or 1.0
    bound = mine * threshold if mine > theirs else (mine + 1) * threshold
    margin = abs(potential - bound) / scale
    return Flip(layer, step, sample, neuron, margin if np.isfinite(margin) else np.inf, spikes, potential, threshold)


def check_precision(
    own: UserRun, wide: UserRun, decided: Decisions, order: Sequence[str], precision: str = "its own precision"
) -> str | None:
    """Compare a module's own precision with float64.

    Args:
        precision: of ``own``, as messages call it (``float32``).

    Returns:
        A note where spikes differ by rounding alone; None where none differ.

    Raises:
        VerificationError: a spike differs at a larger margin than `LARGEST_MARGIN`, or all spikes are the same and what
            is returned differs by more than `LARGEST_DIFFERENCE`.
    """
    found = flips(own, wide, decided, order)
    if not found:
        _check_returned(own, wide, precision)
        return None
    worst = max(found, key=lambda flip: flip.margin)
    first = min(found, key=lambda flip: (flip.margin <= LARGEST_MARGIN, flip.step, order.index(flip.layer)))
    if worst.margin > LARGEST_MARGIN:
        raise VerificationError(
            f"the module does not compute the same in {precision} as in float64",
            found=f"first at {first}",
            allowed=f"spikes that differ only where the potential is within {LARGEST_MARGIN:g} of its threshold, where"
            " rounding decides",
            hint=_HINT,
        )
    samples = next(iter(own.outputs.values())).shape[1]
    return (
        f"{precision} and float64 part in {len(found)} of {samples} samples, by rounding: first at {first}; the file is"
        " what the module computes in float64"
    )


_HINT = (
    "train and export in float32, not in half precision (module.float()); in float32, look in forward for what loses"
    " digits: differences of large numbers, sums of many"
)


def _check_returned(own: UserRun, wide: UserRun, precision: str) -> None:
    if [value.shape for value in own.returned] != [value.shape for value in wide.returned]:
        raise VerificationError(
            f"the module does not return the same in {precision} as in float64",
            found=f"{_shapes(own)} and {_shapes(wide)}",
            hint=_HINT,
        )
    for number, (mine, theirs) in enumerate(zip(own.returned, wide.returned, strict=True)):
        a, b = mine.astype(np.float64), theirs.astype(np.float64)
        largest = float(np.abs(b[np.isfinite(b)]).max(initial=0.0))
        same = np.isclose(a, b, rtol=0, atol=LARGEST_DIFFERENCE * largest, equal_nan=True)
        if not same.all():
            place = tuple(int(index) for index in np.argwhere(~same)[0])
            raise VerificationError(
                f"the module does not return the same in {precision} as in float64, with the same spikes",
                found=f"{a[place]:.9g} and {b[place]:.9g} in the tensor {number} that it returns, at {list(place)}",
                allowed=f"a difference of {LARGEST_DIFFERENCE:g} of the largest value, {largest:.9g}",
                hint=_HINT,
            )


def _shapes(run: UserRun) -> str:
    return ", ".join(str(list(value.shape)) for value in run.returned) or "nothing"
