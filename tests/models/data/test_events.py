"""Streams of events in frames: by hand, and against tonic's own; folders of .npy files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neurodeploy.errors import InvalidInputError, MissingFileError
from neurodeploy.models.data import Binning, load
from neurodeploy.models.data.binning import LARGEST_SET, Sensor, checked

FIELDS = [("t", np.uint32), ("p", bool), ("y", np.int16), ("x", np.uint8)]


def stream(*events: tuple[int, int, int, int], fields: list | None = None) -> np.ndarray:
    """Events given as (x, y, t, p), in a structured array with its fields in another order."""
    found = np.zeros(len(events), fields or FIELDS)
    for number, event in enumerate(events):
        for name, value in zip("xytp", event, strict=True):
            found[name][number] = value
    return found


def frames(events: np.ndarray, sensor: Sensor, **options: object) -> np.ndarray:
    return Binning(**options).frames(checked(events, "here", sensor), sensor)  # type: ignore[arg-type]


def test_steps_by_hand() -> None:
    """Times 100 to 131, T = 3: w = floor(31 / 3) = 10, steps from 100, 110, 120; the event at 130 is in none."""
    first, second = ((0, 0, 100, 0), (1, 0, 109, 1)), ((1, 0, 110, 1), (1, 0, 111, 1))
    events = stream(*first, *second, (2, 1, 129, 0), (2, 1, 130, 0), (0, 1, 131, 1))
    expected = np.zeros((3, 2, 2, 3), int)
    expected[0, 0, 0, 0] = expected[0, 1, 0, 1] = expected[2, 0, 1, 2] = 1
    expected[1, 1, 0, 1] = 2
    assert frames(events, Sensor(2, 3), steps=3, counts=True).tolist() == expected.tolist()
    assert frames(events, Sensor(2, 3), steps=3).tolist() == expected.clip(max=1).tolist()
    assert frames(events, Sensor(2, 3), steps=3).dtype == np.uint8


def test_two_pixels_become_one() -> None:
    """A sensor of 3 x 5, shrunk by 2, is 2 x 3: rows 0, 1 | 2 and columns 0, 1 | 2, 3 | 4."""
    events = stream((0, 0, 0, 1), (1, 1, 0, 1), (3, 2, 0, 1), (4, 0, 0, 0), (0, 0, 10, 0))
    found = frames(events, Sensor(3, 5), steps=1, counts=True, shrink=2)
    assert found[0, 1].tolist() == [[2, 0, 0], [0, 1, 0]] and found[0, 0].tolist() == [[0, 0, 1], [0, 0, 0]]


def test_counts_end_at_255() -> None:
    events = stream(*[(0, 0, 0, 1)] * 300, (0, 0, 5, 1))
    assert frames(events, Sensor(1, 1), steps=1, counts=True).tolist() == [[[[0]], [[255]]]]


def test_streams_without_a_step() -> None:
    for events in (stream(), stream((0, 0, 7, 1)), stream((0, 0, 7, 1), (0, 0, 9, 1))):
        assert not frames(events, Sensor(1, 1), steps=3).any()


def test_events_in_any_order_of_time() -> None:
    events = stream((0, 0, 0, 0), (1, 0, 12, 1), (2, 0, 25, 1), (0, 1, 30, 1))
    assert np.array_equal(frames(events[[2, 0, 3, 1]], Sensor(2, 3), steps=3), frames(events, Sensor(2, 3), steps=3))


@pytest.mark.parametrize("counts", [False, True])
@pytest.mark.parametrize(("steps", "seed"), [(1, 0), (3, 1), (10, 2), (10, 3), (64, 4)])
def test_frames_are_tonics(steps: int, seed: int, counts: bool) -> None:
    transforms = pytest.importorskip("tonic.transforms")
    random, count = np.random.default_rng(seed), 2000
    events = np.zeros(count, FIELDS)
    events["x"], events["y"], events["p"] = (random.integers(0, top, count) for top in (5, 4, 2))
    events["t"] = np.sort(random.integers(50, 50 + 10 ** (seed + 1), count))
    expected = transforms.ToFrame(sensor_size=(5, 4, 2), n_time_bins=steps)(events)
    found = frames(events, Sensor(4, 5), steps=steps, counts=counts)
    assert np.array_equal(found, expected.clip(max=255 if counts else 1)) and found.any()


@pytest.mark.parametrize(
    ("events", "said"),
    [
        (np.zeros((5, 4)), "float64 [5, 4]"),
        (np.zeros(5, [("x", int), ("t", int)]), "fields x, y, t, p"),
        (np.zeros((2, 3), FIELDS), "[2, 3]"),
        ([1, 2], "list"),
        (stream((0, 0, 0, 0), fields=[("x", int), ("y", int), ("t", float), ("p", int)]), "whole microseconds"),
        (stream((0, 0, 0, -1), fields=[(name, int) for name in "xytp"]), "-1 to -1\n  allowed: 0 to 1"),
        (stream((3, 0, 0, 0)), "x of events\n  found:   3 to 3\n  allowed: 0 to 2"),
        (stream((0, 2, 0, 0)), "y of events\n  found:   2 to 2\n  allowed: 0 to 1"),
    ],
)
def test_what_is_no_stream(events: object, said: str) -> None:
    with pytest.raises(InvalidInputError, match="here") as caught:
        checked(events, "here", Sensor(2, 3))
    assert said in str(caught.value)


@pytest.mark.parametrize("options", [{"steps": 0}, {"shrink": 0}, {"size": (0, 4)}])
def test_numbers_below_one(options: dict) -> None:
    with pytest.raises(InvalidInputError, match="1 or more"):
        Binning(**options)


def test_frames_that_are_too_large_are_refused_before_they_are_made() -> None:
    with pytest.raises(InvalidInputError, match="shrink"):
        Binning().room(1000, Sensor(720, 1280), "own")
    assert Binning(steps=1).shape(Sensor(2, 3)) == (1, 2, 2, 3) and LARGEST_SET == 8 * 2**30


def folder(at: Path) -> Path:
    """Two classes, of which one file has its only events at x = 4 and y = 2."""
    for name, events in {
        "train/left/a.npy": stream((4, 2, 0, 1), (0, 0, 10, 0)),
        "train/left/b.npy": stream((1, 1, 0, 0), (0, 0, 10, 0)),
        "train/right/c.npy": stream((2, 0, 3, 1), (0, 0, 13, 0)),
        "test/right/d.npy": stream((3, 1, 0, 1), (0, 0, 10, 0)),
    }.items():
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(at / name, events)
    (at / "train" / ".hidden").mkdir()
    return at


def test_a_folder_of_streams(tmp_path: Path) -> None:
    data = load("events", folder(tmp_path), Binning(steps=2))
    assert data.classes == ("left", "right") and data.timed and not data.simulated and data.largest == 1
    assert data.train.y.tolist() == [0, 0, 1] and data.test.y.tolist() == [1]
    assert data.shape == (2, 2, 3, 5)  # the smallest sensor that has all events
    assert np.argwhere(data.train.x).tolist() == [[0, 0, 1, 2, 4], [1, 0, 0, 1, 1], [2, 0, 1, 0, 2]]
    assert np.argwhere(data.test.x).tolist() == [[0, 0, 1, 1, 3]]
    assert load("events", tmp_path, Binning(steps=2, size=(8, 9))).shape == (2, 2, 8, 9)
    assert load("events", tmp_path, Binning(steps=2)).sha256 == data.sha256


def test_a_folder_with_another_layout(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="train"):
        load("events", tmp_path)
    folder(tmp_path)
    (tmp_path / "test" / "up").mkdir()
    with pytest.raises(InvalidInputError, match="found:   up\n  allowed: left, right"):
        load("events", tmp_path)
    (tmp_path / "train" / "up").mkdir()
    with pytest.raises(InvalidInputError, match="up has no sample"):
        load("events", tmp_path)


NO_FILES = (
    b"",
    b"x,y,t,p\n1,2,3,0\n",
    b"\x93NUMPY\x01\x00v\x00{'descr': ",
    b"PK\x03\x04",
    b"\x93NUMPY\x09" + bytes(99),
)


@pytest.mark.parametrize("raw", NO_FILES)
def test_files_that_are_none_are_named(tmp_path: Path, raw: bytes) -> None:
    path = folder(tmp_path) / "train" / "left" / "b.npy"
    path.write_bytes(raw)
    with pytest.raises(InvalidInputError) as caught:
        load("events", tmp_path)
    assert str(path) in str(caught.value)


def test_files_that_end_too_early_or_hold_objects(tmp_path: Path) -> None:
    path = folder(tmp_path) / "train" / "left" / "b.npy"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(InvalidInputError, match="usable"):
        load("events", tmp_path)
    np.save(path, np.array([{"x": 1}], object), allow_pickle=True)
    with pytest.raises(InvalidInputError, match="usable"):
        load("events", tmp_path)
    np.save(path, stream((9, 9, 0, 0)))
    with pytest.raises(InvalidInputError, match=r"b.npy: x of events\n  found:   9 to 9\n  allowed: 0 to 4"):
        load("events", tmp_path, Binning(size=(3, 5)))


def test_a_sensor_with_one_polarity_takes_either() -> None:
    events = stream((2, 0, 0, 1), (1, 0, 5, 0), (0, 0, 10, 1))
    assert frames(events, Sensor(1, 3, 1), steps=1).tolist() == [[[[0, 1, 1]]]]
