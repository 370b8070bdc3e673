"""Labelled samples, in training and test part: what every source gives and every training takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import numpy as np

from neurodeploy.errors import InvalidInputError
from neurodeploy.network.arrays import Array, Sealed, sole

IMAGE_AXES = ("samples", "channels", "height", "width")
EVENT_AXES = ("samples", "time", "polarity", "height", "width")


@dataclass(frozen=True, eq=False)
class Part(Sealed):
    """Samples and their classes; both arrays cannot be changed.

    Args:
        x: uint8, images ``[samples, channels, height, width]`` or event frames
            ``[samples, time, 2, height, width]`` (one polarity where a sensor has one).
        y: classes from 0 on, int64 ``[samples]``.

    Raises:
        InvalidInputError: arrays of other types or shapes, of different lengths, or without a sample.
    """

    x: Array
    y: Array

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.x.dtype != np.uint8 or self.x.ndim not in (len(IMAGE_AXES), len(EVENT_AXES)):
            raise InvalidInputError(
                "samples of the wrong type or shape",
                found=f"{self.x.dtype} {list(self.x.shape)}",
                allowed=f"uint8 [{', '.join(IMAGE_AXES)}] or [{', '.join(EVENT_AXES)}]",
            )
        if self.y.dtype != np.int64 or self.y.shape != self.x.shape[:1]:
            raise InvalidInputError(
                "classes of the wrong type or number",
                found=f"{self.y.dtype} {list(self.y.shape)}",
                allowed=f"int64 [{len(self.x)}], one a sample",
            )
        if not self.x.size:
            raise InvalidInputError("samples without a value", found=list(self.x.shape), allowed="one or more")

    def __len__(self) -> int:
        return len(self.y)

    def taken(self, which: Array) -> Part:
        """The samples with these numbers."""
        return Part(sole(self.x[which]), sole(self.y[which]))


@dataclass(frozen=True, eq=False)
class DataSet:
    """A data set, split into a training and a test part once and for all.

    Args:
        name: by which `load` knows it.
        train, test: its parts.
        classes: what each class is called.
        largest: the value of ``x`` that stands for 1.0: 16 for the digits, 255 for Fashion-MNIST, 1 for an event.
        timed: whether samples are sequences of frames.
        simulated: whether a program made the recordings, and no sensor.
        source: where it is from, in words.

    Raises:
        InvalidInputError: parts whose samples differ in shape, or a class without a name.
    """

    name: str
    train: Part
    test: Part
    classes: tuple[str, ...]
    largest: int
    timed: bool
    simulated: bool
    source: str

    def __post_init__(self) -> None:
        if self.train.x.shape[1:] != self.test.x.shape[1:]:
            raise InvalidInputError(
                f"{self.name}: samples to train with and to test with differ in shape",
                found=f"{list(self.train.x.shape[1:])} and {list(self.test.x.shape[1:])}",
                allowed="one shape",
            )
        labels = np.concatenate([self.train.y, self.test.y])
        if labels.min() < 0 or labels.max() >= len(self.classes):
            raise InvalidInputError(
                f"{self.name}: a class that has no name",
                found=f"classes {labels.min()} to {labels.max()}",
                allowed=f"0 to {len(self.classes) - 1}",
            )
        axes = EVENT_AXES if self.timed else IMAGE_AXES
        if self.train.x.ndim != len(axes):
            raise InvalidInputError(
                f"{self.name}: samples with the wrong number of axes",
                found=list(self.train.x.shape),
                allowed=f"[{', '.join(axes)}]",
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample: channels, height, width; of a sequence time, polarity, height, width."""
        return tuple(self.train.x.shape[1:])

    @cached_property
    def sha256(self) -> str:
        """SHA-256, in hexadecimal digits, of all arrays with their types and shapes: whether data are the same."""
        found = sha256()
        for name, part in (("train", self.train), ("test", self.test)):
            for axis, array in (("x", part.x), ("y", part.y)):
                # Bytes in one order on every machine.
                plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
                found.update(f"{name}_{axis} {plain.dtype.str} {list(plain.shape)}\n".encode())
                found.update(plain.data)
        return found.hexdigest()

    def split(self, fraction: float, seed: int = 0) -> tuple[Part, Part]:
        """Take a validation part off the training part: ``(the rest, validation)``; the test part is left alone.

        Of each class ``fraction`` of its samples goes to the validation part, rounded to a whole number that leaves
        at least one on either side; samples keep their order.

        Raises:
            InvalidInputError: ``fraction`` is not between 0 and 1, or a class has fewer than two samples.
        """
        if not 0 < fraction < 1:
            raise InvalidInputError("a part of the samples to train with", found=fraction, allowed="between 0 and 1")
        random, held = np.random.default_rng(seed), np.zeros(len(self.train), bool)
        for members in self._by_class():
            count = min(max(round(fraction * len(members)), 1), len(members) - 1)
            held[random.permutation(members)[:count]] = True
        return self.train.taken(np.flatnonzero(~held)), self.train.taken(np.flatnonzero(held))

    def _by_class(self) -> Iterator[Array]:
        """Numbers of the samples of each class that has any."""
        for label, name in enumerate(self.classes):
            members = np.flatnonzero(self.train.y == label)
            if len(members) == 1:
                raise InvalidInputError(
                    f"{self.name}: a class that cannot be split", found=f"one sample of {name}", allowed="two or more"
                )
            if len(members):
                yield members
