"""A training on disk, between epochs: what it is of, and what going on needs."""

from __future__ import annotations

import pickle
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from neurodeploy.errors import InvalidInputError
from neurodeploy.files.atomic import atomic_path


def save(path: Path, settings: dict[str, Any], state: dict[str, Any]) -> None:
    """Write it; a file that is there stays until the new one is complete.

    Raises:
        StorageError: the file cannot be written.
    """
    content = BytesIO()
    torch.save({"settings": settings, "state": state}, content)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getbuffer())  # whose errors are those of the disk


def load(path: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """The state of a training with the same settings; None where there is no file.

    Raises:
        InvalidInputError: a training of other settings, or a damaged file.
    """
    if not path.exists():
        return None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        theirs, state = dict(found["settings"]), dict(found["state"])
    except (OSError, EOFError, RuntimeError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise InvalidInputError(
            f"{path} is no state of a training", found=str(error).split("\n")[0][:200],
            hint="delete it to train from the beginning",
        ) from error  # fmt: skip
    other = sorted(key for key in settings.keys() | theirs.keys() if settings.get(key) != theirs.get(key))
    if other:
        raise InvalidInputError(
            f"{path} is a training of other settings",
            found=", ".join(f"{key} {theirs.get(key)!r} instead of {settings.get(key)!r}" for key in other),
            hint="give another folder, or delete the file to train from the beginning",
        )
    return state
