"""SIMULATED clips: saccades and images by hand, what the camera sees of them, and that summed frames do not tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier

from neurodeploy.models.data import Part, fashion, load
from neurodeploy.models.data.clips import SACCADES, SETTINGS, ClipSettings, Saccades, filmed, log_intensity
from neurodeploy.models.digits import load as digits
from neurodeploy.models.motion import Camera

PLAIN = ClipSettings(size=4, steps=3, looks=1, side=2)
"""A pixel of a 2 x 2 image is one of the camera's, whose middle is between its four middle pixels."""
IMAGE = np.array([[[0.0, 1.0], [0.25, 0.5]]])


def resting(x: float = 0, y: float = 0, angle: float = 0, contrast: float = 1) -> Saccades:
    return Saccades(np.full((1, 4, 2), (x, y), float), np.full((1, 4), angle), np.array([contrast]))


def seen(saccades: Saccades, settings: ClipSettings = PLAIN) -> np.ndarray:
    return log_intensity(IMAGE, saccades, settings)[0, 0]


def test_an_image_is_where_the_camera_looks() -> None:
    expected = np.zeros((4, 4))
    expected[1:3, 1:3] = IMAGE[0]
    assert np.array_equal(seen(resting()), expected)
    assert np.array_equal(seen(resting(contrast=-1.5)), -1.5 * expected)
    assert np.array_equal(seen(resting(x=1)), np.roll(expected, 1, axis=1))
    assert np.array_equal(seen(resting(y=-1)), np.roll(expected, -1, axis=0))
    # Half a pixel to the right: each pixel is the mean of two, outside the image is 0.
    assert np.array_equal(seen(resting(x=0.5)), (expected + np.roll(expected, 1, axis=1)) / 2)
    assert not seen(resting(x=50)).any()


def test_a_quarter_turn_takes_x_to_y() -> None:
    """With y down, the angle pi / 2 takes what lay to the right to below: the upper right corner to the lower right."""
    turned = seen(resting(angle=np.pi / 2))[1:3, 1:3]
    assert turned.tolist() == [[0.25, 0.0], [0.5, 1.0]]


def test_an_image_is_as_large_as_said() -> None:
    """Side 4 for 2 pixels: at -1.5, -0.5, 0.5, 1.5 the camera looks -0.75, -0.25, 0.25, 0.75 from the middle."""
    row = seen(resting(y=-1), replace(PLAIN, side=4))[0]
    # Row -1.5 + 1 = -0.5 is -0.25 in the image, a quarter of the way down from the upper row to the lower one.
    upper, lower = IMAGE[0]
    at = [0.75 * (0.75 * upper[0] + 0.25 * lower[0])]  # a quarter of a pixel beyond the left column
    for share in (0.25, 0.75):
        at.append(
            0.75 * (upper[0] * (1 - share) + upper[1] * share) + 0.25 * (lower[0] * (1 - share) + lower[1] * share)
        )
    at.append(0.75 * (0.75 * upper[1] + 0.25 * lower[1]))
    assert row == pytest.approx(at, abs=1e-6)


def test_saccades_run_along_an_equilateral_triangle() -> None:
    drawn = Saccades.drawn(np.random.default_rng(0), 400, SETTINGS)
    sides = np.linalg.norm(np.diff(drawn.corners, axis=1), axis=2)
    assert sides.shape == (400, SACCADES) and np.allclose(sides, sides[:, :1])
    assert 6 <= sides.min() < 6.2 and 9.8 < sides.max() <= 10
    assert np.allclose(drawn.corners[:, 0], drawn.corners[:, -1])
    assert np.abs(drawn.corners[:, :3].mean(axis=1)).max() <= 2
    assert np.abs(drawn.angles[:, 0]).max() <= 0.15 and np.abs(np.diff(drawn.angles, axis=1)).max() <= 0.25
    size = np.abs(drawn.contrast)
    assert size.min() >= 1 and size.max() <= 1.5 and abs((drawn.contrast > 0).mean() - 0.5) < 0.1
    first, second = np.diff(drawn.corners, axis=1)[:, 0], np.diff(drawn.corners, axis=1)[:, 1]
    left = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0] > 0
    assert abs(left.mean() - 0.5) < 0.1  # four standard deviations
    assert np.abs(first.mean(axis=0)).max() < 1.2  # directions all around: sqrt(66 / 2 / 400) = 0.29


