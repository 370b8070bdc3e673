"""The data sets by name; what reads or makes one is imported when it is asked for.

To add one, write a module with a function that gives a `DataSet`, and list a function here that calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from neurodeploy.errors import InvalidInputError, did_you_mean

from .binning import Binning
from .dataset import DataSet, Part

TONIC = "tonic:"
"""Before the name of a class of the tonic library."""


def load(name: str, folder: Path | None = None, binning: Binning = Binning()) -> DataSet:
    """The data set called ``name``: one of `SOURCES`, or ``tonic:CLASS`` for a class of ``tonic.datasets``.

    Args:
        name: of it.
        folder: of its files (``--data DIR``), where it is read from files.
        binning: how streams of events become frames; images and clips have none.

    Raises:
        InvalidInputError: there is no such data set, it needs a folder or takes none, or its files are unusable.
        MissingFileError: its files are not there.
        MissingPackageError: it needs a package that is not installed.
        StorageError: its files cannot be read or had.
    """
    if name.startswith(TONIC):
        return _tonic(name, folder, binning)
    if name not in SOURCES:
        raise InvalidInputError(
            "unknown data set",
            found=name,
            allowed=", ".join((*SOURCES, f"{TONIC}CLASS")),
            hint=did_you_mean(name, SOURCES).removeprefix("; ") or None,
        )
    return SOURCES[name](name, folder, binning)


def _digits(name: str, folder: Path | None, _: Binning) -> DataSet:
    _without(name, folder)
    from .. import digits

    found = digits.load()
    train, test = (
        Part(images[:, None], labels)
        for images, labels in ((found.train_images, found.train_labels), (found.test_images, found.test_labels))
    )
    source = "scikit-learn's handwritten digits (Alpaydin, Kaynak, UCI 1998)"
    classes = tuple(map(str, range(digits.CLASSES)))
    return DataSet(name, train, test, classes, digits.BRIGHTEST, timed=False, simulated=False, source=source)


def _fashion(_: str, folder: Path | None, __: Binning) -> DataSet:
    from . import fashion

    return fashion.load(folder)


def _clips_digits(name: str, folder: Path | None, _: Binning) -> DataSet:
    _without(name, folder)
    from . import clips

    return clips.of_digits()


def _clips_fashion(_: str, folder: Path | None, __: Binning) -> DataSet:
    from . import clips

    return clips.of_fashion(folder)


def _events(name: str, folder: Path | None, binning: Binning) -> DataSet:
    from . import events

    return events.load(_with(name, folder, f"with files as in {events.LAYOUT}"), binning)


def _tonic(name: str, folder: Path | None, binning: Binning) -> DataSet:
    from . import tonic_sets

    kind = name.removeprefix(TONIC)
    return tonic_sets.load(kind, _with(name, folder, f"tonic keeps its files in DIR/{kind}"), binning)


def _with(name: str, folder: Path | None, hint: str) -> Path:
    if folder is None:
        raise InvalidInputError(f"{name} is read from a folder", found="none", allowed="--data DIR", hint=hint)
    return folder


def _without(name: str, folder: Path | None) -> None:
    if folder is not None:
        raise InvalidInputError(f"{name} is read from no folder", found=f"--data {folder}", hint="leave --data out")


SOURCES: Mapping[str, Callable[[str, Path | None, Binning], DataSet]] = {
    "digits": _digits,
    "fashion-mnist": _fashion,
    "clips-digits": _clips_digits,
    "clips-fashion": _clips_fashion,
    "events": _events,
}
"""What makes each data set, given its name, a folder and a binning."""
