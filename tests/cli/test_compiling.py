"""The first run compiles kernels and says so, on standard error; the next has them and says nothing."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from neurodeploy.cli import main
from neurodeploy.cli.console import Console
from neurodeploy.hwsim.compiling import stale

SAID = "compiling kernels, once"


@pytest.mark.parametrize("machine", [False, True])
def test_a_console_notes_it_once_and_never_in_json(machine: bool, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):  # a second console takes the place of the first
        Console(json=machine).listen(stale.COMPILING)
    stale._tell.cache_clear()
    for _ in range(3):
        stale._tell()
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.count(SAID) == (0 if machine else 1)
    logging.getLogger(stale.COMPILING).handlers.clear()
    stale._tell.cache_clear()


SCRIPT = """
import sys
from neurodeploy.cli.console import Console
from neurodeploy.hwsim.compiling.stale import COMPILING
Console().listen(COMPILING)
from neurodeploy.hwsim.function.neuron_kernels import compiled
@compiled
def twice(x):
    return 2 * x
print(twice(21))
"""


def test_the_first_process_says_it_and_the_second_does_not(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    import os

    where = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "kernels"), "PYTHONPATH": os.getcwd()}
    runs = [subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=where) for _ in range(2)]
    assert [run.stdout for run in runs] == ["42\n"] * 2, runs[0].stderr
    assert [run.stderr.count(SAID) for run in runs] == [1, 0]


def test_commands_listen(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["passes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
    assert len(logging.getLogger(stale.COMPILING).handlers) == 1
