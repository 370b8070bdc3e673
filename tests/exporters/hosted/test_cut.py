"""The cut between chip and host against all cuts that there are."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.exporters.sequence.hosted.cut import Cut, CutError, Values, minimum_cut


def reached(starts: set[int], edges: dict[int, tuple[int, ...]]) -> set[int]:
    found: set[int] = set()
    stack = [one for key in starts for one in edges[key]]
    while stack:
        key = stack.pop()
        if key not in found:
            found.add(key)
            stack += edges[key]
    return found


def drawn(seed: int) -> Values:
    """A random graph of values: leaves, then what is made of those before."""
    rng = random.Random(seed)
    leaves, count = rng.randint(1, 3), rng.randint(2, 6)
    values = Values()
    for key in range(leaves + count):
        args = () if key < leaves else tuple(sorted(rng.sample(range(key), min(key, rng.randint(1, 2)))))
        values.args[key] = args
        values.up[key] = rng.randint(1, 9) if key < leaves or rng.random() < 0.7 else None
        values.down[key], values.work[key] = rng.randint(1, 9), rng.randint(1, 9)
    made = range(leaves, leaves + count)
    values.forced = set(rng.sample(made, rng.randint(1, min(2, count))))
    values.drives = {made[-1], *rng.sample(made, 1)}
    return values


def sides(values: Values) -> tuple[set[int], set[int], dict[int, list[int]]]:
    """What the host must compute, and that with what lies behind; who takes what."""
    takers: dict[int, list[int]] = {key: [] for key in values.args}  # type: ignore[misc]
    for key, args in values.args.items():
        for one in args:
            takers[one].append(key)  # type: ignore[index, arg-type]
    args = dict(values.args)
    behind = reached(values.forced, takers)  # type: ignore[arg-type]
    before = reached(values.forced, args)  # type: ignore[arg-type]
    forced = {k for k in args if k in values.forced or (k in behind and k in before)}
    return forced, behind | forced, takers  # type: ignore[return-value]


def cost(values: Values, host: set[int]) -> tuple[int, int] | None:
    """Bits and work of a choice of what the host computes; None where it cannot be."""
    forced, later, takers = sides(values)
    bits = 0
    for key, args in values.args.items():
        if key in forced and key not in host:
            return None
        if not args and key in host and key not in forced:
            return None
        chips = [t for t in takers[key] if t not in host]  # type: ignore[index]
        hosts = [t for t in takers[key] if t in host]  # type: ignore[index]
        if key in later:
            if key not in host and hosts:
                return None  # back to the host without a neuron: a barrier more
            bits += values.down[key] if key in host and (chips or key in values.drives) else 0
        elif key not in host and hosts:
            if values.up[key] is None:
                return None
            bits += values.up[key] or 0
    return bits, sum(values.work[key] for key in host - {k for k in forced if k in values.forced})


def best(values: Values, least: str) -> tuple[int, int] | None:
    """Of all choices the cheapest."""
    found = []
    for chosen in itertools.product((False, True), repeat=len(values.args)):
        one = cost(values, {key for key, host in zip(values.args, chosen, strict=True) if host})  # type: ignore[misc]
        if one is not None:
            found.append(one)
    return min(found, key=lambda c: c if least == "bits" else c[::-1], default=None)


def bits_of(values: Values, cut: Cut) -> int:
    return sum(values.up[key] or 0 for key in cut.reads) + sum(values.down[key] for key in cut.gives)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6))
def test_no_cut_sends_fewer_bits(seed: int) -> None:
    values = drawn(seed)
    cheapest = best(values, "bits")
    if cheapest is None:
        with pytest.raises(CutError):
            minimum_cut(values)
        return
    cut = minimum_cut(values)
    _, later, _ = sides(values)
    assert bits_of(values, cut) <= cheapest[0]
    for key in cut.host:  # all that it computes with is there
        assert all(one in cut.host or one in cut.reads for one in values.args[key])
    assert all(key in cut.host and key in later for key in cut.gives)


def test_bits_and_work_are_weighed() -> None:
    """spikes (100 bits) -> sums (10 bits as 24 each would be 240) -> gate -> times -> conv -> neuron."""
    values = Values(
        args={"spikes": (), "mean": ("spikes",), "gate": ("mean",), "gated": ("gate", "spikes"), "conv": ("gated",)},
        forced={"gate", "gated"}, drives={"conv"},
        up={"spikes": 100, "mean": 240, "gate": None, "gated": None, "conv": None},
        down={"spikes": 0, "mean": 0, "gate": 240, "gated": 2400, "conv": 480},
        work={"spikes": 1, "mean": 100, "gate": 10, "gated": 100, "conv": 5000},
    )  # fmt: skip
    bits, work = minimum_cut(values), minimum_cut(values, "work")
    assert (bits.reads, bits.gives) == (("spikes",), ("conv",))
    assert (work.reads, work.gives) == (("spikes", "mean"), ("gated",))


def test_what_lies_between_two_parts_of_the_host_is_the_hosts() -> None:
    """softmax -> linear -> sigmoid: the chip would have to be asked in between, which is a barrier more."""
    values = Values(
        args={"x": (), "softmax": ("x",), "linear": ("softmax",), "sigmoid": ("linear",)},
        forced={"softmax", "sigmoid"}, drives={"sigmoid"}, up=dict.fromkeys(("x", "softmax", "linear", "sigmoid"), 1),
        down={"x": 1, "softmax": 1, "linear": 1, "sigmoid": 1000},
        work={"x": 1, "softmax": 1, "linear": 10**6, "sigmoid": 1},
    )  # fmt: skip
    for least in ("bits", "work"):
        assert minimum_cut(values, least).host == {"softmax", "linear", "sigmoid"}  # type: ignore[arg-type]


def test_a_state_that_nobody_sends_is_refused() -> None:
    values = Values(
        args={"state": (), "gate": ("state",)}, forced={"gate"}, drives={"gate"}, up={"state": None, "gate": None},
        down={"state": 1, "gate": 1}, work={"state": 1, "gate": 1},
    )  # fmt: skip
    with pytest.raises(CutError):
        minimum_cut(values)
