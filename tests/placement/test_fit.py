"""Networks that do not fit, and what the user is told: golden texts, and that following the advice helps.

After a deliberate change of a text: ``NEURODEPLOY_GOLDEN=write python -m pytest tests/placement/test_fit.py``, and read
the diff.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import nir
import numpy as np
import pytest
import yaml

from neurodeploy.cli import main
from neurodeploy.compiler import limits_of
from neurodeploy.hwsim.chips.arch import FOLDER, load_architecture
from neurodeploy.placement import fit
from neurodeploy.placement.place import Place
from neurodeploy.program.limits import Limits
from tests import nirgraphs
from tests.networks import random_network
from tests.placement.test_place import chain, conv_net

GOLDEN = Path(__file__).parents[1] / "golden"


def neuron(*shape: int, **metadata) -> nir.IF:
    node = nir.IF(np.ones(shape), np.ones(shape), np.zeros(shape))
    node.metadata = {"neurodeploy": metadata} if metadata else {}
    return node


def linear(inputs: int, outputs: int, value: float = 0.1) -> nir.Linear:
    return nir.Linear(np.full((outputs, inputs), value))


def conv(size: int, c_in: int, c_out: int, kernel: int = 1) -> nir.Conv2d:
    weights = np.full((c_out, c_in, kernel, kernel), 0.1)
    return nir.Conv2d((size, size), weights, 1, kernel // 2, 1, 1, np.zeros(c_out))


def too_many_neurons(folder: Path):
    return nirgraphs.sequence((1, 150, 150), {"conv1": conv(150, 1, 8), "lif1": neuron(8, 150, 150)}), []


def too_many_cores(folder: Path):
    """A chip with two cores: 512 x 600 synapses are 300 KiB, three cores."""
    content = yaml.safe_load((FOLDER / "loihi1.yaml").read_text())
    for key, value in (("columns", 1), ("rows", 1), ("cores_per_tile", 2)):
        content["mesh"][key]["value"] = value
    content["name"], content["barrier"]["tiles"], content["barrier"]["latency"] = "small", [1], [113]
    (folder / "small.yaml").write_text(yaml.safe_dump(content))
    return nirgraphs.sequence((512,), {"fc": linear(512, 600), "lif": neuron(600)}), ["--chip", folder / "small.yaml"]


def one_neuron_needs_too_much_memory(folder: Path):
    return nirgraphs.sequence((140_000,), {"fc": linear(140_000, 1), "lif": neuron(1)}), ["--chip", "loihi2"]


def one_neuron_hears_too_many(folder: Path):
    return nirgraphs.sequence((5_000,), {"fc": linear(5_000, 3), "lif": neuron(3)}), []


def a_core_sends_to_too_many(folder: Path):
    """1,000 neurons on a core, each to all six cores of the next layer; a table says so, else it would be cut."""
    nodes = {"fc1": linear(4, 1000), "lif1": neuron(1000), "fc2": linear(1000, 700), "lif2": neuron(700)}
    (folder / "tiles.csv").write_text("layer_from_output,Cores,shape_per_core\nlif2,6,\nlif1,1,\n")
    return nirgraphs.sequence((4,), nodes), ["--tiling", folder / "tiles.csv"]


def a_tile_is_too_large(folder: Path):
    """115 kernels of 160 x 3 x 3 are 162 KiB."""
    nodes = {"conv2": conv(4, 160, 115, 3), "lif": neuron(115, 4, 4)}
    (folder / "tiles.csv").write_text('layer_from_output,Cores,shape_per_core\nlif,1,"Conv(4,4,115)"\n')
    return nirgraphs.sequence((160, 4, 4), nodes), ["--tiling", folder / "tiles.csv", "--chip", "loihi2"]


def a_delay_is_too_long(folder: Path):
    nodes = {
        "fc1": linear(4, 5), "lif1": neuron(5), "delay": nir.Delay(np.full(5, 0.1)), "fc2": linear(5, 3),
        "lif2": neuron(3),
    }  # fmt: skip
    return nirgraphs.sequence((4,), nodes), []


def a_threshold_vanishes(folder: Path):
    small = nir.IF(np.ones(3), np.full(3, 1e-6), np.zeros(3))
    return nirgraphs.sequence((4,), {"fc": linear(4, 3, 5.0), "lif": small}), []


def weights_too_far_apart(folder: Path):
    graph = nirgraphs.sequence((4,), {"fc": linear(4, 3, 1e-6), "lif": neuron(3)})
    graph.nodes["rec"] = linear(3, 3, -60.0)
    graph.edges += [("lif", "rec"), ("rec", "lif")]
    return graph, []


def spikes_with_numbers(folder: Path):
    nodes = {"fc1": linear(4, 5), "lif1": neuron(5, reset="subtract", max_spikes=7), "fc2": linear(5, 3)}
    return nirgraphs.sequence((4,), nodes | {"lif2": neuron(3)}), []


def a_readout_that_feeds_on(folder: Path):
    li = nir.LI(np.full(3, 1e-2), np.ones(3), np.zeros(3))
    return nirgraphs.sequence((4,), {"fc": linear(4, 3), "li": li, "fc2": linear(3, 2), "lif": neuron(2)}), []


def three_things_at_once(folder: Path):
    nodes = {
        "fc1": linear(5_000, 5), "lif1": neuron(5), "delay": nir.Delay(np.full(5, 0.2)), "fc2": linear(5, 3),
        "lif2": neuron(3), "fc3": linear(3, 140_000), "lif3": neuron(140_000),
    }  # fmt: skip
    return nirgraphs.sequence((5_000,), nodes), []


CASES = [
    too_many_neurons, too_many_cores, one_neuron_needs_too_much_memory, one_neuron_hears_too_many,
    a_core_sends_to_too_many, a_tile_is_too_large, a_delay_is_too_long, a_threshold_vanishes, weights_too_far_apart,
    spikes_with_numbers, a_readout_that_feeds_on, three_things_at_once,
]  # fmt: skip


def compiled(case, folder: Path, capsys: pytest.CaptureFixture[str], *more: object) -> tuple[int, str, str]:
    graph, options = case(folder)
    path = nirgraphs.write(graph, folder / "net.nir")
    output = folder / "net.ndp"
    arguments = ["compile", path, "--dt", 1e-3, "--reset", "hard", "--comparison", ">", "-o", output]
    if case is spikes_with_numbers:
        arguments = ["compile", path, "--dt", 1e-3, "-o", output]
    code = main([str(a) for a in (*arguments, *options, *more)])
    found = capsys.readouterr()
    assert output.exists() == (code == 0), "nothing half-written"
    return code, found.out, found.err.replace(str(folder), "FOLDER")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_what_the_user_reads(case, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, text = compiled(case, tmp_path, capsys)
    assert code == 2
    golden = GOLDEN / f"{case.__name__}.txt"
    if os.environ.get("NEURODEPLOY_GOLDEN") == "write":
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text()
    assert "to do" in text


@pytest.mark.parametrize(
    ("case", "remedy"),
    [
        (too_many_neurons, ["--chips", 2]),
        (too_many_cores, ["--chips", 2]),
        (spikes_with_numbers, ["--chip", "loihi2"]),
        (a_readout_that_feeds_on, ["--chip", "loihi2"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_following_the_advice_helps(case, remedy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    advice = (GOLDEN / f"{case.__name__}.txt").read_text()
    assert " ".join(map(str, remedy)) in advice
    code, _, text = compiled(case, tmp_path, capsys, *remedy)
    assert code == 0, text


def test_two_chips_have_twice_the_cores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """180,000 neurons at 1,024 a core need 176 cores."""
    _, out, _ = compiled(too_many_neurons, tmp_path, capsys, "--chips", 2)
    assert "on 2 x Intel Loihi (first generation): 176 of 256 cores" in " ".join(out.split())


def test_a_table_with_the_tiles_that_are_advised_helps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """6,000 output axons are two cores' worth: one row says 2 where it said 1."""
    advice = (GOLDEN / "a_core_sends_to_too_many.txt").read_text()
    assert "split it over 2 cores (tiles of up to 500 neurons)" in advice

    def split(folder: Path):
        graph, options = a_core_sends_to_too_many(folder)
        (folder / "tiles.csv").write_text((folder / "tiles.csv").read_text().replace("lif1,1", "lif1,2"))
        return graph, options

    code, _, text = compiled(split, tmp_path, capsys)
    assert code == 0, text


