"""What a user does to a network or its input that has made tools answer wrongly without a word, one way in each case.

A twist takes a case of `tests.layer_orders` that has compiled, changes something, and asserts that the answer is right
or refused by name. What is right is worked out here, not asked of what is tested.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import nir
import numpy as np
import pytest
import yaml

from neurodeploy.backends.reference import steps
from neurodeploy.backends.reference.run import run_network
from neurodeploy.cli import main
from neurodeploy.compiler import CompileOptions, compile
from neurodeploy.errors import InvalidInputError
from neurodeploy.hwsim import engine
from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.network.arrays import Array
from neurodeploy.program import overflow
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Record
from tests import nirgraphs

LONG = 40
"""Steps of an input that drives integers as far as they go."""


@dataclass(frozen=True, eq=False)
class Twisted:
    """A case to twist.

    Args:
        graph: as it was written to ``net.nir`` in `folder`; ``float.ndp`` and ``integer.ndp`` lie beside it.
        options: conventions that it was compiled with.
        x: input ``[time, samples, *shape]``.
    """

    number: int
    folder: Path
    graph: nir.NIRGraph
    options: dict[str, Any]
    x: Array

    @property
    def rng(self) -> np.random.Generator:
        return np.random.default_rng([self.number, 5])

    def command(self, *args: object) -> tuple[int, str, str]:
        """Exit code, output and errors of a command."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([str(a) for a in args])
        return code, out.getvalue(), err.getvalue()


def wraps(case: Twisted) -> str:
    """Integers that leave their range: whatever differs from integers without end is counted and said."""
    program, rng = Program.load(case.folder / "integer.ndp"), case.rng
    size = program.network.inputs[0].size
    busy = (rng.random((LONG, 2, size)) < rng.choice([0.5, 1.0])).astype(np.uint8)
    inputs, record = {"input": busy}, Record(("v",))
    found = run_network(program.network, inputs, record=record)
    with mock.patch.object(steps, "M", 1 << 50):
        endless = run_network(program.network, inputs, record=record)
    differ = [
        p.name
        for p in program.network.populations
        if not p.external
        and (
            (p.spiking and not np.array_equal(found.spikes[p.name].dense(), endless.spikes[p.name].dense()))
            or (not p.spiking and not np.array_equal(found.states["v"][p.name], endless.states["v"][p.name]))
        )
    ]
    assert found.left == engine.run(program, inputs).left, "hwsim counts otherwise than the reference"
    if not differ:
        return "held"
    assert found.left, f"{differ} differ from integers without end, and nothing was counted"
    np.save(case.folder / "busy.npy", busy)
    code, out, err = case.command("run", case.folder / "integer.ndp", "-i", case.folder / "busy.npy", "--json")
    assert code == 0
    for name in found.left:
        assert any(repr(name) in line for line in json.loads(out)["warnings"]), f"run does not say it of {name}"
        assert f"warning: integers left their range in {name!r}" in err
    assert overflow.said(found.left, program.network, LONG, 2)
    return "left"


def delays(case: Twisted) -> str:
    """Delays of whole steps delay; any other is refused with its node, not rounded."""
    rng, graph = case.rng, deepcopy(case.graph)
    shape = tuple(graph.nodes["input"].input_type["input"])
    whole = np.full(shape, int(rng.integers(0, 4))) if rng.random() < 0.5 else rng.integers(0, 4, shape)
    graph.nodes["late"] = nir.Delay(whole * 1e-3)
    graph.edges = [("late" if a == "input" else a, b) for a, b in graph.edges] + [("input", "late")]
    delayed = compile(
        nirgraphs.write(graph, case.folder / "d.nir"), None, CompileOptions(conventions=case.options, integer=False)
    )
    shifted = np.zeros_like(case.x)
    for steps_late in np.unique(whole):
        at = (slice(None), slice(None), *np.nonzero(whole == steps_late))
        shifted[steps_late:][at] = case.x[: len(case.x) - steps_late][at]
    plain = compile(
        case.folder / "net.nir", None, CompileOptions(conventions=case.options, integer=False)
    ).program.network
    a = run_network(plain, {"input": shifted}, record=Record(("v",)))
    b = run_network(delayed.program.network, {"input": case.x}, record=Record(("v",)))
    for name in plain.outputs:
        if plain.by_name[name].spiking:
            # A bias that starts with its source, or a tie, may differ by what the delay itself is; spikes may not.
            np.testing.assert_array_equal(a.spikes[name].dense(), b.spikes[name].dense(), err_msg=f"{name}, delayed")
    between = np.array(whole, dtype=float)
    flat, where = between.reshape(-1), rng.integers(0, between.size, 2)
    flat[where] += rng.choice([0.5, 0.25, 1e-3, 0.999])
    graph.nodes["late"] = nir.Delay(between * 1e-3)
    path = nirgraphs.write(graph, case.folder / "d.nir")
    with pytest.raises(InvalidInputError, match="'late'"):
        compile(path, None, CompileOptions(conventions=case.options))
    return "delayed"


