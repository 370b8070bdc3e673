"""A simulated event camera that watches discs move to the left or to the right: two classes that differ in time only.

The scene. Three discs cross a textured background, each with a radius r and a texture of its own. With x to the right
and y down from the middle of the view, in pixels, and t in time steps, a disc's middle is ``p + v t`` on a plane that
repeats every 24 pixels, of which the camera sees 16 x 16: a disc that leaves comes back on the other side. Class 0
moves to the left, class 1 to the right, each disc at its own 0.3 to 0.8 pixels a step and up to 0.5 rad upwards or
downwards. Textures are sums of cosines ``a sum_k cos(k . x + phase)`` of log intensity, a disc's moving with it; a
disc's mean is c of either sign, the background's 0. Of a pixel's area a disc covers
``alpha = min(max(1/2 + r - |x - middle|, 0), 1)``, in front of what is there:
``I <- (1 - alpha) I + alpha exp(c + texture)``, and ``L = log I``.

The camera. A pixel remembers the level L_ref at its last event. With the threshold theta of a polarity, which differs
from pixel to pixel as the camera's transistors do,

    ON    L - L_ref >= theta_on
    OFF   L - L_ref <= -theta_off

and an event sets L_ref to L. It then stays blind for the refractory period and starts from the L at its end. L_ref
sinks by the leak, so that a pixel at rest gives ON events at times; shot noise gives events of either polarity at
random. Levels are looked at several times a step, and a step's spike says that there was an event in it.

Why time is needed. Where discs begin, their speeds, textures and the signs of c are drawn alike for both classes, and
on the plane that repeats a disc is anywhere at any time: every pixel spikes as often in every step of both classes, so
that a weighted sum of spikes has the same mean for both. Frames summed over time differ no more in how pixels go
together: a dark disc leaves, to the left, about what a bright one leaves to the right.

Sources: P. Lichtsteiner, C. Posch, T. Delbruck, "A 128 x 128 120 dB 15 us latency asynchronous temporal contrast
vision sensor", IEEE JSSC 43(2), 2008 (the pixel: events at a change of log intensity, reset, mismatch of thresholds,
refractory period); G. Gallego et al., "Event-based vision: a survey", IEEE TPAMI 44(1), 2022, online 2020 (the model of
an ideal camera); Y. Hu, S.-C. Liu, T. Delbruck, "v2e: from video frames to realistic DVS events", CVPR Workshops 2021
(leak and shot noise). This one is our own and simpler: no bandwidth of the photoreceptor, noise that does not depend on
the light, and constants that are plausible and no particular camera's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

CLASSES = 2
"""0: to the left; 1: to the right."""
SIZE = 16
SHAPE = (2, SIZE, SIZE)
"""One step of a sample: polarity (ON, OFF), height, width."""
STEPS = 16
LOOKS = 4
"""How often a step levels are looked at."""
TRAIN, TEST = 2000, 1000

PIXELS = np.arange(SIZE) - (SIZE - 1) / 2
"""Middles of pixels along a side, from the middle of the view."""
PERIOD = 24.0
"""The plane in which discs move repeats after so many pixels."""
DISCS = 3
WAVES = 3
"""Cosines of a texture."""
_PART = 100
"""Samples simulated at once, for the sake of memory."""


@dataclass(frozen=True, eq=False)
class Texture:
    """Sums of cosines: wave vectors k ``[samples, waves, 2]`` (x, y), phases ``[samples, waves]``, amplitude a."""

    waves: Array
    phases: Array
    amplitude: float

    def at(self, x: Array, y: Array) -> Array:
        """Values ``[samples, height, width]`` in columns ``[samples, width]`` and rows ``[samples, height]``."""
        # Real part of exp(i (kx x + phase)) exp(i ky y), summed over the waves.
        along = self.waves[:, :, :1] * x[:, None] + self.phases[:, :, None]
        down = self.waves[:, :, 1:] * y[:, None]
        rows = np.concatenate([np.cos(down), -np.sin(down)], axis=1)
        total: Array = rows.transpose(0, 2, 1) @ np.concatenate([np.cos(along), np.sin(along)], axis=1)
        return self.amplitude * total

    @classmethod
    def drawn(cls, random: np.random.Generator, samples: int, amplitude: float) -> Texture:
        """Wavelengths of 3 to 8 pixels, in all directions."""
        length = 2 * np.pi / random.uniform(3, 8, (samples, WAVES, 1))
        angle = random.uniform(0, 2 * np.pi, (samples, WAVES))
        waves = length * np.stack([np.cos(angle), np.sin(angle)], axis=2)
        return cls(waves, random.uniform(0, 2 * np.pi, (samples, WAVES)), amplitude)


@dataclass(frozen=True, eq=False)
class Disc:
    """A moving disc for each sample; see the module's docstring.

    Args:
        start: p, in pixels, ``[samples, 2]`` (x, y).
        velocity: v, in pixels a step, ``[samples, 2]``.
        radius: r, in pixels, ``[samples]``.
        contrast: c, ``[samples]``.
        texture: that moves with it.
    """

    start: Array
    velocity: Array
    radius: Array
    contrast: Array
    texture: Texture

    def over(self, behind: Array, time: float) -> Array:
        """Intensity ``[samples, height, width]`` of what it covers, with it in front."""
        middle = self.start + self.velocity * time
        # Along each axis, from the middle of the disc that is nearest on the plane that repeats.
        x, y = ((PIXELS - m[:, None] + PERIOD / 2) % PERIOD - PERIOD / 2 for m in middle.T)
        distance = np.sqrt(x[:, None, :] ** 2 + y[:, :, None] ** 2)
        covered = np.clip(0.5 + self.radius[:, None, None] - distance, 0, 1)
        own = np.exp(self.contrast[:, None, None] + self.texture.at(x, y))
        seen: Array = behind + covered * (own - behind)
        return seen

    @classmethod
    def drawn(cls, random: np.random.Generator, labels: Array) -> Disc:
        """One that moves as each class says."""
        n = len(labels)
        angle, speed = random.uniform(-0.5, 0.5, n), random.uniform(0.3, 0.8, n)
        sign = np.where(labels == 1, 1, -1)
        return cls(
            start=random.uniform(0, PERIOD, (n, 2)),
            velocity=np.stack([sign * speed * np.cos(angle), speed * np.sin(angle)], axis=1),
            radius=random.uniform(2, 3.5, n),
            contrast=random.choice([-1.0, 1.0], n) * random.uniform(0.6, 1.2, n),
            texture=Texture.drawn(random, n, 0.15),
        )


@dataclass(frozen=True, eq=False)
class Scene:
    """A background and the discs in front of it, those later in the row nearer to the camera."""

    background: Texture
    discs: tuple[Disc, ...]

    def log_intensity(self, times: Array) -> Array:
        """L at times in steps ``[times]``: ``[times, samples, height, width]``."""
        samples = len(self.background.waves)
        still = np.broadcast_to(PIXELS, (samples, SIZE))
        behind, levels = np.exp(self.background.at(still, still)), np.empty((len(times), samples, SIZE, SIZE))
        for number, time in enumerate(times):
            seen = behind
            for disc in self.discs:
                seen = disc.over(seen, float(time))
            levels[number] = np.log(seen)
        # So that machines whose logarithms differ in the last bit see the same events.
        return np.round(levels, 6)

    @classmethod
    def drawn(cls, random: np.random.Generator, labels: Array) -> Scene:
        """A scene for each class."""
        background = Texture.drawn(random, len(labels), 0.05)
        return cls(background, tuple(Disc.drawn(random, labels) for _ in range(DISCS)))


@dataclass(frozen=True)
class Camera:
    """Pixels that see changes; see the module's docstring.

    Args:
        on, off: mean thresholds, of log intensity.
        mismatch: standard deviation of a pixel's threshold, in thresholds.
        refractory: looks for which a pixel is blind after an event.
        leak: by how much L_ref sinks from look to look.
        shot: probability of an event of noise, a pixel and look.
        seed: of its pixels' thresholds.
    """

    on: float = 0.25
    off: float = 0.25
    mismatch: float = 0.03
    refractory: int = 2
    leak: float = 0.0005
    shot: float = 0.0005
    seed: int = 0

    def events(self, levels: Array, random: np.random.Generator) -> Array:
        """ON and OFF events ``[looks, samples, 2, height, width]``.

        Args:
            levels: L, ``[looks, samples, height, width]``; the first look only sets L_ref.
            random: of shot noise.
        """
        view, silicon = levels.shape[2:], np.random.default_rng(self.seed)
        on, off = (t * np.maximum(1 + self.mismatch * silicon.normal(size=view), 0.1) for t in (self.on, self.off))
        found = np.zeros((len(levels), levels.shape[1], 2, *view), bool)
        reference, blind = levels[0].copy(), np.zeros(levels.shape[1:], np.int64)
        for look, level in enumerate(levels[1:], 1):
            reference -= self.leak
            sees = blind == 0
            reference[~sees] = level[~sees]
            noise = random.random(level.shape)
            up = sees & ((level - reference >= on) | (noise < self.shot / 2))
            down = sees & ~up & ((level - reference <= -off) | (noise > 1 - self.shot / 2))
            found[look, :, 0], found[look, :, 1] = up, down
            reference[up | down] = level[up | down]
            blind = np.where(up | down, self.refractory, np.maximum(blind - 1, 0))
        return found


@dataclass(frozen=True, eq=False)
class Motion:
    """Spikes uint8 ``[time, samples, 2, height, width]`` and classes int64 ``[samples]``, half of each class."""

    train_x: Array
    train_y: Array
    test_x: Array
    test_y: Array


def recorded(samples: int, seed: int, camera: Camera = Camera()) -> tuple[Array, Array]:
    """Spikes and classes of so many samples, all from one camera."""
    labels = np.arange(samples) % CLASSES
    np.random.default_rng((seed, 0)).shuffle(labels)
    spikes = np.zeros((STEPS, samples, *SHAPE), np.uint8)
    times = np.arange(STEPS * LOOKS + 1) / LOOKS
    for start in range(0, samples, _PART):
        part = slice(start, min(start + _PART, samples))
        scene = Scene.drawn(np.random.default_rng((seed, 1, start)), labels[part])
        found = camera.events(scene.log_intensity(times), np.random.default_rng((seed, 2, start)))
        spikes[:, part] = found[1:].reshape(STEPS, LOOKS, -1, *SHAPE).any(axis=1)
    return spikes, labels


@cache
def load() -> Motion:
    """2,000 samples to learn from and 1,000 to be tested with; the same ones always."""
    (train_x, train_y), (test_x, test_y) = recorded(TRAIN, 0), recorded(TEST, 1)
    for array in (train_x, train_y, test_x, test_y):
        array.setflags(write=False)
    return Motion(train_x, train_y, test_x, test_y)
