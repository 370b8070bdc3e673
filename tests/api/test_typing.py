"""The front door is typed: a project that uses only `nd` passes ``mypy --strict``, and mistakes in it are found."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import neurodeploy as nd

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "docs" / "examples" / "typed" / "deploy.py"

WRONG = """
from pathlib import Path

import numpy as np
from torch import nn

import neurodeploy as nd


def wrong(module: nn.Module, x: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
    nd.compiel()  # type: ignore[attr-defined]
    nd.export(module, "x.npy")  # type: ignore[arg-type]
    nd.export(module, x, time_axis=7)  # type: ignore[arg-type]
    nd.convert(module, x, to="rate")  # type: ignore[arg-type]
    nd.convert(module, x, options=nd.ConvertOptions(coding="phase"))  # type: ignore[arg-type]
    nd.inspect("net.nir").facts  # type: ignore[union-attr]
    nd.doctor().checks[0].state == "fine"  # type: ignore[comparison-overlap]
    nd.available_passes().listed[0].nmae  # type: ignore[attr-defined]
    nd.demo(samples="all").document.networks[0].title  # type: ignore[arg-type, attr-defined]
    nd.write_report("results.json").report.split()  # type: ignore[attr-defined]
    nd.lava_status().installed.upper()  # type: ignore[attr-defined]
    model = nd.export(module, x)
    model.compile(chip=3)  # type: ignore[arg-type]
    model.compile("loihi1", nd.CompileOptions(order="alphabetic"))  # type: ignore[arg-type]
    program = model.compile("loihi1", calibration="x.npy")  # type: ignore[arg-type]
    program.run(x, record=("w",))  # type: ignore[arg-type]
    program.run(x).spikes(3)  # type: ignore[arg-type]
    program.run(x).predicted.agrmax()  # type: ignore[attr-defined]
    program.cost(x, "cores")  # type: ignore[arg-type]
    program.cost(x).bill.total_pj.upper()  # type: ignore[attr-defined]
    program.verify(x, labels=4).pairs[0].equals  # type: ignore[arg-type, attr-defined]
    nd.adapt(program, x)  # type: ignore[arg-type]
    nd.adapt(program, {"train_x": x}, "bptt")  # type: ignore[arg-type]
    nd.learn("mpd-ed", options=nd.LearnOptions(thresholds="neurons")).acuracy  # type: ignore[arg-type, attr-defined]
    program.explain().needs[0].needs  # type: ignore[attr-defined]
    program.after_passes[0].accuracy + 1  # type: ignore[operator]
    found: str = program.report(Path("r.html"), x)  # type: ignore[assignment]
"""
"""Each mistake is an error of that kind, or mypy says that the comment is not needed."""


def checked(*files: Path, cache: Path) -> str:
    """What mypy says of files as of a user's, with neurodeploy installed."""
    options = ("--strict", "--config-file=", "--follow-imports=silent", f"--cache-dir={cache}")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *map(str, files)],
        env=os.environ | {"MYPYPATH": str(ROOT)}, cwd=cache, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_a_project_passes_and_mistakes_do_not(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    (tmp_path / "wrong.py").write_text(WRONG)
    said = checked(PROJECT, tmp_path / "wrong.py", cache=request.config.cache.mkdir("mypy"))
    assert said == "Success: no issues found in 2 source files\n", said


def test_the_project_runs(tmp_path: Path) -> None:
    scope: dict[str, Any] = {"__name__": "deploy"}
    exec(compile(PROJECT.read_text(encoding="utf-8"), str(PROJECT), "exec"), scope)
    figures, around, learned = (scope[name](tmp_path) for name in ("deploy", "around", "learning"))
    assert figures["cores"] == 4  # layers of 20 and 4 with a subtractive reset: 40 and 8 compartments, 16 to a core
    assert figures["output spikes"] > 0 and figures["nJ"] > 0
    assert (tmp_path / "report.html").is_file() and (tmp_path / "net_lava.npz").is_file()
    assert "onnxruntime equal, net.onnx in float32 equal" in around[1]
    assert learned["adapted"] > learned["deployed"] and learned["learned"] > 0.5


def public() -> Iterator[tuple[str, Any]]:
    """Functions, methods and properties of the front door, by name."""
    for name in nd.__all__:
        found = getattr(nd, name)
        if not inspect.isclass(found):
            yield name, found
            continue
        for key, member in vars(found).items():
            if not key.startswith("_"):
                function = getattr(member, "fget", None) or getattr(member, "func", None) or member
                if inspect.isfunction(inspect.unwrap(function)):
                    yield f"{name}.{key}", function


def test_every_parameter_and_result_has_a_type_and_a_docstring() -> None:
    names = []
    for name, function in public():
        names.append(name)
        signature = inspect.signature(function)
        said = {key: p.annotation for key, p in signature.parameters.items() if key != "self"}
        said["return"] = signature.return_annotation
        bare = [key for key, text in said.items() if text in (inspect.Signature.empty, "Any", "object")]
        assert not bare, f"{name}: {bare}"
        assert function.__doc__, name
    assert {"export", "Model.compile", "Program.after_passes", "Recording.predicted", "Cost.totals"} <= set(names)
