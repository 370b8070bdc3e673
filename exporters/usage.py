"""How a module is called with its sample: where time lies in what its ``forward`` takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from neurodeploy.errors import InvalidInputError
from neurodeploy.network.arrays import Array

TimeAxis = Literal[0, 1, -1, "flat", "none", "step"]

AXES: tuple[TimeAxis, ...] = (0, 1, -1, "flat", "none", "step")
"""Where time may lie: in a dimension of the sample (0, 1, -1); in dimension 0 together with the batch (flat); nowhere,
since forward repeats a static input (none); or outside: forward computes one step, and the user loops over dimension 0
(step)."""

HostCut = Literal["bits", "work", "none"]
"""How what no chip computes is left to a host: cut so that the fewest bits cross, or so that the host computes least;
or not at all. Barriers, on which chip and host wait for each other, are the fewest in any case."""


@dataclass(frozen=True)
class Usage:
    """How a module is called.

    Args:
        axis: where time lies in the sample, one of `AXES`.
        steps: time steps of a run.
        samples: in a batch.
        batch_outside: of a flat sample, whether dimension 0 is batch times time, not time times batch.
    """

    axis: TimeAxis
    steps: int
    samples: int
    batch_outside: bool = True

    @property
    def order(self) -> str:
        """Which of batch and time is outside in dimension 0 of a flat sample, as files say it; empty of others."""
        return "" if self.axis != "flat" else "batch outside" if self.batch_outside else "time outside"

    def time_first(self, sample: Array) -> Array:
        """The sample as ``[time, batch, *shape]``; a static one stands in every step."""
        if self.axis in (0, "step"):
            return sample
        if self.axis == "none":
            return np.broadcast_to(sample, (self.steps, *sample.shape))
        if self.axis == "flat":
            if self.batch_outside:
                return sample.reshape(self.samples, self.steps, *sample.shape[1:]).swapaxes(0, 1)
            return sample.reshape(self.steps, self.samples, *sample.shape[1:])
        return np.moveaxis(sample, int(self.axis), 0)

    def as_given(self, steps: Array) -> Array:
        """``[time, batch, *shape]`` as ``forward`` takes it; the inverse of `time_first`.

        Raises:
            InvalidInputError: what should be static is not the same in every step.
        """
        if self.axis in (0, "step"):
            return steps
        if self.axis == "none":
            if (steps != steps[:1]).any():
                raise InvalidInputError(
                    "the input changes from step to step", allowed="the same in every step: the module takes a static"
                    " input and repeats it", hint="give one static sample for each of the batch",
                )  # fmt: skip
            return np.ascontiguousarray(steps[0])
        if self.axis == "flat":
            outer = steps.swapaxes(0, 1) if self.batch_outside else steps
            return np.ascontiguousarray(outer.reshape(-1, *steps.shape[2:]))
        return np.ascontiguousarray(np.moveaxis(steps, 0, int(self.axis)))
