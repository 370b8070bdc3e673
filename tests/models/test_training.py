"""Training, resuming, weights on disk, and checkpoints of authors' code."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import neurodeploy as nd
from neurodeploy.errors import InvalidInputError, NeurodeployError, StorageError
from neurodeploy.models import registry
from neurodeploy.models.data.dataset import DataSet, Part
from neurodeploy.models.orrc import published as orrc
from neurodeploy.models.orrc.network import OrrcResNet
from neurodeploy.models.orrc.network import Shape as OrrcShape
from neurodeploy.models.system import Recipe
from neurodeploy.models.training import loop, weights
from neurodeploy.models.trevsnn import published as trevsnn
from neurodeploy.models.trevsnn.network import Shape, TRevSNN

SMALL = OrrcShape(widths=(8, 12), steps=4, inputs=1, units=2, largest=16)


def stripes(count: int, seed: int) -> Part:
    """Four classes: bright rows or not, bright columns or not."""
    random = np.random.default_rng(seed)
    x, y = random.integers(0, 5, (count, 1, 8, 8)).astype(np.uint8), np.arange(count) % 4
    for image, label in zip(x, y, strict=True):
        image[0, ::2] += 5 * np.uint8(label & 1)
        image[0, :, ::2] += 5 * np.uint8(label >> 1)
    return Part(x, y.astype(np.int64))


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> DataSet:
    """Instead of the digits, in seconds."""
    from neurodeploy.models.data import sources

    found = DataSet("digits", stripes(96, 0), stripes(48, 1), tuple("abcd"), 16, False, False, "drawn")
    monkeypatch.setattr(sources, "load", lambda *_: found)
    return found


@pytest.fixture
def preset(monkeypatch: pytest.MonkeyPatch) -> str:
    """A small network."""
    system, found = registry.preset("orrc-digits")
    small = replace(found, shape=SMALL, recipe=Recipe(epochs=25, batch=16, learning_rate=3e-2))
    monkeypatch.setattr(registry, "preset", lambda name: (system, replace(small, name=name)))
    return "orrc-digits"


def test_a_training_learns_and_leaves_what_deploying_needs(tmp_path: Path, data: DataSet, preset: str) -> None:
    found = nd.train(preset, tmp_path / "run", seed=1)
    assert found.accuracy >= 0.9 and [e.number for e in found.history] == list(range(1, 26))
    assert found.history[-1].loss < 0.5 * found.history[0].loss
    said = json.loads((tmp_path / "run" / "training.json").read_text())
    assert said["test_accuracy"] == found.accuracy and said["settings"]["data_sha256"] == data.sha256
    module = nd.load_module(str(found.weights))
    sample, labels = (np.load(tmp_path / "run" / f"{name}.npy") for name in ("sample", "labels"))
    np.testing.assert_array_equal(sample, data.test.x.astype(np.float32))
    with torch.no_grad():
        predicted = module(torch.from_numpy(sample)).argmax(1).numpy()
    assert (predicted == labels).mean() == found.accuracy
    assert weights.sha256(module.state_dict()) == found.sha256 == said["weights_sha256"]


def test_the_same_seed_gives_the_same_weights_and_another_others(tmp_path: Path, data: DataSet, preset: str) -> None:
    found = [nd.train(preset, tmp_path / str(i), seed=seed, recipe={"epochs": 1}) for i, seed in enumerate((0, 0, 1))]
    assert found[0].sha256 == found[1].sha256 != found[2].sha256


def test_a_stopped_training_goes_on_as_if_it_had_not_been(
    tmp_path: Path, data: DataSet, preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = {"epochs": 4, "optimiser": "adamw", "clip": 0.5, "warm_up": 1.0, "augment": ("shift", "turn")}
    whole = nd.train(preset, tmp_path / "whole", recipe=again)
    epoch = loop.Trainer._epoch

    def stopped(self: loop.Trainer, number: int) -> loop.Epoch:
        if number == 2:
            raise KeyboardInterrupt
        return epoch(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "_epoch", stopped)
        with pytest.raises(NeurodeployError, match="was stopped") as caught:
            nd.train(preset, tmp_path / "parts", recipe=again)
    assert "run the same command again" in str(caught.value)
    assert not (tmp_path / "parts" / "weights.safetensors").exists()
    resumed = nd.train(preset, tmp_path / "parts", recipe=again)
    assert resumed.sha256 == whole.sha256
    assert [(e.loss, e.accuracy) for e in resumed.history] == [(e.loss, e.accuracy) for e in whole.history]
    # Complete, it is not trained again.
    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "_epoch", lambda *_: pytest.fail("trained again"))
        assert nd.train(preset, tmp_path / "parts", recipe=again).sha256 == whole.sha256


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 5}, "seed 0 instead of 5"),
        ({"recipe": {"epochs": 1, "batch": 8}}, "recipe"),
    ],
)
def test_a_folder_of_another_training_is_left_alone(
    tmp_path: Path, data: DataSet, preset: str, change: dict, said: str
) -> None:
    nd.train(preset, tmp_path, recipe={"epochs": 1})
    before = (tmp_path / "weights.safetensors").read_bytes()
    with pytest.raises(InvalidInputError, match="a training of other settings") as caught:
        nd.train(preset, tmp_path, **{"recipe": {"epochs": 1}, **change})
    assert said in str(caught.value)
    assert (tmp_path / "weights.safetensors").read_bytes() == before


def test_a_damaged_state_is_refused(tmp_path: Path, data: DataSet, preset: str) -> None:
    nd.train(preset, tmp_path, recipe={"epochs": 1})
    state = (tmp_path / "state.pt").read_bytes()
    (tmp_path / "state.pt").write_bytes(state[: len(state) // 2])
    with pytest.raises(InvalidInputError, match="is no state of a training"):
        nd.train(preset, tmp_path, recipe={"epochs": 1})


def test_a_loss_that_is_no_number_stops_it(
    tmp_path: Path, data: DataSet, preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop.Trainer, "_step", lambda _self, _x, y: (float("nan"), torch.zeros(len(y), 4)))
    with pytest.raises(loop.DivergedError, match="the loss of epoch 1 is no number"):
        nd.train(preset, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "machine", "said"),
    [
        ("trevsnn-small", None, "a published size that is not trained here"),
        ("orrc-digit", None, "unknown model 'orrc-digit'; did you mean orrc-digits"),
        ("orrc-digits", loop.Machine("cuda:77"), "the device cuda:77 cannot be used"),
        ("orrc-digits", loop.Machine(mixed=True), "mixed precision is for GPUs"),
    ],
)
def test_what_cannot_be_trained_is_refused(tmp_path: Path, name: str, machine: loop.Machine | None, said: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        nd.train(name, tmp_path, machine=machine)
    assert said in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"learning_rate": -1.0}, "learning rate of a training"),
        ({"learning_rate": float("nan")}, "a number above 0"),
        ({"epochs": 0}, "epochs of a training"),
        ({"weight_decay": -0.1}, "0 to 1e+30"),
        ({"optimiser": "lamb"}, "adam, adamw, sgd"),
        ({"loss": "hinge"}, "cross-entropy"),
        ({"augment": ("blur",)}, "flip, shift, turn"),
        ({"epoch": 3}, "did you mean epochs"),
    ],
)
def test_settings_that_no_training_can_have_are_refused(tmp_path: Path, recipe: dict, said: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        nd.train("orrc-digits", tmp_path / "run", recipe=recipe)
    assert said in str(caught.value)
    with pytest.raises(InvalidInputError, match="seed of a training"):
        nd.train("orrc-digits", tmp_path / "run", seed=-1)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_said_and_leaves_what_was_there(
    tmp_path: Path, data: DataSet, preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nd.train(preset, tmp_path, recipe={"epochs": 1})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(self: Path, content: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match=r"weights\.safetensors") as caught:
        nd.train(preset, tmp_path, recipe={"epochs": 1})
    assert "No space left on device" in str(caught.value)
    with pytest.raises(StorageError, match=r"state\.pt"):
        nd.train(preset, tmp_path / "other", recipe={"epochs": 1})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
    assert not list((tmp_path / "other").iterdir())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"largest": 255}, "255 as the value for 1"),
        ({"classes": tuple(map(str, range(11)))}, "11 classes"),
        ({"timed": True}, "sequences of events"),
        ({"channels": 3}, "3 channels"),
    ],
)
def test_data_that_do_not_fit_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict, said: str
) -> None:
    from neurodeploy.models.data import sources

    channels = change.pop("channels", 1)
    x = np.zeros((4, *([2] if change.get("timed") else []), channels, 8, 8), np.uint8)
    part = Part(x, np.zeros(4, np.int64))
    made = {"classes": tuple("abcd"), "largest": 16, "timed": False} | change
    wrong = DataSet("wrong", part, part, made["classes"], made["largest"], made["timed"], False, "")
    monkeypatch.setattr(sources, "load", lambda *_: wrong)
    with pytest.raises(InvalidInputError, match="wrong does not fit orrc-digits") as caught:
        nd.train("orrc-digits", tmp_path / "run")
    assert said in str(caught.value)


def theirs(system: str) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """A network, and its weights under the names of the authors' code."""
    torch.manual_seed(0)
    if system == "trevsnn":
        shape = Shape((4, 6, 8, 10), 3, kernel=3, classes=5, heads=2)
        net: torch.nn.Module = TRevSNN(shape)
        names = {trevsnn.ours(name): name for name in _their_trevsnn(net)}
        state = {names[name]: value for name, value in net.state_dict().items()}
    else:
        net = OrrcResNet(OrrcShape(widths=(4, 6, 8, 10), steps=8, attention="temporal", where="first", reduction=2))
        state = {_their_orrc(name): value for name, value in net.state_dict().items()}
    return net.eval(), state


