"""``adapt`` on networks that were exported and compiled: what learns, what stays, what it costs, how it goes on."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import snntorch as snn
import torch
from torch import Tensor, nn

import neurodeploy as nd
from neurodeploy.network.network import check_registers
from neurodeploy.network.plasticity import stdp
from neurodeploy.program.count_kinds import BY_NAME
from neurodeploy.program.program import WITH_RULES
from neurodeploy.program.program import Program as Placed


class Net(nn.Module):
    """A convolution with batch norm, average pooling, another, max pooling, two dense layers: biases and two resets."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm, self.lif1 = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), snn.Leaky(beta=0.9)
        self.average = nn.AvgPool2d(2)
        self.conv2, self.lif2 = nn.Conv2d(6, 8, 3), snn.Leaky(beta=0.9, reset_mechanism="zero")
        self.largest = nn.MaxPool2d(2)
        self.fc1, self.lif3 = nn.Linear(8 * 2 * 2, 4), snn.Leaky(beta=0.9)

    def forward(self, x: Tensor) -> Any:
        mem1, mem2, mem3, count = self.lif1.init_leaky(), self.lif2.init_leaky(), self.lif3.init_leaky(), 0
        for step in x:
            spk1, mem1 = self.lif1(self.norm(self.conv1(step)), mem1)
            spk2, mem2 = self.lif2(self.conv2(self.average(spk1)), mem2)
            spk3, mem3 = self.lif3(self.fc1(self.largest(spk2).flatten(1)), mem3)
            count = count + spk3
        return count


