"""A neuron model that another package brings, found by its entry point."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from neurodeploy.network import dispatch

PACKAGE = str(Path(__file__).parent / "package")


@pytest.fixture
def installed() -> Iterator[type]:
    """The package is importable, its metadata lie beside it as pip would put them; the model's dataclass."""
    sys.path.insert(0, PACKAGE)
    dispatch.models.cache_clear()
    try:
        from izhikevich import Izhikevich

        yield Izhikevich
    finally:
        sys.path.remove(PACKAGE)
        dispatch.models.cache_clear()
