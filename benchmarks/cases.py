"""Small reproductions of other people's bug reports, each through the command line: the right value, or a refusal.

    python benchmarks/cases.py FOLDER [NAME ...]

FOLDER holds one folder a case (``01-snntorch-own-nir``, ..., ``hostile``) with its files; without it there is nothing
to do. Prints a line a case, and exits with 1 if one is neither right nor refused as it should be. What a case needs
and this machine lacks (a package from the network, say) is named and skipped.
"""

from __future__ import annotations

import argparse
import os
import re
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bench import ROOT, Bench, Skipped


def snntorch_own_file(b: Bench) -> str:
    for how in (["--as", "snntorch"], ["--dt", "1e-4", "--reset", "subtract", "--reset-time", "next"]):
        b.made("compile", "snnt.nir", *how, "--float", "--chip", "none", "-o", "s.ndp")
        found = b.made("run", "s.ndp", "-i", "x.npy", "--json").json()["spikes"]
        for name, count in b.expected["spikes"].items():
            assert found[name] == count, f"{how}: {name} spikes {found[name]} times, not {count}"
    plain = b.run(
        "compile", "snnt.nir", "--dt", "1e-4", "--reset", "subtract", "--float", "--chip", "none", "-o", "p.ndp"
    )
    advice = b.run("inspect", "snnt.nir", "--dt", "1e-4").text
    assert plain.refused or "snntorch" in plain.text.lower() or "--as snntorch" in advice, "no word of --as snntorch"
    return f"--as snntorch: {b.expected['spikes']}"


def delay_between_steps(b: Bench) -> str:
    b.python("make_x.py")
    for ran in (b.run("compile", "d_half.nir", "--dt", "1e-3", "--chip", "none", "-o", "d.ndp"),
                b.run("verify", "d_half.nir", "--dt", "1e-3", "-i", "x.npy", "--chip", "none")):  # fmt: skip
        named = "'d'" in ran.text and all(d in ran.text for d in ("2.5", "1.5", "0.5"))
        assert ran.refused and named, ran.text
    return "refused, with each delay"


def current_wraps(b: Bench) -> str:
    b.python("make.py")
    own = np.array(b.expected["own_spikes_per_neuron"])
    said = []
    for calibration in ([], ["--calibration", "x.npy"]):
        compiled = b.made("compile", "burst.nir", "--dt", "1e-3", "--chip", "none", *calibration, "-o", "b.ndp")
        ran = b.made("run", "b.ndp", "-i", "x.npy", "-o", "b.npz")
        found = b.spikes("b.npz", "l", (60, 2, 4)).sum((0, 1))
        warned = "wrap" in ran.text or "wrap" in compiled.text
        right = (np.abs(found - own) <= 1).all()
        assert right or warned, f"{found} without a word of a wrap"
        said.append(f"{found.tolist()}{', warned' if 'warning' in ran.text else ''}")
    return f"own {own.tolist()}, integers {'; calibrated '.join(said)}"


def _exports(b: Bench, names: list[str], shape: str) -> dict[str, str]:
    found = {}
    for name in names:
        ran = b.run("export", f"m.py:{name}", "--shape", shape, "-o", f"{name}.nir", "--json")
        if ran.code == 0:
            pairs = ran.json()["pairs"]
            found[name] = "equal" if all(p["verdict"] == "equal" for p in pairs) else "NOT EQUAL"
        else:
            found[name] = "refused" if ran.refused else f"exit {ran.code}: {ran.text[-200:]}"
    return found


def weights_from_parameters(b: Bench) -> str:
    found = _exports(b, ["net", "masked"], "20")
    assert set(found.values()) == {"equal"}, found
    return str(found)


def checkpoint_wrappers(b: Bench) -> str:
    b.python("m.py")
    found = {}
    words = {"plain": "", "net_key": "net", "dataparallel": "module.", "compiled": "_orig_mod."}
    for name, word in words.items():
        ran = b.run("export", "m.py:Net", "--checkpoint", f"{name}.pt", "--shape", "20", "-o", f"{name}.nir")
        assert ran.code == 0 or (ran.refused and word and word in ran.text), f"{name}: {ran.text[-300:]}"
        found[name] = "taken" if ran.code == 0 else "refused by name"
    assert found["plain"] == "taken"
    return str(found)


