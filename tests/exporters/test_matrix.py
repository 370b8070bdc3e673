"""Each framework's networks of eight kinds: exported exactly, or refused with a reason; nothing differs in silence."""

from __future__ import annotations

from importlib import import_module

import pytest

from tests.exporters.matrix.cells import KINDS, evaluate

FRAMEWORKS = ("norse", "snntorch", "spikingjelly", "sinabs")
NOT_APPLICABLE = {("norse", "delayed reset"), ("spikingjelly", "delayed reset"), ("sinabs", "delayed reset")}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_exact(name, kind, tmp_path):
    outcome = evaluate(import_module(f"tests.exporters.matrix.{name}_networks").CASES[kind], tmp_path)
    if (name, kind) in NOT_APPLICABLE:
        assert outcome.verdict == "not applicable" and "resets in the step of the spike" in outcome.reason
        return
    assert outcome.verdict == "exact", outcome.reason
    assert outcome.compared >= 100 * 4 * 10 and outcome.spikes > 500
