"""Every neuron class of every framework is exported or refused by name.

`benchmarks/export_matrix.py` exports and compares all of them; `tests.support` asks each, and compares with the page;
here one of each kind of change runs.
"""

from __future__ import annotations

from importlib import import_module

import pytest

from tests.exporters.matrix.classes import tried

FRAMEWORKS = ("norse", "snntorch", "spikingjelly", "sinabs")


def classes_of(name):
    return import_module(f"tests.exporters.matrix.{name}_classes")


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_no_class_is_forgotten(name):
    known = classes_of(name)
    assert set(known.ALL) == set(known.SETS) | known.NOT_NEURONS
    assert not set(known.SETS) & known.NOT_NEURONS


@pytest.mark.parametrize(
    ("name", "one"),
    [("spikingjelly", "SimpleIFNode"), ("spikingjelly", "HalfThresholdIFNode"), ("sinabs", "ALIFSqueeze")],
)
def test_exact(name, one, tmp_path):
    known = classes_of(name)
    found = tried(known.SETS[one][:1], known.ways, tmp_path)
    assert found.verdict == "exact", found.reason
    assert found.compared > 400
    assert found.spikes > 20
