"""Programs survive storage without loss; damaged, foreign and newer files are refused in one message."""

import contextlib
import io
import json
import zipfile
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurodeploy.backends.reference import run as reference
from neurodeploy.errors import InvalidInputError, MissingFileError, NeurodeployError
from neurodeploy.network.answer import Answer, Returned, Series
from neurodeploy.program.codec import name_of
from neurodeploy.program.program import STORED, VERSION, WITH_ANSWER, WITH_CHIP, CoreUse, Program
from neurodeploy.program.recording import returned, scores
from tests.answers import Drawn
from tests.networks import placed, random_network
from tests.program_mutants import NUMBERS, OTHERS, at, leaves


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


def answered(seed: int) -> Program:
    """A random Program whose answer reads its last population and its input."""
    program = placed(random_network(1))
    last, source = program.network.populations[-1], program.network.inputs[0]
    leaves = [Series(last.name, "potential", (last.size,)), Series(source.name, "spikes", source.shape)]
    leaves += [Series(last.name, "spikes", last.shape)] if last.spiking else []
    answer = Drawn(np.random.default_rng(seed), leaves, 5).answer()
    return replace(program, network=replace(program.network, answer=answer))


def test_no_two_classes_have_the_same_name_in_a_file() -> None:
    names = [name_of(kind) for kind in (*STORED, Program)]
    assert len(set(names)) == len(names)
    assert {"Product", "answer.Product"} <= set(names)


@pytest.mark.parametrize("seed", range(20))
def test_an_answer_survives_storage_and_needs_the_newest_version(seed: int, tmp_path: Path) -> None:
    program = answered(seed)
    program.save(tmp_path / "a.ndp")
    back = Program.load(tmp_path / "a.ndp")
    assert_same(program, back)
    with zipfile.ZipFile(tmp_path / "a.ndp") as archive:
        assert json.loads(archive.read("header.json"))["version"] == WITH_ANSWER == 3
    network = program.network
    x = {p.name: np.random.default_rng(0).integers(0, 2, (5, 2, p.size)) for p in network.inputs}
    recording = reference.run(program, x)
    for a, b in zip(returned(network, recording), returned(back.network, recording), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(scores(network, recording), scores(back.network, recording))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"population": "nobody"}, "no such population"), ({"shape": [3]}, "in another size"),
        ({"port": "current"}, "'port'"), ({"shape": [-1]}, "shape"), ({"shape": "x"}, "'shape'"),
    ],
)  # fmt: skip
def test_a_program_whose_answer_does_not_fit_is_refused(change: dict, words: str, tmp_path: Path) -> None:
    program = answered(0)
    source = program.network.inputs[0]
    leaf = Series(source.name, "spikes", source.shape)
    network = replace(program.network, answer=Answer((Returned(leaf),)))
    replace(program, network=network).save(tmp_path / "a.ndp")
    with zipfile.ZipFile(tmp_path / "a.ndp") as archive:
        value = json.loads(archive.read("header.json"))["value"]
    value["fields"]["network"]["fields"]["answer"]["fields"]["returned"][0]["fields"]["value"]["fields"] |= change
    rewrite_header(tmp_path / "a.ndp", value=value)
    with pytest.raises(InvalidInputError, match=r"(?s)a\.ndp.*" + words):
        Program.load(tmp_path / "a.ndp")


def test_an_answer_that_was_changed_is_refused_or_computed(tmp_path: Path) -> None:
    """By somebody who knows the format: no other exception, and what is taken is computed to the end."""
    path, taken = tmp_path / "a.ndp", 0
    for seed in range(60):
        program, rng = answered(seed), np.random.default_rng(seed)
        program.save(path)
        with zipfile.ZipFile(path) as archive:
            value = json.loads(archive.read("header.json"))["value"]
        fields = value["fields"]["network"]["fields"]
        places = [p for p in leaves(fields["answer"]) if not isinstance(at(fields["answer"], p), (dict, list))]
        for _ in range(rng.integers(1, 3)):
            place = places[rng.integers(len(places))]
            here = at(fields["answer"], place)
            alike = [one for p in leaves(fields["answer"]) if type(one := at(fields["answer"], p)) is type(here)]
            choices = alike if rng.random() < 0.7 else [*NUMBERS, *OTHERS, 10**400]
            with contextlib.suppress(LookupError, TypeError):  # an earlier change took that place away
                at(fields["answer"], place[:-1])[place[-1]] = choices[rng.integers(len(choices))]
        rewrite_header(path, value=value)
        try:
            network = Program.load(path).network
            x = {p.name: np.ones((5, 2, p.size), np.uint8) for p in network.inputs}
            recording = reference.run_network(network, x)
            assert all(values.dtype == np.float64 for values in returned(network, recording))
            assert scores(network, recording).shape == (2, network.classes)
            taken += 1
        except NeurodeployError:
            continue
    assert 2 < taken < 50, "most changes matter, some do not"


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