def _their_trevsnn(net: TRevSNN) -> list[str]:
    """Names as the authors' code gives them, from the structure that the recordings tell."""
    found = [f"stem.down{i}.0.{p}" for i in (1, 2) for p in ("weight", "bias", "gain")]
    scaled, plain = ("weight", "bias", "gain"), ("weight", "bias")
    statistics = (*plain, "running_mean", "running_var", "num_batches_tracked")
    for t in range(net.shape.columns):
        found += [f"subnet{t}.alpha{l}" for l in range(4)]  # noqa: E741
        for l in range(4):  # noqa: E741
            at = f"subnet{t}.level{l}"
            ways = [w for w, there in (("down", l > 0), ("up", t > 0 and l < 3)) if there]
            found += [f"{at}.fusion.{w}.encode_conv.weight" for w in ways]
            found += [f"{at}.fusion.{w}.encode_bn.{p}" for w in ways for p in statistics]
            found.append(f"{at}.blocks.0.gamma")
            for block, shared in ((0, ""), (1, "_reuse")):
                here = f"{at}.blocks.{block}"
                found += [f"{here}.dwconv1.{p}" for p in plain] + [f"{here}.dwconv2{shared}.{p}" for p in plain]
                found += [f"{here}.pwconv1.{p}" for p in scaled] + [f"{here}.pwconv2{shared}.{p}" for p in scaled]
    last = net.shape.heads - 1
    found += [f"cls_blocks.{i}.classifier.0.{p}" for i in range(last) for p in scaled]
    found += [f"cls_blocks.{last}.{c}.{p}" for c in ("classifier1.0", "classifier2") for p in scaled]
    return found


