"""Checkpoints as training scripts save them: taken where they fit in one way, else refused by name."""

from __future__ import annotations

import re

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import prune

from neurodeploy.errors import InvalidInputError
from neurodeploy.exporters.checkpoint import load_checkpoint


def net():
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2)))


def weights(value):
    return {name: torch.full_like(tensor, value) for name, tensor in net().state_dict().items()}


def under(prefix, state):
    return {prefix + name: tensor for name, tensor in state.items()}


def optimizer():
    model = net()
    made = torch.optim.Adam(model.parameters())
    model(torch.ones(5, 3)).sum().backward()
    made.step()
    return made.state_dict()


W = weights(7)
TAKEN = {
    "plain": (W, None),
    "net": ({"net": W, "optimizer": optimizer(), "epoch": 3, "loss": torch.tensor(0.5)}, "under 'net'"),
    "model": ({"model": W, "scheduler": {"last": 3}}, "under 'model'"),
    "model_state_dict": ({"model_state_dict": W, "optimizer_state_dict": optimizer()}, "under 'model_state_dict'"),
    "state_dict": ({"state_dict": W}, "under 'state_dict'"),
    "any name": ({"whatever it is": W, "args": {"lr": 0.1}}, "under 'whatever it is'"),
    "deep": ({"a": {"b": {"c": W}}}, "under 'a.b.c'"),
    "DataParallel": (under("module.", W), "'module.' was taken off \\(DataParallel"),
    "compiled": (under("_orig_mod.", W), "'_orig_mod.' was taken off \\(torch.compile"),
    "compiled, then parallel": (under("module._orig_mod.", W), "'module._orig_mod.'|'_orig_mod.module.'"),
    "parallel, then compiled": (under("_orig_mod.module.", W), "'_orig_mod.module.'"),
    "a part compiled": ({k.replace("2.", "2._orig_mod.") if k[0] == "2" else k: v for k, v in W.items()}, "_orig_mod"),
    "Lightning": (
        {"state_dict": under("model.", W) | {"criterion.weight": torch.ones(3)}, "pytorch-lightning_version": "2.5",
         "optimizer_states": [optimizer()]},
        "under 'state_dict'; the prefix 'model.' .*left out: criterion.weight",
    ),
    "Lightning, compiled": ({"state_dict": under("net._orig_mod.", W)}, "under 'state_dict'; the prefix"),
    "averaged": (under("module.", W) | {"n_averaged": torch.tensor(3)}, "left out: n_averaged"),
    "twice the same": ({"model": W, "state_dict": dict(W)}, "under 'model'"),
    "another network beside": ({"generator": W, "critic": {"0.weight": torch.ones(1, 1)}}, "under 'generator'"),
}  # fmt: skip


