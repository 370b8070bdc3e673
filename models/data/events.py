"""Event streams of one's own, in a folder ``DIR/{train,test}/CLASS/*.npy``, as frames.

A file is one sample: a structured array ``[events]`` of integers with the fields x, y, t (microseconds) and p (0 or 1),
in any order, as the tonic library gives them and ``numpy.save`` writes them. Nothing is unpickled. Classes are the
folders in ``train``, in the order of their names; samples come in the order of theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from neurodeploy.errors import InvalidInputError, MissingFileError
from neurodeploy.files.atomic import existing_file, storage_errors
from neurodeploy.network.arrays import Array, sole

from .binning import Binning, Sensor, checked
from .dataset import DataSet, Part

PARTS = ("train", "test")
LAYOUT = "DIR/train/CLASS/*.npy and DIR/test/CLASS/*.npy"


def load(folder: Path, binning: Binning = Binning()) -> DataSet:
    """The data set ``events``: frames uint8 ``[samples, time, 2, height, width]`` of a folder's streams.

    Raises:
        MissingFileError: the folder, or one in it, is not there.
        InvalidInputError: a file holds no events, a class is only tested, or there are none.
        StorageError: a file cannot be read.
    """
    classes = _classes(folder / "train")
    if foreign := sorted(set(_classes(folder / "test")) - set(classes)):
        raise InvalidInputError(
            f"{folder / 'test'} has classes that train has not", found=", ".join(foreign), allowed=", ".join(classes)
        )
    files = {part: list(_files(folder / part, classes)) for part in PARTS}
    sensor = Sensor(*(binning.size or _smallest([path for part in PARTS for path, _ in files[part]])))
    train, test = (_part(files[part], sensor, binning) for part in PARTS)
    source = f"event streams of {folder}"
    return DataSet("events", train, test, classes, 1, timed=True, simulated=False, source=source)


def read(path: Path, sensor: Sensor | None = None) -> Array:
    """The events in a file, as `binning.checked` gives them; see it and `load` for the errors."""
    with storage_errors("read", existing_file(path, "a file of events (.npy)")), path.open("rb") as file:
        try:
            found = np.lib.format.read_array(file, allow_pickle=False)
        except (ValueError, EOFError, TypeError, KeyError, MemoryError, OverflowError) as error:
            raise InvalidInputError(
                f"{path} is no usable .npy file", found=str(error).split("\n")[0],
                allowed="a structured array without objects", hint="write it with numpy.save",
            ) from error  # fmt: skip
    return checked(found, str(path), sensor)


def _classes(folder: Path) -> tuple[str, ...]:
    """Names of the folders in one."""
    if not folder.is_dir():
        raise MissingFileError(f"{folder} is no folder", allowed=LAYOUT, hint="name DIR with --data")
    with storage_errors("read", folder):
        found = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not found:
        raise InvalidInputError(f"{folder} has no class", found="no folder in it", allowed=LAYOUT)
    return tuple(found)


def _files(folder: Path, classes: tuple[str, ...]) -> Iterator[tuple[Path, int]]:
    """Files of a part, and their classes."""
    for label, name in enumerate(classes):
        found = sorted((folder / name).glob("*.npy")) if (folder / name).is_dir() else []
        if not found and (folder / name).is_dir():
            raise InvalidInputError(f"{folder / name} has no sample", found="no .npy file", allowed=LAYOUT)
        yield from ((path, label) for path in found)


def _smallest(paths: list[Path]) -> tuple[int, int]:
    """Height and width of the smallest sensor that has all events."""
    height = width = 1
    for path in paths:
        if len(events := read(path)):
            height, width = max(height, int(events["y"].max()) + 1), max(width, int(events["x"].max()) + 1)
    return height, width


def _part(files: list[tuple[Path, int]], sensor: Sensor, binning: Binning) -> Part:
    """Frames and classes of files."""
    x = binning.room(len(files), sensor, str(files[0][0].parents[1]))
    for number, (path, _) in enumerate(files):
        x[number] = binning.frames(read(path, sensor), sensor)
    return Part(sole(x), sole(np.array([label for _, label in files], np.int64)))
