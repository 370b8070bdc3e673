"""Getting the user's module and checkpoint, and every way in which that fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from neurodeploy.errors import InvalidInputError, MissingFileError
from neurodeploy.exporters.load_module import load_module

CODE = """
import torch
from torch import nn
from helper import WIDTH

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(3, WIDTH)

class Sized(nn.Module):
    def __init__(self, size):
        super().__init__()

def make():
    return Net()

ready = Net()
number = 3
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "helper.py").write_text("WIDTH = 2\n")
    (tmp_path / "my_model.py").write_text(CODE)
    (tmp_path / "broken.py").write_text("import torch\n1 / 0\n")
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(3)\n")
    return tmp_path


@pytest.mark.parametrize("name", ["Net", "make", "ready"])
def test_from_a_file(folder, name):
    assert load_module(f"{folder}/my_model.py:{name}").dense.weight.shape == (2, 3)


def test_from_a_package():
    assert isinstance(load_module("torch.nn:Identity"), nn.Identity)


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("{}/my_model.py", InvalidInputError, "not given in a form"),
        ("{}/none.py:Net", MissingFileError, "none.py does not exist"),
        ("no_such_package.at_all:Net", MissingFileError, "there is no Python module no_such_package.at_all"),
        ("{}/my_model.py:Nat", InvalidInputError, "has no Nat\n.*Net"),
        ("{}/my_model.py:number", InvalidInputError, "not a torch module\n.*int"),
        ("{}/my_model.py:Sized", InvalidInputError, "without arguments\n.*size"),
        ("{}/broken.py:Net", InvalidInputError, "could not be run\n.*ZeroDivisionError"),
        ("{}/leaves.py:Net", InvalidInputError, "could not be run\n.*SystemExit"),
    ],
)
def test_bad_specs(folder, spec, error, message):
    with pytest.raises(error, match=message):
        load_module(spec.format(folder))


@pytest.mark.parametrize("how", ["pt", "wrapped", "safetensors"])
def test_checkpoints(folder, how):
    state = {"dense.weight": torch.full((2, 3), 7.0), "dense.bias": torch.ones(2)}
    path = folder / ("x.safetensors" if how == "safetensors" else "x.pt")
    if how == "safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state, "epoch": 3} if how == "wrapped" else state, path)
    module = load_module(f"{folder}/my_model.py:Net", path)
    assert torch.equal(module.dense.weight, state["dense.weight"])


def write_other_keys(path):
    torch.save({"other.weight": torch.ones(1), "dense.bias": torch.ones(2)}, path)


def write_other_shape(path):
    torch.save({"dense.weight": torch.ones(2, 4), "dense.bias": torch.ones(2)}, path)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("x.pt", write_other_keys, "not this model's\n.*missing: dense.weight; not in the model: other.weight"),
        ("x.pt", write_other_shape, r"dense.weight: \[2, 4\] instead of \[2, 3\]"),
        ("x.pt", lambda path: torch.save(nn.Linear(2, 2), path), "more than weights and is refused"),
        ("x.pt", lambda path: torch.save([1, 2], path), "not a state dict"),
        ("x.pt", lambda path: path.write_bytes(b"text"), "is not a checkpoint|more than weights"),
        ("x.pt", lambda path: path.write_bytes(b""), "is not a checkpoint"),
        ("x.safetensors", lambda path: path.write_bytes(b"text"), "is not a checkpoint"),
    ],
)
def test_bad_checkpoints(folder, name, write, message):
    write(folder / name)
    with pytest.raises(InvalidInputError, match=message):
        load_module(f"{folder}/my_model.py:Net", folder / name)


def test_missing_checkpoint(folder):
    with pytest.raises(MissingFileError, match=r"none.pt does not exist"):
        load_module(f"{folder}/my_model.py:Net", folder / "none.pt")


def test_a_zoo_imports_beside_a_torchvision_that_does_not_load(tmp_path):
    """In a process of its own: a torchvision that describes operators which its library did not bring."""
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("from torchvision import _meta_registrations\n")
    (package / "_meta_registrations.py").write_text(
        "import torch\n"
        "for name in ('nms', 'qnms'):\n"
        "    torch.library.register_fake('torchvision::' + name)(lambda dets, scores, iou_threshold: dets)\n"
    )
    (tmp_path / "net.py").write_text("import torchvision\nfrom torch import nn\n\nNet = nn.Identity\n")
    code = (
        "import sys; before = list(sys.meta_path)\n"
        "from neurodeploy.exporters.load_module import load_module\n"
        f"print(type(load_module({str(tmp_path / 'net.py')!r} + ':Net')).__name__, sys.meta_path == before)\n"
    )
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).resolve().parents[2])])
    environment = {**os.environ, "PYTHONPATH": path}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert ran.stdout.split() == ["Identity", "True"], ran.stderr
