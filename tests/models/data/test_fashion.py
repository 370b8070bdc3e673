"""IDX files written here byte by byte, and what is wrong with others; Debian's own where it is installed."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from neurodeploy.errors import InvalidInputError, MissingFileError
from neurodeploy.models.data import fashion, load

IMAGES = {"train": bytes(i % 251 for i in range(3 * 784)), "t10k": bytes(2 * 784)}
LABELS = {"train": bytes([9, 0, 4]), "t10k": bytes([1, 2])}


def images(part: str, rows: int = 28) -> bytes:
    return struct.pack(">4B3I", 0, 0, 8, 3, len(LABELS[part]), rows, 784 // rows) + IMAGES[part]


def labels(part: str) -> bytes:
    return struct.pack(">4BI", 0, 0, 8, 1, len(LABELS[part])) + LABELS[part]


def written(folder: Path, dotted: bool = False, packed: bool = False) -> Path:
    for part in IMAGES:
        for name, raw in ((f"{part}-images-idx3", images(part)), (f"{part}-labels-idx1", labels(part))):
            name = (name.replace("-idx", ".idx") if dotted else name) + "-ubyte" + (".gz" if packed else "")
            (folder / name).write_bytes(gzip.compress(raw) if packed else raw)
    return folder


@pytest.mark.parametrize("dotted", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_all_spellings_give_the_same_values(tmp_path: Path, dotted: bool, packed: bool) -> None:
    data = load("fashion-mnist", written(tmp_path, dotted, packed))
    assert data.train.x.shape == (3, 1, 28, 28) and data.test.x.shape == (2, 1, 28, 28)
    # Value i of the file lies in image i // 784, row i % 784 // 28, column i % 28.
    assert data.train.x[2, 0, 5, 7] == (2 * 784 + 5 * 28 + 7) % 251
    assert data.train.y.tolist() == [9, 0, 4] and data.test.y.tolist() == [1, 2]
    assert data.largest == 255 and not data.timed and not data.simulated and data.classes[9] == "ankle boot"


def refused(folder: Path, name: str, change: Callable[[bytes], bytes]) -> str:
    path = written(folder) / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InvalidInputError) as caught:
        load("fashion-mnist", folder)
    assert str(path) in str(caught.value)
    return str(caught.value)


TRAIN = "train-images-idx3-ubyte"


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (TRAIN, lambda raw: raw[:-1], "found:   2367 bytes\n  allowed: 2368 bytes"),  # 16 + 3 * 784
        (TRAIN, lambda raw: raw + b"\0", "found:   2369 bytes"),
        (TRAIN, lambda raw: raw[:9], "found:   9 bytes\n  allowed: 16 bytes or more"),
        (TRAIN, lambda raw: b"", "found:   a beginning of nothing"),
        (TRAIN, lambda raw: b"\x89PNG" + raw[4:], "found:   a beginning of 89 50 4e 47\n  allowed: 00 00 08 03"),
        (TRAIN, lambda raw: labels("train"), "found:   a beginning of 00 00 08 01"),
        (TRAIN, lambda raw: images("train", 14), "3 of 14 x 56 pixels"),
        (TRAIN, lambda raw: gzip.compress(raw)[:-9], "gzip cannot unpack"),
        (TRAIN, lambda raw: b"\x1f\x8b" + raw, "gzip cannot unpack"),
        (TRAIN, lambda raw: gzip.compress(raw)[:40] + bytes(40), "gzip cannot unpack"),
        (TRAIN, lambda raw: struct.pack(">4B3I", 0, 0, 8, 3, *[2**32 - 1] * 3), "found:   16 bytes"),
        (TRAIN, lambda raw: struct.pack(">4B3I", 0, 0, 8, 3, 0, 28, 28), "0 of 28 x 28"),
        ("train-labels-idx1-ubyte", lambda raw: labels("t10k"), "2 classes and 3 images"),
        ("t10k-labels-idx1-ubyte", lambda raw: raw[:-1] + b"\x0a", "found:   10\n  allowed: 0 to 9"),
    ],
)
def test_a_file_that_is_none_is_named(tmp_path: Path, name: str, change: Callable[[bytes], bytes], said: str) -> None:
    assert said in refused(tmp_path, name, change)


def test_what_is_missing_says_where_to_get_it(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    for folder, found in ((tmp_path, f"not in {tmp_path}"), (tmp_path / "none", "no folder")):
        with pytest.raises(MissingFileError, match="apt-get install dataset-fashion-mnist") as caught:
            load("fashion-mnist", folder)
        assert found in str(caught.value) and "--data" in str(caught.value)


@pytest.mark.skipif(not fashion.FOLDER.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_the_real_data_are_as_published() -> None:
    """Table 2 and section 2 of arXiv 1708.07747: 60,000 and 10,000 images, every class as often."""
    data = load("fashion-mnist")
    assert np.bincount(data.train.y).tolist() == [6000] * 10 and np.bincount(data.test.y).tolist() == [1000] * 10
    # Mean and standard deviation of the training pixels that everybody normalises with: 0.2860, 0.3530.
    assert data.train.x.mean() / 255 == pytest.approx(0.2860, abs=5e-5)
    assert data.train.x[:10_000].std() / 255 == pytest.approx(0.3530, abs=2e-3)
