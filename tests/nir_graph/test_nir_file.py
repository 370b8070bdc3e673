"""Files that are not what they should be: one clear message each."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from neurodeploy.errors import InvalidInputError, MissingFileError, UnsupportedError
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.conventions import resolve
from tests import nirgraphs


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return nirgraphs.write(nirgraphs.mlp(), tmp_path / "net.nir")


def message(path: Path, kind: type[Exception] = InvalidInputError) -> str:
    with pytest.raises(kind) as caught:
        nir_file.read(path)
    return str(caught.value)


def test_truncated(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    text = message(file)
    assert text.startswith(f"{file} is a truncated HDF5 file\n")
    assert "export or copy the file again" in text


@pytest.mark.parametrize("keep", [0, 7, 300, 2000])
def test_truncated_anywhere(file: Path, keep: int) -> None:
    file.write_bytes(file.read_bytes()[:keep])
    assert str(file) in message(file)


def test_text(tmp_path: Path) -> None:
    path = tmp_path / "net.nir"
    path.write_text("not a network\n")
    assert message(path) == (
        f"{path} is not an HDF5 file\n  found:   14 bytes that do not start as HDF5 does\n"
        "  allowed: a NIR graph in HDF5, as nir.write makes it\n"
        "  to do:   check that this is the .nir file you meant"
    )


def test_other_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "net.nir"
    with h5py.File(path, "w") as f:
        f["data"] = np.zeros(3)
    assert "is HDF5 but not a NIR graph" in message(path)


def test_unknown_node(file: Path) -> None:
    with h5py.File(file, "r+") as f:
        del f["node/nodes/lif1/type"]
        f["node/nodes/lif1"]["type"] = "Izhikevich"
    text = message(file)
    assert text.startswith(f"{file}: node 'lif1' is of an unknown type\n  found:   Izhikevich\n  allowed: Affine, ")
    assert "rebuild the network" in text


def test_missing(tmp_path: Path) -> None:
    text = message(tmp_path / "nothing.nir", MissingFileError)
    assert text.startswith(f"{tmp_path / 'nothing.nir'} does not exist")


def test_a_folder(tmp_path: Path) -> None:
    assert "is a folder" in message(tmp_path, MissingFileError)


def test_parameters_that_do_not_fit(file: Path) -> None:
    with h5py.File(file, "r+") as f:
        del f["node/nodes/lif1/tau"]
    assert "is damaged or not a NIR graph" in message(file)


def test_links_to_other_files_are_refused(file: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as f:
        f["secret"] = np.zeros(20)
    with h5py.File(file, "r+") as f:
        del f["node/nodes/lif1/tau"]
        f["node/nodes/lif1/tau"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/secret")
    assert "links to another file at /node/nodes/lif1/tau" in message(file, UnsupportedError)


def test_flipped_bytes_never_give_anything_but_a_clear_error(file: Path) -> None:
    data = file.read_bytes()
    rng = np.random.default_rng(1)
    messages: list[str] = []
    for position in rng.integers(0, len(data), 60):
        damaged = bytearray(data)
        damaged[position] ^= 0xFF
        file.write_bytes(bytes(damaged))
        try:
            nir_file.read(file)
        except (InvalidInputError, UnsupportedError) as error:
            messages.append(str(error))
    assert messages, "some of the damage is noticed"
    assert all(str(file) in message for message in messages)


def test_the_time_step_is_never_guessed(file: Path) -> None:
    with pytest.raises(InvalidInputError, match="does not say the length of its time step"):
        resolve(nir_file.read(file))


def test_conventions_say_whose_choice_they_were(tmp_path: Path) -> None:
    graph = nirgraphs.mlp()
    graph.metadata = {"neurodeploy": {"dt": 1e-3, "reset": "subtract"}}
    file = nir_file.read(nirgraphs.write(graph, tmp_path / "net.nir"))
    found = resolve(file, comparison=">=")
    assert (found.dt, found.reset, found.comparison) == (1e-3, "subtract", ">=")
    assert found.notes["reset"] == "subtract (from the file's metadata)"
    assert found.notes["comparison"] == ">= (given as an option)"
    assert "recurrent_bias" not in found.notes, "the graph has no loop"
    looped = nir_file.read(nirgraphs.write(nirgraphs.recurrent(), tmp_path / "loop.nir"))
    notes = resolve(looped, dt=1e-3).notes
    assert notes["recurrent_bias"].startswith("from-start (assumed, since the file does not say")
    with pytest.raises(InvalidInputError, match="unknown reset"):
        resolve(file, reset="soft")
