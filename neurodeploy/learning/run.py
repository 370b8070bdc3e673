"""A learning run in portions: after each it can be stopped, and goes on later as if it had not been.

A run's folder holds ``checkpoint.npz``: the settings, all state of the learner
(`neurodeploy.hwsim.event_learning.engine.State`) and what has happened so far. It is replaced as a whole after every
portion, so a run that is killed at any moment loses one portion at most. Everything random depends on the seed, the
epoch and the number of the change alone.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from neurodeploy.errors import InvalidInputError
from neurodeploy.files.atomic import atomic_path, existing_file, storage_errors
from neurodeploy.network.arrays import Array

from .learners import Learner, learner
from .setup import Setup

CHECKPOINT = "checkpoint.npz"
FORMAT = 2
PORTION = 1000
"""Samples between two checkpoints."""


class Run:
    """A run; see the module's docstring.

    Args:
        setup: its settings.
        folder: for checkpoints; None for none.
        portion: samples between two of them.
        of: what learns; the setup's own network when not given.
    """

    def __init__(
        self, setup: Setup, folder: Path | None = None, portion: int = PORTION, of: Learner | None = None
    ) -> None:
        self.setup, self.folder = setup, folder
        self.learner = of or learner(setup)
        self.portion = max(portion // self.learner.grain, 1) * self.learner.grain
        self.taken = 0
        """Samples learned from so far, over all epochs."""
        self.accuracies = [self.learner.accuracy()]
        """On the test samples, after each epoch; the first is before any."""
        self.right: list[int] = []
        """Samples of each epoch whose class was right before learning from them."""
        self.counts: list[Array] = []
        """Of each epoch, ``[layers, kinds]``."""

    @property
    def _shape(self) -> tuple[int, int]:
        """Of an epoch's counts."""
        return len(self.learner.layers), len(self.learner.kinds)

    @property
    def samples(self) -> int:
        """Samples of the whole run."""
        return self.learner.size * self.setup.epochs

    @property
    def done(self) -> bool:
        return self.taken >= self.samples

    def advance(self) -> None:
        """Learn from the next portion, which ends with the epoch at the latest, and write a checkpoint."""
        size = self.learner.size
        epoch, at = divmod(self.taken, size)
        order = self.setup.order(epoch, size)[at : at + self.portion]
        right, counts = self.learner.learn(order, self.setup.rate(epoch))
        if at == 0:
            self.right.append(0)
            self.counts.append(np.zeros_like(counts))
        self.right[-1] += right
        self.counts[-1] = self.counts[-1] + counts
        self.taken += len(order)
        if self.taken % size == 0:
            self.accuracies.append(self.learner.accuracy())
        if self.folder:
            self.save(self.folder)

    def save(self, folder: Path) -> None:
        """Write the checkpoint.

        Raises:
            StorageError: it cannot be written; the one before is still there.
        """
        arrays = {f"state/{name}": value for name, value in self.learner.state().items()}
        with atomic_path(folder / CHECKPOINT) as path, path.open("wb") as handle:
            np.savez(
                handle, allow_pickle=False, format=np.array(FORMAT), setup=np.array(self.setup.to_json()),
                taken=np.array(self.taken), accuracies=np.array(self.accuracies), right=np.array(self.right, np.int64),
                counts=np.array(self.counts, np.int64), **arrays,
            )  # fmt: skip

    @classmethod
    def resume(
        cls, folder: Path, portion: int = PORTION, of: Learner | None = None,
        check: Callable[[Setup], None] = lambda setup: None,
    ) -> Run:  # fmt: skip
        """Go on from a folder's checkpoint.

        Args:
            of: what learns, as it was at first; the setup's own network when not given.
            check: refuses settings that are not those that were asked for.

        Raises:
            MissingFileError: there is none.
            InvalidInputError: it is damaged or of another version.
        """
        path = existing_file(folder / CHECKPOINT, "a checkpoint of neurodeploy learn")
        arrays = _read(path)
        setup = Setup.from_json(str(arrays["setup"]))
        check(setup)
        run = cls(setup, folder, portion, of)
        run.learner.restore({name[6:]: value for name, value in arrays.items() if name.startswith("state/")})
        taken, accuracies, counts = int(arrays["taken"].sum()), arrays["accuracies"], arrays["counts"]
        size = run.learner.size
        epochs = -(-taken // size)
        shapes = (arrays["right"].shape, counts.shape) == ((epochs,), (epochs, *run._shape)) or not epochs
        fits = 0 <= taken <= run.samples and accuracies.shape == (taken // size + 1,) and shapes
        sound = fits and bool(((accuracies >= 0) & (accuracies <= 1)).all() and (counts >= 0).all())
        if not sound or not all(0 <= right <= size for right in arrays["right"].tolist()):
            raise InvalidInputError(
                f"{path} is damaged", found=f"{taken} samples, {len(counts)} epochs", hint="begin the run anew"
            )
        run.taken, run.accuracies, run.right = taken, accuracies.tolist(), arrays["right"].tolist()
        run.counts = list(counts)
        return run


def _read(path: Path) -> dict[str, Array]:
    """All arrays of a checkpoint."""
    damaged = {"allowed": "a checkpoint of neurodeploy learn", "hint": "remove it to begin the run anew"}
    try:
        with storage_errors("read", path), np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise InvalidInputError(f"{path} is damaged", found=str(error).split("\n")[0], **damaged) from error
    missing = {"format", "setup", "taken", "accuracies", "right", "counts"} - set(arrays)
    if missing:
        raise InvalidInputError(f"{path} is damaged", found=f"no {', '.join(sorted(missing))}", **damaged)
    version = arrays["format"].tolist()
    if version != FORMAT:
        raise InvalidInputError(
            f"{path} is of another version", found=version, allowed=FORMAT, hint="begin the run anew"
        )
    return arrays