class Stateful(nn.Module):
    """Keeps its state in a buffer that is empty before the first call, as sinabs' layers do."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 4)
        self.register_buffer("v_mem", torch.zeros(0))


@pytest.mark.parametrize("prefix", ["", "module."])
def test_states_of_a_run_are_left_out(prefix, tmp_path):
    trained, fresh, said = Stateful(), Stateful(), []
    trained.v_mem = torch.ones(5, 4)
    torch.save(under(prefix, trained.state_dict()), tmp_path / "x.pt")
    load_checkpoint(fresh, tmp_path / "x.pt", said.append)
    assert torch.equal(fresh.fc.weight, trained.fc.weight)
    assert fresh.v_mem.shape == (0,)
    assert len(said) == 1
    assert said[0].endswith("left out: v_mem")


@pytest.mark.parametrize("name", TAKEN)
def test_taken(name, tmp_path):
    content, line = TAKEN[name]
    torch.save(content, tmp_path / "x.pt")
    module, said = net(), []
    load_checkpoint(module, tmp_path / "x.pt", said.append)
    assert all(torch.equal(tensor, W[key]) for key, tensor in module.state_dict().items())
    if line is None:
        assert said == []
    else:
        assert len(said) == 1
        assert re.search(line, said[0]), said


def test_safetensors_with_a_prefix(tmp_path):
    save_file(under("module.", W), tmp_path / "x.safetensors")
    module, said = net(), []
    load_checkpoint(module, tmp_path / "x.safetensors", said.append)
    assert torch.equal(module[0].weight, W["0.weight"])
    assert "'module.'" in said[0]


def pruned(model):
    for part in model.modules():
        if isinstance(part, nn.Linear):
            prune.random_unstructured(part, "weight", 0.5)
    return model


def normalised(model, by):
    for part in model.modules():
        if isinstance(part, nn.Linear):
            by(part)
    return model


COMPUTED = {
    "pruned": (pruned, "multiplied by their masks"),
    "weight_norm": (lambda m: normalised(m, nn.utils.parametrizations.weight_norm), "length and direction"),
    "weight_norm, old": (lambda m: normalised(m, nn.utils.weight_norm), "length and direction"),
    "of the other dimension": (lambda m: normalised(m, lambda p: nn.utils.weight_norm(p, dim=1)), "length and"),
    "of the whole": (
        lambda m: normalised(m, lambda p: nn.utils.parametrizations.weight_norm(p, dim=None)), "missing: 0.weight",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*weight_norm")
@pytest.mark.parametrize("name", COMPUTED)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_kept_as_what_they_are_computed_from(name, prefix, tmp_path):
    make, line = COMPUTED[name]
    torch.manual_seed(1)
    trained, module, said = make(net()).eval(), net().eval(), []
    torch.save({"model": under(prefix, trained.state_dict())}, tmp_path / "x.pt")
    if line.startswith("missing"):
        with pytest.raises(InvalidInputError, match=line):
            load_checkpoint(module, tmp_path / "x.pt")
        return
    load_checkpoint(module, tmp_path / "x.pt", said.append)
    x = torch.randn(5, 3)
    torch.testing.assert_close(module(x), trained(x))
    assert re.search(line, said[0])


@pytest.mark.parametrize("by", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm])
@pytest.mark.parametrize("make", [lambda: nn.Conv1d(3, 4, 3), lambda: nn.Conv2d(3, 4, 3), lambda: nn.Conv3d(3, 4, 3)])
@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_normalised_convolutions(make, by, tmp_path):
    trained = by(make())
    torch.save(trained.state_dict(), tmp_path / "x.pt")
    module = make()
    load_checkpoint(module, tmp_path / "x.pt")
    torch.testing.assert_close(module.weight, trained.weight)


WITHOUT = {name: value for name, value in W.items() if name != "0.weight"}
DAMAGED = {
    "sparse": (W | {"0.weight": W["0.weight"].to_sparse()}, "'0.weight' of the checkpoint holds no plain numbers"),
    "quantised": (
        W | {"0.weight": torch.quantize_per_tensor(W["0.weight"], 0.1, 0, torch.qint8)}, "a quantised tensor",
    ),
    "meta": (W | {"0.weight": W["0.weight"].to("meta")}, "a meta tensor"),
    "a mask of another shape": (
        WITHOUT | {"0.weight_orig": W["0.weight"], "0.weight_mask": torch.ones(1, 9)},
        "missing: 0.weight",
    ),
    "a length of another shape": (
        WITHOUT | {"0.weight_v": W["0.weight"], "0.weight_g": torch.ones(7, 7)},
        "missing: 0.weight",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*quantize")
@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_weights_are_named(name, tmp_path):
    content, message = DAMAGED[name]
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(InvalidInputError, match=message):
        load_checkpoint(net(), tmp_path / "x.pt")


REFUSED = {
    "weights and average": ({"model": W, "ema": weights(8)}, "several weights that fit.*\n.*model, ema"),
    "timm": ({"state_dict": W, "state_dict_ema": weights(8)}, "state_dict, state_dict_ema"),
    "student and teacher": (under("student.", W) | under("teacher.", weights(8)), "student, teacher"),
    "average among callbacks": (
        {"state_dict": W, "callbacks": {"EMA": {"weights": weights(8)}}}, "state_dict, callbacks.EMA.weights",
    ),
    "another shape inside": ({"net": weights(7) | {"0.weight": torch.ones(9, 9)}}, "under 'net' are not.*\n.*9, 9"),
    "another model, wrapped": ({"net": {"a.weight": torch.ones(2)}}, "not this model's\n.*missing: 0.bias"),
    "a key too many": (W | {"9.weight": torch.ones(2)}, "not in the model: 9.weight"),
    "no tensors": ({"epoch": 3, "optimizer": {}}, "not a state dict\n.*epoch, optimizer"),
    "empty": ({}, "not a state dict"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, tmp_path):
    content, message = REFUSED[name]
    torch.save(content, tmp_path / "x.pt")
    module = net()
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    with pytest.raises(InvalidInputError, match=message):
        load_checkpoint(module, tmp_path / "x.pt")
    assert all(torch.equal(before[key], tensor) for key, tensor in module.state_dict().items())


@pytest.mark.parametrize("chosen", ["model", "ema"])
def test_choosing_one_of_several(chosen, tmp_path):
    torch.save({"model": W, "ema": under("module.", weights(8))}, tmp_path / "x.pt")
    module = net()
    load_checkpoint(module, f"{tmp_path}/x.pt:{chosen}")
    assert module.state_dict()["0.weight"][0, 0] == (7 if chosen == "model" else 8)
    with pytest.raises(InvalidInputError, match=r"no weights called 'emma'\n.*ema"):
        load_checkpoint(module, f"{tmp_path}/x.pt:emma")


def test_what_the_message_proposes_works(tmp_path):
    for content in (REFUSED["weights and average"][0], REFUSED["student and teacher"][0]):
        torch.save(content, tmp_path / "x.pt")
        with pytest.raises(InvalidInputError) as raised:
            load_checkpoint(net(), tmp_path / "x.pt")
        load_checkpoint(net(), str(raised.value.hint).rpartition(" ")[2])