def pooling_variants(b: Bench) -> str:
    found = _exports(b, ["pad", "nopad", "ceil", "div"], "2,7,7")
    assert found["pad"] == "equal" and set(found.values()) <= {"equal", "refused"}, found
    return str(found)


def convert_upsample(b: Bench) -> str:
    np.save(b.work / "c.npy", np.random.default_rng(0).random((40, 1, 8, 8)).astype(np.float32))
    ran = b.run("convert", "m_ann.py:Cat", "--calibration", "c.npy", "-o", "cat.nir")
    assert ran.code == 0 or (ran.refused and "to do" in ran.text), ran.text[-400:]
    return "converted" if ran.code == 0 else "refused with what to do"


def affine_readout(b: Bench) -> str:
    download = [sys.executable, "-m", "pip", "download", "-q", "--ignore-requires-python", "--no-deps"]
    download += ["--no-binary", ":all:", "lava-dl==0.4.0", "-d", str(b.work)]
    subprocess.run(download, capture_output=True, check=False, timeout=300)
    archive = next(iter(b.work.glob("lava*dl-0.4.0.tar.gz")), None)
    if archive is None:
        raise Skipped("the source package lava-dl 0.4.0 cannot be downloaded here")
    with tarfile.open(archive) as held:
        member = next(m for m in held.getmembers() if m.name.endswith("bootstrap/mnist/Trained/network.net"))
        content = held.extractfile(member)
        assert content is not None
        (b.work / "network.net").write_bytes(content.read())
    ran = b.run("compile", "network.net", "--chip", "none", "-o", "n.ndp", "--json")
    if ran.code == 0:
        return "compiled, a read-out at the end"
    assert ran.refused and "affine" in ran.text.lower() and "output" in ran.text.lower(), ran.text
    return "refused as an affine output layer"


def output_size(b: Bench) -> str:
    for file in ("m_in.nir", "m_out.nir"):
        for command in (["inspect", file, "--dt", "1e-3"], ["compile", file, "--dt", "1e-3", "-o", "m.ndp"]):
            ran = b.run(*command)
            assert ran.refused or (ran.code == 0 and "repaired" in ran.text), f"{command}: {ran.text}"
    return "refused or repaired, said"


def intel_recording(b: Bench) -> str:
    x = b.array("x.npy")
    np.save(b.work / "x3.npy", x if x.ndim > 2 else x[:, None])
    b.made("compile", "tiny_tail.net", "--chip", "none", "-o", "t.ndp")
    b.made("run", "t.ndp", "-i", "x3.npy", "-o", "t.npz")
    held = np.load(b.work / "t.npz")
    layers = dict.fromkeys(key.split("/")[1] for key in held.files if key.startswith("spikes/"))
    sizes = {}
    for expected in ("conv1", "conv2"):
        want = b.array(f"{expected}.npy")
        want = want.reshape(len(want), -1)
        off = {}
        for name in layers:
            try:
                got = b.spikes("t.npz", name, (len(x), 1, want.shape[1]))[:, 0]
            except IndexError:
                continue
            off[name] = min(
                int((got[lag:][: len(want)] != want[: len(got) - lag]).sum())
                for lag in range(max(len(x) - len(want), 0) + 1)
            )
        assert min(off.values()) == b.expected["differ"], f"{expected}: {off}"
        sizes[expected] = int(want.sum())
    assert sizes == {k: b.expected[k] for k in sizes}, sizes
    return f"{sizes}, 0 differ"


def self_spiking(b: Bench) -> str:
    found = []
    for dt, count, first in zip(b.expected["dt"], b.expected["spikes"], b.expected["first"], strict=True):
        steps = round(0.3 / dt)
        import nir

        (name,) = (
            n for n, node in nir.read(b.work / "two_lif_neurons.nir").nodes.items() if type(node).__name__ == "Input"
        )
        size = int(np.prod(nir.read(b.work / "two_lif_neurons.nir").nodes[name].output_type["output"]))
        np.save(b.work / "z.npy", np.zeros((steps, 1, size), np.uint8))
        for numbers in (["--float"], []):
            b.made("compile", "two_lif_neurons.nir", "--dt", dt, *numbers, "--chip", "none", "-o", "l.ndp")
            b.made("run", "l.ndp", "-i", "z.npy", "-o", "l.npz")
            times = np.load(b.work / "l.npz")["spikes/lif1/time"]
            assert (len(times), int(times[0])) == (count, first), f"dt {dt}: {len(times)} spikes, first at {times[:1]}"
        found.append(count)
    return f"{found} spikes in floats and integers"


