"""``neurodeploy demo``: two networks, all the way from training to a verified report."""

from __future__ import annotations

import argparse
import hashlib
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import options
from .console import Console

if TYPE_CHECKING:
    from neurodeploy.hwsim.chips.arch import Architecture
    from neurodeploy.models.registry import Model
    from neurodeploy.models.training import Trained
    from neurodeploy.report.document import NetworkResult
    from neurodeploy.verify.stages import Verified

CALIBRATION = 64
"""Samples of the training set that calibrate the integers."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", type=Path, default=Path("demo-output"), help="folder (default: demo-output)")
    parser.add_argument("--model", action="append", choices=("digits-mlp", "digits-conv"), help="default: both")
    parser.add_argument("--samples", type=options.positive, default=64, help="how many go through every stage")
    parser.add_argument("--no-lava", action="store_true", help="leave Lava out of the comparison")
    parser.add_argument("--json", action="store_true", help="machine-readable")
    options.chip(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from neurodeploy import __version__
    from neurodeploy.files.atomic import make_folder
    from neurodeploy.hwsim.chips.arch import load_architecture
    from neurodeploy.models import registry
    from neurodeploy.report.document import Report
    from neurodeploy.report.html import write_html

    arch = load_architecture(args.chip)
    make_folder(args.output)
    results: list[tuple[NetworkResult, Verified]] = []
    for name in args.model or list(registry.MODELS):
        results.append(_one(registry.load(name), arch, args, console))
    report = Report(
        title=f"Digits on {arch.title}",
        neurodeploy=__version__,
        chip=arch.name,
        networks=tuple(result for result, _ in results),
    )
    report.save(args.output / "results.json")
    write_html(report, args.output / "report.html")
    _summary(results, console)
    passed = all(verified.passed for _, verified in results)
    console.say("Every stage that must be equal is equal." if passed else "SOME STAGES DIFFER: see the report.")
    console.say(f"report: {(args.output / 'report.html').resolve()}")
    console.result(
        {
            "passed": passed,
            "report": str(args.output / "report.html"),
            "results": str(args.output / "results.json"),
            "networks": [_summary_of(result) for result, _ in results],
        }
    )
    return 0 if passed else 1


def _one(
    model: Model, arch: Architecture, args: argparse.Namespace, console: Console
) -> tuple[NetworkResult, Verified]:
    from neurodeploy.compiler import CompileOptions, compile
    from neurodeploy.report.assess import assess
    from neurodeploy.verify.export_proof import export_proven
    from neurodeploy.verify.stages import torch_runner

    console.note(f"{model.name}: {model.description}")
    trained = _trained(model, args.output, console)
    data = model.data()
    nir_path = args.output / f"{model.name}.nir"
    with console.progress(f"{model.name}: export"):
        pairs = export_proven(trained.module, data.inputs[:, : args.samples], model.dt, nir_path).pairs
    console.note(f"  exported {nir_path}: {pairs[1].spikes[1]:,} spikes, the same in torch and in the file")
    compiled = compile(
        nir_path,
        arch,
        CompileOptions(
            calibration={"": model.calibration(CALIBRATION).inputs}, max_neurons_per_core=args.max_neurons_per_core
        ),
    )
    compiled.program.save(args.output / f"{model.name}.ndp")
    source = compiled.program.network.inputs[0].name
    names = ("reference", "hwsim") if args.no_lava else ("reference", "hwsim", "lava")
    with console.progress(f"{model.name}: verify") as progress:
        result, verified = assess(
            compiled,
            arch,
            {source: data.inputs},
            data.labels,
            name=model.name,
            description=model.description,
            model=torch_runner(trained.module, compiled.floats),
            verified_samples=args.samples,
            names=names,
            tell=lambda stage, done, total: progress(done, total, stage),
        )
    for pair in verified.pairs:
        console.note(
            f"  {pair.first} {'=' if pair.exact_by_design else '~'} {pair.second}: {pair.verdict}"
            + ("" if pair.equal else f", {pair.spikes_different:,} neuron-steps differ in {pair.spikes[0]:,} spikes")
        )
    return result, verified


def _trained(model: Model, folder: Path, console: Console) -> Trained:
    """Train the model, or take the weights of an earlier run of the same code and settings."""
    import sys

    from neurodeploy.models import digits, training

    recipe = "".join(
        (repr(model.settings), *(inspect.getsource(m) for m in (training, digits, sys.modules[model.build.__module__])))
    )
    path = folder / f"{model.name}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}.safetensors"
    if path.is_file():
        trained = model.load(path)
        console.note(f"  trained before: {100 * trained.accuracy:.2f} % on the test set")
        return trained
    with console.progress(f"{model.name}: train") as progress:
        trained = model.train(progress)
    trained.save(path)
    console.note(f"  trained in {trained.seconds:.0f} s: {100 * trained.accuracy:.2f} % on the test set")
    return trained


def _summary_of(result: NetworkResult) -> dict[str, Any]:
    times = result.latency.mean_ns if result.latency is not None else ()
    on_chip = [layer for layer in result.layers if layer.kind not in ("input", "bias axon")]
    return {
        "name": result.name,
        "accuracies": [stage.model_dump() for stage in result.stages],
        "accuracies_on_all": [stage.model_dump() for stage in result.stages_on_all],
        "spikes": sum(layer.events_per_inference for layer in on_chip),
        "sops": sum(layer.sops for layer in on_chip),
        "energy_nj": None if result.energy is None else result.energy.total_pj / 1e3,
        "latency_ns": sum(times) / len(times) if times else None,
        "cores": len(result.cores),
    }


def _summary(results: list[tuple[NetworkResult, Verified]], console: Console) -> None:
    from neurodeploy.report.accuracies import table

    found = [((r.name, s.name), s) for r, _ in results for s in (*r.stages, *r.stages_on_all)]
    console.table(
        *table(found, ("network", "stage")),
        title="accuracy on what ran through every stage, and on the whole test set",
    )
    rows = []
    for result, _ in results:
        s = _summary_of(result)
        rows.append(
            (
                result.name,
                f"{s['spikes']:,.0f}",
                f"{s['sops']:,.0f}",
                "not published" if s["energy_nj"] is None else f"{s['energy_nj']:,.0f} nJ",
                "not published" if s["latency_ns"] is None else f"{s['latency_ns']:,.0f} ns",
                str(s["cores"]),
            )
        )
    console.table(
        ("network", "spikes", "SOPs", "energy", "time per step", "cores"),
        rows,
        title="spikes, synaptic operations and energy per inference",
    )
    for result, _ in results:
        if result.energy is not None and result.energy.missing:
            lacking = ", ".join(line.label for line in result.energy.missing)
            console.say(f"{result.name}: the energy lacks what has no published price: {lacking}")
