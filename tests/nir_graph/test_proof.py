"""The proof in a file: what was put in comes back exactly, and what is damaged is refused in words."""

from __future__ import annotations

import json

import nir
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import nn

from neurodeploy.errors import InvalidInputError
from neurodeploy.exporters.write_nir import write
from neurodeploy.nir_graph import nir_file, proof
from neurodeploy.nir_graph.metadata import section_of
from neurodeploy.nir_graph.proof import RECORD, Proof, Unproven, digest_of
from neurodeploy.verify.export_proof import export_proven

POTENTIALS = {"out": np.array([-0.5, 1e-300])}
COUNTS = {"a.b": np.array([3, 0, 7]), "last": np.array([2])}


def graph() -> nir.NIRGraph:
    one = np.ones(3)
    nodes = {
        "input": nir.Input(np.array([3])),
        "a.b": nir.LIF(one, one, 0 * one, one, 0 * one),
        "output": nir.Output(np.array([3])),
    }
    edges = [("input", "a.b"), ("a.b", "output")]
    return nir.NIRGraph(nodes, edges, metadata={"neurodeploy": {"dt": 1e-3}}, type_check=False)


def stored(made: Proof, path) -> nir_file.NirFile:
    whole = graph()
    made.store(whole)
    return nir_file.read(write(whole, path))


def test_what_is_stored_comes_back(tmp_path) -> None:
    sample = (np.random.default_rng(0).random((7, 2, 3)) < 0.4).astype(np.uint8)
    left = (Unproven("last", 1, 1, "never spikes"),)
    file = stored(Proof.of(sample, COUNTS, "NIR against torch: equal", left, POTENTIALS), tmp_path / "a.nir")
    found = Proof.read(file)
    assert found is not None
    np.testing.assert_array_equal(found.sample, sample)
    assert found.sample.dtype == sample.dtype
    assert (found.steps, found.samples, found.shape) == (7, 2, (7, 2, 3))
    assert found.rate == pytest.approx(sample.mean())
    assert {k: v.tolist() for k, v in found.spikes.items()} == {k: v.tolist() for k, v in COUNTS.items()}
    assert {k: v.tolist() for k, v in found.potentials.items()} == {k: v.tolist() for k, v in POTENTIALS.items()}
    assert found.statement == file.metadata["proof"] == "NIR against torch: equal"
    assert found.unproven == left
    assert not found.sample.flags.writeable
    assert RECORD not in file.metadata  # one line for each entry there


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sample=st.sampled_from(["?", "u1", "i1", "<i2", ">i4", "<i8", "<f2", "<f4", ">f8"]).flatmap(
        lambda kind: arrays.arrays(
            np.dtype(kind),
            st.tuples(*[st.integers(1, 4)] * 3),
            elements={"allow_nan": False, "allow_infinity": False} if "f" in kind else None,
        )
    ),
    binary=st.booleans(),
)
def test_any_sample_comes_back_bit_for_bit(tmp_path, sample, binary) -> None:
    sample = (np.asarray(sample) > 0).astype(sample.dtype) if binary else sample
    back = Proof.read(stored(Proof.of(sample, {}, "x"), tmp_path / "a.nir"))
    assert back is not None
    assert back.sample.astype(sample.dtype).tobytes() == sample.tobytes()
    assert back.sample.dtype == sample.dtype.newbyteorder("=")
    assert back.digest == digest_of(sample)


