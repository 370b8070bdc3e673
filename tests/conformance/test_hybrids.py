"""Chip and host together: every back-end gives what the reference gives, and the host what NumPy gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from neurodeploy import backends
from neurodeploy.backends.host.run import messages
from neurodeploy.backends.host.run import run as run_hybrid
from neurodeploy.backends.lava.setup import setup
from neurodeploy.cli import main
from neurodeploy.compiler import CompileOptions, compile
from neurodeploy.errors import BackendError, Interrupted, InvalidInputError, UnsupportedError
from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.network.connectivity import Dense
from neurodeploy.network.host import HostInput, HostOutput, HostStage, phases
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, SigmaDelta, Source
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Recording, returned
from tests.conformance import engines, hybrids
from tests.conformance.compare import EVERYTHING, difference
from tests.conformance.programs import Case
from tests.networks import placed


@pytest.fixture(scope="module", autouse=True)
def sidecar() -> None:
    setup()


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def attention(x: np.ndarray) -> np.ndarray:
    q = x.transpose(1, 0, 2)
    return (softmax(q @ q.transpose(0, 2, 1)) @ q).transpose(1, 0, 2)


def gate(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(x.mean(axis=-1, keepdims=True) - x))


def encoder(x: np.ndarray) -> np.ndarray:
    return (x * x > (x * x).mean(axis=0)).astype(float)


FORMULAS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "attention": attention, "early": attention, "late": attention, "gate": gate, "hold": gate, "encoder": encoder,
}  # fmt: skip


def ran(name: str, arithmetic: str, backend: str = "reference") -> tuple[Case, Recording]:
    case = hybrids.build(name, arithmetic)
    return case, backends.get(backend)(case.program, case.inputs, record=EVERYTHING)


BACKENDS = [n for n in (*engines.under_test(), "onnxruntime") if n != "lava-stock"]


@pytest.mark.parametrize("arithmetic", ["loihi", "float"])
@pytest.mark.parametrize("name", hybrids.HYBRIDS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_back_end_gives_what_the_reference_gives(backend: str, name: str, arithmetic: str) -> None:
    if backend == "onnxruntime" and (arithmetic == "loihi" or name == "a gate in every step"):
        with pytest.raises(UnsupportedError, match=r"float networks only|does not know the neurons"):
            ran(name, arithmetic, backend)
        return
    case, judge = ran(name, arithmetic)
    found = backends.get(backend)(case.program, case.inputs, record=EVERYTHING)
    assert difference(judge, found, arithmetic == "loihi") == ""
    for key, values in judge.hosted.items():
        np.testing.assert_allclose(found.hosted[key], values, rtol=1e-5, atol=1e-5)
    for events, one in zip(returned(case.program.network, found), returned(case.program.network, judge), strict=True):
        np.testing.assert_allclose(events, one, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("arithmetic", ["loihi", "float"])
@pytest.mark.parametrize("name", hybrids.HYBRIDS)
def test_the_host_gives_what_its_formula_gives_of_what_the_chip_did(name: str, arithmetic: str) -> None:
    case, found = ran(name, arithmetic)
    network = case.program.network
    for stage in network.stages:
        if stage.when == "behind":
            continue
        (taken,), (given,) = stage.takes, stage.gives
        x = found.spikes[taken.source].dense().astype(float)
        y = FORMULAS[stage.name](x)
        delayed = np.concatenate([np.zeros_like(y[: given.delay]), y])[: len(y)]
        np.testing.assert_allclose(found.hosted[given.target], delayed, atol=1e-12)
        sent = found.spikes[given.target].dense()
        assert (sent != 0).mean() > 0.02
        assert len(np.unique(sent)) > (1 if stage.name == "encoder" else 2)
    for population in network.populations:
        share = (found.spikes[population.name].dense() != 0).mean()
        assert share > 0.02, f"{population.name} is silent"


def alone(case: Case, found: Recording, hosted: dict[str, np.ndarray]) -> Recording:
    """The chip's part by itself, on hwsim, fed with what the host gave; with inputs that only the host reads."""
    network, part = case.program.network, case.program.network.chip_part
    host = {n: messages(network, network.by_name[n], v) for n, v in hosted.items() if n in part.by_name}
    user = {n: v for n, v in case.inputs.items() if n in part.by_name}
    cores = {n: c for n, c in case.program.core_of.items() if n in part.by_name}
    program = replace(case.program, network=part, core_of=cores)
    ran = backends.get("hwsim")(program, {**user, **host}, record=EVERYTHING)
    extra = {n: e for n, e in found.spikes.items() if n not in part.by_name}
    return replace(ran, spikes={**ran.spikes, **extra})


