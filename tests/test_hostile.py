"""Files from strangers: one clear message, or a page; no traceback, no control of the terminal, bounded work."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import h5py
import nir
import numpy as np
import pytest
import yaml

from neurodeploy.cli import main
from neurodeploy.cli.console import Console, harmless
from neurodeploy.errors import InvalidInputError
from neurodeploy.files.hdf5_damage import check_heaps
from neurodeploy.hwsim.chips.arch import FOLDER, load_architecture
from tests import nirgraphs

EVIL = "\x1b[2J\x1b[31mred\x1b]0;title\x07\x9b1m\u202eback\ud800"


def test_no_control_reaches_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.say(EVIL)
    console.note(EVIL)
    console.error(EVIL)
    console.table(("a", "b"), [(EVIL, 1)], title=EVIL)
    found = capsys.readouterr()
    for text in (found.out, found.err):
        assert "red" in text
        assert not {"\x1b", "\x07", "\x9b", "\u202e", "\ud800"} & set(text)
    assert harmless("a\nb\tµ│ ✓") == "a\nb\tµ│ ✓"


def test_inspect_shows_names_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "\x1b[31mlif"
    nodes = {
        "input": nir.Input(np.array([3])), name: nir.LIF(*(np.full(3, v) for v in (0.01, 1.0, 0.0, 1.0, 0.0))),
        "output": nir.Output(np.array([3])),
    }  # fmt: skip
    graph = nir.NIRGraph(nodes, [("input", name), (name, "output")], type_check=False)
    assert main(["inspect", str(nirgraphs.write(graph, tmp_path / "net.nir")), "--dt", "1e-3"]) == 0
    shown = capsys.readouterr().out
    assert "\\x1b[31mlif" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("overlap", [16, 24, 4096])
def test_heaps_that_overlap_take_time_linear_in_the_file(tmp_path: Path, overlap: int) -> None:
    """Signatures in ordinary data, each saying that its heap reaches to the end of the file."""
    size = 1 << 20
    data = np.zeros(size, np.uint8)
    path = tmp_path / "net.h5"
    with h5py.File(path, "w") as file:
        file["data"] = data
        offset = file["data"].id.get_offset()
    raw = bytearray(path.read_bytes())
    for at in range(offset, offset + size - 64, max(overlap, 16)):
        raw[at : at + 8] = b"GCOL\x01\0\0\0"
        raw[at + 8 : at + 16] = struct.pack("<Q", offset + size - at)
    path.write_bytes(bytes(raw))
    started = time.process_time()
    with h5py.File(path) as file, pytest.raises(InvalidInputError, match=r"net\.h5"):
        check_heaps(file, path)
    assert time.process_time() - started < 5


def test_one_signature_in_ordinary_data_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "net.h5"
    with h5py.File(path, "w") as file:
        heap = b"GCOL\x01\0\0\0" + struct.pack("<Q", 32) + struct.pack("<HH4xQ", 0, 0, 16)
        file["data"] = np.frombuffer(heap, np.uint8)
        file["text"] = "a text of variable length"
    with h5py.File(path) as file:
        check_heaps(file, path)


@pytest.mark.parametrize("depth", [5, 9, 30])
def test_aliases_of_aliases_are_refused_without_writing_them_out(tmp_path: Path, depth: int) -> None:
    laughs = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    laughs += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, depth)]
    chip = (FOLDER / "loihi1.yaml").read_text().replace("description:", "was:")
    text = "\n".join(laughs) + f"\ndescription: *a{depth - 1}\n" + chip
    (tmp_path / "chip.yaml").write_text(text)
    with pytest.raises(InvalidInputError, match=r"chip\.yaml is too large for an architecture file"):
        load_architecture(tmp_path / "chip.yaml")


def test_an_alias_of_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "chip.yaml").write_text("limits: &a [*a]\n")
    with pytest.raises(InvalidInputError, match=r"chip\.yaml"):
        load_architecture(tmp_path / "chip.yaml")


def test_an_ordinary_alias_is_taken(tmp_path: Path) -> None:
    content = yaml.safe_load((FOLDER / "loihi1.yaml").read_text())
    content["name"], shared = "mine", {"value": 1.5, "unit": "pJ", "source": "me", "confidence": "assumed"}
    content["energy"]["axon_in"] = content["energy"]["axon_out"] = shared
    (tmp_path / "chip.yaml").write_text(yaml.safe_dump(content))
    assert "&id" in (tmp_path / "chip.yaml").read_text()
    assert load_architecture(tmp_path / "chip.yaml").energy.axon_out.value == 1.5