def test_a_binary_sample_takes_a_bit_for_each_entry_and_a_large_one_is_left_out(tmp_path, monkeypatch) -> None:
    sample = (np.random.default_rng(0).random((100, 4, 1000)) < 0.5).astype(np.float64)
    path = tmp_path / "a.nir"
    stored(Proof.of(sample, {}, "x"), path)
    assert path.stat().st_size < sample.size / 4
    monkeypatch.setattr(proof, "LARGEST", sample.size // 8 - 1)
    found = Proof.read(stored(Proof.of(sample, {}, "x"), path))
    assert found is not None
    assert (found.sample, found.shape, found.digest) == (None, (100, 4, 1000), digest_of(sample))


def test_a_file_without_a_proof_has_none(tmp_path) -> None:
    assert Proof.read(nir_file.read(write(graph(), tmp_path / "a.nir"))) is None


BAD = {
    "shape": [np.array([7, 2]), np.array([7, 2, -3]), np.array([1 << 40, 1 << 40, 3]), np.array([7.5, 2, 3]), "x"],
    "digest": ["0" * 64],
    "rate": [7.0, "often", np.array([0.1, 0.2]), float("nan")],
    "populations": ["{", "[[3, 3]]", '[["a", 2]]', '[["a", -1]]', '[["a", 1e99]]', "[" * 5000, 3],
    "spikes": [np.array([-1, 0, 7, 2]), np.array([0.5, 0, 0, 1]), np.array([1])],
    "potentials": [np.array([np.inf, 0.0]), np.array([1.0]), np.ones((2, 1)), "x"],
    "readouts": ["[[3, 3]]", '[["a", 1]]', '[["a", 3]]', 7],
    "unproven": ["[1]", '[{"layer": "a"}]', "nothing"],
    "type": ["O", "M8", "c16", "?!", "f4"],
    "binary": [0, "x"],
    "sample": [np.zeros(3, np.uint8), np.zeros((2, 2), np.uint8), np.ones(30)],
}


@pytest.mark.parametrize("key", BAD)
def test_a_damaged_proof_is_one_message(tmp_path, key) -> None:
    sample = (np.random.default_rng(0).random((7, 2, 3)) < 0.4).astype(np.uint8)
    for value in (*BAD[key], None):
        whole = graph()
        Proof.of(sample, COUNTS, "x", potentials=POTENTIALS).store(whole)
        record = section_of(whole)[RECORD]
        if value is None:
            del record[key]
        else:
            record[key] = value
        if key == "sample" and value is None:
            continue  # a large sample is left out
        file = nir_file.read(write(whole, tmp_path / "a.nir")) if not _nan(value) else _file(whole, tmp_path)
        with pytest.raises(InvalidInputError, match=r"a\.nir.*damaged proof"):
            Proof.read(file)


def _nan(value: object) -> bool:
    return isinstance(value, float) and np.isnan(value)


def _file(whole: nir.NIRGraph, folder) -> nir_file.NirFile:
    nir.write(folder / "a.nir", whole)
    return nir_file.read(folder / "a.nir")


def test_a_proof_that_is_no_group_or_without_its_sentence(tmp_path) -> None:
    for change in ({RECORD: "yes"}, {"proof": 3}):
        whole = graph()
        Proof.of(np.ones((1, 1, 3)), {}, "x").store(whole)
        whole.metadata = {"neurodeploy": {**section_of(whole), **change}}
        with pytest.raises(InvalidInputError, match="damaged proof"):
            Proof.read(nir_file.read(write(whole, tmp_path / "a.nir")))


def test_export_stores_the_sample_and_who_spiked(tmp_path) -> None:
    snntorch = pytest.importorskip("snntorch")
    torch.manual_seed(0)
    layers = [nn.Linear(6, 5), snntorch.Leaky(beta=0.9, init_hidden=True), nn.Linear(5, 3)]
    module = nn.Sequential(*layers, snntorch.Leaky(beta=0.8, threshold=0.2, init_hidden=True))
    for part in (module[0], module[2]):
        part.weight.data *= 3
    sample = (np.random.default_rng(1).random((20, 3, 6)) < 0.5).astype(np.uint8)
    pairs = export_proven(module, sample, None, tmp_path / "a.nir").pairs
    found = Proof.read(nir_file.read(tmp_path / "a.nir"))
    assert found is not None
    np.testing.assert_array_equal(found.sample, sample)
    assert {name: len(counts) for name, counts in found.spikes.items()} == {"1": 5, "3": 3}
    assert {name: int(n.sum()) for name, n in found.spikes.items()} == {
        name: spikes for name, (spikes, _, _) in pairs[1].per_layer.items()
    }
    assert json.dumps(found.statement)
