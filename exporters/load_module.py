"""Getting the user's module: ``my_model.py:Net`` or ``package.module:Net``, with the weights of a checkpoint."""

from __future__ import annotations

import pickle
import sys
import zipfile
from collections.abc import Mapping
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from neurodeploy.errors import InvalidInputError, MissingFileError
from neurodeploy.files.atomic import existing_file

_FORM = "my_model.py:Net or package.module:Net, where Net is a torch.nn.Module, its class or a function that makes one"


def load_module(spec: str, checkpoint: Path | str | None = None) -> nn.Module:
    """Import ``spec``, make the module if it is a class or function, and load ``checkpoint`` into it.

    Args:
        spec: ``file.py:name`` or ``package.module:name``; running it runs the user's code.
        checkpoint: ``.safetensors``, or anything that ``torch.load(weights_only=True)`` takes; a state dict, or a
            dict with one under ``state_dict`` or ``model_state_dict``.

    Raises:
        MissingFileError: the file, the package or the checkpoint is not there.
        InvalidInputError: no such attribute, not a module, code that fails, or weights that do not fit.
    """
    source, colon, name = spec.rpartition(":")
    if not colon or not source or not name:
        raise InvalidInputError("the model is not given in a form that can be imported", found=spec, allowed=_FORM)
    code = _from_file(source) if source.endswith(".py") else _from_package(source)
    target: Any = code
    for part in name.split("."):
        if not hasattr(target, part):
            public = sorted(n for n, value in vars(code).items() if not n.startswith("_") and callable(value))
            raise InvalidInputError(f"{source} has no {name}", found=", ".join(public) or "nothing", allowed=_FORM)
        target = getattr(target, part)
    module = target
    if not isinstance(target, nn.Module) and callable(target):
        try:
            module = target()
        except Exception as error:
            raise InvalidInputError(
                f"{spec} could not be called without arguments",
                found=_said(error),
                hint="write a function without arguments that returns the module, and name that",
            ) from error
    if not isinstance(module, nn.Module):
        raise InvalidInputError(f"{spec} is not a torch module", found=type(module).__name__, allowed=_FORM)
    if checkpoint is not None:
        _load_into(module, _state(Path(checkpoint)), Path(checkpoint))
    return module


def _from_file(source: str) -> ModuleType:
    path = existing_file(source, "a Python file").resolve()
    found = spec_from_file_location(f"_neurodeploy_user_{path.stem}", path)
    assert found is not None
    assert found.loader is not None
    code = module_from_spec(found)
    sys.modules[found.name] = code  # dataclasses and pickle look their module up
    sys.path.insert(0, str(path.parent))  # as if the file were run: its neighbours can be imported
    try:
        found.loader.exec_module(code)
    except (Exception, SystemExit) as error:
        del sys.modules[found.name]
        raise InvalidInputError(f"{source} could not be run", found=_said(error), hint="run it with python") from error
    finally:
        sys.path.remove(str(path.parent))
    return code


def _from_package(source: str) -> ModuleType:
    try:
        return import_module(source)
    except ModuleNotFoundError as error:
        if error.name and (source == error.name or source.startswith(f"{error.name}.")):
            raise MissingFileError(
                f"there is no Python module {source}",
                allowed=_FORM,
                hint="check the name and the environment; a file needs its .py",
            ) from error
        raise InvalidInputError(f"{source} could not be imported", found=_said(error)) from error
    except (Exception, SystemExit) as error:
        raise InvalidInputError(f"{source} could not be imported", found=_said(error)) from error


def _state(path: Path) -> Mapping[str, Tensor]:
    existing_file(path, "a checkpoint (.pt, .pth or .safetensors)")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InvalidInputError(
            f"{path} holds more than weights and is refused, since unpickling it could run any code",
            found=str(error).strip().split("\n")[0][:200],
            allowed="tensors only",
            hint="save torch.save(model.state_dict(), path), or safetensors",
        ) from error
    except (RuntimeError, ValueError, EOFError, zipfile.BadZipFile, Exception) as error:
        raise InvalidInputError(
            f"{path} is not a checkpoint", found=_said(error), allowed="a file of torch.save or safetensors"
        ) from error
    for key in ("state_dict", "model_state_dict"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise InvalidInputError(
            f"{path} is not a state dict", found=type(loaded).__name__, hint="save model.state_dict()"
        )
    return loaded


def _load_into(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    own = module.state_dict()
    missing, surplus = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    shapes = [
        f"{key}: {list(state[key].shape)} instead of {list(own[key].shape)}"
        for key in sorted(own.keys() & state.keys())
        if state[key].shape != own[key].shape
    ]
    if missing or surplus or shapes:
        parts = (("missing", missing), ("not in the model", surplus), ("other shape", shapes))
        raise InvalidInputError(
            f"the weights in {path} are not this model's",
            found="; ".join(f"{label}: {_some(items)}" for label, items in parts if items),
            hint="give the checkpoint of this model, or the model of this checkpoint",
        )
    module.load_state_dict(state)


def _some(items: list[str]) -> str:
    return ", ".join(items[:3]) + (f" and {len(items) - 3} more" if len(items) > 3 else "")


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().split(chr(10))[0]}"
