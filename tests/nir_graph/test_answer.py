"""The answer in a `.nir` file: what was put in comes back exactly, and what is damaged or does not fit is refused."""

from __future__ import annotations

import json

import nir
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurodeploy.errors import InvalidInputError
from neurodeploy.exporters.write_nir import write
from neurodeploy.network.answer import Answer, Function, Linear, OverTime, Returned, Series, Total
from neurodeploy.nir_graph import answer as stored_answer
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.answer import RECORD, read, store
from neurodeploy.nir_graph.metadata import section_of
from tests import nirgraphs
from tests.answers import Drawn

LEAVES = [
    Series("lif1", "spikes", (4, 8, 8)), Series("lif2", "potential", (96,)), Series("readout", "potential", (10,)),
    Series("readout", "potential", (5, 2)), Series("input", "spikes", (8, 8)),
]  # fmt: skip
HEAD = Answer((Returned(Function(Linear(OverTime(LEAVES[2], "mean"), np.eye(10), np.ones(10), (10,)), "abs")),))


def stored(answer: Answer, path) -> nir_file.NirFile:
    graph = nirgraphs.conv()
    store(graph, answer)
    return nir_file.read(write(graph, path))


def held(seed: int):
    rng = np.random.default_rng(seed)
    return {s: rng.integers(0, 3, (3, 2, *s.shape)) if s.port == "spikes" else rng.normal(size=(3, 2, *s.shape))
            for s in LEAVES}  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 32))
def test_any_answer_comes_back_as_it_was(tmp_path, seed) -> None:
    leaves = [LEAVES[i] for i in (2, 3)]  # matrices of the large ones would make this test slow
    answer = Drawn(np.random.default_rng(seed), leaves, 3).answer()
    back = read(stored(answer, tmp_path / "a.nir"))
    assert back is not None and back.described() == answer.described()
    arrays = held(seed)
    for a, b in zip(answer.evaluate(arrays.get), back.evaluate(arrays.get), strict=True):
        np.testing.assert_array_equal(a, b)


def test_every_kind_of_node_can_be_read(tmp_path) -> None:
    answer = Answer(tuple(Returned(OverTime(leaf, "sum")) for leaf in LEAVES))
    back = read(stored(answer, tmp_path / "a.nir"))
    assert back is not None and back.series == tuple(LEAVES)


def test_a_constant_of_one_number_comes_back(tmp_path) -> None:
    one = Total(((2.0, Function(LEAVES[2], "max", dim=0)),), np.array(0.5))
    back = read(stored(Answer((Returned(one),)), tmp_path / "a.nir"))
    assert back is not None
    np.testing.assert_array_equal(back.evaluate(held(0).get)[0], held(0)[LEAVES[2]].max(2) * 2 + 0.5)


def test_other_tools_and_files_without_an_answer(tmp_path) -> None:
    file = stored(HEAD, tmp_path / "a.nir")
    assert RECORD not in file.metadata  # one line for each entry there
    assert sorted(nir.read(tmp_path / "a.nir").nodes) == sorted(nirgraphs.conv().nodes)
    assert read(nir_file.read(write(nirgraphs.conv(), tmp_path / "b.nir"))) is None


def changed(path, change):
    """A file whose record was changed: ``change(record, rule)`` returns what stands there then."""
    graph = nirgraphs.conv()
    store(graph, HEAD)
    record = dict(section_of(graph)[RECORD])
    rule = json.loads(record["rule"])
    found = change(record, rule)
    graph.metadata = {"neurodeploy": {RECORD: record | {"rule": json.dumps(rule)} if found is None else found}}
    return nir_file.read(write(graph, path))


def value_of(rule):
    return rule["fields"]["returned"][0]["fields"]["value"]


DAMAGE = {
    "no group": lambda record, rule: "yes",
    "no rule": lambda record, rule: {"array_0": np.ones(3)},
    "no JSON": lambda record, rule: record | {"rule": "{"},
    "numbers for a rule": lambda record, rule: record | {"rule": np.ones(3)},
    "nested without end": lambda record, rule: record | {"rule": "[" * 100_000},
    "not an answer": lambda record, rule: record | {"rule": json.dumps(value_of(rule))},
    "a list": lambda record, rule: record | {"rule": "[]"},
    "an unknown type": lambda record, rule: rule.update(type="Network"),
    "an unknown field": lambda record, rule: rule["fields"].update(extra=1),
    "a missing field": lambda record, rule: rule["fields"].clear(),
    "an unknown function": lambda record, rule: value_of(rule)["fields"].update(name="os.system"),
    "an array that is not there": lambda record, rule: value_of(rule)["fields"]["of"]["fields"].update(
        matrix={"array": 7}
    ),
    "an array in place of a number": lambda record, rule: value_of(rule)["fields"].update(dim={"array": 0}),
    "text for a matrix": lambda record, rule: record.update(array_0="x"),
    "a matrix of another size": lambda record, rule: record.update(array_0=np.ones((10, 9))),
    "NaN": lambda record, rule: record.update(array_1=np.full(10, np.inf)),
    "fewer arrays": lambda record, rule: {key: value for key, value in record.items() if key != "array_1"},
    "too deep": lambda record, rule: rule["fields"]["returned"][0]["fields"].update(value=deep(value_of(rule), 70)),
}


def deep(value, levels: int):
    for _ in range(levels):
        value = {"type": "answer.Function", "fields": {"of": value, "name": "abs", "dim": None, "value": None}}
    return value


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_answer_is_one_message(tmp_path, what) -> None:
    file = changed(tmp_path / "a.nir", DAMAGE[what])
    with pytest.raises(InvalidInputError, match=r"(?s)a\.nir holds a damaged answer.*found"):
        read(file)


def test_a_rule_that_is_too_long(tmp_path, monkeypatch) -> None:
    file = stored(HEAD, tmp_path / "a.nir")
    monkeypatch.setattr(stored_answer, "LONGEST", 20)
    with pytest.raises(InvalidInputError, match="up to 20 characters"):
        read(file)
    with pytest.raises(NotImplementedError, match="too long"):
        store(nirgraphs.conv(), HEAD)


@pytest.mark.parametrize(
    ("series", "words"),
    [
        (Series("lif3", "spikes", (4,)), r"spikes of lif3.*no node.*lif[12]"),
        (Series("readout", "spikes", (10,)), r"spikes of readout.*LI.*LIF"),
        (Series("fc", "potential", (10,)), r"potentials of fc.*Affine"),
        (Series("input", "potential", (64,)), r"potentials of input.*Input"),
        (Series("output", "spikes", (10,)), r"spikes of output.*Output"),
        (Series("lif1", "spikes", (4, 8)), r"another size.*\[4, 8\].*\[4, 8, 8\]"),
    ],
)
def test_an_answer_that_does_not_fit_its_graph(tmp_path, series, words) -> None:
    answer = Answer((Returned(OverTime(series, "sum")),))
    with pytest.raises(InvalidInputError, match="(?s)" + words):
        store(nirgraphs.conv(), answer)

    def put(record, rule):
        value = {"population": series.population, "port": series.port, "shape": list(series.shape)}
        rule["fields"]["returned"][0]["fields"]["value"] = {"type": "answer.Series", "fields": value}

    file = changed(tmp_path / "a.nir", put)
    with pytest.raises(InvalidInputError, match=r"(?s)a\.nir: .*" + words):
        read(file)
