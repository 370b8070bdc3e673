"""Programs survive storage without loss; damaged, foreign and newer files are refused in one message."""

import io
import json
import zipfile
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurodeploy.errors import InvalidInputError, MissingFileError
from neurodeploy.program.program import VERSION, WITH_CHIP, CoreUse, Program
from tests.networks import placed, random_network


def assert_same(a, b, path="value") -> None:
    assert type(a) is type(b) or (isinstance(a, (tuple, list)) and isinstance(b, (tuple, list))), path
    if is_dataclass(a):
        for item in fields(a):
            assert_same(getattr(a, item.name), getattr(b, item.name), f"{path}.{item.name}")
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype and a.shape == b.shape, path
        np.testing.assert_array_equal(a, b, err_msg=path)
    elif isinstance(a, (tuple, list)):
        assert len(a) == len(b), path
        for index, (left, right) in enumerate(zip(a, b, strict=True)):
            assert_same(left, right, f"{path}[{index}]")
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a:
            assert_same(a[key], b[key], f"{path}[{key!r}]")
    else:
        assert a == b, path


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**31), arithmetic=st.sampled_from(["loihi", "float"]))
def test_programs_survive_storage(tmp_path: Path, seed: int, arithmetic: str) -> None:
    program = placed(random_network(seed, arithmetic))
    program = Program(
        program.network, "loihi1", program.core_of, (CoreUse(0, 1, 2, 3, 4),), {"source": "äöü.nir", "sha256": "0"}
    )
    program.save(tmp_path / "a.ndp")
    again = Program.load(tmp_path / "a.ndp")
    assert_same(program, again)
    again.save(tmp_path / "b.ndp")
    assert (tmp_path / "a.ndp").read_bytes() == (tmp_path / "b.ndp").read_bytes()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    placed(random_network(1)).save(tmp_path / "a.ndp")
    return tmp_path / "a.ndp"


def rewrite_header(path: Path, **changes) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    header = json.loads(members["header.json"]) | changes
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, json.dumps(header) if name == "header.json" else data)


def test_a_program_from_before_chips_were_carried_loads_and_is_written_as_it_was(tmp_path: Path) -> None:
    old = Path(__file__).parent.parent / "golden" / "program_version_1.ndp"
    program = Program.load(old)
    assert (program.chip, program.chip_file, program.use) == ("loihi1", "", (CoreUse(0, 1, 2, 3, 4),))
    program.save(tmp_path / "a.ndp")
    contents = []
    for path in (old, tmp_path / "a.ndp"):
        with zipfile.ZipFile(path) as archive:
            contents.append({name: archive.read(name) for name in archive.namelist()})
    assert contents[0] == contents[1]
    assert json.loads(contents[0]["header.json"])["version"] == 1


def test_a_carried_chip_survives_storage_and_needs_the_newer_version(tmp_path: Path) -> None:
    program = replace(placed(random_network(1)), chip="mine", chip_file='{"name": "½"}')
    program.save(tmp_path / "a.ndp")
    assert_same(program, Program.load(tmp_path / "a.ndp"))
    with zipfile.ZipFile(tmp_path / "a.ndp") as archive:
        assert json.loads(archive.read("header.json"))["version"] == WITH_CHIP == 2


def test_a_newer_version_is_refused(saved: Path) -> None:
    rewrite_header(saved, version=VERSION + 1)
    with pytest.raises(InvalidInputError) as caught:
        Program.load(saved)
    assert str(caught.value) == (
        f"{saved} was written by a newer neurodeploy\n"
        f"  found:   format version {VERSION + 1}\n"
        f"  allowed: format version {VERSION} or older\n"
        "  to do:   upgrade neurodeploy, or compile the network again with this one"
    )


def test_another_format_is_refused(saved: Path) -> None:
    rewrite_header(saved, format="something else")
    with pytest.raises(InvalidInputError, match="is another kind of file"):
        Program.load(saved)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.7, 0.99])
def test_truncated_files_are_refused(saved: Path, keep: float) -> None:
    data = saved.read_bytes()
    saved.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(InvalidInputError, match="is damaged or not a neurodeploy program"):
        Program.load(saved)


def test_every_single_damaged_byte_is_refused_or_harmless(saved: Path) -> None:
    """No flipped byte may lead to anything but a clear error or a valid Program."""
    data = saved.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for position in rng.integers(0, len(data), 150):
        damaged = bytearray(data)
        damaged[position] ^= int(rng.integers(1, 256))
        saved.write_bytes(bytes(damaged))
        try:
            Program.load(saved)
        except InvalidInputError:
            refused += 1
    assert refused > 75


def test_objects_are_never_unpickled(saved: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    buffer = io.BytesIO()
    np.save(buffer, np.array([Trap()], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(saved) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(saved, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, buffer.getvalue() if name == "arrays/0.npy" else content)
    with pytest.raises(InvalidInputError):
        Program.load(saved)
    assert not (tmp_path / "sprung").exists()


def test_unknown_types_are_refused(saved: Path) -> None:
    with zipfile.ZipFile(saved) as archive:
        header = json.loads(archive.read("header.json"))
    header["value"]["type"] = "Popen"
    rewrite_header(saved, value=header["value"])
    with pytest.raises(InvalidInputError, match="holds a Popen, which"):
        Program.load(saved)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"nothing\.ndp does not exist"):
        Program.load(tmp_path / "nothing.ndp")
