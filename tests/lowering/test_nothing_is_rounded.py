"""Nothing of a file is approximated without a word: delays between two steps, sizes that contradict each other."""

from __future__ import annotations

from pathlib import Path

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.compiler import CompileOptions, compile
from neurodeploy.errors import InvalidInputError
from tests import nirgraphs


def delayed(delays: list[float], shape: tuple[int, ...] = (3,), output: tuple[int, ...] | None = None) -> nir.NIRGraph:
    """Input -> Delay -> LIF -> Output."""
    nodes = {
        "input": nir.Input(np.array(shape)),
        "d": nir.Delay(np.array(delays).reshape(shape)),
        "lif": nir.LIF(*(np.full(shape, v) for v in (10.0, 1.0, 0.0, 0.5, 0.0))),
        "output": nir.Output(np.array(shape if output is None else output)),
    }
    return nir.NIRGraph(nodes, [("input", "d"), ("d", "lif"), ("lif", "output")], type_check=False)


def compiled(graph: nir.NIRGraph, folder: Path, dt: float = 1e-3) -> object:
    options = {"dt": dt, "reset": "hard", "comparison": ">"}
    return compile(nirgraphs.write(graph, folder / "net.nir"), None, CompileOptions(conventions=options, integer=False))


@pytest.mark.parametrize(
    "delays", [[2.5e-3, 1.5e-3, 0.5e-3], [1e-3, 2e-3, 2.1e-3], [0.0, 0.0, 4e-4], [1e-3, 1e-3, 0.99e-3]]
)
def test_delays_between_steps_are_refused_with_each_of_them(delays: list[float], tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="node 'd' has delays between two steps") as caught:
        compiled(delayed(delays), tmp_path)
    for delay in delays:
        steps = delay / 1e-3
        assert (f"{delay:g} s" in str(caught.value.found)) == (abs(steps - round(steps)) > 1e-5)


def test_a_step_that_divides_them_is_named_and_is_taken(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError) as caught:
        compiled(delayed([2.5e-3, 1.5e-3, 0.5e-3]), tmp_path)
    assert "--dt 0.0005" in str(caught.value.hint)
    found = compiled(delayed([2.5e-3, 1.5e-3, 0.5e-3]), tmp_path, dt=5e-4)
    assert sorted(p.delay for p in found.float_network.projections) == [1, 3, 5]  # type: ignore[attr-defined]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 900), min_size=3, max_size=3), st.sampled_from([1e-3, 1e-4, 7e-4, 1.0, 1 / 3]),
       st.sampled_from([np.float32, np.float64]))  # fmt: skip
def test_whole_steps_are_taken_whatever_their_rounding(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int], dt: float, number: type
) -> None:
    graph = delayed([float(number(n * dt)) for n in steps])
    found = compiled(graph, tmp_path_factory.mktemp("net"), dt)
    assert sorted({p.delay for p in found.float_network.projections}) == sorted(set(steps))  # type: ignore[attr-defined]


@pytest.mark.parametrize("declared", [(5,), (2,), (3, 3), (6,)])
def test_an_output_of_another_size_is_refused(declared: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="the output 'output' says another size"):
        compiled(delayed([0.0] * 3, output=declared), tmp_path)


@pytest.mark.parametrize("declared", [(3,), (1, 3), (1,)])
def test_an_output_of_the_same_size_or_of_none_is_taken(declared: tuple[int, ...], tmp_path: Path) -> None:
    assert compiled(delayed([0.0] * 3, output=declared), tmp_path)
