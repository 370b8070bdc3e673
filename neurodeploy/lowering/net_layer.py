"""One layer of lava-dl's `.net` files: its fields, checked, and its synapses; see `neurodeploy.lowering.lava_dl`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neurodeploy.errors import InvalidInputError, UnsupportedError
from neurodeploy.files.hdf5 import damaged, numbers, text
from neurodeploy.network.arrays import Array
from neurodeploy.network.connectivity import Connectivity, Conv2d, Dense
from neurodeploy.nir_graph.shapes import LARGEST

if TYPE_CHECKING:
    import h5py

KIND = "a lava-dl network"
NEEDS = "HDF5 with a group /layer, as SLAYER's export_hdf5 makes it"

MOST_WEIGHT = 256

MOST_DELAY = 1 << 12
"""Steps of a delay."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer of the file; its methods read and check fields."""

    path: Path
    index: int
    group: h5py.Group

    @property
    def kind(self) -> str:
        if not hasattr(self.group, "keys") or "type" not in self.group:
            raise damaged(self.path, KIND, NEEDS, f"layer {self.index} has no type")
        return text(self.group["type"][()])

    def invalid(self, what: str, found: object, allowed: object) -> InvalidInputError:
        return InvalidInputError(
            f"{self.path}: layer {self.index} {what}", found=found, allowed=allowed, hint="export the network again"
        )

    def unsupported(self, what: str, found: object, allowed: object, hint: str | None = None) -> UnsupportedError:
        return UnsupportedError(f"{self.path}: layer {self.index} {what}", found=found, allowed=allowed, hint=hint)

    def whole(self, key: str, default: int | None = None) -> Array:
        """A field of whole numbers, stored as any kind of number.

        Raises:
            InvalidInputError: fractions, which netx would cut off without a word.
        """
        item = self.group.get(key)
        if item is None:
            if default is None:
                raise damaged(self.path, KIND, NEEDS, f"layer {self.index} has no {key}")
            return np.array(default)
        array = numbers(item[()]) if hasattr(item, "shape") else None
        if array is None or not array.size or not np.isfinite(array).all() or (np.abs(array) > 1 << 40).any():
            raise self.invalid(f"has a {key} that cannot be used", "no usable numbers", "whole numbers")
        if (broken := array != np.trunc(array)).any():
            raise InvalidInputError(
                f"{self.path}: layer {self.index} has a {key} with fractions",
                found=f"{int(broken.sum()):,} of {array.size:,}, the first {array[broken][0]:g}",
                allowed="whole numbers, as SLAYER's export_hdf5 writes them; lava-dl's netx cuts fractions off",
                hint="round them, so that it is you who decides what they become, and export the network again",
            )
        return array.astype(np.int64)

    def one(self, key: str, least: int, most: int, default: int | None = None) -> int:
        """A field of one number in a range."""
        found = np.unique(self.whole(key, default))
        if len(found) != 1:
            raise self.unsupported(f"has several values of {key}", found[:8].tolist(), "one for the layer")
        value = int(found[0])
        if not least <= value <= most:
            raise self.invalid(f"has a {key} that cannot be used", value, f"{least} to {most}")
        return value

    def pair(self, key: str, least: int, default: int) -> tuple[int, int]:
        """A field of one or two numbers: (vertical, horizontal)."""
        found = self.whole(key, default).ravel()
        if len(found) > 2 or (found < least).any() or (found > 1 << 20).any():
            raise self.invalid(f"has a {key} that cannot be used", found[:8].tolist(), f"one or two from {least} on")
        return int(found[0]), int(found[-1])

    def shape(self) -> tuple[int, ...]:
        """Channels, height and width of the layer, or the number of its neurons."""
        found = self.whole("shape").ravel().tolist()
        size = 1
        for length in found:
            size *= length
        if len(found) > 3 or min(found) < 1 or size > LARGEST:
            raise self.invalid("has a shape that cannot be used", found[:8], f"up to three, of 1 to {LARGEST:,} values")
        return tuple(found)

    def weights(self) -> Array:
        found = self.whole("weight")
        if (np.abs(found) > MOST_WEIGHT).any():
            raise self.invalid(
                "has weights beyond Loihi's eight bits", int(np.abs(found).max()), f"magnitudes up to {MOST_WEIGHT}"
            )
        broken = beyond(found)
        if broken.any():
            raise self.invalid(
                "has weights that eight bits cannot hold",
                f"{int(broken.sum()):,} of {found.size:,}, the first {int(found[broken][0])}",
                "from -255 to 255 where all have one sign; else even from -256 to 254, or any from -128 to 127",
            )
        return found.astype(np.int16)

    def delays(self) -> Array:
        """Steps that the spikes of each neuron take to leave, ``[neurons]``."""
        shape, found = self.shape(), self.whole("delay", 0).ravel()
        size = int(np.prod(shape))
        if len(found) not in (1, shape[0], size) or (found < 0).any() or (found > MOST_DELAY).any():
            raise self.invalid(
                "has delays that cannot be used",
                f"{len(found)}, from {found.min()} to {found.max()} steps",
                f"{shape[0]} from 0 to {MOST_DELAY:,}",
            )
        return np.repeat(found, size // len(found))

    def connectivity(self, source: tuple[int, ...], flat: bool) -> Connectivity:
        """The synapses of a dense or convolutional layer on a layer of shape ``source``."""
        weights = self.weights()
        if self.kind == "conv":
            return self._conv(weights, source)
        outputs = int(np.prod(self.shape()))
        if weights.size % outputs or (weights.ndim > 1 and weights.shape[0] != outputs):
            raise self.invalid("has weights of the wrong shape", list(weights.shape), f"[{outputs}, inputs]")
        weights = weights.reshape(outputs, -1)
        if not flat and max(source[1:], default=1) > 1:
            raise self.invalid("follows an image without a flatten layer", list(source), "a flatten layer before it")
        if weights.shape[1] != np.prod(source):
            raise self.invalid("does not fit the layer before it", list(source), f"{weights.shape[1]} neurons")
        return Dense(weights)

    def _conv(self, weights: Array, source: tuple[int, ...]) -> Conv2d:
        if weights.ndim < 4 or max(weights.shape[4:], default=1) > 1 or len(source) != 3:
            raise self.invalid(
                "has weights of the wrong shape",
                f"{list(weights.shape)} on {list(source)}",
                "[channels out, channels in / groups, height, width] on an image",
            )
        weights = weights.reshape(weights.shape[:4])
        groups = self.one("groups", 1, weights.shape[0], 1)
        padding, dilation = self.pair("padding", 0, 0), self.pair("dilation", 1, 1)
        if weights.shape[1] * groups != source[0] or weights.shape[0] % groups:
            raise self.invalid(
                "does not fit the layer before it",
                f"{source[0]} channels",
                f"{weights.shape[1]} channels in each of {groups} groups",
            )
        if max(padding) > max(source[1:]) + max(weights.shape[2:]) * max(dilation):
            raise self.invalid("has more padding than image", list(padding), "less")
        kind = Conv2d(weights, (source[0], source[1], source[2]), self.pair("stride", 1, 1), padding, dilation, groups)
        if kind.output_shape != self.shape():
            raise self.invalid(
                "does not have the shape that its convolution gives", list(self.shape()), kind.output_shape
            )
        return kind


def beyond(weights: Array) -> Array:
    """Where no 8-bit register gives a weight exactly: of one sign steps are 1, of both 2, or finer by a shift."""
    if (weights >= 0).all() or (weights <= 0).all():
        return np.asarray(np.abs(weights) > 255)
    if (weights % 2 == 0).all():
        return np.asarray((weights < -256) | (weights > 254))
    return np.asarray((weights % 2 != 0) & ((weights < -128) | (weights > 127)) | (np.abs(weights) > 255))
