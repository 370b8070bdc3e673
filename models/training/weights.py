"""Trained weights as safetensors, whose metadata say which network they are of, and how it was trained."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from neurodeploy.errors import InvalidInputError
from neurodeploy.files.atomic import atomic_path, existing_file

from .. import registry
from ..system import System

KEY = "neurodeploy"
"""Of our entry in the metadata, a JSON document."""


def shape_read(system: System, said: Any) -> Any:
    """The sizes of a network of this system, from JSON.

    Raises:
        InvalidInputError: not the sizes of one.
    """
    known = {f.name for f in fields(system.shape)}
    if not isinstance(said, Mapping) or set(said) - known:
        raise InvalidInputError(
            f"the sizes of a {system.title} are not its own",
            found=", ".join(sorted(set(said) - known)) if isinstance(said, Mapping) else type(said).__name__,
            allowed=", ".join(sorted(known)),
        )
    return system.shape(**{name: _tuples(value) for name, value in said.items()})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def sha256(tensors: Mapping[str, Tensor]) -> str:
    """Of names, types, shapes and bytes of all tensors."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        array = tensor.detach().cpu().contiguous().numpy()
        found.update(f"{name} {array.dtype} {array.shape} ".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def save(path: Path, system: System, shape: Any, module: nn.Module, said: Mapping[str, Any]) -> None:
    """Write the weights, the network's name and sizes, and what else is ``said`` of them.

    Raises:
        StorageError: the file cannot be written.
    """
    from safetensors.torch import save as saved

    # Layers that columns share are stored under each of their names.
    tensors = {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}
    document = {"system": system.name, "shape": asdict(shape), **said}
    content = saved(tensors, metadata={KEY: json.dumps(document)})
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)  # whose errors are those of the disk


def said_of(path: Path) -> dict[str, Any] | None:
    """What the metadata of a file say; None for a file that is not ours.

    Raises:
        MissingFileError, InvalidInputError: there is no such file, or it is no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    path = existing_file(path, "a .safetensors file")
    try:
        with safe_open(path, framework="pt") as file:
            found = (file.metadata() or {}).get(KEY)
        document = None if found is None else json.loads(found)
    except (SafetensorError, ValueError) as error:
        raise InvalidInputError(
            f"{path} is not a file of weights", found=str(error).split("\n")[0], allowed="a complete safetensors file"
        ) from error
    return document if isinstance(document, dict) else None


def load(path: Path) -> tuple[System, Any, nn.Module, dict[str, Any]]:
    """What `save` wrote: the system, the sizes, the network in evaluation, and what is said of it.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: not a file of weights of a system that we know, or damaged.
    """
    from safetensors.torch import load_file

    document = said_of(path)
    if document is None or "system" not in document:
        raise InvalidInputError(
            f"{path} does not say whose weights it holds", allowed="a file of neurodeploy train or models import"
        )
    system = registry.system(str(document["system"]))
    shape = shape_read(system, document.get("shape"))
    try:
        module = system.build(shape)
        module.load_state_dict(load_file(path))
    except (RuntimeError, TypeError, ValueError, IndexError) as error:  # sizes of no network, or other tensors
        raise InvalidInputError(
            f"{path} does not hold the weights that it says", found=str(error).strip().split("\n")[-1].strip(),
            hint="train the network again",
        ) from error  # fmt: skip
    return system, shape, module.eval(), document