def labels(case: Twisted) -> str:
    """Labels that say a class of each sample give the user's own argmax; any others are refused."""
    rng = case.rng
    program, path = case.folder / "integer.ndp", case.folder / "x.npy"
    network, count = Program.load(program).network, case.x.shape[1]
    np.save(path, case.x)
    good = rng.integers(0, network.classes, count)
    bad: list[Array] = [
        np.arange(count + 1) % network.classes, good[:-1], good - 1 - good.max(), np.full(count, network.classes),
        good + 0.5, good.astype(float) * np.nan, np.eye(network.classes, dtype=int)[good][:, :, None],
        good.astype("U3"),
    ]  # fmt: skip
    np.save(case.folder / "y.npy", good)
    code, out, _ = case.command("run", program, "-i", path, "--labels", case.folder / "y.npy", "--json")
    assert code == 0
    run = run_network(network, {"input": case.x})
    scores = np.concatenate(
        [
            run.spikes[name].dense().sum(0, dtype=np.float64)
            if network.by_name[name].spiking
            else run.states["v"][name].sum(0, dtype=np.float64) / network.by_name[name].scales
            for name in network.outputs
        ],
        axis=1,
    )
    own = float((scores.argmax(axis=1) == good).mean())
    assert json.loads(out)["accuracy"] == own
    np.save(case.folder / "y.npy", bad[int(rng.integers(len(bad)))])
    code, out, err = case.command("run", program, "-i", path, "--labels", case.folder / "y.npy")
    assert code == 2 and err.startswith("error: ") and "accuracy" not in out, (code, err)
    return "judged"


def not_finite(case: Twisted) -> str:
    """NaN and infinities in inputs and parameters are refused; an infinite threshold is one that is never reached."""
    rng, value = case.rng, float(case.rng.choice([np.nan, np.inf, -np.inf]))
    x = case.x.astype(float)
    x.reshape(-1)[rng.integers(x.size)] = value
    for file in ("float.ndp", "integer.ndp"):
        np.save(case.folder / "x.npy", x)
        code, _, err = case.command("run", case.folder / file, "-i", case.folder / "x.npy")
        assert code == 2 and "finite" in err, f"{value} in the input of {file}: {code} {err}"
    graph = deepcopy(case.graph)
    places = [
        (name, key)
        for name, node in graph.nodes.items()
        for key, held in vars(node).items()
        if isinstance(held, np.ndarray) and held.dtype.kind == "f" and held.size and not key.endswith("_type")
    ]
    name, key = places[int(rng.integers(len(places)))]
    damaged = np.array(getattr(graph.nodes[name], key), order="C")
    damaged.reshape(-1)[rng.integers(damaged.size)] = value
    setattr(graph.nodes[name], key, damaged)
    path = nirgraphs.write(graph, case.folder / "n.nir")
    code, _, err = case.command(
        "compile", path, "--dt", case.options["dt"], "--chip", "none", "--float", "-o", case.folder / "n.ndp"
    )
    if code == 0:
        assert key == "v_threshold" and value == np.inf, f"{value} in {name}.{key} was taken"
    else:
        assert code == 2 and err.startswith("error: ") and repr(name) in err, (name, key, value, err)
    return "refused"


def precision(case: Twisted) -> str:
    """A chip's weight bits are what its weights have, and its thresholds, states and integers hold them."""
    rng = case.rng
    bits = int(rng.integers(2, 9))
    said = {"value": bits, "source": "an example", "confidence": "assumed"}
    chip = {"extends": "loihi2", "name": "narrow", "title": "A narrow chip", "limits": {"weight_bits": said}}
    file = case.folder / "narrow.yaml"
    file.write_text(yaml.safe_dump(chip))
    calibrated = {"input": case.x} if rng.random() < 0.7 else None
    arch = load_architecture(str(file))
    compiled = compile(case.folder / "net.nir", arch, CompileOptions(conventions=case.options, calibration=calibrated))
    for projection in compiled.program.network.projections:
        weights = np.asarray(projection.connectivity.weights, dtype=np.int64)
        both = weights.min(initial=0) < 0 < weights.max(initial=0)
        assert not (weights % (1 << (8 - bits + both))).any(), f"{projection.name}: weights finer than {bits} bits"
        for sign in (1, -1):
            found = len(np.unique(weights[weights * sign > 0]))
            assert found <= 1 << bits, f"{projection.name}: {found} magnitudes of a sign with {bits} bits"
    return f"{bits} bits"


TWISTS: dict[str, Callable[[Twisted], str]] = {
    "wraps": wraps, "delays": delays, "labels": labels, "not finite": not_finite,
    "precision": precision,
}  # fmt: skip


def twist_of(number: int) -> str:
    """The twist of a case."""
    return list(TWISTS)[number % len(TWISTS)]
