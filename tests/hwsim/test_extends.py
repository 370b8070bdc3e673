"""Architecture files that extend another: what is taken over, what must be said again, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from neurodeploy.errors import InvalidInputError, MissingFileError, NeurodeployError
from neurodeploy.hwsim.chips.arch import FOLDER, Architecture, available, load_architecture

Write = Callable[..., Path]
MINE: dict[str, Any] = {"extends": "loihi1", "name": "mine", "title": "My chip"}
ORIGIN = {"source": "a data sheet", "confidence": "measured"}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A file that extends loihi1, with more or other keys."""

    def written(file: str = "mine.yaml", /, **keys: Any) -> Path:
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump({k: v for k, v in {**MINE, **keys}.items() if v is not ...}))
        return path

    return written


def differences(a: Architecture, b: Architecture) -> set[str]:
    """Where two chips differ, ``energy.hop_east_west.value``."""

    def leaves(node: Any, where: str) -> dict[str, Any]:
        if not isinstance(node, dict):
            return {where: node}
        return {k: v for key, value in node.items() for k, v in leaves(value, f"{where}.{key}").items()}

    first, second = (leaves(chip.model_dump(), "") for chip in (a, b))
    return {k.removeprefix(".") for k in first.keys() | second.keys() if first.get(k, ...) != second.get(k, ...)}


IDENTITY = {"name", "title", "description", "extends"}


def test_one_number_changes_and_all_else_stays(write: Write) -> None:
    path = write(energy={"hop_east_west": {"value": 5, **ORIGIN}})
    chip, base = load_architecture(path), load_architecture("loihi1")
    hop = "energy.hop_east_west"
    assert differences(chip, base) == IDENTITY | {f"{hop}.{key}" for key in ("value", "source", "confidence", "note")}
    assert chip.energy.hop_east_west.model_dump() == {
        "value": 5, "unit": "pJ", **ORIGIN, "scope": "per-op", "bound": "nominal", "included_in": "", "note": "",
    }  # fmt: skip
    assert (chip.name, chip.title, chip.extends) == ("mine", "My chip", ("loihi1",))
    assert chip.description == "Intel Loihi (first generation), but for energy.hop_east_west."
    assert base.extends == ()


def test_the_bound_and_the_note_of_a_number_do_not_outlive_it(write: Write) -> None:
    chip = load_architecture(write(energy={"synaptic_operation": {"value": 20, **ORIGIN}}))
    base = load_architecture("loihi1").energy.synaptic_operation
    assert base.bound == "minimum" and "minimum" in base.note
    assert (chip.energy.synaptic_operation.bound, chip.energy.synaptic_operation.note) == ("nominal", "")
    assert chip.energy.synaptic_operation_list == base, "which only shares its text by an anchor"


def test_an_all_in_price_stays_all_in(write: Write) -> None:
    """The scope says what is counted: were it lost, the bill would add other prices to one that holds them."""
    chip = load_architecture(write(extends="odin", energy={"synaptic_operation": {"value": 9, **ORIGIN}}))
    assert chip.energy.synaptic_operation.scope == "all-in"


def test_prices_come_and_go(write: Write) -> None:
    path = write(
        energy={
            "axon_in": {"value": 2, **ORIGIN},
            "synaptic_word": {"value": 1.5, **ORIGIN},
            "neuron_update_active": {"value": None, "source": "nobody", "note": "not published"},
            "within_tile_spike": {"value": None, "source": "nobody", "included_in": "hop_east_west"},
        },
        limits={"axons_in_per_core": None},
        description="My own words.",
    )
    chip = load_architecture(path)
    assert chip.energy.axon_in.value == 2 and chip.energy.axon_in.note == ""
    assert chip.energy.synaptic_word.value == 1.5 and chip.energy.synaptic_word.included_in == ""
    assert chip.energy.neuron_update_active.value is None and chip.energy.neuron_update_active.confidence is None
    assert chip.energy.within_tile_spike.included_in == "hop_east_west"
    assert chip.limits.axons_in_per_core is None
    assert chip.limits.axons_out_per_core == load_architecture("loihi1").limits.axons_out_per_core
    assert chip.description == "My own words."