def braille_file(b: Bench) -> str:
    file, activity = "braille_noDelay_noBias_subtract.nir", b.array("norse_activity.npy")
    x = b.array("x.npy")
    x = x if x.ndim > 2 else x[:, None]
    np.save(b.work / "x3.npy", x)
    found = {}
    for reset in ("hard", "subtract"):
        b.made("compile", file, "--dt", "1e-4", "--reset", reset, "--float", "--chip", "none", "-o", "b.ndp")
        counts = b.made("run", "b.ndp", "-i", "x3.npy", "-o", f"{reset}.npz", "--json").json()["spikes"]
        hidden = next(n for n in counts if np.load(b.work / f"{reset}.npz")[f"spikes/{n}/neuron"].max(initial=0) > 11)
        found[reset] = counts[hidden]
        if reset == "hard":
            got = b.spikes("hard.npz", hidden, (len(x), x.shape[1], activity.shape[-1]))[:, 0]
            assert (got != activity.reshape(got.shape)).sum() == b.expected["hard_differs_from_norse"]
    assert found == {"hard": b.expected["hard_hidden"], "subtract": b.expected["subtract_hidden"]}, found
    return f"{found}, 0 differ from norse"


def operations_by_loop(b: Bench) -> str:
    text = (b.work / "make.py").read_text().replace('ND="neurodeploy"', f'ND="{sys.executable} -m neurodeploy"')
    (b.work / "make.py").write_text(text)
    ran = b.python("make.py")
    totals = re.findall(r"^(\w+) own conv \d+ dense \d+ total (\d+)", ran.out, re.MULTILINE)
    assert len(totals) == 6, ran.text[-500:]
    # The last variant's network and input are still there: its counts are per sample, of two.
    found = b.made("cost", "c.ndp", "-i", "c_x.npy", "--json").json()
    name, total = totals[-1]
    assert found["per"] == "sample"
    assert found["counts"]["total"]["sops"] * 2 == int(total), (
        f"{name}: {found['counts']['total']['sops']} x 2, not {total}"
    )
    return f"{name}: {total} operations, counted {found['counts']['total']['sops']:g} for each of 2 samples"


def huge_threshold(b: Bench) -> str:
    found = []
    for name in ("net", "inf"):
        ran = b.run("export", f"m.py:{name}", "--shape", "20", "-o", f"{name}.nir")
        ran = ran if ran.code else b.run("compile", f"{name}.nir", "--chip", "none", "-o", "n.ndp")
        assert ran.code == 0 or (ran.refused and "read-out" in ran.text), ran.text[-400:]
        found.append(f"{name}: {'a read-out' if ran.code == 0 else 'refused, proposes a read-out'}")
    return ", ".join(found)


def changes_with_time(b: Bench) -> str:
    ran = b.run("export", "m.py:net", "--shape", "2,6,6", "-o", "n.nir")
    assert ran.refused and "time" in ran.text and re.search(r"time-dependent|changes with time", ran.text), ran.text
    return "refused: a time-dependent forward"


def pool_behind_conv(b: Bench) -> str:
    x = (np.random.default_rng(0).random((20, 16, 1, 8, 8)) < 0.3).astype(np.uint8)
    np.save(b.work / "x.npy", x)
    found = {}
    for file, name in (("poolnet.py", "make"), ("cat.py", "N"), ("orders.py", "conv_bn_pool_lif"),
                       ("orders.py", "conv_lif_pool_fc"), ("orders.py", "conv_lif_pool_conv"),
                       ("orders.py", "conv_conv_lif"), ("orders.py", "pool_conv_lif"),
                       ("orders.py", "conv_gap_lif")):  # fmt: skip
        b.made("export", f"{file}:{name}", "--sample", "x.npy", "-o", "n.nir")
        ran = b.run("verify", "n.nir", "-i", "x.npy", "--chip", "none", "--backends", "reference,hwsim", "--json")
        pairs = ran.json()["pairs"]
        assert ran.code == 0 and pairs[0]["verdict"] == "equal", f"{name}: {pairs[0]}"
        before, after = pairs[1]["spikes"]
        assert abs(after - before) <= 0.15 * before, f"{name}: {before} spikes in floats, {after} in integers"
        found[name] = (before, after)
    assert found["make"][0] == b.expected["torch_spikes"], found
    return f"make: {found['make'][0]} and {found['make'][1]} spikes; {len(found)} orders within 15 %"


