"""An answer is what torch computes from the same spikes and potentials, and it comes back from a file as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.errors import InvalidInputError
from neurodeploy.network.answer import Answer, Function, Linear, OverTime, Product, Returned, Series, Total
from tests.answers import Drawn, torch_returned, torch_value

LEAVES = [
    Series("a", "spikes", (6,)), Series("a", "potential", (2, 3)), Series("b", "spikes", (2, 2, 2)),
    Series("b", "potential", (4, 2)), Series("one", "potential", (1,)),
]  # fmt: skip
SIZES = {"a": 6, "b": 8, "one": 1}
LIF2 = Series("lif2", "spikes", (10,))


def drawn(seed: int, steps: int, samples: int):
    """Series as a run gives them: counts of spikes, and potentials."""
    rng = np.random.default_rng(seed)
    return {
        (name, port): rng.integers(0, 3, (steps, samples, size)) if port == "spikes"
        else rng.normal(size=(steps, samples, size)) * 3
        for name, size in SIZES.items() for port in ("spikes", "potential")
    }  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 1 << 32), steps=st.integers(1, 5), samples=st.integers(1, 3))
def test_random_answers_are_what_torch_computes(seed, steps, samples) -> None:
    held = drawn(seed, steps, samples)
    answer = Drawn(np.random.default_rng(seed + 1), LEAVES, steps).answer()
    found = answer.evaluate(lambda s: held[s.population, s.port])
    for value, item in zip(found, answer.returned, strict=True):
        expected = torch_returned(item, lambda s: torch.tensor(held[s.population, s.port]).double()).numpy()
        assert value.dtype == np.float64 and value.shape == expected.shape
        np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-9)
        assert item.axes.count(",") == value.ndim - 1
    assert set(answer.populations) <= set(SIZES) and answer.described()


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 1 << 32), steps=st.integers(1, 4))
def test_scores_are_those_of_the_first_value_with_classes(seed, steps) -> None:
    held = drawn(seed, steps, 2)
    answer = Drawn(np.random.default_rng(seed), LEAVES, steps).answer()
    found = answer.scores(lambda s: held[s.population, s.port])
    expected = None
    for item in answer.returned:
        value = item.value
        if isinstance(value, Function) and value.name == "argmax":
            if np.prod(value.features) != 1:
                continue
            value = value.of
        if np.prod(value.features) > 1:
            there = torch_value(value, lambda s: torch.tensor(held[s.population, s.port]).double())
            expected = (there.sum(0) if value.timed else there).flatten(1).numpy()
            break
    assert (found is None) == (expected is None) == (answer.classes is None)
    if expected is not None:
        assert answer.classes == expected.shape[1]
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_extreme_values_are_those_of_torch() -> None:
    x = np.array([[[-1e4, -np.inf, 0.0, 1e4, 710.0, -0.0]]])
    leaf = Series("x", "potential", (6,))
    for name in ("softmax", "log_softmax", "sigmoid", "tanh", "log", "sqrt", "exp", "relu"):
        expr = Function(leaf, name, dim=0 if "softmax" in name else None)
        (found,) = Answer((Returned(expr),)).evaluate(lambda _: x)
        np.testing.assert_array_equal(found, torch_value(expr, lambda _: torch.tensor(x)).numpy(), err_msg=name)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Function(OverTime(LIF2, "mean"), "log_softmax", dim=0),
         "mean over time of the spikes of lif2, then log_softmax"),
        (OverTime(Series("fc", "potential", (10,)), "last"), "last step of the potentials of fc"),
        (Function(Linear(OverTime(LIF2, "sum"), np.ones((2, 10)), None, (2,)), "argmax", dim=0),
         "sum over time of the spikes of lif2, then linear to 2, then argmax"),
        (OverTime(Function(Series("c", "spikes", (4, 5)), "max", dim=1), "mean"),
         "mean over time of (the spikes of c, then max over dimension 1)"),
        (Total(((1.0, LIF2), (0.5, Function(LIF2, "power", value=2.0))), np.zeros(10)),
         "the spikes of lif2 + 0.5 x (the spikes of lif2, then power 2) + a constant"),
        (Product(LIF2, Series("gate", "spikes", (10,))), "the spikes of lif2 times the spikes of gate"),
    ],
)  # fmt: skip
def test_a_rule_reads_as_a_sentence(value, expected) -> None:
    assert Answer((Returned(value),)).described() == expected
    both = Answer((Returned(value), Returned(LIF2, (1, 0, 2)), Returned(LIF2, merged=True, shape=(2, 5))))
    behind = "the spikes of lif2, as [batch, time, 10]; the spikes of lif2, as [time * batch, 2, 5]"
    assert both.described() == f"{expected}; {behind}"


def test_names_follow_their_populations() -> None:
    answer = Answer((Returned(Product(OverTime(LIF2, "sum"), OverTime(Series("x", "potential", (10,)), "last"))),))
    other = answer.renamed({"lif2": "y"})
    assert (answer.populations, answer.potentials) == (("lif2", "x"), ("x",))
    assert (other.populations, other.potentials) == (("y", "x"), ("x",))


def test_a_part_that_stands_twice_is_computed_once() -> None:
    asked = []
    count = OverTime(LIF2, "sum")
    answer = Answer((Returned(count), Returned(Product(count, OverTime(Series("lif2", "spikes", (10,)), "mean")))))
    answer.evaluate(lambda s: asked.append(s) or np.ones((2, 1, 10)))
    assert asked == [LIF2]


def deep(levels: int):
    found = LIF2
    for _ in range(levels):
        found = Function(found, "abs")
    return found


def doubled(levels: int):
    found = LIF2
    for _ in range(levels):
        found = Product(found, found)
    return found


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: OverTime(OverTime(LIF2, "sum"), "last"), "no time"),
        (lambda: OverTime(LIF2, "weights"), "weights"),
        (lambda: OverTime(LIF2, "sum", np.ones(3)), "weights"),
        (lambda: OverTime(LIF2, "median"), "how"),
        (lambda: OverTime(LIF2, "weights", np.ones((2, 2))), "shape"),
        (lambda: OverTime(LIF2, "weights", np.array([1.0, np.nan])), "NaN"),
        (lambda: Linear(LIF2, np.ones((2, 9)), None, (2,)), "matrix"),
        (lambda: Linear(LIF2, np.ones((2, 10)), np.ones(3), (2,)), "offset"),
        (lambda: Linear(LIF2, np.full((2, 10), np.inf), None, (2,)), "finite"),
        (lambda: Function(LIF2, "softmin", dim=0), "softmax"),
        (lambda: Function(LIF2, "softmax"), "takes a dim"),
        (lambda: Function(LIF2, "softmax", dim=1), "dimension that is not there"),
        (lambda: Function(LIF2, "softmax", dim=-1), "dimension that is not there"),
        (lambda: Function(LIF2, "tanh", value=1.0), "takes nothing more"),
        (lambda: Function(LIF2, "power", dim=0), "takes a value"),
        (lambda: Function(LIF2, "clamp_min", value=float("nan")), "value"),
        (lambda: Total(()), "nothing"),
        (lambda: Total(((1.0, LIF2), (1.0, OverTime(LIF2, "sum")))), "different shapes"),
        (lambda: Total(((1.0, LIF2),), np.ones(9)), "constant"),
        (lambda: Product(LIF2, Series("b", "spikes", (2, 5))), "different shapes"),
        (lambda: Series("b", "current", (2,)), "port"),
        (lambda: Series("b", "spikes", (0,)), "shape"),
        (lambda: Series("b", "spikes", (1 << 20, 1 << 20)), "shape"),
        (lambda: Series("b", "spikes", (1,) * 17), "shape"),
        (lambda: deep(80), "deep"),
        (lambda: doubled(40), "large"),
        (lambda: Answer(()), "nothing"),
        (lambda: Returned(LIF2, (0, 1)), "order"),
        (lambda: Returned(LIF2, (0, 1, 1)), "order"),
        (lambda: Returned(LIF2, ()), "order"),
        (lambda: Returned(LIF2, shape=(3, 3)), "size"),
        (lambda: Returned(LIF2, (2, 0, 1), shape=(2, 5)), "in front"),
        (lambda: Returned(OverTime(LIF2, "sum"), merged=True, shape=(10,)), "in front"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_words(made, words) -> None:
    with pytest.raises(InvalidInputError, match=words):
        made()


def test_a_run_that_does_not_fit_is_refused_in_words() -> None:
    weighted = Answer((Returned(OverTime(LIF2, "weights", np.ones(3))),))
    with pytest.raises(InvalidInputError, match=r"(?s)another length.*4 steps.*3 steps"):
        weighted.evaluate(lambda _: np.ones((4, 1, 10)))
    with pytest.raises(InvalidInputError, match="in another size"):
        weighted.evaluate(lambda _: np.ones((3, 1, 9)))
