"""The report of a network with host stages: the host's share in the results file and on the page."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from neurodeploy.api.program import Program
from neurodeploy.compiler import place
from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.report.document import Report
from tests.conformance import hybrids
from tests.conformance.cases import N

T = hybrids.STEPS


def report(name: str, **how: str) -> Report:
    case = hybrids.build(name, "loihi")
    program = Program(place(case.program.network, load_architecture("loihi2"), {}))
    found = program.verify(case.inputs, backends=["reference", "hwsim"], measure=True, **how)  # type: ignore[arg-type]
    assert found.measured is not None
    return Report.from_json(found.measured.to_json())


def page(name: str, folder: Path, **how: str) -> str:
    case = hybrids.build(name, "loihi")
    program = Program(place(case.program.network, load_architecture("loihi2"), {}))
    path = program.report(folder / "r.html", case.inputs, backends=["reference", "hwsim"], **how)  # type: ignore[arg-type]
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", path.read_text())))


def test_the_results_file_names_what_each_side_costs() -> None:
    (result,) = report("attention between two phases", host="arm").networks
    host, energy = result.host, result.energy
    assert host is not None and energy is not None
    assert energy.total_pj is energy.dynamic_pj is None
    assert energy.chip_pj == pytest.approx(sum(line.energy_pj for line in energy.lines))
    assert {line.kind for line in energy.lines}.isdisjoint(line.kind for line in host.lines)
    assert (host.processor, host.host_pj, host.boundary_pj) == ("arm", pytest.approx(2 * T * T * N * 900), None)
    assert (host.bytes_to_host, host.bytes_to_chip, host.barriers) == (T, 10 * T, 1)
    (stage,) = host.stages
    assert (stage.when, stage.runs, stage.macs) == ("phase", 1, 2 * T * T * N)
    assert [time.label for time in host.times][:2] == ["chip, phase 0", "chip, phase 1"]
    assert host.total_ns is None
    kinds = {layer.name: layer.kind for layer in result.layers}
    assert (kinds["input"], kinds["seen"]) == ("input", "from the host")


@pytest.mark.parametrize("name", hybrids.HYBRIDS)
def test_the_page_says_that_the_sum_is_not_published(name: str, tmp_path: Path) -> None:
    shown = page(name, tmp_path)
    assert "What the host does" in shown
    assert "Energy per inference not published chip" in shown
    assert "host (Loihi's embedded x86 cores): not published + boundary: not published" in shown
    assert "Latency of the chip" in shown and "with the host not published" in shown
    for stage in hybrids.build(name, "loihi").program.network.stages:
        assert stage.name in shown


def test_a_host_can_be_named_for_the_page(tmp_path: Path) -> None:
    shown = page("attention between two phases", tmp_path, host="cpu")
    assert "Intel Core i7-4960X" in shown and "Degnan" in shown