def labels_of_wrong_length(b: Bench) -> str:
    net, x, _ = b.net()
    for labels in (np.arange(5) % 4, np.eye(4, dtype=int)[np.arange(8) % 4]):
        np.save(b.work / "y.npy", labels)
        ran = b.run("compile", net, "--dt", "1e-3", "--calibration", x, "--labels", "y.npy", "-o", "n.ndp")
        assert ran.refused and "8" in ran.text, ran.text
    return "refused, both sizes named"


def unpublished_times(b: Bench) -> str:
    net, x, y = b.net()
    found = []
    for chip in ("paper-45nm", "spinnaker2"):
        b.made("compile", net, "--dt", "1e-3", "--chip", chip, "-o", "n.ndp")
        text, got = b.made("cost", "n.ndp", "-i", x).text, b.made("cost", "n.ndp", "-i", x, "--json").json()
        assert got["inference_ns"] is None and got["busiest_core"] is None, chip
        assert "not published" in text and "0.000 us" not in text and "busiest cores" not in text, text
        b.run(
            "verify",
            net,
            "--dt",
            "1e-3",
            "-i",
            x,
            "--labels",
            y,
            "--chip",
            chip,
            "--backends",
            "hwsim",
            "--results",
            "r.json",
        )
        b.made("report", "r.json", "-o", "r.html")
        page = (b.work / "r.html").read_text()
        assert "not published" in page and ">0 ns<" not in page, chip
        found.append(chip)
    return f"{', '.join(found)}: not published, null"


def own_chip_file(b: Bench) -> str:
    net, x, _ = b.net(neurons=40)
    (b.work / "small.yaml").write_text("extends: loihi1\nname: small\ntitle: A small chip\n")
    b.made("compile", net, "--dt", "1e-3", "--chip", "small.yaml", "-o", "small.ndp")
    b.made("cost", "small.ndp", "-i", x)
    return "the chip travels in the Program; " + _four_bits(b, net)


def _four_bits(b: Bench, net: str) -> str:
    """A chip file whose weights have 4 bits, written as the format says it (`docs/howto-add-a-chip.md`)."""
    import yaml

    from neurodeploy.hwsim.chips.arch import load_architecture
    from neurodeploy.network.connectivity import Connectivity
    from neurodeploy.program.program import Program

    shipped = ROOT / "hwsim" / "chips" / "archs" / "loihi1.yaml"
    chip = yaml.safe_load(shipped.read_text())

    def cut(node: Any) -> bool:
        for key, value in node.items() if isinstance(node, dict) else ():
            if key == "weight_bits":
                node[key] = {**value, "value": 4} if isinstance(value, dict) else 4
                return True
            if cut(value):
                return True
        return False

    assert cut(chip), "no chip file says weight_bits"
    chip["name"] = "four"
    (b.work / "four.yaml").write_text(yaml.safe_dump(chip))
    load_architecture(str(b.work / "four.yaml"))
    ran = b.run("compile", net, "--dt", "1e-3", "--chip", "four.yaml", "-o", "four.ndp")
    if ran.refused:
        return "4-bit weights refused"
    assert ran.code == 0, ran.text
    most = 0
    for p in Program.load(b.work / "four.ndp").network.projections:
        kind: Connectivity = p.connectivity
        for sign in (1, -1):
            most = max(most, len(np.unique(kind.weights[kind.weights * sign > 0])))
    assert most <= 16, f"{most} magnitudes of a sign"
    return f"4-bit weights: at most {most} magnitudes of a sign"


