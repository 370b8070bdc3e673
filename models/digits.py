"""Scikit-learn's handwritten digits (1797 real images of 8 x 8 pixels, values 0 to 16), and two spike encoders.

Both encoders are deterministic and exact in integers, so that a data set is the same on every machine.

Rate. A phase accumulator: pixel ``x`` spikes in step ``t`` iff ``floor((t + 1) x / 16) > floor(t x / 16)``, which is
``floor(T x / 16)`` evenly spread spikes in ``T`` steps; the brightest pixel spikes in every step.

Latency. One spike per non-zero pixel, in step ``floor((16 - x) T / 16)``: the brightest pixels in step 0, the darkest
(``x = 1``) in step ``floor(15 T / 16)``.

Data: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository (1998).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from neurodeploy.errors import InvalidInputError

Array = np.ndarray[Any, np.dtype[Any]]

BRIGHTEST = 16
"""Largest pixel value."""

CLASSES = 10
SHAPE = (1, 8, 8)
"""One sample: channels, height, width."""

_TEST_FRACTION = 0.25
_SPLIT_SEED = 0


@dataclass(frozen=True, eq=False)
class Digits:
    """Images uint8 ``[samples, 8, 8]`` (0 to 16) and labels int64 ``[samples]``, split once and for all."""

    train_images: Array
    train_labels: Array
    test_images: Array
    test_labels: Array


@dataclass(frozen=True, eq=False)
class Data:
    """Encoded samples: inputs uint8 ``[time, batch, 1, 8, 8]`` and labels int64 ``[batch]``."""

    inputs: Array
    labels: Array


@cache
def load() -> Digits:
    """The data set: 1347 training and 450 test images, stratified by class, the split fixed."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    parts = train_test_split(
        bunch.images.astype(np.uint8),
        bunch.target.astype(np.int64),
        test_size=_TEST_FRACTION,
        stratify=bunch.target,
        random_state=_SPLIT_SEED,
    )
    train_images, test_images, train_labels, test_labels = parts
    for array in parts:
        array.setflags(write=False)
    return Digits(train_images, train_labels, test_images, test_labels)


def rate(images: Array, steps: int) -> Array:
    """Rate code of integer images ``[batch, 8, 8]`` -> uint8 spikes ``[time, batch, 1, 8, 8]``.

    Raises:
        InvalidInputError: values outside 0 to 16, or no step.
    """
    x = _checked(images, steps)
    t = np.arange(steps + 1).reshape(-1, 1, 1, 1, 1)
    counts: Array = (t * x) // BRIGHTEST
    return (counts[1:] - counts[:-1]).astype(np.uint8)


def latency(images: Array, steps: int) -> Array:
    """Latency code of integer images ``[batch, 8, 8]`` -> uint8 spikes ``[time, batch, 1, 8, 8]``.

    Raises:
        InvalidInputError: values outside 0 to 16, or no step.
    """
    x = _checked(images, steps)
    t = np.arange(steps).reshape(-1, 1, 1, 1, 1)
    when = (BRIGHTEST - x) * steps // BRIGHTEST
    spikes: Array = ((t == when) & (x > 0)).astype(np.uint8)
    return spikes


ENCODERS: Mapping[str, Callable[[Array, int], Array]] = {"rate": rate, "latency": latency}
"""Encoders by name."""


def encode(name: str, images: Array, steps: int) -> Array:
    """Encode with the encoder called ``name``.

    Raises:
        InvalidInputError: no encoder of this name, or images that it cannot take.
    """
    if name not in ENCODERS:
        raise InvalidInputError("unknown encoder", found=name, allowed=", ".join(ENCODERS))
    return ENCODERS[name](images, steps)


def _checked(images: Array, steps: int) -> Array:
    """Integers ``[1, batch, 1, 8, 8]``."""
    x = np.asarray(images)
    if steps < 1:
        raise InvalidInputError("a sample needs at least one step", found=steps, allowed="1 or more")
    if x.ndim != 3 or x.shape[1:] != SHAPE[1:]:
        raise InvalidInputError("images of the wrong shape", found=list(x.shape), allowed="[batch, 8, 8]")
    if not np.issubdtype(x.dtype, np.integer) or (x.size and (x.min() < 0 or x.max() > BRIGHTEST)):
        raise InvalidInputError(
            "pixel values that are not integers from 0 to 16",
            found=f"{x.dtype}" + (f" from {x.min()} to {x.max()}" if x.size else ""),
            hint="scale the images to 0..16 and round them",
        )
    whole: Array = x.astype(np.int64)[None, :, None]
    return whole
