"""Asks for everything that an optional package is needed for, and prints the errors; run where there is none.

``python provoked.py`` in a folder that it may write to. Prints one JSON object: what was asked -> the message.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import nir
import numpy as np

import neurodeploy as nd
from neurodeploy.cli import main
from neurodeploy.packages import commands, requirements

COMMANDS = (
    "export model.py:net --shape 2 -o a.nir",
    "export net.nir --to onnx -o a.onnx --sample x.npy --dt 0.001",
    "convert model.py:net --calibration flat.npy -o a.nir",
    "convert net.onnx --calibration flat.npy -o a.nir",
    "run net.ndp --input x.npy --backend onnxruntime",
    "verify net.nir --dt 0.001 --input x.npy --model model.py:net",
    "compile net.nir --dt 0.001 --order hypergraph --max-neurons-per-core 2",
    "compile net.nir --dt 0.001 --calibration x.npy --passes quantise,fine-tune",
    "learn",
    "adapt",
    "demo",
)


def files() -> None:
    """A network, its Program, inputs, and a module that cannot be imported."""
    size = np.ones(3, np.float32)
    nodes = {
        "input": nir.Input(np.array([2])),
        "weight": nir.Affine(np.full((3, 2), 7, np.float32), 0 * size),
        "neurons": nir.LIF(tau=0.01 * size, r=size, v_leak=0 * size, v_threshold=size),
        "between": nir.Affine(np.full((3, 3), 7, np.float32), 0 * size),
        "others": nir.LIF(tau=0.01 * size, r=size, v_leak=0 * size, v_threshold=size),
        "output": nir.Output(np.array([3])),
    }
    names = list(nodes)
    nir.write("net.nir", nir.NIRGraph(nodes, list(pairwise(names))))
    np.save("x.npy", np.ones((4, 1, 2), np.uint8))
    np.save("flat.npy", np.ones((4, 2), np.float32))
    Path("model.py").write_text("import torch\nnet = torch.nn.Linear(2, 3)\n")
    Path("net.onnx").write_bytes(b"")
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["compile", "net.nir", "--dt", "0.001", "--float"]) == 0


def asked() -> Iterator[tuple[str, Callable[[], object]]]:
    """What is asked of Python."""
    yield "nd.load_module", lambda: nd.load_module("model.py:net")
    yield "nd.export", lambda: nd.export(None, (2,))  # type: ignore[arg-type]
    yield "nd.export_onnx", lambda: nd.export_onnx("net.nir", np.ones((4, 1, 2)), "a.onnx", dt=1e-3)  # type: ignore[call-arg]
    yield "nd.convert", lambda: nd.convert("model.py:net", np.ones((4, 2), np.float32))
    yield "nd.demo", lambda: nd.demo("demo")
    yield "nd.learn", lambda: nd.learn(["std-ed"])  # type: ignore[list-item]
    yield "Program.run", lambda: nd.load("net.ndp").run(np.ones((4, 1, 2), np.uint8), "onnxruntime")
    for module in (*requirements.EXTRA_OF, *commands.SINABS):
        yield f"import {module}", lambda module=module: raised(module)


def raised(module: str) -> None:
    with commands.naming("a model"):
        __import__(module)


def said() -> dict[str, str]:
    """What was asked -> the message."""
    found = {}
    for line in COMMANDS:
        error = io.StringIO()
        with contextlib.redirect_stderr(error), contextlib.redirect_stdout(io.StringIO()):
            code = main(line.split())
        found[f"neurodeploy {line}"] = f"{error.getvalue()}" if code == 2 else f"exit code {code}"
    for name, ask in asked():
        try:
            ask()
            found[name] = "no error"
        except Exception as error:
            found[name] = f"{type(error).__name__}: {error}"
    return found


if __name__ == "__main__":
    files()
    sys.stdout.write(json.dumps(said()) + "\n")
