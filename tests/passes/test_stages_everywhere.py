"""Each pass, placement and the states of narrow chips, with host stages: they keep them, or refuse them by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from neurodeploy import backends, passes
from neurodeploy.api.program import Program as Compiled
from neurodeploy.backends.reference.run import run_network
from neurodeploy.compiler import CompileOptions, limits_of, place
from neurodeploy.errors import UnsupportedError
from neurodeploy.hwsim import narrow_states
from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.network.network import Network
from neurodeploy.passes import PassData
from neurodeploy.passes.quantise.quantise import Quantise
from tests.conformance import hybrids
from tests.conformance.compare import EVERYTHING, difference
from tests.networks import placed
from tests.passes.test_quantise_hosts import read_potential, spikes

LOIHI2 = load_architecture("loihi2")
EXACT = ("prune", "encode", "split-signs", "gate-on-chip")


@pytest.mark.parametrize("hybrid", hybrids.HYBRIDS)
@pytest.mark.parametrize("name", passes.BUILTIN)
def test_every_pass_takes_host_stages_or_says_what_it_does_not_take(name: str, hybrid: str) -> None:
    case = hybrids.build(hybrid, "float")
    network = case.program.network
    data = PassData(case.inputs, limits=limits_of(LOIHI2), teacher=network)
    if name == "fine-tune":
        network = Quantise().apply(network, data)
    made = passes.get(name)(**({"iterations": 1} if name == "fine-tune" else {}))
    if name == "fine-tune" and hybrid == "a gate in every step":
        with pytest.raises(UnsupportedError, match="population 'gated'"):
            made.apply(network, data)
        return
    changed = made.apply(network, data)
    before, after = run_network(network, case.inputs), run_network(changed, case.inputs)
    assert name == "freeze-attention" or len(changed.stages) == len(network.stages)
    if name in EXACT:
        assert difference(before, after, integer=False) == ""
    assert len(after.spikes[changed.outputs[0]]) > 20


@pytest.mark.parametrize("hybrid", hybrids.HYBRIDS)
@pytest.mark.parametrize("how", [{"share": True}, {"order": "random"}, {"max_neurons_per_core": 2}])
def test_placed_in_any_way_it_does_the_same(hybrid: str, how: dict[str, object]) -> None:
    """What lives on the host has no core."""
    case = hybrids.build(hybrid, "loihi")
    network = case.program.network
    program = place(network, LOIHI2, {}, **how)
    assert set(program.core_of) == {p.name for p in network.populations if not p.external}
    before, after = (backends.get("hwsim")(p, case.inputs, record=EVERYTHING) for p in (case.program, program))
    assert difference(before, after, integer=True) == ""


def potentials() -> tuple[Network, dict[str, np.ndarray]]:
    return read_potential(reset="subtract"), {"input": spikes(steps=30, rate=0.7)}


def test_states_beyond_a_narrow_chip_are_counted_with_the_host(tmp_path: Path) -> None:
    """16 bits: integers that were made for 24 go beyond, and the host reads them; those made for 16 do not."""
    network, x = potentials()
    arch = load_architecture("xylo")
    wide = placed(Quantise().apply(network, PassData(x)))
    beyond = narrow_states.found(wide, arch, x, backends.get("hwsim"))
    assert beyond["first"]["v_beyond"] > 0
    (line,) = narrow_states.said(beyond, wide, arch, x)
    assert "and the potentials that the host stage 'reader' reads may differ on the chip" in line
    with pytest.raises(UnsupportedError, match="hwsim does not know host stages"):
        narrow_states.found(wide, arch, x)
    narrow = Quantise().apply(network, PassData(x, limits=limits_of(arch)))
    program = placed(narrow)
    assert narrow_states.found(program, arch, x, backends.get("hwsim")) == {}
    before, after = (run_network(n, x).hosted["y"] for n in (network, narrow))
    assert np.abs(before - after).mean() < 0.05 * np.abs(before).max()
    on_xylo = replace(program, chip="xylo")
    assert Compiled(on_xylo, options=CompileOptions(calibration=x)).run(x).warnings == ()