@pytest.mark.parametrize("arithmetic", ["loihi", "float"])
@pytest.mark.parametrize("name", hybrids.HYBRIDS)
def test_the_chip_fed_with_what_the_host_gave_does_the_same(name: str, arithmetic: str) -> None:
    case, found = ran(name, arithmetic)
    part = case.program.network.chip_part
    fed = {g.target for s in case.program.network.stages for g in s.gives if g.target}
    assert not part.stages and {p.name for p in part.inputs} >= fed
    assert difference(found, alone(case, found, dict(found.hosted)), arithmetic == "loihi") == ""


@pytest.mark.parametrize("arithmetic", ["loihi", "float"])
@pytest.mark.parametrize("backend", ["hwsim", "lava"])
def test_random_hybrids(backend: str, arithmetic: str) -> None:
    """On Lava fewer; ours refuse none of them. In most, the host changes what the chip does."""
    moved, tried = 0, 40 if backend == "hwsim" else 6
    for seed in range(tried):
        case = hybrids.random_hybrid(seed, arithmetic)
        judge = backends.get("reference")(case.program, case.inputs, record=EVERYTHING)
        found = backends.get(backend)(case.program, case.inputs, record=EVERYTHING)
        assert difference(judge, found, arithmetic == "loihi") == "", seed
        assert difference(judge, alone(case, judge, dict(judge.hosted)), arithmetic == "loihi") == "", seed
        silent = alone(case, judge, {name: 0 * values for name, values in judge.hosted.items()})
        chip = [p.name for p in case.program.network.populations if not p.external]
        kept = [replace(r, spikes={n: e for n, e in r.spikes.items() if n in chip}) for r in (silent, judge)]
        moved += difference(kept[0], kept[1], True) != ""
    assert moved > 0.8 * tried


def test_the_answer_is_what_the_stage_behind_gives() -> None:
    case, found = ran("two phases, a gate, and a reader behind", "float")
    counts = found.spikes["third"].dense().sum(axis=0)
    expected = softmax(counts + np.tanh(found.states["v"]["second"]).mean(axis=0))
    np.testing.assert_allclose(returned(case.program.network, found)[0], expected, atol=1e-12)


def test_phases_are_counted_by_the_barriers_in_front() -> None:
    network = hybrids.build("two phases, a gate, and a reader behind", "float").program.network
    assert phases(network) == {
        "input": 0, "first": 0, "seen": 1, "second": 1, "again": 2, "opened": 1, "third": 2,
    }  # fmt: skip


@pytest.mark.parametrize("name", hybrids.HYBRIDS)
def test_a_file_keeps_its_stages(name: str, tmp_path: Path) -> None:
    case, found = ran(name, "loihi")
    case.program.save(tmp_path / "a.ndp")
    again = Program.load(tmp_path / "a.ndp")
    again.save(tmp_path / "b.ndp")
    assert (tmp_path / "a.ndp").read_bytes() == (tmp_path / "b.ndp").read_bytes()
    assert difference(found, backends.get("reference")(again, case.inputs, record=EVERYTHING), True) == ""


def network() -> Network:
    return hybrids.build("attention between two phases", "float").program.network


def loop(net: Network) -> Network:
    back = Projection("back", "second", "first", net.projections[0].connectivity, delay=1)
    return replace(net, projections=(*net.projections, back))


def other(net: Network, **changed: object) -> Network:
    return replace(net, stages=(replace(net.stages[0], **changed),))  # type: ignore[arg-type]


REFUSED = {
    "unknown population 'nobody'|nobody": lambda n: other(n, takes=(HostInput("x", "nobody"),)),
    "feeds 'second', which is computed": lambda n: other(n, gives=(HostOutput("y", "second"),)),
    "reads the potential of 'input'": lambda n: other(n, takes=(HostInput("x", "input", "potential"),)),
    "before the first step and reads 'first'": lambda n: other(n, when="before"),
    "feeds the chip behind its last step": lambda n: other(n, when="behind"),
    "reads 'first', which it feeds itself": loop,
    "gives something later": lambda n: other(n, gives=(HostOutput("y", "seen", 2),)),
    "feed one population": lambda n: replace(n, stages=(*n.stages, replace(n.stages[0], name="b"))),
    "are called 'attention'": lambda n: replace(n, stages=(*n.stages, n.stages[0])),
    "has no graph": lambda n: other(n, graph=np.zeros(0, np.uint8)),
    "takes nothing": lambda n: other(n, takes=()),
}  # fmt: skip


