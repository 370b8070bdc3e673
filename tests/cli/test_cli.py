"""The command line as its user meets it: results, and one clear message for everything that can be wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from neurodeploy.cli import COMMANDS
from tests import nirgraphs
from tests.cli.conftest import Run


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return nirgraphs.write(nirgraphs.mlp(), tmp_path / "net.nir")


@pytest.fixture
def program(net: Path, x: Path, run: Run) -> Path:
    assert run("compile", net, "--dt", 1e-3, "--calibration", x)[0] == 0
    return net.with_suffix(".ndp")


def unwritable(tmp_path: Path) -> Path:
    """A folder that nobody can write to, root included."""
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "folder"


def error_of(result: tuple[int, str, str]) -> str:
    code, out, err = result
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("error:") == 1, "one message"
    return err


# --- what works ---------------------------------------------------------------------------------------------------


def test_help_lists_every_command(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    for name, text in COMMANDS.items():
        assert f"  {name}" in out
        assert text in out
    assert run("--version")[1].startswith("neurodeploy 0.")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(run: Run, name: str) -> None:
    code, out, _ = run(name, "--help")
    assert code == 0
    assert out.startswith(f"usage: neurodeploy {name}")


HEAVY = ("torch", "numba", "matplotlib", "h5py", "numpy", "nir", "networkx", "rich", "pydantic")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys; from neurodeploy.cli import main; code = main(sys.argv[1:]);"
        f"print(code, [m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "0 []"


def test_inspect(run: Run, net: Path) -> None:
    code, out, _ = run("inspect", net, "--dt", 1e-3)
    assert code == 0
    assert "LIF, hard reset" in out
    assert "reset: hard (assumed, since the file does not say" in out
    code, out, _ = run("inspect", net, "--dt", 1e-3, "--json")
    found = json.loads(out)
    assert [p["name"] for p in found["populations"]] == ["input", "lif1", "lif2"]
    assert [p["synapses"] for p in found["projections"]] == [240, 100]


def test_inspect_without_a_time_step_shows_the_nodes(run: Run, net: Path) -> None:
    code, out, _ = run("inspect", net)
    assert code == 0
    assert "dt: not in the file. Give it with --dt" in out


def test_compile_and_run(run: Run, program: Path, x: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "y.npy", np.zeros(6, int))
    found = {}
    for backend in ("reference", "hwsim"):
        out = tmp_path / f"{backend}.npz"
        code, text, _ = run("run", program, "-i", x, "-b", backend, "-o", out, "--record", "u,v", "--json",
                            "--labels", tmp_path / "y.npy")  # fmt: skip
        assert code == 0
        result = json.loads(text)
        assert result["spikes"]["lif1"] > 20
        assert 0 <= result["accuracy"] <= 1
        with np.load(out, allow_pickle=False) as arrays:
            found[backend] = {key: arrays[key] for key in arrays}
    assert found["reference"].keys() == found["hwsim"].keys()
    for key, value in found["reference"].items():
        np.testing.assert_array_equal(found["hwsim"][key], value)


def test_inspect_shows_a_program(run: Run, program: Path) -> None:
    code, out, _ = run("inspect", program)
    assert code == 0
    assert "Program for loihi1 on 2 core(s)" in out


def test_verify_and_report(run: Run, net: Path, x: Path, tmp_path: Path) -> None:
    results = tmp_path / "out" / "results.json"
    code, out, _ = run("verify", net, "--dt", 1e-3, "-i", x, "--backends", "reference,hwsim", "--results", results)
    assert code == 0
    assert "NIR = float network" in out
    assert "integer network = hwsim" in out
    assert "float network ~ integer network" in out
    code, out, _ = run("report", results)
    assert code == 0
    assert "<svg" in results.with_suffix(".html").read_text()


def test_verify_fails_when_something_differs(run: Run, net: Path, x: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from neurodeploy.backends.reference import steps
    from neurodeploy.hwsim.function import neuron_kernels

    monkeypatch.setattr(steps, "M", neuron_kernels.np.int64(1 << 12))
    code, out, _ = run("verify", net, "--dt", 1e-3, "-i", x, "--backends", "reference,hwsim", "--json")
    assert code == 1
    pairs = {(p["first"], p["second"]): p for p in json.loads(out)["pairs"]}
    assert pairs["integer network", "hwsim"]["verdict"] == "failed"
    assert pairs["integer network", "hwsim"]["divergence"]["population"] == "lif1"


def test_dump_after_a_pass(run: Run, net: Path) -> None:
    code, out, _ = run("compile", net, "--dt", 1e-3, "--dump-after", "quantise")
    assert code == 0
    assert "after quantise:" in out
    assert "largest weight" in out


def test_doctor(run: Run) -> None:
    code, out, _ = run("doctor", "--json")
    found = json.loads(out)
    rows = {row["what"]: row for row in found["checks"]}
    assert code == 0
    assert all(done["works"] for done in found["capabilities"] if done["what"] != "run on Lava")
    assert rows["numpy"]["state"] == "ok"
    assert rows["hwsim kernels"]["found"] == "compiled and run"
    assert "loihi1" in rows["architecture files"]["found"]


def test_results_are_the_same_every_time(run: Run, net: Path, tmp_path: Path) -> None:
    for name in "ab":
        assert run("compile", net, "--dt", 1e-3, "-o", tmp_path / f"{name}.ndp")[0] == 0
    assert (tmp_path / "a.ndp").read_bytes() == (tmp_path / "b.ndp").read_bytes()


# --- what does not ------------------------------------------------------------------------------------------------


def test_unknown_command(run: Run) -> None:
    assert "unknown command 'deploy'" in error_of(run("deploy"))


def test_unknown_option_exits_with_2(run: Run, net: Path) -> None:
    code, _, err = run("compile", net, "--warp", 9)
    assert code == 2
    assert "--warp" in err


@pytest.mark.parametrize("command", ["inspect", "compile", "verify"])
def test_a_missing_file(run: Run, command: str, x: Path, tmp_path: Path) -> None:
    more = ["-i", x] if command == "verify" else []
    text = error_of(run(command, tmp_path / "nothing.nir", *more))
    assert "nothing.nir does not exist" in text
    assert "check the spelling" in text


@pytest.mark.parametrize("command", ["inspect", "compile", "verify"])
def test_a_truncated_file(run: Run, command: str, net: Path, x: Path) -> None:
    net.write_bytes(net.read_bytes()[:3000])
    text = error_of(run(command, net, "--dt", 1e-3, *(["-i", x] if command == "verify" else [])))
    assert "net.nir is a truncated HDF5 file" in text
    assert "export or copy the file again" in text
    assert not net.with_suffix(".ndp").exists()


@pytest.mark.parametrize("command", ["inspect", "compile", "verify"])
def test_a_text_file(run: Run, command: str, net: Path, x: Path) -> None:
    net.write_text("hello")
    text = error_of(run(command, net, "--dt", 1e-3, *(["-i", x] if command == "verify" else [])))
    assert "net.nir is not an HDF5 file" in text
    assert "check that this is the .nir file you meant" in text


@pytest.mark.parametrize("command", ["inspect", "compile", "verify"])
def test_an_unknown_node(run: Run, command: str, net: Path, x: Path) -> None:
    with h5py.File(net, "r+") as f:
        del f["node/nodes/lif1/type"]
        f["node/nodes/lif1"]["type"] = "Izhikevich"
    text = error_of(run(command, net, "--dt", 1e-3, *(["-i", x] if command == "verify" else [])))
    assert "node 'lif1' is of an unknown type" in text
    assert "Izhikevich" in text
    assert "LIF" in text
    assert not net.with_suffix(".ndp").exists()


@pytest.mark.parametrize("command", ["run", "verify"])
def test_an_input_of_the_wrong_shape(run: Run, command: str, net: Path, program: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "bad.npy", np.zeros((20, 6, 11)))
    out = tmp_path / ("out.npz" if command == "run" else "out.json")
    more = ["-o", out] if command == "run" else ["--dt", 1e-3, "--results", out]
    text = error_of(run(command, program if command == "run" else net, "-i", tmp_path / "bad.npy", *more))
    assert "input 'input' has the wrong shape" in text
    assert "[20, 6, 11]" in text
    assert "[time, batch, 12]" in text
    assert "put time first" in text
    assert not out.exists()


def test_an_input_that_is_no_array(run: Run, program: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.npy").write_text("1 2 3")
    assert "bad.npy is not a usable .npy file" in error_of(run("run", program, "-i", tmp_path / "bad.npy"))
    np.save(tmp_path / "bad.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert "no object arrays" in error_of(run("run", program, "-i", tmp_path / "bad.npy"))
    assert "does not exist" in error_of(run("run", program, "-i", tmp_path / "nothing.npy"))


def test_an_unwritable_output(run: Run, net: Path, program: Path, x: Path, tmp_path: Path) -> None:
    folder = unwritable(tmp_path)
    for arguments in (
        ("compile", net, "--dt", 1e-3, "-o", folder / "a.ndp"),
        ("run", program, "-i", x, "-o", folder / "a.npz"),
        ("verify", net, "--dt", 1e-3, "-i", x, "--backends", "reference,hwsim", "--results", folder / "a.json"),
        ("demo", "-o", folder),
    ):
        code, _, err = run(*arguments)
        assert code == 2
        assert err.strip().splitlines()[-3].startswith(f"error: cannot create the folder {folder}")
        assert "a part of the path is a file" in err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(run: Run, net: Path, tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    text = error_of(run("compile", net, "--dt", 1e-3, "-o", folder / "a.ndp"))
    assert "choose a folder you may write to" in text


def test_an_unknown_chip_and_backend(run: Run, net: Path, program: Path, x: Path) -> None:
    text = error_of(run("compile", net, "--dt", 1e-3, "--chip", "loihi9"))
    assert "unknown chip" in text
    assert "loihi1" in text
    text = error_of(run("run", program, "-i", x, "-b", "fpga"))
    assert "unknown back-end 'fpga'" in text
    assert "reference, hwsim, lava" in text


def test_a_program_that_is_none(run: Run, net: Path, x: Path) -> None:
    assert "is damaged or not a neurodeploy program" in error_of(run("run", net, "-i", x))


def test_ctrl_c_is_one_line(run: Run, net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from neurodeploy import compiler

    def interrupted(*_args: object, **_kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(compiler, "compile", interrupted)
    assert "compile was stopped" in error_of(run("compile", net, "--dt", 1e-3))


def test_a_full_disk(run: Run, net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from neurodeploy.files import atomic

    def full(_descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(atomic.os, "fsync", full)
    text = error_of(run("compile", net, "--dt", 1e-3, "-o", tmp_path / "new" / "a.ndp"))
    assert "free some space" in text
    assert list((tmp_path / "new").iterdir()) == []


def test_missing_packages_say_how_to_get_them(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "neurodeploy.exporters.load_module", raising=False)
    text = error_of(run("export", "x.py:Net", "--shape", "4", "-o", tmp_path / "a.nir"))
    assert "loading a module needs the package 'torch'" in text
    assert f"{sys.executable} -m pip install -c " in text and "'torch>=2.6' 'safetensors>=0.5'" in text