def _their_orrc(name: str) -> str:
    """A unit is convolution, normalisation, perhaps attention, neurons; blocks number them through."""
    part = name.split(".")
    if part[0] == "classifier":
        return f"end_block.2.{part[1]}"
    if part[0] == "first":
        block, number, rest = "first_block", 0, part[1:]
    elif part[0] == "stage1":
        block, number, rest = "block1", (0, 4, 7, 11)[int(part[1])], part[2:]
    elif part[2] == "shortcut":
        block, number, rest = f"sample{int(part[1]) + 1}", 0, part[3:]
    else:
        which = {"backbone": 1, "chain": 2}[part[2]]
        block, number, rest = f"block{int(part[1]) + 2}_{which}", (0, 4)[int(part[3])], part[4:]
    if rest[0] == "attention":
        return f"{block}.{number + 2}.ta.sharedMLP.{rest[3]}.weight"
    return f"{block}.{number + (rest[0] == 'norm')}.{rest[1]}"


@pytest.mark.parametrize("wrapped", ["plain", "in a dictionary", "of several GPUs"])
@pytest.mark.parametrize("system", ["trevsnn", "orrc"])
def test_a_checkpoint_of_the_authors_code_is_the_same_network(tmp_path: Path, system: str, wrapped: str) -> None:
    net, state = theirs(system)
    if system == "orrc":
        state = {n: v[..., None, None, None] if "sharedMLP" in n else v for n, v in state.items()}
    if wrapped == "of several GPUs":
        state = {f"module.{name}": value for name, value in state.items()}
    saved = state if wrapped == "plain" else {"epoch": 3, "net": state, "optimizer": {"lr": 0.1}}
    torch.save(saved, tmp_path / "theirs.pth")
    found = nd.import_checkpoint(system, tmp_path / "theirs.pth", tmp_path / "ours.safetensors")
    assert found.parameters == sum(p.numel() for p in net.parameters())
    x = torch.rand(2, 3, 32, 32)
    again = nd.load_module(str(tmp_path / "ours.safetensors"))
    for module in (found.module, again):
        if system == "orrc":  # what a state dict does not tell: the number of steps without attention, so here it does
            assert module.shape.steps == 8 and module.shape.where == "first"
        assert torch.equal(module(x), net(x))