@pytest.mark.parametrize("said", REFUSED)
def test_stages_that_cannot_be_are_refused(said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        REFUSED[said](network())


def test_a_loop_through_the_host_in_one_step_is_refused() -> None:
    net = hybrids.build("a loop through the host", "float").program.network
    (stage,) = net.stages
    with pytest.raises(InvalidInputError, match="a loop through the host costs a step"):
        replace(net, stages=(replace(stage, gives=(replace(stage.gives[0], delay=0),)),))


def failing(stage: HostStage) -> None:
    case = hybrids.build("attention between two phases", "float")
    changed = replace(case.program, network=replace(case.program.network, stages=(stage,)))
    backends.get("reference")(changed, case.inputs)


def test_graphs_that_do_not_fit_are_refused_by_name() -> None:
    (stage,) = network().stages
    with pytest.raises(BackendError, match="does not take the graph of the host stage 'attention'"):
        failing(replace(stage, graph=np.arange(30, dtype=np.uint8)))
    with pytest.raises(InvalidInputError, match="inputs of the graph of the host stage 'attention'"):
        failing(replace(stage, takes=(HostInput("z", "first"),)))
    wide = hybrids.graph([("Concat", "x x", "y", {"axis": 2})], {"x": hybrids.SEQUENCE}, {"y": ["time", "batch", 12]})
    with pytest.raises(InvalidInputError, match="'attention' gives 'seen' another shape"):
        failing(replace(stage, graph=wide))
    log = hybrids.graph([("Log", "x", "y")], {"x": hybrids.SEQUENCE}, {"y": hybrids.SEQUENCE})
    with pytest.raises(InvalidInputError, match="values that are not finite"):
        failing(replace(stage, graph=log))
    mixed = hybrids.graph([("MatMul", "x x", "y")], {"x": hybrids.SEQUENCE}, {"y": hybrids.SEQUENCE})
    with pytest.raises(BackendError, match="the host stage 'attention' failed"):
        failing(replace(stage, graph=mixed))


def relay(steps: int) -> Case:
    """A spike that goes round a loop of two stages, once in each step, from one spike of the input on."""
    one = np.ones(hybrids.N)
    unit = Lif(du=one, dv=one, bias=0 * one, threshold=one, reset_to=0 * one, initial=0 * one)
    same = hybrids.graph([("Identity", "x", "y")], {"x": hybrids.STEP}, {"y": hybrids.STEP})
    wired = [("input", "first"), ("held", "first"), ("opened", "second")]
    parts = Network(
        "relay", tuple(Population(name, (hybrids.N,), Source()) for name in ("input", "held", "opened"))
        + tuple(Population(name, (hybrids.N,), unit) for name in ("first", "second")),
        tuple(Projection(f"{a}-{b}", a, b, Dense(1.5 * np.eye(hybrids.N))) for a, b in wired), ("second",), 1e-3,
        stages=(hybrids.stage("hold", same, "second", "held", "step", delay=1),
                hybrids.stage("open", same, "first", "opened", "step")),
    )  # fmt: skip
    x = np.zeros((steps, 1, hybrids.N), np.uint8)
    x[0] = 1
    return Case(placed(parts), {"input": x})


@pytest.mark.parametrize("steps", [1, 2, 7, 14])
@pytest.mark.parametrize("backend", ["reference", "hwsim", "onnxruntime"])
def test_a_loop_of_several_stages_is_run_to_its_end(backend: str, steps: int) -> None:
    """Each settles after the other in each step, which takes more runs than there are steps."""
    case, runs = relay(steps), []

    def counted(*given: object, **how: object) -> Recording:
        runs.append(1)
        return backends.get(backend)(*given, **how)  # type: ignore[arg-type]

    found = run_hybrid(counted, case.program, case.inputs)
    assert all(found.spikes[name].dense().all() for name in ("first", "second"))
    assert len(runs) == 2 * steps


def test_a_stage_that_draws_at_random_is_refused() -> None:
    (stage,) = network().stages
    noise = hybrids.graph([("RandomUniformLike", "x", "y")], {"x": hybrids.SEQUENCE}, {"y": hybrids.SEQUENCE})
    with pytest.raises(BackendError, match="never make the same twice"):
        failing(replace(stage, graph=noise))


def test_what_was_stopped_half_way_is_not_given_out() -> None:
    """It had not heard all of the host."""
    case, found = ran("attention between two phases", "float")

    def stopped(*given: object, **how: object) -> Recording:
        raise Interrupted(found, "stopped after 3 of 14 steps")

    with pytest.raises(Interrupted, match="stopped after 3") as caught:
        run_hybrid(stopped, case.program, case.inputs)
    assert caught.value.recording is None


@pytest.mark.parametrize("name", hybrids.HYBRIDS)
def test_compiled_for_a_chip_it_does_the_same(name: str, tmp_path: Path) -> None:
    """Through the passes and the placement of `compile`; what a stage reads or feeds is not pruned."""
    case, found = ran(name, "float")
    case.program.save(tmp_path / "a.ndp")
    chip = load_architecture("loihi2")
    made = compile(tmp_path / "a.ndp", chip, CompileOptions(integer=False)).program
    again = backends.get("hwsim")(made, case.inputs, record=EVERYTHING)
    assert difference(found, again, integer=False) == ""
    assert len(made.network.stages) == len(case.program.network.stages)


@pytest.mark.parametrize("name", hybrids.HYBRIDS)
@pytest.mark.parametrize("backend", [n for n in BACKENDS if n != "onnxruntime"])
def test_quantised_for_a_chip_all_back_ends_do_the_same(backend: str, name: str, tmp_path: Path) -> None:
    """Integers that `quantise` chose: bit-equal on every back-end, chip and host together."""
    case = hybrids.build(name, "float")
    case.program.save(tmp_path / "a.ndp")
    made = compile(tmp_path / "a.ndp", load_architecture("loihi2"), CompileOptions(calibration=case.inputs)).program
    judge, found = (backends.get(one)(made, case.inputs, record=EVERYTHING) for one in ("reference", backend))
    assert difference(judge, found, integer=True) == ""
    assert all(len(judge.spikes[p.name]) > 20 for p in made.network.populations)


def test_inspect_shows_the_stages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = hybrids.build("two phases, a gate, and a reader behind", "float")
    case.program.save(tmp_path / "a.ndp")
    assert main(["inspect", str(tmp_path / "a.ndp")]) == 0
    said = capsys.readouterr().out
    assert "spikes of third, summed over time, potential of second" in said and "the user, as y" in said
    assert main(["inspect", "--json", str(tmp_path / "a.ndp")]) == 0
    stages = json.loads(capsys.readouterr().out)["stages"]
    assert [(s["name"], s["when"]) for s in stages] == [
        ("votes", "behind"), ("late", "phase"), ("early", "phase"), ("gate", "step"),
    ]  # fmt: skip
    assert stages[1]["gives"] == [{"name": "y", "target": "again", "delay": 0}]


def changing(net: Network) -> Network:
    """The same with its first neurons sigma-delta."""
    neuron = SigmaDelta(np.zeros(hybrids.N), np.zeros(hybrids.N))
    return replace(
        net, populations=tuple(replace(p, neuron=neuron) if p.name == "first" else p for p in net.populations)
    )


def test_parts_that_know_no_host_refuse_it(tmp_path: Path) -> None:
    """None of them runs the chip's part as if it were the network."""
    from neurodeploy.backends.lava.script import export as lava_script
    from neurodeploy.backends.onnx.step import write as to_onnx
    from neurodeploy.passes.quantise.quantise import Quantise

    case = hybrids.build("attention between two phases", "float")
    integers = hybrids.build("attention between two phases", "loihi")
    parts: dict[str, Callable[[], object]] = {
        "ONNX": lambda: to_onnx(case.program.network, tmp_path / "a.onnx"),
        "Lava": lambda: lava_script(integers.program, tmp_path / "a.py"),
        "quantise of sigma-delta": lambda: Quantise().apply(changing(case.program.network)),
    }
    for who, part in parts.items():
        with pytest.raises(UnsupportedError, match=f"{who}.* does not know host stages"):
            part()
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_another_length_is_refused_where_a_stage_takes_all_steps() -> None:
    """A graph that was written for so many steps says so, before anything runs."""
    import onnx

    case = hybrids.build("attention between two phases", "float")
    (stage,) = case.program.network.stages
    model = onnx.load_model_from_string(stage.graph.tobytes())
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3
    fixed = replace(stage, graph=np.frombuffer(model.SerializeToString(), np.uint8))
    program = replace(case.program, network=replace(case.program.network, stages=(fixed,)))
    steps = next(iter(case.inputs.values())).shape[0]
    with pytest.raises(InvalidInputError, match="takes all steps at once, and another number") as refused:
        backends.get("reference")(program, case.inputs)
    assert (refused.value.found, steps) == (f"{steps} steps", steps)
    assert "3 steps" in str(refused.value.allowed)
