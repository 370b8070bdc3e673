"""The published systems, trained, deployed on a chip and measured, in one table.

    python benchmarks/zoo.py [--models NAME ...] [--seeds N] [--chip CHIP] [--output DIR] [--record]

Each preset is trained (`neurodeploy train`: a training that was stopped goes on, one that is complete is taken as it
is), exported with proof, compiled for the chip with training images as calibration, run on the whole test set on the
event simulator, counted and priced there, and verified stage by stage, Lava among them, with a report each. The
ANN-like parts of hybrid networks are the host's, with the least work. What is complete is not done again: a preset's
folder holds ``result.json`` beside its weights.

Said is: accuracy in torch and on the chip; parameters that inference needs; spikes per neuron and sample, of neurons
that send spikes; synaptic operations (SOPs), and those of them whose message is a number (multiply-accumulates of the
chip); multiply-accumulates of the host; bytes over the boundary; energy and time per sample. The host is an ARM core;
what has no published price is left out, and named. ``--record`` keeps it in docs/recorded/zoo.txt.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from recorded import recorded

import neurodeploy as nd
from neurodeploy.models import registry
from neurodeploy.models.data import sources
from neurodeploy.models.system import parameters
from neurodeploy.models.training.loop import Machine

MODELS = (
    "trevsnn-digits", "orrc-digits", "orrc-digits-add", "orrc-digits-temporal", "orrc-digits-channel",
    "orrc-digits-spatial",
)  # fmt: skip
SEEDS = 3
VERIFIED, PROVEN = 8, 8
"""Samples that go through every stage, and that prove the export."""


def deployed(name: str, seed: int, folder: Path, chip: str) -> dict[str, Any]:
    """Train, deploy and measure a preset; what is said of it in the table."""
    system, preset = registry.preset(name)
    trained = nd.train(name, folder, seed=seed, machine=Machine(threads=1))
    data = sources.load(preset.data)
    sample, calibration = np.load(folder / "sample.npy"), np.load(folder / "calibration.npy")
    model = nd.export(trained.module, sample[:PROVEN], folder / f"{name}.nir", host="work")
    options = nd.CompileOptions(passes="prune,encode-on-host,encode,quantise")
    program = model.compile(chip, options, calibration=calibration, path=folder / f"{name}.ndp")
    x, labels = data.test.x.astype(np.float32), data.test.y
    cost = program.cost(x, host="arm") if program.network.stages else program.cost(x)
    verified = program.verify(x[:VERIFIED], labels[:VERIFIED], samples=VERIFIED)
    program.report(folder / "report.html", x, labels, samples=VERIFIED)
    recording = program.run(x)
    neurons = {p.name: p.size for p in program.network.populations if not p.external}
    totals, said = cost.totals(), cost.as_json()
    host = said.get("host") or {}
    return {
        "torch": trained.accuracy,
        "chip": recording.accuracy(labels).accuracy,
        "parameters": (system.deployed or parameters)(trained.module),
        "neurons": sum(neurons.values()),
        "spikes": spikes(program, recording) / len(x),
        "sops": totals["sops"],
        "macs": multiplied(program, recording, cost),
        "host_macs": sum(stage["macs"] for stage in host.get("stages", [])),
        "bytes": sum(crossing["bytes"] for crossing in host.get("crossings", [])),
        "energy": cost.bill.said,
        "inference_ns": cost.inference_ns,
        "equal": {f"{p.first} = {p.second}": p.verdict for p in verified.pairs},
        "weights_sha256": trained.sha256,
        "settings": dict(trained.settings),
        "cost": said,
    }


def spikes(program: nd.Program, recording: nd.Recording) -> int:
    """Of all neurons that send no numbers."""
    binary = [p for p in program.network.populations if not p.external and p.spiking and not graded(program, p.name)]
    return sum(int(np.count_nonzero(recording.spikes(p.name))) for p in binary)


def graded(program: nd.Program, name: str) -> bool:
    """Whether a population sends numbers, so that each of its synapses multiplies."""
    population = program.network.by_name[name]
    return bool(population.neuron.message_bits(program.network.arithmetic))


def multiplied(program: nd.Program, recording: nd.Recording, cost: nd.Cost) -> float:
    """Synaptic operations of messages that are numbers, per sample."""
    found, layers = 0.0, cost.layers()
    for projection in program.network.projections:
        if not graded(program, projection.source):
            continue
        fan_out = np.diff(projection.connectivity.to_csr().indptr)
        if program.network.by_name[projection.source].neuron.valued:  # each of its neurons sends as often as the others
            found += layers[projection.source]["events_out"] * fan_out.mean()
        else:
            sent = np.count_nonzero(recording.spikes(projection.source), axis=(0, 1)).reshape(-1)
            found += int(sent @ fan_out) / recording.samples
    return found


def result(name: str, seed: int, folder: Path, chip: str) -> dict[str, Any]:
    """`deployed`, or what it found before."""
    path = folder / f"{name}-{seed}" / f"result-{chip}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        found = deployed(name, seed, path.parent, chip)
        path.write_text(json.dumps(found, indent=1, default=float))
    read: dict[str, Any] = json.loads(path.read_text())
    return read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--chip", default="loihi2")
    parser.add_argument("--output", type=Path, default=Path("zoo-output"))
    parser.add_argument("--record", action="store_true", help="keep what is printed")
    args = parser.parse_args()
    found = {m: [result(m, seed, args.output, args.chip) for seed in range(args.seeds)] for m in args.models}
    with recorded("zoo" if args.record else None):
        print(
            f"on {args.chip}, {args.seeds} seed(s), 450 test images of 8 x 8; means over the seeds, accuracies of each"
        )
        for name, every in found.items():
            for line in said(name, every):
                print(line)


def said(name: str, every: list[dict[str, Any]]) -> Iterator[str]:
    """A preset's figures, in words; every stage that must be equal is, or it says so."""

    def mean(key: str) -> float:
        return float(np.mean([one[key] for one in every]))

    times = [one["inference_ns"] for one in every]
    yield f"{name}: {every[0]['parameters']:,} parameters to deploy, {every[0]['neurons']:,} neurons"
    yield "  accuracy in torch " + ", ".join(f"{one['torch']:.2%}" for one in every)
    yield "  accuracy on the chip " + ", ".join(f"{one['chip']:.2%}" for one in every)
    yield f"  {mean('spikes') / every[0]['neurons']:.3f} spikes per neuron, {mean('spikes'):,.0f} spikes"
    yield f"  {mean('sops'):,.0f} SOPs, {mean('macs'):,.0f} of them with a number as message"
    yield f"  host: {mean('host_macs'):,.0f} multiply-accumulates, {mean('bytes'):,.0f} bytes over the boundary"
    yield "  energy " + every[0]["energy"]
    yield "  time " + ("not published" if None in times else f"{np.mean(times) / 1e6:.3f} ms")
    unequal = [pair for one in every for pair, verdict in one["equal"].items() if verdict not in ("equal", "measured")]
    yield "  stages that must be equal are" + (f", but for {unequal}" if unequal else "")


if __name__ == "__main__":
    main()
