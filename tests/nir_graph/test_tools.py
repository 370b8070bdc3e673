"""Each row of the table of tools against the tool's own update equations, written out here step by step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.backends.reference.run import run_network
from neurodeploy.cli import main, options
from neurodeploy.errors import InvalidInputError
from neurodeploy.lowering.lower import lower
from neurodeploy.nir_graph import interpreter, nir_file
from neurodeploy.nir_graph.conventions import CHOICES, resolve
from neurodeploy.nir_graph.recognise import recognise
from neurodeploy.nir_graph.tools import NIR, TOOLS
from tests import nirgraphs, nirh5
from tests.nirh5 import affine, inp, lif, linear, out
from tests.random_nir import random_graph

INPUTS, STEPS = 5, 40
Step = Callable[[np.ndarray], np.ndarray]
Made = tuple[dict[str, Any], Step]
"""A NIR node as the tool's exporter writes it, and what the tool computes in a step, ``[neurons] -> [neurons]``."""


def node(kind: str, **values: Any) -> dict[str, Any]:
    size = max(np.size(v) for v in values.values())
    zero = {"v_reset": 0.0} if kind == "IF" else {"v_leak": 0.0, **({} if kind == "LI" else {"v_reset": 0.0})}
    return {"type": kind, **{k: np.broadcast_to(v, size).astype(float) for k, v in {**zero, **values}.items()}}


