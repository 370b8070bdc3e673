"""Architecture files: Loihi 1's published figures, the mesh, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from neurodeploy.errors import InvalidInputError, MissingFileError
from neurodeploy.hwsim.chips.arch import FOLDER, available, load_architecture

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[Change], Path]:
    """A copy of loihi1.yaml with one change."""

    def write(change: Change) -> Path:
        content = yaml.safe_load((FOLDER / "loihi1.yaml").read_text())
        change(content)
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


def test_loihi1_has_the_figures_of_davies_2018_table_2() -> None:
    chip = load_architecture("loihi1")
    energy = {name: getattr(chip.energy, name).value for name in type(chip.energy).model_fields}
    learning = {name: energy.pop(name) for name in ("learning_mac", "learning_add", "learning_neuron", "learning_word")}
    assert learning == {"learning_mac": 23.6, "learning_add": 23.6, "learning_neuron": 81, "learning_word": None}
    assert {chip.energy.learning_mac.confidence, chip.energy.learning_neuron.confidence} == {"assumed"}
    assert energy == {
        "axon_in": None,
        "synaptic_operation": 23.6,
        "synaptic_operation_list": 23.6,
        "synaptic_operation_kernel": 23.6,
        "synaptic_word": None,
        "spike_out": None,
        "axon_out": None,
        "neuron_update_active": 81,
        "neuron_update_inactive": 52,
        "dendrite_update": None,
        "within_tile_spike": 1.7,
        "hop_east_west": 3.0,
        "hop_north_south": 4.0,
        "learning_update": 120,
        "barrier": None,
        "host_message": None,
    }
    latency = {name: getattr(chip.latency, name).value for name in type(chip.latency).model_fields}
    assert latency == {
        "axon_in": None,
        "synaptic_operation": 3.5,
        "synaptic_operation_list": 3.5,
        "synaptic_operation_kernel": 3.5,
        "synaptic_word": None,
        "spike_out": None,
        "axon_out": None,
        "neuron_update_active": 8.4,
        "neuron_update_inactive": 5.3,
        "dendrite_update": None,
        "within_tile_spike": 2.1,
        "hop_east_west": 4.1,
        "hop_north_south": 6.5,
        "learning_update": 6.1,
        "host_message": None,
    }
    assert chip.energy.synaptic_operation.bound == "minimum"
    assert chip.latency.synaptic_operation.bound == "maximum"
    assert chip.static_power_per_core.value == pytest.approx(3340 / 32 / 128, abs=0.01)  # 3.34 W, 32 chips, 128 cores
    assert chip.cores == 128


def test_every_figure_of_every_shipped_chip_has_an_origin() -> None:
    def figures(node: Any) -> list[dict[str, Any]]:
        if not isinstance(node, dict):
            return []
        here = [node] if "source" in node else []
        return here + [found for value in node.values() for found in figures(value)]

    for name in available():
        found = figures(load_architecture(name).model_dump())
        assert len(found) > 30
        for figure in found:
            assert figure["source"]
            assert figure.get("unit", "ns")
            explained = figure["note"] or figure.get("included_in")
            assert figure["confidence"] or (figure["value"] is None and explained)


def test_cores_are_numbered_tile_by_tile_and_tiles_row_by_row() -> None:
    chip = load_architecture("loihi1")  # 8 columns x 4 rows x 4 cores
    assert [chip.tile_of(core) for core in (0, 3, 4, 127)] == [0, 0, 1, 31]
    assert [chip.tile_xy(tile) for tile in (0, 7, 8, 31)] == [(0, 0), (7, 0), (0, 1), (7, 3)]
    assert chip.hops(0, 3) == (0, 0)
    assert chip.hops(0, 127) == (7, 3)
    assert chip.hops(36, 12) == chip.hops(12, 36) == (2, 1)  # tile 9 = (1, 1) and tile 3 = (3, 0)
    for core in (-1, 128):
        with pytest.raises(InvalidInputError, match="0 to 127"):
            chip.tile_of(core)


def test_the_barrier_is_interpolated_between_the_papers_two_ends() -> None:
    chip = load_architecture("loihi1")
    assert chip.barrier_ns(1) == 113
    assert chip.barrier_ns(32) == 465
    assert chip.barrier_ns(2) == pytest.approx(113 + 352 / 31)  # (465 - 113) / (32 - 1) per tile
    assert chip.barrier_ns(0) == 0


def test_an_unknown_chip_lists_the_known_ones() -> None:
    with pytest.raises(InvalidInputError, match="loihi1") as caught:
        load_architecture("loihi7")
    assert caught.value.found == "loihi7"
    with pytest.raises(MissingFileError):
        load_architecture("nowhere/chip.yaml")


def test_a_users_own_file_works(changed: Callable[[Change], Path]) -> None:
    path = changed(lambda c: c.update(name="mine"))
    assert load_architecture(path).name == load_architecture(str(path)).name == "mine"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda c: c["energy"]["hop_east_west"].pop("source"), "energy.hop_east_west.source"),
        (lambda c: c["energy"]["hop_east_west"].pop("confidence"), "energy.hop_east_west"),
        (lambda c: c["energy"]["hop_east_west"].update(source=""), "energy.hop_east_west.source"),
        (lambda c: c["energy"]["hop_east_west"].update(confidence="sure"), "energy.hop_east_west.confidence"),
        (lambda c: c["energy"]["hop_east_west"].update(value=-3), "energy.hop_east_west.value"),
        (lambda c: c["energy"]["hop_east_west"].update(value=float("nan")), "energy.hop_east_west.value"),
        (lambda c: c["energy"]["hop_east_west"].update(unit="nJ"), "energy.hop_east_west"),
        (lambda c: c["energy"]["barrier"].pop("note"), "energy.barrier"),
        (lambda c: c["energy"]["synaptic_operation"].update(scope="all-in"), "energy"),
        (lambda c: c["energy"].update(hop_up=c["energy"]["barrier"]), "energy.hop_up"),
        (lambda c: c["limits"].pop("delay_max"), "limits.delay_max"),
        (lambda c: c["limits"]["delay_max"].update(value=6.5), "limits.delay_max.value"),
        (lambda c: c["mesh"]["rows"].update(value=0), "mesh"),
        (lambda c: c["mesh"]["rows"].update(value=5), "barrier.tiles"),
        (lambda c: c["barrier"].update(tiles=[32, 1]), "barrier"),
        (lambda c: c.update(version=2), "version"),
        (lambda c: c["energy"].pop("axon_in"), "energy.axon_in"),
        (lambda c: c["energy"]["synaptic_word"].update(value=3, confidence="assumed"), "energy.synaptic_word"),
        (lambda c: c["latency"]["hop_east_west"].update(unit="cycles"), "latency.hop_east_west is in cycles"),
        (lambda c: c["latency"]["hop_east_west"].update(unit="us"), "latency.hop_east_west"),
        (lambda c: c["clock"].update(frequency={**c["process"], "unit": "GHz"}), "clock"),
        (lambda c: c["pipeline"].update(core="sometimes"), "pipeline.core"),
        (lambda c: c["pipeline"]["core_queue"].update(value=0), "pipeline"),
        (lambda c: c["pipeline"]["link_message"].pop("confidence"), "pipeline.link_message"),
        (lambda c: c["barrier"].update(latency=None, note=""), "barrier"),
        (lambda c: c["barrier"].pop("confidence"), "barrier.confidence"),
        (lambda c: c["static_power_per_core"].pop("confidence"), "static_power_per_core"),
    ],
)
def test_a_bad_file_is_refused_with_file_and_field(
    changed: Callable[[Change], Path], change: Change, field: str
) -> None:
    path = changed(change)
    with pytest.raises(InvalidInputError) as caught:
        load_architecture(path)
    assert str(path) in str(caught.value)
    assert field in str(caught.value)
    assert "allowed:" in str(caught.value)


@pytest.mark.parametrize(
    ("limit", "value", "said"),
    [
        ("neurons_per_core", 0, "at least 1"),
        ("weight_bits", 0, "at least 1"),
        ("thresholds_per_core", 0, "at least 1"),
        ("axons_out_per_core", 0, "at least 1"),
        ("synapse_word_bits", 0, "at least 1"),
        ("bias_mantissa_bits", 1, "at least 2"),
        ("threshold_shift", 3, "can only be 6"),
    ],
)
def test_a_limit_that_nothing_could_obey_is_refused(
    changed: Callable[[Change], Path], limit: str, value: int, said: str
) -> None:
    figure = {"value": value, "unit": "bits", "source": "an example", "confidence": "assumed"}
    with pytest.raises(InvalidInputError, match=f"{limit} .*{said}"):
        load_architecture(changed(lambda c: c["limits"].update({limit: figure})))


@pytest.mark.parametrize("content", [b"a: [", b"\xff\xfe\x00", b"- 1\n- 2\n", b"", b"a: b: c"])
def test_a_file_that_is_no_description_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"bad\.yaml"):
        load_architecture(path)


def test_cycles_become_nanoseconds(changed: Callable[[Change], Path]) -> None:
    def clocked(content: dict[str, Any]) -> None:
        content["clock"]["frequency"] = {"value": 200, "unit": "MHz", "source": "x", "confidence": "assumed"}
        content["latency"]["hop_east_west"].update(value=3, unit="cycles")

    chip = load_architecture(changed(clocked))
    assert chip.ns(chip.latency.hop_east_west) == pytest.approx(15)
    assert chip.ns(chip.latency.hop_north_south) == 6.5
    assert chip.ns(chip.latency.axon_in) is None


def test_routes_follow_links_first_along_x() -> None:
    for name in ("loihi1", "sanafe-loihi"):
        chip = load_architecture(name)
        for a, b in ((0, 127), (127, 0), (37, 14), (5, 6)):
            at = chip.tile_xy(chip.tile_of(a))
            axes = []
            for link in chip.links(a, b):
                tile, direction = divmod(link, 4)
                assert chip.tile_xy(tile) == at
                at = (at[0] + (1, -1, 0, 0)[direction], at[1] + (0, 0, 1, -1)[direction])
                axes.append(direction // 2)
            assert at == chip.tile_xy(chip.tile_of(b))
            assert axes == sorted(axes)
            assert len(axes) == sum(chip.hops(a, b))


def test_the_barrier_of_a_table_of_steps() -> None:
    chip = load_architecture("sanafe-loihi")
    assert [chip.barrier_ns(tiles) for tiles in (1, 2, 3, 4, 28, 29, 32)] == [600, 1000, 1000, 1400, 1400, 1800, 1800]


def test_chips_that_come_with_it() -> None:
    assert set(available()) == {
        "loihi1", "loihi2", "sanafe-loihi", "truenorth", "spinnaker2", "speck", "xylo", "odin", "reckon", "anp-i",
        "paper-45nm",
    }  # fmt: skip
    for name in available():
        chip = load_architecture(name)
        assert chip.name == name
        assert chip.energy.synaptic_operation.value is not None or name in ("speck", "xylo")
