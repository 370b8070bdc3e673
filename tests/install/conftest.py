"""The wheel of this checkout, built once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.install.building import wheel_of_checkout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel_of_checkout(tmp_path_factory.mktemp("wheel"))