def without_lava(b: Bench) -> str:
    net, x, y = b.net()
    empty = b.work / "empty"
    empty.mkdir()
    ran = b.run(
        "verify", net, "--dt", "1e-3", "-i", x, "--labels", y, "--results", "r.json", NEURODEPLOY_HOME=str(empty)
    )
    assert ran.code == b.expected["exit"] and (b.work / "r.json").is_file(), ran.text
    assert "lava" in ran.text and "left out" in ran.text, ran.text
    return "exit 0, results written, Lava named as left out"


def hostile(b: Bench) -> str:
    net, x, _ = b.net()
    b.made("compile", net, "--dt", "1e-3", "-o", "ok.ndp")
    np.save(b.work / "x6.npy", np.ones((8, 2, 6), np.uint8))
    chip = "yaml_laughs_in_field.yaml"
    refused = [
        ["run", "oob.ndp", "-i", "x6.npy"], ["cost", "oob.ndp", "-i", "x6.npy"], ["run", "hdr_bomb_1GB.ndp", "-i", x],
        ["compile", net, "--dt", "1e-3", "--chip", chip, "-o", "n.ndp"],
        ["compile", net, "--dt", "1e-3", "--tiling", "csv_cores_uni.csv", "-o", "n.ndp"],
    ]  # fmt: skip
    for command in refused:
        begin = time.monotonic()
        ran = b.run(*command)
        assert ran.refused, f"{command}: exit {ran.code}: {ran.text[-300:]}"
        assert time.monotonic() - begin < 15, f"{command} took too long"
    for command in (["inspect", "gcol_quadratic_1MB.nir", "--dt", "1"], ["inspect", "name_ansi.nir", "--dt", "1e-3"],
                    ["report", "json_1e308.json", "-o", "r.html"],
                    ["report", "json_surrogate.json", "-o", "r.html"]):  # fmt: skip
        begin = time.monotonic()
        ran = b.run(*command)
        assert ran.code == 0 or ran.refused, f"{command}: exit {ran.code}: {ran.text[-300:]}"
        assert "Traceback" not in ran.text and "\x1b" not in ran.out + ran.err, command
        assert time.monotonic() - begin < 15, f"{command} took too long"
    os.mkfifo(b.work / "f")
    ran = b.run("compile", net, "--dt", "1e-3", "-o", "f")
    assert ran.refused and stat.S_ISFIFO((b.work / "f").stat().st_mode), ran.text
    (b.work / "target").write_text("")
    (b.work / "link").symlink_to("target")
    b.made("compile", net, "--dt", "1e-3", "-o", "link")
    assert (b.work / "link").is_symlink() and (b.work / "target").stat().st_size > 0
    return "refused or read, one message each; pipes stay, links are written through"


CASES: dict[str, Callable[[Bench], str]] = {
    "01": snntorch_own_file, "02": delay_between_steps, "03": current_wraps, "04": weights_from_parameters,
    "05": checkpoint_wrappers, "06": pooling_variants, "07": convert_upsample, "08": affine_readout, "09": output_size,
    "10": intel_recording, "11": self_spiking, "12": braille_file, "13": operations_by_loop, "14": huge_threshold,
    "15": changes_with_time, "16": pool_behind_conv, "17": labels_of_wrong_length, "18": unpublished_times,
    "19": own_chip_file, "20": without_lava, "hostile": hostile,
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help="beginnings of the names of cases; all when none is given")
    args = parser.parse_args()
    if not args.folder.is_dir():
        print(f"{args.folder} is not here: nothing to do")
        return 0
    wrong = 0
    for folder in sorted(f for f in args.folder.iterdir() if f.is_dir()):
        check = CASES.get(folder.name.split("-")[0])
        if args.names and not any(folder.name.startswith(name) for name in args.names):
            continue
        if check is None:
            print(f"UNKNOWN {folder.name}: no check is written for it")
            wrong += 1
            continue
        with tempfile.TemporaryDirectory() as work:
            begin = time.monotonic()
            try:
                verdict, found = "right", check(Bench(folder, Path(work)))
            except Skipped as lacking:
                verdict, found = "SKIPPED", str(lacking)
            except Exception as error:
                verdict, found = "WRONG", f"{type(error).__name__}: {' '.join(str(error).split())[:700]}"
                wrong += 1
        print(f"{verdict:<8}{folder.name} ({time.monotonic() - begin:.0f} s): {found}", flush=True)
    print(f"{wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
