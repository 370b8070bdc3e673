"""What a run learns from: the digits, or a user's own spikes.

A file of one's own is an ``.npz`` with ``train_x`` and ``test_x``, spikes 0 or 1 ``[time, samples, *shape]``, and
``train_y`` and ``test_y``, classes from 0 on ``[samples]``.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from neurodeploy.errors import InvalidInputError
from neurodeploy.files.atomic import existing_file, storage_errors
from neurodeploy.hwsim.event_learning.engine import Samples
from neurodeploy.network.arrays import Array

DIGITS = "digits"
NAMES = ("train_x", "train_y", "test_x", "test_y")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples to learn from and to be tested with; ``shape`` of a step of a sample, number of ``classes``."""

    train: Samples
    test: Samples
    shape: tuple[int, ...]
    classes: int


def digits(code: str, steps: int) -> Dataset:
    """Scikit-learn's digits, encoded as spikes; see `neurodeploy.models.digits`."""
    from neurodeploy.models import digits as source

    found = source.load()
    train, test = (
        Samples.of(source.encode(code, images, steps), labels)
        for images, labels in ((found.train_images, found.train_labels), (found.test_images, found.test_labels))
    )
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
    arrays = _read(existing_file(path, "a file of samples (.npz)"))
    for part in ("train", "test"):
        x, y = arrays[f"{part}_x"], arrays[f"{part}_y"]
        if y.ndim != 1 or not len(y) or not np.issubdtype(y.dtype, np.integer) or y.min() < 0:
            raise InvalidInputError(
                f"{path}: {part}_y does not hold classes", found=f"{y.dtype} {list(y.shape)}",
                allowed="whole numbers from 0 on, [samples]",
            )  # fmt: skip
        if x.ndim < 3 or x.shape[0] != arrays["train_x"].shape[0] or x.shape[2:] != arrays["train_x"].shape[2:]:
            raise InvalidInputError(
                f"{path}: {part}_x has the wrong shape", found=list(x.shape),
                allowed="[time, samples, *shape], the same for train and test but for the samples",
            )  # fmt: skip
    classes = 1 + max(int(arrays[f"{part}_y"].max()) for part in ("train", "test"))
    train, test = (Samples.of(arrays[f"{part}_x"], arrays[f"{part}_y"]) for part in ("train", "test"))
    return Dataset(train, test, arrays["train_x"].shape[2:], max(classes, 2))


def steps_of(path: str) -> int:
    """Time steps of a user's samples; see `own` for the errors."""
    return own(path).train.steps


def _read(path: Path) -> dict[str, Array]:
    try:
        with storage_errors("read", path), np.load(path, allow_pickle=False) as file:
            missing = [name for name in NAMES if name not in getattr(file, "files", ())]
            if not missing:
                return {name: file[name] for name in NAMES}
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
    raise InvalidInputError(f"{path} lacks {', '.join(missing)}", allowed=", ".join(NAMES))