class Cell:
    """State of one layer and random parameters; a method for each neuron of a tool."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.keep, self.keep_i = rng.uniform(0.5, 0.97, size), rng.uniform(0.2, 0.9, size)
        self.tau, self.tau_s = rng.uniform(2.5, 20, size), rng.uniform(1.5, 8, size)
        self.rest = rng.uniform(-0.1, 0.1, size)
        self.threshold = rng.uniform(0.4, 1.2, size)
        self.whole = rng.integers(1, 4, size) / 2
        """Thresholds that sums of halves meet exactly."""
        self.v, self.i, self.spike = np.zeros(size), np.zeros(size), np.zeros(size)

    def hard(self, x: np.ndarray, v_reset: np.ndarray | float = 0.0, *, equal: bool = False) -> np.ndarray:
        s = self.v >= x if equal else self.v > x
        self.v = np.where(s, v_reset, self.v)
        return s.astype(float)

    def several(self, threshold: np.ndarray, most: float = np.inf) -> np.ndarray:
        s = np.clip(np.floor(self.v / threshold), 0, most)
        self.v = self.v - s * threshold
        return s

    def snntorch_leaky(self) -> Made:
        tau = 1e-4 / (1 - self.keep)

        def step(x: np.ndarray) -> np.ndarray:
            reset = self.v > self.threshold
            self.v = self.keep * self.v + x - reset * self.threshold
            return (self.v > self.threshold).astype(float)

        return node("LIF", tau=tau, r=tau / 1e-4, v_threshold=self.threshold), step

    def snntorch_synaptic(self) -> Made:
        tau, tau_s = 1e-4 / (1 - self.keep), 1e-4 / (1 - self.keep_i)

        def step(x: np.ndarray) -> np.ndarray:
            reset = self.v > self.threshold
            self.i = self.keep_i * self.i + x
            self.v = self.keep * self.v + self.i - reset * self.threshold
            return (self.v > self.threshold).astype(float)

        own = {"tau_syn": tau_s, "tau_mem": tau, "r": tau / 1e-4, "w_in": tau_s / 1e-4, "v_threshold": self.threshold}
        return node("CubaLIF", **own), step

    def norse_box(self) -> Made:
        self.v = self.rest.copy()

        def step(x: np.ndarray) -> np.ndarray:
            self.v = self.v + 1e-3 * (1e3 / self.tau) * (x + self.rest - self.v)
            return self.hard(self.threshold / 3)

        tau = 1e-3 / (1e3 / self.tau)  # tau = dt / tau_mem_inv
        return node("LIF", tau=tau, r=1.0, v_leak=self.rest, v_threshold=self.threshold / 3), step

    def norse_cell(self) -> Made:
        self.v = self.rest.copy()

        def step(x: np.ndarray) -> np.ndarray:
            self.i = self.i + x
            self.v = self.v + (1 / self.tau) * (self.rest - self.v + self.i)
            self.i = self.i - (1 / self.tau_s) * self.i
            return self.hard(self.threshold / 3)

        own = {"tau_syn": self.tau_s * 1e-6, "tau_mem": self.tau * 1e-6, "v_leak": self.rest}
        return node("CubaLIF", **own, r=1.0, w_in=1.0, v_threshold=self.threshold / 3), step

    def norse_iaf(self) -> Made:
        def step(x: np.ndarray) -> np.ndarray:
            self.v = self.v + x
            return self.hard(self.whole)

        return node("IF", r=1.0, v_threshold=self.whole), step

    def sinabs_lif(self) -> Made:
        def step(x: np.ndarray) -> np.ndarray:
            alpha = np.exp(-1 / self.tau)
            self.v = alpha * self.v + (1 - alpha) * x
            return self.several(self.threshold / 4)

        return node("LIF", tau=self.tau, r=1.0, v_threshold=self.threshold / 4), step

    def sinabs_iaf(self) -> Made:
        def step(x: np.ndarray) -> np.ndarray:
            self.v = self.v + x
            return self.several(self.whole)

        return node("IF", r=1.0, v_threshold=self.whole), step

    def spikingjelly_lif(self, decay_input: bool = True) -> Made:
        tau, v_reset, threshold = float(self.tau[0]), float(self.rest[0]), float(self.threshold[0]) / 3
        self.v = np.full_like(self.v, v_reset)

        def step(x: np.ndarray) -> np.ndarray:
            self.v = self.v - (self.v - v_reset) / tau + (x / tau if decay_input else x)
            return self.hard(threshold, v_reset, equal=True)

        own = {"v_leak": v_reset, "v_reset": v_reset, "v_threshold": np.full_like(self.v, threshold)}
        return node("LIF", tau=tau * 1e-4, r=1.0 if decay_input else tau, **own), step

    def spikingjelly_lif_unscaled(self) -> Made:
        return self.spikingjelly_lif(decay_input=False)

    def spikingjelly_if(self) -> Made:
        threshold = float(self.whole[0])

        def step(x: np.ndarray) -> np.ndarray:
            self.v = self.v + x
            return self.hard(threshold, equal=True)

        return node("IF", r=1e4, v_threshold=np.full_like(self.v, threshold)), step

    def spikingjelly_cuba(self) -> Made:
        c, v, threshold = float(self.keep_i[0]), float(self.keep[0]), float(self.threshold[0])

        def step(x: np.ndarray) -> np.ndarray:
            self.i = c * self.i + x
            self.v = v * self.v + self.i
            return self.hard(threshold, equal=True)

        own = {"tau_syn": 1e-4 / (1 - c), "tau_mem": 1e-4 / (1 - v), "r": 1 / (1 - v), "w_in": 1 / (1 - c)}
        return node("CubaLIF", **own, v_threshold=np.full_like(self.v, threshold)), step

    def rockpool_lif(self) -> Made:
        def step(x: np.ndarray) -> np.ndarray:
            self.i = (self.i + x) * np.exp(-1 / self.tau_s)
            self.v = self.v * np.exp(-1 / self.tau) + self.i
            return self.several(self.threshold, 1 << 16)

        own = {"tau_syn": self.tau_s * 1e-3, "tau_mem": self.tau * 1e-3, "w_in": 1.0, "v_threshold": self.threshold}
        return node("CubaLIF", **own, r=self.tau * np.exp(-1 / self.tau)), step

    def rockpool_neuron(self) -> Made:
        def step(x: np.ndarray) -> np.ndarray:
            self.v = self.v * np.exp(-1 / self.tau) + x
            return self.several(self.threshold, 1 << 16)

        own = {"tau": self.tau * 1e-3, "v_threshold": self.threshold}
        return node("LIF", **own, r=self.tau * np.exp(-1 / self.tau)), step

    def spyx_lif(self) -> Made:
        def step(x: np.ndarray) -> np.ndarray:
            s = (self.v > self.threshold).astype(float)
            self.v = self.keep * self.v + x - s * self.threshold
            return s

        return node("LIF", tau=1e-3 / (1 - self.keep), r=self.keep, v_threshold=self.threshold), step

    def spyx_cuba(self) -> Made:
        def step(x: np.ndarray) -> np.ndarray:
            s = (self.v > self.threshold).astype(float)
            self.i = self.keep_i * self.i + x
            self.v = self.keep * (self.v - s * self.threshold) + self.i
            return s

        own = {"tau_syn": 1e-3 / (1 - self.keep_i), "tau_mem": 1e-3 / (1 - self.keep), "w_in": 1.0, "r": self.keep}
        return node("CubaLIF", **own, v_threshold=self.threshold), step

    def spyx_if(self) -> Made:
        def step(x: np.ndarray) -> np.ndarray:
            s = (self.v > self.whole).astype(float)
            self.v = self.v + x - s * self.whole
            return s

        return node("IF", r=1.0, v_threshold=self.whole), step

    def lava_dl_cuba(self) -> Made:
        du, dv = 1 - self.keep_i, 1 - self.keep

        def step(x: np.ndarray) -> np.ndarray:
            self.i = (1 - du) * self.i + x
            self.v = (1 - dv) * self.v + self.i
            return self.hard(self.threshold)

        own = {"tau_syn": 1e-4 / du, "tau_mem": 1e-4 / dv, "r": 1 / dv, "w_in": 1 / du, "v_threshold": self.threshold}
        return node("CubaLIF", **own), step

    def nengo_lif(self) -> Made:
        def step(x: np.ndarray) -> np.ndarray:
            self.v = self.v - (x - self.v) * np.expm1(-1 / self.tau)
            s = self.hard(self.threshold / 3)
            self.v = np.maximum(self.v, 0)
            return s

        return node("LIF", tau=self.tau * 1e-3, r=1.0, v_threshold=self.threshold / 3), step

    def nengo_if(self) -> Made:
        return self.norse_iaf()


CELLS = [name for name in vars(Cell) if name.startswith(tuple(tool.replace("-", "_") for tool in TOOLS))]


def tool_of(cell: str) -> str:
    return max((t for t in TOOLS if cell.startswith(t.replace("-", "_"))), key=len)


def network(cell: str, seed: int) -> tuple[dict[str, Any], list[tuple[str, str]], list[np.ndarray], np.ndarray]:
    """Nodes and edges as the tool writes them, and its own spikes of two layers, the first sometimes recurrent."""
    rng = np.random.default_rng(seed)
    sizes = (int(rng.integers(2, 7)), int(rng.integers(1, 4)))
    halves = cell.endswith(("iaf", "_if"))
    gain = 6.0 if any(part in cell for part in ("box", "norse_cell", "sinabs_lif", "nengo_lif")) else 1.2
    loop = tool_of(cell) in ("snntorch", "spyx", "spikingjelly", "lava-dl") and bool(rng.integers(2))

    def weights(outputs: int, inputs: int) -> np.ndarray:
        return rng.integers(-2, 4, (outputs, inputs)) / 2 if halves else rng.normal(0.2, gain, (outputs, inputs))

    w1, w2, rec = weights(sizes[0], INPUTS), weights(sizes[1], sizes[0]), weights(sizes[0], sizes[0]) / 4
    b1, b2 = (np.zeros(n) if halves else rng.normal(0, 0.1, n) for n in sizes)
    cells = [Cell(rng, size) for size in sizes]
    (first, one), (second, two) = (getattr(own, cell)() for own in cells)
    x = (rng.random((STEPS, INPUTS)) < 0.4).astype(float)
    nodes = {"input": inp(INPUTS), "fc1": affine(w1, b1), "n1": first, "fc2": affine(w2, b2), "n2": second,
             "output": out(sizes[1])}  # fmt: skip
    edges = [("input", "fc1"), ("fc1", "n1"), ("n1", "fc2"), ("fc2", "n2"), ("n2", "output")]
    if loop:
        nodes["rec"] = linear(rec)
        edges += [("n1", "rec"), ("rec", "n1")]
        edges[1] = ("fc1", "rec") if tool_of(cell) == "spyx" else edges[1]  # as spyx 1.0.0 draws it
    spikes: list[list[np.ndarray]] = [[], []]
    last = np.zeros(sizes[0])
    for t in range(STEPS):
        arriving = w1 @ x[t] + b1
        if loop and tool_of(cell) == "spyx":  # it feeds back the spike of this step, taken from the stored potential
            fired = cells[0].v > (cells[0].whole if halves else cells[0].threshold)
            arriving = arriving + rec @ fired
        elif loop:
            arriving = arriving + rec @ last
        last = one(arriving)
        spikes[0].append(last)
        spikes[1].append(two(w2 @ last + b2))
    return nodes, edges, [np.array(s) for s in spikes], x


@pytest.mark.parametrize("cell", CELLS)
def test_a_row_computes_what_the_tool_computes(cell: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    seen = 0
    path = tmp_path_factory.mktemp("tools") / "net.nir"

    @settings(max_examples=5, deadline=None)
    @given(seed=st.integers(0, 1 << 30))
    def check(seed: int) -> None:
        nonlocal seen
        nodes, edges, wanted, x = network(cell, seed)
        file = nir_file.read(nirh5.write(path, nodes, edges))
        conventions = resolve(file, tool=tool_of(cell))
        inputs = {"input": x[:, None]}
        for run in (run_network(lower(file, conventions), inputs), interpreter.run(file, inputs, conventions)):
            for layer, own in zip(("n1", "n2"), wanted, strict=True):
                spikes = run.spikes[layer].dense()[:, 0]
                if tool_of(cell) == "spyx":
                    spikes, own = spikes[:-1], own[1:]
                np.testing.assert_array_equal(spikes, own, err_msg=f"{layer}, seed {seed}")
        seen += int(wanted[0].sum() + wanted[1].sum())

    check()
    assert seen > 50


def test_every_tool_has_a_cell() -> None:
    assert {tool_of(cell) for cell in CELLS} == set(TOOLS)


def test_rows_are_whole_and_the_command_line_knows_them() -> None:
    assert tuple(TOOLS) == options.TOOLS
    assert set(options.CONVENTIONS) == {"tool", "dt", *NIR}
    for tool in TOOLS.values():
        assert set(tool.values) == {"dt", *NIR}
        for said in (tool.values, *tool.by_kind.values()):
            assert all(said[name] in allowed for name, allowed in CHOICES.items() if name in said)
        assert tool.source and tool.measured


def test_beta_comes_back(tmp_path: Path) -> None:
    """tau = dt / (1 - beta) gives beta back by Euler, tau = -dt / ln(beta) by the exponential, to the last digits."""
    for decay, tau in (("euler", 1e-3 / (1 - 0.9)), ("exponential", -1e-3 / np.log(0.9))):
        path = nirh5.write(tmp_path / "n.nir", {"input": inp(2), "n": lif(2, tau=tau), "output": out(2)})
        file = nir_file.read(path)
        (_, population) = lower(file, resolve(file, dt=1e-3, decay=decay)).populations
        np.testing.assert_allclose(1 - population.neuron.dv, 0.9, rtol=1e-14)


def test_a_time_constant_below_the_step(tmp_path: Path) -> None:
    """Euler would overshoot and refuses; the exact solution keeps exp(-2) of it."""
    file = nir_file.read(nirh5.write(tmp_path / "n.nir", {"input": inp(2), "n": lif(2, tau=5e-4), "output": out(2)}))
    with pytest.raises(InvalidInputError, match="tau is shorter than the time step"):
        lower(file, resolve(file, dt=1e-3))
    (_, population) = lower(file, resolve(file, dt=1e-3, decay="exponential")).populations
    np.testing.assert_allclose(1 - population.neuron.dv, np.exp(-2))


def simple(path: Path, **metadata: Any) -> Path:
    import h5py

    nirh5.write(path, {"input": inp(2), "n": lif(2), "output": out(2)})
    with h5py.File(path, "r+") as file:
        for key, value in metadata.items():
            file[f"node/metadata/neurodeploy/{key}"] = value
    return path


def test_who_comes_first(tmp_path: Path) -> None:
    """An option before --as, --as before the file's metadata, these before what is assumed; each is said."""
    file = nir_file.read(simple(tmp_path / "n.nir", dt=2e-3, reset="none", reset_time="now", framework="norse"))
    plain = resolve(file)
    assert (plain.dt, plain.reset) == (2e-3, "none") and plain.notes["reset"] == "none (from the file's metadata)"
    asked = resolve(file, tool="snntorch")
    assert (asked.dt, asked.reset, asked.reset_time) == (1e-4, "subtract", "next")
    assert asked.notes["reset"] == "subtract (as snnTorch 1.0.0 has it; the file's metadata say none)"
    assert "the file says that it comes from norse" in asked.notes["as"]
    both = resolve(file, tool="snntorch", reset="hard", dt=1e-3)
    assert (both.dt, both.reset, both.reset_time) == (1e-3, "hard", "next")
    assert both.notes["reset"] == "hard (given as an option, instead of snnTorch 1.0.0's subtract)"
    assert resolve(file, reset="subtract").reset_time == "now"
    assert resolve(file, reset="subtract", reset_time="next").reset_time == "next"


