"""The simulated event camera: its pixels by hand, its scenes by symmetry, and that summed frames do not tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from neurodeploy.models import motion
from neurodeploy.models.motion import Camera, Disc, Scene

QUIET = Camera(mismatch=0, leak=0, shot=0)
TIMES = np.arange(motion.STEPS * motion.LOOKS + 1) / motion.LOOKS


def looks(camera: Camera, *levels: float) -> list[str]:
    """What one pixel says at each look."""
    array = np.array(levels)[:, None, None, None]
    found = camera.events(array, np.random.default_rng(0))[:, 0, :, 0, 0]
    return ["+" * int(on) + "-" * int(off) for on, off in found]


def scene(labels: list[int], seed: int = 0) -> Scene:
    return Scene.drawn(np.random.default_rng(seed), np.array(labels))


def seen(of: Scene, camera: Camera = QUIET) -> np.ndarray:
    return camera.events(of.log_intensity(TIMES), np.random.default_rng(1))


def still(of: Scene) -> Scene:
    return replace(of, discs=tuple(replace(disc, velocity=0 * disc.velocity) for disc in of.discs))


def mirrored(of: Scene) -> Scene:
    """Left and right swapped: of places, velocities and wave vectors."""
    other = np.array([-1.0, 1.0])

    def texture(own: motion.Texture) -> motion.Texture:
        return replace(own, waves=own.waves * other)

    def disc(own: Disc) -> Disc:
        return replace(own, start=own.start * other, velocity=own.velocity * other, texture=texture(own.texture))

    return Scene(texture(of.background), tuple(disc(own) for own in of.discs))


def test_a_pixel_that_brightens_says_on_and_one_that_darkens_off() -> None:
    # The threshold is 0.25: the level has grown by 0.2 in the second look, by 0.3 in the third.
    assert looks(QUIET, 0, 0.2, 0.3, 0.3) == ["", "", "+", ""]
    assert looks(QUIET, 0, -0.2, -0.3, -0.3) == ["", "", "-", ""]
    assert looks(replace(QUIET, off=0.15), 0, -0.2, -0.3) == ["", "-", ""]


def test_a_pixel_is_blind_after_an_event_and_begins_anew() -> None:
    # Two blind looks; at their end it remembers 0.9, so that 1.1 is no event and 1.2 is one.
    assert looks(QUIET, 0, 0.3, 0.6, 0.9, 1.1, 1.2) == ["", "+", "", "", "", "+"]
    # Without: each look is 0.3 above the event before, then 0.2 and 0.3.
    assert looks(replace(QUIET, refractory=0), 0, 0.3, 0.6, 0.9, 1.1, 1.2) == ["", "+", "+", "+", "", "+"]


def test_a_leak_makes_pixels_at_rest_say_on() -> None:
    # What it remembers sinks by 0.1 a look: 0.3 below after three; then two blind looks, and three again.
    found = looks(replace(QUIET, leak=0.1), *[0.0] * 10)
    assert found == ["", "", "", "+", "", "", "", "", "+", ""]


def test_shot_noise_has_its_rate_and_both_polarities() -> None:
    levels = np.zeros((51, 100, 16, 16))
    found = replace(QUIET, shot=0.01, refractory=0).events(levels, np.random.default_rng(3))[1:]
    places = 50 * 100 * 256  # 6,400 of each polarity, standard deviation 80
    assert abs(found[:, :, 0].sum() - 0.005 * places) < 400 and abs(found[:, :, 1].sum() - 0.005 * places) < 400


def test_thresholds_differ_between_pixels_and_are_one_cameras() -> None:
    camera = replace(QUIET, mismatch=0.1)
    levels = np.linspace(0, 0.5, 200)[:, None, None, None] * np.ones((2, 16, 16))
    first = camera.events(levels, np.random.default_rng(0))[:, :, 0].argmax(axis=0) * 0.5 / 199
    assert np.array_equal(first[0], first[1])
    # 256 pixels: the spread of the spread is 0.1 / sqrt(512) = 0.0044.
    assert first[0].std() / 0.25 == pytest.approx(0.1, abs=0.02) and first[0].mean() == pytest.approx(0.25, abs=0.01)
    assert not np.array_equal(seen(scene([1]), camera), seen(scene([1]), replace(camera, seed=1)))


def test_a_scene_at_rest_is_silent() -> None:
    own = still(scene([0, 1, 0, 1]))
    assert not seen(own).any()
    assert seen(own, Camera()).any()  # leak and noise


def test_a_mirrored_scene_gives_mirrored_events() -> None:
    own = scene([0, 1, 1, 0, 1])
    assert seen(own).sum() > 500
    assert np.array_equal(seen(mirrored(own)), seen(own)[..., ::-1])


def test_classes_differ_in_the_direction_alone() -> None:
    left, right = scene([0, 0, 0]), scene([1, 1, 1])
    assert np.array_equal(left.background.waves, right.background.waves)
    for a, b in zip(left.discs, right.discs, strict=True):
        assert np.array_equal(a.start, b.start) and np.array_equal(a.contrast, b.contrast)
        assert (b.velocity[:, 0] > 0).all() and np.array_equal(a.velocity, b.velocity * [-1, 1])


def test_textures_are_sums_of_cosines() -> None:
    own = scene([0, 1]).background
    x, y = np.array([[0.5, 2.0, -3.0]] * 2), np.array([[1.5, -0.5]] * 2)
    found = own.at(x, y)
    assert found.shape == (2, 2, 3)
    for sample, row, column in np.ndindex(*found.shape):
        place = np.array([x[sample, column], y[sample, row]])
        expected = own.amplitude * np.cos(own.waves[sample] @ place + own.phases[sample]).sum()
        assert found[sample, row, column] == pytest.approx(expected, abs=1e-12)


def test_a_disc_covers_what_is_behind_it() -> None:
    """Radius 2, in the middle of the pixel in column and row 8: full at distance 0 and 1, half at 2, nothing at 3."""
    plain = replace(scene([1]).background, amplitude=0.0)
    disc = Disc(np.array([[0.5, 0.5]]), np.array([[0.25, 0.0]]), np.array([2.0]), np.array([-1.0]), plain)
    half, levels = np.log((1 + np.exp(-1)) / 2), Scene(plain, (disc,)).log_intensity(np.array([0.0, 4.0, 96.0]))
    assert levels[0, 0, 8, 8:12] == pytest.approx([-1, -1, half, 0], abs=1e-6)
    assert levels[1, 0, 8, 9:13] == pytest.approx([-1, -1, half, 0], abs=1e-6)  # a pixel further after four steps
    assert levels[2] == pytest.approx(levels[0], abs=1e-6)  # 24 pixels: where it was
    near = replace(disc, contrast=np.array([0.5]))
    assert Scene(plain, (disc, near)).log_intensity(np.zeros(1))[0, 0, 8, 8] == pytest.approx(0.5, abs=1e-6)


def test_a_bright_disc_says_on_where_it_goes() -> None:
    """In front of it pixels brighten, behind it they darken."""
    one = scene([1])
    disc = replace(
        one.discs[0], start=np.array([[-4.0, 0.0]]), velocity=np.array([[0.5, 0.0]]), contrast=np.array([1.0]),
        radius=np.array([2.0]), texture=replace(one.discs[0].texture, amplitude=0.0),
    )  # fmt: skip
    found = seen(Scene(replace(one.background, amplitude=0.0), (disc,)))[:, 0]
    place = np.arange(16)
    for look in range(20, 60, 8):
        on, off = found[look : look + 8].any(axis=0)
        assert (on.any(axis=0) * place).max() > (off.any(axis=0) * place).max()
    middle = found[:, :, 7:9].sum(axis=0)  # its path is 8 pixels long, and it is 4 wide
    assert middle[0].any(axis=0).sum() in (7, 8, 9) and middle[1].any(axis=0).sum() in (7, 8, 9)


def test_the_samples_are_the_same_always_and_balanced() -> None:
    x, y = motion.recorded(60, 5)
    again, labels = motion.recorded(60, 5)
    assert np.array_equal(x, again) and np.array_equal(y, labels) and np.bincount(y).tolist() == [30, 30]
    assert x.shape == (16, 60, 2, 16, 16) and x.dtype == np.uint8 and x.max() == 1
    assert not np.array_equal(motion.recorded(60, 6)[0], x)


def test_a_linear_read_out_of_summed_frames_cannot_tell() -> None:
    data = motion.load()
    assert len(data.train_y) == 2000 and len(data.test_y) == 1000 and data.test_y.mean() == 0.5

    def summed(x: np.ndarray) -> np.ndarray:
        return x.sum(axis=0).reshape(x.shape[1], -1)

    model = LogisticRegression(C=0.01, max_iter=300).fit(summed(data.train_x), data.train_y)
    assert model.score(summed(data.test_x), data.test_y) < 0.6