def test_what_is_no_checkpoint_of_the_system_is_refused(tmp_path: Path) -> None:
    _, state = theirs("trevsnn")
    target = tmp_path / "ours.safetensors"

    def refusal(system: str, saved: object) -> str:
        torch.save(saved, tmp_path / "x.pth")
        with pytest.raises(InvalidInputError) as caught:
            nd.import_checkpoint(system, tmp_path / "x.pth", target)
        assert not target.exists()
        return str(caught.value)

    missing = {n: v for n, v in state.items() if n != "subnet1.level2.blocks.0.gamma"}
    assert "missing: columns.1.levels.2.blocks.0.gamma" in refusal("trevsnn", missing)
    assert "not in the model: stranger" in refusal("trevsnn", state | {"stranger": torch.zeros(1)})
    other = state | {"subnet1.level0.blocks.0.gamma": torch.zeros(1, 9, 1, 1)}
    assert "other shape: columns.1.levels.0.blocks.0.gamma" in refusal("trevsnn", other)
    assert "is no checkpoint of ORRC + SynA" in refusal("orrc", state)
    assert "is no checkpoint of T-RevSNN" in refusal("trevsnn", {"a": torch.zeros(2)})
    assert "no tensors by name" in refusal("trevsnn", [torch.zeros(2)])
    assert "holds more than weights" in refusal("trevsnn", {"net": state, "args": Path("x")})
    assert "unknown system" in refusal("resnet", state)
    (tmp_path / "x.pth").write_bytes(b"PK\x03\x04 damaged")
    with pytest.raises(InvalidInputError, match="is not a checkpoint"):
        nd.import_checkpoint("trevsnn", tmp_path / "x.pth", target)


