"""tonic's data sets, from small files in the formats that it reads: N-MNIST, DVS Gesture, Spiking Heidelberg Digits."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from neurodeploy.errors import InvalidInputError, MissingPackageError, StorageError
from neurodeploy.models.data import Binning, load

tonic = pytest.importorskip("tonic")


def n_mnist(*events: tuple[int, int, int, int]) -> bytes:
    """Events (x, y, t, p): 40 bits each, of which 8 are x, 8 y, 1 p and 23 t in microseconds (Orchard et al. 2015)."""
    return b"".join(bytes((x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255)) for x, y, t, p in events)


@pytest.fixture
def recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """N-MNIST with three samples in place of 70,000, which is what tonic counts."""
    monkeypatch.setattr(tonic.datasets.NMNIST, "_check_exists", lambda own: True)
    for name, events in {
        "Train/0/00002.bin": [(33, 0, 1000, 1), (5, 33, 1000 + 70_000, 0), (0, 0, 1000 + 300_000, 0)],
        "Train/7/00001.bin": [(1, 2, 0, 0), (0, 0, 300_000, 1)],
        "Test/7/00001.bin": [(3, 4, 0, 1), (0, 0, 300_000, 1)],
    }.items():
        path = tmp_path / "NMNIST" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(n_mnist(*events))
    return tmp_path


def test_n_mnist(recordings: Path) -> None:
    data = load("tonic:NMNIST", recordings, Binning(steps=3))
    assert data.shape == (3, 2, 34, 34) and data.timed and not data.simulated and data.largest == 1
    assert data.train.y.tolist() == [0, 7] and data.test.y.tolist() == [7] and data.classes[7] == "7 - seven"
    # 300,000 us in three steps; the last event of each sample is in none.
    assert np.argwhere(data.train.x).tolist() == [[0, 0, 0, 33, 5], [0, 0, 1, 0, 33], [1, 0, 0, 2, 1]]
    assert np.argwhere(data.test.x).tolist() == [[0, 0, 1, 4, 3]]
    assert tonic.__version__ in data.source


def test_pixels_put_together(recordings: Path) -> None:
    data = load("tonic:NMNIST", recordings, Binning(steps=3, shrink=3))
    assert data.shape == (3, 2, 12, 12)
    assert np.argwhere(data.train.x).tolist() == [[0, 0, 0, 11, 1], [0, 0, 1, 0, 11], [1, 0, 0, 0, 0]]


def test_an_empty_recording_is_silent(recordings: Path) -> None:
    (recordings / "NMNIST" / "Test" / "7" / "00001.bin").write_bytes(b"")
    assert not load("tonic:NMNIST", recordings).test.x.any()


@pytest.mark.parametrize("raw", [n_mnist((1, 1, 1, 1))[:-2], n_mnist((34, 1, 1, 1))])
def test_a_damaged_recording_is_named(recordings: Path, raw: bytes) -> None:
    path = recordings / "NMNIST" / "Train" / "7" / "00001.bin"
    path.write_bytes(raw)
    with pytest.raises(InvalidInputError) as caught:
        load("tonic:NMNIST", recordings)
    assert str(path) in str(caught.value)


def test_dvs_gesture(tmp_path: Path) -> None:
    """Rows of x, y, p and t in milliseconds, one file a gesture; tonic looks for a hundred and the archive."""
    for part in ("Train", "Test"):
        home = tmp_path / "DVSGesture" / f"ibmGesture{part}"
        for user in range(10):
            (home / f"user{user:02}_led").mkdir(parents=True)
            for label in range(10):
                rows = [[label, 100 + user, 1, 0], [0, 0, 0, 10]]
                np.save(home / f"user{user:02}_led" / f"{label}.npy", np.array(rows))
        home.with_suffix(".tar.gz").touch()
    data = load("tonic:DVSGesture", tmp_path, Binning(steps=1))
    assert data.shape == (1, 2, 128, 128) and len(data.train) == len(data.test) == 100
    for sample, label in zip(data.train.x, data.train.y, strict=True):
        ((_, polarity, row, column),) = np.argwhere(sample)
        assert column == label and polarity == 1 and 100 <= row < 110


def test_spikes_of_a_cochlea_have_one_row_and_one_polarity(tmp_path: Path) -> None:
    """Spiking Heidelberg Digits: times in seconds and units of each sample, in one HDF5 file a part."""
    home = tmp_path / "SHD"
    home.mkdir()
    for part in ("train", "test"):
        (home / f"shd_{part}.h5.zip").touch()
        with h5py.File(home / f"shd_{part}.h5", "w") as file:
            times = file.create_dataset("spikes/times", (2,), h5py.vlen_dtype(np.float32))
            units = file.create_dataset("spikes/units", (2,), h5py.vlen_dtype(np.uint16))
            for sample in range(2):
                times[sample], units[sample] = [0.0, 0.25, 0.5], [3 + sample, 699, 0]
            file["labels"] = np.array([1, 0], np.uint16)
            file["extra/keys"] = np.array([b"zero", b"one"])
            file["extra/speaker"] = np.zeros(2, int)
    data = load("tonic:SHD", tmp_path, Binning(steps=2))
    assert data.shape == (2, 1, 1, 700) and data.classes == ("zero", "one") and data.train.y.tolist() == [1, 0]
    assert np.argwhere(data.train.x[0]).tolist() == [[0, 0, 0, 3], [1, 0, 0, 699]]


def test_without_a_test_part_a_quarter_is_tested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Own:
        sensor_size, classes = (2, 2, 2), {"b": 1, "a": 0}

        def __init__(self, save_to: str) -> None:
            assert save_to == str(tmp_path)

        def __len__(self) -> int:
            return 16

        def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
            return np.zeros(0, [(name, int) for name in "xytp"]), index % 2

    monkeypatch.setattr(tonic.datasets, "CIFAR10DVS", Own)
    data = load("tonic:CIFAR10DVS", tmp_path)
    assert np.bincount(data.train.y).tolist() == [6, 6] and np.bincount(data.test.y).tolist() == [2, 2]
    assert data.classes == ("a", "b") and "25% of each class tested" in data.source
    monkeypatch.setattr(Own, "__getitem__", lambda own, index: (np.zeros(0, [(n, int) for n in "xytp"]), "a cat"))
    with pytest.raises(InvalidInputError, match="no classification"):
        load("tonic:CIFAR10DVS", tmp_path)
    monkeypatch.setattr(Own, "sensor_size", None)
    with pytest.raises(InvalidInputError, match="different sizes"):
        load("tonic:CIFAR10DVS", tmp_path)


def test_what_cannot_be_had_says_where_tonic_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(own: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(tonic.datasets.NMNIST, "download", offline)
    with pytest.raises(StorageError, match="Network is unreachable") as caught:
        load("tonic:NMNIST", tmp_path)
    assert str(tmp_path / "NMNIST") in str(caught.value)


def test_unknown_classes_and_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="did you mean NMNIST"):
        load("tonic:NMNST", tmp_path)
    with pytest.raises(InvalidInputError, match="--data DIR"):
        load("tonic:NMNIST")


def test_without_tonic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = builtins.__import__

    def no_tonic(name: str, *rest: object) -> object:
        if name.partition(".")[0] == "tonic":
            raise ModuleNotFoundError("No module named 'tonic'", name="tonic")
        return there(name, *rest)  # type: ignore[arg-type]

    for name in [name for name in sys.modules if name.partition(".")[0] == "tonic"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", no_tonic)
    with pytest.raises(MissingPackageError, match="tonic") as caught:
        load("tonic:NMNIST", tmp_path)
    assert caught.value.hint