def samples(count: int, seed: int, steps: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """One of four columns of pixels is bright, ``[time, samples, 1, 12, 12]``."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, count)
    x = random.random((steps, count, 1, 12, 12)) < 0.05
    for n, label in enumerate(labels):
        x[:, n, 0, :, 3 * label : 3 * label + 3] |= random.random((steps, 12, 3)) < 0.6
    return x.astype(np.float32), labels


@pytest.fixture(scope="module")
def program() -> nd.Program:
    torch.manual_seed(1)
    module = Net().eval()
    with torch.no_grad():
        for layer in (module.conv1, module.conv2, module.fc1):
            layer.weight.mul_(2.5)
    x, _ = samples(8, 0)
    return nd.export(module, x, time_axis=0).compile("loihi1", calibration=x)


@pytest.fixture(scope="module")
def data() -> dict[str, np.ndarray]:
    (x, y), (test_x, test_y) = samples(120, 1), samples(80, 2)
    return {"train_x": x, "train_y": y, "test_x": test_x, "test_y": test_y}


OPTIONS = nd.LearnOptions(epochs=10, learning_rate=0.02)


@pytest.fixture(scope="module")
def learned(program: nd.Program, data: Mapping[str, np.ndarray]) -> nd.Learned:
    return nd.adapt(program, data, "mpd-ed", OPTIONS)


def test_a_network_from_export_learns_and_runs_anywhere(
    program: nd.Program, learned: nd.Learned, data: Mapping[str, np.ndarray]
) -> None:
    """Convolutions, poolings, biases, two resets, integers: what was learned is what every back-end runs."""
    assert learned.before is not None
    assert learned.accuracy > learned.before["mpd-ed"] + 0.4 and learned.accuracy > 0.7
    made = learned.program
    assert made.chip == "loihi1" and made.of.use == program.of.use
    assert all((made.of.core_of[name] == cores).all() for name, cores in program.of.core_of.items())
    check_registers(made.network)
    changed = {
        q.name for q, p in zip(made.network.projections, program.network.projections, strict=True)
        if (q.connectivity.weights != p.connectivity.weights).any()
    }  # fmt: skip
    assert changed == {q.name for q in made.network.projections if q.event_rule is not None}
    assert len(changed) == 3  # the kernel of the maximum stays
    few = data["test_x"][:, :20]
    one, other = made.run(few, "hwsim", input_axis=0), made.run(few, "reference", input_axis=0)
    for name, events in one.of.spikes.items():
        assert (events.neuron == other.of.spikes[name].neuron).all() and (
            events.time == other.of.spikes[name].time
        ).all()
    assert made.run(data["test_x"], input_axis=0).accuracy(data["test_y"]).accuracy == learned.accuracy
    for p, q in zip(made.network.populations, program.network.populations, strict=True):
        assert vars(p.neuron) == vars(q.neuron) or all(
            np.array_equal(getattr(p.neuron, name), getattr(q.neuron, name)) for name in vars(p.neuron)
        )


def test_the_bill_is_that_of_cost_and_of_learning_by_layer(
    program: nd.Program, learned: nd.Learned, data: Mapping[str, np.ndarray]
) -> None:
    """Nothing learned: the bill of the forward pass is `cost`'s. Learned: layers add up to what learning takes."""
    idle = nd.adapt(program, data, "mpd-ed", nd.LearnOptions(skip=1 - 1e-12))
    own, cost = idle.document.rules[0].priced[0], program.cost(data["train_x"], input_axis=0)
    assert idle.document.rules[0].skipped == 1 and own.learning_pj == 0
    wanted = {line.component: line.energy_pj for line in cost.bill.lines}
    found = {line.component: line.energy_pj for line in own.lines}
    assert found == pytest.approx(wanted, rel=1e-6)
    assert {line.component for line in own.missing} == {line.component for line in cost.bill.missing}
    rule = learned.document.rules[0]
    energies = {row.layer: row.learning_pj for row in rule.layers}
    assert sum(energy for energy in energies.values() if energy) == pytest.approx(rule.priced[0].learning_pj)
    assert all(energies[name] for name in ("lif1", "lif2", "lif3")) and energies["chip"] == 0
    ratios = {other.name: other.ratio for other in rule.priced[0].baselines}
    assert ratios["dense"] > ratios["zero-skipping"] >= ratios["once"] > 1
    assert all(kind in BY_NAME for row in rule.layers for kind in row.counts)


def test_only_the_layers_that_are_named_learn(program: nd.Program, data: Mapping[str, np.ndarray]) -> None:
    found = nd.adapt(program, data, "mpd-ed", nd.LearnOptions(learning_rate=0.02), layers=["lif3"])
    changed = [
        q.target for q, p in zip(found.program.network.projections, program.network.projections, strict=True)
        if (q.connectivity.weights != p.connectivity.weights).any()
    ]  # fmt: skip
    assert changed == ["lif3"]
    with pytest.raises(nd.NeurodeployError, match=r"lif33.*did you mean"):
        nd.adapt(program, data, "mpd-ed", layers=["lif33"])


def test_it_goes_on_as_if_it_had_not_stopped(
    program: nd.Program, data: Mapping[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the middle of a portion, resumed: the same file, byte for byte; another rule or file is refused."""
    options = nd.LearnOptions(epochs=2, batch=3, seed=4)
    whole = nd.adapt(program, data, "mpd-ed", options, folder=tmp_path / "whole")
    from neurodeploy.learning.run import Run

    advance = Run.advance

    def once(self: Run) -> None:
        if self.taken:
            raise KeyboardInterrupt
        advance(self)

    monkeypatch.setattr(Run, "advance", once)
    with pytest.raises(nd.NeurodeployError, match="was stopped after 120 of 240 samples"):
        nd.adapt(program, data, "mpd-ed", options, folder=tmp_path / "cut")
    monkeypatch.setattr(Run, "advance", advance)
    again = nd.adapt(program, data, "mpd-ed", options, folder=tmp_path / "cut", resume=True)
    assert (tmp_path / "cut" / "adapted.ndp").read_bytes() == (tmp_path / "whole" / "adapted.ndp").read_bytes()
    assert again.accuracy == whole.accuracy and again.document.rules == whole.document.rules
    with pytest.raises(nd.NeurodeployError, match="has another seed"):
        nd.adapt(program, data, "mpd-ed", replace(options, seed=5), folder=tmp_path / "cut", resume=True)
    other = {**data, "train_y": data["train_y"][::-1].copy()}
    with pytest.raises(nd.NeurodeployError, match="was begun with another set of samples"):
        nd.adapt(program, other, "mpd-ed", options, folder=tmp_path / "cut", resume=True)
    with pytest.raises(nd.NeurodeployError, match="holds a run already"):
        nd.adapt(program, data, "mpd-ed", options, folder=tmp_path / "cut")


def test_rules_stay_in_the_file(learned: nd.Learned, data: Mapping[str, np.ndarray], tmp_path: Path) -> None:
    """An adapted Program goes on by its own rules; they are in its file, of a version that tells older ones."""
    path = learned.program.save(tmp_path / "again.ndp")
    loaded = Placed.load(path)
    rules = [q.event_rule for q in loaded.network.projections if q.event_rule is not None]
    with zipfile.ZipFile(path) as file:
        version = json.loads(file.read("header.json"))["version"]
    assert {rule.learning_rate for rule in rules} == {0.02} and version == WITH_RULES == 5
    on = nd.adapt(path, data)
    assert on.document.rules[0].settings["learning_rate"] == 0.02
    with pytest.raises(nd.NeurodeployError, match=r"the rule says how it learns"):
        nd.adapt(path, data, options=nd.LearnOptions(batch=2))
    assert nd.adapt(path, data, "mpd-ed", nd.LearnOptions(batch=2)).document.rules[0].settings["batch"] == 2


def test_thresholds_follow_each_neuron_where_the_chip_can(program: nd.Program, data: Mapping[str, np.ndarray]) -> None:
    options = nd.LearnOptions(thresholds="neuron", epochs=2, learning_rate=0.02)
    with pytest.raises(nd.NeurodeployError, match=r"cores of loihi1 do not hold a threshold for each neuron"):
        nd.adapt(program, data, "mpd-ed", options)
    silent = {**data, "train_x": np.zeros_like(data["train_x"])}
    layer = nd.adapt(program, silent, "mpd-ed", replace(options, thresholds="layer"))
    check_registers(layer.program.network)
    moved = {
        p.name for p, q in zip(layer.program.network.populations, program.network.populations, strict=True)
        if p.neuron.thresholds() is not None and (p.neuron.thresholds() != q.neuron.thresholds()).any()
    }  # fmt: skip
    assert moved and moved <= {"lif1", "lif2", "lif3"}
    row = next(r for r in layer.document.rules[0].layers if r.layer == sorted(moved)[0])
    assert row.counts["threshold_updates"] > 0


@pytest.fixture(scope="module")
def dense() -> nn.Module:
    """Integrate-and-fire neurons, which most chips have."""
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(144, 24, bias=False), snn.Leaky(1.0, init_hidden=True, reset_mechanism="zero"),
        nn.Linear(24, 4, bias=False), snn.Leaky(1.0, init_hidden=True, reset_mechanism="zero", output=True),
    )  # fmt: skip


@pytest.mark.parametrize("chip", ["odin", "loihi1", "loihi2", "paper-45nm", "speck", "reckon", "anp-i"])
def test_every_chip_keeps_what_it_holds(chip: str, dense: nn.Module, data: Mapping[str, np.ndarray]) -> None:
    """Weights of 4 to 32 bits: it begins as it was compiled, and ends as what its registers hold."""
    model = nd.export(dense, data["train_x"][:, :4], time_axis="step")
    program = model.compile(chip, calibration=data["train_x"][:, :32], input_axis=0)
    found = nd.adapt(program, data, "mpd-ed", nd.LearnOptions(learning_rate=0.5, epochs=2))
    assert found.before == {"mpd-ed": program.run(data["test_x"], input_axis=0).accuracy(data["test_y"]).accuracy}
    check_registers(found.program.network)
    for q, p in zip(program.network.projections, found.program.network.projections, strict=True):
        if p.event_rule is not None:
            held_before, held_now = (np.unique(x.connectivity.weights) for x in (q, p))
            assert len(held_now) <= max(1 << (4 if chip == "odin" else 8), len(held_before))
    assert found.program.run(data["test_x"], input_axis=0).accuracy(data["test_y"]).accuracy == found.accuracy


def test_on_no_chip_the_forward_pass_is_billed_by_layers(dense: nn.Module, data: Mapping[str, np.ndarray]) -> None:
    """A Program in floats: synaptic operations as its events and fan-outs give them."""
    model = nd.export(dense, data["train_x"][:, :4], time_axis="step")
    program = model.compile(None, nd.CompileOptions(integer=False))
    rule = nd.adapt(program, data, "mpd-ed", nd.LearnOptions(skip=1 - 1e-12)).document.rules[0]
    found = program.run(data["train_x"], input_axis=0)
    first, second = (p.name for p in program.network.populations if not p.external)
    events = {name: len(sent) / 120 for name, sent in found.of.spikes.items()}
    source = program.network.inputs[0].name
    wanted = {first: events[source] * 24, second: events[first] * 4}
    assert {row.layer: row.counts["sops"] for row in rule.layers if "sops" in row.counts} == pytest.approx(wanted)
    line = next(line for line in rule.priced[0].lines if line.component == "synaptic_operation")
    assert line.count == pytest.approx(sum(wanted.values())) and rule.priced[0].inference_pj > 0


def test_the_chip_that_bills_changes_no_weight(program: nd.Program, data: Mapping[str, np.ndarray]) -> None:
    options = nd.LearnOptions(learning_rate=0.01)
    one, other = (nd.adapt(program, data, "mpd-ed", options, chip=chip) for chip in ("loihi1", "loihi2"))
    for q, p in zip(one.program.network.projections, other.program.network.projections, strict=True):
        assert (q.connectivity.weights == p.connectivity.weights).all()
    assert {ratio for rule in other.as_json()["rules"] for ratio in rule["ratios"].values()} == {None}


def test_rules_keep_their_constants(program: nd.Program, data: Mapping[str, np.ndarray]) -> None:
    rule = nd.EventRule("mpd-ed", 0.02, width=0.5, seed=7, adapt=None)
    first = nd.adapt(program, data, rule)
    again = nd.adapt(first.program, data, layers=["lif3"])
    assert [q.event_rule for q in again.program.network.projections if q.event_rule] == [rule]


def test_what_it_says_when_nothing_good_comes_of_it(program: nd.Program, data: Mapping[str, np.ndarray]) -> None:
    silent = nd.adapt(program, {**data, "train_x": np.zeros_like(data["train_x"])})
    assert "no weight of" in silent.warnings[0]
    worse = nd.adapt(
        nd.adapt(program, data, "mpd-ed", OPTIONS).program, data, "mpd-ed", nd.LearnOptions(learning_rate=50.0)
    )
    assert any("worse than before" in text for text in worse.warnings)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (nd.LearnOptions(seed=-1), "seed"),
        (nd.LearnOptions(seed=1 << 70), "seed"),
        (nd.LearnOptions(epochs=1.5), "epochs"),  # type: ignore[arg-type]
        (nd.LearnOptions(learning_rate="a"), "learning_rate"),  # type: ignore[arg-type]
        (nd.LearnOptions(batch=1000), "a batch is larger than all samples"),
    ],
)
def test_options_that_cannot_be(
    options: nd.LearnOptions, text: str, program: nd.Program, data: Mapping[str, np.ndarray], tmp_path: Path
) -> None:
    with pytest.raises(nd.NeurodeployError, match=text):
        nd.adapt(program, data, "mpd-ed", options, folder=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_run_is_not_gone_on_with(program: nd.Program, data: Mapping[str, np.ndarray], tmp_path: Path) -> None:
    """Other layers, another rule, another chip: refused before anything is read from the checkpoint."""
    nd.adapt(program, data, "mpd-ed", folder=tmp_path)
    for other in ({"layers": ["lif3"]}, {"rule": nd.EventRule("mpd-ed", 0.7)}, {"chip": "loihi2"}):
        with pytest.raises(nd.NeurodeployError, match="begun with another Program, rules, layers or chip"):
            nd.adapt(program, data, **{"rule": "mpd-ed", **other}, folder=tmp_path, resume=True)  # type: ignore[arg-type]
    with pytest.raises(nd.NeurodeployError, match=r"'largest' has no synapses that learn"):
        nd.adapt(program, data, layers=["largest"])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"train_x": np.zeros((10, 3, 1, 9, 9)), "train_y": np.zeros(3, int)}, "test_x has the wrong shape"),
        ({"train_y": np.full(120, 7)}, "name classes that do not exist"),
        ({"train_y": np.zeros(5, int)}, "train_x and train_y differ in samples"),
        ({"train_x": np.full((10, 120, 1, 12, 12), 0.5)}, "is not binary"),
        ({"test_y": np.zeros((80, 4))}, "test_y does not hold classes"),
    ],
)
def test_samples_that_do_not_match(
    change: Mapping[str, np.ndarray], text: str, program: nd.Program, data: Mapping[str, np.ndarray]
) -> None:
    with pytest.raises(nd.NeurodeployError, match=text):
        nd.adapt(program, {**data, **change})


def test_options_of_networks_that_begin_from_nothing(program: nd.Program, data: Mapping[str, np.ndarray]) -> None:
    with pytest.raises(nd.NeurodeployError, match="what it is"):
        nd.adapt(program, data, "mpd-ed", nd.LearnOptions(hidden=(10,)))
    with pytest.raises(nd.NeurodeployError, match="have the bits that they have"):
        nd.adapt(program, data, "mpd-ed", nd.LearnOptions(weight_bits=4))
    with pytest.raises(nd.NeurodeployError, match="'fixed', 'layer', 'neuron'"):
        nd.adapt(program, data, "mpd-ed", nd.LearnOptions(thresholds="each"))  # type: ignore[arg-type]
    with pytest.raises(nd.NeurodeployError, match="std-ed learns from times of spikes"):
        nd.adapt(program, data, "std-ed")
    network = program.network
    first = network.projections[-1]
    local = replace(first, rule=stdp(rate=0.25))
    own = replace(
        program, of=replace(program.of, network=replace(network, projections=(*network.projections[:-1], local)))
    )
    with pytest.raises(nd.NeurodeployError, match="a learning rule of its own"):
        nd.adapt(own, data, "mpd-ed")
