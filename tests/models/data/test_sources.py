"""Data sets by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from neurodeploy.errors import InvalidInputError
from neurodeploy.models import digits
from neurodeploy.models.data import load
from neurodeploy.models.data.sources import SOURCES


def test_the_digits_are_those_of_before() -> None:
    data, own = load("digits"), digits.load()
    assert data.shape == (1, 8, 8) and data.largest == 16 == data.train.x.max() and not data.timed
    assert np.array_equal(data.train.x[:, 0], own.train_images) and np.array_equal(data.test.y, own.test_labels)
    assert data.classes == tuple("0123456789")


def test_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(InvalidInputError, match="did you mean clips-digits") as caught:
        load("clip-digits")
    assert all(name in str(caught.value) for name in (*SOURCES, "tonic:CLASS"))


@pytest.mark.parametrize("name", ["digits", "clips-digits"])
def test_a_folder_that_nobody_reads_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match="read from no folder"):
        load(name, Path("here"))


def test_a_folder_that_is_needed_is_asked_for() -> None:
    with pytest.raises(InvalidInputError, match="--data DIR"):
        load("events")


def test_nothing_heavy_is_imported_before_it_is_asked_for() -> None:
    code = (
        "import sys; import neurodeploy.models.data; "
        "print([name for name in ('sklearn', 'torch', 'tonic', 'numba', 'h5py') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
