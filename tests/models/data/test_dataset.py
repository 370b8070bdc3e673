"""What a data set holds to, and its validation part, by counting."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.errors import InvalidInputError
from neurodeploy.models.data import DataSet, Part


def part(labels: list[int], shape: tuple[int, ...] = (1, 2, 2)) -> Part:
    """Each sample has its own number in every value."""
    numbers = np.arange(len(labels), dtype=np.uint8).reshape(-1, *[1] * len(shape))
    return Part(np.broadcast_to(numbers, (len(labels), *shape)), np.array(labels, np.int64))


def data(labels: list[int], classes: tuple[str, ...] = ("a", "b"), timed: bool = False) -> DataSet:
    shape = (3, 2, 2, 2) if timed else (1, 2, 2)
    return DataSet("own", part(labels, shape), part([0, 1], shape), classes, 1, timed, False, "made here")


def test_arrays_cannot_be_changed_by_anybody() -> None:
    x, y = np.zeros((2, 1, 3, 3), np.uint8), np.zeros(2, np.int64)
    own = Part(x, y)
    for array in (own.x, own.y):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    x[:] = 1
    assert not own.x.any() and len(own) == 2


def test_shape_is_that_of_one_sample() -> None:
    assert data([0, 1]).shape == (1, 2, 2)
    assert data([0, 1], timed=True).shape == (3, 2, 2, 2)


@given(counts=st.lists(st.integers(2, 12), min_size=2, max_size=4), fraction=st.floats(0.05, 0.95), seed=st.integers(0))
def test_a_split_is_one_of_the_training_part_by_class(counts: list[int], fraction: float, seed: int) -> None:
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    own = data(labels, tuple("abcd"[: len(counts)]))
    rest, held = own.split(fraction, seed)
    numbers = [set(p.x[:, 0, 0, 0].tolist()) for p in (rest, held)]
    assert not numbers[0] & numbers[1] and numbers[0] | numbers[1] == set(range(len(labels)))
    for each in (rest, held):
        assert each.y.tolist() == [labels[number] for number in each.x[:, 0, 0, 0]]
        assert sorted(each.x[:, 0, 0, 0]) == each.x[:, 0, 0, 0].tolist()
    for label, count in enumerate(counts):
        taken = int((held.y == label).sum())
        assert 1 <= taken <= count - 1 and (abs(taken - fraction * count) <= 0.5 or taken in (1, count - 1))
    again = own.split(fraction, seed)
    assert all(np.array_equal(a.x, b.x) for a, b in zip((rest, held), again, strict=True))


def test_another_seed_holds_back_others() -> None:
    own = data([0] * 20 + [1] * 20)
    assert not np.array_equal(own.split(0.5, 0)[1].x, own.split(0.5, 1)[1].x)


def test_sha256_is_of_everything_that_is_learned_from() -> None:
    own = data([0, 1, 1])
    found = hashlib.sha256()
    for name, each in (("train", own.train), ("test", own.test)):
        found.update(f"{name}_x |u1 [{len(each)}, 1, 2, 2]\n".encode() + each.x.tobytes())
        found.update(f"{name}_y <i8 [{len(each)}]\n".encode() + each.y.astype("<i8").tobytes())
    assert own.sha256 == found.hexdigest() == replace(own, name="other").sha256
    others = [replace(own, train=part([0, 1, 0])), replace(own, test=own.train), data([0, 1, 1], timed=True)]
    flat = Part(own.train.x.reshape(3, 2, 2, 1), own.train.y)
    others.append(replace(own, train=flat, test=Part(own.test.x.reshape(2, 2, 2, 1), own.test.y)))
    assert len({own.sha256, *(other.sha256 for other in others)}) == 5


IMAGES, LABELS = np.zeros((2, 1, 3, 3), np.uint8), np.zeros(2, np.int64)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (IMAGES.astype(float), LABELS),
        (IMAGES[0], LABELS),
        (IMAGES, LABELS.astype(np.int32)),
        (IMAGES, LABELS[:1]),
        (IMAGES, LABELS[:, None]),
        (IMAGES[:0], LABELS[:0]),
    ],
)
def test_arrays_that_are_no_samples(x: np.ndarray, y: np.ndarray) -> None:
    with pytest.raises(InvalidInputError):
        Part(x, y)


def test_parts_that_do_not_belong_together() -> None:
    own = data([0, 1])
    with pytest.raises(InvalidInputError, match="differ in shape"):
        replace(own, test=part([0], (1, 2, 3)))
    with pytest.raises(InvalidInputError, match="no name"):
        replace(own, test=part([2]))
    with pytest.raises(InvalidInputError, match="number of axes"):
        replace(own, timed=True)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, float("nan")])
def test_fractions_that_are_none(fraction: float) -> None:
    with pytest.raises(InvalidInputError, match="part of the samples"):
        data([0, 0, 1, 1]).split(fraction)


def test_a_single_sample_cannot_be_split() -> None:
    with pytest.raises(InvalidInputError, match="one sample of b"):
        data([0, 0, 1]).split(0.5)
