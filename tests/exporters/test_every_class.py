"""Every neuron class of every framework is exported or refused by name, and the documentation says which.

`benchmarks/export_matrix.py` exports and compares all of them; here each is asked, and one of each kind of change runs.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from neurodeploy.exporters import framework
from tests.exporters.matrix.classes import tried

FRAMEWORKS = ("norse", "snntorch", "spikingjelly", "sinabs")
SUPPORT = Path(__file__).resolve().parents[2] / "docs" / "reference-support.md"
TITLES = {"norse": "norse", "snntorch": "snnTorch", "spikingjelly": "SpikingJelly", "sinabs": "sinabs"}


def classes_of(name):
    return import_module(f"tests.exporters.matrix.{name}_classes")


def named(cell):
    return set(re.findall(r"`(\w+)`", cell))


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_no_class_is_forgotten(name):
    known = classes_of(name)
    assert set(known.ALL) == set(known.SETS) | known.NOT_NEURONS
    assert not set(known.SETS) & known.NOT_NEURONS


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_the_documentation_says_what_becomes_of_each(name):
    known, kind = classes_of(name), framework.get(name)
    row = next(line for line in SUPPORT.read_text().splitlines() if line.startswith(f"| [{TITLES[name]}]"))
    _, _, exported, refused, _ = row.split("|")
    for one, sets in known.SETS.items():
        reasons = [kind.refusal(make()) for make in sets]
        assert all(reasons) or not any(reasons), (one, reasons)
        assert one in named(refused if reasons[0] else exported), f"{one} is not in its column of {SUPPORT.name}"
        assert one not in named(exported if reasons[0] else refused), f"{one} is in the other column of {SUPPORT.name}"


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
