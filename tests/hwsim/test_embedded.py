"""A user's own chip in a Program: when it is carried, that it comes back whole, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from neurodeploy.errors import InvalidInputError
from neurodeploy.hwsim.chips.arch import Architecture, available, load_architecture
from neurodeploy.hwsim.chips.embedded import architecture_of, chip_file
from neurodeploy.program.program import Program
from tests.networks import placed, random_network


def changed(chip: str, **keys: Any) -> Architecture:
    return Architecture.model_validate({**load_architecture(chip).model_dump(), **keys})


def carrying(text: str, chip: str = "mine") -> Program:
    return replace(placed(random_network(1)), chip=chip, chip_file=text)


@pytest.mark.parametrize("name", available())
def test_chips_that_come_with_it_are_not_carried_and_own_ones_come_back_whole(name: str) -> None:
    assert chip_file(load_architecture(name)) == ""
    assert architecture_of(carrying("", name)) == load_architecture(name)
    own = changed(name, name="mine", title="Größer als ½", extends=("half", name))
    assert own.cores  # a cached property is not a part of it
    text = chip_file(own)
    assert architecture_of(carrying(text)) == own
    assert chip_file(architecture_of(carrying(text))) == text


def test_an_own_chip_with_the_name_of_one_of_ours_is_not_taken_for_it() -> None:
    content = load_architecture("loihi1").model_dump()
    content["energy"]["hop_east_west"]["value"] = 5
    own = Architecture.model_validate(content)
    program = carrying(chip_file(own), "loihi1")
    assert architecture_of(program).energy.hop_east_west.value == 5
    assert load_architecture("loihi1").energy.hop_east_west.value == 3


def test_equal_chips_are_equal_texts() -> None:
    one = load_architecture("loihi2").model_dump()
    other = dict(reversed([(k, dict(reversed(v.items())) if isinstance(v, dict) else v) for k, v in one.items()]))
    texts = {chip_file(Architecture.model_validate({**content, "name": "mine"})) for content in (one, other)}
    assert len(texts) == 1 and "" not in texts


def without(*keys: str) -> str:
    content: Any = json.loads(chip_file(changed("loihi1", name="mine")))
    below = content
    for key in keys[:-1]:
        below = below[key]
    del below[keys[-1]]
    return json.dumps(content)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{", "Expecting"),
        ("[]", "valid dictionary"),
        ("[" * 100_000, ""),
        ('"mine"', "valid dictionary"),
        (without("energy", "barrier", "source"), "energy.barrier.source: Field required"),
        (without("mesh"), "mesh: Field required"),
        (chip_file(changed("loihi1", name="another")), "a description of 'another'"),
    ],
)
def test_a_damaged_description_is_refused(text: Any, word: str) -> None:
    with pytest.raises(InvalidInputError, match="the description of the chip 'mine' in the Program") as caught:
        architecture_of(carrying(text))
    assert word in str(caught.value.found)
    assert "--chip FILE.yaml" in str(caught.value)


def test_a_program_that_does_not_say_what_its_chip_is() -> None:
    """One from before chips were carried, or with a path for a name: no file is looked for."""
    for name in ("small", "/etc/chip.yaml", "archs/loihi1.yaml"):
        with pytest.raises(InvalidInputError, match="does not say what that is"):
            architecture_of(carrying("", name))
