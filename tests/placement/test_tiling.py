"""A mapping from a table: Intel's PilotNet tiling where it is at hand, small ones by hand, refusals by their text."""

from pathlib import Path

import numpy as np
import pytest

from neurodeploy.compiler import CompileOptions, compile, limits_of
from neurodeploy.errors import DoesNotFitError, InvalidInputError
from neurodeploy.hwsim import engine
from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.hwsim.counts.counts import count
from neurodeploy.hwsim.prices.pricing import price
from neurodeploy.lowering import lava_dl
from neurodeploy.placement.place import Place
from neurodeploy.placement.tiling import Tiling
from neurodeploy.program.limits import Limits
from tests.placement.test_place import chain, conv_net

PILOTNET = Path(__file__).parents[3] / "shared" / "data" / "loihi2-pilotnet-lif"
HEADER = "layer_from_output,Cores,shape_per_core\n"


def table(tmp_path: Path, rows: str) -> Tiling:
    path = tmp_path / "tiles.csv"
    path.write_text(HEADER + rows)
    return Tiling.read(path)


def test_tiles_by_hand(tmp_path: Path) -> None:
    """From the output: b in 2 tiles of 6 columns, a in 4 of 12 x 6 with half of the channels, the input on one core."""
    rows = 'b,2,"Conv(6,12,8)"\na,4,"Conv(12,6,4)"\nin,1,"Conv(12,12,2)"\n'
    program = Place(Limits("big", 128, 4096), tiling=table(tmp_path, rows)).apply(conv_net())
    np.testing.assert_array_equal(program.core_of["in"], 0)
    a = program.core_of["a"].reshape(8, 12, 12)
    assert [int(a[c, y, 0]) for c in (0, 4) for y in (0, 6)] == [1, 2, 3, 4]
    b = program.core_of["b"].reshape(8, 12, 12)
    assert (b[:, :, :6] == 5).all()
    assert (b[:, :, 6:] == 6).all()
    x = (np.random.default_rng(0).random((6, 2, 2, 12, 12)) < 0.2).astype(np.uint8)
    counts = count(program, engine.run(program, {"": x}), load_architecture("loihi1"))
    assert counts.fabric["host_messages"].sum() == 0, "the input lives on a core"
    assert counts.core["events_out"][0].sum() == x.sum()


def test_rows_that_name_no_layer_go_by_their_order(tmp_path: Path) -> None:
    program = Place(Limits("big", 128, 4096), tiling=table(tmp_path, "last,1,\nfirst,3,\n")).apply(chain(4, 10, 7))
    assert [len(p) for p in np.array_split(np.arange(10), 3)] == np.bincount(program.core_of["l0"]).tolist()
    assert (program.core_of["l1"] == 3).all()


def refusal(tmp_path: Path, rows: str, network=None, error=InvalidInputError) -> str:
    with pytest.raises(error) as caught:
        Place(Limits("small", 128, 600), tiling=table(tmp_path, rows)).apply(network or chain(4, 10, 7))
    return str(caught.value)


def test_refusals(tmp_path: Path) -> None:
    assert "line 2: not a layer" in refusal(tmp_path, "l1,none,\n")
    assert "line 3: not a layer" in refusal(tmp_path, 'l1,1,\nl0,1,"Conv(3)"\n')
    assert "no layer has this name\n  found:   'only'\n  allowed: in, l0, l1" in refusal(tmp_path, "only,1,\n")
    assert "has a tile, but is no image" in refusal(tmp_path, 'l1,1,"Conv(1,1,1)"\nl0,1,\n')
    assert "fewer neurons than cores" in refusal(tmp_path, "l1,8,\nl0,1,\n", error=DoesNotFitError)
    rows = 'b,3,"Conv(6,12,8)"\na,1,"Conv(12,12,8)"\n'
    assert "do not give the number of cores" in refusal(tmp_path, rows, conv_net())
    rows = 'b,2,"Conv(6,12,8)"\na,1,"Conv(12,12,8)"\n'
    text = refusal(tmp_path, rows, conv_net(), DoesNotFitError)
    assert "tile 1, of a, needs 1,152 neurons on a core that has 600 neurons\n  to do:   split it" in text
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InvalidInputError, match="is not a table of tiles"):
        Tiling.read(tmp_path / "x.csv")


