"""SIMULATED recordings of an event camera that looks at images: digits, or clothes, during three saccades.

No sensor made these clips. `neurodeploy.models.motion.Camera` watches an image of log intensity

    L(x, t) = c I(R(-a(t)) (x - p(t)) / s)

where I is the image, 0 to 1, between pixels by bilinear interpolation and 0 outside; s is the side of a pixel of the
image in pixels of the camera, c the contrast, of either sign; R turns by the angle a(t). In each of three saccades p
moves along one side of an equilateral triangle, and a turns at a speed of its own; the image ends where it began. From
clip to clip are drawn: the middle of the triangle, its first direction, its handedness, the length of its sides and so
the speed, the angles, and c. Thresholds that differ between pixels, the refractory period, the leak, and noise are the
camera's.

Why time is needed. What a step shows are edges where the image is then. Over a whole clip they run over most of the
view, in every direction, and with either polarity for either sign of c: frames summed over time are the edges blurred
along a triangle that is another one in each clip. benchmarks/clips.py measures what that costs a classifier.

Sources: G. Orchard, A. Jayawant, G. K. Cohen, N. Thakor, "Converting static image datasets to spiking neuromorphic
datasets using saccades", Frontiers in Neuroscience 9:437 (2015): N-MNIST, 34 x 34 pixels, a camera that moves in three
saccades along a triangle before a still image, the same triangle for all images; that it is drawn here, and turns, is
our own. For the camera see `neurodeploy.models.motion`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from neurodeploy.network.arrays import Array, sole

from ..motion import Camera
from .dataset import DataSet, Part

SACCADES = 3
FASHION_TRAIN, FASHION_TEST = 6000, 1000
"""How many images of Fashion-MNIST are filmed, from the first on."""
_PORTION = 64
"""Clips simulated at once, for the sake of memory."""


@dataclass(frozen=True)
class ClipSettings:
    """How clips are made; lengths in pixels of the camera, angles in radians, ranges uniform.

    Args:
        size: height and width of the view.
        steps: T, frames a clip.
        looks: how often a step the camera looks.
        side: of the image in the view.
        offset: largest distance, along either axis, of the triangle's middle from that of the view.
        travel: length of a saccade, from and to.
        tilt: largest angle at the beginning, to either side.
        turn: largest angle of a turn in a saccade, to either side.
        contrast: size of c, from and to.
        camera: pixels and noise.
        seed: of all that is drawn.
    """

    size: int = 34
    steps: int = 10
    looks: int = 3
    side: float = 20.0
    offset: float = 2.0
    travel: tuple[float, float] = (6.0, 10.0)
    tilt: float = 0.15
    turn: float = 0.25
    contrast: tuple[float, float] = (1.0, 1.5)
    camera: Camera = field(default_factory=lambda: Camera(shot=0.001))
    seed: int = 0


SETTINGS = ClipSettings()
"""Of the data sets."""


@dataclass(frozen=True, eq=False)
class Saccades:
    """How images move before the camera.

    Args:
        corners: of the triangles, where saccades begin and end, in pixels from the middle of the view,
            ``[samples, SACCADES + 1, 2]`` (x, y).
        angles: at the corners, in radians, ``[samples, SACCADES + 1]``.
        contrast: c, ``[samples]``.
    """

    corners: Array
    angles: Array
    contrast: Array

    def at(self, time: float) -> tuple[Array, Array]:
        """Places ``[samples, 2]`` and angles ``[samples]`` at a time from 0 to `SACCADES`, a saccade taking 1."""
        number = min(int(time), SACCADES - 1)
        done = time - number
        place, angle = (v[:, number] + done * (v[:, number + 1] - v[:, number]) for v in (self.corners, self.angles))
        return place, angle

    @classmethod
    def drawn(cls, random: np.random.Generator, samples: int, settings: ClipSettings) -> Saccades:
        """One for each sample."""
        middle = random.uniform(-settings.offset, settings.offset, (samples, 1, 2))
        first = random.uniform(0, 2 * np.pi, (samples, 1))
        hand = random.choice([-1.0, 1.0], (samples, 1))
        # Of an equilateral triangle with sides of length l the corners lie l / sqrt(3) from the middle.
        radius = random.uniform(*settings.travel, (samples, 1, 1)) / np.sqrt(3)
        around = first + hand * 2 * np.pi / SACCADES * np.arange(SACCADES + 1)
        tilt = random.uniform(-settings.tilt, settings.tilt, (samples, 1))
        turns = random.uniform(-settings.turn, settings.turn, (samples, SACCADES))
        return cls(
            corners=middle + radius * np.stack([np.cos(around), np.sin(around)], axis=2),
            angles=np.concatenate([tilt, tilt + np.cumsum(turns, axis=1)], axis=1),
            contrast=random.choice([-1.0, 1.0], samples) * random.uniform(*settings.contrast, samples),
        )

    def part(self, which: slice) -> Saccades:
        """Of some of the samples."""
        return Saccades(self.corners[which], self.angles[which], self.contrast[which])


def log_intensity(images: Array, motion: Saccades, settings: ClipSettings) -> Array:
    """L of images ``[samples, height, width]`` at every look: ``[looks, samples, size, size]``."""
    samples, height, width = images.shape
    # Framed by zeros, on which whatever lies further out is put: one pixel before, two after, so that each has a next.
    framed = np.pad(images.astype(np.float64), ((0, 0), (1, 2), (1, 2)))
    flat, row = framed.reshape(-1), width + 3
    own = (np.arange(samples) * (height + 3) * row)[:, None, None]
    pixels = np.arange(settings.size) - (settings.size - 1) / 2
    scale, looks = max(height, width) / settings.side, settings.steps * settings.looks
    levels = np.empty((looks + 1, samples, settings.size, settings.size))
    for look in range(looks + 1):
        place, angle = motion.at(SACCADES * look / looks)
        x, y = ((pixels - middle[:, None]) * scale for middle in place.T)
        cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
        column = np.clip((cos * x)[:, None, :] + (sin * y)[:, :, None] + (width + 1) / 2, 0, width + 1)
        line = np.clip((cos * y)[:, :, None] - (sin * x)[:, None, :] + (height + 1) / 2, 0, height + 1)
        left, top = column.astype(np.int64), line.astype(np.int64)
        along, down, corner = column - left, line - top, own + top * row + left
        upper = flat[corner] + along * (flat[corner + 1] - flat[corner])
        lower = flat[corner + row] + along * (flat[corner + row + 1] - flat[corner + row])
        levels[look] = upper + down * (lower - upper)
    # So that machines whose cosines differ in the last bit see the same events.
    return np.round(motion.contrast[:, None, None] * levels, 6)


def filmed(images: Array, part: int, settings: ClipSettings = SETTINGS) -> Array:
    """Simulated clips of images, the same ones always.

    Args:
        images: 0 to 1, ``[samples, height, width]``.
        part: number of the part that they are, so that parts move differently.
        settings: how.

    Returns:
        Events, 0 or 1, uint8 ``[samples, time, 2, size, size]``, polarity ON before OFF.
    """
    samples, size = len(images), settings.size
    found = np.zeros((samples, settings.steps, 2, size, size), np.uint8)
    motion = Saccades.drawn(np.random.default_rng((settings.seed, part, 0)), samples, settings)
    for start in range(0, samples, _PORTION):
        which = slice(start, start + _PORTION)
        levels = log_intensity(images[which], motion.part(which), settings)
        events = settings.camera.events(levels, np.random.default_rng((settings.seed, part, 1, start)))[1:]
        steps = np.any(events.reshape(settings.steps, settings.looks, -1, 2, size, size), axis=1)
        found[which] = np.moveaxis(steps, 0, 1)
    return found


@cache
def of_digits() -> DataSet:
    """``clips-digits``, simulated: 1347 clips of the digits to train with and 450 of others to test with."""
    from .. import digits

    found = digits.load()
    train = _part(found.train_images / digits.BRIGHTEST, found.train_labels, 0)
    test = _part(found.test_images / digits.BRIGHTEST, found.test_labels, 1)
    classes = tuple(map(str, range(digits.CLASSES)))
    return _simulated("clips-digits", train, test, classes, "scikit-learn's handwritten digits")


@cache
def of_fashion(folder: Path | None = None) -> DataSet:
    """``clips-fashion``, simulated: clips of the first 6,000 training and 1,000 test images of Fashion-MNIST.

    See `neurodeploy.models.data.fashion.read` for the folder and the errors.
    """
    from . import fashion

    def part(name: str, most: int, number: int) -> Part:
        images, labels = fashion.read(name, folder)
        return _part(images[:most] / fashion.BRIGHTEST, labels[:most], number)

    train, test = part("train", FASHION_TRAIN, 0), part("t10k", FASHION_TEST, 1)
    return _simulated("clips-fashion", train, test, fashion.CLASSES, "Fashion-MNIST")


def _part(images: Array, labels: Array, number: int) -> Part:
    return Part(sole(filmed(images, number)), labels)


def _simulated(name: str, train: Part, test: Part, classes: tuple[str, ...], images: str) -> DataSet:
    what = f"simulated event camera before images of {images}, no recording of a sensor"
    source = f"{what} (neurodeploy.models.data.clips)"
    return DataSet(name, train, test, classes, 1, timed=True, simulated=True, source=source)