def test_what_is_said_about_a_number_can_be_said_again(write: Write) -> None:
    """The same value from a better source, and a doubt, leave the rest as it is."""
    same = load_architecture(write(energy={"hop_east_west": {"value": 3.0, **ORIGIN}}))
    assert same.energy.hop_east_west.source == "a data sheet"
    doubted = load_architecture(write(energy={"hop_east_west": {"confidence": "assumed", "note": "I doubt it"}}))
    assert differences(doubted, load_architecture("loihi1")) == IDENTITY | {
        "energy.hop_east_west.confidence", "energy.hop_east_west.note",
    }  # fmt: skip


def test_tables_and_ways_of_working_need_an_origin_too(write: Write) -> None:
    with pytest.raises(InvalidInputError, match="barrier changes latency without its own source and confidence"):
        load_architecture(write(barrier={"latency": [100, 200]}))
    with pytest.raises(InvalidInputError, match="pipeline changes core without its own source and confidence"):
        load_architecture(write(pipeline={"core": "parallel"}))
    chip = load_architecture(write(barrier={"latency": [100, 200], **ORIGIN}, pipeline={"core": "parallel", **ORIGIN}))
    assert chip.barrier.tiles == (1, 32) and chip.barrier_ns(32) == 200
    assert chip.pipeline.core == "parallel" and chip.pipeline.zero_weights == "walked"


def test_a_clock_needs_a_note_of_its_own(write: Write) -> None:
    frequency = {"value": 200, "unit": "MHz", **ORIGIN}
    with pytest.raises(InvalidInputError, match=r"clock\.note"):
        load_architecture(write(clock={"frequency": frequency}))
    chip = load_architecture(write(clock={"frequency": frequency, "note": "of the second revision"}))
    assert chip.clock.frequency is not None and chip.clock.frequency.value == 200


def test_files_extend_files_that_extend(write: Write, tmp_path: Path) -> None:
    write("below/half.yaml", name="half", title="Half", limits={"neurons_per_core": {"value": 512, **ORIGIN}})
    path = write(extends="below/half.yaml", limits={"weight_bits": {"value": 4, **ORIGIN}})
    chip = load_architecture(path)
    assert (chip.limits.neurons_per_core.value, chip.limits.weight_bits.value) == (512, 4)
    assert chip.extends == ("half", "loihi1")
    assert chip.description == "Half, but for limits.weight_bits."
    assert load_architecture(write(extends=str(tmp_path / "below" / "half.yaml"))).limits.neurons_per_core.value == 512


@pytest.mark.parametrize("name", sorted(p.stem for p in FOLDER.glob("*.yaml")))
def test_every_chip_can_be_extended_and_then_differs_in_nothing_but_its_name(write: Write, name: str) -> None:
    assert name in available()
    chip = load_architecture(write(extends=name))
    assert differences(chip, load_architecture(name)) == IDENTITY


