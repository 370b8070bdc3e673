"""The how-to pages, run: what they show is what is printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from .checks import check, named, some


@pytest.mark.parametrize("path", some("howto-"), ids=named)
def test_page(path: Path, tmp_path: Path) -> None:
    check(path, tmp_path)