def test_pruning_as_much_as_advised_helps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The tile of 162 KiB wants 21 % less: 91 of 115 kernels."""
    assert "prune 21 %" in (GOLDEN / "a_tile_is_too_large.txt").read_text()
    kept = int(115 * 0.79)

    def pruned(folder: Path):
        nodes = {"conv2": conv(4, 160, kept, 3), "lif": neuron(kept, 4, 4)}
        (folder / "tiles.csv").write_text(f'layer_from_output,Cores,shape_per_core\nlif,1,"Conv(4,4,{kept})"\n')
        return nirgraphs.sequence((160, 4, 4), nodes), ["--tiling", folder / "tiles.csv", "--chip", "loihi2"]

    code, _, text = compiled(pruned, tmp_path, capsys)
    assert code == 0, text


def test_explain_shows_what_does_not_fit_and_still_exits_with_2(tmp_path: Path, capsys) -> None:
    code, out, err = compiled(three_things_at_once, tmp_path, capsys, "--explain")
    assert code == 2
    assert "NO" in out
    assert "what fits" in out
    assert sum("│ NO" in line for line in out.splitlines()) == 3
    assert "delay" in out
    assert "for 3 reasons" in err


def test_explain_of_a_network_that_fits(tmp_path: Path, capsys) -> None:
    def fits(folder: Path):
        return nirgraphs.sequence((12,), {"fc1": linear(12, 20), "lif1": neuron(20)}), ["--explain"]

    code, out, _ = compiled(fits, tmp_path, capsys)
    assert code == 0
    assert "NO" not in out
    assert "quantise lif1" in out
    assert "dense" in out
    code, out, _ = compiled(fits, tmp_path, capsys, "--json")
    explained = json.loads(out)["explained"]
    assert explained["fits"] is True
    memory = next(n for n in explained["needs"] if n["limit"] == "synapse memory")
    assert (memory["need"], memory["have"], memory["layer"]) == (240, 131072, "lif1")


def test_needs_by_hand() -> None:
    limits = Limits("tiny", 3, 50, synapse_bytes=1000, axons_in=15, thresholds=1)
    found = {(n.layer, n.limit): n for n in fit.needs(chain(10, 60, 20), limits)}
    assert found["l0", "neurons"].need == 60
    assert found["l0", "synapse memory"].need == 600
    assert found["l1", "synapse memory"].need == 1200
    assert "over 2 cores of up to 10 neurons" in found["l1", "synapse memory"].note
    assert found["l1", "input axons for one neuron"].need == 60
    assert not found["l1", "input axons for one neuron"].fits
    assert found["", "neurons"].need == 80
    assert found["", "neurons"].have == 150


@pytest.mark.parametrize("seed", range(20))
def test_what_fits_is_placed_and_what_no_core_holds_is_not(seed: int) -> None:
    """The needs agree with placement: whatever they let through can be placed, neuron by neuron if need be."""
    network = random_network(seed)
    rng = np.random.default_rng(seed)
    limits = Limits("random", 5000, int(rng.integers(1, 20)), int(rng.integers(20, 3000)), int(rng.integers(5, 200)))
    found = fit.needs(network, limits)
    if all(need.fits for need in found):
        program = Place(limits).apply(network)
        assert all(u.synapse_bytes <= limits.synapse_bytes for u in program.use)
    else:
        with pytest.raises(ValueError, match="needs more"):
            Place(limits).apply(network)


def test_a_convolution_counts_as_its_expansion() -> None:
    network = conv_net()
    expanded = network.projections[1].connectivity.to_csr()
    rows = fit.needs(network, Limits("x", 9, 5000, 10**9, 10))
    worst = next(n for n in rows if n.layer == "b" and n.limit == "input axons for one neuron")
    assert worst.need == int(np.bincount(expanded.indices).max())


def test_every_shipped_chip_gives_limits() -> None:
    for name in ("loihi1", "loihi2"):
        limits = limits_of(load_architecture(name))
        assert limits.chip == name
        assert limits.payload_bits is not None