REFUSED: list[tuple[dict[str, Any], list[str]]] = [
    ({"energy": {"hop_east_west": {"value": 5}}}, ["energy.hop_east_west changes value", "source and confidence"]),
    ({"energy": {"hop_east_west": {"value": 5, "source": "x"}}}, ["without its own confidence", "value: 5"]),
    ({"energy": {"hop_east_west": {"value": 5, "confidence": "assumed"}}}, ["without its own source"]),
    ({"energy": {"hop_east_west": {"source": "elsewhere"}}}, ["changes source without its own confidence"]),
    ({"latency": {"hop_east_west": {"unit": "cycles", **ORIGIN}}}, ["changes unit without its own value"]),
    ({"energy": {"hop_east_west": {"value": None, "source": "x"}}}, ["energy.hop_east_west", "needs a note"]),
    ({"energy": {"hop_east_west": {"value": 5, "unit": "nJ", **ORIGIN}}}, ["the unit must be pJ"]),
    ({"energy": {"hop_east_west": 5}}, ["energy.hop_east_west cannot be used"]),
    ({"limits": {"neurons_per_cor": {"value": 5}}}, ["neurons_per_cor", "did you mean neurons_per_core?"]),
    ({"limts": {}}, ["limts cannot be used", "did you mean limits?"]),
    ({"energy": {1: {"value": 5}}}, ["energy"]),
    ({"mesh": {"rows": {"value": 5, **ORIGIN}}}, ["barrier.tiles must reach from 1 to all 40 tiles"]),
    ({"version": 2}, ["version"]),
    ({"name": ...}, ["needs a name of its own", "found:   nothing"]),
    ({"name": "loihi1"}, ["needs a name of its own", "found:   'loihi1'"]),
    ({"name": "a/b"}, ["name cannot be used", "without slashes"]),
    ({"title": ...}, ["needs a title of its own"]),
    ({"title": "Intel Loihi (first generation)"}, ["needs a title of its own"]),
    ({"extends": "loihi7"}, ["extends an unknown chip", "found:   loihi7", "loihi1, "]),
    ({"extends": None}, ["extends cannot be used", "None"]),
    ({"extends": ["loihi1", "loihi2"]}, ["extends cannot be used", "one chip"]),
    ({"extends": "gone.yaml"}, ["extends a file that cannot be used", "gone.yaml does not exist"]),
    ({"extends": "./mine.yaml"}, ["extends itself", "mine.yaml -> mine.yaml"]),
]


@pytest.mark.parametrize(("keys", "words"), REFUSED)
def test_what_cannot_be_used_is_refused_with_the_file(write: Write, keys: dict[str, Any], words: list[str]) -> None:
    path = write(**keys)
    with pytest.raises(NeurodeployError) as caught:
        load_architecture(path)
    assert [word for word in [str(path), *words] if word not in str(caught.value)] == []


def test_a_circle_is_refused(write: Write) -> None:
    write("a.yaml", extends="b.yaml")
    write("b.yaml", extends="sub/../c.yml")
    (write("sub/none.yaml").parent / ".." / "c.yml").write_text("extends: a.yaml\nname: c\ntitle: C\n")
    with pytest.raises(InvalidInputError, match="extends itself") as caught:
        load_architecture(write("a.yaml", extends="b.yaml"))
    assert caught.value.found == "a.yaml -> b.yaml -> c.yml -> a.yaml"


def test_an_error_names_the_file_that_it_is_in(write: Write) -> None:
    """What is wrong below is not blamed on the file above."""
    below = write("below.yaml", name="below", energy={"hop_east_west": {"value": -1, **ORIGIN}})
    path = write(extends="below.yaml")
    with pytest.raises(InvalidInputError) as caught:
        load_architecture(path)
    assert caught.value.what == f"{below} (extended by {path}): energy.hop_east_west.value cannot be used"
    below.write_text("a: [")
    with pytest.raises(InvalidInputError, match=r"below\.yaml is not valid YAML"):
        load_architecture(path)
    below.unlink()
    with pytest.raises(MissingFileError, match=r"mine\.yaml extends a file that cannot be used"):
        load_architecture(path)


@pytest.mark.parametrize(
    ("text", "key", "lines"),
    [
        ("extends: loihi1\nname: a\nname: b\ntitle: c\n", "name", "lines 2 and 3"),
        ("extends: loihi1\nname: a\ntitle: c\nmesh:\n  rows: 1\n  rows: 2\n", "rows", "lines 5 and 6"),
        ("name: a\nlimits: {delay_max: {value: 1, value: 2}}\n", "value", "lines 2 and 2"),
        ("name: a\n'name': b\n", "name", "lines 1 and 2"),
        ("a: &x\n  b: 1\nc:\n  <<: *x\n  d: 1\n  d: 2\n", "d", "lines 5 and 6"),
    ],
)
def test_a_key_that_stands_twice_is_refused_with_both_lines(text: str, key: str, lines: str, tmp_path: Path) -> None:
    path = tmp_path / "chip.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInputError, match=f"the key '{key}' stands twice in one mapping") as caught:
        load_architecture(str(path))
    assert caught.value.found == lines and str(path) in str(caught.value)
