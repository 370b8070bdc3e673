"""Every back-end gives what the reference gives: each spike, payload, ``u``, ``v``, weight, tag and trace, every step.

A back-end that is installed as a plug-in takes part by itself. What it refuses (`UnsupportedError`) is skipped with its
reason; ours may refuse only what `tests.conformance.engines.REFUSED` lists.
"""

from __future__ import annotations

import pytest

from neurodeploy import backends
from neurodeploy.backends.lava.setup import setup
from neurodeploy.errors import UnsupportedError
from tests.conformance import cases, engines
from tests.conformance.compare import EVERYTHING, difference
from tests.conformance.programs import Case, learning_case, random_case

ARITHMETICS = ("loihi", "float")


@pytest.fixture(scope="module", autouse=True)
def sidecar() -> None:
    setup()


def check(name: str, program: Case, expected: str = "") -> None:
    """Run a case on a back-end and compare it with the reference."""
    judge = engines.run_of(engines.JUDGE)(program.program, program.inputs, record=EVERYTHING)
    try:
        found = engines.run_of(name)(program.program, program.inputs, record=EVERYTHING)
    except UnsupportedError as refused:
        if name in backends.BUILTIN and not (expected and expected in str(refused)):
            raise
        pytest.skip(str(refused))
    assert not expected, "it no longer refuses this"
    assert difference(judge, found, engines.integer(program.program)) == ""


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("case", cases.CASES)
@pytest.mark.parametrize("name", engines.under_test())
def test_case(name: str, case: str, arithmetic: str) -> None:
    expected = engines.REFUSED.get((name, case, arithmetic), "")
    check(name, cases.build(case, arithmetic), expected)


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("case", cases.CASES)
def test_cases_say_something(case: str, arithmetic: str) -> None:
    """Their populations send neither nothing nor everything, and what learns does learn."""
    program = cases.build(case, arithmetic)
    found = engines.run_of(engines.JUDGE)(program.program, program.inputs, record=EVERYTHING)
    for name, events in found.spikes.items():
        share = (events.dense() != 0).mean()
        assert share > 0.01, f"{name} is silent"
        assert share < 1 or events.payload is not None or name == "always", f"{name} never rests"
    for name, learned in found.learned.items():
        assert (learned["weights"][0] != learned["weights"][-1]).any(), f"{name} learns nothing"


SHARE = 10
"""Random programs in one test."""


@pytest.mark.parametrize("part", range(20))
@pytest.mark.parametrize("name", [n for n in engines.under_test() if n != "lava-stock"])
def test_random_integers(name: str, part: int) -> None:
    for seed in range(part * SHARE, (part + 1) * SHARE):
        check(name, random_case(seed, "loihi"))


@pytest.mark.parametrize("part", range(5))
@pytest.mark.parametrize("name", [n for n in engines.under_test() if n != "lava-stock"])
def test_random_floats(name: str, part: int) -> None:
    for seed in range(part * SHARE, (part + 1) * SHARE):
        check(name, random_case(seed, "float"))


@pytest.mark.parametrize("part", range(5))
@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("name", [n for n in engines.under_test() if n != "lava-stock"])
def test_random_rules(name: str, arithmetic: str, part: int) -> None:
    for seed in range(part * SHARE, (part + 1) * SHARE):
        check(name, learning_case(seed, arithmetic))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("make", [random_case, learning_case])
def test_random_on_lavas_own_runtime(make: object, seed: int) -> None:
    """More of them by ``benchmarks/fuzz_backends.py --stock``: a run takes half a second."""
    check("lava-stock", make(1000 + seed, ARITHMETICS[seed % 2]))  # type: ignore[operator]
