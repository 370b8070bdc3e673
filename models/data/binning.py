"""From a stream of events to frames: what happened in each of T steps of equal length.

The rule is that of ``tonic.transforms.ToFrame(n_time_bins=T)``: of events at times ``t_0 <= ... <= t_n``, in whole
units (microseconds), a step lasts ``w = floor((t_n - t_0) / T)`` and step ``i`` has the events of

    t_0 + i w <= t < t_0 + (i + 1) w

so that the last event, and what rounding leaves over at the end, is in none; a stream shorter than T units has no event
in any step.

Source: G. Lenz et al., "Tonic: event-based datasets and transformations", https://github.com/neuromorphs/tonic,
functional/to_frame.py and slicers.py (`SliceByTimeBins`) of 1.7.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodeploy.errors import InvalidInputError
from neurodeploy.network.arrays import Array

EVENT = np.dtype([("x", np.int64), ("y", np.int64), ("t", np.int64), ("p", np.int64)])
"""An event: column, row, time, polarity (0: darker, 1: brighter)."""

LARGEST_SET = 8 << 30
"""Bytes of frames that are made at most."""

_LATEST = 1 << 62
_MOST = 255


@dataclass(frozen=True)
class Sensor:
    """Pixels and polarities of an event camera; what has one row or one polarity is laid out like a camera, too."""

    height: int
    width: int
    polarities: int = 2


@dataclass(frozen=True)
class Binning:
    """How events become frames.

    Args:
        steps: T, frames a sample.
        counts: whether a frame holds how many events there were (255 at most), instead of 1 where there was any.
        shrink: how many pixels of a row, and how many rows, make one of a frame.
        size: height and width of the sensor, where files do not say it; by default the smallest that has all events.

    Raises:
        InvalidInputError: numbers below 1.
    """

    steps: int = 10
    counts: bool = False
    shrink: int = 1
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for name, value in (("steps", self.steps), ("shrink", self.shrink), ("size", min(self.size or (1,)))):
            if value < 1:
                raise InvalidInputError(f"{name} of event frames", found=value, allowed="1 or more")

    def shape(self, sensor: Sensor) -> tuple[int, int, int, int]:
        """Of a sample: time, polarity, height, width."""
        return (
            self.steps, sensor.polarities, -(-sensor.height // self.shrink), -(-sensor.width // self.shrink),
        )  # fmt: skip

    def room(self, samples: int, sensor: Sensor, who: str) -> Array:
        """Zeros for so many samples, uint8.

        Raises:
            InvalidInputError: they would take more than `LARGEST_SET`.
        """
        shape = (samples, *self.shape(sensor))
        size = int(np.prod(shape, dtype=object))
        if size > LARGEST_SET:
            raise InvalidInputError(
                f"{who}: frames that are too large",
                found=f"{' x '.join(map(str, shape))} bytes, {size / (1 << 30):.1f} GiB",
                allowed=f"{LARGEST_SET >> 30} GiB",
                hint="shrink frames, or take fewer steps",
            )
        return np.zeros(shape, np.uint8)

    def coded(self, counted: Array) -> Array:
        """Counts of events as uint8."""
        return np.minimum(counted, _MOST if self.counts else 1).astype(np.uint8)

    def shrunk(self, events: Array) -> Array:
        """Events on the pixels of frames."""
        if self.shrink == 1:
            return events
        found = events.copy()
        found["x"] //= self.shrink
        found["y"] //= self.shrink
        return found

    def frames(self, events: Array, sensor: Sensor) -> Array:
        """Frames uint8 ``[time, polarity, height, width]`` of `checked` events on the sensor's pixels."""
        counted = np.zeros(self.shape(sensor), np.int64)
        if len(events):
            since = events["t"] - events["t"][0]
            if width := since[-1] // self.steps:
                inside = self.shrunk(events[since < width * self.steps])
                step = since[: len(inside)] // width
                np.add.at(counted, (step, inside["p"], inside["y"], inside["x"]), 1)
        return self.coded(counted)


def checked(events: Any, where: str, sensor: Sensor | None = None) -> Array:
    """Events of a structured array as `EVENT` ``[events]``, in the order of their times.

    Args:
        events: fields x, t, p and mostly y, in any order and type of integers; p may be a truth value.
        where: what they are from, for messages.
        sensor: on which they must be, if it is known; one with a single polarity takes either as that.

    Raises:
        InvalidInputError: a field is missing or holds what it cannot.
    """
    names = events.dtype.names or () if isinstance(events, np.ndarray) else ()
    if not {"x", "t", "p"} <= set(names) or events.ndim != 1:
        raise InvalidInputError(
            f"{where} holds no stream of events",
            found=f"{events.dtype} {list(events.shape)}" if isinstance(events, np.ndarray) else type(events).__name__,
            allowed="a structured array [events] with the fields x, y, t, p",
        )
    found = np.zeros(len(events), EVENT)
    limits = {
        "x": (0, sensor.width - 1 if sensor else _LATEST), "y": (0, sensor.height - 1 if sensor else _LATEST),
        "t": (-_LATEST, _LATEST), "p": (0, 1),
    }  # fmt: skip
    for name in (name for name in EVENT.names or () if name in names):
        values, (low, high) = events[name], limits[name]
        if values.dtype.kind not in "iub":
            raise InvalidInputError(
                f"{where}: {name} of events", found=f"type {values.dtype}", allowed="integers",
                hint="whole microseconds" if name == "t" else None,
            )  # fmt: skip
        if len(values) and (int(values.min()) < low or int(values.max()) > high):
            raise InvalidInputError(
                f"{where}: {name} of events", found=f"{values.min()} to {values.max()}", allowed=f"{low} to {high}"
            )
        found[name] = values
    if sensor and sensor.polarities == 1:
        found["p"] = 0
    if (np.diff(found["t"]) < 0).any():
        found = found[np.argsort(found["t"], kind="stable")]
    return found
