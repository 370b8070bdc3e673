"""Torch modules cut into chip and host: random ones, and each kind by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..hybrid_checks import check
from ..hybrid_models import hybrid

SEEDS = (0, 52, 1, 10, 14, 5)
"""Of each kind one at least; `benchmarks/fuzz_hybrids.py` takes as many as one likes."""


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_network_is_the_same_on_chip_and_host(seed: int, tmp_path: Path) -> None:
    found = check(hybrid(seed), tmp_path)
    assert found.spikes > 0


@pytest.mark.parametrize("seed", [2, 10])
def test_the_host_with_the_least_work(seed: int, tmp_path: Path) -> None:
    assert check(hybrid(seed), tmp_path, "work").stages


def test_the_seeds_have_all_kinds_and_schedules() -> None:
    kinds = {kind for seed in SEEDS for kind in hybrid(seed).kinds}
    assert kinds == {kind for seed in range(60) for kind in hybrid(seed).kinds}
