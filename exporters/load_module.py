"""Getting the user's module: ``my_model.py:Net`` or ``package.module:Net``, with the weights of a checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from neurodeploy.errors import InvalidInputError, MissingFileError, MissingPackageError
from neurodeploy.files.atomic import existing_file
from neurodeploy.models.training.weights import load as load_weights
from neurodeploy.packages.commands import naming

from .checkpoint import load_checkpoint, said
from .torchvision_loads import torchvision_loads

_FORM = (
    "my_model.py:Net or package.module:Net, where Net is a torch.nn.Module, its class or a function that makes one; or "
    "the weights.safetensors of neurodeploy train"
)


def load_module(
    spec: str, checkpoint: Path | str | None = None, tell: Callable[[str], None] | None = None
) -> nn.Module:
    """Import ``spec``, make the module if it is a class or function, and load ``checkpoint`` into it.

    Args:
        spec: ``file.py:name`` or ``package.module:name``; running it runs the user's code. Or weights of one of our
            own models, as ``neurodeploy train`` and ``neurodeploy models import`` write them.
        checkpoint, tell: as for `neurodeploy.exporters.checkpoint.load_checkpoint`.

    Raises:
        MissingFileError: the file, the package or the checkpoint is not there.
        InvalidInputError: no such attribute, not a module, code that fails, or weights that do not fit.
        MissingPackageError: the code imports a framework that is not installed.
    """
    if spec.endswith(".safetensors") and checkpoint is None:
        return load_weights(Path(spec))[2]
    source, colon, name = spec.rpartition(":")
    if not colon or not source or not name:
        raise InvalidInputError("the model is not given in a form that can be imported", found=spec, allowed=_FORM)
    with torchvision_loads():
        module = _made(spec, source, name)
    if not isinstance(module, nn.Module):
        raise InvalidInputError(f"{spec} is not a torch module", found=type(module).__name__, allowed=_FORM)
    if checkpoint is not None:
        load_checkpoint(module, checkpoint, tell)
    return module


def _made(spec: str, source: str, name: str) -> Any:
    """What ``name`` is in ``source``, called where it is a class or a function."""
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
            with naming(spec):
                module = target()
        except MissingPackageError:
            raise
        except Exception as error:
            raise InvalidInputError(
                f"{spec} could not be called without arguments",
                found=said(error),
                hint="write a function without arguments that returns the module, and name that",
            ) from error
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
        with naming(source):
            found.loader.exec_module(code)
    except MissingPackageError:
        del sys.modules[found.name]
        raise
    except (Exception, SystemExit) as error:
        del sys.modules[found.name]
        raise InvalidInputError(f"{source} could not be run", found=said(error), hint="run it with python") from error
    finally:
        sys.path.remove(str(path.parent))
    return code


def _from_package(source: str) -> ModuleType:
    try:
        with naming(source):
            return import_module(source)
    except MissingPackageError:
        raise
    except ModuleNotFoundError as error:
        if error.name and (source == error.name or source.startswith(f"{error.name}.")):
            raise MissingFileError(
                f"there is no Python module {source}",
                allowed=_FORM,
                hint="check the name and the environment; a file needs its .py",
            ) from error
        raise InvalidInputError(f"{source} could not be imported", found=said(error)) from error
    except (Exception, SystemExit) as error:
        raise InvalidInputError(f"{source} could not be imported", found=said(error)) from error
