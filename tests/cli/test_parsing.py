"""Calls that cannot be understood, errors for machines, and what shells complete."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from neurodeploy.cli import COMMANDS
from neurodeploy.cli.completion import SHELLS
from tests.cli.conftest import Run

CALLS = {
    "a command": (("compil", "x.nir"), "unknown command 'compil'; did you mean compile?"),
    "no command": (("--jsno",), "unknown command '--jsno'"),
    "an option": (("run", "x.ndp", "-i", "x.npy", "--backed", "hwsim"), "--backed; did you mean --backend?"),
    "an option with its value": (("run", "x.ndp", "-i", "x.npy", "--outptu=y"), "--outptu; did you mean --output?"),
    "one of two": (("run", "--labls", "y.npy"), "--labls; did you mean --labels?"),
    "nothing": (("run",), "the following arguments are required: program, -i/--input"),
    "a number": (("compile", "x.nir", "--chips", "many"), "argument --chips"),
    "a chip": (("compile", "x.nir", "--chip", "lohi1"), "unknown chip; did you mean loihi1 or loihi2?"),
    "a shell": (("completion", "fish"), "invalid choice: 'fish'"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_call_names_what_was_meant(name: str, run: Run) -> None:
    arguments, message = CALLS[name]
    code, out, err = run(*arguments)
    assert (code, out) == (2, "") and err.startswith("error: ") and message in err
    assert err.count("error: ") == 1 and "usage:" not in err


def test_a_pass_and_a_back_end_are_named(run: Run, tmp_path: Path, x: Path) -> None:
    from tests import nirgraphs

    path = nirgraphs.write(nirgraphs.mlp(), tmp_path / "net.nir")
    code, _, err = run("compile", path, "--dt", 1e-3, "--passes", "quantize")
    assert code == 2 and "quantize; did you mean quantise?" in err
    code, _, err = run("compile", path, "--dt", 1e-3, "--passes", "quantise{roundin=nearest}")
    assert code == 2 and "roundin=nearest; did you mean rounding?" in err
    assert run("compile", path, "--dt", 1e-3)[0] == 0
    code, _, err = run("run", path.with_suffix(".ndp"), "-i", x, "-b", "hwsm")
    assert code == 2 and "unknown back-end 'hwsm'; did you mean hwsim?" in err


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("demo", "doctor", "passes", "completion")])
def test_errors_of_json_calls_are_json_of_the_same_words(name: str, run: Run) -> None:
    code, out, err = run(name, "--no-such-option", "--json")
    said = json.loads(out)["error"]
    assert code == 2 and err.startswith(f"error: {said['what']}") and said["to_do"] in err
    assert set(said) == {"kind", "what", "found", "allowed", "to_do"} and said["kind"] == "InvalidInputError"


def test_an_error_behind_the_parser_is_json_too(run: Run, tmp_path: Path) -> None:
    code, out, err = run("inspect", tmp_path / "gone.nir", "--json")
    said = json.loads(out)["error"]
    assert code == 2 and said["kind"] == "MissingFileError" and said["what"] in err


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_option_is_in_the_script(shell: str, run: Run) -> None:
    code, out, err = run("completion", shell)
    assert code == 0 and not err
    assert all(name in out for name in COMMANDS) and "loihi2" in out and "input-axis" in out


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize(
    ("words", "found"),
    [("comp", {"compile", "completion"}), ("compile --chip loi", {"loihi1", "loihi2"}), ("run --back", {"--backend"}),
     ("run x.ndp --backend hw", {"hwsim"})],
)  # fmt: skip
def test_bash_completes(words: str, found: set[str], tmp_path: Path) -> None:
    script = subprocess.run([sys.executable, "-m", "neurodeploy", "completion", "bash"], capture_output=True, text=True)
    (tmp_path / "c.bash").write_text(script.stdout)
    typed = ["neurodeploy", *words.split(" ")]
    ask = f"source {tmp_path}/c.bash; COMP_WORDS=({' '.join(typed)}); COMP_CWORD={len(typed) - 1}; _shtab_neurodeploy"
    said = subprocess.run(["bash", "-c", f"{ask}; echo ${{COMPREPLY[@]}}"], capture_output=True, text=True)
    assert set(said.stdout.split()) == found, said.stderr