def test_a_tool_that_cannot_have_written_the_file_is_doubted(tmp_path: Path) -> None:
    file = nir_file.read(simple(tmp_path / "n.nir"))
    assert "it did not write this file, since it writes r = tau / dt" in resolve(file, tool="snntorch").notes["as"]
    assert "did not" not in resolve(file, tool="norse").notes["as"]


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        (("--reset-time", "once"), "--reset-time once does not go with the reset"),
        (("--reset-time", "gate", "--reset", "subtract"), "--reset-time gate does not go with the reset"),
        (("--as", "sinabs", "--comparison", ">"), "--comparison > contradicts several spikes"),
        (("--as", "sinabs", "--reset-time", "next"), "--reset-time next does not go with several spikes"),
        (("--max-spikes", "3", "--reset-time", "next", "--reset", "subtract"), "does not go with several spikes"),
    ],
)
def test_contradictions(
    tmp_path: Path, given_: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, dt = simple(tmp_path / "n.nir"), () if "--as" in given_ else ("--dt", "1e-3")
    assert main(["compile", str(path), *dt, *given_, "--chip", "none"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "n.ndp").exists()


def test_an_unknown_convention_or_tool(tmp_path: Path) -> None:
    file = nir_file.read(simple(tmp_path / "n.nir"))
    with pytest.raises(InvalidInputError, match="unknown convention"):
        resolve(file, dt=1e-3, resett="hard")
    with pytest.raises(InvalidInputError, match="unknown tool"):
        resolve(file, tool="brian")
    with pytest.raises(InvalidInputError, match="unknown decay"):
        resolve(file, dt=1e-3, decay="linear")


@pytest.mark.parametrize("name", ["n.ndp", "n.net"])
def test_no_conventions_where_none_are_open(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tmp_path / name), "--as", "norse"]) == 2
    assert "leaves no convention to settle" in capsys.readouterr().err


