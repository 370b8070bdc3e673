"""Networks as people write them: some of the random programs that `benchmarks/fuzz_models.py` tries."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.user_models import judge as judging
from tests.user_models.calibrate import loaded
from tests.user_models.judge import judge, own_run
from tests.user_models.programs import FRAMEWORKS, TIMES
from tests.user_models.programs import program as made_anew

program = cache(made_anew)

SEEDS = range(12)
"""Every framework and every place of time stand among them."""

ACCEPTED = 3
"""One of plain layers."""


def test_programs_are_what_they_say() -> None:
    """Each gives the same answer twice, in finite numbers, and is the same program again."""
    made = [program(seed) for seed in SEEDS]
    assert {one.framework for one in made} == set(FRAMEWORKS)
    assert {one.time for one in made} == set(TIMES)
    loud = 0
    for one in made:
        case = loaded(one.source)
        assert (case.FRAMEWORK, str(case.TIME)) == (one.framework, one.time)
        with torch.no_grad():
            first = case.answer(case.model(), case.sample())
            again = case.answer(case.model(), case.sample())
        assert all(bool(torch.isfinite(out).all()) for out in first)
        assert one.random or all(map(torch.equal, first, again)), f"seed {one.seed}"
        loud += any(bool(out.any()) for out in first)
    assert loud >= len(made) - 1
    assert made_anew(3) == made[3]


@pytest.mark.parametrize("seed", SEEDS)
def test_programs_are_exported_exactly_or_refused(tmp_path: Path, seed: int) -> None:
    found = judge(program(seed), tmp_path, axis=seed % 4 != seed // 4)
    assert found.verdict in ("exact", "partly", "refused"), f"{found.verdict}: {found.remark}"


@pytest.mark.parametrize("seed", [318, 638, 717])
def test_readings_under_which_an_operator_fails_are_other_readings(tmp_path: Path, seed: int) -> None:
    """Pooling and broadcasts of readouts raise where time is looked for in the wrong place."""
    found = judge(program(seed), tmp_path, axis=False)
    assert found.verdict == "exact", f"{found.verdict}: {found.remark}"


def test_the_judge_sees_what_differs(tmp_path: Path) -> None:
    """Files of one program, and programs that are a little different."""
    made = program(ACCEPTED)
    found = judge(made, tmp_path)
    assert found.verdict == "exact", found.remark
    for old, new in ((".weight.mul_(", ".weight.mul_(1.3 * "), ("tau_mem=10.0", "tau_mem=7.0")):
        other = replace(made, source=made.source.replace(old, new))
        assert other.source != made.source
        verdict, remark = judging.check(other, tmp_path / "m.nir", tmp_path)
        assert verdict == "DIFFERENT", remark


def test_the_judge_sees_a_bad_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = program(ACCEPTED)
    for written in ("raise ValueError('no')", "sys.stderr.write('error: a\\nerror: b\\n'); return 2", "return 2"):
        scope: dict[str, Any] = {"sys": sys}
        exec(f"def main(args):\n    {written}", scope)
        monkeypatch.setattr(judging, "main", scope["main"])
        assert judge(made, tmp_path).verdict == "crash"


def test_the_users_own_run_is_in_double_precision() -> None:
    """Potentials of it differ from those in single precision by rounding, and its spikes hardly ever."""
    widened = 0
    for seed in SEEDS:
        made = program(seed)
        if made.random or made.trap or "encoder" in made.kinds:
            continue
        case = loaded(made.source)
        with torch.no_grad():
            single = [out.numpy() for out in case.answer(case.model(), case.sample())]
        double, _, _ = own_run(made)
        for a, b in zip(single, double, strict=True):
            assert b.dtype == np.float64
            np.testing.assert_allclose(a, b, atol=1e-4, err_msg=f"seed {seed}")
            widened += bool((a != b).any())
    assert widened