def test_places_between_corners() -> None:
    corners = np.array([[[0.0, 0.0], [2.0, 0.0], [2.0, 4.0], [0.0, 0.0]]])
    own = Saccades(corners, np.array([[0.0, 0.2, -0.2, 0.0]]), np.ones(1))
    for time, place, angle in ((0, (0, 0), 0), (0.25, (0.5, 0), 0.05), (1.5, (2, 2), 0), (3, (0, 0), 0)):
        found, turned = own.at(time)
        assert found[0] == pytest.approx(place) and turned[0] == pytest.approx(angle)


def test_a_still_image_without_noise_is_silent_and_a_moving_one_is_not() -> None:
    quiet = Camera(mismatch=0, leak=0, shot=0)
    still = replace(SETTINGS, travel=(0, 0), turn=0, camera=quiet)
    images = np.random.default_rng(0).random((3, 8, 8))
    assert not filmed(images, 0, still).any()
    assert filmed(images, 0, replace(still, travel=(6, 10))).reshape(3, -1).any(axis=1).all()
    assert filmed(images, 0, replace(still, turn=0.25)).reshape(3, -1).any(axis=1).all()
    assert filmed(images, 0, replace(still, camera=Camera(shot=0.001))).any()


def test_the_other_contrast_swaps_polarities() -> None:
    quiet = replace(SETTINGS, camera=Camera(mismatch=0, leak=0, shot=0))
    images = np.random.default_rng(1).random((2, 8, 8))
    own = Saccades.drawn(np.random.default_rng(2), 2, quiet)
    bright, dark = (
        quiet.camera.events(log_intensity(images, replace(own, contrast=c), quiet), np.random.default_rng(0))
        for c in (own.contrast, -own.contrast)
    )
    assert bright.any() and np.array_equal(bright, dark[:, :, ::-1])


def test_clips_of_the_digits_are_those_of_their_own_split() -> None:
    data, images = load("clips-digits"), digits()
    assert data.simulated and "simulated" in data.source and data.timed and data.largest == 1
    assert data.shape == (10, 2, 34, 34) and int(data.train.x.max()) == 1
    assert np.array_equal(data.train.y, images.train_labels) and np.array_equal(data.test.y, images.test_labels)
    assert data.train.x.reshape(len(data.train), -1).any(axis=1).all()


def test_the_same_clips_always_and_others_in_another_part() -> None:
    data, images = load("clips-digits"), digits().test_images / 16
    assert np.array_equal(filmed(images, 1), data.test.x)
    few = [filmed(images[:10], 1), filmed(images[:10], 0), filmed(images[:10], 1, replace(SETTINGS, seed=1))]
    assert not any(np.array_equal(few[i], few[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_frames_summed_over_time_do_not_tell_the_digit() -> None:
    """At most 80 % of the test clips, by ridge regression whose strength a part of the training clips chose."""
    data = load("clips-digits")

    def summed(part: Part) -> np.ndarray:
        return part.x.sum(axis=1, dtype=np.float64).reshape(len(part), -1)

    rest, held = data.split(0.2)
    models = [RidgeClassifier(alpha) for alpha in (1000, 10_000)]
    best = max(models, key=lambda model: model.fit(summed(rest), rest.y).score(summed(held), held.y))
    accuracy = best.fit(summed(data.train), data.train.y).score(summed(data.test), data.test.y)
    assert 0.2 < accuracy <= 0.8  # by chance 0.1


@pytest.mark.skipif(not fashion.FOLDER.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_clips_of_clothes_are_of_the_first_images(monkeypatch: pytest.MonkeyPatch) -> None:
    from neurodeploy.models.data import clips

    assert (clips.FASHION_TRAIN, clips.FASHION_TEST) == (6000, 1000)
    monkeypatch.setattr(clips, "FASHION_TRAIN", 40)
    monkeypatch.setattr(clips, "FASHION_TEST", 20)
    data = clips.of_fashion.__wrapped__()
    assert data.simulated and data.shape == (10, 2, 34, 34) and len(data.train) == 40
    assert np.array_equal(data.test.y, fashion.read("t10k")[1][:20])
    assert data.train.x.reshape(40, -1).any(axis=1).all()
