"""Makes lava-nc 0.10.0 importable where its authors never tried: Python 3.11 and later, NumPy 2.4 and later."""

from __future__ import annotations

import dataclasses
import importlib
from functools import partial
from typing import Any

import numpy as np


def install() -> None:
    """Prepare this interpreter; call it once, before anything of Lava is imported."""
    _import_var_model()
    if tuple(int(part) for part in np.__version__.split(".")[:2]) >= (2, 4):
        _replace_reshape()


def _import_var_model() -> None:
    """Import the one module that uses an instance of its dataclass ``ByteEncoder`` as another's default.

    Python 3.11 refuses a default that cannot be hashed, so that one class gets a hash.
    """
    original = dataclasses.dataclass

    def hashable(cls: Any = None, /, **options: Any) -> Any:
        if cls is not None and cls.__name__ == "ByteEncoder":
            options["unsafe_hash"] = True
        return original(cls, **options)

    dataclasses.dataclass = hashable
    try:
        importlib.import_module("lava.magma.compiler.var_model")
    finally:
        dataclasses.dataclass = original


def _replace_reshape() -> None:
    """Give reshaping ports the argument name that NumPy kept (``shape``); with the old one they hang."""
    ports = importlib.import_module("lava.magma.core.process.ports.ports")

    def forward(port: Any) -> Any:
        return partial(np.reshape, shape=port.shape)

    def backward(port: Any) -> Any:
        return partial(np.reshape, shape=port.old_shape)

    ports.ReshapePort.get_transform_func_fwd = forward
    ports.ReshapePort.get_transform_func_bwd = backward
