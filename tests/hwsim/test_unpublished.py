"""A figure that nobody published is missing everywhere: never a zero, for none of the chips."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from neurodeploy.compiler import CompileOptions, compile, place
from neurodeploy.hwsim.chips.arch import available, load_architecture
from neurodeploy.hwsim.chips.computed import named
from neurodeploy.hwsim.cost import Cost, cost
from neurodeploy.network.connectivity import Dense
from neurodeploy.network.event_rules import lif
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Source
from neurodeploy.report.assess import assess
from neurodeploy.report.build import latency_of
from neurodeploy.report.document import Report
from neurodeploy.report.html import render
from tests import nirgraphs


def found(chip: str) -> Cost:
    """Two layers, so busy that everything happens: spikes, messages, operations, active neurons."""
    arch = load_architecture(chip)
    populations = (Population("in", (8,), Source()), Population("a", (6,), lif(6)), Population("b", (4,), lif(4)))
    projections = (
        Projection("p", "in", "a", Dense(np.ones((6, 8)))), Projection("q", "a", "b", Dense(np.ones((4, 6))))
    )  # fmt: skip
    network = Network("busy", populations, projections, ("b",), 1e-3)
    return cost(place(network, arch, {}), {"in": np.ones((5, 3, 8), np.uint8)}, arch)


def prices(result: dict[str, Any]) -> dict[str, Any]:
    """Energies and times of the JSON, by a name each."""
    bill = result["bill"]
    sums = {key: bill[key] for key in ("total_pj", "inference_pj", "dynamic_pj", "static_pj")}
    times = {"inference_ns": result["inference_ns"], **{f"step_{k}": v for k, v in result["step_ns"].items()}}
    return {"total": result["total_pj"], **sums, **times}


@pytest.mark.parametrize("chip", available())
def test_no_zero_stands_for_what_was_not_published(chip: str) -> None:
    one = found(chip)
    result = one.as_json()
    for name, value in prices(result).items():
        if value == 0:
            assert name == "static_pj", f"{chip}: {name} is 0"
            assert one.arch.static_power_per_core.value == 0 or one.arch.static_power_per_core.included_in
    for name in result["times_missing"]:
        assert result["terms_ns"].get(name) is None
    for component in result["missing"]:
        assert component not in result["energy_pj"]
    nothing_of_cores = not one.timing.core_ns.any()
    assert (result["busiest_core"] is None) == nothing_of_cores
    assert (set(result["core_ns"].values()) == {None}) == nothing_of_cores
    if not one.timing.known:
        assert "used_core_ns" not in result["counts"]["total"]
        assert "static" in {item["component"] for item in result["bill"]["missing"]} or (
            one.arch.static_power_per_core.included_in
        )


@pytest.mark.parametrize("chip", available())
def test_nor_in_a_report(chip: str, tmp_path: Path) -> None:
    """From the file to the page, in integers where the chip has such neurons, and each time with its arithmetic."""
    arch = load_architecture(chip)
    resets = arch.arithmetic.resets.value or ("hard",)
    nodes = {"fc": nir.Linear(np.full((6, 8), 0.5)), "if": nir.IF(np.full(6, 1.0), np.full(6, 0.9), np.zeros(6))}
    path = nirgraphs.write(nirgraphs.sequence((8,), nodes), tmp_path / "net.nir")
    x = {"input": np.ones((5, 3, 8), np.uint8)}
    compiled = compile(path, arch, CompileOptions(conventions={"dt": 1.0, "reset": resets[0]}, calibration=x))
    result, _ = assess(compiled, arch, x, None, name="busy", names=("hwsim",))
    one = Report(title=f"busy on {arch.title}", neurodeploy="0", chip=chip, networks=(result,))
    page = html.unescape(render(one))
    assert result.arithmetic in page and result.arithmetic == named("loihi", arch)
    if result.energy is None:
        assert "not published" in page
    else:
        assert result.energy.total_pj > 0
        assert all(line.energy_pj > 0 for line in result.energy.lines if line.count and line.price)
        stated = {line.component for line in result.energy.lines}
        for item in result.energy.missing:
            assert item.component not in stated and item.label in page
    if result.latency is not None:
        assert result.latency.inference_us > 0


def test_some_chips_publish_no_time_and_some_do() -> None:
    known = {chip: found(chip).timing.known for chip in ("loihi1", "paper-45nm", "spinnaker2")}
    assert known == {"loihi1": True, "paper-45nm": False, "spinnaker2": False}


def test_a_silent_run_of_a_chip_with_times_is_known() -> None:
    arch = load_architecture("loihi1")
    network = Network("n", (Population("in", (1,), Source()), Population("a", (1,), lif(1))), (), ("a",), 1e-3)
    one = cost(place(network, arch, {}), {"in": np.zeros((2, 1, 1), np.uint8)}, arch)
    assert one.timing.known
    assert latency_of(one.timing).inference_us > 0
