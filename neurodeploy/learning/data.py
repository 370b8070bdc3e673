"""What a run learns from: the digits, simulated events of motion, or a user's own events.

A file of one's own is an ``.npz`` with ``train_x`` and ``test_x``, ``[time, samples, *shape]``, and ``train_y`` and
``test_y``, classes from 0 on ``[samples]``. Networks that begin from nothing take spikes, 0 or 1; a Program takes what
any run of it takes.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from neurodeploy.errors import InvalidInputError
from neurodeploy.files.atomic import existing_file, storage_errors
from neurodeploy.hwsim.event_learning.engine import Samples
from neurodeploy.network.arrays import Array

DIGITS, MOTION = "digits", "motion"
BUILT_IN = (DIGITS, MOTION)
NAMES = ("train_x", "train_y", "test_x", "test_y")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples to learn from and to be tested with; ``shape`` of a step of a sample, number of ``classes``."""

    train: Samples
    test: Samples
    shape: tuple[int, ...]
    classes: int


@dataclass(frozen=True, eq=False)
class Labelled:
    """Samples as a Program takes them, ``[time, samples, *shape]``, and their classes."""

    train_x: Array
    train_y: Array
    test_x: Array
    test_y: Array

    @property
    def steps(self) -> int:
        """Time steps of a sample."""
        return int(self.train_x.shape[0])

    @property
    def digest(self) -> str:
        """SHA-256 of all four arrays, their types and shapes."""
        found = sha256()
        for name in NAMES:
            array = np.ascontiguousarray(getattr(self, name))
            found.update(f"{name} {array.dtype.str} {array.shape}".encode())
            found.update(array.tobytes())
        return found.hexdigest()

    @classmethod
    def of(cls, arrays: Mapping[str, Array], where: str) -> Labelled:
        """Check arrays by name.

        Raises:
            InvalidInputError: one is missing, or does not hold what it should; says what.
        """
        if missing := [name for name in NAMES if name not in arrays]:
            raise InvalidInputError(f"{where}: no {', '.join(missing)}", allowed=", ".join(NAMES))
        own = {name: np.asarray(arrays[name]) for name in NAMES}
        for part in ("train", "test"):
            x, y = own[f"{part}_x"], own[f"{part}_y"]
            if y.ndim != 1 or not len(y) or not np.issubdtype(y.dtype, np.integer) or y.min() < 0:
                raise InvalidInputError(
                    f"{where}: {part}_y does not hold classes",
                    found=f"{y.dtype} {list(y.shape)}" + (f", from {y.min()} on" if y.size else ""),
                    allowed="whole numbers from 0 on, [samples]",
                )  # fmt: skip
            alike = x.ndim >= 3 and x.shape[0] == own["train_x"].shape[0] and x.shape[2:] == own["train_x"].shape[2:]
            if not alike or x.dtype.kind not in "biuf":
                raise InvalidInputError(
                    f"{where}: {part}_x has the wrong shape", found=f"{x.dtype} {list(x.shape)}",
                    allowed="numbers [time, samples, *shape], the same for train and test but for the samples",
                )  # fmt: skip
            if x.shape[1] != len(y):
                raise InvalidInputError(
                    f"{where}: {part}_x and {part}_y differ in samples", found=f"{x.shape[1]} and {len(y)}",
                    allowed="one class for each sample",
                )  # fmt: skip
        return cls(**own)


def labelled(path: str | Path) -> Labelled:
    """Samples of a user's file.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: it does not hold what it should; says what.
    """
    file = existing_file(path, "a file of samples (.npz)")
    return Labelled.of(_read(file), str(path))


def digits(code: str, steps: int) -> Dataset:
    """Scikit-learn's digits, encoded as spikes; see `neurodeploy.models.digits`."""
    from neurodeploy.models import digits as source

    found = source.load()
    train, test = (
        Samples.of(source.encode(code, images, steps), labels)
        for images, labels in ((found.train_images, found.train_labels), (found.test_images, found.test_labels))
    )
    return Dataset(train, test, source.SHAPE, source.CLASSES)


def motion() -> Dataset:
    """Two directions of motion before a simulated event camera; see `neurodeploy.models.motion`."""
    from neurodeploy.models import motion as source

    found = source.load()
    train, test = Samples.of(found.train_x, found.train_y), Samples.of(found.test_x, found.test_y)
    return Dataset(train, test, source.SHAPE, source.CLASSES)


def digest(path: str) -> str:
    """SHA-256 of a file of samples.

    Raises:
        MissingFileError: there is no such file.
    """
    with storage_errors("read", Path(path)):
        return sha256(existing_file(path, "a file of samples (.npz)").read_bytes()).hexdigest()


def own(path: str) -> Dataset:
    """Samples of a user.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: it does not hold what it should; says what.
    """
    found = labelled(path)
    classes = 1 + max(int(y.max()) for y in (found.train_y, found.test_y))
    train, test = Samples.of(found.train_x, found.train_y), Samples.of(found.test_x, found.test_y)
    return Dataset(train, test, found.train_x.shape[2:], max(classes, 2))


def steps_of(path: str) -> int:
    """Time steps of the samples of motion, or of a user's file; see `own` for the errors."""
    if path == MOTION:
        from neurodeploy.models.motion import STEPS

        return STEPS
    return labelled(path).steps


def _read(path: Path) -> dict[str, Array]:
    try:
        with storage_errors("read", path), np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("one array, and no archive of several")
            return {name: file[name] for name in NAMES if name in file.files}
    except (
        ValueError,
        KeyError,
        EOFError,
        zipfile.BadZipFile,
        NotImplementedError,
        AttributeError,
        TypeError,
    ) as error:
        raise InvalidInputError(
            f"{path} is not a usable .npz file", found=str(error).split("\n")[0], allowed=", ".join(NAMES),
            hint="save it with numpy.savez_compressed (no object arrays)",
        ) from error  # fmt: skip
