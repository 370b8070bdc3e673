"""Host files: the published figures, typed in again, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from neurodeploy.errors import InvalidInputError, MissingFileError
from neurodeploy.hwsim.chips.arch import available, load_architecture
from neurodeploy.hwsim.chips.hosts import FOLDER, Host, host_of, hosts, load_host

NANOJOULES = {"arm": 0.9, "cpu": 8.6, "gpu": 0.3, "x86": None, "none": None}
"""Of a multiply-accumulate: Degnan, Marr and Hasler, as quoted by keras-spiking; Loihi's x86: never published."""


@pytest.mark.parametrize("name", hosts())
def test_a_multiply_accumulate_has_the_surveys_price_and_nothing_else_has_one(name: str) -> None:
    host = load_host(name)
    mac = host.energy.mac.value
    assert (None if mac is None else mac / 1e3) == NANOJOULES[name]
    if mac is not None:
        assert "Degnan" in host.energy.mac.source and host.energy.mac.confidence == "derived"
    rest = [host.energy.operation, host.energy.byte_to_host, host.energy.byte_to_chip, host.static_power]
    rest += [getattr(host.latency, key) for key in type(host.latency).model_fields]
    for price in rest:
        assert price.value is None, "nobody published it"
        assert price.note, "and the file says so"


def test_loihi_carries_its_x86_cores_and_others_name_nothing() -> None:
    named = {chip: load_architecture(chip).host for chip in available()}
    assert {chip for chip, host in named.items() if host} == {"loihi1", "loihi2", "sanafe-loihi"}
    assert host_of(load_architecture("loihi1")).name == "x86"
    assert host_of(load_architecture("loihi1"), "arm").name == "arm"
    assert host_of(load_architecture("xylo")).name == "none"
    for host in filter(None, named.values()):
        assert host in hosts()


def content() -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / "arm.yaml").read_text()))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c["energy"]["mac"].pop("confidence"), "a price needs a confidence"),
        (lambda c: c["energy"]["mac"].pop("source"), "energy.mac.source"),
        (lambda c: c["energy"]["mac"].update(unit="nJ"), "the unit must be pJ"),
        (lambda c: c["energy"]["mac"].update(value=-1), "energy.mac.value"),
        (lambda c: c["energy"].pop("operation"), "energy.operation"),
        (lambda c: c["energy"].update(softmax=c["energy"]["mac"]), "energy.softmax"),
        (lambda c: c["energy"]["operation"].pop("note"), "needs a note"),
        (lambda c: c["latency"]["mac"].update(unit="cycles"), "the unit must be ns"),
        (lambda c: c["static_power"].update(unit="W"), "the unit must be mW"),
        (lambda c: c.update(format="neurodeploy architecture"), "format"),
        (lambda c: c.update(version=2), "version"),
    ],
)
def test_a_damaged_file_is_refused_by_field(tmp_path: Path, change: Callable[[Any], object], says: str) -> None:
    broken = content()
    change(broken)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(broken))
    with pytest.raises(InvalidInputError) as caught:
        load_host(path)
    assert says in str(caught.value) and "mine.yaml" in str(caught.value)


def test_a_misspelt_key_is_refused_with_the_one_that_was_meant(tmp_path: Path) -> None:
    misspelt = content()
    misspelt["energy"]["byte_to_hots"] = misspelt["energy"].pop("byte_to_host")
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(misspelt))
    with pytest.raises(InvalidInputError) as caught:
        load_host(path)
    assert caught.value.what.endswith("mine.yaml: energy.byte_to_hots cannot be used (and 1 more)")
    assert caught.value.found == "byte_to_hots"
    assert caught.value.allowed == "no such key here; check the spelling; did you mean byte_to_host or byte_to_chip?"


def test_an_own_host_is_read_from_its_file(tmp_path: Path) -> None:
    mine = content() | {"name": "mine", "title": "My board"}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(mine))
    assert load_host(path) == load_host(str(path)) == Host.model_validate(mine)


def test_unknown_hosts_and_files_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="unknown host") as caught:
        load_host("arn")
    assert caught.value.allowed == ", ".join(hosts())
    with pytest.raises(MissingFileError):
        load_host(tmp_path / "gone.yaml")
    (tmp_path / "text.yaml").write_text("- a list")
    with pytest.raises(InvalidInputError, match="mapping"):
        load_host(tmp_path / "text.yaml")
