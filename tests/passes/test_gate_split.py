"""The product at the end of what `export` leaves to the host, as one of the chip."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neurodeploy import backends
from neurodeploy.backends.reference.run import run_network
from neurodeploy.lowering.lower import lower
from neurodeploy.network.network import Network
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.conventions import resolve
from neurodeploy.passes.data import PassData
from neurodeploy.passes.gate_on_chip import GateOnChip
from neurodeploy.passes.quantise.quantise import Quantise
from neurodeploy.program.program import Program
from neurodeploy.verify.export_proof import export_proven

X = (np.random.default_rng(0).random((5, 2, 2, 4, 4)) < 0.5).astype(np.float32)


TYPED: dict[str, Callable[[Tensor], Tensor]] = {
    "as it is": lambda gate: gate,
    "whole": lambda gate: (gate * 4).long(),
    "whole, in floats": lambda gate: (gate * 4).int().float(),
    "on or off": lambda gate: gate > 0.5,
    "on or off, in floats": lambda gate: (gate > 0.5).float(),
    "whole, halved": lambda gate: (gate * 4).to(torch.uint8) / 2,
}
"""What else a gate may be made of."""


class Gated(nn.Module):
    """Spikes that a gate weighs: of their channels in each step, of their places, or of the steps."""

    def __init__(self, kind: str, typed: str = "as it is") -> None:
        from spikingjelly.activation_based import neuron

        super().__init__()
        torch.manual_seed(3)
        self.kind, self.typed = kind, TYPED[typed]
        self.first, self.n1 = nn.Conv2d(2, 6, 3, padding=1), neuron.LIFNode(step_mode="m", v_threshold=0.5)
        self.look, self.steps = nn.Linear(6, 6), nn.Linear(5, 5)
        self.place, self.every = nn.Conv2d(6, 1, 1), nn.Conv2d(6, 6, 1)
        self.second, self.n2 = nn.Conv2d(6, 4, 3, padding=1), neuron.IFNode(step_mode="m", v_threshold=0.5)

    def gate(self, y: Tensor) -> Tensor:
        if self.kind == "channels":
            return torch.sigmoid(self.look(y.mean((-1, -2))))[..., None, None]
        if self.kind == "everywhere":
            return torch.sigmoid(self.every(y.flatten(0, 1))).reshape(y.shape)
        if self.kind == "places":
            return torch.sigmoid(self.place(y.flatten(0, 1))).reshape(*y.shape[:2], 1, *y.shape[3:])
        return torch.sigmoid(self.steps(y.mean((2, 3, 4)).T)).T[..., None, None, None]

    def forward(self, x: Tensor) -> Tensor:
        y = self.n1(self.first(x.flatten(0, 1)).reshape(*x.shape[:2], 6, 4, 4) * 3)
        gated = y * self.typed(self.gate(y))
        return self.n2(self.second(gated.flatten(0, 1)).reshape(*x.shape[:2], 4, 4, 4) * 6)


def exported(kind: str, tmp_path: Path, typed: str = "as it is") -> Network:
    path = tmp_path / "net.nir"
    export_proven(Gated(kind, typed).eval(), X, None, path, time_axis=0, host="work")
    file = nir_file.read(path)
    return lower(file, resolve(file))


@pytest.mark.parametrize("kind", ["channels", "everywhere", "steps"])
@pytest.mark.parametrize("typed", TYPED)
def test_a_gate_of_another_type_is_the_same_number_on_the_chip(kind: str, typed: str, tmp_path: Path) -> None:
    network = exported(kind, tmp_path, typed)
    moved = GateOnChip().apply(network)
    before, after = (run_network(one, {"": X}) for one in (network, moved))
    for name, events in before.spikes.items():
        np.testing.assert_array_equal(after.spikes[name].dense(), events.dense(), err_msg=name)
    assert len(before.spikes["n1"]) > 0


@pytest.mark.parametrize(("kind", "shape"), [("channels", (6, 1, 1)), ("places", (1, 4, 4)), ("steps", (1, 1, 1))])
def test_a_gate_as_payload_gives_the_spikes_of_the_gate_on_the_host(
    kind: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    network = exported(kind, tmp_path)
    moved = GateOnChip().apply(network)
    (gate,) = (p for p in moved.populations if p.name.endswith(".gate"))
    assert gate.shape == shape
    assert sum(p.neuron.label == "product of two inputs" for p in moved.populations) == 1
    before, after = (run_network(one, {"": X}) for one in (network, moved))
    for name, events in before.spikes.items():
        np.testing.assert_array_equal(after.spikes[name].dense(), events.dense(), err_msg=name)
    assert len(before.spikes["n2"]) > 20

    integers = [Quantise().apply(one, PassData({"input": X})) for one in (network, moved)]
    programs = [Program.unplaced(one, {}) for one in integers]
    found = [[backends.get(name)(one, {"input": X}).spikes["n2"].dense() for name in ("reference", "hwsim")]
             for one in programs]  # fmt: skip
    for each in found:
        np.testing.assert_array_equal(each[0], each[1])
    floats = before.spikes["n2"].dense()
    apart = [float((one[0] != floats).mean()) for one in found]
    assert max(apart) < 0.1  # eight bits of a gate; which of them are rounded differs


class Normalised(nn.Module):
    """Nothing of it ends in a product with spikes."""

    def __init__(self) -> None:
        from spikingjelly.activation_based import neuron

        super().__init__()
        torch.manual_seed(1)
        self.first, self.n1 = nn.Linear(6, 6), neuron.IFNode(step_mode="m", v_threshold=0.3)
        self.norm, self.n2 = nn.LayerNorm(6), neuron.IFNode(step_mode="m", v_threshold=0.3)

    def forward(self, x: Tensor) -> Tensor:
        return self.n2(self.norm(self.n1(self.first(x))))


def test_what_ends_in_no_product_stays(tmp_path: Path) -> None:
    x = (np.random.default_rng(0).random((6, 3, 6)) < 0.5).astype(np.float32)
    export_proven(Normalised().eval(), x, None, tmp_path / "net.nir", time_axis=0)
    file = nir_file.read(tmp_path / "net.nir")
    network = lower(file, resolve(file))
    found = GateOnChip().apply(network)
    assert found.stages == network.stages
    assert found.populations == network.populations
    (note,) = (text for name, text in found.notes.items() if name.startswith("gate-on-chip"))
    assert note.startswith("left on the host: its graph is more than a product")