WRONG = {
    "misspelt": ("l1,1,\nl00,1,\n", "line 3: no layer has this name", "'l00'; did you mean l0"),
    "misspelt twice": ("l11,1,\nl00,1,\n", "line 2: no layer has this name", "'l11'; did you mean l1"),
    "in another order": ("l0,1,\nlast,1,\n", "line 3: no layer has this name", "'last'"),
    "one too many": ("l1,1,\nl0,1,\nl2,1,\n", "line 4: no layer has this name", "'l2'"),
    "twice": ("l1,1,\nl1,1,\n", "the layer 'l1' stands twice", "'l1' in line 2, 'l1' in line 3"),
    "twice, and all": ("l1,1,\nl0,2,\nl0,1,\n", "the layer 'l0' stands twice", "'l0' in line 3, 'l0' in line 4"),
    "missing": ("l1,1,\n", "does not match the layers", "no row for l0"),
    "negative": ("l1,1,\nl0,-2,\n", "line 3: not a layer (column Cores)", "l0, -2, no tile"),
    "fraction": ("l1,1.5,\nl0,1,\n", "line 2: not a layer (column Cores)", "l1, 1.5, no tile"),
    "none": ("l1,0,\nl0,1,\n", "line 2: not a layer (column Cores)", "l1, 0, no tile"),
    "beyond all": (f"l1,{'9' * 5000},\nl0,1,\n", "line 2: not a layer (column Cores)", "l1, 999"),
    "empty tile": ('l1,1,\nl0,1,"Conv(0,1,1)"\n', "line 3: not a layer (column shape_per_core)", "Conv(0,1,1)"),
    "commas": ("l1,1,Conv(1,2,3)\nl0,1,\n", "line 2: not a layer (column shape_per_core)", "Conv(1"),
    "no name": (",1,\nl0,1,\n", "line 2: not a layer (column layer_from_output)", "no name"),
    "no rows": ("", "has no rows", ""),
}


@pytest.mark.parametrize("kind", WRONG)
def test_each_wrong_row_is_named_by_its_line(kind: str, tmp_path: Path) -> None:
    rows, what, found = WRONG[kind]
    said = refusal(tmp_path, rows)
    assert what in said and found in said and "Traceback" not in said


def test_rows_that_ask_for_too_much(tmp_path: Path) -> None:
    said = refusal(tmp_path, "l1,8,\nl0,1,\n", error=DoesNotFitError)
    assert "line 2: layer 'l1' has fewer neurons than cores\n  found:   7 neurons, 8 cores" in said
    said = refusal(tmp_path, "l1,100,\nl0,100,\n", chain(4, 200, 200), DoesNotFitError)
    assert "needs 200 cores" in said and "128 cores" in said


@pytest.mark.parametrize("header", ["layer,Cores,shape_per_core", "layer_from_output,cores,shape_per_core", "",
                                    "layer_from_output,Cores,Cores,shape_per_core"])  # fmt: skip
def test_a_wrong_header_is_said(header: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"{header}\nl1,1,\nl0,1,\n")
    with pytest.raises(InvalidInputError, match="is not a table of tiles") as caught:
        Tiling.read(tmp_path / "t.csv")
    assert "column" in str(caught.value.found) and "layer_from_output" in str(caught.value.allowed)


def test_two_chips_count_what_goes_between_them() -> None:
    """Ten neurons on one chip and seven on the next: every spike of the first is one message between them."""
    arch = load_architecture("loihi1")
    network = chain(4, 10, 7)
    program = Place(Limits("loihi1", 1, 10), chips=2).apply(network)
    apart = {name: (cores * 128).astype(np.int32) for name, cores in program.core_of.items()}
    from dataclasses import replace

    program = replace(program, core_of=apart)
    recording = engine.run(program, {"": np.ones((20, 1, 4), np.uint8)})
    counts = count(program, recording, arch)
    spikes = len(recording.spikes["l0"])
    assert spikes > 5
    assert counts.fabric["between_chips"].sum() == spikes
    assert counts.fabric["hops_east_west"].sum() == counts.fabric["within_tile"].sum() == 0
    missing = {m.component: m.count for m in price(counts, arch).missing}
    assert missing["between_chips"] == spikes


@pytest.mark.skipif(not PILOTNET.is_dir(), reason="the recordings are not part of the product")
def test_pilotnet_on_the_74_cores_of_intels_compiler() -> None:
    arch = load_architecture("loihi2")
    tiling = Tiling.read(PILOTNET / "mapping_cores.csv")
    program = compile(PILOTNET / "network.net", arch, CompileOptions(tiling=tiling)).program
    assert len(program.cores) == 74
    network = lava_dl.read_net(PILOTNET / "network.net")
    # mapping_cores.csv, column Neurons_per_core: the largest core of each layer that has tiles.
    for name, most in {
        "input": 3168,
        "conv1": 3072,
        "conv2": 2160,
        "conv3": 2688,
        "conv4": 2048,
        "conv5": 2048,
    }.items():
        population = next(p for p in network.populations if p.name.startswith(name) and p.name in program.core_of)
        assert np.bincount(program.core_of[population.name]).max() == most, name
    free = compile(PILOTNET / "network.net", arch).program
    assert len(free.cores) <= 74
    for use in free.use:
        assert use.neurons <= limits_of(arch).neurons
        assert use.synapse_bytes <= (limits_of(arch).synapse_bytes or 0)