def test_random_graphs_are_nobodys_for_certain(tmp_path: Path) -> None:
    """What nothing but chance made is not taken for Rockpool's or spyx's."""
    for seed in range(12):
        file = nir_file.read(nirgraphs.write(random_graph(seed), tmp_path / "n.nir"))
        found = recognise(file)
        assert found is None or not found.certain, (seed, found)


@pytest.mark.parametrize("tau", [5e-3, 0.5, 50.0])
def test_a_long_time_constant_is_no_sign_of_rockpool(tmp_path: Path, tau: float) -> None:
    """r = tau / dt (snnTorch, SpikingJelly) nears Rockpool's r = tau exp(-dt / tau) / dt for long tau."""
    taus = np.array([tau, 2 * tau, 3 * tau])
    node_ = lif(3, tau=taus.astype(np.float32), r=(taus / 1e-4).astype(np.float32))
    found = recognise(nir_file.read(nirh5.write(tmp_path / "n.nir", {"input": inp(3), "n": node_, "output": out(3)})))
    assert found is not None and (found.tool, found.certain) == ("snntorch", False)


def test_names_and_a_round_step_tell_spyx(tmp_path: Path) -> None:
    """With one time constant it takes both: r = 1 - dt / tau for a round dt, and spyx's names."""

    def found(tau: float, r: float, *names: str) -> tuple[str, bool] | None:
        nodes = {"input": inp(2), names[0]: linear(np.eye(2)), names[1]: lif(2, tau=tau, r=r), "output": out(2)}
        said = recognise(nir_file.read(nirh5.write(tmp_path / "n.nir", nodes)))
        return (said.tool, said.certain) if said else None

    assert found(0.01, 0.9, "layer_0", "layer_1") == ("spyx", True)
    assert found(0.01, 0.9, "fc", "lif") is None
    assert found(0.012345, 0.9, "layer_0", "layer_1") is None
    assert found(0.01, 1.0, "layer_0", "layer_1") is None
