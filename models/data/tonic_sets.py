"""Event data sets of the tonic library (N-MNIST, DVS Gesture, Spiking Heidelberg Digits, ...), as frames.

tonic keeps what it downloads in ``DIR/CLASS``, finds it there again, and reads it; its ``ToFrame`` makes the frames
(`neurodeploy.models.data.binning` says by which rule). A set that comes without a test part is split: a quarter of each
class is tested, the same one always.

Source: G. Lenz et al., "Tonic: event-based datasets and transformations", https://github.com/neuromorphs/tonic.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.errors import InvalidInputError, StorageError, did_you_mean
from neurodeploy.network.arrays import Array, sole
from neurodeploy.packages.commands import missing

from .binning import Binning, Sensor, checked
from .dataset import DataSet, Part

PREFIX = "tonic:"
_TESTED, _SEED = 0.25, 0


def load(name: str, folder: Path, binning: Binning = Binning()) -> DataSet:
    """The data set ``tonic:CLASS``: frames uint8 ``[samples, time, 2, height, width]``.

    What has one polarity (spikes of a cochlea) has one here, and what has no rows has one row.

    Args:
        name: a class of ``tonic.datasets``.
        folder: where tonic keeps, or is to put, its files.
        binning: ``size`` is the sensor's own, whatever it says.

    Raises:
        MissingPackageError: tonic is not installed.
        InvalidInputError: tonic has no such class, or it is no classification with one size of sensor; a damaged file.
        StorageError: its files are neither there nor can be had.
    """
    made = _opened(name, folder)
    sensor, classes = _sensor(name, made[0]), _classes(made[0])
    parts = [_part(name, one, sensor, binning) for one in made]
    classes = classes or tuple(map(str, range(1 + max(int(part.y.max()) for part in parts))))
    whole = DataSet(
        f"{PREFIX}{name}", parts[0], parts[-1], classes, 1, timed=True, simulated=False,
        source=f"tonic {_version()}, {name}" + ("" if len(parts) > 1 else f", {_TESTED:.0%} of each class tested"),
    )  # fmt: skip
    if len(parts) > 1:
        return whole
    train, test = whole.split(_TESTED, _SEED)
    return DataSet(whole.name, train, test, classes, 1, timed=True, simulated=False, source=whole.source)


def _version() -> str:
    import tonic

    return str(tonic.__version__)


def _opened(name: str, folder: Path) -> list[Any]:
    """Training and test part, or all in one, as tonic has them."""
    try:
        import tonic.datasets
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "tonic":
            raise
        own = "pip install tonic where there is a C compiler, or give files of your own: events --data DIR"
        raise missing(f"{PREFIX}{name}", "tonic", own) from error
    known = tonic.datasets.__all__
    if name not in known:
        raise InvalidInputError(
            "unknown data set of tonic",
            found=name,
            allowed=", ".join(known),
            hint=did_you_mean(name, known).removeprefix("; ") or None,
        )
    kind = getattr(tonic.datasets, name)
    takes = inspect.signature(kind).parameters
    options: list[dict[str, Any]] = [{}]
    if "train" in takes:
        options = [{"train": True}, {"train": False}]
    elif takes.get("split") is not None and takes["split"].default == "train":
        options = [{"split": "train"}, {"split": "test"}]
    try:
        return [kind(str(folder), **option) for option in options]
    except Exception as error:  # of the network, of archives, of its own: whatever a class of tonic's does
        raise StorageError(
            f"tonic cannot open {name}",
            found=f"{type(error).__name__}: {error}".split("\n")[0],
            hint=f"tonic looks for the files in {folder / name}, and downloads what is not there; put them there "
            "as https://tonic.readthedocs.io says, archive and unpacked folder",
        ) from error


def _sensor(name: str, made: Any) -> Sensor:
    """Of a data set of tonic's; its order is width, height, polarities."""
    size: Any = getattr(made, "sensor_size", None)
    try:
        width, height, polarities = map(int, size)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"{PREFIX}{name} has recordings of different sizes, which make no frames of one shape",
            found=f"sensor_size {size}",
            allowed="width, height and polarities",
        ) from error
    return Sensor(height, width, polarities)


def _classes(made: Any) -> tuple[str, ...]:
    """What tonic calls the classes; empty where it does not say."""
    names = getattr(made, "classes", ())
    if isinstance(names, Mapping):
        names = sorted(names, key=names.__getitem__)
    return tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names)


def _part(name: str, made: Any, sensor: Sensor, binning: Binning) -> Part:
    """Frames and classes of a part."""
    x, y = binning.room(len(made), sensor, f"{PREFIX}{name}"), np.zeros(len(made), np.int64)
    for number in range(len(made)):
        where = _where(name, made, number)
        try:
            events, label = made[number]
        except Exception as error:  # of a damaged file: whatever a class of tonic's does
            raise InvalidInputError(
                f"tonic cannot read {where}", found=f"{type(error).__name__}: {error}".split("\n")[0],
                hint="fetch the data again",
            ) from error  # fmt: skip
        try:
            y[number] = int(label)
        except (TypeError, ValueError) as error:
            raise InvalidInputError(
                f"{PREFIX}{name} is no classification",
                found=f"a target of type {type(label).__name__}",
                allowed="the number of a class",
            ) from error
        x[number] = _frames(checked(events, where, sensor), sensor, binning)
    return Part(sole(x), sole(y))


def _frames(events: Array, sensor: Sensor, binning: Binning) -> Array:
    """Frames of a stream, made by tonic; it lays out those of an empty one with width and height swapped."""
    from tonic.transforms import ToFrame

    _, polarities, height, width = shape = binning.shape(sensor)
    if not len(events):
        return np.zeros(shape, np.uint8)
    counted = ToFrame(sensor_size=(width, height, polarities), n_time_bins=binning.steps)(binning.shrunk(events))
    return binning.coded(counted)


def _where(name: str, made: Any, number: int) -> str:
    """The file of a sample, where tonic names it."""
    files = getattr(made, "data", ())
    named = number < len(files) and isinstance(files[number], str)
    return str(files[number]) if named else f"{PREFIX}{name}, sample {number}"