def test_orrc_names_lead_to_places() -> None:
    """The two variants of where attention stands, and none of it."""
    for where in ("last", "first", "joined"):
        net = OrrcResNet(OrrcShape(widths=(4, 6, 8, 10), steps=8, attention="temporal", where=where, reduction=2))
        own = net.state_dict()
        numbers = {"last": (0, 3, 7, 10), "first": (0, 4, 7, 11), "joined": (0, 3, 7, 10)}[where]
        state = {}
        for name, value in own.items():
            their = _their_orrc(name)
            part = name.split(".")
            if part[0] == "stage1":
                offset = {"convolution": 0, "norm": 1, "attention": 2}[part[2]]
                their = ".".join(["block1", str(numbers[int(part[1])] + offset), *their.split(".")[2:]])
            elif part[0] == "stages" and part[2] != "shortcut" and part[3] == "1" and where != "first":
                offset = {"convolution": 0, "norm": 1, "attention": 2}[part[4]]
                their = ".".join([their.split(".")[0], str(3 + offset), *their.split(".")[2:]])
            state[their] = value
        found = orrc.renamed(state)
        assert set(found) == set(own)
        assert orrc.shape(found, state).where == where


def test_weights_of_another_version_or_hand_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "w.safetensors"
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(InvalidInputError, match="does not say whose weights it holds"):
        nd.load_module(str(path))
    save_file({"a": torch.zeros(2)}, path, {"neurodeploy": json.dumps({"system": "orrc", "shape": {"widths": [4, 6]}})})
    with pytest.raises(InvalidInputError, match="does not hold the weights that it says"):
        nd.load_module(str(path))
    save_file({"a": torch.zeros(2)}, path, {"neurodeploy": json.dumps({"system": "orrc", "shape": {"colour": 3}})})
    with pytest.raises(InvalidInputError, match="are not its own"):
        nd.load_module(str(path))
    for shape in (
        {"widths": "wide"},
        {"widths": [4, 6], "steps": None, "attention": "temporal"},
        {"attention": "smell"},
    ):
        save_file({"a": torch.zeros(2)}, path, {"neurodeploy": json.dumps({"system": "orrc", "shape": shape})})
        with pytest.raises(InvalidInputError, match="does not hold the weights that it says"):
            nd.load_module(str(path))
    path.write_bytes(b"no such file format")
    with pytest.raises(InvalidInputError, match="is not a file of weights"):
        nd.load_module(str(path))


def test_augmentation_moves_whole_images() -> None:
    """A flip mirrors; a shift of a sixteenth of 16 pixels is one pixel at most; a turn keeps the middle in place."""
    drawn = torch.Generator().manual_seed(0)
    image = torch.arange(1, 10.0).view(1, 1, 3, 3)
    flipped = loop.augmented(image.expand(16, 1, 3, 3), ("flip",), drawn)
    rows = {tuple(round(float(v)) for v in sample[0, 0]) for sample in flipped}
    assert rows == {(1, 2, 3), (3, 2, 1)}
    dot = torch.zeros(32, 2, 1, 16, 16)
    dot[..., 7:9, 7:9] = 1
    for kinds, most in ((("shift",), 1.0), (("turn",), 0.1)):
        moved = loop.augmented(dot, kinds, drawn)
        places = torch.arange(16.0)
        down, right = ((moved.sum(axis) * places).sum(-1) / moved.sum((-1, -2)) for axis in (-1, -2))
        away = torch.maximum((down - 7.5).abs(), (right - 7.5).abs())
        assert float(away.max()) <= most + 1e-3 and moved.shape == dot.shape
        assert (float(away.max()) > 0.5) == ("shift" in kinds)
    assert torch.equal(loop.augmented(image, (), drawn), image)


def test_models_are_listed_with_what_they_need() -> None:
    found = {one.name: one for one in nd.list_models().listed}
    assert (found["trevsnn-small"].parameters, found["trevsnn-small"].deployed) == (32_331_312, 29_787_312)
    assert found["orrc-cifar10"].parameters == found["orrc-cifar10"].deployed == 11_173_962
    assert found["trevsnn-digits"].data == "digits" and not found["orrc-cifar10"].data
