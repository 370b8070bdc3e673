"""The rules in a node's metadata: written and read back, refused where they mean nothing, and documented."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import nir
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neurodeploy.errors import InvalidInputError
from neurodeploy.network.neurons import UNLIMITED
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.conventions import Conventions, rules_of
from neurodeploy.nir_graph.metadata import KEYS, NAMESPACE, NeuronRules, put, section_of
from tests import nirgraphs

DOCS = Path(__file__).parents[2] / "docs"
GOES_WITH = {"now": [None, "hard", "subtract", "none"], "next": [None, "hard", "subtract"], "gate": [None, "hard"],
             "once": [None, "subtract"]}  # fmt: skip
"""From the table "When a spike resets" of docs/reference-conventions.md."""


def numbers(least: float, most: float, *, whole: bool = False) -> st.SearchStrategy:
    """One number, or one for each of three neurons, some of them equal."""
    one = st.integers(int(least), int(most)).map(float) if whole else st.floats(least, most)
    return st.one_of(
        one.map(np.array), arrays(np.float64, 3, elements=one), arrays(np.float64, 3, elements=one, fill=one)
    )


@st.composite
def valid(draw: st.DrawFn) -> NeuronRules:
    time = draw(st.sampled_from(sorted(GOES_WITH)))
    reset = draw(st.sampled_from(GOES_WITH[time]))
    now = time == "now"
    adapts = now and draw(st.booleans())
    return NeuronRules(
        reset=reset,
        initial=draw(st.one_of(st.just(0.0), numbers(-1e9, 1e9))),
        reset_time=time,
        max_spikes=draw(st.integers(1, UNLIMITED)) if now else 1,
        floor=draw(st.none() | st.floats(-1e9, 1e9)),
        comparison=draw(st.sampled_from([None, ">", ">="])),
        refractory=draw(st.none() | numbers(0, UNLIMITED, whole=True)) if now else None,
        threshold_decay=draw(numbers(0, 1)) if adapts else None,
        threshold_jump=draw(numbers(-1e9, 1e9)) if adapts else None,
        reset_current=draw(st.booleans()) if now and reset in (None, "hard") else False,
    )


def assert_same(a: NeuronRules, b: NeuronRules) -> None:
    """Field by field; a number and an array that holds nothing else are the same rule."""
    for item in fields(NeuronRules):
        x, y = getattr(a, item.name), getattr(b, item.name)
        if isinstance(x, np.ndarray) or isinstance(y, np.ndarray):
            assert x is not None and y is not None, item.name
            np.testing.assert_array_equal(*np.broadcast_arrays(x, y), err_msg=item.name)
        else:
            assert (type(x), x) == (type(y), y), item.name


@given(valid())
def test_what_is_written_is_read_back(rules: NeuronRules) -> None:
    assert_same(NeuronRules.from_metadata(rules.to_metadata(), "n", "CubaLIF"), rules)


@given(valid(), st.sampled_from(["hard", "subtract", "none"]), st.sampled_from([">", ">="]))
def test_what_the_graph_says_is_left_out(rules: NeuronRules, reset: str, comparison: str) -> None:
    said = rules.to_metadata(reset, comparison)
    assert ("reset" in said) == (rules.reset not in (None, reset))
    assert ("comparison" in said) == (rules.comparison not in (None, comparison))
    assert said.keys() | {"reset", "comparison"} == rules.to_metadata().keys() | {"reset", "comparison"}


@given(valid())
def test_defaults_are_not_written(rules: NeuronRules) -> None:
    for key in rules.to_metadata():
        assert np.any(getattr(rules, KEYS[key].field) != getattr(NeuronRules(), KEYS[key].field)), key


def test_a_file_keeps_them(tmp_path: Path) -> None:
    """Through HDF5, beside the entries of others; a constant array is one number in the file."""
    rules = NeuronRules(
        reset="subtract", initial=np.full(3, 0.25), max_spikes=5, floor=-1.5, comparison=">=",
        refractory=np.array([0.0, 1.0, 2.0]), threshold_decay=np.full(3, 0.5), threshold_jump=np.array([1.0, 2.0, 3.0]),
    )  # fmt: skip
    one = np.ones(3)
    node = nir.LIF(one, one, one, one, one, metadata={"theirs": 1, NAMESPACE: {"module": "net.1"}})
    put(node, rules.to_metadata("hard", ">"))
    assert node.metadata["theirs"] == 1 and section_of(node)["v_initial"] == 0.25
    graph = nirgraphs.sequence((3,), {"n": node})
    read = nir_file.read(nirgraphs.write(graph, tmp_path / "net.nir"))
    assert read.modules == {"n": "net.1"}
    assert_same(rules_of("n", read.graph.nodes["n"], Conventions(dt=1e-3)), rules)


def test_a_node_that_says_nothing_follows_its_graph() -> None:
    node = nir.LIF(*np.ones((5, 1)))
    rules = rules_of("n", node, Conventions(dt=1e-3, reset="subtract", comparison=">="))
    assert_same(rules, NeuronRules(reset="subtract", comparison=">="))
    put(node, {"reset": "sideways", "comparison": "<", "reset_current": True, "max_spikes": 2})
    overridden = Conventions(dt=1e-3, reset="none", given=frozenset({"reset", "comparison"}))
    assert_same(rules_of("n", node, overridden), NeuronRules(reset="none", comparison=">", max_spikes=2))


WRONG_VALUES = [
    ("reset", "soft", "unknown reset in its metadata", "hard, subtract, none"),
    ("reset", 1, "unknown reset in its metadata", "hard, subtract, none"),
    ("reset_time", "later", "unknown reset_time in its metadata", "now, next, gate, once"),
    ("comparison", "=", "unknown comparison in its metadata", ">, >="),
    ("max_spikes", 0, "max_spikes cannot be used", "a whole number from 1 on"),
    ("max_spikes", 2.5, "max_spikes cannot be used", "a whole number from 1 on"),
    ("max_spikes", True, "max_spikes cannot be used", "a whole number from 1 on"),
    ("v_floor", "low", "v_floor cannot be used", "one number"),
    ("v_floor", np.ones(2), "v_floor cannot be used", "one number"),
    ("v_floor", np.nan, "v_floor cannot be used", "one number"),
    ("v_initial", np.inf, "v_initial cannot be used", "-inf to inf"),
    ("v_initial", {"a": 1}, "v_initial cannot be used", "-inf to inf"),
    ("refractory", -1, "refractory cannot be used", "whole numbers from 0"),
    ("refractory", 1.5, "refractory cannot be used", "whole numbers from 0"),
    ("refractory", 2.0**31, "refractory cannot be used", "whole numbers from 0"),
    ("threshold_decay", np.array([0.5, 1.5]), "threshold_decay cannot be used", "0 to 1"),
    ("threshold_jump", np.nan, "threshold_jump cannot be used", "-inf to inf"),
    ("reset_current", 1, "reset_current cannot be used", "true or false"),
    ("reset_currant", True, "unknown key in its metadata", "module, v_initial"),
]


@pytest.mark.parametrize(("key", "value", "problem", "allowed"), WRONG_VALUES)
def test_wrong_values_are_refused(key: str, value: object, problem: str, allowed: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        NeuronRules.from_metadata({"threshold_decay": 0.5, "threshold_jump": 1.0, key: value}, "n", "CubaLIF")
    text = str(caught.value)
    assert f"node 'n': {problem}" in text and allowed in text
    assert (key if "unknown key" in problem else str(value)) in text


def test_a_value_of_each_rule_is_refused() -> None:
    assert {key for key, *_ in WRONG_VALUES} >= set(KEYS)


LATE = st.sampled_from([(time, reset) for time, resets in GOES_WITH.items() if time != "now" for reset in resets])
CONFLICTS = {
    "reset_time": st.sampled_from(
        [(time, reset) for time in ("next", "gate", "once") for reset in ("hard", "subtract", "none")
         if reset not in GOES_WITH[time]]
    ).map(lambda pair: {"reset_time": pair[0], "reset": pair[1]}),
    "max_spikes": st.tuples(LATE, st.integers(2, UNLIMITED)).map(lambda x: late(x[0], max_spikes=x[1])),
    "refractory": st.tuples(LATE, numbers(0, 9, whole=True)).map(lambda x: late(x[0], refractory=x[1])),
    "threshold_decay": LATE.map(lambda pair: late(pair, threshold_decay=0.5, threshold_jump=1.0)),
    "an adaptive threshold needs": st.sampled_from([{"threshold_decay": 0.5}, {"threshold_jump": 0.5}]),
    "reset_current": st.one_of(
        LATE.map(lambda pair: late(pair, reset_current=True)),
        st.sampled_from(["subtract", "none"]).map(lambda reset: {"reset": reset, "reset_current": True}),
    ),
}  # fmt: skip


def late(pair: tuple[str, str | None], **more: object) -> dict[str, object]:
    """A section with a reset that comes late."""
    time, reset = pair
    return {"reset_time": time, **({} if reset is None else {"reset": reset}), **more}


@pytest.mark.parametrize("which", CONFLICTS)
@given(data=st.data())
def test_rules_that_do_not_go_together_are_refused(which: str, data: st.DataObject) -> None:
    section = data.draw(CONFLICTS[which])
    with pytest.raises(InvalidInputError, match=f"node 'n': {which}"):
        NeuronRules.from_metadata(section, "n", "CubaLIF")


@pytest.mark.parametrize("kind", ["LIF", "IF", "LI", "I", "CubaLI", "Threshold"])
def test_only_a_cuba_lif_has_a_current_to_reset(kind: str) -> None:
    with pytest.raises(InvalidInputError, match=f"node 'n': reset_current does not go with its model(.|\n)*{kind}"):
        NeuronRules.from_metadata({"reset_current": True}, "n", kind)


def test_every_rule_has_a_key_and_every_key_is_documented() -> None:
    assert sorted(how.field for how in KEYS.values()) == sorted(item.name for item in fields(NeuronRules))
    files, conventions = ((DOCS / f"reference-{page}.md").read_text() for page in ("files", "conventions"))
    section = conventions.split("## Those of a neuron")[1].split("\n## ")[0]
    listed = files.split("## Metadata in .nir")[1].split("\n## ")[0]
    for key, how in KEYS.items():
        assert f"`{key}`" in section and f"`{key}`" in listed, key
        assert (
            f" {how.field}: " in (doc := NeuronRules.__doc__ or "")
            or f"{how.field}, " in doc
            or f", {how.field}:" in doc
        )
