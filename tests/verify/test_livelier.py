"""What a sample leaves unproven is named, and a livelier sample proves what it can."""

from __future__ import annotations

import json

import numpy as np
import pytest
import snntorch as snn
import torch
from torch import nn

from neurodeploy.cli import main
from neurodeploy.errors import VerificationError
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.proof import Proof
from neurodeploy.verify.export_proof import export_proven
from neurodeploy.verify.livelier import NEVER_GIVEN, NEVER_MOVE, NEVER_SPIKE


def lif(threshold):
    return snn.Leaky(beta=0.9, threshold=threshold, init_hidden=True)


def dense(inputs, outputs, value):
    layer = nn.Linear(inputs, outputs, bias=False)
    layer.weight.data.fill_(value)
    return layer


def spikes(rate, inputs=6, steps=20):
    return (np.random.default_rng(0).random((steps, 3, inputs)) < rate).astype(np.uint8)


def proof(module, sample, path):
    pairs = export_proven(module, sample, None, path).pairs
    found = Proof.read(nir_file.read(path))
    assert found is not None
    return pairs, found


def test_a_sample_on_which_all_takes_part_is_enough(tmp_path):
    pairs, found = proof(nn.Sequential(dense(6, 4, 0.3), lif(1.0)), spikes(0.5), tmp_path / "a.nir")
    assert len(pairs) == 3
    assert found.unproven == ()


def test_single_neurons_and_inputs_that_stay_out_are_counted(tmp_path):
    layer = dense(6, 4, 0.3)
    layer.weight.data[0] = -0.3
    layer.weight.data[1] = 0
    sample = spikes(0.5)
    sample[:, :, 2] = 0
    pairs, found = proof(nn.Sequential(layer, lif(1.0)), sample, tmp_path / "a.nir")
    assert len(pairs) == 3
    assert [(u.layer, u.neurons, u.of, u.why) for u in found.unproven] == [
        ("input", 1, 6, NEVER_GIVEN), ("1", 2, 4, NEVER_SPIKE),
    ]  # fmt: skip


def test_a_silent_layer_is_proven_on_a_livelier_sample(tmp_path):
    module = nn.Sequential(dense(6, 4, 0.3), lif(1.0), dense(4, 3, 0.3), lif(1.15))
    sample = spikes(0.0)
    sample[3, 0, :4] = 1  # the first layer spikes once: 1.2 at most behind it, in a single step
    module[2].weight.data.fill_(0.25)
    pairs, found = proof(module, sample, tmp_path / "a.nir")
    assert [pair.verdict for pair in pairs] == ["equal"] * 5
    assert pairs[1].per_layer["3"][0] == 0 < pairs[3].per_layer["3"][0]
    assert pairs[3].first == "torch (livelier sample)"
    assert found.unproven == ()
    np.testing.assert_array_equal(found.sample, sample)  # the user's own stays the proof's
    assert "NIR (livelier sample) against torch (livelier sample): equal" in found.statement


def test_a_wrong_layer_behind_silence_is_found(tmp_path, monkeypatch):
    from neurodeploy.exporters import export as exporting

    module = nn.Sequential(dense(6, 4, 0.3), lif(1.0), dense(4, 3, 0.25), lif(1.15))
    sample = spikes(0.0)
    sample[3, 0, :4] = 1
    original = exporting.to_graph

    def wrong(*given):
        graph = original(*given)
        graph.nodes["3"].v_threshold = graph.nodes["3"].v_threshold * 1.3
        return graph

    monkeypatch.setattr(exporting, "to_graph", wrong)
    with pytest.raises(VerificationError, match=r"NIR \(livelier sample\) differs from torch \(livelier sample\)"):
        export_proven(module, sample, None, tmp_path / "a.nir")
    assert not (tmp_path / "a.nir").exists()


def test_what_no_sample_wakes_is_named(tmp_path):
    module = nn.Sequential(dense(6, 4, 0.3), lif(1.0), dense(4, 3, 0.3), lif(1e4), dense(3, 2, 1.0), lif(1.0))
    pairs, found = proof(module, spikes(0.5), tmp_path / "a.nir")
    assert [pair.verdict for pair in pairs] == ["equal"] * 3
    assert [(u.layer, u.neurons, u.of, u.why) for u in found.unproven] == [
        ("3", 3, 3, NEVER_SPIKE), ("5", 2, 2, NEVER_MOVE),
    ]  # fmt: skip


def test_a_silent_sample_of_a_network_that_can_spike(tmp_path, capsys):
    (tmp_path / "m.py").write_text(
        "import torch, snntorch\n"
        "net = torch.nn.Sequential(torch.nn.Linear(6, 4), snntorch.Leaky(beta=.9, threshold=3., init_hidden=True))\n"
        "net[0].weight.data.fill_(.3); net[0].bias.data.fill_(0.)\n"
    )
    np.save(tmp_path / "x.npy", spikes(0.0))
    call = ["export", f"{tmp_path}/m.py:net", "--sample", f"{tmp_path}/x.npy", "-o", f"{tmp_path}/a.nir"]
    assert main(call) == 0
    out = capsys.readouterr().out
    assert "no neuron spikes on the sample itself" in out
    assert "torch (livelier sample) = NIR (livelier sample)" in out
    found = Proof.read(nir_file.read(tmp_path / "a.nir"))
    assert found is not None
    assert found.rate > 0
    assert all(counts.all() for counts in found.spikes.values())
    assert main([*call, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["unproven"] == []
    assert [pair["verdict"] for pair in said["pairs"]] == ["equal", "silent", "silent", "equal", "equal"]


def test_the_command_names_what_stayed_unproven(tmp_path, capsys):
    (tmp_path / "m.py").write_text(
        "import torch, snntorch\n"
        "net = torch.nn.Sequential(torch.nn.Linear(6, 4), snntorch.Leaky(beta=.9, threshold=.1, init_hidden=True),\n"
        "    torch.nn.Linear(4, 2), snntorch.Leaky(beta=1., threshold=1e5, init_hidden=True))\n"
    )
    call = ["export", f"{tmp_path}/m.py:net", "--shape", "6", "-o", f"{tmp_path}/a.nir"]
    assert main(call) == 0
    assert f"unproven: 3: 2 of 2 {NEVER_SPIKE}" in capsys.readouterr().out
    assert main([*call, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unproven"][-1]["layer"] == "3"


def test_torch_is_not_left_in_another_type():
    assert torch.get_default_dtype() == torch.float32
